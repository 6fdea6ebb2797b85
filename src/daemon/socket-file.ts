/** The control socket as a file: left behind by a dead daemon, held by a live one, or somebody's ordinary file. */
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { MAX_SOCKET_PATH } from '../control/protocol.ts';

const ANSWER_MS = 2000;

/**
 * Makes the directory and removes a stale socket.
 * @throws Error with one line: a daemon is alive there, or the file is no socket
 */
export async function claimSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new Error(`${path}: a socket path has at most ${MAX_SOCKET_PATH} bytes`);
  }
  makeDirectory(dirname(path));
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (!file) return;
  if (!file.isSocket())
    throw new Error(`${path} exists and is not a socket; remove it or choose another --socket`);
  if (!(await answers(path))) {
    rmSync(path, { force: true });
    return;
  }
  const pid = await pidBehind(path);
  throw new Error(
    pid === null
      ? `another program is listening on ${path}`
      : `another twill daemon (pid ${pid}) is running on ${path}`,
  );
}

function makeDirectory(path: string): void {
  try {
    withUmask(0o022, () => mkdirSync(path, { recursive: true, mode: 0o755 }));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const right = code === 'EACCES' || code === 'EPERM' ? 'needs root, or choose another --socket' : message;
    throw new Error(`cannot make ${path} for the control socket: ${right}`);
  }
}

/** The process-wide mask must not leak into anything asynchronous, so `work` is not. */
export function withUmask<T>(mask: number, work: () => T): T {
  // Worker threads may not set it, and test runners use them.
  if (!isMainThread) return work();
  const before = process.umask(mask);
  try {
    return work();
  } finally {
    process.umask(before);
  }
}

/** Only a refused connection proves that nobody listens; anything doubtful counts as alive. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.setTimeout(ANSWER_MS);
    socket.once('connect', () => finish(true));
    socket.once('timeout', () => finish(true));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      finish(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
    const finish = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
  });
}

function pidBehind(path: string): Promise<number | null> {
  return new Promise((resolve) => {
    const request = get(
      { socketPath: path, path: '/v1/status', agent: false, timeout: ANSWER_MS },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > 1 << 20) request.destroy();
        });
        response.on('error', () => resolve(null));
        response.on('close', () => resolve(pidIn(text)));
      },
    );
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(null));
  });
}

function pidIn(text: string): number | null {
  try {
    const { pid } = JSON.parse(text) as { pid?: unknown };
    return typeof pid === 'number' ? pid : null;
  } catch {
    return null;
  }
}
