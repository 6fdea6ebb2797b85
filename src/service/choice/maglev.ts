import { Hasher } from '../../table/hash.ts';
import { BACKEND_WORDS } from '../record.ts';
import { type Algorithm, type Choice, weightOf } from './choice.ts';

/** Primes: how many places a table has. Up to 40 endpoints have at least 100 places each, so that shares are even to 1 %. */
const SMALL = 4093;
const LARGE = 65_521;
const PLACES_EACH = 100;
/** Places filled between two turns: some 100 µs. */
const PLACES_PER_STEP = 2048;

/**
 * Maglev (Eisenbud et al., NSDI 2016, §3.4): a client's tuple names a place, the place an endpoint. A change of the set
 * moves few other places, and the table follows from the set alone: two hosts send one client to one endpoint without a
 * word between them. Therefore the hashes have no secret (`docs/decisions/0012`).
 *
 *   at    number of places
 *   + 1   two indices a word, the lower half first
 *
 * Endpoints take turns to claim the first free place of their own permutation; one of less weight is left out in its
 * share of the turns.
 */
export const MAGLEV: Algorithm = {
  size: (count) => 1 + ((placesFor(count) + 1) >> 1),

  build(choice) {
    for (const _ of fill(choice)) {
    }
  },

  pick(words, at, _, hash) {
    const places = words[at]!;
    if (places === 0) return -1;
    const place = (hash >>> 0) % places;
    const index = (words[at + 1 + (place >> 1)]! >>> ((place & 1) << 4)) & 0xffff;
    return index;
  },

  taken() {},
};

const placesFor = (count: number): number => (count * PLACES_EACH <= SMALL ? SMALL : LARGE);

const offsets = new Hasher(0x6d61676c);
const skips = new Hasher(0x65760001);

/** Fills a table nobody reads yet, a step per `next()`. */
export function* fill(choice: Choice): Generator<void> {
  const { endpoints, first, count, words, at } = choice;
  const places = placesFor(count);
  const next = new Int32Array(count);
  const skip = new Int32Array(count);
  const credit = new Int32Array(count);
  const owner = new Int32Array(places).fill(-1);
  let heaviest = 0;
  for (let i = 0; i < count; i++) {
    const from = first + i * BACKEND_WORDS;
    const [a, b, c, d] = [endpoints[from]!, endpoints[from + 1]!, endpoints[from + 2]!, endpoints[from + 3]!];
    const port = endpoints[from + 4]! & 0xffff;
    next[i] = (offsets.of5(a, b, c, d, port) >>> 0) % places;
    skip[i] = 1 + ((skips.of5(a, b, c, d, port) >>> 0) % (places - 1));
    heaviest = Math.max(heaviest, weightOf(choice, i));
  }
  words[at] = heaviest === 0 ? 0 : places;
  let budget = PLACES_PER_STEP;
  for (let left = heaviest === 0 ? 0 : places; left > 0; ) {
    for (let i = 0; i < count && left > 0; i++) {
      credit[i]! += weightOf(choice, i);
      if (credit[i]! < heaviest) continue;
      credit[i]! -= heaviest;
      while (owner[next[i]!]! >= 0) {
        next[i] = (next[i]! + skip[i]!) % places;
        budget--;
      }
      owner[next[i]!] = i;
      left--;
      if (--budget > 0) continue;
      budget = PLACES_PER_STEP;
      yield;
    }
  }
  for (let place = 0; place < places; place += 2) {
    const above = place + 1 < places ? owner[place + 1]! : 0;
    words[at + 1 + (place >> 1)] = (owner[place]! & 0xffff) | (above << 16);
  }
}
