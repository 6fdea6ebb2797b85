/** The other end of the control socket: one request, one answer. */
import { statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { type Failure, MAX_SOCKET_PATH } from '../control/protocol.ts';
import { Failed } from './failure.ts';

/** An answer larger than this is not one of ours, nor one string: a million flows is about 300 MB. */
const MAX_ANSWER_BYTES = 500 << 20;

export interface Target {
  readonly socket: string;
  /** ms for the whole exchange. */
  readonly timeout: number;
}

/**
 * @param path "/v1/…"; `body` is sent as JSON.
 * @throws Failed with a line for a person.
 */
export async function call<T>(target: Target, method: string, path: string, body?: unknown): Promise<T> {
  if (Buffer.byteLength(target.socket) > MAX_SOCKET_PATH) {
    throw new Failed(`${target.socket}: a socket path has at most ${MAX_SOCKET_PATH} bytes`);
  }
  const answer = await exchange(target, method, path, body === undefined ? undefined : JSON.stringify(body));
  let parsed: unknown;
  try {
    parsed = JSON.parse(answer.text);
  } catch {
    throw new Failed(
      `${target.socket} answered ${answer.status} with something else than JSON: is it a twill daemon?`,
    );
  }
  if (answer.status >= 200 && answer.status < 300) return parsed as T;
  const errors = (parsed as Partial<Failure> | null)?.errors;
  if (Array.isArray(errors) && errors.length > 0) throw new Failed(...errors.map(String));
  throw new Failed(`the daemon refused ${method} ${path}: HTTP ${answer.status}`);
}

function exchange(
  target: Target,
  method: string,
  path: string,
  body: string | undefined,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const request = httpRequest({ socketPath: target.socket, method, path, headers, agent: false });
    const timer = setTimeout(() => {
      request.destroy(
        new Failed(`no answer from the daemon at ${target.socket} within ${target.timeout / 1000} s`),
      );
    }, target.timeout);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(error instanceof Failed ? error : explain(error, target.socket));
    };
    request.on('error', fail);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) request.destroy(new Failed('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('end', () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') });
      });
    });
    request.end(body);
  });
}

function explain(error: NodeJS.ErrnoException, socket: string): Failed {
  switch (error.code) {
    case 'ENOENT':
      return new Failed(`daemon not running: no socket at ${socket}; start it with: twill up -f PATH`);
    case 'ECONNREFUSED':
      if (!statSync(socket, { throwIfNoEntry: false })?.isSocket())
        return new Failed(`${socket} is not a socket`);
      return new Failed(
        `daemon not running: nobody listens on ${socket} (it was killed?); start it with: twill up -f PATH`,
      );
    case 'EACCES':
    case 'EPERM':
      return new Failed(`no access to ${socket}: needs root`);
    case 'ENOTSOCK':
    case 'EPROTOTYPE':
      return new Failed(`${socket} is not a stream socket`);
    case 'ECONNRESET':
    case 'EPIPE':
      return new Failed(`the daemon at ${socket} closed the connection: did it stop?`);
    default:
      return new Failed(`${socket}: ${error.message}`);
  }
}
