/**
 * Sends ICMP echo requests and matches their answers, over raw-socket. One socket per family, opened on first
 * use; main thread only (the package is not context-aware). Never throws after `openEcho`.
 *
 * Limits: at most MAX_PENDING requests wait for an answer; more are answered 'timeout' at once.
 */
import { randomInt } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { Socket } from 'raw-socket';
import { echoRequest, type Family, readEcho } from './icmp.ts';

export type EchoResult =
  | { readonly kind: 'reply'; readonly rtt: number }
  | { readonly kind: 'too-big'; readonly mtu: number }
  | { readonly kind: 'timeout' };

/** What the prober needs; a fake in tests. */
export interface Pinger {
  /** @param size bytes of the whole IP packet, sent with DF. Always resolves. */
  ping(address: string, size: number, timeoutMs: number): Promise<EchoResult>;
  close(): void;
}

type RawSocket = typeof import('raw-socket');

interface Waiting {
  readonly family: Family;
  readonly started: number;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (result: EchoResult) => void;
}

const MAX_PENDING = 4096;
/** IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = PROBE: DF set, the kernel's own path MTU cache ignored. */
const DISCOVER = { 4: { level: 0, option: 10 }, 6: { level: 41, option: 23 } } as const;
const PROBE = 3;

/** @returns the pinger, or why there is none. */
export async function openEcho(): Promise<Pinger | string> {
  let raw: RawSocket;
  try {
    const loaded = (await import('raw-socket')) as RawSocket & { default?: RawSocket };
    raw = loaded.default ?? loaded;
  } catch {
    return 'off (raw-socket not built)';
  }
  try {
    return new Echo(raw);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return /not permitted/i.test(text) ? 'off (needs CAP_NET_RAW)' : `off (${text})`;
  }
}

class Echo implements Pinger {
  readonly #raw: RawSocket;
  readonly #id = randomInt(1, 0x10000);
  readonly #sockets = new Map<Family, Socket>();
  readonly #waiting = new Map<number, Waiting>();
  #sequence = 0;

  constructor(raw: RawSocket) {
    this.#raw = raw;
    this.#socket(4);
  }

  ping(address: string, size: number, timeoutMs: number): Promise<EchoResult> {
    return new Promise((resolve) => {
      if (this.#waiting.size >= MAX_PENDING) return resolve({ kind: 'timeout' });
      const family: Family = isIPv6(address) ? 6 : 4;
      do this.#sequence = (this.#sequence + 1) & 0xffff;
      while (this.#waiting.has(this.#sequence));
      const sequence = this.#sequence;
      const timer = setTimeout(() => this.#finish(sequence, { kind: 'timeout' }), timeoutMs);
      this.#waiting.set(sequence, { family, started: performance.now(), timer, resolve });
      try {
        const packet = echoRequest(family, this.#id, sequence, size);
        this.#socket(family).send(packet, 0, packet.length, address, (error) => {
          if (error && /too long/i.test(error.message)) this.#finish(sequence, { kind: 'too-big', mtu: 0 });
        });
      } catch {
        // No socket of this family: the timer answers.
      }
    });
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
    for (const sequence of [...this.#waiting.keys()]) this.#finish(sequence, { kind: 'timeout' });
  }

  #finish(sequence: number, result: EchoResult): void {
    const waiting = this.#waiting.get(sequence);
    if (!waiting) return;
    this.#waiting.delete(sequence);
    clearTimeout(waiting.timer);
    waiting.resolve(result);
  }

  #socket(family: Family): Socket {
    const open = this.#sockets.get(family);
    if (open) return open;
    const { AddressFamily, Protocol } = this.#raw;
    const socket = this.#raw.createSocket(
      family === 4
        ? { addressFamily: AddressFamily.IPv4, protocol: Protocol.ICMP }
        : { addressFamily: AddressFamily.IPv6, protocol: Protocol.ICMPv6 },
    );
    socket.setOption(DISCOVER[family].level, DISCOVER[family].option, PROBE);
    socket.on('message', (message: Buffer) => this.#receive(family, message));
    // A pending socket error (EHOSTUNREACH, …) says nothing the timer does not say; a closed one is reopened.
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#sockets.get(family) === socket) this.#sockets.delete(family);
    });
    this.#sockets.set(family, socket);
    return socket;
  }

  /** The socket sees all ICMP of its namespace: family, identifier and sequence must be ours. */
  #receive(family: Family, buffer: Buffer): void {
    const message = readEcho(family, buffer);
    if (!message || message.id !== this.#id) return;
    const waiting = this.#waiting.get(message.sequence);
    if (waiting?.family !== family) return;
    this.#finish(
      message.sequence,
      message.kind === 'reply'
        ? { kind: 'reply', rtt: performance.now() - waiting.started }
        : { kind: 'too-big', mtu: message.mtu },
    );
  }
}
