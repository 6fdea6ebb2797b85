import type { PeerConfig } from '../dataplane/config.ts';
import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';

/** Outer source address → peer, rebuilt when peers change. Linear probing over rows of 5 words (address, peer). */
export class PeerAddresses {
  private index = new HashIndex(4);
  private rows = new Int32Array(0);

  private readonly hasher: Hasher;

  constructor(seed: number) {
    this.hasher = new Hasher(seed);
  }

  rebuild(peers: Iterable<PeerConfig>): void {
    const rows: number[] = [];
    for (const peer of peers) for (const address of peer.addresses) rows.push(...address, peer.id);
    this.rows = Int32Array.from(rows);
    this.index = new HashIndex(Math.max(4, rows.length / 5));
    for (let row = 0; row * 5 < rows.length; row++) {
      this.index.insert(
        this.hash(rows[row * 5]!, rows[row * 5 + 1]!, rows[row * 5 + 2]!, rows[row * 5 + 3]!),
        row,
      );
    }
  }

  /** @returns the peer's location, or −1. */
  find(w0: number, w1: number, w2: number, w3: number): number {
    const { rows } = this;
    const hash = this.hash(w0, w1, w2, w3);
    const { entries, mask } = this.index;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const row = entries[at]! - 1;
      if (row < 0) return -1;
      const key = row * 5;
      if (
        entries[at + 1] === hash &&
        rows[key + 3] === w3 &&
        rows[key + 2] === w2 &&
        rows[key + 1] === w1 &&
        rows[key] === w0
      ) {
        return rows[key + 4]!;
      }
    }
  }

  private hash(w0: number, w1: number, w2: number, w3: number): number {
    return this.hasher.of4(w0, w1, w2, w3);
  }
}
