import type { NetworkConfig } from '../dataplane/config.ts';
import type { Locator } from '../fabric/locator.ts';
import { NETWORKS } from '../fabric/networks.ts';
import type { Epochs } from '../table/epochs.ts';
import { GATEWAY } from '../telemetry/counters.ts';
import { Fdb, FdbKind } from './fdb.ts';

/** The FDBs of all networks: a MAC of one is unknown to every other (B17). */
export class Bridge implements Locator {
  /** Indexed by network id; a network that does not exist has a table of ten entries that nothing reaches. */
  readonly fdbs: Fdb[];
  /** Ids of the networks there are. */
  private existing: number[] = [];

  constructor(
    private readonly seed: number,
    private readonly epochs: Epochs,
  ) {
    const none = new Fdb(10, 0, seed);
    this.fdbs = new Array<Fdb>(NETWORKS).fill(none);
  }

  setNetwork(config: NetworkConfig, existed: boolean, now: number): void {
    const old = this.fdbs[config.id]!;
    let fdb = old;
    if (!existed) fdb = new Fdb(config.maxEntries, config.ageing, this.seed, this.epochs, config.id);
    else if (old.maxEntries !== config.maxEntries) fdb = old.resized(config.maxEntries, config.ageing, now);
    fdb.setAgeing(config.ageing, now);
    if (!existed) this.existing.push(config.id);
    this.fdbs[config.id] = fdb;
    fdb.flush(GATEWAY);
    fdb.setStatic(config.gatewayMac.hi, config.gatewayMac.lo, GATEWAY, FdbKind.LOCAL);
    fdb.setStatic(config.routerMac.hi, config.routerMac.lo, GATEWAY, FdbKind.LOCAL);
  }

  removeNetwork(id: number): void {
    this.existing = this.existing.filter((other) => other !== id);
    this.fdbs[id] = new Fdb(10, 0, this.seed);
  }

  locate(network: number, hi: number, lo: number, now: number): number {
    return this.fdbs[network]!.locate(hi, lo, now);
  }

  /** Learned entries that made room for others, in all networks (B10). */
  get evictions(): number {
    let sum = 0;
    for (let i = 0; i < this.existing.length; i++) sum += this.fdbs[this.existing[i]!]!.evictions;
    return sum;
  }

  /** Called ten times a second: a fiftieth of every table, so that an expired row is gone within 5 s (B5). */
  maintain(now: number): void {
    for (let i = 0; i < this.existing.length; i++) {
      const fdb = this.fdbs[this.existing[i]!]!;
      fdb.sweep(now, (fdb.extent / 50 + 1) | 0);
    }
  }
}
