/** What leaves in one system call: the underlay goes through a TAP that takes UDP super-frames as they were sent. */
import { readSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Control, Gso, TxStatus } from '../../src/card/layout.ts';
import { loadNative } from '../../src/card/native.ts';
import { NativeCard } from '../../src/card/native-card.ts';
import { build, type FrameSpec, hex, pattern, segments } from './frames.ts';
import { addUnderlay, ip, kernel, put, queue, release, remote, tap } from './kernel.ts';

/** One call: its datagrams, and what they share. */
interface Call {
  to: number;
  port: number;
  tos: number;
  datagrams: string[];
}

const [SENT, TOO_BIG, ERROR, INVALID] = [TxStatus.SENT, TxStatus.TOO_BIG, TxStatus.ERROR, TxStatus.INVALID];

describe.skipIf(!kernel)('datagrams packed into system calls', () => {
  const native = kernel ? loadNative() : (undefined as never);
  const name = `twp${process.pid % 100_000}`;
  // From 198.18.0.0/15, reserved for benchmarks (RFC 2544): nobody's real addresses.
  const net = `198.18.${process.pid % 251}`;
  let card: NativeCard;
  let wire: number;
  let descriptors: number[] = [];

  beforeEach(() => {
    const addresses = [{ address: `${net}.1`, prefix: 24 }];
    wire = native.createTap(tap(null, { name, mtu: 1500, addresses })).fd;
    ip('link', 'set', name, 'gso_max_size', '65536'); // a network card's, not a container's
    for (const host of [2, 3])
      ip('neigh', 'add', `${net}.${host}`, 'lladdr', `02:00:00:00:00:0${host}`, 'dev', name);
    card = new NativeCard();
  });
  afterEach(() => {
    card.close();
    for (const fd of descriptors) native.close(fd);
    descriptors = [];
    native.close(wire);
  });

  async function open(change: Parameters<typeof addUnderlay>[2] = {}): Promise<void> {
    ({ descriptors } = await addUnderlay(card, 0, { address: `${net}.1`, ...change }));
    remote(card, 0, `${net}.2`, 4789);
    remote(card, 1, `${net}.3`, 4789);
  }

  /** Everything that left, in order. */
  function calls(): Call[] {
    const found: Call[] = [];
    const bytes = Buffer.alloc(70_000);
    for (;;) {
      let length: number;
      try {
        length = readSync(wire, bytes);
      } catch {
        return found;
      }
      const frame = bytes.subarray(12, length);
      if (frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 17 || frame.readUInt16BE(36) !== 4789) continue;
      const data = frame.subarray(42);
      const size = bytes[1] === Gso.UDP_L4 ? bytes.readUInt16LE(4) : data.length;
      const datagrams: string[] = [];
      for (let at = 0; at < data.length; at += size) datagrams.push(hex(data.subarray(at, at + size)));
      found.push({ to: frame[33]!, port: frame.readUInt16BE(34), tos: frame[15]!, datagrams });
    }
  }

  type Out = Partial<Parameters<typeof queue>[2]> & { frame: Uint8Array; gsoSize?: number };

  /** Sends all in one flush. @returns their statuses */
  function flush(list: readonly Out[]): TxStatus[] {
    const slots = list.map(({ frame, gsoSize, ...request }) => {
      const l4 = 34;
      const offload = gsoSize ? { csumStart: l4, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize } : {};
      const slot = put(card, frame, offload);
      queue(card, slot, { device: 0, ...request });
      return slot;
    });
    card.flush();
    for (const slot of slots) release(card, slot);
    expect(card.memory.control[Control.TX_COUNT]).toBe(0);
    return [...card.memory.txStatus.slice(0, list.length)];
  }

  const ofSize = (length: number, seed = length): Uint8Array => pattern(length, seed);
  const lengths = (found: readonly Call[]): number[][] =>
    found.map(({ datagrams }) => datagrams.map((datagram) => datagram.length / 2));

  test('equal sizes go together; a shorter one closes, a larger one opens', async () => {
    await open();
    const frames = [100, 100, 100, 60, 100, 120, 120, 119, 119].map(ofSize);
    expect(flush(frames.map((frame) => ({ frame })))).toEqual(frames.map(() => SENT));
    const found = calls();
    expect(lengths(found)).toEqual([[100, 100, 100, 60], [100], [120, 120, 119], [119]]);
    expect(found.flatMap(({ datagrams }) => datagrams)).toEqual(frames.map(hex));
  });

  test('at most 64 datagrams, at most what a device takes at once', async () => {
    await open();
    flush(Array.from({ length: 130 }, (_, i) => ({ frame: ofSize(50, i) })));
    expect(calls().map(({ datagrams }) => datagrams.length)).toEqual([64, 64, 2]);
    flush(Array.from({ length: 50 }, (_, i) => ({ frame: ofSize(1400, i) })));
    expect(calls().map(({ datagrams }) => datagrams.length)).toEqual([46, 4]);
    // 46 of 1424 would fit in an IP packet, yet not with its Ethernet header below 64 KiB: the kernel would cut it
    flush(Array.from({ length: 50 }, (_, i) => ({ frame: ofSize(1424, i) })));
    expect(calls().map(({ datagrams }) => datagrams.length)).toEqual([45, 5]);
  });

  test('remotes, marks and sockets are kept apart; order within a socket', async () => {
    await open();
    const frame = (i: number): Uint8Array => ofSize(90, i);
    const list: Out[] = [
      { frame: frame(0) },
      { frame: frame(1) },
      { frame: frame(2), remote: 1 },
      { frame: frame(3) },
      { frame: frame(4), tos: 2 },
      { frame: frame(5), tos: 2 },
      { frame: frame(6), tos: 3 },
      ...Array.from({ length: 10 }, (_, i) => ({ frame: frame(10 + i), entropy: 1 + (i % 2) })),
    ];
    expect(flush(list)).toEqual(list.map(() => SENT));
    const found = calls();
    const seen = found.map(({ to, tos, datagrams }) => [to, tos, datagrams.length]);
    expect(seen).toEqual([
      [2, 0, 2],
      [3, 0, 1],
      [2, 0, 1],
      [2, 2, 2],
      [2, 3, 1],
      [2, 0, 5],
      [2, 0, 5],
    ]);
    expect(new Set(found.map(({ port }) => port)).size).toBe(3);
    const sent = found.flatMap(({ datagrams }) => datagrams);
    const odd = [1, 3, 5, 7, 9].map((i) => 10 + i);
    const order = [0, 1, 2, 3, 4, 5, 6, 10, 12, 14, 16, 18, ...odd];
    expect(sent).toEqual(order.map((i) => hex(frame(i))));
  });

  const spec = (bytes: number, seed: number): FrameSpec => ({
    v6: false,
    protocol: 'tcp',
    payload: pattern(bytes, seed),
    id: seed,
  });
  const superFrame = (bytes: number, seed: number, gsoSize: number): Out => ({
    frame: build({ ...spec(bytes, seed), partial: true }).bytes,
    gsoSize,
  });
  const cut = (bytes: number, seed: number, size: number): string[] =>
    segments(spec(bytes, seed), size).map(hex);

  test('segments of super-frames and plain frames go together, in order', async () => {
    await open();
    const list: Out[] = [
      { frame: ofSize(60) },
      superFrame(3000, 1, 1000),
      { frame: ofSize(1054) },
      superFrame(2500, 2, 1000),
      { frame: ofSize(1054, 5) },
      superFrame(10, 3, 1000),
      { frame: ofSize(64, 6) },
    ];
    expect(flush(list)).toEqual(list.map(() => SENT));
    const found = calls();
    expect(lengths(found)).toEqual([[60], [1054, 1054, 1054, 1054, 1054, 1054, 554], [1054, 64], [64]]);
    expect(found.flatMap(({ datagrams }) => datagrams)).toEqual([
      hex(ofSize(60)),
      ...cut(3000, 1, 1000),
      hex(ofSize(1054)),
      ...cut(2500, 2, 1000),
      hex(ofSize(1054, 5)),
      ...cut(10, 3, 1000),
      hex(ofSize(64, 6)),
    ]);
  });

  test('more segments than there is scratch for', async () => {
    await open();
    const seeds = Array.from({ length: 12 }, (_, i) => i);
    // 12 * 149 segments of 454 bytes; on two sockets, so that one waits while the other fills the scratch
    const list = seeds.map((seed) => ({ ...superFrame(59_600, seed, 400), entropy: seed % 2 }));
    expect(flush(list)).toEqual(list.map(() => SENT));
    const bySocket = new Map<number, string[]>();
    for (const { port, datagrams } of calls())
      bySocket.set(port, [...(bySocket.get(port) ?? []), ...datagrams]);
    const expected = [0, 1].map((socket) =>
      seeds.filter((seed) => seed % 2 === socket).flatMap((seed) => cut(59_600, seed, 400)),
    );
    expect([...bySocket.values()]).toEqual(expected);
  });

  test('too big: only those that are, whatever they were packed with', async () => {
    await open();
    ip('link', 'set', name, 'mtu', '1300');
    const sizes = [200, 1290, 1290, 1290, 150, 1272, 1272, 1273, 70_000, 40];
    const list = sizes.map((size) => ({ frame: ofSize(Math.min(size, 65_600)) }));
    const fits = sizes.map((size) => size <= 1300 - 28);
    expect(flush(list)).toEqual(fits.map((fit) => (fit ? SENT : TOO_BIG)));
    const sent = calls().flatMap(({ datagrams }) => datagrams);
    expect(sent).toEqual(list.filter((_, i) => fits[i]).map(({ frame }) => hex(frame)));
    // a super-frame with one segment too big is too big, its last segment leaves
    expect(flush([{ frame: ofSize(50) }, superFrame(3000, 1, 1250), { frame: ofSize(51) }])).toEqual([
      SENT,
      TOO_BIG,
      SENT,
    ]);
    expect(calls().flatMap(({ datagrams }) => datagrams.map((d) => d.length / 2))).toEqual([50, 554, 51]);
    // that was no refusal to segment
    flush([{ frame: ofSize(80, 1) }, { frame: ofSize(80, 2) }]);
    expect(lengths(calls())).toEqual([[80, 80]]);
  });

  test('a path without DF takes fragments of what is too big', async () => {
    await open({ df: false });
    ip('link', 'set', name, 'mtu', '1300');
    const list = [1290, 1290, 100].map((size, i) => ({ frame: ofSize(size, i) }));
    expect(flush(list)).toEqual([SENT, SENT, SENT]);
    expect(calls().length, 'each has a first fragment').toBe(3);
  });

  test('an unreachable remote fails its own requests only', async () => {
    await open();
    ip('route', 'add', 'unreachable', `${net}.77/32`);
    try {
      remote(card, 2, `${net}.77`, 4789);
      const list: Out[] = [0, 2, 2, 2, 0].map((row, i) => ({ frame: ofSize(100, i), remote: row }));
      list.splice(2, 0, { frame: ofSize(100, 9), remote: 99 });
      expect(flush(list)).toEqual([SENT, ERROR, INVALID, ERROR, ERROR, SENT]);
      expect(calls().flatMap(({ datagrams }) => datagrams)).toEqual([
        hex(ofSize(100, 0)),
        hex(ofSize(100, 4)),
      ]);
    } finally {
      ip('route', 'del', 'unreachable', `${net}.77/32`);
    }
  });

  test('refused segmentation: datagram by datagram, in order, on every socket', async () => {
    await open({ checksum: false }); // the kernel segments only what has a checksum
    for (let round = 0; round < 3; round++) {
      const list: Out[] = [
        ...[100, 100, 60, 100, 100].map((size, i) => ({ frame: ofSize(size, i) })),
        superFrame(2500, round, 1000),
        { frame: ofSize(30), entropy: 1 },
        { frame: ofSize(30, 2), entropy: 1 },
      ];
      expect(flush(list)).toEqual(list.map(() => SENT));
      const found = calls();
      expect(found.every(({ datagrams }) => datagrams.length === 1)).toBe(true);
      expect(found.flatMap(({ datagrams }) => datagrams)).toEqual([
        ...list.slice(0, 5).map(({ frame }) => hex(frame)),
        ...cut(2500, round, 1000),
        ...list.slice(6).map(({ frame }) => hex(frame)),
      ]);
    }
  });
});
