/**
 * Cost as the fabric grows, in memory: ports and peers (a frame to one of them, a frame to all of them) and learned
 * MACs. Time of a burst through the whole pipeline, less that of the replay card alone, per received frame.
 */
import { BURST, Control } from '../src/card/layout.ts';
import type { MemoryFrame } from '../src/card/memory-card.ts';
import type { Op } from '../src/dataplane/config.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { Counters, FIRST_PEER } from '../src/telemetry/counters.ts';
import { DROP_REASONS, Drop } from '../src/telemetry/drop.ts';
import { address4, network, PEER_ADDRESSES, peer, port } from '../test/fabric.ts';
import { ethernet, udp, vxlan } from '../test/frames.ts';
import { ReplayCard } from '../test/replay-card.ts';
import type { MemoryRow } from './results.ts';
import { median } from './stats.ts';

const SEED = 0x5eed;
const FIRST_PORT = 2;
const DEVICE = 100;
const UNDERLAY = 900;

const portMac = (i: number): string => `02:00:00:00:${hex(i >>> 8)}:${hex(i & 255)}`;
const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
const portAddress = (i: number): string => `10.77.${1 + (i >>> 8)}.${i & 255}`;
const macWords = (text: string): { hi: number; lo: number } => {
  const value = Number.parseInt(text.replaceAll(':', ''), 16);
  return { hi: Math.floor(value / 2 ** 32), lo: value | 0 };
};

function standing(ports: number, peers: number, macs = 8192): Op[] {
  const wide = [{ address: address4('10.77.0.0'), prefix: 112, gateway: address4('10.77.0.1') }];
  return [
    { op: 'host', host: { underlayAddresses: [address4('192.0.2.1')], vxlanPorts: [4789], maxFlows: 1024 } },
    { op: 'network', network: network({ subnets: wide, maxEntries: macs }) },
    ...Array.from({ length: peers }, (_, i): Op => {
      const address = address4(`192.0.2.${2 + i}`);
      const memberships = [{ network: 0, remote: i, address, port: 4789 }];
      const ends = { id: FIRST_PEER + i, name: `p${i}`, addresses: [address] };
      return { op: 'peer', peer: peer('p', { ...ends, memberships }) };
    }),
    ...Array.from({ length: ports }, (_, i): Op => {
      const ends = { id: FIRST_PORT + i, name: `n${i}`, device: DEVICE + i };
      const addresses = [address4(portAddress(i))];
      return { op: 'port', port: port('a', { ...ends, mac: macWords(portMac(i)), addresses }) };
    }),
  ];
}

/** From the first port to one of the others after the other. */
const toEach = (ports: number): MemoryFrame[] =>
  Array.from({ length: BURST * 4 }, (_, i) => {
    const to = 1 + ((Math.imul(i, 0x9e3779b1) >>> 8) % (ports - 1));
    const datagram = udp({ from: portAddress(0), to: portAddress(to), sport: 1, dport: 2 });
    return { device: DEVICE, bytes: ethernet({ src: portMac(0), dst: portMac(to) }, datagram) };
  });

const toAll = (): MemoryFrame[] =>
  Array.from({ length: BURST }, () => {
    const datagram = udp({ from: portAddress(0), to: '10.77.255.255', sport: 1, dport: 2 });
    return { device: DEVICE, bytes: ethernet({ src: portMac(0), dst: 'ff:ff:ff:ff:ff:ff' }, datagram) };
  });

/** Datagrams of so many stations behind one peer, in random order: each is learned, then found again. */
function fromStations(count: number): MemoryFrame[] {
  const frames = Array.from({ length: Math.max(count, BURST) }, (_, i) => {
    const station = i % count;
    const src = `02:02:00:${hex(station >>> 16)}:${hex((station >>> 8) & 255)}:${hex(station & 255)}`;
    const datagram = udp({ from: '10.77.200.1', to: portAddress(0), sport: 1, dport: 2 });
    return {
      device: UNDERLAY,
      bytes: vxlan({ vni: 42 }, ethernet({ src, dst: portMac(0) }, datagram)),
      remote: address4(PEER_ADDRESSES.p),
    };
  });
  let state = SEED;
  for (let i = frames.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    const j = state % (i + 1);
    [frames[i], frames[j]] = [frames[j]!, frames[i]!];
  }
  return frames;
}

interface Scene {
  readonly scene: string;
  readonly what: string;
  readonly sizes: readonly number[];
  readonly make: (size: number) => { readonly ops: Op[]; readonly frames: MemoryFrame[] };
  /** How often a frame is sent. */
  readonly copies: (size: number) => number;
}

export const SCENES: readonly Scene[] = [
  {
    scene: 'to one of many ports',
    what: 'ports',
    sizes: [2, 8, 32, 128, 256],
    make: (size) => ({ ops: standing(size, 0), frames: toEach(size) }),
    copies: () => 1,
  },
  {
    scene: 'flood to all ports',
    what: 'ports',
    sizes: [2, 8, 32, 128, 256],
    make: (size) => ({ ops: standing(size, 0), frames: toAll() }),
    copies: (size) => size - 1,
  },
  {
    scene: 'flood to all peers',
    what: 'peers',
    sizes: [1, 4, 16, 64],
    make: (size) => ({ ops: standing(1, size), frames: toAll() }),
    copies: (size) => size,
  },
  {
    scene: 'decapsulate and learn',
    what: 'MACs',
    sizes: [1, 100, 10_000, 100_000],
    make: (size) => ({ ops: standing(2, 1, Math.max(8192, size)), frames: fromStations(size) }),
    copies: () => 1,
  },
];

/** The egress list has room for so many copies of one burst (bridge/forward.ts), with some to spare. */
const COPIES = 1024;

/** Turns that settle everything: code compiled, addresses announced and learned. */
const WARM_UP_TURNS = 6000;

/**
 * One row, in a process that measures nothing else: the engine compiles a single switch, as in the daemon, better
 * than several at once.
 * @param seconds of measuring
 * @throws Error when frames were dropped: it would measure something else than it says
 */
export function measureGrowth(name: string, size: number, seconds: number): MemoryRow {
  const { scene, what, make, copies } = SCENES.find((one) => one.scene === name)!;
  const { ops, frames } = make(size);
  const burst = Math.max(1, Math.min(BURST, Math.floor(COPIES / copies(size))));
  const card = new ReplayCard(frames, burst);
  const dataplane = new Dataplane(card, new Counters(), SEED);
  dataplane.apply(ops);
  card.step = 1;
  const turns = Math.max(WARM_UP_TURNS, Math.ceil((2 * frames.length) / burst));
  for (let i = 0; i < turns; i++) dataplane.turn();
  card.step = 0;
  const before = dataplane.counters.drops.slice();
  const whole = time(() => dataplane.turn(), seconds);
  const alone = time(() => {
    const count = card.poll();
    card.memory.control[Control.FREE_COUNT]! += count;
  }, seconds / 2);
  dataplane.counters.drops.forEach((count, i) => {
    if (count === before[i]) return;
    throw new Error(`${scene}, ${size} ${what}: frames dropped as ${DROP_REASONS[i % Drop.COUNT]!.name}`);
  });
  return { scene, what, size, nsPerFrame: (whole.ns - alone.ns) / burst, margin: whole.margin };
}

const SAMPLES = 15;

/** ns per call: the median of samples, and half their interquartile range in percent. */
function time(run: () => void, seconds: number): { ns: number; margin: number } {
  const samples: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    const start = performance.now();
    const end = start + (seconds * 1000) / SAMPLES;
    let calls = 0;
    let now = start;
    while (now < end) {
      for (let j = 0; j < 16; j++) run();
      calls += 16;
      now = performance.now();
    }
    samples.push(((now - start) / calls) * 1e6);
  }
  samples.sort((a, b) => a - b);
  const middle = median(samples);
  const spread = samples[Math.floor(SAMPLES * 0.75)]! - samples[Math.floor(SAMPLES * 0.25)]!;
  return { ns: middle, margin: (spread / middle) * 50 };
}
