/**
 * What Kubernetes' e2e tests run in pods, as its own process: a server that tells its name, and clients.
 *
 *   agnhost.js serve NAME PORT…                   HTTP and UDP on each port
 *   agnhost.js ask http|udp ADDRESS PORT COUNT WHAT [LOCAL]   WHAT: hostname, clientip; LOCAL: own address or :PORT
 *   agnhost.js post http|udp ADDRESS PORT BYTES   a body, which comes back as its hash; a datagram, as it is
 *   agnhost.js follow ADDRESS PORT SOURCEPORT MS  UDP every 20 ms from one port; who answered, by time
 *   agnhost.js stream ADDRESS PORT MS             numbered UDP datagrams, one a millisecond, each answered by its bytes
 *   agnhost.js asking ADDRESS PORT MS             one HTTP connection after the other; prints Asked
 *   agnhost.js hold ADDRESS PORT                  one TCP connection that asks every 50 ms, a line for each answer
 *
 * HTTP: GET /hostname, GET /clientip, POST /echo. UDP: the same two words; anything else comes back as it is.
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What `ask` prints. */
export interface Asked {
  /** Answers, with how many times each. */
  readonly answers: Record<string, number>;
  /** Error codes; 'timeout' where nothing came. */
  readonly errors: string[];
}

/** What `follow` prints. */
export interface Followed {
  /** Who answered, one after the other, with ms since the beginning of the first answer of each. */
  readonly answers: readonly { readonly name: string; readonly at: number }[];
  readonly sent: number;
  readonly answered: number;
}

/** What `stream` prints: of the datagrams. */
export interface Streamed {
  readonly sent: number;
  readonly answered: number;
  /** Longest silence, ms. */
  readonly gap: number;
}

const PATIENCE = 1500;
const plain = (address: string | undefined): string => (address ?? '').replace('::ffff:', '');

async function serve(name: string, ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    const answer = (what: string, client: string | undefined): string | undefined =>
      what === 'hostname' ? name : what === 'clientip' ? plain(client) : undefined;
    const server = createServer((asked, reply) => {
      const hash = createHash('sha256');
      asked.on('data', (chunk: Buffer) => hash.update(chunk));
      asked.on('end', () => {
        const text = answer((asked.url ?? '').slice(1), asked.socket.remoteAddress) ?? hash.digest('hex');
        reply.setHeader('connection', asked.headers.connection ?? 'close');
        reply.end(text);
      });
    });
    server.keepAliveTimeout = 60_000;
    const datagrams = createSocket('udp6');
    datagrams.on('message', (data, from) => {
      const text = answer(data.toString('latin1', 0, 32), from.address);
      datagrams.send(text === undefined ? data : text, from.port, from.address, () => {});
    });
    datagrams.on('error', () => {});
    server.listen(port);
    datagrams.bind(port);
    await Promise.all([once(server, 'listening'), once(datagrams, 'listening')]);
  }
  console.log('serving');
}

const get = (address: string, port: number, path: string, body?: Buffer, local = ''): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = { host: address, port, path: `/${path}`, method: body ? 'POST' : 'GET' };
    const own = local.startsWith(':')
      ? { localPort: Number(local.slice(1)) }
      : local && { localAddress: local };
    const asked = request({ ...options, agent: false, ...own, timeout: PATIENCE }, (reply) => {
      let text = '';
      reply.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      reply.on('end', () => resolve(text));
    });
    asked.on('timeout', () => asked.destroy(Object.assign(new Error(), { code: 'timeout' })));
    asked.on('error', reject);
    asked.end(body);
  });

async function datagram(address: string, port: number, text: string | Buffer, local = ''): Promise<string> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  try {
    socket.bind(0, local === '' ? undefined : local);
    await once(socket, 'listening');
    // connected: only then the kernel tells of an ICMP error
    socket.connect(port, address);
    await once(socket, 'connect');
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(PATIENCE) }) as Promise<[Buffer]>;
    socket.send(text);
    return (await answer)[0].toString('latin1');
  } finally {
    socket.close();
  }
}

async function ask(
  protocol: string,
  address: string,
  port: number,
  count: number,
  what: string,
  local: string,
) {
  const answers: Record<string, number> = {};
  const errors: string[] = [];
  for (let i = 0; i < count && errors.length < 2; i++) {
    try {
      const text =
        protocol === 'http'
          ? await get(address, port, what, undefined, local)
          : await datagram(address, port, what, local);
      answers[text] = (answers[text] ?? 0) + 1;
    } catch (error) {
      const { code, name } = error as NodeJS.ErrnoException;
      errors.push(name === 'AbortError' ? 'timeout' : (code ?? String(error)));
    }
  }
  console.log(JSON.stringify({ answers, errors } satisfies Asked));
}

async function post(protocol: string, address: string, port: number, bytes: number): Promise<void> {
  const body = Buffer.alloc(bytes, 'twill');
  const hash = createHash('sha256').update(body).digest('hex');
  const answer =
    protocol === 'http' ? await get(address, port, 'echo', body) : await datagram(address, port, body);
  console.log(JSON.stringify(answer === (protocol === 'http' ? hash : body.toString('latin1'))));
}

async function follow(address: string, port: number, from: number, ms: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.bind(from);
  await once(socket, 'listening');
  const answers: { name: string; at: number }[] = [];
  let [sent, answered] = [0, 0];
  const start = performance.now();
  socket.on('message', (data) => {
    const name = data.toString();
    answered++;
    if (answers.at(-1)?.name !== name) {
      answers.push({ name, at: Math.round(performance.now() - start) });
      console.error(name);
    }
  });
  socket.on('error', () => {});
  for (; performance.now() - start < ms; sent++) {
    socket.send('hostname', port, address, () => {});
    await sleep(20);
  }
  await sleep(200);
  socket.close();
  console.log(JSON.stringify({ answers, sent, answered } satisfies Followed));
}

async function stream(address: string, port: number, ms: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.bind(0);
  await once(socket, 'listening');
  const open = new Set<number>();
  const start = performance.now();
  let [sent, gap, last] = [0, 0, start];
  socket.on('message', (data) => {
    open.delete(Number(data.toString()));
    gap = Math.max(gap, performance.now() - last);
    last = performance.now();
  });
  while (performance.now() - start < ms) {
    open.add(sent);
    socket.send(String(sent++), port, address);
    await sleep(1);
  }
  for (let i = 0; i < 20 && open.size > 0; i++) await sleep(50);
  socket.close();
  console.log(JSON.stringify({ sent, answered: sent - open.size, gap: Math.round(gap) } satisfies Streamed));
}

async function asking(address: string, port: number, ms: number): Promise<void> {
  const answers: Record<string, number> = {};
  const errors: string[] = [];
  for (const start = performance.now(); performance.now() - start < ms; ) {
    try {
      const name = await get(address, port, 'hostname');
      answers[name] = (answers[name] ?? 0) + 1;
    } catch (error) {
      errors.push((error as NodeJS.ErrnoException).code ?? String(error));
    }
  }
  console.log(JSON.stringify({ answers, errors } satisfies Asked));
}

/** Requests over one connection, as long as it lives. */
async function hold(address: string, port: number): Promise<void> {
  const socket = connect({ host: address, port });
  socket.on('error', (error: NodeJS.ErrnoException) => console.log(error.code));
  await once(socket, 'connect');
  console.log('connected');
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    const end = text.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
    if (end < 0 || text.length < end + 4 + length) return;
    console.log(`answer ${text.slice(end + 4, end + 4 + length)}`);
    text = '';
  });
  const again = setInterval(() => {
    socket.write('GET /hostname HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n');
  }, 50);
  socket.on('close', () => {
    clearInterval(again);
    console.log('closed');
  });
}

const [verb, ...words] = process.argv.slice(2);
const word = (index: number): string => words[index] ?? '';
const number = (index: number): number => Number(words[index] ?? 0);
if (verb === 'serve') await serve(word(0), words.slice(1).map(Number));
else if (verb === 'ask') await ask(word(0), word(1), number(2), number(3), word(4), word(5));
else if (verb === 'post') await post(word(0), word(1), number(2), number(3));
else if (verb === 'follow') await follow(word(0), number(1), number(2), number(3));
else if (verb === 'stream') await stream(word(0), number(1), number(2));
else if (verb === 'asking') await asking(word(0), number(1), number(2));
else if (verb === 'hold') await hold(word(0), number(1));
else process.exitCode = 2;
