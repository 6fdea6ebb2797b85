import { describe, expect, it } from 'vitest';
import { TxStatus } from '../../src/card/layout.ts';
import type { MemoryFrame } from '../../src/card/memory-card.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { Epochs } from '../../src/table/epochs.ts';
import { Global } from '../../src/telemetry/counters.ts';
import {
  address4,
  Fabric,
  IPS,
  MACS,
  macOf,
  network,
  PEER_ADDRESSES,
  peer,
  port,
  service,
} from '../fabric.ts';
import { address6, dualNetwork, dualOps, dualPort, IPS6 } from '../fabric6.ts';
import { arp, ethernet, partialSum, tcp, udp, vxlan } from '../frames.ts';
import { partialSum6, tcp6, udp6 } from '../frames6.ts';
import { Twins, UNDERLAY, UNDERLAY6 } from './twins.ts';

const VIP = '10.96.0.10';
const OPS: Op[] = [
  ...Fabric.standing(),
  { op: 'port', port: port('a', { antiSpoof: 'strict' }) },
  {
    op: 'peer',
    peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] }),
  },
  ...[6, 17].map((protocol): Op => {
    const backends = [{ address: address4(IPS.b), port: 8080 }];
    return {
      op: 'service',
      service: service({ id: protocol, name: `default/${protocol}`, protocol, backends }),
    };
  }),
];
const A = 10;
const B = 11;
const C = 12;
const frame = (device: number, src: string, dst: string, packet: number[]): MemoryFrame => ({
  device,
  bytes: ethernet({ src, dst }, packet),
});
const toB = { from: IPS.a, to: IPS.b, sport: 1, dport: 2 };
const wrongHeader = (packet: number[]) => packet.with(10, packet[10]! ^ 1);
const plain = frame(A, MACS.a, MACS.b, udp(toB));
const ask = { from: IPS.a, to: VIP, sport: 5000, dport: 80 };
const answer = { from: IPS.b, to: IPS.a, sport: 8080, dport: 5000 };
const toVip = frame(A, MACS.a, MACS.gateway, udp(ask));
const fromBackend = frame(B, MACS.b, MACS.a, udp(answer));
const connection = [
  frame(A, MACS.a, MACS.gateway, tcp({ ...ask, flags: 'S', seq: 1 })),
  frame(B, MACS.b, MACS.a, tcp({ ...answer, flags: 'SA', seq: 9, ack: 2 })),
  frame(A, MACS.a, MACS.gateway, tcp({ ...ask, flags: 'A', seq: 2, ack: 10 })),
];
const superFrame = (): MemoryFrame => {
  const payload = new Array<number>(4000).fill(1);
  const { bytes, device } = frame(A, MACS.a, MACS.b, tcp({ ...toB, flags: 'A', payload }));
  const sum = partialSum(IPS.a, IPS.b, 6, bytes.length - 34);
  bytes.set([sum >>> 8, sum & 255], 50);
  return { device, bytes, csumStart: 34, csumOffset: 16, gsoType: 1, gsoSize: 1400 };
};

describe('takes the fast path', () => {
  it.each<[string, MemoryFrame[], MemoryFrame]>([
    ['a bridged datagram', [], plain],
    ['a bridged super-frame', [], superFrame()],
    ['into a tunnel', [], frame(A, MACS.a, MACS.far, udp({ ...toB, to: IPS.far }))],
    [
      'out of a tunnel',
      [],
      {
        device: UNDERLAY,
        bytes: vxlan(
          { vni: 42 },
          ethernet({ src: MACS.far, dst: MACS.a }, udp({ ...toB, from: IPS.far, to: IPS.a })),
        ),
        remote: address4(PEER_ADDRESSES.p),
      },
    ],
    [
      'a bridged datagram with a wrong header checksum',
      [plain],
      frame(A, MACS.a, MACS.b, wrongHeader(udp(toB))),
    ],
    ['routed to a port', [], frame(A, MACS.a, MACS.gateway, udp(toB))],
    ['routed into a tunnel', [], frame(A, MACS.a, MACS.gateway, udp({ ...toB, to: IPS.far }))],
    ['a datagram to a service', [toVip], toVip],
    ['a datagram from a backend', [toVip, fromBackend], fromBackend],
    [
      'a segment to a service',
      connection,
      frame(A, MACS.a, MACS.gateway, tcp({ ...ask, flags: 'PA', seq: 2, ack: 10 })),
    ],
    [
      'a segment from a backend',
      connection,
      frame(B, MACS.b, MACS.a, tcp({ ...answer, flags: 'A', seq: 10, ack: 2 })),
    ],
  ])('%s', (_, before, repeated) => {
    const twins = new Twins(OPS);
    for (const one of before) twins.burst([one]);
    const { head, sent } = twins.burst([repeated, repeated]);
    expect([head, sent.length]).toEqual([2, 2]);
  });

  it.each<[string, MemoryFrame[], MemoryFrame]>([
    ['the first datagram of a flow', [], toVip],
    ['the first answer of a flow', [toVip], fromBackend],
    [
      'the end of a connection',
      connection,
      frame(A, MACS.a, MACS.gateway, tcp({ ...ask, flags: 'FA', seq: 2, ack: 10 })),
    ],
    ['a station nobody has heard of', [], frame(A, MACS.a, '02:00:00:00:77:77', udp(toB))],
    [
      'what is to be routed with a wrong header checksum',
      [frame(A, MACS.a, MACS.gateway, udp(toB))],
      frame(A, MACS.a, MACS.gateway, wrongHeader(udp(toB))),
    ],
    [
      'a datagram to a service with one',
      [toVip, toVip],
      frame(A, MACS.a, MACS.gateway, wrongHeader(udp(ask))),
    ],
  ])('not: %s', (_, before, frame) => {
    const twins = new Twins(OPS);
    for (const one of before) twins.burst([one]);
    expect(twins.burst([frame]).head).toBe(0);
  });
});

describe('takes the fast path in IPv6', () => {
  const vip = 'fd00:96::10';
  const q6 = '2001:db8:9::3';
  const over6 = address6(q6);
  const six: Op[] = [
    ...dualOps(),
    { op: 'network', network: dualNetwork({ underlay6: UNDERLAY6 }) },
    { op: 'port', port: dualPort('a', { antiSpoof: 'strict' }) },
    {
      op: 'peer',
      peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address6(IPS6.far) }] }),
    },
    {
      op: 'peer',
      peer: peer('q', {
        addresses: [over6],
        memberships: [{ network: 0, remote: 2, address: over6, port: 4789 }],
        static: [{ network: 0, mac: macOf(MACS.other), address: address6(IPS6.other) }],
      }),
    },
    ...[6, 17].map((protocol): Op => {
      const backends = [{ address: address6(IPS6.b), port: 8080 }];
      return {
        op: 'service',
        service: service({
          id: protocol,
          name: `default/${protocol}`,
          protocol,
          vip: address6(vip),
          backends,
        }),
      };
    }),
  ];
  const frame = (device: number, src: string, dst: string, packet: number[]): MemoryFrame => ({
    device,
    bytes: ethernet({ src, dst, type: 0x86dd }, packet),
  });
  const toB = { from: IPS6.a, to: IPS6.b, sport: 1, dport: 2 };
  const ask = { from: IPS6.a, to: vip, sport: 5000, dport: 80 };
  const answer = { from: IPS6.b, to: IPS6.a, sport: 8080, dport: 5000 };
  const toVip = frame(A, MACS.a, MACS.gateway, udp6(ask));
  const fromBackend = frame(B, MACS.b, MACS.a, udp6(answer));
  const connection = [
    frame(A, MACS.a, MACS.gateway, tcp6({ ...ask, flags: 'S', seq: 1 })),
    frame(B, MACS.b, MACS.a, tcp6({ ...answer, flags: 'SA', seq: 9, ack: 2 })),
    frame(A, MACS.a, MACS.gateway, tcp6({ ...ask, flags: 'A', seq: 2, ack: 10 })),
  ];
  const superFrame = (): MemoryFrame => {
    const payload = new Array<number>(4000).fill(1);
    const { bytes, device } = frame(A, MACS.a, MACS.b, tcp6({ ...toB, flags: 'A', payload }));
    const sum = partialSum6(IPS6.a, IPS6.b, 6, bytes.length - 54);
    bytes.set([sum >>> 8, sum & 255], 70);
    return { device, bytes, csumStart: 54, csumOffset: 16, gsoType: 4, gsoSize: 1380 };
  };
  const tunnelled = (from: string, mac: string, packet: number[], type = 0x86dd): MemoryFrame => ({
    device: from === 'q' ? UNDERLAY6 : UNDERLAY,
    bytes: vxlan({ vni: 42 }, ethernet({ src: mac, dst: MACS.a, type }, packet)),
    remote: from === 'q' ? over6 : address4(PEER_ADDRESSES.p),
  });

  it.each<[string, MemoryFrame[], MemoryFrame]>([
    ['a bridged datagram', [], frame(A, MACS.a, MACS.b, udp6(toB))],
    ['a bridged super-frame', [], superFrame()],
    ['into a tunnel over IPv4', [], frame(A, MACS.a, MACS.far, udp6({ ...toB, to: IPS6.far }))],
    ['into a tunnel over IPv6', [], frame(A, MACS.a, MACS.other, udp6({ ...toB, to: IPS6.other }))],
    [
      'IPv4 into a tunnel over IPv6',
      [],
      {
        device: A,
        bytes: ethernet(
          { src: MACS.a, dst: MACS.other },
          udp({ from: IPS.a, to: IPS.other, sport: 1, dport: 2 }),
        ),
      },
    ],
    ['out of a tunnel over IPv4', [], tunnelled('p', MACS.far, udp6({ ...toB, from: IPS6.far, to: IPS6.a }))],
    [
      'out of a tunnel over IPv6',
      [],
      tunnelled('q', MACS.other, udp6({ ...toB, from: IPS6.other, to: IPS6.a })),
    ],
    [
      'IPv4 out of a tunnel over IPv6',
      [],
      tunnelled('q', MACS.other, udp({ from: IPS.other, to: IPS.a, sport: 1, dport: 2 }), 0x0800),
    ],
    ['routed to a port', [], frame(A, MACS.a, MACS.gateway, udp6(toB))],
    ['routed into a tunnel', [], frame(A, MACS.a, MACS.gateway, udp6({ ...toB, to: IPS6.other }))],
    ['a datagram to a service', [toVip], toVip],
    ['a datagram from a backend', [toVip, fromBackend], fromBackend],
    [
      'a segment to a service',
      connection,
      frame(A, MACS.a, MACS.gateway, tcp6({ ...ask, flags: 'PA', seq: 2, ack: 10 })),
    ],
    [
      'a segment from a backend',
      connection,
      frame(B, MACS.b, MACS.a, tcp6({ ...answer, flags: 'A', seq: 10, ack: 2 })),
    ],
  ])('%s', (_, before, repeated) => {
    const twins = new Twins(six);
    for (const one of before) twins.burst([one]);
    const { head, sent } = twins.burst([repeated, repeated]);
    expect([head, sent.length]).toEqual([2, 2]);
  });

  it('B18: both families in one burst, in order', () => {
    const twins = new Twins(six);
    const four = { device: A, bytes: plain.bytes };
    const { head } = twins.burst([four, superFrame(), four, toVip, superFrame()]);
    expect(head).toBe(3);
    expect(twins.burst([toVip, four, toVip, superFrame(), four]).head).toBe(5);
  });

  it.each<[string, MemoryFrame]>([
    ['from an address that is not the port’s', frame(A, MACS.a, MACS.b, udp6({ ...toB, from: IPS6.c }))],
    [
      'from a link-local address through the gateway',
      frame(A, MACS.a, MACS.gateway, udp6({ ...toB, from: 'fe80::1' })),
    ],
    ['to a service without such a port', frame(A, MACS.a, MACS.gateway, udp6({ ...ask, dport: 81 }))],
    ['with its last hop', frame(A, MACS.a, MACS.gateway, udp6({ ...toB, hopLimit: 1 }))],
    [
      'from an underlay address nobody has',
      {
        ...tunnelled('q', MACS.other, udp6({ ...toB, from: IPS6.other, to: IPS6.a })),
        remote: address6('2001:db8:9::4'),
      },
    ],
  ])('not: %s', (_, one) => {
    const twins = new Twins(six);
    twins.burst([frame(A, MACS.a, MACS.gateway, udp6(toB)), frame(A, MACS.a, MACS.b, udp6(toB))]);
    expect(twins.burst([one]).head).toBe(0);
  });
});

describe('what no longer holds', () => {
  it('N6: a packet to a service address beside the gateway is not translated, though its flow is known', () => {
    const twins = new Twins(OPS);
    twins.burst([toVip]);
    const { sent } = twins.burst([toVip, frame(A, MACS.a, MACS.b, udp(ask)), toVip]);
    expect(sent).toHaveLength(3);
    expect(sent[1]).toContain('0a60000a'); // still 10.96.0.10
  });

  it('B10: a station that made room for others is flooded to in the same millisecond', () => {
    const twins = new Twins([...OPS, { op: 'network', network: network({ maxEntries: 10 }) }]);
    const station = '02:00:00:00:0c:99';
    const hello = (mac: string) => frame(C, mac, MACS.b, udp({ ...toB, from: IPS.c }));
    const toStation = frame(A, MACS.a, station, udp(toB));
    twins.burst([hello(station)]);
    expect(twins.burst([toStation]).sent).toHaveLength(1);
    twins.burst(Array.from({ length: 10 }, (_, i) => hello(`02:00:00:00:0d:0${i}`)));
    expect(twins.burst([toStation])).toMatchObject({ head: 0 });
  });

  it('B6, B5: a station that moves or falls silent takes its paths along', () => {
    const twins = new Twins([...OPS, { op: 'port', port: port('b', { antiSpoof: 'off' }) }]);
    const station = '02:00:00:00:0c:99';
    const toStation = frame(A, MACS.a, station, udp(toB));
    const hello = (device: number) => frame(device, station, MACS.a, udp({ ...toB, to: IPS.a }));
    twins.burst([hello(C)]);
    expect(twins.burst([toStation]).sent[0]).toMatch(/^12 /);
    twins.burst([hello(B)]);
    expect(twins.burst([toStation])).toMatchObject({ head: 1, sent: [expect.stringMatching(/^11 /)] });
    for (let i = 0; i < 3; i++) {
      twins.advance(99_999);
      expect(twins.burst([toStation]).head).toBe(1);
    }
    twins.advance(3);
    expect(twins.burst([toStation]).head).toBe(0);
  });

  it('A13: a learned next hop in use is still verified', () => {
    const twins = new Twins([...OPS, { op: 'port', port: port('c', { addresses: [] }) }]);
    twins.burst([
      { device: C, bytes: arp({ op: 'request', senderMac: MACS.c, senderIp: IPS.c, targetIp: IPS.c }) },
    ]);
    const routed = frame(A, MACS.a, MACS.gateway, udp({ ...toB, to: IPS.c }));
    expect(twins.burst([routed]).head).toBe(1);
    twins.advance(46_000);
    expect(twins.burst([routed])).toMatchObject({ head: 0, sent: { length: 2 } });
  });

  it('B18: what waited for a neighbour leaves before the next burst', () => {
    const fabric = new Fabric(OPS);
    fabric.from('a', plain.bytes);
    fabric.from(
      'a',
      ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ ...toB, to: '10.77.0.99', sport: 7 })),
    );
    const addresses = [address4(IPS.b), address4('10.77.0.99')];
    fabric.dataplane.apply([{ op: 'port', port: port('b', { addresses }) }]);
    const sent = fabric
      .from('a', plain.bytes)
      .filter(({ frame: bytes }) => bytes[12] === 8 && bytes[13] === 0);
    expect(sent.map(({ frame: bytes }) => bytes[35])).toEqual([7, 1]);
  });

  it('B18: a frame that needs a decision holds up its own group of a burst, and nothing changes places', () => {
    const fabric = new Fabric(OPS);
    const { card, dataplane, counters } = fabric;
    const order: number[] = [];
    card.onSend = ({ bytes }) => {
      order.push((bytes[bytes.length - 2]! << 8) | bytes[bytes.length - 1]!);
      return TxStatus.SENT;
    };
    const numbered = (i: number): MemoryFrame => {
      const payload = [i >> 8, i & 255];
      // Every 100th is of no kind the fast path looks at.
      const packet = i % 100 === 50 ? [0x88, 0xb5, ...payload] : udp({ ...toB, payload });
      if (i % 100 !== 50) return frame(A, MACS.a, MACS.b, packet);
      return {
        device: A,
        bytes: Uint8Array.from([...ethernet({ src: MACS.a, dst: MACS.b }, []).slice(0, 12), ...packet]),
      };
    };
    const burst = Array.from({ length: 256 }, (_, i) => numbered(i));
    for (let round = 0; round < 2; round++) {
      order.length = 0;
      for (const each of burst) card.receive(each);
      dataplane.turn();
      expect(order).toEqual(Array.from({ length: 256 }, (_, i) => i));
    }
    // Numbers 50, 150 and 250 end the heads of the first, the third and the fourth group.
    const perRound = 50 + 64 + 22 + 58;
    expect(counters.globals[Global.FAST_FRAMES]).toBe(2 * perRound);
    fabric.checkBalance();
  });

  it('when an epoch comes round, everything is forgotten once', () => {
    const epochs = new Epochs(2);
    epochs.of[1] = -1;
    epochs.bump(0);
    expect([epochs.of[0], epochs.wrapped]).toEqual([2, false]);
    epochs.bump(1);
    expect([epochs.of[1], epochs.wrapped]).toEqual([1, true]);
  });
});

describe('paths', () => {
  it('B18: more stations than the table has room for arrive all the same, once and in order', () => {
    const off: Op[] = [
      { op: 'network', network: network({ maxEntries: 200_000 }) },
      { op: 'port', port: port('a', { antiSpoof: 'off' }) },
    ];
    const fabric = new Fabric([...OPS, ...off]);
    const { card, dataplane, counters } = fabric;
    let sent = 0;
    let disorder = 0;
    card.onSend = ({ bytes }) => {
      if (((bytes[9]! << 16) | (bytes[10]! << 8) | bytes[11]!) !== sent++) disorder++;
      return TxStatus.SENT;
    };
    const template = ethernet({ src: '02:0a:00:00:00:00', dst: MACS.b }, udp(toB));
    const stations = 150_000;
    for (let round = 0; round < 2; round++) {
      sent = 0;
      for (let i = 0; i < stations; i++) {
        const bytes = template.slice();
        bytes.set([i >>> 24, i >>> 16, i >>> 8, i], 8);
        card.receive({ device: A, bytes });
        if (card.pending === 50) dataplane.turn();
      }
      expect([sent, disorder]).toEqual([stations, 0]);
    }
    expect(counters.globals[Global.FAST_FRAMES]).toBeGreaterThan(stations * 0.9);
    fabric.checkBalance();
  });
});
