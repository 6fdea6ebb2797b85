/**
 * Two switches with one configuration and one input: one with the fast path, one without. Every frame the fast path
 * takes is a turn of its own for the other, which is what it promises to be; everything else must be equal.
 */
import { expect } from 'vitest';
import { Control, TxStatus } from '../../src/card/layout.ts';
import { MemoryCard, type MemoryFrame } from '../../src/card/memory-card.ts';
import type { Flows } from '../../src/conntrack/flows.ts';
import { windowAt } from '../../src/conntrack/row.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { dump } from '../../src/dataplane/dump.ts';
import { GROUP } from '../../src/dataplane/pipeline.ts';
import { Counters, Global } from '../../src/telemetry/counters.ts';
import { toHex } from '../frames.ts';

export const UNDERLAY = 900;
export const UNDERLAY6 = 901;

class Twin {
  readonly card = new MemoryCard();
  readonly counters = new Counters();
  readonly dataplane: Dataplane;
  sent: string[] = [];

  constructor(isFast: boolean, status: (device: number) => TxStatus) {
    this.dataplane = new Dataplane(this.card, this.counters, 0x5eed, 64, isFast);
    this.card.onSend = (frame) => {
      this.sent.push(describe(frame));
      return status(frame.device);
    };
  }

  turn(frames: readonly MemoryFrame[]): void {
    for (const frame of frames) this.card.receive(frame);
    this.dataplane.turn();
  }

  get fastFrames(): number {
    return this.counters.globals[Global.FAST_FRAMES]!;
  }
}

export class Twins {
  /** What the card answers to sends on a device. */
  readonly status = new Map<number, TxStatus>();
  frames = 0;
  private readonly fast: Twin;
  private readonly plain: Twin;

  constructor(ops: readonly Op[]) {
    const status = (device: number) => this.status.get(device) ?? TxStatus.SENT;
    this.fast = new Twin(true, status);
    this.plain = new Twin(false, status);
    this.apply(ops);
    for (let i = 0; i < 40; i++) this.advance(100);
  }

  get fastFrames(): number {
    return this.fast.fastFrames;
  }

  apply(ops: readonly Op[]): void {
    this.fast.dataplane.apply(ops);
    this.plain.dataplane.apply(ops);
    this.advance(0);
  }

  /** Moves the clocks and does what time demands, so that no burst does. */
  advance(ms: number): void {
    for (const twin of [this.fast, this.plain]) {
      twin.card.now = (twin.card.now + ms) | 0;
      do twin.turn([]);
      while (twin.dataplane.pipeline.isBehind);
    }
    this.compare();
  }

  /** At most GROUP frames. @returns what the fast switch sent, and how many of the frames took the fast path. */
  burst(frames: readonly MemoryFrame[]): { sent: string[]; head: number } {
    expect(frames.length).toBeLessThanOrEqual(GROUP);
    const before = this.fast.fastFrames;
    this.fast.turn(frames);
    const head = this.fast.fastFrames - before;
    for (const frame of frames.slice(0, head)) this.plain.turn([frame]);
    if (head < frames.length) this.plain.turn(frames.slice(head));
    this.frames += frames.length;
    const { sent } = this.fast;
    this.compare();
    return { sent, head };
  }

  /** Sent frames with their metadata and order, counters, and what is remembered of the path MTU. */
  private compare(): void {
    const [fast, plain] = [this.fast, this.plain];
    expect(fast.sent).toEqual(plain.sent);
    fast.sent = [];
    plain.sent = [];
    expect(same(fast.counters.values, plain.counters.values), 'counters').toBe(true);
    expect(same(fast.counters.drops, plain.counters.drops), 'drops').toBe(true);
    const globals = [fast, plain].map(({ counters }) => counters.globals.slice(0, Global.FAST_FRAMES));
    expect(globals[0]).toEqual(globals[1]);
    const free = [fast, plain].map(({ card }) => card.memory.control[Control.FREE_COUNT]);
    expect(free[0], 'slots').toBe(free[1]);
    const [a, b] = [fast, plain].map(({ dataplane }) => dataplane.pipeline);
    expect(a!.transmit.tooBigPeer).toBe(b!.transmit.tooBigPeer);
    expect([a!.flows.count, a!.flows.evicted]).toEqual([b!.flows.count, b!.flows.evicted]);
  }

  /** Every table, row by row. Slow; once in a while. */
  compareTables(): void {
    for (const what of ['fdb', 'neighbors', 'flows', 'affinities'] as const) {
      expect(dump(this.fast.dataplane, what), what).toEqual(dump(this.plain.dataplane, what));
    }
    const [a, b] = [this.fast, this.plain].map(({ dataplane }) => windows(dataplane.pipeline.flows));
    expect(a!.compare(b!), 'windows').toBe(0);
  }
}

/** Of every row there is, one after the other. */
const windows = ({ lines, extent }: Flows): Buffer =>
  Buffer.concat(
    Array.from({ length: extent * 2 }, (_, id) => {
      const at = windowAt(id);
      return Buffer.from(lines.slice(at, at + 8).buffer);
    }),
  );

const same = (a: Float64Array, b: Float64Array): boolean =>
  Buffer.compare(
    Buffer.from(a.buffer, a.byteOffset, a.byteLength),
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  ) === 0;

/** All that the card is told of a frame; what concerns datagrams only for those. */
function describe(frame: MemoryFrame): string {
  const { device, bytes, csumStart, csumOffset, gsoType, gsoSize, remote, port, tos, entropy } = frame;
  const isDatagram = device === UNDERLAY || device === UNDERLAY6;
  const datagram = isDatagram ? ` to ${remote!.join()}:${port} tos ${tos} entropy ${entropy}` : '';
  return `${device} ${csumStart}+${csumOffset} ${gsoType}/${gsoSize}${datagram} ${toHex(bytes)}`;
}
