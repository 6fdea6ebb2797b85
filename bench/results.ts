/**
 * What a run of the harness writes to bench/results/: everything a report needs, raw runs included, so that a
 * statistic can be doubted and computed again. Also the shape a page, a table and `make bench-check` read.
 */
import type { Guards } from './guards.ts';
import type { Machine } from './machine.ts';

export const SCHEMA = 1;

export type Path = 'same' | 'cross' | 'none';
export type Layout = 'unpinned' | 'pinned';
export type Unit = 'Gbit/s' | 'kpps' | 'µs' | 'conn/s' | 's' | 'ms';

/** Microseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p99_9: number;
}

/** What became of datagrams beside changes. */
export interface Churn {
  readonly sent: number;
  readonly lost: number;
  /** Arrived where no endpoint was. */
  readonly astray: number;
  /** Changes a second. */
  readonly changes: number;
}

/** One measurement of one contender. */
export interface Run {
  readonly contender: string;
  /** Runs of one round are compared with each other. */
  readonly round: number;
  readonly value: number;
  /** Share of what was sent that did not arrive, 0 … 1. */
  readonly loss?: number;
  readonly percentiles?: Percentiles;
  readonly churn?: Churn;
  /** CPU-seconds of the whole machine. */
  readonly cpuPerGigabyte?: number;
  readonly cpuPerMillion?: number;
  /** Shares of the machine's time, 0 … 1. */
  readonly steal: number;
  readonly foreign: number;
  readonly guards: Guards;
}

export interface Estimate {
  readonly median: number;
  /** Bootstrap interval, 95 %. */
  readonly low: number;
  readonly high: number;
}

/** One contender in one cell. */
export interface Series {
  readonly contender: string;
  readonly runs: number;
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly loss?: number;
  readonly percentiles?: Percentiles;
  readonly cpuPerGigabyte?: number;
  readonly cpuPerMillion?: number;
}

/** Twill ÷ other inside a round, over the rounds: above 1, Twill's figure is the larger. */
export interface Ratio extends Estimate {
  readonly contender: string;
  readonly pairs: number;
}

/** One row of the matrix: a workload on a path in a layout. */
export interface Cell {
  /** Stable over versions: the key of bench/baseline.json, "tcp-1/same/unpinned". */
  readonly id: string;
  readonly group: string;
  readonly title: string;
  readonly path: Path;
  readonly layout: Layout;
  /** Bytes the underlay carries. */
  readonly mtu: number;
  readonly unit: Unit;
  readonly better: 'more' | 'less';
  readonly runs: Run[];
  series: Series[];
  ratios: Ratio[];
  /** Why it, or some of it, was not measured. */
  readonly notes: string[];
}

export interface MemoryRow {
  readonly scene: string;
  /** What grows, and how far: "flows", "MACs", "ports", "peers". */
  readonly what: string;
  readonly size: number;
  readonly nsPerFrame: number;
  /** ± percent */
  readonly margin: number;
}

export interface Presence {
  readonly name: string;
  readonly title: string;
  /** How it was set up. */
  readonly detail: string;
  readonly version: string;
  /** Why it took no part; null when it did. */
  readonly skipped: string | null;
}

export interface Idle {
  /** Share of one core that the daemon used. */
  readonly core: number;
  readonly residentBytes: number;
  readonly seconds: number;
}

export interface Results {
  readonly schema: typeof SCHEMA;
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly mode: 'full' | 'quick' | 'selection';
  readonly twill: string;
  readonly commit: string;
  /** Seconds the whole run took. */
  seconds: number;
  /** Why it ended early; null when it did not. */
  aborted: string | null;
  readonly machine: Machine;
  readonly contenders: Presence[];
  readonly cells: Cell[];
  readonly memory: MemoryRow[];
  idle: Idle | null;
  readonly notes: string[];
}

/** A share of steal or foreign load above this flags a run. */
export const DISTURBED = 0.01;

export const isDisturbed = (run: Run): boolean => run.steal > DISTURBED || run.foreign > DISTURBED;
