import type { Originator } from '../packet/originate.ts';
import { ARP_REQUEST } from '../wire/arp.ts';

const ANNOUNCEMENTS = 3;
const INTERVAL_MS = 1000;
const MAX_PENDING = 4096;

/** Gratuitous ARP after an attach (A15): three per address, a second apart, from the port's own MAC (K8). */
export class Announcer {
  /** Rows of 6 words: network, MAC hi, MAC lo, address, times left, ms of the next one. */
  private readonly rows = new Int32Array(MAX_PENDING * 6);
  private count = 0;

  constructor(private readonly originator: Originator) {}

  /** Announces an IPv4 address from the next turn on; beyond MAX_PENDING at once it is left to ordinary ARP. */
  announce(network: number, hi: number, lo: number, address: number, now: number): void {
    if (this.count >= MAX_PENDING) return;
    this.rows.set([network, hi, lo, address, ANNOUNCEMENTS, now], this.count * 6);
    this.count++;
  }

  /** Forgets what is left to say for a MAC of a network. */
  cancel(network: number, hi: number, lo: number): void {
    const { rows } = this;
    for (let i = this.count - 1; i >= 0; i--) {
      if (rows[i * 6] === network && rows[i * 6 + 1] === hi && rows[i * 6 + 2] === lo) this.remove(i);
    }
  }

  maintain(now: number): void {
    const { rows } = this;
    for (let i = this.count - 1; i >= 0; i--) {
      const row = i * 6;
      if (((now - rows[row + 5]!) | 0) < 0) continue;
      const hi = rows[row + 1]!;
      const lo = rows[row + 2]!;
      const address = rows[row + 3]!;
      this.originator.arp(rows[row]!, -1, ARP_REQUEST, 0xffff, -1, hi, lo, address, 0, 0, address);
      rows[row + 4]!--;
      rows[row + 5] = now + INTERVAL_MS;
      if (rows[row + 4] === 0) this.remove(i);
    }
  }

  private remove(i: number): void {
    this.count--;
    this.rows.copyWithin(i * 6, this.count * 6, this.count * 6 + 6);
  }
}
