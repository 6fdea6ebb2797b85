import { BURST } from '../card/layout.ts';
import type { Flows } from '../conntrack/flows.ts';
import { FLOW_WORDS, Flow, TUPLE_STEP } from '../conntrack/row.ts';

/** Fewer frames wait no longer one after the other. */
export const FEW = 4;

export interface LookAhead {
  /** To be filled in: [frame] hash of the tuple it seems to have. */
  readonly hashes: Int32Array;
  /** [frame] the first tuple id with that hash, −1 = none: a guess, whose key is to be compared. */
  readonly likely: Int32Array;
  /** Asks for all that `hashes` [first, last) lead to. */
  run(first: number, last: number): void;
}

/**
 * Asks for the memory of many flows at once, before anything is known to be true: a load that misses the cache costs some
 * hundred ns, twenty of them at a time hardly more. So many are under way only if a few instructions lie between them and no branch
 * waits for what they bring: hence a loop for each step.
 */
/** @param other the packets of `run` need the flow's other tuple as well: 1, else 0 */
export function createLookAhead(flows: Flows, other: 0 | 1): LookAhead {
  const hashes = new Int32Array(BURST);
  const likely = new Int32Array(BURST);
  /** So that no load is left out. */
  const touched = new Int32Array(1);

  function run(first: number, last: number): void {
    const { lines } = flows;
    const { entries, mask } = flows.index;
    let seen = 0;
    for (let i = first; i < last; i++) seen ^= entries[(hashes[i]! << 1) & mask]!;
    for (let i = first; i < last; i++) {
      const hash = hashes[i]!;
      let at = (hash << 1) & mask;
      while (entries[at] !== 0 && entries[at + 1] !== hash) at = (at + 2) & mask;
      likely[i] = entries[at]! - 1;
    }
    for (let i = first; i < last; i++) {
      // Of nobody: the first flow's, which costs nothing.
      const id = likely[i]! & ~(likely[i]! >> 31);
      seen ^=
        lines[id * TUPLE_STEP]! ^
        lines[(id >> 1) * FLOW_WORDS + Flow.EXPIRES]! ^
        lines[(id ^ other) * TUPLE_STEP]!;
    }
    touched[0] = seen;
  }

  return { hashes, likely, run };
}
