import { compare } from './choice/choice.ts';
import { BACKEND_WORDS, clusterAt, Field, localAt } from './record.ts';
import { EndpointSet, type Services } from './services.ts';

/** Changes remembered, of all service ports together: 128 KiB. */
const KEPT = 4096;

/** Words of a row. */
const enum Row {
  VERSION = 0,
  /** Service × 2 + set. */
  SET = 1,
  CAME = 2,
  /** Address 0–3, port. */
  ENDPOINT = 3,
  WORDS = 8,
}

/** What happened to a set: an endpoint at `at` of `words` came or left. */
export type Meet = (words: Int32Array, at: number, came: boolean) => void;

/**
 * Which endpoints came to and left the sets of service ports lately, so that older flows can be explained by whom they
 * could have met. The oldest change makes room for the newest; what is not known any more is said to be so.
 */
export class History {
  private readonly rows = new Int32Array(KEPT * Row.WORDS);
  /** Rows ever written; the next one is this modulo `KEPT`. */
  private written = 0;

  constructor(private readonly services: Services) {}

  /** The record at `at` is about to be put, by transaction `version`. A service port that comes has no older flows. */
  changing(records: Int32Array, at: number, version: number): void {
    const id = records[at + Field.ID]!;
    if (!this.services.has(id)) return;
    const cluster = records[at + Field.CLUSTER]!;
    this.compare(id, EndpointSet.CLUSTER, records, clusterAt(records, at), cluster, version);
    const local = Math.max(0, records[at + Field.LOCAL]!);
    this.compare(id, EndpointSet.LOCAL, records, localAt(records, at), local, version);
  }

  /**
   * Tells what happened to a set after transaction `version`, in order.
   * @returns false when not all of it is known any more
   */
  since(id: number, set: EndpointSet, version: number, meet: Meet): boolean {
    const { rows, written } = this;
    const first = Math.max(0, written - KEPT);
    // The oldest row's transaction may have had others, which are lost.
    if (first > 0 && ((rows[(first % KEPT) * Row.WORDS]! - version) | 0) > 0) return false;
    for (let i = first; i < written; i++) {
      const row = (i % KEPT) * Row.WORDS;
      if (rows[row + Row.SET] !== id * 2 + set || ((rows[row]! - version) | 0) <= 0) continue;
      meet(rows, row + Row.ENDPOINT, rows[row + Row.CAME] === 1);
    }
    return true;
  }

  /** Both are in order. */
  private compare(
    id: number,
    set: EndpointSet,
    next: Int32Array,
    from: number,
    count: number,
    version: number,
  ): void {
    const { services } = this;
    const words = services.words(id);
    let old = services.first(id, set);
    let now = from;
    const oldEnd = old + services.size(id, set) * BACKEND_WORDS;
    const nowEnd = from + count * BACKEND_WORDS;
    while (old < oldEnd || now < nowEnd) {
      let order: number;
      if (old === oldEnd) order = 1;
      else if (now === nowEnd) order = -1;
      else order = compare(words, old, next, now);
      if (order < 0) this.write(id, set, words, old, 0, version);
      if (order > 0) this.write(id, set, next, now, 1, version);
      if (order <= 0) old += BACKEND_WORDS;
      if (order >= 0) now += BACKEND_WORDS;
    }
  }

  private write(
    id: number,
    set: EndpointSet,
    words: Int32Array,
    at: number,
    came: 0 | 1,
    version: number,
  ): void {
    const { rows } = this;
    const row = (this.written++ % KEPT) * Row.WORDS;
    rows[row + Row.VERSION] = version;
    rows[row + Row.SET] = id * 2 + set;
    rows[row + Row.CAME] = came;
    for (let i = 0; i < 4; i++) rows[row + Row.ENDPOINT + i] = words[at + i]!;
    rows[row + Row.ENDPOINT + 4] = words[at + 4]! & 0xffff;
  }
}
