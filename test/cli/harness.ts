/** Runs the command line in this process, against a control socket of the test's own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from '../../src/program/context.ts';
import { run } from '../../src/program/run.ts';

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param columns those of the terminal; Infinity = no terminal */
export async function twill(
  args: readonly string[],
  env: Record<string, string> = {},
  columns = 80,
): Promise<Result> {
  let stdout = '';
  let stderr = '';
  const context: Context = {
    stdout: {
      write: (text) => {
        stdout += text;
      },
      isTTY: false,
      columns,
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
      isTTY: false,
      columns,
    },
    env,
  };
  const code = await run(args, context);
  return { code, stdout, stderr };
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

export interface Answer {
  readonly status?: number;
  /** A string is sent as it is, anything else as JSON; undefined = never answer. */
  readonly body?: unknown;
}

/** A control socket that answers as told and remembers what it was asked. */
export class FakeDaemon {
  readonly directory = mkdtempSync(join(tmpdir(), 'twill-cli-'));
  readonly socket = join(this.directory, 's');
  readonly seen: Seen[] = [];
  answer: (request: Seen) => Answer = () => ({ body: {} });
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const seen = {
          method: request.method ?? '',
          path: request.url ?? '',
          body: text === '' ? undefined : (JSON.parse(text) as unknown),
        };
        this.seen.push(seen);
        const { status = 200, body } = this.answer(seen);
        if (body === undefined) return;
        response.statusCode = status;
        response.end(typeof body === 'string' ? body : JSON.stringify(body));
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.socket, resolve));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Runs a client verb against this socket. */
  twill(...args: readonly string[]): Promise<Result> {
    return twill([...args, '--socket', this.socket]);
  }
}
