/**
 * Doubly linked lists threaded through rows: `lists` of them over `rows` rows, each row in at most one list.
 * Used as least-recently-refreshed orders: append at the tail, evict from the head, all O(1).
 *
 *   head[list], tail[list], length[list]   first row, last row, number of rows; −1 = empty
 *   next[row], prev[row]                   −1 at the ends
 */
export class Lists {
  readonly head: Int32Array;
  readonly tail: Int32Array;
  readonly length: Int32Array;
  private readonly next: Int32Array;
  private readonly prev: Int32Array;

  constructor(lists: number, rows: number) {
    this.head = new Int32Array(lists).fill(-1);
    this.tail = new Int32Array(lists).fill(-1);
    this.length = new Int32Array(lists);
    this.next = new Int32Array(rows);
    this.prev = new Int32Array(rows);
  }

  append(list: number, row: number): void {
    const last = this.tail[list]!;
    this.prev[row] = last;
    this.next[row] = -1;
    if (last < 0) this.head[list] = row;
    else this.next[last] = row;
    this.tail[list] = row;
    this.length[list]!++;
  }

  remove(list: number, row: number): void {
    const before = this.prev[row]!;
    const after = this.next[row]!;
    if (before < 0) this.head[list] = after;
    else this.next[before] = after;
    if (after < 0) this.tail[list] = before;
    else this.prev[after] = before;
    this.length[list]!--;
  }

  /** Moves a row to the tail of its list. */
  refresh(list: number, row: number): void {
    if (this.tail[list] === row) return;
    this.remove(list, row);
    this.append(list, row);
  }

  /** Row after `row`, or −1. */
  after(row: number): number {
    return this.next[row]!;
  }
}
