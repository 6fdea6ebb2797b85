/**
 * A TCP port that answers GET from memory, for load balancers and monitoring. Nothing a client does can hold it up:
 * 64 connections, 5 s for a request to arrive, no body is read.
 */
import { createServer, type Server } from 'node:http';
import type { Endpoint } from '../../control/types.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** @param path of the URL, without the query */
export type Respond = (path: string) => Answer | Promise<Answer>;

const MAX_CONNECTIONS = 64;
const REQUEST_MS = 5000;

export class Listener {
  readonly #server: Server;

  /** @throws Error in words when the port cannot be had */
  static async open(endpoint: Endpoint, respond: Respond): Promise<Listener> {
    const server = createServer({
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 8 << 10,
    });
    server.maxConnections = MAX_CONNECTIONS;
    server.timeout = REQUEST_MS;
    server.on('request', async (request, response) => {
      request.resume();
      response.on('error', () => {});
      const answer = await answerTo(request.url ?? '/', respond);
      response.writeHead(answer.status, { 'content-type': answer.type, ...answer.headers });
      response.end(answer.body);
    });
    server.on('clientError', (_error, socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(new Error(wordsFor(endpoint, error))));
      server.listen({ host: endpoint.address, port: endpoint.port, ipv6Only: true }, resolve);
    });
    server.on('error', () => {});
    return new Listener(server);
  }

  private constructor(server: Server) {
    this.#server = server;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

export const formatEndpoint = ({ address, port }: Endpoint): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

function wordsFor(endpoint: Endpoint, error: NodeJS.ErrnoException): string {
  const where = formatEndpoint(endpoint);
  if (error.code === 'EADDRINUSE') return `${where} is in use by another process`;
  if (error.code === 'EADDRNOTAVAIL') return `${where} is not an address of this host`;
  return `${where}: ${error.message}`;
}

async function answerTo(url: string, respond: Respond): Promise<Answer> {
  try {
    return await respond(url.split('?')[0]!);
  } catch (error) {
    return {
      status: 500,
      type: 'text/plain',
      body: `${error instanceof Error ? error.message : String(error)}\n`,
    };
  }
}
