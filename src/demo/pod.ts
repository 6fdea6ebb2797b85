/**
 * What runs in a pod of the demo, as its own process:
 *
 *   pod.js serve NAME TCP-PORT UDP-PORT    HTTP server that answers its name and who asked; prints datagrams
 *   pod.js connect URL COUNT               that many connections, one after the other; prints counts as JSON
 *   pod.js shout ADDRESS PORT TEXT         one broadcast datagram
 */
import { createSocket } from 'node:dgram';
import { createServer, get } from 'node:http';

/** What `connect` prints. */
export interface Counts {
  /** Connections answered, by server. */
  readonly answers: Record<string, number>;
  /** Who the servers say asked. */
  readonly clients: string[];
  readonly failed: number;
  readonly firstFailure: string | null;
}

const ANSWER_MS = 2000;
const MOST_FAILURES = 3;

function serve(name: string, tcpPort: number, udpPort: number): void {
  const datagrams = createSocket({ type: 'udp4', reuseAddr: true });
  datagrams.on('message', (text, from) => console.log(`datagram ${text} from ${from.address}`));
  datagrams.bind(udpPort, () => {
    const server = createServer((request, response) => {
      const client = request.socket.remoteAddress?.replace('::ffff:', '');
      response.setHeader('connection', 'close');
      response.end(`${name} ${client}\n`);
    });
    server.listen(tcpPort, '0.0.0.0', () => console.log('serving'));
  });
}

function ask(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, timeout: ANSWER_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text.trim()));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
    request.on('error', reject);
  });
}

async function connect(url: string, count: number): Promise<void> {
  const answers: Record<string, number> = {};
  const clients = new Set<string>();
  const failures: string[] = [];
  for (let i = 0; i < count && failures.length < MOST_FAILURES; i++) {
    try {
      const [name = '', client = ''] = (await ask(url)).split(' ');
      answers[name] = (answers[name] ?? 0) + 1;
      clients.add(client);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  const result: Counts = {
    answers,
    clients: [...clients].sort(),
    failed: failures.length,
    firstFailure: failures[0] ?? null,
  };
  console.log(JSON.stringify(result));
}

function shout(address: string, port: number, text: string): void {
  const socket = createSocket('udp4');
  socket.bind(0, () => {
    socket.setBroadcast(true);
    socket.send(text, port, address, (error) => {
      if (error) console.error(error.message);
      process.exitCode = error ? 1 : 0;
      socket.close();
    });
  });
}

const [verb, ...words] = process.argv.slice(2);
const word = (index: number): string => words[index] ?? '';
if (verb === 'serve') serve(word(0), Number(word(1)), Number(word(2)));
else if (verb === 'connect') await connect(word(0), Number(word(1)));
else if (verb === 'shout') shout(word(0), Number(word(1)), word(2));
else process.exitCode = 2;
