import { finish } from '../table/hash.ts';
import { int32 } from '../table/memory.ts';

/**
 * IPv4 addresses with a count of uses each: open addressing, linear probing at a load of at most ½, deletion by
 * shifting back (as in `table/hash-index.ts`). A place whose count is 0 is empty.
 */
export class VipSet {
  private readonly members: Int32Array;
  private readonly uses: Int32Array;
  private readonly mask: number;

  /** @param capacity addresses at most; a power of two. */
  constructor(capacity: number) {
    this.members = int32(capacity * 2);
    this.uses = int32(capacity * 2);
    this.mask = capacity * 2 - 1;
  }

  has(address: number): boolean {
    return this.uses[this.place(address)] !== 0;
  }

  add(address: number): void {
    const at = this.place(address);
    this.members[at] = address;
    this.uses[at]!++;
  }

  /** Takes one use back; there must be one. */
  remove(address: number): void {
    const { members, uses, mask } = this;
    let hole = this.place(address);
    if (--uses[hole]! > 0) return;
    for (let at = (hole + 1) & mask; uses[at] !== 0; at = (at + 1) & mask) {
      if (((at - finish(members[at]!)) & mask) >= ((at - hole) & mask)) {
        members[hole] = members[at]!;
        uses[hole] = uses[at]!;
        uses[at] = 0;
        hole = at;
      }
    }
  }

  /** Where the address is, or the empty place it would have. */
  private place(address: number): number {
    const { members, uses, mask } = this;
    let at = finish(address) & mask;
    while (uses[at] !== 0 && members[at] !== address) at = (at + 1) & mask;
    return at;
  }
}
