/** What is measured of Services: how many, how often, and the cells it goes to. */
import { OVERHEAD_SECONDS } from './matrix.ts';
import type { Cell, Run } from './results.ts';
import { WAYS } from './sites.ts';

export interface ServicesPlan {
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** Of one run of connections. */
  readonly seconds: number;
  /** A rule set that takes longer to load is given up, s. */
  readonly loadLimit: number;
  /** Even. */
  readonly changes: number;
  /** Rounds of the longest trips, with the most services. */
  readonly pauses: number;
  /** Rounds of traffic with and without a thousand changes a second. */
  readonly churns: number;
}

export const SERVICES: Readonly<Record<'full' | 'quick', ServicesPlan>> = {
  full: {
    sizes: [1, 100, 10_000, 100_000],
    rounds: 3,
    seconds: 1,
    loadLimit: 45,
    changes: 10,
    pauses: 7,
    churns: 3,
  },
  quick: { sizes: [1, 10_000], rounds: 2, seconds: 0.35, loadLimit: 15, changes: 4, pauses: 1, churns: 1 },
};

/** Once: what is compared is built and warmed up. */
const BEGIN_SECONDS = 20;

/** What the services take, about: loading grows with the size, the rest does not. */
export function servicesSeconds({ sizes, rounds, seconds, pauses, churns }: ServicesPlan): number {
  const perSize = WAYS.length * rounds * (seconds + OVERHEAD_SECONDS) + 2;
  const most = sizes.at(-1)!;
  const loading = sizes.reduce((sum, size) => sum + size / 6000, 0);
  return (
    BEGIN_SECONDS +
    sizes.length * perSize +
    loading +
    pauses * (PAUSE_SECONDS + most / 12_000) +
    churns * CHURN_SECONDS
  );
}

/** A round of pauses with few services, and one of changes beside traffic. */
const PAUSE_SECONDS = 4;
const CHURN_SECONDS = 7;

export type Draft = Omit<Cell, 'series' | 'ratios'>;

export function cellOf(
  name: string,
  size: number,
  title: string,
  unit: Cell['unit'],
  better: Cell['better'],
): Draft {
  const count = size.toLocaleString('en').replaceAll(',', ' ');
  return {
    id: `${name}-${size}/same/unpinned`,
    group: 'services',
    title: `${title} ${count} ${size === 1 ? 'service' : 'services'}`,
    path: 'same',
    layout: 'unpinned',
    mtu: 1500,
    unit,
    better,
    runs: [],
    notes: [],
  };
}

/** A run that no guard watched. */
export const plainRun = (contender: string, round: number, value: number): Run => ({
  contender,
  round,
  value,
  steal: 0,
  foreign: 0,
  guards: {
    retransmits: null,
    drops: {},
    checksumErrors: 0,
    applicationOverruns: 0,
    daemonOverruns: 0,
    collections: 0,
    deoptimisations: 0,
  },
});

/** Does what adds runs to a cell. @returns false when it failed, which is then a note of the cell */
export type Attempt = (cell: Draft, who: string, work: () => Promise<void>) => Promise<boolean>;
