import type { Networks } from '../fabric/networks.ts';
import { Burst } from '../packet/burst.ts';
import type { Originator } from '../packet/originate.ts';
import type { Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { ARP_REQUEST } from '../wire/arp.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { NeighborState, type Neighbors } from './neighbors.ts';

/** A13. */
const RETRY_MS = 1000;
const MAX_TRIES = 3;
const VERIFY_MIN_MS = 15_000;
const VERIFY_SPREAD_MS = 30_000;
/** Rows asked again per turn: bounds the work, and the size of a burst of requests. */
const RETRIES_PER_TURN = 64;

/**
 * Finds next-hop MACs for the router: from the table, or by asking while the packet waits.
 *
 * Requests carry the host's router MAC and sender 0.0.0.0 (A14), in IPv6 its link-local address: a reply to the anycast
 * gateway MAC would end at the answerer's own host, and the gateway as sender would poison the caches of pods.
 */
export class Resolver {
  /** Packets whose neighbour has become known, to be finished by the router. */
  readonly resumed = new Burst(256);

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly neighbors: Neighbors,
    private readonly originator: Originator,
  ) {}

  /** As `resolve`, for an IPv4 address. */
  resolve4(slot: number, address: number, now: number): number {
    return this.resolve(slot, 0, 0, 0xffff, address, now);
  }

  /** @returns a row of `neighbors` whose MAC may be used now, or −1: the packet waits or was dropped. */
  resolve(slot: number, w0: number, w1: number, w2: number, w3: number, now: number): number {
    const { neighbors } = this;
    const network = this.packets.network[slot]!;
    let row = neighbors.find(network, w0, w1, w2, w3);
    if (row >= 0 && neighbors.state[row] !== NeighborState.INCOMPLETE) {
      if (this.isDue(row, now)) {
        neighbors.startProbing(row, now);
        this.ask(row);
      }
      return row;
    }
    if (row < 0) {
      const victim = neighbors.askVictim(network);
      if (victim >= 0) this.fail(victim, now);
      row = neighbors.startAsking(network, w0, w1, w2, w3, now);
      if (row < 0) {
        this.packets.drop(slot, Drop.NEIGHBOR_PENDING_FULL);
        return -1;
      }
      this.ask(row);
    }
    this.packets.countHeld(slot, 1);
    const evicted = neighbors.hold(row, slot);
    if (evicted >= 0) {
      this.packets.countHeld(evicted, -1);
      this.packets.drop(evicted, Drop.NEIGHBOR_PENDING_FULL);
    }
    return -1;
  }

  /** Moves a row's waiting packets to `resumed`. */
  release(row: number): void {
    for (let slot = this.neighbors.takeHeld(row); slot >= 0; slot = this.neighbors.takeHeld(row)) {
      this.packets.countHeld(slot, -1);
      this.resumed.push(slot);
    }
  }

  /** Repeats requests that are a second old; gives up after three. */
  maintain(now: number): void {
    const { neighbors } = this;
    for (let i = 0; i < RETRIES_PER_TURN; i++) {
      const row = neighbors.oldestAsking();
      if (row < 0 || ((now - neighbors.stamp[row]!) | 0) < RETRY_MS) return;
      if (neighbors.tries[row]! < MAX_TRIES) {
        neighbors.askedAgain(row, now);
        this.ask(row);
      } else {
        this.fail(row, now);
      }
    }
  }

  /** Drops the packets of a location that is going away, wherever they wait; nobody is there to be told. Cold. */
  abandon(location: number): void {
    const { neighbors, packets } = this;
    for (let row = 0; row < neighbors.extent; row++) {
      for (let left = neighbors.heldAt(row); left > 0; left--) {
        const slot = neighbors.takeHeld(row);
        if (packets.source[slot] !== location) {
          neighbors.hold(row, slot);
          continue;
        }
        packets.countHeld(slot, -1);
        packets.drop(slot, Drop.NEIGHBOR_FAILED);
      }
    }
    let kept = 0;
    const { resumed } = this;
    for (let i = 0; i < resumed.count; i++) {
      const slot = resumed.slots[i]!;
      if (packets.source[slot] === location) packets.drop(slot, Drop.NEIGHBOR_FAILED);
      else resumed.slots[kept++] = slot;
    }
    resumed.count = kept;
  }

  /** Drops a row's waiting packets with an answer to their senders and forgets it. */
  fail(row: number, now: number): void {
    for (let slot = this.neighbors.takeHeld(row); slot >= 0; slot = this.neighbors.takeHeld(row)) {
      this.packets.countHeld(slot, -1);
      this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.HOST, 0, now);
      this.packets.drop(slot, Drop.NEIGHBOR_FAILED);
    }
    this.neighbors.erase(row);
  }

  /**
   * Must a known MAC be verified (A13)? At an age between 15 and 45 s, spread by row so that not all fall due at once.
   */
  isDue(row: number, now: number): boolean {
    if (this.neighbors.state[row] !== NeighborState.REACHABLE) return false;
    const age = (now - this.neighbors.stamp[row]!) >>> 0;
    return age >= VERIFY_MIN_MS + ((Math.imul(row, 0x9e3779b1) >>> 8) % VERIFY_SPREAD_MS);
  }

  private ask(row: number): void {
    const { neighbors, networks } = this;
    const network = neighbors.network(row);
    const isKnown = neighbors.state[row] === NeighborState.PROBING;
    if (!neighbors.is4(row)) {
      this.originator.six.solicit(
        network,
        neighbors.address(row, 0),
        neighbors.address(row, 1),
        neighbors.address(row, 2),
        neighbors.address(row, 3),
        isKnown,
        neighbors.hi[row]!,
        neighbors.lo[row]!,
      );
      return;
    }
    this.originator.arp(
      network,
      -1,
      ARP_REQUEST,
      isKnown ? neighbors.hi[row]! : 0xffff,
      isKnown ? neighbors.lo[row]! : -1,
      networks.routerHi[network]!,
      networks.routerLo[network]!,
      0,
      0,
      0,
      neighbors.address(row, 3),
    );
  }
}
