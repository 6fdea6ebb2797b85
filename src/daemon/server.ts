/**
 * HTTP over the control socket: takes whole, well-formed requests off the wire and hands them to the API.
 * Nothing a client sends, half sends or never reads can disturb the daemon.
 *
 * Limits: MAX_CONNECTIONS connections; 10 s for a request to arrive; MAX_BODY_BYTES per body and
 * MAX_BODIES_BYTES for all bodies in flight; 60 s without progress closes a connection.
 */
import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { Failure } from '../control/protocol.ts';
import { Rejected } from './rejected.ts';
import { withUmask } from './socket-file.ts';

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  /** Parsed JSON; undefined when there was no body. */
  readonly body: unknown;
}

/** @throws Rejected for anything the client did wrong */
export type Handler = (request: Request) => Promise<unknown>;

export interface ServerOptions {
  readonly socket: string;
  readonly log: Logger;
  readonly handle: Handler;
  /** Shorter in tests. */
  readonly requestMs?: number;
  readonly maxBodyBytes?: number;
}

const MAX_CONNECTIONS = 128;
const REQUEST_MS = 10_000;
const IDLE_MS = 60_000;
const MAX_BODY_BYTES = 64 << 20;
const MAX_BODIES_BYTES = 256 << 20;
/** Rows of a list turned into text at once: a million flows are not one string. */
const ROWS_PER_WRITE = 1000;

export class ControlServer {
  readonly #options: ServerOptions;
  readonly #server: Server;
  #bodyBytes = 0;

  /** Listens on a path that `claimSocket` has cleared; nobody but the owner can ever connect. */
  static async listen(options: ServerOptions): Promise<ControlServer> {
    const server = new ControlServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject);
      server.#server.once('listening', resolve);
      withUmask(0o177, () => server.#server.listen({ path: options.socket, backlog: MAX_CONNECTIONS }));
    });
    server.#server.on('error', (error) => options.log.error({ err: error }, 'control socket'));
    return server;
  }

  private constructor(options: ServerOptions) {
    this.#options = options;
    const requestMs = options.requestMs ?? REQUEST_MS;
    this.#server = createServer({
      headersTimeout: requestMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(1000, requestMs),
      keepAliveTimeout: 5000,
      maxHeaderSize: 16 << 10,
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.timeout = IDLE_MS;
    this.#server.on('request', (request, response) => void this.#serve(request, response));
    this.#server.on('checkContinue', (request, response) => void this.#serve(request, response));
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuseRaw(error, socket));
    for (const event of ['connect', 'upgrade']) {
      this.#server.on(event, (_request: IncomingMessage, socket: Duplex) => socket.destroy());
    }
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
    rmSync(this.#options.socket, { force: true });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      const text = await this.#readBody(request, response);
      const url = parseUrl(request.url ?? '');
      const answer = await this.#options.handle({
        method: request.method ?? 'GET',
        path: url.pathname,
        query: url.searchParams,
        body: text.length === 0 ? undefined : parseJson(text),
      });
      await send(response, 200, answer);
    } catch (error) {
      if (error instanceof Gone) return;
      if (!(error instanceof Rejected))
        this.#options.log.error({ err: error, url: request.url }, 'request failed');
      const failure: Failure = { errors: error instanceof Rejected ? error.errors : [messageOf(error)] };
      const status = error instanceof Rejected ? error.status : 500;
      // The rest of a body that was refused is not worth reading.
      if (!request.complete) response.setHeader('connection', 'close');
      await send(response, status, failure).catch(() => {});
      if (!request.complete) request.destroy();
    }
  }

  async #readBody(request: IncomingMessage, response: ServerResponse): Promise<Buffer> {
    const limit = this.#options.maxBodyBytes ?? MAX_BODY_BYTES;
    const tooLarge = new Rejected([`the request body is larger than ${limit} bytes`], 413);
    if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge;
    if (request.headers.expect) response.writeContinue();
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        size += chunk.length;
        this.#bodyBytes += chunk.length;
        if (size > limit) throw tooLarge;
        if (this.#bodyBytes > MAX_BODIES_BYTES)
          throw new Rejected(['too many large requests at once; try again'], 503);
        chunks.push(chunk);
      }
    } catch (error) {
      throw error instanceof Rejected ? error : new Gone();
    } finally {
      this.#bodyBytes -= size;
    }
    return Buffer.concat(chunks);
  }
}

/** The client left before its request was complete. */
class Gone extends Error {}

function parseUrl(text: string): URL {
  try {
    return new URL(text, 'http://twill');
  } catch {
    throw new Rejected([`${JSON.stringify(text)} is not a path`], 400);
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new Rejected([`the request body is not JSON: ${messageOf(error)}`], 400);
  }
}

/** Writes `{items: […]}` piecewise and everything else at once. */
async function send(response: ServerResponse, status: number, body: unknown): Promise<void> {
  if (response.destroyed || response.headersSent) return;
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  const items = (body as { items?: unknown } | null)?.items;
  if (!Array.isArray(items) || items.length <= ROWS_PER_WRITE) {
    response.end(`${JSON.stringify(body)}\n`);
    return;
  }
  let separator = '{"items":[';
  for (let i = 0; i < items.length; i += ROWS_PER_WRITE) {
    const rows = JSON.stringify(items.slice(i, i + ROWS_PER_WRITE));
    const more = response.write(separator + rows.slice(1, -1));
    separator = ',';
    if (!more) await drained(response);
    if (response.destroyed) return;
  }
  response.end(']}\n');
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

const RAW_STATUS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Not even HTTP, or not in time. */
function refuseRaw(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const failure: Failure = { errors: [`not a valid request: ${error.message}`] };
  const body = `${JSON.stringify(failure)}\n`;
  socket.end(
    `HTTP/1.1 ${RAW_STATUS[error.code ?? ''] ?? '400 Bad Request'}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
