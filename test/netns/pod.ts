/**
 * What runs in a pod of these tests, as its own process. A TCP connection begins with one line:
 *
 *   PUT                everything up to the client's FIN is hashed → {"sha","bytes","gap"}, gap: longest silence, ms
 *   GET BYTES SEED     that many bytes of the pseudo-random stream SEED
 *   WHO                NAME, who asked and whom they asked
 *
 * UDP datagrams are answered with the same bytes; broadcast ones are printed.
 *
 *   pod.js serve NAME PORT
 *   pod.js put ADDRESS PORT BYTES SEED [MS]    at least that many bytes, for at least that long
 *   pod.js get ADDRESS PORT BYTES SEED
 *   pod.js who ADDRESS PORT COUNT              connections, one after the other
 *   pod.js udp ADDRESS PORT SIZE…              one datagram of each size, each answered
 *   pod.js spread ADDRESS PORT COUNT           one datagram from each of that many sockets, each answered
 *   pod.js pour ADDRESS PORT FLOWS COUNT SIZE…   from each of FLOWS sockets COUNT datagrams, unanswered, sizes in turn
 *   pod.js hear PORT COUNT                     that many datagrams, or those before ten seconds of silence
 *   pod.js shout ADDRESS PORT TEXT COUNT
 */
import { createCipheriv, createHash, type Hash } from 'node:crypto';
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What `put` and `get` print. */
export interface Transfer {
  readonly bytes: number;
  /** Of the bytes that were sent, and of those that arrived. */
  readonly sent: string;
  readonly received: string;
  readonly seconds: number;
  /** ms; `put` only */
  readonly gap: number;
}

/** What `who` prints. */
export interface Answers {
  /** Connections by the name that answered. */
  readonly names: Record<string, number>;
  /** "NAME CLIENT" of each kind of answer, sorted. */
  readonly clients: string[];
  /** Error codes. */
  readonly errors: string[];
  /** Longest wait for an answer or error, ms. */
  readonly slowest: number;
}

/** What `udp` prints: sizes by what became of them. */
export interface Echoes {
  readonly answered: number[];
  readonly wrong: number[];
  readonly lost: number[];
  readonly refused: number[];
}

/** What `hear` prints: of the datagrams in the order they came, each as its length in 4 bytes and its data. */
export interface Heard {
  readonly datagrams: number;
  readonly sha: string;
}

const CHUNK = 1 << 20;
const CONNECT_MS = 3000;
const ECHO_MS = 1500;

/** The pseudo-random stream of a seed: AES-CTR of zeros. */
function* stream(seed: number, bytes: number): Generator<Buffer> {
  const key = createHash('sha256').update(String(seed)).digest();
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), Buffer.alloc(16));
  for (let left = bytes; left > 0; left -= CHUNK) yield cipher.update(Buffer.alloc(Math.min(CHUNK, left)));
}

async function write(socket: Socket, chunk: Buffer | string): Promise<void> {
  if (!socket.write(chunk)) await once(socket, 'drain');
}

const plain = (address: string | undefined): string => (address ?? '').replace('::ffff:', '');

function serveOne(name: string, socket: Socket): void {
  let hash: Hash | undefined;
  let head = Buffer.alloc(0);
  let [bytes, gap, last] = [0, 0, performance.now()];
  const take = (chunk: Buffer): void => {
    const now = performance.now();
    if (bytes > 0) gap = Math.max(gap, now - last);
    last = now;
    bytes += chunk.length;
    hash!.update(chunk);
  };
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    if (hash) {
      take(chunk);
      return;
    }
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\n');
    if (end < 0) return;
    const [verb, size, seed] = head.toString('latin1', 0, end).split(' ');
    if (verb === 'PUT') {
      hash = createHash('sha256');
      if (head.length > end + 1) take(head.subarray(end + 1));
    } else if (verb === 'GET') {
      void (async () => {
        for (const part of stream(Number(seed), Number(size))) await write(socket, part);
        socket.end();
      })().catch(() => socket.destroy());
    } else {
      socket.end(`${name} ${plain(socket.remoteAddress)} ${plain(socket.localAddress)}\n`);
    }
  });
  socket.on('end', () => {
    if (hash) socket.end(`${JSON.stringify({ sha: hash.digest('hex'), bytes, gap: Math.round(gap) })}\n`);
  });
}

async function serve(name: string, port: number): Promise<void> {
  const datagrams = createSocket({ type: 'udp6', reuseAddr: true });
  datagrams.on('message', (data, from) => {
    const text = data.toString('latin1', 0, 64);
    if (text.startsWith('shout ')) console.log(`${text} from ${plain(from.address)}`);
    else datagrams.send(data, from.port, from.address, () => {});
  });
  datagrams.on('error', () => {});
  datagrams.bind(port);
  const server = createServer({ allowHalfOpen: true }, (socket) => serveOne(name, socket));
  server.listen(port, '::', 511);
  await Promise.all([once(datagrams, 'listening'), once(server, 'listening')]);
  console.log('serving');
}

async function open(address: string, port: number): Promise<Socket> {
  const socket = connect({ host: address, port, allowHalfOpen: true });
  const timer = setTimeout(() => {
    socket.destroy(Object.assign(new Error('no answer'), { code: 'TIMEOUT' }));
  }, CONNECT_MS);
  try {
    await once(socket, 'connect');
  } finally {
    clearTimeout(timer);
  }
  return socket;
}

async function put(
  address: string,
  port: number,
  least: number,
  seed: number,
  ms: number,
): Promise<Transfer> {
  const socket = await open(address, port);
  const hash = createHash('sha256');
  let [bytes, answer] = [0, ''];
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
  });
  const ended = once(socket, 'end');
  const start = performance.now();
  await write(socket, 'PUT\n');
  for (const chunk of stream(seed, Number.MAX_SAFE_INTEGER)) {
    const part = ms > 0 ? chunk : chunk.subarray(0, least - bytes);
    hash.update(part);
    bytes += part.length;
    await Promise.race([write(socket, part), ended]);
    if (bytes >= least && performance.now() - start >= ms) break;
  }
  socket.end();
  await ended;
  const seconds = (performance.now() - start) / 1000;
  const got = JSON.parse(answer) as { sha: string; gap: number };
  return { bytes, sent: hash.digest('hex'), received: got.sha, seconds, gap: got.gap };
}

async function get(address: string, port: number, bytes: number, seed: number): Promise<Transfer> {
  const socket = await open(address, port);
  const [expected, hash] = [createHash('sha256'), createHash('sha256')];
  for (const part of stream(seed, bytes)) expected.update(part);
  let received = 0;
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    hash.update(chunk);
  });
  const start = performance.now();
  socket.end(`GET ${bytes} ${seed}\n`);
  await once(socket, 'end');
  const seconds = (performance.now() - start) / 1000;
  return { bytes: received, sent: expected.digest('hex'), received: hash.digest('hex'), seconds, gap: 0 };
}

async function who(address: string, port: number, count: number): Promise<Answers> {
  const names: Record<string, number> = {};
  const clients = new Set<string>();
  const errors: string[] = [];
  let slowest = 0;
  for (let i = 0; i < count && errors.length < 3; i++) {
    const start = performance.now();
    try {
      const socket = await open(address, port);
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.end('WHO\n');
      await once(socket, 'end', { signal: AbortSignal.timeout(CONNECT_MS) });
      const [name = '', client = ''] = text.trim().split(' ');
      names[name] = (names[name] ?? 0) + 1;
      clients.add(`${name} ${client}`);
    } catch (error) {
      errors.push((error as NodeJS.ErrnoException).code ?? String(error));
    }
    slowest = Math.max(slowest, Math.round(performance.now() - start));
  }
  return { names, clients: [...clients].sort(), errors, slowest };
}

function datagramSocket(address: string): Datagrams {
  return createSocket(address.includes(':') ? 'udp6' : 'udp4');
}

/** Sends it and waits for the same bytes. */
async function echo(socket: Datagrams, address: string, port: number, data: Buffer): Promise<keyof Echoes> {
  const answer = once(socket, 'message', { signal: AbortSignal.timeout(ECHO_MS) }) as Promise<[Buffer]>;
  answer.catch(() => {});
  const refused = await new Promise<Error | null>((resolve) => {
    socket.send(data, port, address, (error) => resolve(error));
  });
  if (refused) return 'refused';
  try {
    return (await answer)[0].equals(data) ? 'answered' : 'wrong';
  } catch {
    return 'lost';
  }
}

async function udp(address: string, port: number, sizes: readonly number[]): Promise<Echoes> {
  const result: Echoes = { answered: [], wrong: [], lost: [], refused: [] };
  for (const size of sizes) {
    const socket = datagramSocket(address);
    const [data = Buffer.alloc(0)] = stream(size + 1, size);
    result[await echo(socket, address, port, data)].push(size);
    socket.close();
  }
  return result;
}

async function spread(address: string, port: number, count: number): Promise<Echoes> {
  const result: Echoes = { answered: [], wrong: [], lost: [], refused: [] };
  for (let at = 0; at < count; at += 16) {
    const batch = Array.from({ length: Math.min(16, count - at) }, async (_, i) => {
      const socket = datagramSocket(address);
      result[await echo(socket, address, port, Buffer.from(`flow ${at + i}`))].push(at + i);
      socket.close();
    });
    await Promise.all(batch);
  }
  return result;
}

async function pour(
  address: string,
  port: number,
  flows: number,
  count: number,
  sizes: readonly number[],
): Promise<number> {
  const sockets = Array.from({ length: flows }, () => datagramSocket(address));
  const [data = Buffer.alloc(0)] = stream(flows, Math.max(...sizes));
  for (let i = 0; i < count; i++) {
    const sent = sockets.map((socket, flow) => {
      const size = sizes[(i + flow) % sizes.length]!;
      return new Promise<void>((resolve, reject) => {
        const done = (error: Error | null): void => (error ? reject(error) : resolve());
        socket.send(data, 0, size, port, address, done);
      });
    });
    await Promise.all(sent);
    await sleep(4); // as much as a queue holds, not as fast as possible
  }
  await sleep(300); // answers in flight should not meet a closed port
  for (const socket of sockets) socket.close();
  return flows * count;
}

/** Says "hearing" before it prints what it heard. */
async function hear(port: number, count: number): Promise<Heard> {
  const socket = createSocket({ type: 'udp6', recvBufferSize: 1 << 22 });
  const hash = createHash('sha256');
  const length = Buffer.alloc(4);
  let datagrams = 0;
  const ended = new Promise<void>((resolve) => {
    const silence = setTimeout(resolve, 10_000);
    socket.on('message', (data) => {
      length.writeUInt32BE(data.length);
      hash.update(length).update(data);
      silence.refresh();
      if (++datagrams === count) resolve();
    });
  });
  socket.bind(port);
  await once(socket, 'listening');
  console.log('hearing');
  await ended;
  socket.close();
  return { datagrams, sha: hash.digest('hex') };
}

async function shout(address: string, port: number, text: string, count: number): Promise<string> {
  const socket = createSocket('udp4');
  socket.bind(0);
  await once(socket, 'listening');
  socket.setBroadcast(true);
  for (let i = 0; i < count; i++) {
    await new Promise<void>((resolve, reject) => {
      socket.send(`shout ${text}`, port, address, (error) => (error ? reject(error) : resolve()));
    });
    await sleep(2);
  }
  socket.close();
  return 'sent';
}

const [verb, ...words] = process.argv.slice(2);
const word = (index: number): string => words[index] ?? '';
const number = (index: number): number => Number(words[index] ?? 0);
const print = (value: unknown): void => console.log(JSON.stringify(value));
if (verb === 'serve') await serve(word(0), number(1));
else if (verb === 'put') print(await put(word(0), number(1), number(2), number(3), number(4)));
else if (verb === 'get') print(await get(word(0), number(1), number(2), number(3)));
else if (verb === 'who') print(await who(word(0), number(1), number(2)));
else if (verb === 'udp') print(await udp(word(0), number(1), words.slice(2).map(Number)));
else if (verb === 'spread') print(await spread(word(0), number(1), number(2)));
else if (verb === 'pour')
  print(await pour(word(0), number(1), number(2), number(3), words.slice(4).map(Number)));
else if (verb === 'hear') {
  print(await hear(number(0), number(1)));
  process.exit();
} else if (verb === 'shout') print(await shout(word(0), number(1), word(2), number(3)));
else process.exitCode = 2;
