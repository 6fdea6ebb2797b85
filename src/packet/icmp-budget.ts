/** Rate of ICMP errors (N10): 1000 per second with bursts of 50 in all, one per second and destination. */
const RATE_PER_MS = 1;
const BURST_ERRORS = 50;
const DESTINATION_MS = 1000;
const DESTINATIONS = 1024;

/**
 * A token bucket, and a direct-mapped memory of whom we last answered: a collision forgets a destination, which
 * errs towards answering and stays within the bucket.
 */
export class IcmpBudget {
  /** [tokens, ms of the last refill] */
  private readonly bucket = Float64Array.of(BURST_ERRORS, 0);
  /** Four words each. */
  private readonly address = new Int32Array(DESTINATIONS * 4);
  private readonly network = new Int32Array(DESTINATIONS).fill(-1);
  private readonly stamp = new Int32Array(DESTINATIONS);
  suppressed = 0;

  /** @param limited false for "packet too big", which is not limited per destination. */
  take(
    network: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    limited: boolean,
    now: number,
  ): boolean {
    const { bucket, address } = this;
    const elapsed = (now - bucket[1]!) | 0;
    bucket[0] = Math.min(BURST_ERRORS, bucket[0]! + Math.max(0, elapsed) * RATE_PER_MS);
    bucket[1] = now;
    const at = (Math.imul(w0 ^ w1 ^ w2 ^ w3, 0x9e3779b1) >>> 16) & (DESTINATIONS - 1);
    const isRecent =
      address[at * 4 + 3] === w3 &&
      address[at * 4 + 2] === w2 &&
      address[at * 4 + 1] === w1 &&
      address[at * 4] === w0 &&
      this.network[at] === network &&
      (now - this.stamp[at]!) >>> 0 < DESTINATION_MS;
    if (bucket[0]! < 1 || (limited && isRecent)) {
      this.suppressed++;
      return false;
    }
    bucket[0]!--;
    if (limited) {
      address[at * 4] = w0;
      address[at * 4 + 1] = w1;
      address[at * 4 + 2] = w2;
      address[at * 4 + 3] = w3;
      this.network[at] = network;
      this.stamp[at] = now;
    }
    return true;
  }
}
