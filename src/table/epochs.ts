/**
 * One number per network that changes whenever an answer remembered from its tables might no longer hold: whoever
 * remembers one notes the number, and asks again when it differs. Bumping is one addition, however much is remembered.
 */
export class Epochs {
  /** Never 0, so that 0 marks what was never remembered. */
  readonly of: Int32Array;
  /** A number came round to where it began: forget everything, then clear this. */
  wrapped = false;

  constructor(networks: number) {
    this.of = new Int32Array(networks).fill(1);
  }

  bump(network: number): void {
    const next = (this.of[network]! + 1) | 0;
    this.of[network] = next === 0 ? 1 : next;
    if (next === 0) this.wrapped = true;
  }

  bumpAll(): void {
    for (let network = 0; network < this.of.length; network++) this.bump(network);
  }
}
