import { int32 } from './memory.ts';

/**
 * Runs of words of any length, taken and given back in constant time.
 *
 *   chunk   2^17 words; a longer run has a chunk of its own
 *   run     a handle: number of its chunk << 17 | offset of its first word
 *   class   run lengths are rounded up: to multiples of 8 words up to 512, then to powers of two. Runs given back wait
 *           in one list per class, threaded through their first word, and serve their class again.
 *
 * Chunks are made when needed and stay: nothing is ever copied, so no growth takes longer than another. Memory that no
 * run has touched is not resident.
 */
export class Segments {
  readonly chunks: Int32Array[] = [];
  private readonly free = new Int32Array(CLASSES).fill(-1);
  private chunk = -1;
  private used = CHUNK_WORDS;

  /** @param words ≥ 1 */
  take(words: number): number {
    const kind = classOf(words);
    const run = this.free[kind]!;
    if (run >= 0) {
      this.free[kind] = this.chunks[run >>> CHUNK_BITS]![run & CHUNK_MASK]!;
      return run;
    }
    const length = lengthOf(kind);
    if (length > CHUNK_WORDS) return (this.chunks.push(int32(length)) - 1) << CHUNK_BITS;
    if (this.used + length > CHUNK_WORDS) {
      this.chunk = this.chunks.push(int32(CHUNK_WORDS)) - 1;
      this.used = 0;
    }
    const at = this.used;
    this.used += length;
    return (this.chunk << CHUNK_BITS) | at;
  }

  /** @param words as it was taken with */
  give(run: number, words: number): void {
    const kind = classOf(words);
    this.chunks[run >>> CHUNK_BITS]![run & CHUNK_MASK] = this.free[kind]!;
    this.free[kind] = run;
  }

  /** The chunk a run lies in; its first word is at `offset(run)`. */
  words(run: number): Int32Array {
    return this.chunks[run >>> CHUNK_BITS]!;
  }

  offset(run: number): number {
    return run & CHUNK_MASK;
  }
}

const CHUNK_BITS = 17;
const CHUNK_WORDS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_WORDS - 1;
const STEP = 8;
const FINE_CLASSES = 64;
const FINE_WORDS = STEP * FINE_CLASSES;
/** Up to 2^31 words. */
const CLASSES = FINE_CLASSES + 32;

function classOf(words: number): number {
  return words <= FINE_WORDS ? (words + STEP - 1) >> 3 : FINE_CLASSES + (32 - Math.clz32(words - 1));
}

function lengthOf(kind: number): number {
  return kind <= FINE_CLASSES ? kind * STEP : 2 ** (kind - FINE_CLASSES);
}
