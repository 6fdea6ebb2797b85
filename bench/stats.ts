/** Medians, and how sure one can be of them: the bootstrap, seeded so that a report can be made again. */
import type { Estimate, Percentiles, Ratio, Run, Series } from './results.ts';

const RESAMPLES = 2000;
const SEED = 0x5eed;

/** @throws RangeError for no values */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('the median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Median with its percentile-bootstrap interval of 95 %. With fewer than about six values the interval is as wide
 * as the values are: it cannot know better.
 */
export function estimate(values: readonly number[]): Estimate {
  const random = generator(SEED);
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)]!)),
  ).sort((a, b) => a - b);
  return {
    median: median(values),
    low: medians[Math.floor(RESAMPLES * 0.025)]!,
    high: medians[Math.ceil(RESAMPLES * 0.975) - 1]!,
  };
}

/** Twill ÷ each other contender, paired by round; rounds in which one of the two is missing do not count. */
export function ratios(runs: readonly Run[], base = 'twill'): Ratio[] {
  const ours = new Map(runs.filter((run) => run.contender === base).map((run) => [run.round, run.value]));
  const others = new Set(runs.map((run) => run.contender).filter((name) => name !== base));
  return [...others].flatMap((contender) => {
    const pairs = runs
      .filter((run) => run.contender === contender && run.value > 0 && ours.has(run.round))
      .map((run) => ours.get(run.round)! / run.value);
    return pairs.length === 0 ? [] : [{ contender, pairs: pairs.length, ...estimate(pairs) }];
  });
}

/** Every contender's runs in one line. */
export function series(runs: readonly Run[]): Series[] {
  return [...new Set(runs.map((run) => run.contender))].map((contender) => {
    const own = runs.filter((run) => run.contender === contender);
    const values = own.map((run) => run.value);
    return {
      contender,
      runs: own.length,
      median: median(values),
      least: Math.min(...values),
      most: Math.max(...values),
      ...medianOf(own, 'loss'),
      ...medianOf(own, 'cpuPerGigabyte'),
      ...medianOf(own, 'cpuPerMillion'),
      ...percentilesOf(own),
    };
  });
}

function medianOf<K extends 'loss' | 'cpuPerGigabyte' | 'cpuPerMillion'>(
  runs: readonly Run[],
  key: K,
): Partial<Record<K, number>> {
  const values = runs.flatMap((run) => run[key] ?? []);
  return values.length === 0 ? {} : ({ [key]: median(values) } as Record<K, number>);
}

function percentilesOf(runs: readonly Run[]): { percentiles?: Percentiles } {
  const all = runs.flatMap((run) => run.percentiles ?? []);
  if (all.length === 0) return {};
  const of = (key: keyof Percentiles): number => median(all.map((one) => one[key]));
  return { percentiles: { p50: of('p50'), p99: of('p99'), p99_9: of('p99_9') } };
}

/** xorshift32: uniform in [0, 1). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
