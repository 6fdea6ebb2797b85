import type { Address } from '../dataplane/config.ts';
import type { Originator } from '../packet/originate.ts';
import { ARP_REQUEST } from '../wire/arp.ts';

const ANNOUNCEMENTS = 3;
const INTERVAL_MS = 1000;
const MAX_PENDING = 4096;
const ROW = 9;
/** Well below what the egress list leaves to floods (bridge/forward.ts). */
const COPIES_PER_TURN = 1024;

/**
 * Gratuitous ARP and unsolicited advertisements after an attach (A15): three per address, a second apart, from the
 * port's own MAC (K8, K9).
 */
export class Announcer {
  /** Rows of 9 words: network, MAC hi, MAC lo, address 0–3, times left, ms of the next one. */
  private readonly rows = new Int32Array(MAX_PENDING * ROW);
  private count = 0;
  private cursor = 0;
  private behind = false;

  constructor(private readonly originator: Originator) {}

  /** Announces an address from the next turn on; beyond MAX_PENDING at once it is left to ordinary questions. */
  announce(network: number, hi: number, lo: number, address: Address, now: number): void {
    if (this.count >= MAX_PENDING) return;
    this.rows.set([network, hi, lo, ...address, ANNOUNCEMENTS, now], this.count * ROW);
    this.count++;
  }

  /** Forgets what is left to say for a MAC of a network. */
  cancel(network: number, hi: number, lo: number): void {
    const { rows } = this;
    for (let i = this.count - 1; i >= 0; i--) {
      if (rows[i * ROW] === network && rows[i * ROW + 1] === hi && rows[i * ROW + 2] === lo) this.remove(i);
    }
  }

  /** Is an announcement due that found no room yet? */
  get isBehind(): boolean {
    return this.behind;
  }

  /**
   * Sends what is due, as many floods per turn as the egress list surely has room for; the rest comes next turn.
   * @param members largest number of copies one flood can take.
   */
  maintain(now: number, members: number): void {
    const { rows } = this;
    let room = Math.max(1, Math.floor(COPIES_PER_TURN / Math.max(1, members)));
    this.behind = false;
    for (let left = this.count; left > 0; left--) {
      if (--this.cursor < 0) this.cursor = this.count - 1;
      const row = this.cursor * ROW;
      if (((now - rows[row + 8]!) | 0) < 0) continue;
      if (room-- === 0 || !this.say(row)) {
        this.behind = true;
        this.cursor++;
        return;
      }
      rows[row + 7]!--;
      rows[row + 8] = (now + INTERVAL_MS) | 0;
      if (rows[row + 7] === 0) this.remove(this.cursor);
    }
  }

  private say(row: number): boolean {
    const { rows } = this;
    const hi = rows[row + 1]!;
    const lo = rows[row + 2]!;
    const w0 = rows[row + 3]!;
    const w1 = rows[row + 4]!;
    const w2 = rows[row + 5]!;
    const w3 = rows[row + 6]!;
    const { originator } = this;
    const is4 = w2 === 0xffff && (w0 | w1) === 0;
    if (!is4) return originator.six.announce(rows[row]!, hi, lo, w0, w1, w2, w3);
    return originator.arp(rows[row]!, -1, ARP_REQUEST, 0xffff, -1, hi, lo, w3, 0, 0, w3);
  }

  private remove(i: number): void {
    this.count--;
    this.rows.copyWithin(i * ROW, this.count * ROW, (this.count + 1) * ROW);
  }
}
