import { isPeer } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Neighbors } from '../neigh/neighbors.ts';
import type { Resolver } from '../neigh/resolver.ts';
import type { Burst } from '../packet/burst.ts';
import type { Egress } from '../packet/egress.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { deltaHalf, updateField } from '../wire/checksum.ts';
import { EtherType, writeMac } from '../wire/ethernet.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { decrementTtl, Ipv4, isHeaderSumRight, Protocol } from '../wire/ipv4.ts';
import { mayLeave } from './may-leave.ts';
import { readdress } from './readdress.ts';
import { Router6 } from './router6.ts';

/**
 * The network's gateway: what is addressed to the gateway or router MAC ends here, is routed within the network's own
 * subnets (N7, N8, N11), or leaves by its host port, where the host's kernel routes on. `receive` runs before
 * translation, on packets as their senders know them; `route` after it. IPv6 is router6.ts.
 * Limits: echo requests in fragments are not answered.
 */
export class Router {
  /** The previous packet's next hop, true within one call of `route`: a burst often has one destination. */
  private lastNetwork = -1;
  private lastAddress = 0;
  private lastRow = -1;
  readonly six: Router6;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly neighbors: Neighbors,
    private readonly resolver: Resolver,
    private readonly originator: Originator,
    private readonly egress: Egress,
  ) {
    this.six = new Router6(packets, networks, neighbors, resolver, originator, egress);
  }

  /** Answers echo requests to the gateway address and ends what cannot be routed. */
  receive(burst: Burst, now: number): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      if ((packets.flags[slot]! & Flag.TO_GATEWAY) === 0 || this.accept(slot, now)) slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** Sends what is addressed to the gateway to its next hop. Frames for others pass. */
  route(burst: Burst, now: number): void {
    const { packets } = this;
    this.lastNetwork = -1;
    this.six.forget();
    const { slots } = burst;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      if ((packets.flags[slot]! & Flag.TO_GATEWAY) === 0 || this.routeOne(slot, now)) slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** Finishes packets that waited for a neighbour as a burst of their own. */
  resume(burst: Burst): void {
    const { resumed } = this.resolver;
    burst.count = 0;
    for (let i = 0; i < resumed.count; i++) {
      const slot = resumed.slots[i]!;
      const is6 = this.packets.etherType[slot] === EtherType.IPV6;
      const row = is6 ? this.six.neighborOf(slot) : this.neighborOf(slot);
      if (row < 0) {
        this.packets.drop(slot, Drop.NEIGHBOR_FAILED);
        continue;
      }
      if (is6) this.six.sendTo(slot, row);
      else this.sendTo(slot, row);
      burst.push(slot);
    }
    resumed.count = 0;
  }

  /** @returns true when the packet goes on. */
  private accept(slot: number, now: number): boolean {
    const { packets } = this;
    const { view } = packets;
    if (packets.etherType[slot] === EtherType.IPV6) return this.six.accept(slot, now);
    if (packets.etherType[slot] !== EtherType.IPV4) {
      packets.drop(slot, Drop.GATEWAY_UNHANDLED);
      return false;
    }
    const ip = packets.l3[slot]!;
    if (ip === 0 || !isHeaderSumRight(view, ip)) {
      packets.drop(slot, Drop.BAD_IP_HEADER); // RFC 1812 §5.2.2: whose it is cannot be told, and nobody is
      return false;
    }
    const l4 = packets.l4[slot]!;
    const destination = view.getInt32(ip + Ipv4.DESTINATION);
    if (
      packets.protocol[slot] === Protocol.ICMP &&
      l4 !== 0 &&
      view.getUint16(l4) === Icmp.ECHO_REQUEST << 8 &&
      this.networks.isGateway4(packets.network[slot]!, destination)
    ) {
      this.echo(slot, ip, l4);
      return false;
    }
    return !this.isExpired(slot, ip, destination, now);
  }

  /** Is it to go further and may not (N7)? Then its sender is told, and it is dropped. */
  private isExpired(slot: number, ip: number, destination: number, now: number): boolean {
    const { packets, networks } = this;
    if (packets.view.getUint8(ip + Ipv4.TTL) > 1 || networks.isGateway4(packets.network[slot]!, destination))
      return false;
    this.originator.icmpError(slot, Icmp.TIME_EXCEEDED, 0, 0, now);
    packets.drop(slot, Drop.TTL_EXPIRED);
    return true;
  }

  private routeOne(slot: number, now: number): boolean {
    const { packets, networks } = this;
    if (packets.etherType[slot] === EtherType.IPV6) return this.six.routeOne(slot, now);
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const network = packets.network[slot]!;
    const destination = view.getInt32(ip + Ipv4.DESTINATION);
    // What was the gateway's own when it was accepted has another destination if it was translated.
    if (this.isExpired(slot, ip, destination, now)) return false;
    if (destination === this.lastAddress && network === this.lastNetwork) {
      this.sendTo(slot, this.lastRow);
      return true;
    }
    if (networks.isGateway4(network, destination)) {
      const isConnection = packets.protocol[slot] === Protocol.TCP && packets.l4[slot] !== 0;
      if (isConnection) this.originator.tcpReset(slot);
      else this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.PORT, 0, now);
      packets.drop(slot, Drop.GATEWAY_UNHANDLED);
      return false;
    }
    const hop = this.nextHop(network, destination);
    if (hop === 0 || (hop !== destination && !mayLeave(packets, networks, slot))) {
      this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.NET, 0, now);
      packets.drop(slot, Drop.NO_ROUTE);
      return false;
    }
    const row = this.resolver.resolve4(slot, hop, now);
    // Resolving may reuse rows, so only its own answer is remembered; who may leave depends on more than the address.
    this.lastNetwork = row < 0 || hop !== destination ? -1 : network;
    this.lastAddress = destination;
    this.lastRow = row;
    if (row < 0) return false;
    this.sendTo(slot, row);
    return true;
  }

  /**
   * Next hop towards an IPv4 address: itself in the network's subnets, elsewhere the host port; 0 = there is none.
   * Network and directed-broadcast addresses are nobody's.
   */
  nextHop(network: number, address: number): number {
    const { networks } = this;
    const subnet = networks.subnet4(network, address);
    if (subnet < 0)
      return networks.internal[network] === 1 || !isRoutable(address) ? 0 : networks.hostAddress4[network]!;
    const rows = networks.subnets4[network]!;
    return address === rows[subnet] || address === rows[subnet + 3] ? 0 : address;
  }

  private neighborOf(slot: number): number {
    const { packets } = this;
    const network = packets.network[slot]!;
    const address = packets.view.getInt32(packets.l3[slot]! + Ipv4.DESTINATION);
    return this.neighbors.find4(network, this.nextHop(network, address));
  }

  /** To a neighbour, one hop further (N7). */
  private sendTo(slot: number, row: number): void {
    const { packets } = this;
    decrementTtl(packets.view, packets.l3[slot]!);
    readdress(packets, this.networks, this.neighbors, slot, row);
  }

  /** Turns an echo request into its reply, in place, back to where it came from. */
  private echo(slot: number, ip: number, icmp: number): void {
    const { packets, networks } = this;
    const { view } = packets;
    const network = packets.network[slot]!;
    const start = packets.start[slot]!;
    const from = packets.source[slot]!;
    const source = view.getInt32(ip + Ipv4.SOURCE);
    view.setInt32(ip + Ipv4.SOURCE, view.getInt32(ip + Ipv4.DESTINATION));
    view.setInt32(ip + Ipv4.DESTINATION, source);
    const ttl = view.getUint16(ip + Ipv4.TTL);
    view.setUint8(ip + Ipv4.TTL, 64);
    const field = view.getUint16(ip + Ipv4.CHECKSUM);
    view.setUint16(ip + Ipv4.CHECKSUM, updateField(field, deltaHalf(ttl, view.getUint16(ip + Ipv4.TTL))));
    view.setUint8(icmp, Icmp.ECHO_REPLY);
    view.setUint16(icmp + 2, updateField(view.getUint16(icmp + 2), deltaHalf(Icmp.ECHO_REQUEST << 8, 0)));
    writeMac(view, start, packets.srcHi[slot]!, packets.srcLo[slot]!);
    const hi = isPeer(from) ? networks.routerHi[network]! : networks.gatewayHi[network]!;
    const lo = isPeer(from) ? networks.routerLo[network]! : networks.gatewayLo[network]!;
    writeMac(view, start + 6, hi, lo);
    packets.flags[slot]! &= ~Flag.TO_GATEWAY;
    this.egress.push(slot, from);
  }
}

/** Neither "this network", loopback, multicast nor reserved (RFC 1122 §3.2.1.3). */
function isRoutable(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}
