/** A connection to a daemon's control socket that stays open, as a controller's does. */
import { connect, type Socket } from 'node:net';

/** When a change was handed to the kernel, and when the daemon's word came that it holds; monotonic, ns. */
export interface Applied {
  readonly asked: bigint;
  readonly answered: bigint;
}

export class ControlConnection {
  readonly #socket: Socket;
  #answer = '';
  #settle: ((failure: Error | null) => void) | null = null;

  static open(path: string): Promise<ControlConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => resolve(new ControlConnection(socket)));
    });
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => this.#receive(data));
    socket.on('error', (error) => this.#settle?.(error));
    socket.on('close', () => this.#settle?.(new Error('the daemon closed the connection')));
  }

  /** One document, one at a time. @throws Error when it is refused */
  async apply(text: string): Promise<Applied> {
    const body = JSON.stringify({ sources: [{ file: 'change.json', text }] });
    const head = `POST /v1/apply HTTP/1.1\r\nHost: twill\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
    const answered = new Promise<bigint>((resolve, reject) => {
      this.#settle = (failure) => {
        this.#settle = null;
        if (failure) reject(failure);
        else resolve(process.hrtime.bigint());
      };
    });
    this.#answer = '';
    const asked = process.hrtime.bigint();
    this.#socket.write(head + body);
    return { asked, answered: await answered };
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(data: string): void {
    this.#answer += data;
    const end = this.#answer.indexOf('\r\n\r\n');
    if (end < 0) return;
    const length = Number(/^content-length: (\d+)$/im.exec(this.#answer.slice(0, end))?.[1] ?? 0);
    if (this.#answer.length < end + 4 + length) return;
    const isDone = this.#answer.startsWith('HTTP/1.1 200');
    this.#settle?.(isDone ? null : new Error(`the daemon refused a change: ${this.#answer}`));
  }
}
