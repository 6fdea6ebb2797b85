import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Control, Gso, TxStatus } from '../../src/card/layout.ts';
import { loadNative } from '../../src/card/native.ts';
import { NativeCard } from '../../src/card/native-card.ts';
import { ACK, build, CWR, FIN, type FrameSpec, hex, PSH, pattern, segments } from './frames.ts';
import { addUnderlay, frameOf, kernel, put, queue, receive, release, remote, send } from './kernel.ts';

const VXLAN = Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0);
const gsoType = (spec: FrameSpec): Gso =>
  spec.protocol === 'udp' ? Gso.UDP_L4 : spec.v6 ? Gso.TCPV6 : Gso.TCPV4;
const csumOffset = (spec: FrameSpec): number => (spec.protocol === 'udp' ? 6 : 16);

/** In hex: compared and shown far faster than arrays of numbers. */
const expected = (spec: FrameSpec, size: number): string[] =>
  segments(spec, size).map((frame) => hex(VXLAN) + hex(frame));

describe.skipIf(!kernel)('segmentation towards an underlay', () => {
  let card: NativeCard;
  let descriptors: number[];

  /** An underlay that sends to itself. A prefix other than that of what is sent keeps the card from merging it. */
  async function loop(change: Parameters<typeof addUnderlay>[2] = {}, prefix = 0): Promise<void> {
    const opened = await addUnderlay(card, 0, change, prefix);
    descriptors.push(...opened.descriptors);
    remote(card, 0, change.address === '::1' ? '0:0:0:0:0:0:0:1' : '127.0.0.1', opened.port);
  }

  beforeEach(() => {
    card = new NativeCard();
    descriptors = [];
  });
  afterEach(() => {
    card.close();
    for (const fd of descriptors) loadNative().close(fd);
  });

  /** Sends the super-frame of `spec` behind a VXLAN header. @returns the datagrams that arrive. */
  function split(spec: FrameSpec, size: number, ecn = false): string[] {
    const { bytes, l4 } = build({ ...spec, partial: true });
    const slot = put(card, bytes, {
      csumStart: l4,
      csumOffset: csumOffset(spec),
      gsoType: gsoType(spec) | (ecn ? Gso.ECN : 0),
      gsoSize: size,
    });
    card.memory.bytes.set(VXLAN, card.memory.start[slot] - VXLAN.length);
    expect(send(card, slot, { device: 0, prefix: VXLAN.length, entropy: 3 })).toBe(TxStatus.SENT);
    expect(hex(frameOf(card, slot)), 'the slot is untouched').toBe(hex(bytes));
    release(card, slot);
    const slots = receive(card, Math.max(1, Math.ceil(spec.payload.length / size)));
    const datagrams = slots.map((s) => hex(frameOf(card, s)));
    for (const s of slots) release(card, s);
    return datagrams;
  }

  const shapes: Record<string, Omit<FrameSpec, 'payload'>> = {
    'TCP over IPv4': { v6: false, protocol: 'tcp' },
    'TCP over IPv6': { v6: true, protocol: 'tcp' },
    'UDP over IPv4': { v6: false, protocol: 'udp' },
    'UDP over IPv6': { v6: true, protocol: 'udp' },
    'TCP over tagged IPv4 with options': {
      v6: false,
      protocol: 'tcp',
      vlan: true,
      ipOptions: 8,
      tcpOptions: 12,
    },
    'TCP over tagged IPv6 with an extension header': {
      v6: true,
      protocol: 'tcp',
      vlan: true,
      ipOptions: 16,
      tcpOptions: 20,
    },
  };

  for (const [name, shape] of Object.entries(shapes)) {
    for (const [way, change] of [
      ['UDP_SEGMENT', {}],
      ['single sends (the kernel refuses UDP_SEGMENT)', { checksum: false }],
    ] as const) {
      test(`${name} by ${way}: every segment byte-exact`, async () => {
        await loop(change);
        for (const bytes of [1, 99, 1398, 1399, 1398 * 2, 20_001, 61_512]) {
          const spec = { ...shape, payload: pattern(bytes), sequence: 0xffff_ff00, id: 0xfff0 };
          expect(split(spec, 1398), `${bytes} bytes`).toEqual(expected(spec, 1398));
        }
      });
    }
  }

  test('flags: CWR on the first segment only, FIN and PSH on the last only', async () => {
    await loop();
    const spec: FrameSpec = {
      v6: false,
      protocol: 'tcp',
      payload: pattern(5000),
      flags: ACK | PSH | FIN | CWR,
    };
    const datagrams = split(spec, 1000, true);
    expect(datagrams.map((d) => Buffer.from(d, 'hex')[VXLAN.length + 14 + 20 + 13])).toEqual([
      ACK | CWR,
      ACK,
      ACK,
      ACK,
      ACK | PSH | FIN,
    ]);
    expect(datagrams).toEqual(expected(spec, 1000));
  });

  test('more segments than one call takes', async () => {
    await loop();
    for (const size of [100, 536, 9000, 30_000]) {
      const spec: FrameSpec = { v6: false, protocol: 'tcp', payload: pattern(60_000), tcpOptions: 12 };
      expect(split(spec, size), `size ${size}`).toEqual(expected(spec, size));
    }
  });

  test('over an IPv6 underlay', async () => {
    await loop({ address: '::1' });
    const spec: FrameSpec = { v6: true, protocol: 'tcp', payload: pattern(61_000) };
    expect(split(spec, 1378)).toEqual(expected(spec, 1378));
  });

  test('any super-frame equals its reference', async () => {
    await loop();
    fc.assert(
      fc.property(
        fc.record({
          v6: fc.boolean(),
          protocol: fc.constantFrom('tcp' as const, 'udp' as const),
          vlan: fc.boolean(),
          tcpOptions: fc.integer({ min: 0, max: 10 }).map((n) => n * 4),
          ipOptions: fc.integer({ min: 0, max: 4 }).map((n) => n * 8),
          sequence: fc.integer({ min: 0, max: 0xffff_ffff }),
          id: fc.integer({ min: 0, max: 0xffff }),
          flags: fc.integer({ min: 0, max: 255 }),
          bytes: fc.integer({ min: 1, max: 40_000 }),
          seed: fc.integer({ min: 0, max: 250 }),
        }),
        fc.integer({ min: 400, max: 9000 }),
        ({ bytes, seed, ...shape }, size) => {
          const spec = { ...shape, payload: pattern(bytes, seed) };
          expect(split(spec, size)).toEqual(expected(spec, size));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a segment no datagram can hold is TOO_BIG, a datagram too', async () => {
    await loop();
    const { bytes, l4 } = build({ v6: false, protocol: 'tcp', payload: pattern(65_700), partial: true });
    const slot = put(card, bytes, { csumStart: l4, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 65_500 });
    expect(send(card, slot, { device: 0, prefix: 8 })).toBe(TxStatus.TOO_BIG);
    const plain = put(card, bytes);
    expect(send(card, plain, { device: 0 })).toBe(TxStatus.TOO_BIG);
  });

  test('partial checksums are finished once, in place, for every later copy', async () => {
    await loop({}, 8);
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const v6 of [false, true]) {
        for (const bytes of [0, 1, 2, 31, 32, 33, 1000, 1001]) {
          const spec: FrameSpec = { v6, protocol, payload: pattern(bytes) };
          const partial = build({ ...spec, partial: true });
          const slot = put(card, partial.bytes, { csumStart: partial.l4, csumOffset: csumOffset(spec) });
          queue(card, slot, { device: 0 });
          queue(card, slot, { device: 0, entropy: 1 });
          card.flush();
          const slots = receive(card, 2);
          expect(slots.map((s) => frameOf(card, s))).toEqual([build(spec).bytes, build(spec).bytes]);
          expect(card.memory.csumStart[slot]).toBe(0);
          for (const s of [slot, ...slots]) release(card, s);
        }
      }
    }
  });

  test('a UDP checksum of zero is sent as 0xffff', async () => {
    await loop();
    // The last two bytes of the payload are chosen so that the sum comes out as all ones.
    const payload = pattern(100);
    payload.fill(0, 98);
    const zeroed = build({ v6: false, protocol: 'udp', payload });
    const field = (zeroed.bytes[zeroed.l4 + 6] << 8) | zeroed.bytes[zeroed.l4 + 7];
    payload.set([field >> 8, field & 255], 98);
    const partial = build({ v6: false, protocol: 'udp', payload, partial: true });
    const slot = put(card, partial.bytes, { csumStart: partial.l4, csumOffset: 6 });
    expect(send(card, slot, { device: 0 })).toBe(TxStatus.SENT);
    const [got] = receive(card, 1);
    expect([...frameOf(card, got).subarray(partial.l4 + 6, partial.l4 + 8)]).toEqual([0xff, 0xff]);
    const spec: FrameSpec = { v6: false, protocol: 'udp', payload };
    expect(split({ ...spec, payload: new Uint8Array([...payload, ...payload]) }, 100)).toEqual(
      expected({ ...spec, payload: new Uint8Array([...payload, ...payload]) }, 100),
    );
  });

  test('order: datagrams before and after a super-frame of the same flow stay before and after', async () => {
    await loop({}, 8);
    const spec: FrameSpec = { v6: false, protocol: 'tcp', payload: pattern(3000) };
    const { bytes, l4 } = build({ ...spec, partial: true });
    const small = put(card, pattern(60, 9));
    const large = put(card, bytes, { csumStart: l4, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1000 });
    for (const slot of [small, large, small]) queue(card, slot, { device: 0, entropy: 5 });
    card.flush();
    expect([...card.memory.txStatus.subarray(0, 3)]).toEqual([0, 0, 0]);
    expect(receive(card, 5).map((s) => card.memory.length[s])).toEqual([60, 1054, 1054, 1054, 60]);
  });

  test('tos and source address reach the other side, whatever socket the entropy chose', async () => {
    await loop();
    const slot = put(card, pattern(60));
    for (let entropy = -40; entropy < 40; entropy++)
      queue(card, slot, { device: 0, entropy, tos: 0xb8 | (entropy & 3) });
    card.flush();
    const m = card.memory;
    expect(m.control[Control.TX_COUNT]).toBe(0);
    const slots = receive(card, 80);
    expect(slots.length).toBe(80);
    expect(slots.every((s) => m.start[s] % 4 === 2 && m.fault[s] === 0 && m.device[s] === 0)).toBe(true);
    expect(new Set(slots.map((s) => m.tos[s]))).toEqual(new Set([0xb8, 0xb9, 0xba, 0xbb]));
    for (const s of slots)
      expect([m.remote0[s], m.remote1[s], m.remote2[s], m.remote3[s]]).toEqual([0, 0, 0xffff, 0x7f000001]);
  });
});
