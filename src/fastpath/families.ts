import type { Epochs } from '../table/epochs.ts';
import type { FastPath } from './fast-path.ts';
import type { NextHops } from './next-hops.ts';
import type { Paths } from './paths.ts';

/** Takes heads of one family, as `FastPath.run`. */
export interface Family {
  run(first: number, last: number, now: number): number;
}

/**
 * The fast path of both families: each takes what it can from where the other had to stop, so a head of both is as long
 * as one of either. What is remembered is shared, but for next hops.
 */
export function joinFamilies(
  four: Family,
  six: Family,
  paths: Paths,
  hops: readonly NextHops[],
  epochs: Epochs,
): FastPath {
  function configure(): void {
    epochs.bumpAll();
    paths.configure();
  }

  function run(first: number, last: number, now: number): number {
    if (epochs.wrapped) forget();
    for (let at = first; ; ) {
      const next = six.run(four.run(at, last, now), last, now);
      if (next === at || next === last) return next;
      at = next;
    }
  }

  function forget(): void {
    paths.clear();
    for (const table of hops) table.clear();
    epochs.wrapped = false;
  }

  return { configure, run };
}
