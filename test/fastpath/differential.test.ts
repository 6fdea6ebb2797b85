import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault, Gso, TxStatus } from '../../src/card/layout.ts';
import type { MemoryFrame } from '../../src/card/memory-card.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { GROUP } from '../../src/dataplane/pipeline.ts';
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
  red,
  service,
} from '../fabric.ts';
import { arp, echoRequest, ethernet, ipv6, partialSum, type TcpFields, tcp, udp, vxlan } from '../frames.ts';
import { Twins, UNDERLAY } from './twins.ts';

const VIP = '10.96.0.10';
const ELSEWHERE = '198.51.100.7';
const DEVICE = { a: 10, b: 11, c: 12, r: 13 } as const;

/** A repeatable stream of choices. */
class Dice {
  constructor(private state: number) {}
  roll(sides: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  }
  of<T>(items: readonly T[]): T {
    return items[this.roll(items.length)]!;
  }
  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }
}

interface Station {
  mac: string;
  ip: string;
  at: keyof typeof DEVICE | 'p' | 'q';
}
const STATIONS: Station[] = [
  { mac: MACS.a, ip: IPS.a, at: 'a' },
  { mac: MACS.b, ip: IPS.b, at: 'b' },
  { mac: MACS.c, ip: IPS.c, at: 'c' },
  { mac: '02:00:00:00:0c:01', ip: '10.77.0.31', at: 'c' },
  { mac: '02:00:00:00:0c:02', ip: '10.78.0.32', at: 'c' },
  { mac: MACS.far, ip: IPS.far, at: 'p' },
  { mac: MACS.other, ip: IPS.other, at: 'q' },
  { mac: '02:00:00:00:02:02', ip: '10.78.0.23', at: 'q' },
];

/** The frame as it comes in at a station's place. */
function from(at: Station['at'], bytes: Uint8Array, offload: Partial<MemoryFrame> = {}): MemoryFrame {
  if (at !== 'p' && at !== 'q') return { device: DEVICE[at], bytes, ...offload };
  return {
    device: UNDERLAY,
    bytes: vxlan({ vni: 42 }, bytes),
    remote: address4(PEER_ADDRESSES[at]),
    ...offload,
  };
}

/** IPv4 packets of one kind or another between two addresses. */
function packet(
  dice: Dice,
  ends: { from: string; to: string; sport: number; dport: number },
  isTcp: boolean,
): number[] {
  const payload = new Array<number>(
    dice.of([0, 4, 5, 5, 5, 100, 100, 1410, dice.of([1411, 1422, 1423])]),
  ).fill(7);
  const ttl = dice.of([64, 64, 64, 64, 64, 64, 2, dice.of([0, 1])]);
  const tos = dice.of([0, 0, 1, 2, 3, 0xb8]);
  if (!isTcp) return udp({ ...ends, payload, ttl, tos });
  const flags = dice.of(['A', 'A', 'A', 'PA', 'PA', 'S', 'SA', 'FA', 'R', 'RA', 'P']);
  const [seq, ack] = [dice.of([1000, 1001, 5001]), dice.of([1001, 5001, -1])];
  const options = dice.of([
    [],
    [],
    [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
    [1, 1, 5, 10, 0, 0, 19, 140, 0, 0, 19, 150],
  ]);
  return tcp({ ...ends, payload, ttl, flags, seq, ack, options, window: dice.of([0xfaf0, 0xfaf0, 100, 0]) });
}

/** Turns a frame's checksum into a partial one, and on request the frame into a super-frame. */
function offloaded(
  dice: Dice,
  ends: { from: string; to: string; sport: number; dport: number },
  isTcp: boolean,
  head: { src: string; dst: string },
): { bytes: Uint8Array; offload: Partial<MemoryFrame> } {
  const payload = new Array<number>(dice.of([100, 2900, 2900, 8000])).fill(9);
  const bytes = ethernet(
    head,
    isTcp ? tcp({ ...ends, flags: 'A', seq: 1001, ack: 5001, payload }) : udp({ ...ends, payload }),
  );
  const sum = partialSum(ends.from, ends.to, isTcp ? 6 : 17, bytes.length - 34);
  const csumOffset = isTcp ? 16 : 6;
  bytes.set([sum >>> 8, sum & 255], 34 + csumOffset);
  const gsoSize = payload.length > 100 ? dice.of([500, 500, 1400, 1410, 1422, 1448]) : 0;
  const gsoType = gsoSize === 0 ? Gso.NONE : isTcp ? Gso.TCPV4 : Gso.UDP_L4;
  return { bytes, offload: { csumStart: 34, csumOffset, gsoType, gsoSize } };
}

/** Something of every sort a switch meets, most of it repeatable without a decision. */
function template(dice: Dice): MemoryFrame {
  const talker = dice.of(STATIONS);
  const peerOf = dice.of(STATIONS.filter((other) => other !== talker));
  const isTcp = dice.chance(50);
  const sport = dice.of([1000, 1001, 8080]);
  const dport = dice.of([80, 1000, 1001, 8080]);
  const viaGateway = dice.chance(40);
  const dst = viaGateway ? dice.of([MACS.gateway, MACS.gateway, MACS.gateway, MACS.router]) : peerOf.mac;
  // N6: not translated beside the gateway. Elsewhere is behind c, when it is the host's.
  const to = dice.chance(viaGateway ? 60 : 10) ? VIP : dice.chance(15) ? ELSEWHERE : peerOf.ip;
  const head = { src: talker.mac, dst };
  const ends = { from: talker.ip, to, sport, dport: to === VIP ? 80 : dport };
  if (dice.chance(25)) {
    const { bytes, offload } = offloaded(dice, ends, isTcp, head);
    // A Linux peer does not say that a checksum is partial.
    return from(talker.at, bytes, dice.chance(50) && offload.gsoSize === 0 ? {} : offload);
  }
  const bytes = ethernet(head, packet(dice, ends, isTcp));
  if (!isTcp && dice.chance(20)) bytes.set([0, 0], 40); // no checksum (N41)
  const tos = dice.of([0, 0, 0, 0, 0, 1, 2, 3]);
  return from(talker.at, bytes, { tos });
}

/** The same with something wrong or rare about it. */
function odd(dice: Dice): MemoryFrame {
  const talker = dice.of(STATIONS);
  const other = dice.of(STATIONS);
  const head = { src: talker.mac, dst: other.mac };
  const ends = { from: talker.ip, to: other.ip, sport: 1000, dport: 1001 };
  const plain = ethernet(head, udp(ends));
  const changed = (at: number, ...values: number[]) => {
    const bytes = plain.slice();
    bytes.set(values, at);
    return from(talker.at, bytes);
  };
  return dice.of<() => MemoryFrame>([
    () => changed(14, 0x46), // options
    () => changed(14, 0x55),
    () => changed(20, 0x20, 0), // first fragment
    () => changed(20, 0, 9),
    () => changed(16, 0xff, 0xff), // longer than the frame
    () => changed(16, 0, 24),
    () => changed(23, 47), // no ports
    () => changed(40, 0, 0), // no checksum
    () => changed(6, 3), // group source
    () => ({ ...changed(6, 2, 0, 0, 0, 0x0d, dice.roll(40)), device: DEVICE.c }), // a flood of sources (B10)
    () => changed(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
    () => changed(0, 2, 0, 0, 0, 0x99, dice.roll(4)), // unknown destination
    () => from(talker.at, plain.subarray(0, dice.of([10, 20, 41]))),
    () => from(talker.at, plain, { fault: dice.of([Fault.VNET, Fault.TRUNCATED]) }),
    () => from(talker.at, ethernet(head, udp({ ...ends, from: other.ip }))), // another's address
    () => from(dice.of(['a', 'b', 'c', 'p', 'q'] as const), plain), // elsewhere: a move, or a spoof
    () => from(talker.at, ethernet(head, udp({ ...ends, to: '192.0.2.2', dport: 4789 }))),
    () => from(talker.at, ethernet(head, udp({ ...ends, sport: 67, dport: 68 }))),
    () => from(talker.at, ethernet({ ...head, type: 0x8100 }, [0, 5, 8, 0, ...udp(ends)])),
    () =>
      from(
        talker.at,
        ethernet(
          { ...head, type: 0x86dd },
          ipv6({ from: 'fd00::1', to: 'fd00::2', protocol: 17 }, [0, 1, 0, 2, 0, 8, 1, 1]),
        ),
      ),
    () =>
      from(talker.at, arp({ op: 'request', senderMac: talker.mac, senderIp: talker.ip, targetIp: other.ip })),
    () =>
      from(
        talker.at,
        arp({
          op: 'reply',
          senderMac: talker.mac,
          senderIp: talker.ip,
          targetMac: other.mac,
          targetIp: other.ip,
        }),
      ),
    () =>
      from(
        talker.at,
        arp({
          op: 'reply',
          senderMac: other.mac,
          src: talker.mac,
          senderIp: talker.ip,
          targetMac: other.mac,
          targetIp: other.ip,
        }),
      ),
    () => from(talker.at, ethernet({ ...head, dst: MACS.gateway }, echoRequest(talker.ip, IPS.gateway))),
    () => from(talker.at, ethernet({ ...head, dst: MACS.gateway }, udp({ ...ends, to: '10.78.0.77' }))),
    () => ({ device: 500, bytes: plain }),
    () => ({
      device: UNDERLAY,
      bytes: vxlan(
        {
          vni: dice.of([42, 43, 99]),
          reserved: dice.of([0, 1]),
          flags: dice.of([0x08000000, 0x08000001, 0]),
        },
        plain,
      ),
      remote: address4(dice.of([...Object.values(PEER_ADDRESSES), '192.0.2.77'])),
    }),
    () => ({
      device: UNDERLAY,
      bytes: vxlan({ vni: 42 }, plain),
      remote: [0, 0, dice.of([0, 0xffff]), address4(PEER_ADDRESSES.p)[3]],
    }),
    () => ({ device: DEVICE.r, bytes: plain }),
  ])();
}

/** A connection to the service: its handshake, from whichever backend it went to, and segments both ways. */
function session(dice: Dice): { opening: MemoryFrame[][]; segments: MemoryFrame[]; endings: MemoryFrame[] } {
  const client = dice.of(STATIONS.slice(0, 5));
  const sport = 2000 + dice.roll(4);
  const ends = { from: client.ip, to: VIP, sport, dport: 80 };
  const ask = (fields: Partial<TcpFields>) =>
    from(client.at, ethernet({ src: client.mac, dst: MACS.gateway }, tcp({ ...ends, ...fields })));
  const answer = (fields: Partial<TcpFields>) =>
    STATIONS.filter((backend) => backend !== client).map((backend) => {
      const reply = { from: backend.ip, to: client.ip, sport: 8080, dport: sport };
      const dst = dice.chance(70) ? client.mac : MACS.gateway;
      return from(backend.at, ethernet({ src: backend.mac, dst }, tcp({ ...reply, ...fields })));
    });
  return {
    opening: [
      [ask({ flags: 'S', seq: 1000 })],
      answer({ flags: 'SA', seq: 5000, ack: 1001 }),
      [ask({ flags: 'A', seq: 1001, ack: 5001 })],
    ],
    segments: [
      ask({ flags: 'PA', seq: 1001, ack: 5001, payload: [1, 2, 3] }),
      ask({ flags: 'A', seq: 1004, ack: 5003, payload: new Array<number>(1410).fill(3) }),
      ask({
        flags: 'A',
        seq: dice.of([1004, 2414, 90_000]),
        ack: dice.of([5001, 5003, 5004]),
        options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
      }),
      ...answer({
        flags: 'A',
        seq: 5003,
        ack: dice.of([1001, 1004, 2414, 2415]),
        window: dice.of([0, 9, 900]),
      }),
      ...answer({ flags: 'PA', seq: 5001, ack: 1004, payload: [4, 5] }),
    ],
    // N14: exact only for who saw the segments.
    endings: [
      ask({ flags: 'R', seq: 1004 }),
      ask({ flags: 'FA', seq: 1004, ack: 5003 }),
      ...answer({ flags: 'R', seq: 5001, ack: 0 }),
    ],
  };
}

/** A change of configuration that keeps the stations in their places. */
function change(dice: Dice): Op[] {
  const name = dice.of(['a', 'b', 'c'] as const);
  const modes = { a: ['strict', 'mac'], b: ['strict', 'off'], c: ['off'] } as const;
  const backends = [IPS.b, IPS.far, IPS.c, IPS.a]
    .slice(dice.roll(3), 2 + dice.roll(3))
    .map((ip) => ({ address: address4(ip), port: 8080 }));
  const protocol = dice.of([6, 17]);
  return dice.of<() => Op[]>([
    () => [
      { op: 'port', port: port(name, { antiSpoof: dice.of(modes[name]), mtu: dice.of([1450, 1450, 1400]) }) },
    ],
    () => [
      { op: 'remove-port', id: port(name).id },
      { op: 'port', port: port(name, { antiSpoof: dice.of(modes[name]) }) },
    ],
    () => [{ op: 'peer', peer: peer(dice.of(['p', 'q']), { pathMtu: dice.of([0, 1400]) }) }],
    () => [
      {
        op: 'peer',
        peer: peer('p', {
          static: dice.chance(50) ? [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] : [],
        }),
      },
    ],
    () => [
      { op: 'remove-peer', id: peer('q').id },
      { op: 'peer', peer: peer('q') },
    ],
    () => [
      {
        op: 'network',
        network: network({
          mtu: dice.of([1450, 1430]),
          dscp: dice.of([0, 46, -1]),
          ageing: dice.of([300_000, 20_000, 0]),
          vni: 42,
          reservedBits: dice.of(['ignore', 'strict']),
        }),
      },
    ],
    () => [
      {
        op: 'network',
        network: network({
          routerMac: macOf(dice.of([MACS.router, '02:77:00:00:0b:01'])),
          maxEntries: dice.of([8192, 10]),
        }),
      },
    ],
    () => [{ op: 'network', network: red({ mtu: dice.of([1450, 1440]) }) }],
    () => [{ op: 'port', port: port('c', { isHost: dice.chance(75), antiSpoof: dice.of(['off', 'mac']) }) }],
    () => [{ op: 'network', network: network({ internal: dice.chance(50) }) }],
    () => [
      {
        op: 'service',
        service: service({
          id: protocol,
          name: `default/${protocol}`,
          protocol,
          backends,
          affinity: dice.of([0, 10_000]),
        }),
      },
    ],
    () => [{ op: 'remove-service', id: protocol }],
    // A station whose address becomes a service's, and is one no more.
    () => [
      {
        op: 'service',
        service: service({
          id: 30,
          name: 'default/30',
          protocol: 17,
          vip: address4('10.78.0.23'),
          port: 1000,
        }),
      },
    ],
    () => [{ op: 'remove-service', id: 30 }],
    () => [
      {
        op: 'host',
        host: {
          underlayAddresses: [address4('192.0.2.1')],
          vxlanPorts: dice.of([[4789], [4789, 1001]]),
          maxFlows: dice.of([8, 64]),
        },
      },
    ],
  ])();
}

const standing = (): Op[] => [
  ...Fabric.standing(),
  ...(['a', 'b'] as const).map((name): Op => ({ op: 'port', port: port(name, { antiSpoof: 'strict' }) })),
  ...[6, 17].map(
    (protocol): Op => ({
      op: 'service',
      service: service({ id: protocol, name: `default/${protocol}`, protocol }),
    }),
  ),
  { op: 'host', host: { underlayAddresses: [address4('192.0.2.1')], vxlanPorts: [4789], maxFlows: 64 } },
];

/** Everybody says who and where they are. */
const introductions = (): MemoryFrame[] =>
  STATIONS.map(({ mac, ip, at }) =>
    from(at, arp({ op: 'request', senderMac: mac, senderIp: ip, targetIp: ip })),
  );

/** @returns the share of frames that took the fast path. */
function live(seed: number, steps: number): { frames: number; fast: number } {
  const dice = new Dice(seed);
  const twins = new Twins(standing());
  twins.burst(introductions());
  const templates = Array.from({ length: 24 }, () => template(dice));
  let ends: MemoryFrame[] = [];
  for (let step = 0; step < steps; step++) {
    if (dice.chance(15)) templates[dice.roll(templates.length)] = template(dice);
    if (dice.chance(40))
      twins.advance(dice.of([1, 1, 1, 7, 100, 1000, 5000, 16_000, 31_000, 121_000, 301_000]));
    if (dice.chance(12)) twins.apply(change(dice));
    if (dice.chance(10)) twins.burst(introductions());
    twins.status.clear();
    if (dice.chance(10)) {
      twins.status.set(
        dice.of([...Object.values(DEVICE), UNDERLAY]),
        dice.of([TxStatus.BUSY, TxStatus.GONE, TxStatus.TOO_BIG, TxStatus.INVALID, TxStatus.ERROR]),
      );
    }
    if (dice.chance(12)) {
      const { opening, segments, endings } = session(dice);
      for (const frames of opening) twins.burst(frames);
      for (const segment of segments) templates[dice.roll(templates.length)] = segment;
      ends = endings;
    }
    const favourites = Array.from({ length: dice.of([1, 1, 1, 2, 2, 3, 6]) }, () => dice.of(templates));
    const oddity = dice.of([0, 0, 1, 5, 20]);
    const frames = Array.from({ length: 1 + dice.roll(GROUP) }, () =>
      dice.chance(oddity) ? odd(dice) : dice.of(favourites),
    );
    if (dice.chance(10) && ends.length > 0) frames[dice.roll(frames.length)] = dice.of(ends);
    twins.burst(frames);
  }
  twins.compareTables();
  return { frames: twins.frames, fast: twins.fastFrames };
}

describe('with and without the fast path', () => {
  it('B18, N19: the same frames leave in the same order, and the same is counted and remembered', () => {
    let frames = 0;
    let fast = 0;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const done = live(seed, 60);
        frames += done.frames;
        fast += done.fast;
      }),
      { numRuns: 60 },
    );
    expect(fast / frames).toBeGreaterThan(0.2);
  }, 120_000);
});
