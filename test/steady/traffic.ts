/**
 * Replays steady traffic through a compiled switch and reports what the garbage collector did meanwhile, as one
 * JSON line. Runs in a process of its own: node --expose-gc --max-semi-space-size=1 traffic.js SCENE
 */
import { PerformanceObserver, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';
import { BURST, Gso } from '../../src/card/layout.ts';
import type { MemoryFrame } from '../../src/card/memory-card.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { Counters, Global } from '../../src/telemetry/counters.ts';
import { address4, IPS, MACS, macOf, PEER_ADDRESSES, peer, port, service } from '../fabric.ts';
import { address6, dualNetwork, dualPort, IPS6 } from '../fabric6.ts';
import { arp, echoRequest, ethernet, ipv4, tcp, udp, vxlan } from '../frames.ts';
import { advertisement, echo6, solicitation, udp6 } from '../frames6.ts';
import { ReplayCard } from '../replay-card.ts';

export interface SceneResult {
  scene: string;
  frames: number;
  sent: number;
  dropped: number;
  /** Share of the frames that took the fast path. */
  fast: number;
  /** Collections of any kind while frames flowed. */
  collections: number;
  /** Growth of the young generation meanwhile. */
  bytes: number;
}

const WARM_UP_TURNS = 30_000;
const MEASURED_TURNS = 16_000;
const VIP = '10.96.0.10';
const NODE = '192.0.2.1';
const NODE_PORT = 30_080;

const OPS: Op[] = [
  {
    op: 'host',
    host: {
      underlayAddresses: [address4(NODE)],
      vxlanPorts: [4789],
      maxFlows: 65_536,
      nodeAddresses: [address4(NODE)],
      natRandom: false,
    },
  },
  { op: 'network', network: dualNetwork() },
  {
    op: 'peer',
    peer: peer('p', {
      static: [address4(IPS.far), address6(IPS6.far)].map((address) => ({
        network: 0,
        mac: macOf(MACS.far),
        address,
      })),
    }),
  },
  {
    op: 'peer',
    peer: peer('q', {
      pathMtu: 600,
      static: [{ network: 0, mac: macOf(MACS.other), address: address4(IPS.other) }],
    }),
  },
  { op: 'port', port: dualPort('a', { antiSpoof: 'strict' }) },
  { op: 'port', port: dualPort('b', { antiSpoof: 'strict' }) },
  { op: 'port', port: port('c', { isHost: true }) },
  ...[6, 17].map(
    (protocol, id): Op => ({
      op: 'service',
      service: service({ id, name: `default/${protocol}`, protocol, affinity: protocol === 6 ? 60_000 : 0 }),
    }),
  ),
];

/** One endpoint behind a node port, whose clients appear as this host. */
OPS.push({
  op: 'service',
  service: service({
    id: 2,
    name: 'default/node:http',
    vip: address4('10.96.0.11'),
    nodePort: NODE_PORT,
    affinity: 60_000,
    backends: [{ address: address4(IPS.b), port: 8081 }],
  }),
});

const VIP6 = 'fd00:96::10';
OPS.push({
  op: 'service',
  service: service({
    id: 3,
    name: 'default/six:udp',
    protocol: 17,
    vip: address6(VIP6),
    backends: [{ address: address6(IPS6.b), port: 8080 }],
  }),
});

const fromA = (dst: string, packet: ArrayLike<number>): MemoryFrame => ({
  device: 10,
  bytes: ethernet({ src: MACS.a, dst }, packet),
});
const fromB = (packet: ArrayLike<number>): MemoryFrame => ({
  device: 11,
  bytes: ethernet({ src: MACS.b, dst: MACS.a }, packet),
});
const six = (device: number, src: string, dst: string, packet: number[]): MemoryFrame => ({
  device,
  bytes: ethernet({ src, dst, type: 0x86dd }, packet),
});
const fromPeer = (frame: Uint8Array, tos = 0): MemoryFrame => ({
  device: 900,
  bytes: vxlan({ vni: 42 }, frame),
  remote: address4(PEER_ADDRESSES.p),
  tos,
});
const times = (count: number, make: (i: number) => MemoryFrame | MemoryFrame[]): MemoryFrame[] =>
  Array.from({ length: count }, (_, i) => make(i)).flat();

/** An IPv4 packet as two fragments. */
const inTwo = (packet: number[], id: number): number[][] => {
  const [from, to] = [packet.slice(12, 16).join('.'), packet.slice(16, 20).join('.')];
  const fields = { from, to, protocol: packet[9]!, id };
  return [
    ipv4({ ...fields, fragment: 0x2000 }, packet.slice(20, 44)),
    ipv4({ ...fields, fragment: 24 >> 3 }, packet.slice(44)),
  ];
};
const plain = (to: string) => (i: number) => udp({ from: IPS.a, to, sport: 1024 + i, dport: 80, tos: i & 3 });
const SCENES: Record<string, MemoryFrame[]> = {
  'bridge hit': times(256, (i) => fromA(MACS.b, plain(IPS.b)(i))),
  'routed hit': times(256, (i) => fromA(MACS.gateway, plain(IPS.b)(i))),
  'VXLAN encapsulation': times(256, (i) => fromA(MACS.far, plain(IPS.far)(i))),
  'VXLAN decapsulation': times(256, (i) =>
    fromPeer(
      ethernet({ src: MACS.far, dst: MACS.a }, udp({ from: IPS.far, to: IPS.a, sport: i, dport: 9, tos: 2 })),
      i & 1 ? 3 : 2,
    ),
  ),
  'ClusterIP over UDP': times(256, (i) => {
    const sport = 2000 + i;
    const ask = fromA(MACS.gateway, udp({ from: IPS.a, to: VIP, sport, dport: 80 }));
    return i % 2 === 0
      ? [ask, fromB(udp({ from: IPS.b, to: IPS.a, sport: 8080, dport: sport }))]
      : [
          ask,
          fromPeer(
            ethernet(
              { src: MACS.far, dst: MACS.a },
              udp({ from: IPS.far, to: IPS.a, sport: 8080, dport: sport }),
            ),
          ),
        ];
  }),
  'ClusterIP over TCP': times(256, (i) => {
    const ends = { from: IPS.a, to: VIP, sport: 3000 + i, dport: 80 };
    const reply = { from: IPS.b, to: IPS.a, sport: 8080, dport: 3000 + i };
    return [
      fromA(MACS.gateway, tcp(ends)),
      fromB(tcp({ ...reply, flags: 'SA', seq: 0xf0000000, ack: 1001 })),
      fromA(MACS.gateway, tcp({ ...ends, flags: 'A', seq: 1001, ack: 0xf0000001 })),
      fromB(tcp({ ...reply, flags: 'PA', seq: 0xf0000001, ack: 1001, payload: [1, 2, 3] })),
    ];
  }),
  'fragments to a ClusterIP': times(64, (i) => {
    const whole = udp({ from: IPS.a, to: VIP, sport: 5000 + i, dport: 80, payload: new Array(40).fill(i) });
    const back = udp({
      from: IPS.b,
      to: IPS.a,
      sport: 8080,
      dport: 5000 + i,
      payload: new Array(40).fill(i),
    });
    return [
      ...inTwo(whole, i).map((part) => fromA(MACS.gateway, part)),
      ...inTwo(back, i).reverse().map(fromB),
    ];
  }),
  'routed packets that are cut': times(64, (i) => {
    const ends = { from: IPS.a, to: IPS.other, sport: 6000 + i, dport: 80, fragment: 0 };
    const ask = udp({ ...ends, payload: new Array(1000).fill(i) });
    return [
      fromA(MACS.gateway, ask),
      { ...fromA(MACS.gateway, ask), csumStart: 34, csumOffset: 6 },
      { ...fromA(MACS.gateway, ask), csumStart: 34, csumOffset: 6, gsoType: Gso.UDP_L4, gsoSize: 600 },
    ];
  }),
  'established connections': [0, 1, 2, 3].flatMap((round) =>
    times(64, (i) => {
      const ends = { from: IPS.a, to: VIP, sport: 4000 + i, dport: 80 };
      const reply = { from: IPS.b, to: IPS.a, sport: 8080, dport: 4000 + i };
      const far = { ...reply, from: IPS.far };
      if (round === 0) {
        return [
          fromA(MACS.gateway, tcp({ ...ends, seq: 100 })),
          fromB(tcp({ ...reply, flags: 'SA', seq: 900, ack: 101 })),
          fromPeer(
            ethernet({ src: MACS.far, dst: MACS.a }, tcp({ ...far, flags: 'SA', seq: 900, ack: 101 })),
          ),
          fromA(MACS.gateway, tcp({ ...ends, flags: 'A', seq: 101, ack: 901 })),
        ];
      }
      // Once in a while data, which the next round repeats; for the rest what repeats need not tell from news.
      return times(16, (n) => [
        fromA(
          MACS.gateway,
          tcp({
            ...ends,
            flags: 'PA',
            seq: i > 0 || n > 0 ? 102 : 101,
            ack: 901,
            payload: i > 0 || n > 0 ? [] : [n],
          }),
        ),
        fromB(tcp({ ...reply, flags: 'A', seq: 901, ack: 102 })),
        fromPeer(ethernet({ src: MACS.far, dst: MACS.a }, tcp({ ...far, flags: 'A', seq: 901, ack: 102 }))),
      ]);
    }),
  ),
  'new connections to a node port': times(256, (i) => {
    const sport = 5000 + i;
    const refusal = { from: IPS.b, to: IPS.c, sport: 8081, dport: sport, flags: 'RA', ack: 101 };
    return [
      fromA(MACS.gateway, tcp({ from: IPS.a, to: NODE, sport, dport: NODE_PORT, seq: 100 })),
      { device: 11, bytes: ethernet({ src: MACS.b, dst: MACS.c }, tcp(refusal)) },
    ];
  }),
  ARP: times(64, (i) => {
    const a = { senderMac: MACS.a, senderIp: IPS.a };
    const far = { senderMac: MACS.far, senderIp: IPS.far };
    return [
      { device: 10, bytes: arp({ op: 'request', ...a, targetIp: IPS.gateway }) },
      { device: 10, bytes: arp({ op: 'request', ...a, targetIp: IPS.far }) },
      { device: 10, bytes: arp({ op: 'request', ...a, targetIp: `10.77.0.${100 + i}` }) },
      { device: 10, bytes: arp({ op: 'reply', ...a, targetMac: MACS.b, targetIp: IPS.b }) },
      fromPeer(arp({ op: 'request', ...far, targetIp: IPS.a })),
    ];
  }),
  'IPv6: bridged, routed, into a tunnel, to a service and back': times(64, (i) => {
    const ends = { from: IPS6.a, sport: 1024 + i, dport: 80 };
    const back = udp6({ from: IPS6.b, to: IPS6.a, sport: 8080, dport: 1024 + i });
    return [
      six(10, MACS.a, MACS.b, udp6({ ...ends, to: IPS6.b })),
      six(10, MACS.a, MACS.gateway, udp6({ ...ends, to: IPS6.b })),
      six(10, MACS.a, MACS.far, udp6({ ...ends, to: IPS6.far })),
      six(10, MACS.a, MACS.gateway, udp6({ ...ends, to: VIP6 })),
      six(11, MACS.b, MACS.a, back),
    ];
  }),
  'IPv6: discovery and echo': times(64, (i) => {
    const ask = (target: string) => ({
      device: 10,
      bytes: solicitation({ src: MACS.a, from: IPS6.a, target }),
    });
    return [
      ask(IPS6.gateway),
      ask(IPS6.far),
      ask(`fd00:77::${1000 + i}`),
      { device: 10, bytes: advertisement({ src: MACS.a, from: IPS6.a, target: IPS6.a }) },
      fromPeer(solicitation({ src: MACS.far, from: IPS6.far, target: IPS6.a })),
      six(10, MACS.a, MACS.gateway, echo6(IPS6.a, IPS6.gateway)),
    ];
  }),
  'echo to the gateway and floods': times(64, (i) => [
    fromA(MACS.gateway, echoRequest(IPS.a, IPS.gateway)),
    fromA('ff:ff:ff:ff:ff:ff', udp({ from: IPS.a, to: '10.77.0.255', sport: i, dport: 1 })),
    fromA('02:00:00:00:99:99', udp({ from: IPS.a, to: IPS.c, sport: i, dport: 1 })),
  ]),
};
SCENES.everything = Object.values(SCENES).flat();

let collections: { start: number }[] = [];
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) collections.push({ start: entry.startTime });
});
observer.observe({ entryTypes: ['gc'] });

function turns(dataplane: Dataplane, count: number): number {
  let frames = 0;
  for (let i = 0; i < count; i++) frames += dataplane.turn();
  return frames;
}

/** What was allocated since the last collection; compiled code is kept elsewhere. */
function heap(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')!.space_used_size;
}

async function run(scene: string): Promise<SceneResult> {
  const frames = SCENES[scene]!;
  const card = new ReplayCard(frames.length % 3 === 0 ? frames : [...frames, ...frames], BURST);
  // A millisecond per burst: timers, sweeps and refreshes take part.
  card.step = 1;
  const counters = new Counters();
  const dataplane = new Dataplane(card, counters, 0x5eed);
  dataplane.apply(OPS);
  turns(dataplane, WARM_UP_TURNS);
  heap();
  global.gc!();
  await sleep(20);
  turns(dataplane, 1000);
  const drops = counters.drops.reduce((sum, n) => sum + n, 0);
  const { sent } = card;
  const fast = counters.globals[Global.FAST_FRAMES]!;
  collections = [];
  global.gc!();
  const from = performance.now();
  const before = heap();
  const count = turns(dataplane, MEASURED_TURNS);
  const bytes = heap() - before;
  const to = performance.now();
  await sleep(20);
  return {
    scene,
    frames: count,
    sent: card.sent - sent,
    dropped: counters.drops.reduce((sum, n) => sum + n, 0) - drops,
    fast: (counters.globals[Global.FAST_FRAMES]! - fast) / count,
    collections: collections.filter(({ start }) => start >= from && start <= to).length,
    bytes,
  };
}

process.stdout.write(JSON.stringify(await run(process.argv[2]!)));
