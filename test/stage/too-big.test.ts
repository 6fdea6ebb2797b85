/** What is too big for where it goes, and may be cut: b is narrow, far is behind the narrow path to p. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Gso } from '../../src/card/layout.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { COUNTER_FIELDS, Counter, GATEWAY } from '../../src/telemetry/counters.ts';
import { address4, type Fabric, IPS, MACS, macOf, peer, type Sent } from '../fabric.ts';
import { dual, dualNetwork, dualPort, IPS6 } from '../fabric6.ts';
import {
  arp,
  checksumsAreRight,
  ethernet,
  internetChecksum,
  ipv4,
  readIpv4,
  tcp,
  toHex,
  u16,
  udp,
  withOptions,
} from '../frames.ts';
import { readIpv6, udp6 } from '../frames6.ts';

const NARROW = 576;
const narrow = (...more: Op[]) =>
  dual(
    { op: 'port', port: dualPort('b', { mtu: NARROW }) },
    {
      op: 'peer',
      peer: peer('p', {
        pathMtu: NARROW,
        static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }],
      }),
    },
    ...more,
  );
const bytes = (length: number) => Array.from({ length }, (_, i) => (i * 7) & 255);
const toB = { from: IPS.a, to: IPS.b, sport: 4000, dport: 53, fragment: 0 };
const routed = (packet: ArrayLike<number>) => ethernet({ src: MACS.a, dst: MACS.gateway }, packet);
const word = (packet: Uint8Array, at: number) => (packet[at]! << 8) | packet[at + 1]!;
const offsetOf = (packet: Uint8Array) => (word(packet, 6) & 0x1fff) << 3;
const packetsOf = (sent: readonly Sent[]) =>
  sent.map(({ frame }) => frame.subarray(14, 14 + word(frame, 16)));
/** The packet that fragments in order make, each checked to be one a router may send. */
function joined(sent: readonly Sent[], most: number): Uint8Array {
  const parts = packetsOf(sent);
  const body: number[] = [];
  for (const [i, part] of parts.entries()) {
    const header = (part[0]! & 15) * 4;
    expect(part.length).toBeLessThanOrEqual(most);
    expect(internetChecksum(part.subarray(0, header))).toBe(0);
    expect(word(part, 4), 'identification').toBe(word(parts[0]!, 4));
    expect(offsetOf(part) - offsetOf(parts[0]!)).toBe(body.length);
    const isLast = i === parts.length - 1;
    if (!isLast) expect(word(part, 6) & 0x2000).toBe(0x2000);
    if (!isLast) expect((part.length - header) % 8).toBe(0);
    body.push(...part.subarray(header));
  }
  const head = [...parts[0]!.subarray(0, (parts[0]![0]! & 15) * 4)];
  const last = parts.at(-1)!;
  head.splice(2, 2, ...u16(head.length + body.length));
  head.splice(6, 2, ...u16((word(parts[0]!, 6) & ~0x2000) | (word(last, 6) & 0x2000)));
  head.splice(10, 2, 0, 0);
  head.splice(10, 2, ...u16(internetChecksum(head)));
  return Uint8Array.from([...head, ...body]);
}
const made = (fabric: Fabric) => fabric.counters.values[GATEWAY * COUNTER_FIELDS + Counter.RX]!;

/** The gateway knows the MAC of the station behind q, the bridge no longer where it is. */
const forgetful = () => {
  const fabric = narrow({ op: 'network', network: dualNetwork({ ageing: 10_000 }) });
  fabric.fromPeer(
    'q',
    arp({ op: 'request', senderMac: MACS.other, senderIp: IPS.other, targetIp: IPS.other }),
  );
  fabric.wait(11_000);
  return fabric;
};

describe('a routed packet without DF that does not fit', () => {
  it.each([
    ['a port', IPS.b, 'b', MACS.b, MACS.gateway],
    ['a tunnel', IPS.far, 'p', MACS.far, MACS.router],
  ])('N34: is cut for %s: nothing lost, nothing changed but the hop', (_, to, where, dst, src) => {
    const fabric = narrow();
    const packet = udp({ ...toB, to, payload: bytes(1400) });
    const before = made(fabric);
    const sent = fabric.from('a', routed(packet));
    expect(sent.map((one) => one.to)).toEqual([where, where, where]);
    for (const { frame } of sent)
      expect(readIpv4(frame)).toMatchObject({ dst, src, ttl: 63, from: IPS.a, to });
    expect(packetsOf(sent).map(({ length }) => length)).toEqual([572, 572, 324]);
    const whole = joined(sent, NARROW);
    expect(checksumsAreRight(whole)).toBe(true);
    expect(toHex(whole.subarray(20))).toBe(toHex(Uint8Array.from(packet.slice(20))));
    expect(new Set(sent.map(({ raw }) => raw.entropy)).size, 'V4').toBe(1);
    expect([made(fabric) - before, fabric.count('a', Counter.FORWARDED)]).toEqual([2, 1]);
    expect(fabric.drops()).toEqual({});
  });

  it('N34: the last fragment may fill what the others cannot, in units of eight', () => {
    const fabric = narrow({ op: 'port', port: dualPort('b', { mtu: 579 }) });
    const lengths = (size: number) =>
      packetsOf(fabric.from('a', routed(udp({ ...toB, payload: bytes(size - 28) })))).map(
        ({ length }) => length,
      );
    expect(lengths(579)).toEqual([579]);
    expect(lengths(580)).toEqual([572, 28]);
    expect(lengths(572 + 559)).toEqual([572, 579]);
    expect(lengths(572 + 560)).toEqual([572, 572, 28]);
  });

  it('N34, N38: of whatever size, options and narrowness, and if it is a fragment itself', () => {
    const fabric = narrow();
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 1400 }),
        fc.integer({ min: 0, max: 8000 }),
        fc.integer({ min: 0, max: 10 }),
        fc.constantFrom(0, 0x2000, 0x2123, 0x0123, 0x8000),
        fc.boolean(),
        (mtu, size, options, fragment, isPartial) => {
          fabric.dataplane.apply([{ op: 'port', port: dualPort('b', { mtu }) }]);
          const body = bytes((fragment & 0x2000) === 0 ? size + 8 : (size & ~7) + 8);
          const packet = withOptions(
            ipv4({ from: IPS.a, to: IPS.b, protocol: 17, id: 0xabcd, fragment }, body),
            Array(options * 4).fill(1),
          );
          const l4 = 34 + options * 4;
          const all = fabric.from('a', routed(packet), isPartial ? { csumStart: l4, csumOffset: 6 } : {});
          const sent = all.filter(({ frame }) => frame[12] === 8 && frame[13] === 0);
          const whole = joined(sent, mtu);
          expect(sent.every(({ to }) => to === 'b')).toBe(true);
          const expected = Uint8Array.from(packet);
          if (isPartial && sent.length > 1) {
            const sum = internetChecksum(body);
            expected.set(u16(sum === 0 ? 0xffff : sum), l4 - 14 + 6);
          }
          expect(toHex(whole.subarray(20))).toBe(toHex(expected.subarray(20)));
          expect([word(whole, 4), word(whole, 6)]).toEqual([0xabcd, fragment]);
          expect(sent.every(({ raw }) => raw.csumStart === 0) || sent.length === 1).toBe(true);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('N34: a later fragment has the options that are to be copied, the first one all', () => {
    const fabric = narrow();
    const [copied, route, stamp] = [
      [0x94, 4, 0, 0],
      [7, 7, 4, 1, 2, 3, 4],
      [0x44, 4, 5, 0],
    ];
    const sent = fabric.from(
      'a',
      routed(withOptions(udp({ ...toB, payload: bytes(900) }), [...route, ...copied, ...stamp, 0])),
    );
    const options = packetsOf(sent).map((packet) => toHex(packet.subarray(20, 36)));
    expect(options).toEqual([
      toHex(Uint8Array.from([...route, ...copied, ...stamp, 0])),
      toHex(Uint8Array.from([...route.map(() => 1), ...copied, 1, 1, 1, 1, 0])),
    ]);
    joined(sent, NARROW);
  });

  it.each([
    ['no length', [7, 0, 1, 1]],
    ['more than there is', [7, 9, 1, 1]],
    ['no room for a length', [1, 1, 1, 7]],
  ])('N34: an option of %s is cut nowhere', (_, options) => {
    const fabric = narrow();
    const sent = fabric.from('a', routed(withOptions(udp({ ...toB, payload: bytes(900) }), options)));
    expect(sent).toHaveLength(2);
    joined(sent, NARROW);
  });

  it('N34, N44: padding behind it is no part of it', () => {
    const fabric = narrow();
    const packet = udp({ ...toB, payload: bytes(500) });
    const [sent, ...more] = fabric.from('a', routed([...packet, ...Array(100).fill(0xee)]));
    expect([more.length, sent!.frame.length]).toEqual([0, 14 + 528]);
  });

  it('N34, B18: it goes in its place between what was sent before and after', () => {
    const fabric = narrow();
    for (const size of [40, 1000, 41, 1001, 42])
      fabric.card.receive({ device: 10, bytes: routed(udp({ ...toB, payload: bytes(size) })) });
    expect(packetsOf(fabric.settle()).map(({ length }) => length)).toEqual([68, 572, 476, 69, 572, 477, 70]);
  });

  it('N34: of a flood that does not fit somewhere everybody gets the same fragments', () => {
    const fabric = forgetful();
    const sent = fabric.from('a', routed(udp({ ...toB, to: IPS.other, payload: bytes(1000) })));
    expect(sent.map(({ to }) => to)).toEqual(['b', 'c', 'p', 'q', 'b', 'c', 'p', 'q']);
    for (const name of ['b', 'c', 'p', 'q'])
      joined(
        sent.filter(({ to }) => to === name),
        NARROW,
      );
  });

  it('N34: floods of fragments leave room for others', () => {
    const fabric = forgetful();
    const frame = routed(udp({ ...toB, to: IPS.other, payload: bytes(8000) }));
    for (let i = 0; i < 50; i++) fabric.card.receive({ device: 10, bytes: frame });
    const pieces = Math.ceil(8008 / 552);
    const fits = Math.floor(2560 / (4 * pieces));
    expect(fabric.settle().length / (4 * pieces)).toBe(fits);
    expect(fabric.drops()).toEqual({ TX_BUSY: 50 - fits });
  });

  it('N34: bridged, IPv6, or with DF: nothing is cut', () => {
    const fabric = narrow();
    const bridged = ethernet({ src: MACS.a, dst: MACS.b }, udp({ ...toB, payload: bytes(1000) }));
    expect(fabric.from('a', bridged)).toEqual([]);
    const whole = fabric.from('a', routed(udp({ ...toB, fragment: 0x4000, payload: bytes(1000) })));
    expect(whole.map(({ to, frame }) => [to, readIpv4(frame).icmp])).toEqual([['a', '3/4']]);
    const six = udp6({ from: IPS6.a, to: IPS6.b, sport: 1, dport: 2, payload: bytes(1000) });
    const refused = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway, type: 0x86dd }, six));
    expect(refused.map(({ to, frame }) => [to, readIpv6(frame).icmp])).toEqual([['a', '2/0']]);
    expect(fabric.drops()).toEqual({ TOO_BIG: 3 });
  });

  it('N34: a partial checksum that points into the header spoils no more than what it points at', () => {
    const fabric = narrow();
    const packet = udp({ ...toB, payload: bytes(1400) });
    for (let csumStart = 14; csumStart <= 34; csumStart++) {
      for (const csumOffset of [0, 1, 2, 3, 6, 10]) {
        const sent = fabric.from('a', routed(packet), { csumStart, csumOffset });
        expect(sent.map(({ frame }) => frame.length)).toEqual([586, 586, 338]);
        const at = csumStart + csumOffset - 34;
        const body = sent.flatMap(({ frame }) => [...frame.subarray(34)]);
        const wrong = body.flatMap((byte, i) => (byte === packet[20 + i] ? [] : [i - at]));
        expect(wrong.filter((i) => i !== 0 && i !== 1)).toEqual([]);
      }
    }
  });

  it('N34: what cannot be cut is dropped whole: no room, no buffers, or an end beyond a datagram', () => {
    const tiny = narrow({ op: 'port', port: dualPort('b', { mtu: 27 }) });
    expect(tiny.from('a', routed(udp({ ...toB, payload: bytes(100) })))).toEqual([]);
    expect(tiny.drops()).toEqual({ TOO_BIG: 1 });

    const busy = narrow();
    const { packets } = busy.dataplane.pipeline;
    const taken = Array.from({ length: 1024 - 129 }, () => packets.allocate());
    const frame = routed(udp({ ...toB, payload: bytes(1400) }));
    busy.card.receive({ device: 10, bytes: frame });
    busy.dataplane.turn();
    for (const slot of taken) packets.release(slot);
    expect(busy.settle()).toEqual([]);
    expect(busy.drops()).toEqual({ NO_BUFFER: 1 });
    expect(busy.from('a', frame)).toHaveLength(3);

    const death = narrow();
    const last = ipv4({ from: IPS.a, to: IPS.b, protocol: 17, fragment: 0x1fff }, bytes(1400));
    expect(death.from('a', routed(last))).toEqual([]);
    expect(death.drops()).toEqual({ FRAGMENT_INVALID: 1 });
  });
});

describe('a super-frame without DF whose segments do not fit', () => {
  const offload = { csumStart: 34, csumOffset: 6, gsoType: Gso.UDP_L4 };

  it.each([1, 2, 3])('N34: of UDP: %i datagrams, each cut alone, its sums complete', (count) => {
    const fabric = narrow();
    const size = 1000;
    const payload = bytes(size * (count - 1) + 700);
    const packet = ipv4({ from: IPS.a, to: IPS.b, protocol: 17, id: 0xffff, fragment: 0 }, [
      ...u16(4000),
      ...u16(53),
      ...u16(8 + payload.length),
      0x12,
      0x34,
      ...payload,
    ]);
    const sent = fabric.from('a', routed(packet), { ...offload, gsoSize: size });
    const groups = Array.from({ length: count }, (_, i) => sent.slice(i * 2, i * 2 + 2));
    expect(sent).toHaveLength(count * 2);
    for (const [i, group] of groups.entries()) {
      const whole = joined(group, NARROW);
      expect(word(whole, 4)).toBe((0xffff + i) & 0xffff);
      expect(checksumsAreRight(whole)).toBe(true);
      const part = payload.slice(i * size, (i + 1) * size);
      expect(word(whole, 24)).toBe(8 + part.length);
      expect(toHex(whole.subarray(28))).toBe(toHex(Uint8Array.from(part)));
    }
    expect(sent.every(({ raw }) => raw.gsoSize === 0 && raw.csumStart === 0)).toBe(true);
  });

  it('N34, V4, B18: what is whole among the fragments takes their way', () => {
    const fabric = narrow();
    const packet = udp({ ...toB, to: IPS.far, payload: bytes(3 * 600 + 20) });
    const sent = fabric.from('a', routed(packet), { ...offload, gsoSize: 600 });
    expect(packetsOf(sent).map(({ length }) => length)).toEqual([572, 76, 572, 76, 572, 76, 48]);
    expect(new Set(sent.map(({ raw }) => raw.entropy)).size).toBe(1);
  });

  it('N34: of UDP, that fits by its segments: as it came', () => {
    const fabric = narrow();
    const packet = udp({ ...toB, payload: bytes(1400) });
    const [sent, ...more] = fabric.from('a', routed(packet), { ...offload, gsoSize: 548 });
    expect([more.length, sent!.raw.gsoSize]).toEqual([0, 548]);
  });

  it.each([Gso.TCPV4, Gso.TCPV4 | Gso.ECN])(
    'N34: of TCP (%i): smaller segments, and no fragments',
    (gsoType) => {
      const fabric = narrow();
      const segment = tcp({ from: IPS.a, to: IPS.b, sport: 1, dport: 2, flags: 'A', payload: bytes(4000) });
      const packet = segment.with(6, 0);
      packet.splice(10, 2, 0, 0);
      packet.splice(10, 2, ...u16(internetChecksum(packet.slice(0, 20))));
      const [sent, ...more] = fabric.from('a', routed(packet), {
        csumStart: 34,
        csumOffset: 16,
        gsoType,
        gsoSize: 1400,
      });
      expect([more.length, sent!.raw.gsoType, sent!.raw.gsoSize]).toEqual([0, gsoType, NARROW - 40]);
      expect(toHex(sent!.frame.subarray(54))).toBe(toHex(Uint8Array.from(bytes(4000))));
    },
  );

  it('N34: that is not what its metadata say: dropped', () => {
    const fabric = narrow();
    const packet = udp({ ...toB, payload: bytes(1400) });
    expect(fabric.from('a', routed(packet), { ...offload, csumStart: 36, gsoSize: 1000 })).toEqual([]);
    const segment = ipv4({ from: IPS.a, to: IPS.b, protocol: 6, fragment: 0 }, bytes(1400));
    expect(fabric.from('a', routed(segment), { ...offload, gsoSize: 1000 })).toEqual([]);
    expect(fabric.drops()).toEqual({ TOO_BIG: 2 });
  });
});
