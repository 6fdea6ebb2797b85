/** What the card's tests need of the kernel: namespaces, TAPs, ports, and small moves on a card's memory. */
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { accessSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Card } from '../../src/card/card.ts';
import { Control, Gso, SLOT_BYTES, TxStatus } from '../../src/card/layout.ts';
import { loadNative, type TapOptions, type UnderlayOptions } from '../../src/card/native.ts';

function usable(): boolean {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

/** Root and /dev/net/tun. Their absence skips tests on a laptop and is an error in CI. */
export const kernel = usable();
if (!kernel && process.env.CI === 'true') throw new Error('test/card needs root and /dev/net/tun');

let counter = 0;

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A namespace of its own, without IPv6 so that the kernel sends nothing unasked. */
export class Namespace {
  readonly name = `twc${process.pid}x${counter++}`;
  readonly path = `/run/netns/${this.name}`;

  constructor(ipv6 = false) {
    ip('netns', 'add', this.name);
    if (!ipv6)
      this.exec('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
    ip('-n', this.name, 'link', 'set', 'lo', 'up');
  }

  exec(...command: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, ...command], { encoding: 'utf8' });
  }

  delete(): void {
    try {
      ip('netns', 'del', this.name);
    } catch {
      // Deleted by the test itself.
    }
  }
}

export const tap = (netns: string | null, change: Partial<TapOptions> = {}): TapOptions => ({
  netns,
  name: 'eth0',
  mac: '02:00:00:00:00:aa',
  mtu: 1500,
  addresses: [],
  gateways: [],
  ...change,
});

export const underlay = (port: number, change: Partial<UnderlayOptions> = {}): UnderlayOptions => ({
  address: '127.0.0.1',
  port,
  sourcePorts: [49152, 65535],
  ttl: 64,
  df: true,
  checksum: true,
  zeroChecksum6: false,
  ...change,
});

/** A UDP port nobody has right now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind(0, () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

/**
 * Opens an underlay on a free port and adds it as `device`.
 * @param prefix where the card looks for frames; 0 keeps it from recognising, hence merging, VXLAN's.
 */
export async function addUnderlay(
  card: { addUnderlay(device: number, rx: number, tx: number[], prefix: number): void },
  device: number,
  change: Partial<UnderlayOptions> = {},
  prefix = 8,
): Promise<{ port: number; descriptors: number[] }> {
  const port = await freePort();
  const { rx, tx } = loadNative().openUnderlay(underlay(port, change));
  card.addUnderlay(device, rx, tx, prefix);
  return { port, descriptors: [rx, ...tx] };
}

/**
 * A FIFO can stand for a TAP where a test wants to say what the kernel never says: both are one nonblocking
 * descriptor of vnet header and frame.
 */
export function fifo(): { fd: number; delete(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'twill-card-'));
  const path = join(directory, 'fifo');
  execFileSync('mkfifo', [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  return {
    fd,
    delete() {
      loadNative().close(fd);
      rmSync(directory, { recursive: true });
    },
  };
}

export interface Offload {
  csumStart?: number;
  csumOffset?: number;
  gsoType?: Gso;
  gsoSize?: number;
}

/** Takes a free slot and writes a frame at `at` bytes into it. */
export function put(card: Card, frame: Uint8Array, offload: Offload = {}, at = 74): number {
  const m = card.memory;
  const slot = m.free[--m.control[Control.FREE_COUNT]];
  m.start[slot] = slot * SLOT_BYTES + at;
  m.length[slot] = frame.length;
  m.csumStart[slot] = offload.csumStart ?? 0;
  m.csumOffset[slot] = offload.csumOffset ?? 0;
  m.gsoType[slot] = offload.gsoType ?? Gso.NONE;
  m.gsoSize[slot] = offload.gsoSize ?? 0;
  m.bytes.set(frame, m.start[slot]);
  return slot;
}

export function release(card: Card, slot: number): void {
  const m = card.memory;
  m.free[m.control[Control.FREE_COUNT]++] = slot;
}

export interface Request {
  device: number;
  prefix?: number;
  remote?: number;
  tos?: number;
  entropy?: number;
}

/** Queues a slot for the next flush. @returns the request's number. */
export function queue(card: Card, slot: number, request: Request): number {
  const m = card.memory;
  const i = m.control[Control.TX_COUNT]++;
  const prefix = request.prefix ?? 0;
  m.txSlot[i] = slot;
  m.txDevice[i] = request.device;
  m.txStart[i] = m.start[slot] - prefix;
  m.txLength[i] = m.length[slot] + prefix;
  m.txRemote[i] = request.remote ?? 0;
  m.txTos[i] = request.tos ?? 0;
  m.txEntropy[i] = request.entropy ?? 0;
  m.txStatus[i] = -1;
  return i;
}

/** Sends one slot now. */
export function send(card: Card, slot: number, request: Request): TxStatus {
  const i = queue(card, slot, request);
  card.flush();
  return card.memory.txStatus[i];
}

/** Writes a row of `remotes`: IPv4 text, or IPv6 as eight groups. */
export function remote(card: Card, row: number, address: string, port: number): void {
  const words = card.memory.remotes.subarray(row * 5, row * 5 + 5);
  if (address.includes('.')) {
    const [a, b, c, d] = address.split('.').map(Number);
    words.set([0, 0, 0xffff, (a << 24) | (b << 16) | (c << 8) | d, port]);
  } else {
    const groups = address.split(':').map((group) => Number.parseInt(group, 16));
    for (let i = 0; i < 4; i++) words[i] = (groups[i * 2] << 16) | groups[i * 2 + 1];
    words[4] = port;
  }
}

export const frameOf = (card: Card, slot: number): Uint8Array => {
  const m = card.memory;
  return m.bytes.slice(m.start[slot], m.start[slot] + m.length[slot]);
};

/** Polls until `count` slots passing `want` came, or half a second passed in silence. Others are released. */
export function receive(card: Card, count: number, want: (slot: number) => boolean = () => true): number[] {
  const m = card.memory;
  const slots: number[] = [];
  m.control[Control.TIMEOUT] = 50;
  for (let silence = 0; slots.length < count && silence < 10; silence++) {
    const n = card.poll();
    for (let i = 0; i < n; i++) {
      if (want(m.rx[i])) slots.push(m.rx[i]);
      else release(card, m.rx[i]);
    }
    if (n > 0) silence = 0;
  }
  m.control[Control.TIMEOUT] = 0;
  return slots;
}

/** Releases whatever arrives until nothing does. */
export function drain(card: Card): void {
  for (const slot of receive(card, Number.POSITIVE_INFINITY, () => false)) release(card, slot);
}

export { TxStatus };
