/**
 * Logic per frame, in memory: what the TypeScript of the packet path costs without any system call.
 *
 * Each number is (time of a burst through the whole pipeline − time of the replay card alone) / frames, measured
 * with the benchmark package. Scenes differ by one thing each, so that a stage's price is a difference of rows.
 *
 * Every scene has a process of its own, as the daemon has one dataplane: what one scene taught the optimiser neither
 * helps nor hurts the next.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import Benchmark from 'benchmark';
import { BURST, Control } from '../src/card/layout.ts';
import type { MemoryFrame } from '../src/card/memory-card.ts';
import type { Op } from '../src/dataplane/config.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { Counters } from '../src/telemetry/counters.ts';
import { DROP_REASONS, Drop } from '../src/telemetry/drop.ts';
import { address4, IPS, MACS, macOf, network, PEER_ADDRESSES, peer, port, service } from '../test/fabric.ts';
import { echoRequest, ethernet, internetChecksum, ip4, mac, tcp, u16, udp, vxlan } from '../test/frames.ts';
import { ReplayCard } from '../test/replay-card.ts';
import { bridge6, clusterIp6, decap6, encap6, route6 } from './pipeline6.ts';
import { median } from './stats.ts';

const SEED = 0x5eed;
/** Of one sample. */
const SAMPLE_SECONDS = 0.002;
const DEVICE = { a: 10, b: 11, underlay: 900 };

export interface PipelineResult {
  scene: string;
  flows: number;
  nsPerFrame: number;
  /** Relative margin of error of the measurement, percent. */
  margin: number;
}

interface Scene {
  name: string;
  flows: number;
  ops: Op[];
  /** Frames that are replayed for ever; the first pass warms up and opens the flows. */
  frames: MemoryFrame[];
}

const clientIp = (i: number): string => `10.${77 + (i >>> 16)}.${(i >>> 8) & 255}.${i & 255}`;

const HOST = { underlayAddresses: [address4('192.0.2.1')], vxlanPorts: [4789] };

function standing(maxFlows = 1 << 21): Op[] {
  const wide = [{ address: address4('10.64.0.0'), prefix: 96 + 10, gateway: address4(IPS.gateway) }];
  return [
    { op: 'host', host: { ...HOST, maxFlows } },
    { op: 'network', network: network({ subnets: wide }) },
    {
      op: 'peer',
      peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] }),
    },
    { op: 'port', port: port('a', { antiSpoof: 'mac' }) },
    { op: 'port', port: port('b', { antiSpoof: 'mac' }) },
    { op: 'service', service: service({ backends: [{ address: address4(IPS.b), port: 8080 }] }) },
    {
      op: 'service',
      service: service({ id: 1, protocol: 17, backends: [{ address: address4(IPS.b), port: 53 }] }),
    },
  ];
}

/** `count` UDP flows a → b or a → far, told apart by ports. */
function plain(count: number, dst: string, to: string): MemoryFrame[] {
  return Array.from({ length: count }, (_, i) => ({
    device: DEVICE.a,
    bytes: ethernet(
      { src: MACS.a, dst },
      udp({ from: IPS.a, to, sport: 1024 + (i % 60000), dport: 1 + (i >>> 16) }),
    ),
  }));
}

/** One frame per client: datagrams of `count` flows to a UDP service, or the SYNs of as many connections. */
function toService(count: number, protocol: 'tcp' | 'udp'): MemoryFrame[] {
  const ends = { from: IPS.a, to: '10.96.0.10', sport: 1, dport: 80 };
  const template = ethernet({ src: MACS.a, dst: MACS.gateway }, protocol === 'udp' ? udp(ends) : tcp(ends));
  return Array.from({ length: count }, (_, i) => {
    const bytes = template.slice();
    bytes.set(ip4(clientIp(256 + (i % 65536))), 26);
    bytes.set([0, 0], 24);
    bytes.set(u16(internetChecksum(bytes.subarray(14, 34))), 24); // what is routed must have it right
    bytes.set([4 + (i >>> 16), i & 255], 34);
    return { device: DEVICE.a, bytes };
  });
}

function shuffle<T>(items: T[]): T[] {
  let state = SEED;
  for (let i = items.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    const j = state % (i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

const withoutServices = (): Op[] => standing().filter((op) => op.op !== 'service');

const bridge = (flows: number): Scene => ({
  name: 'bridge hit',
  flows,
  ops: withoutServices(),
  frames: plain(flows, MACS.b, IPS.b),
});

const encap = (flows: number): Scene => ({
  name: 'bridge hit + VXLAN encap',
  flows,
  ops: withoutServices(),
  frames: plain(flows, MACS.far, IPS.far),
});

function decap(): Scene {
  const packet = udp({ from: IPS.far, to: IPS.a, sport: 1, dport: 2 });
  const bytes = vxlan({ vni: 42 }, ethernet({ src: MACS.far, dst: MACS.a }, packet));
  const frames = [{ device: DEVICE.underlay, bytes, remote: address4(PEER_ADDRESSES.p) }];
  return { name: 'VXLAN decap + bridge hit', flows: 1, ops: withoutServices(), frames };
}

const clusterIp = (flows: number): Scene => ({
  name: 'ClusterIP flow hit',
  flows,
  ops: standing(),
  frames: toService(flows, 'udp'),
});

/** The endpoint sees the host's port (S21): both ends change. */
const masked = (flows: number): Scene => ({
  name: 'ClusterIP flow hit, client hidden',
  flows,
  ops: [
    ...standing(),
    { op: 'port', port: port('c', { isHost: true }) },
    { op: 'host', host: { ...HOST, maxFlows: 1 << 21, masqueradeAll: true } },
  ],
  frames: toService(flows, 'udp'),
});

const opening = (flows: number): Scene => ({
  name: 'ClusterIP new flow',
  flows,
  ops: standing(Math.max(131_072, 2 * flows)),
  frames: shuffle(toService(flows, 'tcp')),
});

/** Frames from one port to `flows` stations behind a peer. */
function stations(flows: number): Scene {
  const known = Array.from({ length: flows }, (_, i) => ({
    network: 0,
    mac: { hi: 0x0202, lo: i },
    address: null,
  }));
  const packet = udp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2 });
  const frames = Array.from({ length: flows }, (_, i) => ({
    device: DEVICE.a,
    bytes: Uint8Array.from([2, 2, 0, 0, i >>> 8, i & 255, ...mac(MACS.a), 8, 0, ...packet]),
  }));
  const others = withoutServices().filter((op) => op.op !== 'peer');
  const ops: Op[] = [...others, { op: 'peer', peer: peer('p', { static: known }) }];
  return { name: `bridge hit, ${flows} MACs`, flows, ops, frames };
}

/** Bridged, tunnelled and translated frames of many flows in one burst, and one in 64 that needs the stages. */
function mix(flows: number): Scene {
  const each = Math.ceil(flows / 4);
  const arrived = decap().frames;
  const echo = {
    device: DEVICE.a,
    bytes: ethernet({ src: MACS.a, dst: MACS.b }, echoRequest(IPS.a, IPS.b)),
  };
  const frames = [
    ...bridge(each).frames,
    ...encap(each).frames,
    ...Array.from({ length: each }, () => arrived[0]!),
    ...clusterIp(each).frames,
    ...Array.from({ length: Math.ceil(flows / 64) }, () => echo),
  ];
  return { name: 'mixed', flows, ops: standing(), frames };
}

/** By name, made for the number of flows in the large scenes. */
const SCENES: Record<string, (most: number) => Scene> = {
  bridge: () => bridge(1),
  encap: () => encap(1),
  decap: () => decap(),
  clusterIp: () => clusterIp(1),
  masked: () => masked(1),
  'bridge, many': bridge,
  'encap, many': encap,
  'clusterIp, many': clusterIp,
  opening,
  stations: () => stations(8000),
  mix,
  bridge6: () => bridge6(1),
  route6: () => route6(1),
  encap6: () => encap6(1),
  decap6,
  clusterIp6: () => clusterIp6(1),
  'bridge6, many': bridge6,
  'encap6, many': encap6,
  'clusterIp6, many': clusterIp6,
};
const NAMES = Object.keys(SCENES);

/** A burst is always full: one flow means BURST copies of its frame. */
const full = (frames: MemoryFrame[]): MemoryFrame[] =>
  frames.length >= BURST ? frames : Array.from({ length: BURST }, (_, i) => frames[i % frames.length]!);

function make(scene: Scene, frames: MemoryFrame[]): { card: ReplayCard; dataplane: Dataplane } {
  const card = new ReplayCard(full(frames));
  const dataplane = new Dataplane(card, new Counters(), SEED);
  dataplane.apply(scene.ops);
  return { card, dataplane };
}

/**
 * Time per call of `run`, ns: the median of samples shorter than a scheduler's tick, most of which nobody else's work
 * falls into.
 */
function time(run: () => void, seconds: number): { ns: number; margin: number } {
  const { stats } = new Benchmark('', run, { maxTime: seconds, minSamples: 20, minTime: SAMPLE_SECONDS }).run(
    {
      async: false,
    },
  );
  return { ns: median(stats.sample) * 1e9, margin: stats.rme };
}

function measure(scene: Scene, seconds: number): PipelineResult {
  const { card, dataplane } = make(scene, scene.frames);
  const pass = Math.max(4096, Math.ceil(scene.frames.length / BURST));
  for (let i = 0; i < pass; i++) dataplane.turn();
  if (scene.frames.length > 1) {
    // Not in the order in which their flows came to lie in memory.
    card.load(full(shuffle(scene.frames)));
    for (let i = 0; i < pass; i++) dataplane.turn();
  }
  const isOpening = scene.name === 'ClusterIP new flow';
  const result = isOpening ? timeNewFlows(scene) : time(() => dataplane.turn(), seconds);
  const bare = new ReplayCard(full(scene.frames));
  const baseline = time(() => {
    const count = bare.poll();
    bare.memory.control[Control.FREE_COUNT]! += count;
  }, seconds / 2);
  for (let reason = 1; reason < Drop.COUNT; reason++) {
    let count = 0;
    for (let i = reason; i < dataplane.counters.drops.length; i += Drop.COUNT)
      count += dataplane.counters.drops[i]!;
    if (count > 0) throw new Error(`${scene.name}: ${count} frames dropped as ${DROP_REASONS[reason]!.name}`);
  }
  return {
    scene: scene.name,
    flows: scene.flows,
    nsPerFrame: (result.ns - baseline.ns) / BURST,
    margin: result.margin,
  };
}

/** New flows can be opened once per table: the time of one pass over all of them, per burst. */
function timeNewFlows(scene: Scene): { ns: number; margin: number } {
  const runs: number[] = [];
  // The first tables teach the optimiser.
  const warm = Math.ceil(200_000 / scene.frames.length);
  for (let i = -warm; i < 5; i++) {
    const { dataplane } = make(scene, scene.frames);
    const turns = Math.floor(scene.frames.length / BURST);
    const start = process.hrtime.bigint();
    for (let t = 0; t < turns; t++) dataplane.turn();
    if (i >= 0) runs.push(Number(process.hrtime.bigint() - start) / turns);
  }
  runs.sort((a, b) => a - b);
  const median = runs[2]!;
  return { ns: median, margin: ((runs[4]! - runs[0]!) / median) * 50 };
}

/** @param most flows in the large scenes; @param seconds per measurement. */
export function runPipelineBench(most = 1_000_000, seconds = 0.5): PipelineResult[] {
  const self = fileURLToPath(import.meta.url);
  return NAMES.map((name) => {
    const arguments_ = ['--max-old-space-size=8192', self, name, String(most), String(seconds)];
    const run = (): PipelineResult =>
      JSON.parse(execFileSync(process.execPath, arguments_, { encoding: 'utf8' })) as PipelineResult;
    const first = run();
    // One process may lie badly in the cache or beside a noisy neighbour for all its life. Large tables take seconds to fill.
    const runs = first.flows > 1 ? [first] : [first, run(), run()];
    return runs.sort((a, b) => a.nsPerFrame - b.nsPerFrame)[runs.length >> 1]!;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name, most, seconds] = process.argv.slice(2);
  const make = SCENES[name!]!;
  process.stdout.write(JSON.stringify(measure(make(Number(most)), Number(seconds))));
}
