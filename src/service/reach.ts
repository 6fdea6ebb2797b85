import { finish } from '../table/hash.ts';
import type { Chooser } from './choice/chooser.ts';
import { BACKEND_WORDS } from './record.ts';
import type { EndpointSet, Services } from './services.ts';
import type { SourceNat } from './snat.ts';

/** Endpoints asked one after the other before what was found earlier is looked at. */
const SHORT = 16;
/** Longer runs of endpoints nobody reaches that are remembered: for so many sets and networks, 24 bytes each. */
const RUNS = 1024;

/**
 * Which endpoint of a set takes a flow whose own cannot be reached from the client's network: the next one that can.
 *
 * A walk to it is as long as the run of those that cannot; where nobody can be reached, as long as the set. So a run is
 * remembered, and the next walk that meets it goes past it at once (S25).
 *
 *   row   direct-mapped · set: service × 2 + set, network · version of the service, fabric: as of which change
 *         from, count: a run, round the end of the set if need be
 */
export class Reach {
  private readonly set = new Int32Array(RUNS);
  private readonly network = new Int32Array(RUNS).fill(-1);
  private readonly version = new Int32Array(RUNS);
  private readonly fabric = new Int32Array(RUNS);
  private readonly from = new Int32Array(RUNS);
  private readonly count = new Int32Array(RUNS);
  /** Number of the latest change of networks and ports. */
  private clock = 0;

  constructor(
    private readonly services: Services,
    private readonly chooser: Chooser,
    private readonly nat: SourceNat,
  ) {}

  /** To be called when networks or ports changed. */
  fabricChanged(): void {
    this.clock = (this.clock + 1) | 0;
  }

  /** From the endpoint at `picked` on, the first that takes new flows and can be reached. @returns its index, or −1 */
  find(service: number, set: EndpointSet, network: number, picked: number): number {
    const size = this.services.size(service, set);
    const most = Math.min(size, SHORT);
    for (let tries = 0, index = picked; tries < most; tries++) {
      if (this.isTaking(service, set, network, index)) return index;
      index = index + 1 === size ? 0 : index + 1;
    }
    return size <= SHORT ? -1 : this.walk(service, set, network, picked, size);
  }

  /** The same, behind the first `SHORT` of them. */
  private walk(service: number, set: EndpointSet, network: number, picked: number, size: number): number {
    const row = this.row(service, set, network);
    const from = this.from[row]!;
    const count = this.count[row]!;
    const ahead = (picked - from + size) % size;
    const isInside = ahead < count;
    let passed = isInside ? count - ahead : SHORT;
    let index = (picked + passed) % size;
    while (passed < size) {
      const into = (index - from + size) % size;
      const step = into < count ? count - into : 1;
      if (step === 1 && this.isTaking(service, set, network, index)) break;
      passed += step;
      index = (index + step) % size;
    }
    this.from[row] = isInside ? from : picked;
    this.count[row] = Math.min(size, isInside ? ahead + passed : passed);
    return passed < size ? index : -1;
  }

  /** The row of a set and a network; empty when it was another's, or is out of date. */
  private row(service: number, set: EndpointSet, network: number): number {
    const key = service * 2 + set;
    const row = finish(key ^ (network << 24)) & (RUNS - 1);
    const version = this.chooser.versionOf(service);
    const isKnown =
      this.set[row] === key &&
      this.network[row] === network &&
      this.version[row] === version &&
      this.fabric[row] === this.clock;
    if (isKnown) return row;
    this.set[row] = key;
    this.network[row] = network;
    this.version[row] = version;
    this.fabric[row] = this.clock;
    this.from[row] = 0;
    this.count[row] = 0;
    return row;
  }

  private isTaking(service: number, set: EndpointSet, network: number, index: number): boolean {
    const words = this.services.words(service);
    const at = this.services.first(service, set) + index * BACKEND_WORDS;
    return words[at + 4]! >>> 16 !== 0 && this.nat.isReachable(network, words, at);
  }
}
