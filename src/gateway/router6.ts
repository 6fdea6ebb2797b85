import { isPeer } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Neighbors } from '../neigh/neighbors.ts';
import type { Resolver } from '../neigh/resolver.ts';
import type { Egress } from '../packet/egress.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { deltaHalf, updateField } from '../wire/checksum.ts';
import { writeMac } from '../wire/ethernet.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { Icmpv6, Unreachable6 } from '../wire/icmpv6.ts';
import { Protocol } from '../wire/ipv4.ts';
import { copyAddress, Ipv6, isLinkLocal, isMulticast6, writeAddress } from '../wire/ipv6.ts';
import { mayLeave } from './may-leave.ts';
import { readdress } from './readdress.ts';

const HOP_LIMIT = 64;

/** How a packet goes on from the gateway. */
export const enum Way {
  NONE = 0,
  ON_LINK = 1,
  /** By the network's host port. */
  OUT = 2,
}

/** The gateway's IPv6 half: what router.ts does, by the rules of RFC 8200 and RFC 4443. */
export class Router6 {
  /** The previous packet's next hop, true within one call of `route`. */
  private lastNetwork = -1;
  private readonly last = new Int32Array(4);
  private lastRow = -1;
  /** Of the last call of `nextHop`. */
  readonly hop = new Int32Array(4);

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly neighbors: Neighbors,
    private readonly resolver: Resolver,
    private readonly originator: Originator,
    private readonly egress: Egress,
  ) {}

  /** Before a burst is routed. */
  forget(): void {
    this.lastNetwork = -1;
  }

  /** @returns true when the packet goes on to be translated and routed. */
  accept(slot: number, now: number): boolean {
    const { packets, networks } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    if (ip === 0 || (packets.flags[slot]! & Flag.BAD_IP) !== 0) {
      packets.drop(slot, Drop.BAD_IP_HEADER);
      return false;
    }
    const l4 = packets.l4[slot]!;
    const network = packets.network[slot]!;
    const to = ip + Ipv6.DESTINATION;
    const isForGateway = networks.isGateway6(
      network,
      view.getInt32(to),
      view.getInt32(to + 4),
      view.getInt32(to + 8),
      view.getInt32(to + 12),
    );
    const isEcho = packets.protocol[slot] === Protocol.ICMPV6 && l4 !== 0;
    if (isForGateway && isEcho && view.getUint16(l4) === Icmpv6.ECHO_REQUEST << 8) {
      this.echo(slot, ip, l4);
      return false;
    }
    return isForGateway || !this.isExpired(slot, ip, now);
  }

  /** May it go no further (N7)? Then its sender is told, and it is dropped. */
  private isExpired(slot: number, ip: number, now: number): boolean {
    const { packets } = this;
    if (packets.view.getUint8(ip + Ipv6.HOP_LIMIT) > 1) return false;
    this.originator.icmpError(slot, Icmp.TIME_EXCEEDED, 0, 0, now);
    packets.drop(slot, Drop.TTL_EXPIRED);
    return true;
  }

  /** @returns true when the packet goes on to its next hop. */
  routeOne(slot: number, now: number): boolean {
    const { packets, networks, last } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const network = packets.network[slot]!;
    const to = ip + Ipv6.DESTINATION;
    const w0 = view.getInt32(to);
    const w1 = view.getInt32(to + 4);
    const w2 = view.getInt32(to + 8);
    const w3 = view.getInt32(to + 12);
    const isLast = w3 === last[3] && w2 === last[2] && w1 === last[1] && w0 === last[0];
    const isForGateway = networks.isGateway6(network, w0, w1, w2, w3);
    // What was the gateway's own when it was accepted has another destination if it was translated.
    if (!isForGateway && this.isExpired(slot, ip, now)) return false;
    if (isLast && network === this.lastNetwork && !isLinkLocal(view.getInt32(ip + Ipv6.SOURCE))) {
      this.sendTo(slot, this.lastRow);
      return true;
    }
    if (isForGateway) {
      const isConnection = packets.protocol[slot] === Protocol.TCP && packets.l4[slot] !== 0;
      if (isConnection) this.originator.tcpReset(slot);
      else this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.PORT, 0, now);
      packets.drop(slot, Drop.GATEWAY_UNHANDLED);
      return false;
    }
    if (this.isOfOneLink(ip, w0)) return this.refuse(slot, Unreachable6.BEYOND_SCOPE, now);
    const way = this.nextHop(network, w0, w1, w2, w3);
    const { hop } = this;
    if (way === Way.NONE || (way === Way.OUT && !mayLeave(packets, networks, slot))) {
      return this.refuse(slot, Unreachable6.NO_ROUTE, now);
    }
    const row = this.resolver.resolve(slot, hop[0]!, hop[1]!, hop[2]!, hop[3]!, now);
    // Resolving may reuse rows, so only its own answer is remembered; who may leave depends on more than the address.
    this.lastNetwork = row < 0 || way === Way.OUT ? -1 : network;
    last[0] = w0;
    last[1] = w1;
    last[2] = w2;
    last[3] = w3;
    this.lastRow = row;
    if (row < 0) return false;
    this.sendTo(slot, row);
    return true;
  }

  private refuse(slot: number, code: Unreachable6, now: number): boolean {
    this.originator.six.complain(slot, Icmpv6.UNREACHABLE, code, 0, now);
    this.packets.drop(slot, Drop.NO_ROUTE);
    return false;
  }

  /** Row of `neighbors` for the next hop of a packet, or −1. */
  neighborOf(slot: number): number {
    const { packets, hop } = this;
    const { view } = packets;
    const network = packets.network[slot]!;
    const to = packets.l3[slot]! + Ipv6.DESTINATION;
    const way = this.nextHop(
      network,
      view.getInt32(to),
      view.getInt32(to + 4),
      view.getInt32(to + 8),
      view.getInt32(to + 12),
    );
    return way === Way.NONE ? -1 : this.neighbors.find(network, hop[0]!, hop[1]!, hop[2]!, hop[3]!);
  }

  /** To a neighbour, one hop further (N7). */
  sendTo(slot: number, row: number): void {
    const { packets } = this;
    const hop = packets.l3[slot]! + Ipv6.HOP_LIMIT;
    packets.view.setUint8(hop, packets.view.getUint8(hop) - 1);
    readdress(packets, this.networks, this.neighbors, slot, row);
  }

  /**
   * Puts into `hop` the next hop towards an address: itself in the network's subnets, elsewhere the host port. The
   * address of a subnet is every router's (RFC 4291 §2.6.1).
   */
  nextHop(network: number, w0: number, w1: number, w2: number, w3: number): Way {
    const { networks, hop } = this;
    const row = networks.subnet6(network, w0, w1, w2, w3);
    if (row < 0) {
      for (let i = 0; i < 4; i++) hop[i] = networks.hostAddress6[network * 4 + i]!;
      const hasHost = hop[0] !== 0 && networks.internal[network] === 0;
      return hasHost && isRoutable(w0, w1, w2, w3) ? Way.OUT : Way.NONE;
    }
    hop[0] = w0;
    hop[1] = w1;
    hop[2] = w2;
    hop[3] = w3;
    const rows = networks.subnets6[network]!;
    const isSubnet = rows[row + 3] === w3 && rows[row + 2] === w2 && rows[row + 1] === w1 && rows[row] === w0;
    const hasRouterAnycast = (rows[row + 7]! & 2) === 0; // not in a /127 (RFC 6164)
    return isSubnet && hasRouterAnycast ? Way.NONE : Way.ON_LINK;
  }

  /** Between link-local addresses or to a group: no router takes it further, or this one does not. */
  private isOfOneLink(ip: number, to: number): boolean {
    return isLinkLocal(this.packets.view.getInt32(ip + Ipv6.SOURCE)) || isLinkLocal(to) || isMulticast6(to);
  }

  /** Turns an echo request into its reply, in place, back to where it came from. */
  private echo(slot: number, ip: number, icmp: number): void {
    const { packets, networks } = this;
    const { view } = packets;
    const network = packets.network[slot]!;
    const start = packets.start[slot]!;
    const from = packets.source[slot]!;
    const gateway = ip + Ipv6.DESTINATION;
    const w0 = view.getInt32(gateway);
    const w1 = view.getInt32(gateway + 4);
    const w2 = view.getInt32(gateway + 8);
    const w3 = view.getInt32(gateway + 12);
    copyAddress(view, ip + Ipv6.SOURCE, gateway);
    writeAddress(view, ip + Ipv6.SOURCE, w0, w1, w2, w3);
    view.setUint8(ip + Ipv6.HOP_LIMIT, HOP_LIMIT);
    view.setUint8(icmp, Icmpv6.ECHO_REPLY);
    const delta = deltaHalf(Icmpv6.ECHO_REQUEST << 8, Icmpv6.ECHO_REPLY << 8);
    view.setUint16(icmp + 2, updateField(view.getUint16(icmp + 2), delta));
    writeMac(view, start, packets.srcHi[slot]!, packets.srcLo[slot]!);
    const hi = isPeer(from) ? networks.routerHi[network]! : networks.gatewayHi[network]!;
    const lo = isPeer(from) ? networks.routerLo[network]! : networks.gatewayLo[network]!;
    writeMac(view, start + 6, hi, lo);
    packets.flags[slot]! &= ~Flag.TO_GATEWAY;
    this.egress.push(slot, from);
  }
}

/** Neither unspecified, loopback nor IPv4-mapped. */
const isRoutable = (w0: number, w1: number, w2: number, w3: number): boolean =>
  (w0 | w1) !== 0 || (w2 !== 0xffff && (w2 !== 0 || w3 >>> 1 !== 0));
