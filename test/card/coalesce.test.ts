/**
 * Merging at receive. A UDP socket stands for a TAP where a test says what a TAP would deliver: both are one
 * descriptor that gives virtio-net header and frame with every read. Tunnels are real ones that send to themselves.
 */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BURST, Control, Fault, Gso, SLOTS } from '../../src/card/layout.ts';
import { loadNative } from '../../src/card/native.ts';
import { NativeCard } from '../../src/card/native-card.ts';
import { ACK, build, type FrameSpec, hex, PSH, parse, pattern, pseudoSum, resum, split } from './frames.ts';
import {
  addUnderlay,
  drain,
  frameOf,
  freePort,
  ip,
  kernel,
  Namespace,
  put,
  queue,
  receive,
  release,
  remote,
  send,
  tap,
  underlay,
} from './kernel.ts';

/** Devices: two that stand for TAPs, one whose sockets feed them, a tunnel and another host's end of it. */
const [TAP, OTHER_TAP, FEED, TUNNEL, STRANGER] = [0, 1, 2, 3, 4];
const VXLAN = Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0);

/** One frame on its way to the card. */
interface Wire {
  frame: Uint8Array;
  /** The virtio-net header says NEEDS_CSUM; the tunnel's frames say it by their checksum alone. */
  partial?: boolean;
  from?: number;
  vxlan?: Uint8Array;
  tos?: number;
}

interface Got {
  frame: Uint8Array;
  gsoSize: number;
  device: number;
  fault: Fault;
}

describe.skipIf(!kernel)('frames of one flow become a super-frame', () => {
  const native = kernel ? loadNative() : (undefined as never);
  let card: NativeCard;
  let descriptors: number[];

  beforeEach(async () => {
    card = new NativeCard();
    descriptors = [];
    for (const device of [TAP, OTHER_TAP]) {
      const port = await freePort();
      const { rx, tx } = native.openUnderlay(underlay(port));
      descriptors.push(rx, ...tx);
      card.addTap(device, rx);
      remote(card, device, '127.0.0.1', port);
    }
    for (const [device, address] of [
      [FEED, '127.0.0.1'],
      [TUNNEL, '127.0.0.1'],
      [STRANGER, '127.0.0.2'],
    ] as const) {
      const opened = await addUnderlay(card, device, { address });
      descriptors.push(...opened.descriptors);
      if (device === TUNNEL) remote(card, TUNNEL, address, opened.port);
    }
  });
  afterEach(() => {
    card.close();
    for (const fd of descriptors) native.close(fd);
  });

  /** Each by a system call of its own, so that they arrive one by one and in this order. */
  function feed(frames: readonly Wire[]): void {
    for (const { frame, partial, from = TAP, vxlan = VXLAN, tos = 0 } of frames) {
      const isTap = from === TAP || from === OTHER_TAP;
      const header = new Uint8Array(isTap ? 12 : 8);
      if (!isTap) header.set(vxlan);
      else if (partial) header.set([1, 0, 0, 0, 0, 0, parse(frame).l4, 0, parse(frame).tcp ? 16 : 6, 0]);
      const slot = put(card, Uint8Array.of(...header, ...frame));
      const device = isTap ? FEED : from;
      expect(send(card, slot, { device, remote: isTap ? from : TUNNEL, tos })).toBe(0);
      release(card, slot);
    }
  }

  /** Reads a received slot, whose columns must agree with its frame, and releases it. */
  function take(slot: number): Got {
    const m = card.memory;
    const device = m.device[slot];
    const frame = device === TUNNEL ? frameOf(card, slot).subarray(8) : frameOf(card, slot);
    const got = { frame, gsoSize: m.gsoSize[slot], device, fault: m.fault[slot] };
    if (got.gsoSize > 0) {
      const { v6, tcp, l4, field, headers, end, view } = parse(frame);
      expect(m.gsoType[slot]).toBe(tcp ? (v6 ? Gso.TCPV6 : Gso.TCPV4) : Gso.UDP_L4);
      expect([m.csumStart[slot], m.csumOffset[slot], end]).toEqual([l4, field - l4, frame.length]);
      expect(end - headers).toBeGreaterThan(got.gsoSize);
      expect(view.getUint16(field), 'the pseudo-header sum').toBe(pseudoSum(frame));
      if (!tcp) expect(view.getUint16(l4 + 4)).toBe(end - l4);
      if (!v6) expect(hex(frame.subarray(24, 26))).toBe(hex(resum(frame.slice()).subarray(24, 26)));
    }
    release(card, slot);
    return got;
  }

  /** What one poll gives. */
  const poll = (): Got[] => [...card.memory.rx.slice(0, card.poll())].map(take);

  const sizes = (got: readonly Got[]): number[] => got.map(({ gsoSize }) => gsoSize);
  const count = ({ frame, gsoSize }: Got): number => (gsoSize ? split(frame, gsoSize).length : 1);

  /** The frames a slot stands for, in hex; what merging may lose is blanked: padding, ids that mean nothing. */
  const canonical = (frame: Uint8Array): string => {
    const bytes = frame.slice(0, parse(frame).end);
    if (parse(bytes).df) bytes.set([0, 0], 18);
    return hex(resum(bytes));
  };
  const back = ({ frame, gsoSize }: Got): string[] =>
    (gsoSize ? split(frame, gsoSize) : [frame]).map(canonical);
  const flow = (frame: string): string => {
    const bytes = Buffer.from(frame, 'hex');
    const { l4 } = parse(bytes);
    return hex(bytes.subarray(23, l4 + 4));
  };
  const byFlow = (frames: readonly string[]): Record<string, string[]> => {
    const flows: Record<string, string[]> = {};
    for (const frame of frames) {
      flows[flow(frame)] ??= [];
      flows[flow(frame)]!.push(frame);
    }
    return flows;
  };

  /** What makes merging end is rare, so that something is merged. */
  const rarely = <T>(usual: T, ...odd: T[]) =>
    fc.oneof(
      { weight: 15, arbitrary: fc.constant(usual) },
      { weight: 1, arbitrary: fc.constantFrom(...odd) },
    );
  const frameIn = fc.record({
    flow: fc.constantFrom(0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5),
    cut: rarely(0, 1, 100),
    more: rarely(0, 13),
    push: rarely(false, true),
    padding: fc.constantFrom(0, 0, 7),
    gap: rarely(0, 5),
    partial: fc.boolean(),
    empty: rarely(false, true),
    tos: rarely(0, 3),
  });
  const flowIn = fc.record({
    v6: fc.boolean(),
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    size: fc.integer({ min: 1, max: 1400 }),
    df: fc.boolean(),
    id: fc.integer({ min: 0, max: 0xffff }),
    sequence: fc.integer({ min: 0, max: 0xffff_ffff }),
    tcpOptions: fc.constantFrom(0, 12),
  });

  for (const [name, from, give] of [
    ['TAP', TAP, feed],
    ['tunnel', TUNNEL, feed],
    ['tunnel in messages of many', TUNNEL, (list: readonly Wire[]) => pack(list.map(({ frame }) => frame))],
  ] as const) {
    test(`whatever arrives by a ${name} is what the super-frames stand for, in order within each flow`, () => {
      let merged = 0;
      const property = fc.property(
        fc.array(flowIn, { minLength: 6, maxLength: 6 }),
        fc.array(frameIn, { minLength: 1, maxLength: 90, size: 'max' }),
        (flows, list) => {
          const at = flows.map(({ sequence, id }) => ({ sequence, id }));
          const input = list.map((item, i): Wire => {
            const { size, df, ...shape } = flows[item.flow]!;
            const state = at[item.flow]!;
            const payload = pattern(item.empty ? 0 : Math.max(1, size - item.cut + item.more), i);
            const frame = build({
              ...shape,
              payload,
              tcpOptions: shape.protocol === 'tcp' ? shape.tcpOptions : 0,
              sequence: state.sequence + item.gap,
              id: state.id++,
              flags: item.push ? ACK | PSH : ACK,
              sourcePort: 1000 + item.flow,
            }).bytes;
            state.sequence += item.gap + payload.length;
            frame[15] |= shape.v6 ? item.tos << 4 : item.tos;
            if (!shape.v6 && !df) frame[20] = 0;
            resum(frame);
            if (item.partial) parse(frame).view.setUint16(parse(frame).field, pseudoSum(frame));
            const padded = Uint8Array.of(...frame, ...new Uint8Array(item.padding));
            return { frame: padded, partial: item.partial, from };
          });
          give(input);
          const got: Got[] = [];
          for (let silence = 0, arrived = 0; arrived < input.length && silence < 20; silence++) {
            card.memory.control[Control.TIMEOUT] = 20;
            const some = poll();
            arrived += some.reduce((sum, one) => sum + count(one), 0);
            got.push(...some);
          }
          card.memory.control[Control.TIMEOUT] = 0;
          expect(card.poll(), 'nothing twice').toBe(0);
          merged += input.length - got.length;
          expect(byFlow(got.flatMap(back))).toEqual(byFlow(input.map(({ frame }) => canonical(frame))));
          expect(card.memory.control[Control.FREE_COUNT]).toBe(SLOTS);
        },
      );
      fc.assert(property, { numRuns: 60 });
      expect(merged, 'frames merged').toBeGreaterThan(500);
    });
  }

  const SIZE = 200;
  const spec = (shape: Partial<FrameSpec>, i: number, bytes = SIZE): FrameSpec => ({
    v6: false,
    protocol: 'tcp',
    sequence: 5000 + i * SIZE,
    id: 77 + i,
    payload: pattern(bytes, i),
    ...shape,
  });
  const tcp = (i: number, shape: Partial<FrameSpec> = {}): Uint8Array => build(spec(shape, i)).bytes;
  const udp = (i: number, shape: Partial<FrameSpec> = {}): Uint8Array =>
    build(spec({ protocol: 'udp', ...shape }, i)).bytes;
  /** @param change of bytes, after which the checksums are right again. */
  const edit = (frame: Uint8Array, change: (bytes: Uint8Array, view: DataView) => void): Uint8Array => {
    change(frame, new DataView(frame.buffer));
    return resum(frame);
  };
  const set =
    (at: number, value: number) =>
    (bytes: Uint8Array): void => {
      bytes[at] = value;
    };
  const flip = (frame: Uint8Array, at: number): Uint8Array => {
    frame[at] ^= 0x10;
    return frame;
  };
  const unsummed = (frame: Uint8Array): Uint8Array => {
    frame.set([0, 0], 40);
    return frame;
  };
  const fragment = edit(udp(1), set(20, 0x20));
  const flags = (value: number) => [tcp(0), tcp(1, { flags: ACK | value }), tcp(2)];
  const plain = (i: number, id: number): Uint8Array => edit(tcp(i, { id }), (bytes) => bytes.set([0, 0], 20));

  /** Frames, and how many come out. None of these may become one. */
  const apart: [string, Uint8Array[]][] = [
    ['a bad checksum in the first', [flip(tcp(0), 80), tcp(1)]],
    ['a bad checksum in the second', [tcp(0), flip(tcp(1), 80)]],
    ['a bad checksum in the first, UDP', [flip(udp(0), 80), udp(1)]],
    ['a bad checksum in the second, UDP over IPv6', [udp(0, { v6: true }), flip(udp(1, { v6: true }), 90)]],
    ['a bad IP checksum in the first', [flip(tcp(0), 24), tcp(1)]],
    ['a bad IP checksum in the second', [tcp(0), flip(tcp(1), 25)]],
    ['another acknowledgment', [tcp(0), edit(tcp(1), set(45, 1))]],
    ['another window', [tcp(0), edit(tcp(1), set(49, 1))]],
    ['another urgent pointer', [tcp(0), edit(tcp(1), set(53, 1))]],
    ['other options', [tcp(0, { tcpOptions: 4 }), edit(tcp(1, { tcpOptions: 4 }), set(55, 0))]],
    ['more options', [tcp(0), tcp(1, { tcpOptions: 4 })]],
    ['reserved bits', [edit(tcp(0), set(46, 0x52)), edit(tcp(1), set(46, 0x52))]],
    ['the AE bit in the second', [tcp(0), edit(tcp(1), set(46, 0x51))]],
    ['FIN', flags(1)],
    ['SYN', flags(2)],
    ['RST', flags(4)],
    ['URG', flags(32)],
    ['ECE', flags(64)],
    ['CWR', flags(128)],
    ['no ACK', [tcp(0, { flags: 0 }), tcp(1, { flags: 0 })]],
    ['DSCP', [tcp(0), edit(tcp(1), set(15, 0x20))]],
    ['ECN', [tcp(0), edit(tcp(1), set(15, 3))]],
    ['traffic class of IPv6', [tcp(0, { v6: true }), edit(tcp(1, { v6: true }), set(15, 0x30))]],
    ['flow label', [tcp(0, { v6: true }), edit(tcp(1, { v6: true }), set(17, 1))]],
    ['TTL', [tcp(0), edit(tcp(1), set(22, 63))]],
    ['hop limit', [tcp(0, { v6: true }), edit(tcp(1, { v6: true }), set(21, 63))]],
    ['DF', [tcp(0), edit(tcp(1), set(20, 0))]],
    ['reserved flag of IPv4', [tcp(0), edit(tcp(1), set(20, 0xc0))]],
    ['source port', [tcp(0), tcp(1, { sourcePort: 9 })]],
    ['destination port', [udp(0), edit(udp(1), set(37, 9))]],
    ['source address', [tcp(0), tcp(1, { source: '10.0.0.3' })]],
    ['destination address', [udp(0), udp(1, { destination: '10.0.0.3' })]],
    ['destination MAC', [tcp(0), edit(tcp(1), set(5, 9))]],
    ['source MAC', [tcp(0), edit(tcp(1), set(11, 9))]],
    ['VLAN tag', [tcp(0, { vlan: true }), tcp(1, { vlan: true })]],
    ['IP options', [tcp(0, { ipOptions: 8 }), tcp(1, { ipOptions: 8 })]],
    ['extension header', [udp(0, { v6: true, ipOptions: 8 }), udp(1, { v6: true, ipOptions: 8 })]],
    ['a fragment between', [udp(0), fragment, udp(1)]],
    ['no data between', [tcp(0), build(spec({}, 1, 0)).bytes, tcp(1)]],
    ['a gap in the sequence', [tcp(0), tcp(2)]],
    ['an overlap', [tcp(0), tcp(0, { sequence: 5199 })]],
    ['a repetition', [tcp(0), tcp(0)]],
    ['a larger one', [udp(0), build(spec({ protocol: 'udp' }, 1, SIZE + 1)).bytes]],
    ['what follows PSH', [tcp(0, { flags: ACK | PSH }), tcp(1)]],
    ['no UDP checksum', [udp(0), udp(1)].map(unsummed)],
    ['UDP length shorter than the packet', [udp(0), edit(udp(1), set(39, 100))]],
    ['UDP length beyond the packet', [udp(0), edit(udp(1), set(38, 3))]],
    ['an empty datagram', [udp(0), build(spec({ protocol: 'udp' }, 1, 0)).bytes]],
    ['an identification that does not follow', [plain(0, 5), plain(1, 7)]],
    ['the same identification again', [plain(0, 5), plain(1, 5)]],
    ['TCP header shorter than 20', [tcp(0), edit(tcp(1), set(46, 0x40))]],
    ['TCP header beyond the packet', [0, 1].map((i) => edit(build(spec({}, i, 1)).bytes, set(46, 0xf0)))],
    ['IP length beyond the frame', [tcp(0), tcp(1).subarray(0, 250)]],
    ['IPv6 length beyond the frame', [tcp(0, { v6: true }), tcp(1, { v6: true }).subarray(0, 250)]],
    ['cut inside the IP header', [tcp(0).subarray(0, 33), tcp(0, { v6: true }).subarray(0, 53)]],
    ['another protocol', [edit(udp(0), set(23, 132)), edit(udp(1), set(23, 132))]],
  ];

  for (const [name, from] of [
    ['TAP', TAP],
    ['tunnel', TUNNEL],
  ] as const) {
    for (const [what, frames] of apart) {
      test(`never across: ${what} (${name})`, () => {
        feed(frames.map((frame) => ({ frame, from })));
        const got = poll();
        expect(sizes(got)).toEqual(frames.map(() => 0));
        expect(got.map(({ frame }) => hex(frame))).toEqual(frames.map(hex));
      });
    }
  }

  test('never across: what comes from elsewhere', () => {
    const [first, second] = [tcp(0), tcp(1)];
    const pairs: [string, Wire, Wire][] = [
      ['another TAP', { frame: first }, { frame: second, from: OTHER_TAP }],
      ['TAP and tunnel', { frame: first }, { frame: second, from: TUNNEL }],
      ['another host', { frame: first, from: TUNNEL }, { frame: second, from: STRANGER }],
      ['outer TOS', { frame: first, from: TUNNEL }, { frame: second, from: TUNNEL, tos: 3 }],
      [
        'another VNI',
        { frame: first, from: TUNNEL },
        { frame: second, from: TUNNEL, vxlan: Uint8Array.of(8, 0, 0, 0, 0, 0, 43, 0) },
      ],
    ];
    for (const [name, ...frames] of pairs) {
      feed(frames);
      const got = [...poll(), ...poll()];
      expect(sizes(got), name).toEqual([0, 0]);
      expect(got.map(({ frame }) => hex(frame)).sort(), name).toEqual([hex(first), hex(second)].sort());
    }
  });

  test('a checksum that a TAP calls complete is not taken for a partial one', () => {
    const frames = [0, 1].map((i) => tcp(i, { partial: true }));
    feed(frames.map((frame) => ({ frame })));
    const got = poll();
    expect(got.map(({ frame }) => hex(frame))).toEqual(frames.map(hex));
  });

  test('a virtio-net header whose checksum is elsewhere keeps its frame apart', () => {
    const frames = [0, 1].map((i) => tcp(i));
    for (const [start, offset] of [
      [34, 6],
      [38, 16],
      [14, 10],
      [200, 16],
    ] as const) {
      for (const frame of frames) {
        const slot = put(card, Uint8Array.of(1, 0, 0, 0, 0, 0, start, 0, offset, 0, 0, 0, ...frame));
        send(card, slot, { device: FEED, remote: TAP });
        release(card, slot);
      }
      const n = card.poll();
      const columns = [...card.memory.rx.slice(0, n)].map((slot) => [
        card.memory.csumStart[slot],
        card.memory.csumOffset[slot],
        hex(frameOf(card, slot)),
      ]);
      expect(columns).toEqual(frames.map((frame) => [start, offset, hex(frame)]));
      for (const slot of card.memory.rx.slice(0, n)) release(card, slot);
    }
  });

  test('a TCP frame of a kernel peer that may be a super-frame of unknown segment size stays alone', () => {
    const frames = [0, 1].map(
      (i) => build({ ...spec({ partial: true }, 0, 5000), sequence: 1 + i * 5000 }).bytes,
    );
    feed(frames.map((frame) => ({ frame, from: TUNNEL })));
    const got = poll();
    expect(sizes(got)).toEqual([0, 0]);
    expect(got.map(({ frame }) => hex(frame))).toEqual(frames.map(hex));
  });

  const padded = (frame: Uint8Array): Uint8Array => Uint8Array.of(...frame, 9, 9, 9, 9);
  const together: [string, Uint8Array[]][] = [
    ['TCP', [tcp(0), tcp(1), tcp(2)]],
    ['TCP over IPv6', [0, 1, 2].map((i) => tcp(i, { v6: true }))],
    ['UDP', [udp(0), udp(1)]],
    ['UDP over IPv6', [0, 1].map((i) => udp(i, { v6: true }))],
    ['TCP options', [0, 1].map((i) => tcp(i, { tcpOptions: 12 }))],
    ['padding is trimmed', [padded(tcp(0)), padded(tcp(1)), padded(tcp(2))]],
    ['any identification with DF', [tcp(0, { id: 9 }), tcp(1, { id: 3 })]],
    ['identifications that follow without DF', [plain(0, 0xffff), plain(1, 0)]],
    ['PSH on the last', [tcp(0), tcp(1, { flags: ACK | PSH })]],
    ['a shorter last', [udp(0), build(spec({ protocol: 'udp' }, 1, 1)).bytes]],
    ['sequence numbers that wrap', [0, 1].map((i) => tcp(i, { sequence: 0xffff_ff80 + i * SIZE }))],
    ['another flow between', [tcp(0), tcp(5, { sourcePort: 7 }), tcp(1)]],
    ['a frame that is not IP between', [tcp(0), pattern(60), tcp(1)]],
  ];
  for (const [name, from] of [
    ['TAP', TAP],
    ['tunnel', TUNNEL],
  ] as const) {
    for (const [what, frames] of together) {
      test(`one super-frame: ${what} (${name})`, () => {
        feed(frames.map((frame) => ({ frame, from })));
        const got = poll();
        const [first] = got;
        const rest = got.slice(1).map(({ frame }) => hex(frame));
        const ours = frames.filter((frame) => !rest.includes(hex(frame)));
        expect(got.length).toBe(frames.length - ours.length + 1);
        expect(ours.length).toBeGreaterThan(1);
        expect(first!.gsoSize).toBe(SIZE);
        expect(back(first!)).toEqual(ours.map(canonical));
      });
    }
  }

  test('partial and complete checksums meet in one super-frame', () => {
    const frames = [0, 1, 2].map((i) => udp(i, { partial: i === 1 }));
    for (const from of [TAP, TUNNEL]) {
      feed(frames.map((frame, i) => ({ frame, partial: i === 1, from })));
      const got = poll();
      expect(got.flatMap(back)).toEqual(frames.map(canonical));
      expect(sizes(got)).toEqual([SIZE]);
    }
  });

  test('order: data, FIN, data that follows', () => {
    const frames = [tcp(0), tcp(1), tcp(2, { flags: ACK | 1 }), tcp(3), tcp(4)];
    feed(frames.map((frame) => ({ frame, from: TUNNEL })));
    const got = poll();
    expect(sizes(got)).toEqual([SIZE, 0, SIZE]);
    expect(got.flatMap(back)).toEqual(frames.map(canonical));
  });

  test('a real TAP: frames that a bridge forwards are merged', () => {
    const ns = new Namespace();
    const fds = ['tapa', 'tapb'].map((name, i) => {
      const { fd } = native.createTap(tap(ns.path, { name, mac: `02:00:00:00:01:0${i}` }));
      card.addTap(10 + i, fd);
      return fd;
    });
    try {
      ip('-n', ns.name, 'link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0', 'mcast_snooping', '0');
      for (const name of ['tapa', 'tapb']) ip('-n', ns.name, 'link', 'set', name, 'master', 'br0');
      ip('-n', ns.name, 'link', 'set', 'br0', 'up');
      drain(card);
      const slots = Array.from({ length: 20 }, (_, i) => put(card, tcp(i)));
      for (const slot of slots) queue(card, slot, { device: 10 });
      card.flush();
      for (const slot of slots) release(card, slot);
      const frames = receive(card, 1, (slot) => card.memory.device[slot] === 11).map(take);
      expect(frames.flatMap(back)).toEqual(Array.from({ length: 20 }, (_, i) => canonical(tcp(i))));
      expect(sizes(frames)).toEqual([SIZE]);
    } finally {
      for (const device of [10, 11]) card.remove(device);
      for (const fd of fds) native.close(fd);
      ns.delete();
    }
  });

  test('limits: 64 segments, 65,535 bytes', () => {
    const frames = Array.from({ length: 130 }, (_, i) => tcp(i));
    for (const from of [TAP, TUNNEL]) {
      feed(frames.map((frame) => ({ frame, from })));
      const got = [...poll(), ...poll(), ...poll()];
      expect(Math.max(...got.map(count))).toBe(64);
      expect(got.flatMap(back)).toEqual(frames.map(canonical));
      const large = Array.from({ length: 14 }, (_, i) => udp(i, { payload: pattern(9362, i), v6: true }));
      feed(large.map((frame) => ({ frame, from })));
      const supers = [...poll(), ...poll()];
      // 40 + 8 + 7 * 9362 is 47 bytes too many
      expect(supers.map(count)).toEqual([6, 6, 2]);
      expect(supers.flatMap(back)).toEqual(large.map(canonical));
    }
    const exact = [0, 1, 2].map((i) => udp(i, { payload: pattern(i < 2 ? 32_753 : 1, i) }));
    feed(exact.map((frame) => ({ frame })));
    const whole = poll();
    expect(whole.map(count), '20 + 8 + 65506 + 1 bytes').toEqual([3]);
    expect(whole[0]!.frame.length).toBe(14 + 65_535);
  });

  /** Many datagrams in one system call, which arrive as one message. */
  function pack(frames: readonly Uint8Array[], from = TUNNEL): void {
    const slots = frames.map((frame) => put(card, Uint8Array.of(...VXLAN, ...frame)));
    for (const slot of slots) queue(card, slot, { device: from, remote: TUNNEL, entropy: 3 });
    card.flush();
    expect([...card.memory.txStatus.slice(0, slots.length)].every((status) => status === 0)).toBe(true);
    for (const slot of slots) release(card, slot);
  }

  test('PSH in a message of many datagrams: where it was, whatever the data says', () => {
    for (const fill of [0, 0xff]) {
      const frames = [0, 1, 2, 3, 4, 5].map((i) =>
        tcp(i, { payload: new Uint8Array(SIZE).fill(fill), flags: i === 3 ? ACK | PSH : ACK }),
      );
      pack(frames);
      const got = poll();
      expect(got.map(count)).toEqual([4, 2]);
      expect(got.flatMap(back)).toEqual(frames.map(canonical));
    }
  });

  test('messages of many datagrams: flows intertwined, each in order', () => {
    const frames = Array.from({ length: 64 }, (_, i) =>
      udp(Math.floor(i / 3), { sourcePort: 100 + (i % 3), v6: false }),
    );
    pack(frames);
    const got = poll();
    expect(got.length).toBe(3);
    expect(byFlow(got.flatMap(back))).toEqual(byFlow(frames.map(canonical)));
    expect(card.memory.control[Control.FREE_COUNT]).toBe(SLOTS);
  });

  test('a wrong checksum in a message of many datagrams: its frame goes on alone, byte for byte', () => {
    const shapes: Partial<FrameSpec>[] = [
      {},
      { v6: true },
      { protocol: 'udp' },
      { protocol: 'udp', v6: true },
    ];
    for (const shape of shapes) {
      // nearer to its predecessor's end than it is long, and farther
      for (const bad of [1, 2, 25]) {
        const frames = Array.from({ length: 30 }, (_, i) =>
          tcp(i, { payload: pattern(1399, i), sequence: 5000 + i * 1399, ...shape }),
        );
        flip(frames[bad]!, 1200);
        pack(frames);
        const got = poll();
        expect(got.map(count)).toEqual([bad, 1, 29 - bad]);
        expect(hex(got[1]!.frame)).toBe(hex(frames[bad]!));
        expect(got.flatMap(back)).toEqual(frames.map(canonical));
      }
    }
    expect(card.memory.control[Control.FREE_COUNT]).toBe(SLOTS);
  });

  test('a full burst leaves messages in the inbox, which come next, in order', () => {
    // every datagram a flow of its own: nothing merges
    const frames = Array.from({ length: 640 }, (_, i) => udp(0, { sourcePort: 1000 + i }));
    for (let at = 0; at < frames.length; at += 64) pack(frames.slice(at, at + 64));
    const turns: Got[][] = [];
    for (let some = poll(); some.length > 0; some = poll()) turns.push(some);
    expect(Math.max(...turns.map((some) => some.length))).toBeLessThanOrEqual(BURST);
    expect(turns.flat().map(({ frame }) => hex(frame))).toEqual(frames.map(hex));
    expect(card.memory.control[Control.FREE_COUNT]).toBe(SLOTS);
  });

  test('devices take turns: a flooded tunnel does not delay a TAP', () => {
    for (let message = 0; message < 60; message++)
      pack(Array.from({ length: 64 }, (_, i) => udp(0, { sourcePort: 1000 + message * 64 + i })));
    expect(poll().length, 'the tunnel is at it').toBe(BURST);
    feed([{ frame: tcp(0) }]);
    const turns = Array.from({ length: 20 }, () => poll().some(({ device }) => device === TAP));
    // the rest of a turn that was interrupted and one whole turn of 8 messages: 3 bursts
    expect(turns.indexOf(true)).toBe(3);
  });

  test('exhausted slots: messages wait, none is lost, a device that goes gives its slots back', () => {
    const m = card.memory;
    const frames = Array.from({ length: 128 }, (_, i) => udp(0, { sourcePort: 1000 + i }));
    const starve = (): number[] => {
      for (let at = 0; at < frames.length; at += 64) pack(frames.slice(at, at + 64));
      const hidden = [...m.free.slice(10, SLOTS)];
      m.control[Control.FREE_COUNT] = 10;
      for (let i = 0; i < 5; i++) expect(card.poll()).toBe(0);
      expect(m.control[Control.FREE_COUNT], 'those of two messages').toBe(8);
      return hidden;
    };
    const feedBack = (hidden: readonly number[]): void => {
      for (const slot of hidden) m.free[m.control[Control.FREE_COUNT]++] = slot;
    };
    const hidden = starve();
    feedBack(hidden);
    const got = [...poll(), ...poll()];
    expect(got.map(({ frame }) => hex(frame))).toEqual(frames.map(hex));
    expect(new Set(m.free.slice(0, SLOTS)).size).toBe(SLOTS);

    const again = starve();
    card.remove(TUNNEL);
    expect(m.control[Control.FREE_COUNT]).toBe(10);
    feedBack(again);
    expect(new Set(m.free.slice(0, SLOTS)).size).toBe(SLOTS);
    expect(card.poll()).toBe(0);
  });

  test('a free stack that lies under its top never costs memory', () => {
    const m = card.memory;
    const good = m.free.slice(0, SLOTS);
    const frames = Array.from({ length: 12 }, (_, i) => udp(0, { sourcePort: 1000 + i }));
    const nine = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    const stacks: number[][] = [
      [-1, -1, -1, -1, -1, -1, ...nine],
      [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
      [-9, 0x7fffffff, 3, -0x80000000, SLOTS, 4, SLOTS, -1, 1, 0, SLOTS, SLOTS, ...nine],
    ];
    for (const stack of stacks) {
      pack(frames);
      m.free.set(stack);
      m.control[Control.FREE_COUNT] = stack.length;
      for (let turns = 0; turns < 3; turns++) {
        const n = card.poll();
        for (const slot of m.rx.slice(0, n)) expect(slot >= 0 && slot < SLOTS, String(slot)).toBe(true);
      }
      m.free.set(good);
      m.control[Control.FREE_COUNT] = SLOTS;
      for (let n = card.poll(); n > 0; n = card.poll()) m.control[Control.FREE_COUNT] = SLOTS;
      m.control[Control.FREE_COUNT] = SLOTS;
      m.free.set(good);
    }
  });

  /** One UDP_SEGMENT call of another program. */
  function segmentedSend(data: Uint8Array, size: number): void {
    const port = card.memory.remotes[TUNNEL * 5 + 4];
    const code = `
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", ${port}))
s.sendmsg([bytes.fromhex(sys.stdin.read())], [(socket.IPPROTO_UDP, 103, struct.pack("H", ${size}))])
`;
    execFileSync('python3', ['-c', code], { input: hex(data) });
  }

  test('datagrams of one byte, more than 64 in one message', () => {
    segmentedSend(pattern(128), 1);
    const got = [...card.memory.rx.slice(0, card.poll())].map((slot) => hex(frameOf(card, slot)));
    expect(got).toEqual([...pattern(128)].map((byte) => hex(Uint8Array.of(byte))));
  });

  test('hostile datagrams inside one message stay inside it', () => {
    const lengths: ((view: DataView) => void)[] = [
      (view) => view.setUint16(16, 0xffff),
      (view) => view.setUint16(16, 0),
      (view) => view.setUint16(16, 27),
      (view) => view.setUint16(16, 28),
      (view) => view.setUint16(38, 0xffff),
      (view) => view.setUint16(38, 0),
      (view) => view.setUint8(14, 0x4f),
      (view) => view.setUint8(14, 0x40),
      (view) => view.setUint8(23, 6),
    ];
    for (const lie of lengths) {
      const frames = [0, 1, 2].map((i) => udp(i));
      for (const frame of frames) lie(new DataView(frame.buffer));
      pack(frames);
      const got = poll();
      expect(got.map(({ frame }) => hex(frame))).toEqual(frames.map(hex));
    }
    // datagrams that end inside the tunnel's header, behind it, and inside Ethernet
    for (const size of [3, 7, 8, 9, 21, 22, 41, 42]) {
      const whole = Uint8Array.of(...VXLAN, ...udp(0)).subarray(0, size);
      const data = Uint8Array.of(...whole, ...whole, ...whole.subarray(0, size >> 1));
      segmentedSend(data, size);
      const got = [...card.memory.rx.slice(0, card.poll())];
      expect(got.map((slot) => hex(frameOf(card, slot)))).toEqual([
        hex(whole),
        hex(whole),
        hex(whole.subarray(0, size >> 1)),
      ]);
      for (const slot of got) release(card, slot);
    }
  });

  test('whatever bytes arrive, nothing is invented and no slot is lost', () => {
    const mutated = fc.record({
      seed: fc.integer({ min: 0, max: 2 }),
      protocol: fc.constantFrom('tcp' as const, 'udp' as const),
      v6: fc.boolean(),
      // mostly in the headers
      at: fc.integer({ min: 12, max: 80 }),
      value: fc.option(fc.integer({ min: 0, max: 255 }), { freq: 3 }),
      bytes: fc.constantFrom(0, 20, 20, 20, 200),
    });
    /** As a receiver sees it; null when its lengths make no sense or a checksum is wrong. */
    const sense = (frame: Uint8Array): string | null => {
      try {
        const bytes = frame.subarray(0, parse(frame).end);
        return hex(resum(bytes.slice())) === hex(bytes) ? canonical(frame) : null;
      } catch {
        return null;
      }
    };
    const property = fc.property(fc.array(mutated, { minLength: 1, maxLength: 40, size: 'max' }), (list) => {
      const input = list.map(({ at, value, bytes, seed, ...shape }, i) => {
        const payload = pattern(bytes, seed);
        const { bytes: frame } = build({ ...shape, payload, sequence: 1 + i * bytes, id: i });
        if (value !== null && at < frame.length) frame[at] = value;
        return frame;
      });
      pack(input.slice(0, input.length / 2));
      feed(input.map((frame, i) => ({ frame, from: i % 2 ? TAP : TUNNEL })));
      const whole = new Set(input.map(hex));
      const parts = new Set(input.map(sense));
      for (let some = poll(); some.length > 0; some = poll()) {
        for (const got of some) {
          if (got.gsoSize === 0) expect(whole).toContain(hex(got.frame));
          else for (const part of back(got)) expect(parts).toContain(part);
        }
      }
      expect(new Set(card.memory.free.slice(0, SLOTS)).size).toBe(SLOTS);
      expect(card.memory.control[Control.FREE_COUNT]).toBe(SLOTS);
    });
    fc.assert(property, { numRuns: 150 });
  });

  test('a kernel peer’s UDP super-frame is one frame, only when it claims the whole message', () => {
    const { bytes } = build(spec({ protocol: 'udp', partial: true }, 0, 1000));
    segmentedSend(Uint8Array.of(...VXLAN, ...bytes), 300);
    const [whole] = poll();
    expect(whole).toMatchObject({ gsoSize: 300, fault: Fault.NONE });
    expect(hex(whole!.frame)).toBe(hex(bytes));
    for (const [name, frame] of [
      ['its checksum is complete', build(spec({ protocol: 'udp' }, 0, 1000)).bytes],
      ['a byte is missing', bytes.subarray(0, bytes.length - 1)],
      ['a byte too many', Uint8Array.of(...bytes, 0)],
    ] as const) {
      const data = Uint8Array.of(...VXLAN, ...frame);
      segmentedSend(data, 300);
      const slots = [...card.memory.rx.slice(0, card.poll())];
      expect(
        slots.map((slot) => card.memory.length[slot]),
        name,
      ).toEqual([300, 300, 300, data.length - 900]);
      expect(slots.map((slot) => hex(frameOf(card, slot))).join('')).toBe(hex(data));
      for (const slot of slots) release(card, slot);
    }
  });

  test('a datagram longer than a slot does not exist; one that fills it is whole', () => {
    const payload = pattern(65_507 - 12 - 14 - 20 - 8);
    const frame = build({ v6: false, protocol: 'udp', payload }).bytes;
    feed([{ frame }]);
    expect(poll().map((got) => hex(got.frame))).toEqual([hex(frame)]);
  });
});
