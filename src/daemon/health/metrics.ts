/**
 * Prometheus text: kube-proxy's names where the meaning is the same (S36), and what only Twill has. Everything but the
 * two histograms is read from the running daemon when somebody asks.
 */
import { Gauge, Histogram, Registry, Counter as Total } from 'prom-client';
import type { Resource } from '../../control/types.ts';
import { Counter, type Counters, Global, LOCATIONS } from '../../telemetry/counters.ts';
import { DROP_REASONS, Drop } from '../../telemetry/drop.ts';
import type { Observer, Progress } from './progress.ts';

/** Annotation of a slice: when what it reports happened. */
const TRIGGER = 'endpoints.kubernetes.io/last-change-trigger-time';

/** Of one transaction: to see when a slice changed its text is read again, which a bulk load is not worth. */
const MOST_OBSERVED = 1000;

export interface MetricSources {
  readonly progress: Progress;
  readonly counters: Counters;
  /** Service ports whose policy is Local and which have no endpoint here although there are others. */
  withoutLocalEndpoints(): { readonly internal: number; readonly external: number };
  /** Location → name, of ports and peers. */
  locations(): ReadonlyMap<number, string>;
}

export class Metrics implements Observer {
  readonly #registry = new Registry();
  readonly #started = Date.now();
  readonly #sync: Histogram;
  readonly #programming: Histogram;

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    this.#sync = new Histogram({
      name: 'kubeproxy_sync_proxy_rules_duration_seconds',
      help: 'Time a change took from being read to being in force',
      buckets: powers(0.001, 2, 15),
      registers,
    });
    this.#programming = new Histogram({
      name: 'kubeproxy_network_programming_duration_seconds',
      help: 'Time from the change of an endpoint, as its slice says, to its being in force',
      buckets: [0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 45, 60, 120, 300],
      registers,
    });
    const { progress, counters } = sources;
    const { globals } = counters;
    const gauge = (name: string, help: string, read: () => Rows, label?: string) =>
      sample(Gauge, registers, `kubeproxy_sync_proxy_rules_${name}`, help, read, label);
    gauge('last_timestamp_seconds', 'When a change was last applied', () => [['', progress.lastApplied]]);
    gauge('last_queued_timestamp_seconds', 'When one was last asked for', () => [['', progress.lastQueued]]);
    gauge(
      'no_local_endpoints_total',
      'Service ports with a Local policy whose endpoints are all on other hosts',
      () => Object.entries(sources.withoutLocalEndpoints()),
      'traffic_policy',
    );
    sample(Gauge, registers, 'twill_flows', 'Translated connections', () => [['', globals[Global.FLOWS]!]]);
    const total = (name: string, help: string, read: () => Rows, label?: string) =>
      sample(Total, registers, `twill_${name}_total`, help, read, label);
    total('flows_created', 'Connections translated so far', () => [['', globals[Global.FLOWS_CREATED]!]]);
    total('flows_evicted', 'Connections that made room', () => [['', globals[Global.FLOWS_EVICTED]!]]);
    total('datagrams_evicted', 'Datagrams in fragments that made room', () => [
      ['', globals[Global.DATAGRAMS_EVICTED]!],
    ]);
    total('drops', 'Frames dropped', () => drops(counters), 'reason');
    const each = (field: Counter) => (): Rows =>
      [...sources.locations()].map(([at, name]) => [name, counters.at(at, field)]);
    total('received_frames', 'Frames from a port or peer', each(Counter.RX), 'location');
    total('received_bytes', 'Bytes from a port or peer', each(Counter.RX_BYTES), 'location');
    total('sent_frames', 'Frames to a port or peer', each(Counter.TX), 'location');
    total('sent_bytes', 'Bytes to a port or peer', each(Counter.TX_BYTES), 'location');
  }

  queued(): void {}

  finished(seconds: number, changed: readonly Resource[]): void {
    this.#sync.observe(seconds);
    const now = Date.now();
    for (const { kind, annotations } of changed.slice(0, MOST_OBSERVED)) {
      const trigger = kind === 'EndpointSlice' ? Date.parse(annotations[TRIGGER] ?? '') : Number.NaN;
      // What happened before this daemon was there says nothing of it.
      if (trigger >= this.#started) this.#programming.observe((now - trigger) / 1000);
    }
  }

  get type(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

/** Value of the label and value; the label of a metric without one is "". */
type Rows = readonly (readonly [string, number])[];

/** A metric that is read when somebody asks. */
function sample(
  kind: typeof Gauge | typeof Total,
  registers: Registry[],
  name: string,
  help: string,
  read: () => Rows,
  label?: string,
): void {
  const metric = new kind({
    name,
    help,
    registers,
    labelNames: label === undefined ? [] : [label],
    collect() {
      metric.reset();
      for (const [text, value] of read()) metric.inc(label === undefined ? {} : { [label]: text }, value);
    },
  });
}

function drops({ drops }: Counters): Rows {
  const sums = new Float64Array(Drop.COUNT);
  for (let i = 0; i < LOCATIONS * Drop.COUNT; i++) sums[i % Drop.COUNT]! += drops[i]!;
  return DROP_REASONS.map(({ name }, i) => [name, sums[i]!]);
}

const powers = (first: number, factor: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => first * factor ** i);
