import { isPeer } from '../fabric/locations.ts';
import type { Locator } from '../fabric/locator.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import type { Originator } from '../packet/originate.ts';
import { isUnspecified } from '../packet/originate6.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { isNeighborDiscovery } from '../packet/parse.ts';
import { GATEWAY } from '../telemetry/counters.ts';
import { GROUP_BIT, isValidSource } from '../wire/ethernet.ts';
import { Icmpv6 } from '../wire/icmpv6.ts';
import { IPV6_BYTES, Ipv6 } from '../wire/ipv6.ts';
import { findLinkAddress, Nd, NdFlag, NdOption } from '../wire/nd.ts';
import { NeighborState, type Neighbors } from './neighbors.ts';
import { isRouterLink } from './own-address.ts';
import type { Resolver } from './resolver.ts';

/**
 * Neighbour discovery as ArpResponder does ARP: answers for the gateway (A3), answers for stations behind tunnels (A5),
 * and learns bindings (A11). What comes here is valid and no lie (nd-guard.ts).
 */
export class NdResponder {
  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly neighbors: Neighbors,
    private readonly resolver: Resolver,
    private readonly originator: Originator,
    private readonly locator: Locator,
  ) {}

  run(burst: Burst, now: number): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      if (isNeighborDiscovery(packets, slot) && this.handle(slot, now)) packets.consume(slot);
      else slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** @returns true when the frame ends here. */
  private handle(slot: number, now: number): boolean {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const icmp = packets.l4[slot]!;
    const type = view.getUint8(icmp);
    const toGateway = (packets.flags[slot]! & Flag.TO_GATEWAY) !== 0;
    if (type === Icmpv6.NEIGHBOR_SOLICITATION) {
      const isProbe = isUnspecified(view, ip + Ipv6.SOURCE);
      const link = this.linkOption(slot, NdOption.SOURCE_LINK);
      if (!isProbe && link !== 0) this.snoop(slot, ip + Ipv6.SOURCE, link, true, now);
      return this.answer(slot, isProbe, now) || toGateway;
    }
    if (type === Icmpv6.NEIGHBOR_ADVERTISEMENT) {
      const link = this.linkOption(slot, NdOption.TARGET_LINK);
      const overrides = (view.getUint8(icmp + Nd.FLAGS) & NdFlag.OVERRIDE) !== 0;
      if (link !== 0) this.snoop(slot, icmp + Nd.TARGET, link, overrides, now);
      else this.confirm(slot, icmp + Nd.TARGET, now);
    }
    return toGateway;
  }

  /** @returns true when the question was answered here. */
  private answer(slot: number, isProbe: boolean, now: number): boolean {
    const { packets, networks } = this;
    const { view } = packets;
    const network = packets.network[slot]!;
    const target = packets.l4[slot]! + Nd.TARGET;
    const w0 = view.getInt32(target);
    const w1 = view.getInt32(target + 4);
    const w2 = view.getInt32(target + 8);
    const w3 = view.getInt32(target + 12);
    const { six } = this.originator;
    if (networks.isGateway6(network, w0, w1, w2, w3)) {
      six.advertise(slot, networks.gatewayHi[network]!, networks.gatewayLo[network]!, NdFlag.ROUTER);
      return true;
    }
    if (isRouterLink(networks, network, w0, w1, w2, w3)) {
      six.advertise(slot, networks.routerHi[network]!, networks.routerLo[network]!, NdFlag.ROUTER);
      return true;
    }
    const isQuestion = !isProbe && (packets.dstHi[slot]! & GROUP_BIT) !== 0; // A6, A7
    if (!isQuestion || networks.suppressArp[network] === 0) return false;
    return this.suppress(slot, this.neighbors.find(network, w0, w1, w2, w3), now);
  }

  /** A5: a known station behind a tunnel is answered for; one on a local port keeps the question local. */
  private suppress(slot: number, row: number, now: number): boolean {
    const { packets, neighbors } = this;
    if (row < 0 || neighbors.state[row] === NeighborState.INCOMPLETE) return false;
    const hi = neighbors.hi[row]!;
    const lo = neighbors.lo[row]!;
    const location = this.locator.locate(packets.network[slot]!, hi, lo, now);
    if (location <= GATEWAY) return false;
    if (!isPeer(location)) {
      packets.flags[slot]! |= Flag.LOCAL_ONLY;
      return false;
    }
    if (isPeer(packets.source[slot]!)) return false;
    this.originator.six.advertise(slot, hi, lo, 0);
    return true;
  }

  /**
   * The address at `at` is at the MAC at `link`. An advertisement that does not override leaves another MAC where it
   * is (RFC 4861 §7.2.5).
   */
  private snoop(slot: number, at: number, link: number, overrides: boolean, now: number): void {
    const { packets, networks, neighbors } = this;
    const { view } = packets;
    const network = packets.network[slot]!;
    const hi = view.getUint16(link);
    const lo = view.getInt32(link + 2);
    if (!isValidSource(hi, lo) || networks.isRouterMac(network, hi, lo)) return;
    const w0 = view.getInt32(at);
    const w1 = view.getInt32(at + 4);
    const w2 = view.getInt32(at + 8);
    const w3 = view.getInt32(at + 12);
    if (!overrides) {
      const row = neighbors.find(network, w0, w1, w2, w3);
      const isKnown = row >= 0 && neighbors.state[row] !== NeighborState.INCOMPLETE;
      if (isKnown && (neighbors.hi[row] !== hi || neighbors.lo[row] !== lo)) return;
    }
    const mayCreate = networks.subnet6(network, w0, w1, w2, w3) >= 0;
    const row = neighbors.learn(network, w0, w1, w2, w3, hi, lo, now, mayCreate);
    if (row >= 0) this.resolver.release(row);
  }

  /** An answer that names no MAC, as Linux gives to a unicast question, confirms the one that is known (A13). */
  private confirm(slot: number, target: number, now: number): void {
    const { packets, neighbors } = this;
    const { view } = packets;
    const network = packets.network[slot]!;
    const w0 = view.getInt32(target);
    const w1 = view.getInt32(target + 4);
    const w2 = view.getInt32(target + 8);
    const w3 = view.getInt32(target + 12);
    const row = neighbors.find(network, w0, w1, w2, w3);
    if (row < 0 || neighbors.state[row] === NeighborState.INCOMPLETE) return;
    const hi = packets.srcHi[slot]!;
    const lo = packets.srcLo[slot]!;
    if (neighbors.hi[row] !== hi || neighbors.lo[row] !== lo) return;
    neighbors.learn(network, w0, w1, w2, w3, hi, lo, now, false);
  }

  private linkOption(slot: number, kind: NdOption): number {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const end = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
    return findLinkAddress(view, packets.l4[slot]! + Nd.OPTIONS, end, kind);
  }
}
