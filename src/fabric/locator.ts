/** Where a station is: answered by the bridge, asked by stages that must not know it. */
export interface Locator {
  /** @returns the location behind which the MAC of this network was last heard, or −1. Refreshes nothing (B3). */
  locate(network: number, hi: number, lo: number, now: number): number;
}
