import type { Bridge } from '../bridge/bridge.ts';
import { isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Fit } from '../gateway/fit.ts';
import type { Router } from '../gateway/router.ts';
import { Way } from '../gateway/router6.ts';
import { NeighborState, type Neighbors } from '../neigh/neighbors.ts';
import type { Resolver } from '../neigh/resolver.ts';
import type { Epochs } from '../table/epochs.ts';
import { Hasher } from '../table/hash.ts';
import { GATEWAY } from '../telemetry/counters.ts';
import { EtherType, writeEthernet } from '../wire/ethernet.ts';
import { isLinkLocal, isMulticast6 } from '../wire/ipv6.ts';

/** Words of a row: two cache lines, of which IPv4 uses one. */
export const HOP_WORDS = 32;

export const enum Hop {
  NETWORK = 0,
  /** Last word of the destination. */
  ADDRESS = 1,
  EPOCH = 2,
  TO = 3,
  MTU = 4,
  DEVICE = 5,
  REMOTE = 6,
  /** The new Ethernet header as words on the wire, from two bytes before it: its source is that of A14. */
  W0 = 7,
  W1 = 8,
  W2 = 9,
  W3 = 10,
  NEIGHBOR_ROW = 11,
  TARGET_ROW = 12,
  SEEN = 13,
  /** 1: by the network's host port, to what is not on-link; not every packet may. */
  IS_OUT = 14,
  /** Words 0–2 of an IPv6 destination. */
  ADDRESS_HIGH = 16,
}

const WAYS = 4;
/** 16384 next hops, 2 MiB of which only what is used is ever backed by memory. */
const SETS = 1 << 12;

/**
 * Next hops: how a routed packet leaves, by network and destination, remembered as long as the network's epoch stands.
 * What ages or must be verified again is asked in every millisecond. Like `Paths`, bounded sets of rows. One table holds
 * destinations of one family.
 */
export class NextHops {
  readonly rows = new Int32Array(SETS * WAYS * HOP_WORDS);
  private readonly hasher: Hasher;
  private readonly header = new DataView(new ArrayBuffer(16));

  constructor(
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly bridge: Bridge,
    private readonly neighbors: Neighbors,
    private readonly resolver: Resolver,
    private readonly router: Router,
    private readonly fit: Fit,
    private readonly epochs: Epochs,
    seed: number,
  ) {
    this.hasher = new Hasher(seed);
  }

  /**
   * The row of a destination; it must be renewed unless seen at `now`.
   * @returns its offset, or −1: the tables have no such answer.
   */
  find(network: number, address: number, now: number): number {
    const { rows } = this;
    const epoch = this.epochs.of[network]!;
    const hash = this.hasher.of2(network, address);
    const set = (hash & (SETS - 1)) * (WAYS * HOP_WORDS);
    let victim = set + (hash >>> 30) * HOP_WORDS;
    for (let way = 0, row = set; way < WAYS; way++, row += HOP_WORDS) {
      const isValid = rows[row + Hop.EPOCH] === this.epochs.of[rows[row + Hop.NETWORK]!];
      if (!isValid) victim = row;
      else if (rows[row + Hop.ADDRESS] === address && rows[row + Hop.NETWORK] === network) return row;
    }
    rows[victim + Hop.EPOCH] = 0;
    if (!this.derive(victim, network, address)) return -1;
    rows[victim + Hop.EPOCH] = epoch;
    rows[victim + Hop.SEEN] = ~now;
    return victim;
  }

  /** As `find`, for an IPv6 destination. */
  find6(network: number, w0: number, w1: number, w2: number, w3: number, now: number): number {
    const { rows } = this;
    const epoch = this.epochs.of[network]!;
    const hash = this.hasher.of5(network, w0, w1, w2, w3);
    const set = (hash & (SETS - 1)) * (WAYS * HOP_WORDS);
    let victim = set + (hash >>> 30) * HOP_WORDS;
    for (let way = 0, row = set; way < WAYS; way++, row += HOP_WORDS) {
      const isValid = rows[row + Hop.EPOCH] === this.epochs.of[rows[row + Hop.NETWORK]!];
      if (!isValid) victim = row;
      else if (
        rows[row + Hop.ADDRESS] === w3 &&
        rows[row + Hop.NETWORK] === network &&
        rows[row + Hop.ADDRESS_HIGH + 2] === w2 &&
        rows[row + Hop.ADDRESS_HIGH + 1] === w1 &&
        rows[row + Hop.ADDRESS_HIGH] === w0
      ) {
        return row;
      }
    }
    rows[victim + Hop.EPOCH] = 0;
    if (!this.derive6(victim, network, w0, w1, w2, w3)) return -1;
    rows[victim + Hop.ADDRESS_HIGH] = w0;
    rows[victim + Hop.ADDRESS_HIGH + 1] = w1;
    rows[victim + Hop.ADDRESS_HIGH + 2] = w2;
    rows[victim + Hop.EPOCH] = epoch;
    rows[victim + Hop.SEEN] = ~now;
    return victim;
  }

  /** @returns false when the row must not be used at `now`: its station has aged (B5) or is to be verified (A13). */
  renew(row: number, now: number): boolean {
    const { rows } = this;
    if (this.resolver.isDue(rows[row + Hop.NEIGHBOR_ROW]!, now)) return false;
    const fdb = this.bridge.fdbs[rows[row + Hop.NETWORK]!]!;
    if (fdb.isExpired(rows[row + Hop.TARGET_ROW]!, now)) return false;
    rows[row + Hop.SEEN] = now;
    return true;
  }

  /** Forgets everything. */
  clear(): void {
    this.rows.fill(0);
  }

  private derive(row: number, network: number, address: number): boolean {
    const { rows, networks, neighbors } = this;
    const next = networks.isGateway4(network, address) ? 0 : this.router.nextHop(network, address);
    if (next === 0 || !this.write(row, network, neighbors.find4(network, next), EtherType.IPV4)) return false;
    rows[row + Hop.ADDRESS] = address;
    rows[row + Hop.IS_OUT] = next === address ? 0 : 1;
    return true;
  }

  private derive6(row: number, network: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const { rows, networks, neighbors } = this;
    const { six } = this.router;
    if (isLinkLocal(w0) || isMulticast6(w0) || networks.isGateway6(network, w0, w1, w2, w3)) return false;
    const way = six.nextHop(network, w0, w1, w2, w3);
    if (way === Way.NONE) return false;
    const { hop } = six;
    const neighbor = neighbors.find(network, hop[0]!, hop[1]!, hop[2]!, hop[3]!);
    if (!this.write(row, network, neighbor, EtherType.IPV6)) return false;
    rows[row + Hop.ADDRESS] = w3;
    rows[row + Hop.IS_OUT] = way === Way.OUT ? 1 : 0;
    return true;
  }

  /** How a packet leaves by a row of `neighbors`, if that is known. */
  private write(row: number, network: number, neighbor: number, type: EtherType): boolean {
    const { rows, networks, locations, neighbors } = this;
    if (neighbor < 0 || neighbors.state[neighbor] === NeighborState.INCOMPLETE) return false;
    const hi = neighbors.hi[neighbor]!;
    const lo = neighbors.lo[neighbor]!;
    const fdb = this.bridge.fdbs[network]!;
    const target = fdb.find(hi, lo);
    if (target < 0 || fdb.location[target]! <= GATEWAY) return false;
    const to = fdb.location[target]!;
    const isRemote = isPeer(to);
    rows[row + Hop.NETWORK] = network;
    rows[row + Hop.TO] = to;
    rows[row + Hop.MTU] = this.fit.limit(network, to);
    rows[row + Hop.DEVICE] = isRemote ? locations.deviceTo(to, network, networks) : locations.device[to]!;
    rows[row + Hop.REMOTE] = isRemote ? locations.remoteOf(to, network) : 0;
    if (rows[row + Hop.DEVICE]! < 0 || rows[row + Hop.REMOTE]! < 0) return false;
    const srcHi = (isRemote ? networks.routerHi : networks.gatewayHi)[network]!;
    const srcLo = (isRemote ? networks.routerLo : networks.gatewayLo)[network]!;
    writeEthernet(this.header, 2, hi, lo, srcHi, srcLo, type);
    for (let i = 0; i < 4; i++) rows[row + Hop.W0 + i] = this.header.getInt32(i * 4, true);
    rows[row + Hop.NEIGHBOR_ROW] = neighbor;
    rows[row + Hop.TARGET_ROW] = target;
    return true;
  }
}
