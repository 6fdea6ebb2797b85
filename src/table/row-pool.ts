/** Free row numbers of a table. Fresh rows are handed out in order first, so untouched memory stays untouched. */
export class RowPool {
  private readonly freed: Int32Array;
  private freedCount = 0;
  private fresh = 0;

  constructor(readonly capacity: number) {
    this.freed = new Int32Array(capacity);
  }

  get used(): number {
    return this.fresh - this.freedCount;
  }

  /** One past the highest row ever used: the bound of a scan. */
  get extent(): number {
    return this.fresh;
  }

  /** @returns a row, or −1 when all are used. */
  take(): number {
    if (this.freedCount > 0) return this.freed[--this.freedCount]!;
    return this.fresh < this.capacity ? this.fresh++ : -1;
  }

  give(row: number): void {
    this.freed[this.freedCount++] = row;
  }
}
