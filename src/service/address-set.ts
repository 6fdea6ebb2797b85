import { Hasher } from '../table/hash.ts';
import { int32 } from '../table/memory.ts';

const WORDS = 4;

/**
 * Service addresses with a count of uses each, ClusterIPs told apart: open addressing, linear probing at a load of at
 * most ½, deletion by shifting back (as in `table/hash-index.ts`). A place whose count is 0 is empty.
 *
 *   place   address 0–3 · uses: frontends there · clusterIPs: those of them that are ClusterIPs
 */
export class AddressSet {
  private readonly members: Int32Array;
  private readonly uses: Int32Array;
  private readonly clusterIPs: Int32Array;
  private readonly mask: number;
  private readonly hasher: Hasher;

  /** @param capacity addresses at most; a power of two. */
  constructor(capacity: number, seed: number) {
    this.members = int32(capacity * 2 * WORDS);
    this.uses = int32(capacity * 2);
    this.clusterIPs = int32(capacity * 2);
    this.mask = capacity * 2 - 1;
    this.hasher = new Hasher(seed);
  }

  has(w0: number, w1: number, w2: number, w3: number): boolean {
    return this.uses[this.place(w0, w1, w2, w3)] !== 0;
  }

  hasClusterIP(w0: number, w1: number, w2: number, w3: number): boolean {
    return this.clusterIPs[this.place(w0, w1, w2, w3)] !== 0;
  }

  add(w0: number, w1: number, w2: number, w3: number, isClusterIP: boolean): void {
    const at = this.place(w0, w1, w2, w3);
    const member = at * WORDS;
    this.members[member] = w0;
    this.members[member + 1] = w1;
    this.members[member + 2] = w2;
    this.members[member + 3] = w3;
    this.uses[at]!++;
    if (isClusterIP) this.clusterIPs[at]!++;
  }

  /** Takes one use back; there must be one. */
  remove(w0: number, w1: number, w2: number, w3: number, isClusterIP: boolean): void {
    const { members, uses, clusterIPs, mask } = this;
    let hole = this.place(w0, w1, w2, w3);
    if (isClusterIP) clusterIPs[hole]!--;
    if (--uses[hole]! > 0) return;
    for (let at = (hole + 1) & mask; uses[at] !== 0; at = (at + 1) & mask) {
      if (((at - this.home(at)) & mask) < ((at - hole) & mask)) continue;
      for (let i = 0; i < WORDS; i++) members[hole * WORDS + i] = members[at * WORDS + i]!;
      uses[hole] = uses[at]!;
      clusterIPs[hole] = clusterIPs[at]!;
      uses[at] = 0;
      clusterIPs[at] = 0;
      hole = at;
    }
  }

  /** Where the address is, or the empty place it would have. */
  private place(w0: number, w1: number, w2: number, w3: number): number {
    const { members, uses, mask } = this;
    for (let at = this.hasher.of4(w0, w1, w2, w3) & mask; ; at = (at + 1) & mask) {
      const member = at * WORDS;
      if (uses[at] === 0) return at;
      if (
        members[member + 3] === w3 &&
        members[member + 2] === w2 &&
        members[member + 1] === w1 &&
        members[member] === w0
      ) {
        return at;
      }
    }
  }

  private home(at: number): number {
    const { members } = this;
    const member = at * WORDS;
    return this.hasher.of4(
      members[member]!,
      members[member + 1]!,
      members[member + 2]!,
      members[member + 3]!,
    );
  }
}
