/** The programs that make and count traffic, run in the namespaces of a route, and what they print as figures. */
import { join } from 'node:path';
import type { Background, Lab } from '../src/demo/lab.ts';
import { packageRoot } from '../src/program/version.ts';
import type { Route } from './contender.ts';
import type { Layout, Percentiles } from './results.ts';

const BUILD = join(packageRoot(), 'bench/build');
export const LOAD = join(BUILD, 'twill-load');
export const REFERENCE = join(BUILD, 'twill-ref');

/** What one run of a tool found. */
export interface Measured {
  readonly value: number;
  readonly loss?: number;
  readonly percentiles?: Percentiles;
  /** Payload that arrived, for CPU-seconds per GB. */
  readonly bytes?: number;
  /** Datagrams that arrived, for CPU-seconds per million. */
  readonly packets?: number;
  readonly retransmits?: number;
}

/** Where tools run: `layout` pins them to CPU 0 or leaves them alone. */
export interface Bench {
  readonly lab: Lab;
  readonly layout: Layout;
}

const placed = (layout: Layout, argv: readonly string[]): string[] =>
  layout === 'pinned' ? ['taskset', '-c', '0', ...argv] : [...argv];

let serial = 0;

function serve(bench: Bench, namespace: string, argv: readonly string[]): Background {
  return bench.lab.start(namespace, `server${serial++}`, placed(bench.layout, argv));
}

async function client(bench: Bench, namespace: string, argv: readonly string[]): Promise<string> {
  return bench.lab.must(namespace, placed(bench.layout, argv), { timeout: 60_000 });
}

/** Runs `work` while a server runs, and ends the server whatever happens. */
async function beside<T>(server: Background, isReady: string, work: () => Promise<T>): Promise<T> {
  try {
    await server.waitFor((text) => text.includes(isReady));
    return await work();
  } finally {
    await server.stop(1000);
  }
}

interface IperfReport {
  readonly error?: string;
  readonly end: Record<
    string,
    { readonly bits_per_second: number; readonly bytes: number; readonly retransmits?: number }
  >;
}

/** TCP throughput as iperf3's receiver counts it; both directions at once add up. */
export async function tcp(
  bench: Bench,
  route: Route,
  options: { readonly streams: number; readonly bidirectional: boolean; readonly seconds: number },
): Promise<Measured> {
  const server = serve(bench, route.server, ['iperf3', '-s', '-1', '--forceflush']);
  return beside(server, 'listening', async () => {
    const words = ['iperf3', '-J', '-c', route.address, '-t', String(options.seconds)];
    const more = ['-P', String(options.streams), ...(options.bidirectional ? ['--bidir'] : [])];
    const report = JSON.parse(await client(bench, route.client, [...words, ...more])) as IperfReport;
    if (report.error) throw new Error(`iperf3: ${report.error}`);
    const forth = report.end.sum_received!;
    const back = report.end.sum_received_bidir_reverse;
    const retransmits =
      (report.end.sum_sent!.retransmits ?? 0) + (report.end.sum_sent_bidir_reverse?.retransmits ?? 0);
    return {
      value: (forth.bits_per_second + (back?.bits_per_second ?? 0)) / 1e9,
      bytes: forth.bytes + (back?.bytes ?? 0),
      retransmits,
    };
  });
}

/** Time for what is still queued on the way to arrive before the sink stops counting, ms. */
const DRAIN_MS = 100;
/** What arrives later still must not reach the next run's sink: each run has a port of its own. */
const SINK_PORTS = { first: 20_000, count: 10_000 };
let sinks = 0;

/** Datagrams as fast as they can be sent, counted at the receiving application. */
export async function datagrams(
  bench: Bench,
  route: Route,
  options: { readonly size: number | 'imix'; readonly flows: number; readonly seconds: number },
): Promise<Measured> {
  const flows = ['--flows', String(options.flows)];
  const port = ['--port', String(SINK_PORTS.first + (sinks++ % SINK_PORTS.count))];
  const sink = serve(bench, route.server, [LOAD, 'sink', ...port, ...flows, '--seconds', '60']);
  const sent = await beside(sink, 'ready', async () => {
    const to = ['--to', route.address, ...port, '--size', String(options.size)];
    const text = await client(bench, route.client, [
      ...[LOAD, 'blast', ...to, ...flows],
      ...['--seconds', String(options.seconds)],
    ]);
    await new Promise((resolve) => setTimeout(resolve, DRAIN_MS));
    return JSON.parse(text) as { sent: number; seconds: number };
  });
  const arrived = lastJson<{ received: number; bytes: number; corrupt: number; duplicates: number }>(sink);
  if (arrived.corrupt > 0 || arrived.duplicates > 0) {
    throw new Error(`${arrived.corrupt} datagrams arrived corrupt, ${arrived.duplicates} twice`);
  }
  return {
    value: arrived.received / sent.seconds / 1e3,
    loss: sent.sent === 0 ? 0 : Math.max(0, 1 - arrived.received / sent.sent),
    bytes: arrived.bytes,
    packets: arrived.received,
  };
}

interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p99_9: number;
  readonly max: number;
}

const measuredLatency = ({ p50, p99, p99_9 }: Latency): Measured => ({
  value: p50,
  percentiles: { p50, p99, p99_9 },
});

/** Request and response, one after the other: the round trip's median in µs. */
export async function roundTrips(
  bench: Bench,
  route: Route,
  options: { readonly protocol: 'udp' | 'tcp'; readonly seconds: number },
): Promise<Measured> {
  const proto = ['--proto', options.protocol];
  const server = serve(bench, route.server, [LOAD, 'rr-server', '--port', '9001', ...proto]);
  return beside(server, 'ready', async () => {
    const words = [LOAD, 'rr', '--to', route.address, '--port', '9001', ...proto];
    const text = await client(bench, route.client, [...words, '--seconds', String(options.seconds)]);
    return measuredLatency(JSON.parse(text) as Latency);
  });
}

/** Where `longestTrip` listens; no Service's. */
const TRIP_PORT = 9200;
const TRIP_RATE = 10_000;

/** The longest that a datagram of a constant stream was on its way while `work` was done, ms. */
export async function longestTrip(
  bench: Bench,
  route: Route,
  work: () => Promise<unknown>,
): Promise<Measured> {
  const port = ['--port', String(TRIP_PORT)];
  const sink = serve(bench, route.server, [LOAD, 'pace-server', ...port]);
  await beside(sink, 'ready', async () => {
    const words = [LOAD, 'pace', '--to', route.address, ...port, '--rate', String(TRIP_RATE)];
    const source = serve(bench, route.client, [...words, '--seconds', '120']);
    try {
      await sink.waitFor((text) => text.includes(`${TRIP_PORT} `));
      await work();
    } finally {
      await source.stop(0);
    }
  });
  const trip = lastJson<Latency>(sink);
  return { ...measuredLatency(trip), value: trip.max / 1000 };
}

/** Round trips beside one TCP stream that takes all it can get. */
export async function roundTripsUnderLoad(bench: Bench, route: Route, seconds: number): Promise<Measured> {
  const lead = 0.3;
  const bulk = tcp(bench, route, {
    streams: 1,
    bidirectional: false,
    seconds: Math.ceil(seconds + 2 * lead),
  });
  const delayed = new Promise((resolve) => setTimeout(resolve, lead * 1000)).then(() =>
    roundTrips(bench, route, { protocol: 'udp', seconds }),
  );
  const [load, latency] = await Promise.all([bulk, delayed]);
  return { value: latency.value, percentiles: latency.percentiles!, retransmits: load.retransmits! };
}

/** ICMP echo 5 ms apart, so that every queue is idle again: the median of the round trips in µs. */
export async function ping(bench: Bench, route: Route, count: number): Promise<Measured> {
  const text = await client(bench, route.client, [
    ...['ping', '-n', '-c', String(count), '-i', '0.005', '-W', '1', route.address],
  ]);
  const times = [...text.matchAll(/time=([\d.]+) ms/g)]
    .map(([, ms]) => Number(ms) * 1000)
    .sort((a, b) => a - b);
  if (times.length === 0) throw new Error('no echo was answered');
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))]!;
  return {
    value: at(0.5),
    loss: 1 - times.length / count,
    percentiles: { p50: at(0.5), p99: at(0.99), p99_9: at(0.999) },
  };
}

/** Connect, a byte each way, close: new connections per second from eight threads. */
export async function connections(
  bench: Bench,
  route: Pick<Route, 'client' | 'server'>,
  options: {
    readonly to: string;
    readonly port: number;
    readonly serverPort: number;
    readonly seconds: number;
  },
): Promise<Measured> {
  const server = serve(bench, route.server, [LOAD, 'crr-server', '--port', String(options.serverPort)]);
  return beside(server, 'ready', async () => {
    const to = ['--to', options.to, '--port', String(options.port)];
    const text = await client(bench, route.client, [
      ...[LOAD, 'crr', ...to, '--threads', '8', '--seconds', String(options.seconds)],
    ]);
    const { connections, failed, seconds, ...latency } = JSON.parse(text) as Latency & {
      connections: number;
      failed: number;
      seconds: number;
    };
    return {
      value: connections / seconds,
      loss: failed / (connections + failed),
      percentiles: { p50: latency.p50, p99: latency.p99, p99_9: latency.p99_9 },
    };
  });
}

/** The last line of a server's output that is JSON. @throws Error when there is none */
function lastJson<T>(server: Background): T {
  const text = server.output();
  const line = text
    .trim()
    .split('\n')
    .findLast((one) => one.startsWith('{'));
  if (line === undefined) throw new Error(`no result: ${text.trim()}`);
  return JSON.parse(line) as T;
}
