/**
 * What a run measures: every workload on every path, who takes part in it and in how many rounds. The cells of the
 * target table have all contenders and most rounds; the others set Twill beside the kernel.
 */
import type { Route } from './contender.ts';
import { canPin } from './machine.ts';
import type { Cell, Layout, Path } from './results.ts';
import { type Bench, datagrams, type Measured, ping, roundTrips, roundTripsUnderLoad, tcp } from './tools.ts';

export type Mode = 'full' | 'quick';

/** A cell before it is measured. */
export interface Planned {
  readonly cell: Pick<Cell, 'id' | 'group' | 'title' | 'path' | 'layout' | 'mtu' | 'unit' | 'better'>;
  readonly contenders: readonly string[];
  readonly rounds: number;
  /** Of one run, without what the harness adds. */
  readonly seconds: number;
  readonly measure: (bench: Bench, route: Route) => Promise<Measured>;
}

/** What the harness adds to a run: servers started, counters read. */
export const OVERHEAD_SECONDS = 0.15;

export const ALL = ['twill', 'kernel', 'reference', 'ovs-tso', 'ovs', 'vde', 'tinc'] as const;
const PAIR = ['twill', 'kernel'] as const;
const TRIO = ['twill', 'kernel', 'reference'] as const;

/** Who has no way there: one host's switches, a tunnel between two. */
const ABSENT: Readonly<Record<Path, readonly string[]>> = {
  same: ['tinc'],
  cross: ['ovs-tso', 'vde'],
  none: [],
};

type Workload = Omit<Planned, 'cell' | 'contenders' | 'rounds'> &
  Pick<Cell, 'group' | 'title' | 'unit' | 'better'> & { readonly name: string };

const streams = (count: number): string => (count === 1 ? '1 TCP stream' : `${count} TCP streams`);
const flowsOf = (count: number): string => (count === 1 ? '1 flow' : `${count} flows`);

function tcpWorkload(count: number, seconds: number, bidirectional = false): Workload {
  return {
    name: `tcp-${count}${bidirectional ? '-both' : ''}`,
    group: 'tcp',
    title: streams(count) + (bidirectional ? ' each way' : ''),
    unit: 'Gbit/s',
    better: 'more',
    seconds,
    measure: (bench, route) => tcp(bench, route, { streams: count, bidirectional, seconds }),
  };
}

function datagramWorkload(size: number | 'imix', flows: number, seconds: number): Workload {
  return {
    name: `datagrams-${size}x${flows}`,
    group: 'datagrams',
    title: `${size === 'imix' ? 'IMIX' : `${size}-byte`} datagrams, ${flowsOf(flows)}`,
    unit: 'kpps',
    better: 'more',
    seconds,
    measure: (bench, route) => datagrams(bench, route, { size, flows, seconds }),
  };
}

function latencyWorkload(
  name: string,
  title: string,
  seconds: number,
  measure: Workload['measure'],
): Workload {
  return { name, group: 'latency', title, unit: 'µs', better: 'less', seconds, measure };
}

const latencies = (seconds: number): Workload[] => [
  latencyWorkload('rr-udp', 'UDP round trip, idle', seconds, (bench, route) =>
    roundTrips(bench, route, { protocol: 'udp', seconds }),
  ),
  latencyWorkload('rr-tcp', 'TCP round trip, idle', seconds, (bench, route) =>
    roundTrips(bench, route, { protocol: 'tcp', seconds }),
  ),
  latencyWorkload(
    'rr-loaded',
    'UDP round trip beside a TCP stream',
    Math.ceil(seconds + 0.6),
    (bench, route) => roundTripsUnderLoad(bench, route, seconds),
  ),
  latencyWorkload('ping', 'ping, 5 ms apart', 1, (bench, route) => ping(bench, route, 200)),
];

interface Place {
  readonly contenders: readonly string[];
  readonly rounds: number;
  readonly layout?: Layout;
  readonly mtu?: number;
  readonly paths?: readonly Path[];
}

function place(workload: Workload, where: Place): Planned[] {
  const { name, group, title, unit, better, seconds, measure } = workload;
  const { contenders, rounds, layout = 'unpinned', mtu = 1500, paths = ['same', 'cross'] } = where;
  if (layout === 'pinned' && !canPin()) return [];
  return paths.map((path) => ({
    cell: {
      id: [name, path, layout, ...(mtu === 1500 ? [] : [mtu])].join('/'),
      ...{ group, title, path, layout, mtu, unit, better },
    },
    contenders: contenders.filter((name) => !ABSENT[path].includes(name)),
    rounds,
    seconds,
    measure,
  }));
}

/** Most important first: what there is no time for is at the end. */
export function matrix(mode: Mode): Planned[] {
  return mode === 'quick' ? quick() : full();
}

function quick(): Planned[] {
  return [
    ...place(tcpWorkload(1, 1), { contenders: ALL, rounds: 2 }),
    ...place(datagramWorkload(64, 1, 0.6), { contenders: ALL, rounds: 2 }),
    ...place(datagramWorkload(64, 1000, 0.6), { contenders: PAIR, rounds: 2 }),
    ...place(latencies(0.6)[0]!, { contenders: PAIR, rounds: 2 }),
    ...place(tcpWorkload(1, 1), { contenders: TRIO, rounds: 2, layout: 'pinned' }),
    ...place(tcpWorkload(4, 1), { contenders: PAIR, rounds: 2 }),
  ];
}

function full(): Planned[] {
  const others = [64, 512, 1400, 'imix'] as const;
  const flows = [1, 16, 1000];
  const rest = others
    .flatMap((size) => flows.map((count) => ({ size, count })))
    .filter(({ size, count }) => size !== 64 || count === 16);
  const [idleUdp, ...otherLatencies] = latencies(1);
  return [
    ...place(tcpWorkload(1, 2), { contenders: ALL, rounds: 5 }),
    ...place(datagramWorkload(64, 1, 1.2), { contenders: ALL, rounds: 5 }),
    ...place(datagramWorkload(64, 1000, 1.2), { contenders: PAIR, rounds: 6 }),
    ...place(idleUdp!, { contenders: TRIO, rounds: 4 }),
    ...otherLatencies.flatMap((one) => place(one, { contenders: PAIR, rounds: 3 })),
    ...[tcpWorkload(4, 2), tcpWorkload(8, 2), tcpWorkload(1, 2, true)].flatMap((one) =>
      place(one, { contenders: PAIR, rounds: 2 }),
    ),
    ...rest.flatMap(({ size, count }) =>
      place(datagramWorkload(size, count, 0.8), { contenders: PAIR, rounds: 2 }),
    ),
    ...place(tcpWorkload(1, 2), { contenders: ALL, rounds: 4, layout: 'pinned' }),
    ...[datagramWorkload(64, 1, 1.2), datagramWorkload(64, 1000, 1.2)].flatMap((one) =>
      place(one, { contenders: TRIO, rounds: 3, layout: 'pinned' }),
    ),
    ...place(idleUdp!, { contenders: TRIO, rounds: 3, layout: 'pinned' }),
    ...place(tcpWorkload(1, 2), { contenders: TRIO, rounds: 3, mtu: 9000 }),
    ...place(tcpWorkload(4, 2), { contenders: PAIR, rounds: 3, mtu: 9000 }),
    ...place(datagramWorkload(1400, 16, 1), { contenders: PAIR, rounds: 2, mtu: 9000, paths: ['cross'] }),
  ];
}

/** Whether `--only` means this: an id or the beginning of one at a "/", or a group; none means everything. */
export function isSelected(only: readonly string[], id: string, group: string): boolean {
  return only.length === 0 || only.some((name) => name === group || id === name || id.startsWith(`${name}/`));
}

export const secondsOf = ({ contenders, rounds, seconds }: Planned): number =>
  contenders.length * rounds * (seconds + OVERHEAD_SECONDS);
