/** Datagrams in fragments, to a service and back: a asks, b serves. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Address, HostConfig, Op } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { Counter, Global } from '../../src/telemetry/counters.ts';
import { Drop } from '../../src/telemetry/drop.ts';
import {
  address4,
  type Fabric,
  IPS,
  MACS,
  macOf,
  type PortName,
  peer,
  port,
  type Sent,
  service,
} from '../fabric.ts';
import { address6, dual, dualPort, IPS6 } from '../fabric6.ts';
import { checksumsAreRight, ethernet, internetChecksum, ipv4, readIpv4, tcp, toHex, udp } from '../frames.ts';
import { checksumIsRight6, hex6, readIpv6, tcp6, udp6 } from '../frames6.ts';

const VIP = '10.96.0.10';
const VIP6 = 'fd00:96::10';
const shop = (backend = IPS.b): Op[] =>
  [6, 17].map((protocol) => ({
    op: 'service',
    service: service({
      id: protocol,
      name: `default/${protocol}`,
      protocol,
      backends: [{ address: address4(backend), port: 8080 }],
    }),
  }));
const host = (overrides: Partial<HostConfig> = {}): Op => ({
  op: 'host',
  host: { underlayAddresses: [], vxlanPorts: [4789], maxFlows: 1024, ...overrides },
});

let fabric: Fabric;
beforeEach(() => {
  fabric = dual(...shop());
});

/** The fragments of an IPv4 packet, of at most `size` bytes of payload each. */
function cut(packet: number[], size: number, id: number): number[][] {
  const body = packet.slice(20);
  const [from, to] = [packet.slice(12, 16).join('.'), packet.slice(16, 20).join('.')];
  const parts: number[][] = [];
  for (let at = 0; at < body.length; at += size) {
    const more = at + size < body.length ? 0x2000 : 0;
    const fields = { from, to, protocol: packet[9]!, ttl: packet[8]!, id, fragment: more | (at >> 3) };
    parts.push(ipv4(fields, body.slice(at, at + size)));
  }
  return parts;
}
/** The IPv4 packet that fragments make, and whether they are one whole. */
function join(frames: readonly Uint8Array[]): number[] {
  const parts = frames
    .map((frame) => frame.slice(14, 14 + ((frame[16]! << 8) | frame[17]!)))
    .sort((x, y) => offsetOf(x) - offsetOf(y));
  let at = 0;
  for (const part of parts) {
    expect(offsetOf(part)).toBe(at);
    expect(internetChecksum(part.subarray(0, 20))).toBe(0);
    at += part.length - 20;
  }
  const head = parts[0]!;
  const { from, to, ttl } = readIpv4(Uint8Array.from([...new Uint8Array(14), ...head]));
  return ipv4(
    { from, to, protocol: head[9]!, ttl },
    parts.flatMap((part) => [...part.subarray(20)]),
  );
}
/** The same for IPv6. */
function cut6(packet: number[], size: number, id: number): number[][] {
  const body = packet.slice(40);
  const parts: number[][] = [];
  for (let at = 0; at < body.length; at += size) {
    const piece = body.slice(at, at + size);
    const word = at | (at + size < body.length ? 1 : 0);
    const header = packet.slice(0, 40);
    header.splice(4, 3, (piece.length + 8) >> 8, (piece.length + 8) & 255, 44);
    parts.push([...header, packet[6]!, 0, word >> 8, word & 255, 0, 0, 0, id, ...piece]);
  }
  return parts;
}
function join6(frames: readonly Uint8Array[]): ReturnType<typeof readIpv6> {
  const parts = frames.map((frame) => [...frame.subarray(14)]);
  const body = parts.flatMap((part) => part.slice(48));
  const header = parts[0]!.slice(0, 40);
  header.splice(4, 3, body.length >> 8, body.length & 255, parts[0]![40]!);
  return readIpv6(Uint8Array.from([...new Uint8Array(14), ...header, ...body]));
}
const offsetOf = (packet: Uint8Array) => (((packet[6]! & 0x1f) << 8) | packet[7]!) << 3;
const idOf = (frame: Uint8Array) => (frame[18]! << 8) | frame[19]!;
const read = (packet: number[]) => readIpv4(Uint8Array.from([...new Uint8Array(14), ...packet]));

const bytes = (length: number) => Array.from({ length }, (_, i) => (i * 7) & 255);
const ask = (length: number, sport = 4000) =>
  udp({ from: IPS.a, to: VIP, sport, dport: 80, payload: bytes(length) });
const reply = (length: number, dport = 4000) =>
  udp({ from: IPS.b, to: IPS.a, sport: 8080, dport, payload: bytes(length) });
const toGateway = (packet: number[], src: string = MACS.a) => ethernet({ src, dst: MACS.gateway }, packet);
const toClient = (packet: number[]) => ethernet({ src: MACS.b, dst: MACS.a }, packet);
const sendAll = (name: PortName, frames: Uint8Array[]): Sent[] =>
  frames.flatMap((frame) => fabric.from(name, frame));
const held = (name: string) => fabric.count(name, Counter.HELD);
const flows = () => dump(fabric.dataplane, 'flows') as FlowRow[];

describe('a datagram in fragments', () => {
  it('N36: 2000 bytes through a ClusterIP at MTU 1450, and the answer, bridged', () => {
    const parts = cut(ask(2000), 1424, 7);
    expect(fabric.from('a', toGateway(parts[0]!))).toEqual([]);
    expect(held('a')).toBe(1);
    const there = fabric.from('a', toGateway(parts[1]!));
    expect(there.map(({ to }) => to)).toEqual(['b', 'b']);
    const seen = join(there.map(({ frame }) => frame));
    expect(checksumsAreRight(seen)).toBe(true);
    expect(read(seen)).toMatchObject({ from: IPS.a, to: IPS.b, sport: 4000, dport: 8080, ttl: 63 });
    expect(read(seen).body.subarray(8)).toEqual(Uint8Array.from(bytes(2000)));

    const back = sendAll('b', cut(reply(2000), 1424, 9).map(toClient));
    expect(back.map(({ to }) => to)).toEqual(['a', 'a']);
    const got = join(back.map(({ frame }) => frame));
    expect(checksumsAreRight(got)).toBe(true);
    expect(read(got)).toMatchObject({ from: VIP, to: IPS.a, sport: 80, dport: 4000, ttl: 64 });
    expect(back.map(({ frame }) => idOf(frame))).toEqual([9, 9]);
    expect(flows()).toMatchObject([{ state: 'replied', packets: 2, replyPackets: 2 }]);
    expect(held('a') + held('b')).toBe(0);
  });

  it('N36, N38: any order, duplicates, several at once: each whole, none larger, identification kept', () => {
    const sizes = fc.constantFrom(8, 64, 504, 1424);
    const one = fc.record({ length: fc.integer({ min: 100, max: 3000 }), size: sizes });
    let sport = 5000;
    fc.assert(
      fc.property(
        fc.array(one, { minLength: 1, maxLength: 3 }),
        fc.nat(),
        fc.boolean(),
        (wanted, seed, isReply) => {
          const items = wanted.map(({ length, size }) => ({
            length,
            size: Math.min(Math.max(size, ((length + 8 + 511) >> 9) << 3), (length >> 1) & ~7), // 2 to 64 of them
            sport: ++sport,
            id: sport & 0xffff,
          }));
          if (isReply) for (const item of items) sendAll('a', [toGateway(ask(4, item.sport))]);
          const frames = items.flatMap(({ length, size, sport: p, id }) =>
            cut(isReply ? reply(length, p) : ask(length, p), size, id).map(
              isReply ? toClient : (packet) => toGateway(packet),
            ),
          );
          // Not all of one, which would be another datagram.
          const twice = frames.filter((frame, i) => (frame[20]! & 0x20) !== 0 && (seed >> (i % 13)) & 1);
          let state = seed | 1;
          const shuffled = [...frames];
          for (let i = shuffled.length - 1; i > 0; i--) {
            state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
            const j = state % (i + 1);
            [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
          }
          const sent = sendAll(isReply ? 'b' : 'a', [...shuffled, ...twice]);
          for (const { length, sport: p, id } of items) {
            const mine = sent.filter(({ frame }) => idOf(frame) === id).map(({ frame }) => frame);
            const whole = join(mine);
            expect(checksumsAreRight(whole)).toBe(true);
            const ends = isReply
              ? { from: VIP, to: IPS.a, sport: 80, dport: p }
              : { from: IPS.a, to: IPS.b, sport: p, dport: 8080 };
            expect(read(whole)).toMatchObject(ends);
            expect(read(whole).body.subarray(8)).toEqual(Uint8Array.from(bytes(length)));
            const came = frames.filter((frame) => idOf(frame) === id).map((frame) => frame.length);
            expect(mine.map((frame) => frame.length).sort()).toEqual(came.sort());
          }
          fabric.advance(31_000); // the duplicates of what was whole
          fabric.advance(100);
          expect(held('a') + held('b')).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('N36: through a tunnel, and back through it', () => {
    fabric = dual(...shop(IPS.far), {
      op: 'peer',
      peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] }),
    });
    const there = sendAll(
      'a',
      cut(ask(2000), 1400, 7).map((packet) => toGateway(packet)),
    );
    expect(there.map(({ to }) => to)).toEqual(['p', 'p']);
    expect(new Set(there.map(({ raw }) => raw.entropy)).size, 'V4').toBe(1);
    const answer = udp({ from: IPS.far, to: IPS.a, sport: 8080, dport: 4000, payload: bytes(2000) });
    const back = cut(answer, 1400, 8)
      .reverse()
      .flatMap((packet) => fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, packet)));
    expect(read(join(back.map(({ frame }) => frame)))).toMatchObject({ from: VIP, to: IPS.a, sport: 80 });
  });

  it('N36, S21: of a client that appears under the host’s address', () => {
    fabric.dataplane.apply([
      { op: 'port', port: dualPort('c', { isHost: true }) },
      host({ masqueradeAll: true }),
    ]);
    fabric.wait(4000); // announcements (A15)
    const there = sendAll(
      'a',
      cut(ask(2000), 1400, 7).map((packet) => toGateway(packet)),
    );
    const seen = read(join(there.map(({ frame }) => frame)));
    expect(seen).toMatchObject({ from: IPS.c, to: IPS.b, dport: 8080 });
    const answer = udp({ from: IPS.b, to: IPS.c, sport: 8080, dport: seen.sport, payload: bytes(2000) });
    const back = sendAll(
      'b',
      cut(answer, 1400, 8).map((packet) => ethernet({ src: MACS.b, dst: MACS.c }, packet)),
    );
    expect(back.map(({ to }) => to)).toEqual(['a', 'a']);
    const got = join(back.map(({ frame }) => frame));
    expect(read(got)).toMatchObject({ from: VIP, to: IPS.a, sport: 80, dport: 4000, ttl: 63 });
    expect(checksumsAreRight(got)).toBe(true);
  });

  it('N36, S17: to a node port, as the host’s kernel delivers it: by the gateway’s address', () => {
    const dns = (id: number, vip: Address, backend: Address): Op => ({
      op: 'service',
      service: service({
        id,
        name: `default/dns-${id}`,
        vip,
        frontends: [{ kind: 'clusterIP', address: vip, port: 80 }],
        nodePort: 30_080,
        protocol: 17,
        backends: [{ address: backend, port: 8080 }],
      }),
    });
    fabric = dual(
      { op: 'port', port: dualPort('c', { isHost: true }) },
      dns(0, address4(VIP), address4(IPS.b)),
      dns(1, address6(VIP6), address6(IPS6.b)),
    );
    fabric.wait(4000); // announcements (A15)
    const rest = { sport: 4000, dport: 30_080, payload: bytes(2000) };
    const four = cut(udp({ from: '198.51.100.9', to: IPS.gateway, ...rest }), 1400, 7);
    const there = sendAll(
      'c',
      four.map((packet) => toGateway(packet, MACS.c)),
    );
    expect(there.map(({ to }) => to)).toEqual(['b', 'b']);
    expect(read(join(there.map(({ frame }) => frame)))).toMatchObject({ to: IPS.b, dport: 8080 });
    const six = cut6(udp6({ from: '2001:db8:9::9', to: IPS6.gateway, ...rest }), 1392, 7);
    const there6 = sendAll(
      'c',
      six.map((packet) => ethernet({ src: MACS.c, dst: MACS.gateway, type: 0x86dd }, packet)),
    );
    expect(there6.map(({ to }) => to)).toEqual(['b', 'b']);
    expect(join6(there6.map(({ frame }) => frame))).toMatchObject({ dport: 8080 });
  });

  it('N36: IPv6', () => {
    fabric.dataplane.apply([
      {
        op: 'service',
        service: service({
          id: 99,
          name: 'default/six',
          protocol: 17,
          vip: address6(VIP6),
          frontends: [{ kind: 'clusterIP', address: address6(VIP6), port: 80 }],
          backends: [{ address: address6(IPS6.b), port: 8080 }],
        }),
      },
    ]);
    const six = (src: string, dst: string, packet: number[]) => ethernet({ src, dst, type: 0x86dd }, packet);
    const there = sendAll(
      'a',
      cut6(udp6({ from: IPS6.a, to: VIP6, sport: 4000, dport: 80, payload: bytes(2000) }), 1392, 7)
        .reverse()
        .map((packet) => six(MACS.a, MACS.gateway, packet)),
    );
    expect(there.map(({ to }) => to)).toEqual(['b', 'b']);
    const seen = join6(there.map(({ frame }) => frame));
    expect(checksumIsRight6(seen.packet)).toBe(true);
    expect(seen).toMatchObject({ sport: 4000, dport: 8080 });
    const back = sendAll(
      'b',
      cut6(udp6({ from: IPS6.b, to: IPS6.a, sport: 8080, dport: 4000, payload: bytes(2000) }), 1392, 8).map(
        (packet) => six(MACS.b, MACS.a, packet),
      ),
    );
    const got = join6(back.map(({ frame }) => frame));
    expect(checksumIsRight6(got.packet)).toBe(true);
    expect(got).toMatchObject({ sport: 80, dport: 4000 });
  });

  it('N13, N36: a TCP segment in fragments counts with all its payload', () => {
    const ends = { from: IPS.a, to: VIP, sport: 4000, dport: 80 };
    const other = { from: IPS.b, to: IPS.a, sport: 8080, dport: 4000 };
    fabric.from('a', toGateway(tcp({ ...ends, flags: 'S', seq: 1000 })));
    fabric.from('b', toClient(tcp({ ...other, flags: 'SA', seq: 5000, ack: 1001 })));
    fabric.from('a', toGateway(tcp({ ...ends, flags: 'A', seq: 1001, ack: 5001 })));
    const segment = tcp({ ...ends, flags: 'A', seq: 1001, ack: 5001, payload: bytes(2000) });
    expect(
      sendAll(
        'a',
        cut(segment, 1400, 7).map((packet) => toGateway(packet)),
      ),
    ).toHaveLength(2);
    expect(fabric.from('b', toClient(tcp({ ...other, flags: 'A', seq: 5001, ack: 3001 })))).toHaveLength(1);
    expect(fabric.from('b', toClient(tcp({ ...other, flags: 'A', seq: 5001, ack: 3002 })))).toEqual([]);
  });

  it('N13, N36: a SYN in fragments too', () => {
    const segment = tcp({ from: IPS.a, to: VIP, sport: 4000, dport: 80, seq: 1000, payload: bytes(2000) });
    const sent = sendAll(
      'a',
      cut(segment, 1400, 7).map((packet) => toGateway(packet)),
    );
    expect(sent.map(({ to }) => to)).toEqual(['b', 'b']);
    const answer = { from: IPS.b, to: IPS.a, sport: 8080, dport: 4000, flags: 'SA', seq: 5000 };
    expect(fabric.from('b', toClient(tcp({ ...answer, ack: 3002 })))).toEqual([]);
    expect(fabric.from('b', toClient(tcp({ ...answer, ack: 3001 })))).toHaveLength(1);
    expect(fabric.drops()).toEqual({ OUT_OF_WINDOW: 1 });
  });

  it('S16: the reset that refuses a SYN in fragments acknowledges all of it', () => {
    fabric = dual(
      { op: 'service', service: service({ backends: [] }) },
      {
        op: 'service',
        service: service({
          id: 1,
          name: 'default/six',
          vip: address6(VIP6),
          frontends: [{ kind: 'clusterIP', address: address6(VIP6), port: 80 }],
          backends: [],
        }),
      },
    );
    const syn = { sport: 4000, dport: 80, seq: 1000, payload: bytes(2000) };
    const four = cut(tcp({ from: IPS.a, to: VIP, ...syn }), 1400, 7).map((packet) => toGateway(packet));
    const [reset] = sendAll('a', four.reverse());
    expect(readIpv4(reset!.frame)).toMatchObject({ from: VIP, flags: 'RA', ack: 3001 });
    const six = cut6(tcp6({ from: IPS6.a, to: VIP6, ...syn }), 1392, 7).map((packet) =>
      ethernet({ src: MACS.a, dst: MACS.gateway, type: 0x86dd }, packet),
    );
    const [reset6] = sendAll('a', six);
    expect(readIpv6(reset6!.frame)).toMatchObject({ from: hex6(VIP6), flags: 'RA', ack: 3001 });
    expect(fabric.drops()).toEqual({ NO_ENDPOINT: 2, FRAGMENT_TO_SERVICE: 2 });
  });

  it('N36, S15: what a datagram meets at a service without endpoints, all its fragments meet', () => {
    fabric.dataplane.apply([
      { op: 'service', service: service({ id: 17, name: 'default/17', protocol: 17, backends: [] }) },
    ]);
    const sent = sendAll(
      'a',
      cut(ask(2000), 1400, 7).map((packet) => toGateway(packet)),
    );
    expect(sent.map(({ frame }) => readIpv4(frame).icmp)).toEqual(['3/3']);
    expect(fabric.drops()).toEqual({ NO_ENDPOINT: 1, FRAGMENT_TO_SERVICE: 1 });
  });
});

describe('a datagram whose fragments go to different stations', () => {
  const to = (dst: string, packet: number[], src: string = MACS.a) => ethernet({ src, dst }, packet);
  /** Who is reached at which address, in order of offset. */
  const reached = (sent: Sent[]) =>
    [...sent]
      .sort((x, y) => offsetOf(x.frame.subarray(14)) - offsetOf(y.frame.subarray(14)))
      .map((one) => `${one.to} ${readIpv4(one.frame).from} → ${readIpv4(one.frame).to}`);
  const orders = [
    ['in order', (frames: Uint8Array[]) => frames],
    ['backwards', (frames: Uint8Array[]) => [...frames].reverse()],
  ] as const;
  beforeEach(() => sendAll('a', [toGateway(ask(4))]));

  it.each(orders)(
    'N6, N36: to a service, %s: what is for the gateway is translated, the rest passes',
    (_, order) => {
      const [first, second] = cut(ask(2000), 1400, 7);
      const sent = sendAll('a', order([to(MACS.gateway, first!), to(MACS.b, second!)]));
      expect(reached(sent)).toEqual([`b ${IPS.a} → ${IPS.b}`, `b ${IPS.a} → ${VIP}`]);
      expect(fabric.drops()).toEqual({});
    },
  );

  it.each(orders)('N6, N36: %s: nothing is routed to a service address untranslated', (_, order) => {
    const [first, second] = cut(ask(2000), 1400, 7);
    const sent = sendAll('a', order([to(MACS.b, first!), to(MACS.gateway, second!)]));
    expect(reached(sent)).toEqual([`b ${IPS.a} → ${VIP}`]);
    expect(fabric.drops()).toEqual({ FRAGMENT_TO_SERVICE: 1 });
  });

  it.each(orders)('N2, N36: from a service, %s: both are given its address', (_, order) => {
    const [first, second] = cut(reply(2000), 1400, 7);
    for (const frames of [
      [to(MACS.gateway, first!, MACS.b), to(MACS.a, second!, MACS.b)],
      [to(MACS.a, first!, MACS.b), to(MACS.gateway, second!, MACS.b)],
    ])
      expect(reached(sendAll('b', order(frames)))).toEqual(Array(2).fill(`a ${VIP} → ${IPS.a}`));
    expect(fabric.drops()).toEqual({});
  });

  it.each(orders)('N35: beside a flow, %s: each goes its way', (_, order) => {
    const packet = udp({ from: IPS.b, to: IPS.a, sport: 9, dport: 10, payload: bytes(2000) });
    const [first, second] = cut(packet, 1400, 7);
    for (const frames of [
      [to(MACS.gateway, first!, MACS.b), to(MACS.a, second!, MACS.b)],
      [to(MACS.a, first!, MACS.b), to(MACS.gateway, second!, MACS.b)],
    ]) {
      const sent = sendAll('b', order(frames));
      expect(reached(sent)).toEqual(Array(2).fill(`a ${IPS.b} → ${IPS.a}`));
      expect(sent.map(({ frame }) => readIpv4(frame).ttl).sort()).toEqual([63, 64]);
    }
    expect(fabric.drops()).toEqual({});
  });
});

describe('fragments that are nobody’s business', () => {
  it('N35: between addresses without a flow they pass one by one, whatever is odd about them', () => {
    sendAll('a', [toGateway(ask(4))]);
    const parts = cut(udp({ from: IPS.a, to: IPS.c, sport: 1, dport: 2, payload: bytes(2000) }), 1400, 7);
    for (const packet of [parts[1]!, parts[1]!, parts[0]!]) {
      const [sent] = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.c }, packet));
      expect(toHex(readIpv4(sent!.frame).packet)).toBe(toHex(Uint8Array.from(packet)));
    }
    expect(held('a')).toBe(0);
  });

  it('N35: beside a flow of the same addresses they go on as they came, when all are there', () => {
    sendAll('a', [toGateway(ask(4))]);
    const packets = cut(udp({ from: IPS.b, to: IPS.a, sport: 9, dport: 10, payload: bytes(2000) }), 1400, 7);
    const sent = sendAll('b', packets.map(toClient));
    expect(sent.map(({ frame }) => toHex(readIpv4(frame).packet))).toEqual(
      packets.map((packet) => toHex(Uint8Array.from(packet))),
    );
  });

  it('N6: to a service address beside the gateway they are not translated', () => {
    const [first, second] = cut(ask(2000), 1400, 7);
    sendAll('a', [toGateway(ask(4))]);
    const sent = sendAll(
      'a',
      [first!, second!].map((packet) => ethernet({ src: MACS.a, dst: MACS.b }, packet)),
    );
    expect(sent.map(({ frame }) => readIpv4(frame).to)).toEqual([VIP, VIP]);
  });
});

describe('bounds', () => {
  const fragment = (id: number, offset: number, length: number, isMore = true) =>
    toGateway(
      ipv4(
        { from: IPS.a, to: VIP, protocol: 17, id, fragment: (isMore ? 0x2000 : 0) | (offset >> 3) },
        offset === 0 ? [15, 160, 0, 80, 0, 0, 0, 0, ...bytes(length - 8)] : bytes(length),
      ),
    );

  it.each([
    [
      'a part of another',
      [
        [0, 64],
        [56, 64],
      ],
    ],
    [
      'more of the same bytes',
      [
        [0, 64],
        [0, 128],
      ],
    ],
    [
      'less of the same bytes',
      [
        [0, 128],
        [0, 64],
      ],
    ],
    [
      'all around another',
      [
        [64, 64],
        [8, 256],
      ],
    ],
    [
      'behind the last',
      [
        [64, 8, 0],
        [72, 8],
      ],
    ],
    [
      'a second last',
      [
        [64, 8, 0],
        [128, 8, 0],
      ],
    ],
    [
      'a last that is not',
      [
        [128, 8],
        [64, 8, 0],
      ],
    ],
  ] as [string, number[][]][])(
    'N37: an overlap drops the whole datagram, also what still comes of it: %s',
    (_, parts) => {
      for (const [offset, length, more = 1] of parts)
        fabric.from('a', fragment(1, offset!, length!, more === 1));
      expect(fabric.drops()).toEqual({ FRAGMENT_INVALID: 2 });
      expect(held('a')).toBe(0);
      fabric.from('a', fragment(1, 1024, 8));
      expect(fabric.drops()).toEqual({ FRAGMENT_INVALID: 3 });
      fabric.from('a', fragment(2, 1024, 8));
      expect(held('a')).toBe(1);
    },
  );

  it('N37: an exact duplicate is ignored', () => {
    fabric.from('a', fragment(1, 0, 64));
    fabric.from('a', fragment(1, 0, 64));
    expect(held('a')).toBe(1);
    expect(fabric.from('a', fragment(1, 64, 64, false))).toHaveLength(2);
    expect(fabric.drops()).toEqual({});
  });

  it.each([
    ['a length that is no multiple of 8', () => fragment(1, 64, 60)],
    ['an end beyond 65 535', () => fragment(1, 65_528, 16, false)],
    [
      'no transport header',
      () => toGateway(ipv4({ from: IPS.a, to: VIP, protocol: 6, fragment: 0x2000 }, bytes(16))),
    ],
    ['nothing in it', () => fragment(1, 64, 0)],
  ])('N37: dropped at once: %s', (_, make) => {
    fabric.from('a', make());
    expect(fabric.drops()).toEqual({ FRAGMENT_INVALID: 1 });
  });

  it('N37: 30 s after its first fragment a datagram is given up, to the millisecond and by itself', () => {
    fabric.from('a', fragment(1, 0, 64));
    fabric.advance(29_999);
    fabric.from('a', fragment(1, 64, 64));
    expect(held('a')).toBe(2);
    fabric.card.now += 1;
    fabric.from('a', fragment(1, 128, 64, false));
    expect(fabric.drops()).toEqual({ FRAGMENT_TIMEOUT: 2 });
    fabric.advance(30_000);
    fabric.advance(100);
    expect(fabric.drops()).toEqual({ FRAGMENT_TIMEOUT: 3 });
    expect(held('a')).toBe(0);
  });

  it('N37: a datagram in more than 64 fragments is dropped', () => {
    for (let i = 0; i < 64; i++) fabric.from('a', fragment(1, 8 * i, 8));
    expect(fabric.drops()).toEqual({ FRAGMENT_LIMIT: 64 });
    fabric.from('a', fragment(1, 512, 8, false));
    expect(fabric.drops()).toEqual({ FRAGMENT_LIMIT: 64, FRAGMENT_INVALID: 1 });
  });

  it('N37: of too many datagrams the oldest goes', () => {
    for (let id = 1; id <= 65; id++) {
      fabric.card.now++;
      fabric.from('a', fragment(id, 0, 64));
    }
    expect(fabric.drops()).toEqual({ FRAGMENT_LIMIT: 1 });
    expect(fabric.from('a', fragment(2, 64, 64, false))).toHaveLength(2);
    expect(fabric.from('a', fragment(1, 64, 64, false))).toEqual([]);
  });

  it('N37: of too many fragments the oldest datagram goes, and the switch keeps its buffers', () => {
    for (let id = 1; id <= 7; id++) {
      fabric.card.now++;
      for (let i = 0; i < 32; i++) fabric.from('a', fragment(id, 8 * i, 8));
    }
    expect(held('a')).toBe(192);
    expect(fabric.drops()).toEqual({ FRAGMENT_LIMIT: 32 });
    expect(fabric.from('a', fragment(2, 256, 8, false))).toEqual([]);
    expect(fabric.from('a', fragment(7, 256, 8, false))).toHaveLength(33);
  });

  describe('one port that takes more than its share', () => {
    const dropped = (name: string) => {
      const at = { a: 2, b: 3, c: 4 }[name]! * Drop.COUNT + Drop.FRAGMENT_LIMIT;
      return fabric.counters.drops[at]!;
    };
    const evicted = () => {
      fabric.advance(100);
      return fabric.counters.globals[Global.DATAGRAMS_EVICTED];
    };
    /** Parts of a datagram of b's to the service, whose endpoint is c. */
    const honest = (size: number, id = 7) =>
      cut(udp({ from: IPS.b, to: VIP, sport: 4000, dport: 80, payload: bytes(3000) }), size, id).map(
        (packet) => toGateway(packet, MACS.b),
      );
    beforeEach(() => {
      fabric = dual(...shop(IPS.c));
    });

    it('N37: lone fragments push out their sender’s own, never another’s half datagram', () => {
      const [first, ...others] = honest(1400);
      fabric.from('b', first!);
      for (let i = 0; i < 1000; i++) {
        fabric.card.now++;
        fabric.from('a', fragment(i, 8, 8));
      }
      expect(sendAll('b', others).map(({ to }) => to)).toEqual(['c', 'c', 'c']);
      expect([dropped('a'), dropped('b'), held('a')]).toEqual([1000 - 63, 0, 63]);
      expect(evicted()).toBe(1000 - 63);
    });

    it('N37: nor do many fragments of few datagrams', () => {
      const parts = honest(160); // 19 of them
      sendAll('b', parts.slice(1));
      for (let i = 0; i < 1000; i++) {
        fabric.card.now++;
        fabric.from('a', fragment(i >> 5, 8 * (i & 31), 8));
      }
      expect(sendAll('b', [parts[0]!])).toHaveLength(19);
      expect([dropped('b'), held('b')]).toEqual([0, 0]);
      expect(fabric.drops()).toEqual({ FRAGMENT_LIMIT: dropped('a') });
    });

    it('N37: nor do bytes', () => {
      fabric.dataplane.apply([host({ fragments: { maxBytes: 65_536, timeout: 30_000 } })]);
      const [first, ...others] = honest(1400);
      fabric.from('b', first!);
      for (let i = 0; i < 200; i++) {
        fabric.card.now++;
        fabric.from('a', fragment(i >> 2, 1400 * (i & 3), 1400));
      }
      expect(sendAll('b', others).map(({ to }) => to)).toEqual(['c', 'c', 'c']);
      expect([dropped('a') > 100, dropped('b')]).toEqual([true, 0]);
    });

    it('N37: whoever comes new finds room; whoever has more than all others makes it', () => {
      for (let id = 0; id < 40; id++, fabric.card.now++) fabric.from('a', fragment(id, 8, 8));
      for (let id = 0; id < 24; id++, fabric.card.now++) fabric.from('b', honest(1400, id)[0]!);
      expect([dropped('a'), dropped('b'), held('a'), held('b')]).toEqual([0, 0, 40, 24]);
      for (let id = 24; id < 40; id++, fabric.card.now++) fabric.from('b', honest(1400, id)[0]!);
      // Once b has as many, its next one is its own affair.
      expect([dropped('a'), dropped('b'), held('a'), held('b')]).toEqual([8, 8, 32, 32]);
    });
  });

  it('N37: so it is with bytes, as many as the host allows', () => {
    fabric.dataplane.apply([host({ fragments: { maxBytes: 3000, timeout: 1000 } })]);
    for (let id = 1; id <= 3; id++) {
      fabric.card.now++;
      fabric.from('a', fragment(id, 0, 1400));
    }
    expect(fabric.drops()).toEqual({ FRAGMENT_LIMIT: 1 });
    fabric.advance(1000);
    fabric.advance(100);
    expect(fabric.drops()).toEqual({ FRAGMENT_LIMIT: 1, FRAGMENT_TIMEOUT: 2 });
  });

  it('N37: what a port, a peer or a network sent does not outlive it', () => {
    fabric.from('a', fragment(1, 0, 64));
    fabric.dataplane.apply([{ op: 'remove-port', id: port('a').id }]);
    fabric.settle();
    expect(fabric.drops()).toEqual({ FRAGMENT_TIMEOUT: 1 });
    const red = ipv4({ from: IPS.a, to: VIP, protocol: 17, fragment: 0x2000 }, bytes(64));
    fabric.from('r', ethernet({ src: MACS.r, dst: MACS.redGateway }, red));
    expect(held('r')).toBe(1);
    fabric.dataplane.apply([{ op: 'remove-network', id: 1 }]);
    expect(held('r')).toBe(0);
  });

  it('N37: whatever comes, every buffer comes back', () => {
    const piece = fc.record({
      id: fc.nat(3),
      offset: fc.nat(10).map((n) => n * 8),
      length: fc.constantFrom(8, 16, 24, 13),
      isMore: fc.boolean(),
      pause: fc.constantFrom(0, 0, 0, 10_000),
    });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 80 }), (pieces) => {
        for (const { id, offset, length, isMore, pause } of pieces) {
          if (pause > 0) fabric.advance(pause);
          fabric.from('a', fragment(id, offset, length, isMore)); // settles, and counts slots
        }
        fabric.advance(30_000);
        fabric.advance(100);
        expect(held('a')).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
