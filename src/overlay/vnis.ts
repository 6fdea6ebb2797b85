import { DEVICES } from '../card/layout.ts';

/** (underlay device, VNI) → network id: a VNI configured on another UDP port does not match (V21). */
export class Vnis {
  /** Per underlay device, pairs (VNI, network) sorted by VNI. */
  private readonly pairs: Int32Array[] = Array.from({ length: DEVICES }, () => new Int32Array(0));

  rebuild(
    entries: readonly { readonly device: number; readonly vni: number; readonly network: number }[],
  ): void {
    this.pairs.fill(new Int32Array(0));
    for (const device of new Set(entries.map((entry) => entry.device))) {
      const mine = entries.filter((entry) => entry.device === device).sort((a, b) => a.vni - b.vni);
      this.pairs[device] = Int32Array.from(mine.flatMap((entry) => [entry.vni, entry.network]));
    }
  }

  /** Does the device carry tunnels? */
  isUnderlay(device: number): boolean {
    return this.pairs[device]!.length > 0;
  }

  /** @returns the network id, or −1. At most 256 networks: a binary search of ≤ 8 steps. */
  find(device: number, vni: number): number {
    const pairs = this.pairs[device]!;
    let low = 0;
    let high = pairs.length >> 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[middle * 2]! < vni) low = middle + 1;
      else high = middle;
    }
    return low * 2 < pairs.length && pairs[low * 2] === vni ? pairs[low * 2 + 1]! : -1;
  }
}
