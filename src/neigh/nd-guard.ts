import { AntiSpoof, isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import { isUnspecified } from '../packet/originate6.ts';
import type { Packets } from '../packet/packets.ts';
import { isNeighborDiscovery } from '../packet/parse.ts';
import { Drop } from '../telemetry/drop.ts';
import { fold, pseudoSum6, sumBytes } from '../wire/checksum.ts';
import { Icmpv6 } from '../wire/icmpv6.ts';
import { Protocol } from '../wire/ipv4.ts';
import { IPV6_BYTES, Ipv6, isLinkLocal, isMulticast6, SOLICITED_NODE, solicitedNode3 } from '../wire/ipv6.ts';
import { findLinkAddress, hasSoundOptions, ND_HOP_LIMIT, Nd, NdFlag, NdOption } from '../wire/nd.ts';
import { NeighborSource, type Neighbors } from './neighbors.ts';
import { isOwnAddress } from './own-address.ts';

/**
 * Judges neighbour discovery before anything is learned from it: whether it may be processed at all (A2), and what it
 * claims (B24, B25, A3). What a message claims is that an address is at a MAC: an advertisement of its target, a
 * solicitation of its source.
 */
export class NdGuard {
  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly neighbors: Neighbors,
  ) {}

  run(burst: Burst): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      const reason = isNeighborDiscovery(packets, slot) ? this.judge(slot) : Drop.NONE;
      if (reason === Drop.NONE) slots[kept++] = slot;
      else packets.drop(slot, reason);
    }
    burst.count = kept;
  }

  private judge(slot: number): Drop {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const icmp = packets.l4[slot]!;
    const end = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
    const type = view.getUint8(icmp);
    const isSolicitation = type === Icmpv6.NEIGHBOR_SOLICITATION;
    if (isSolicitation || type === Icmpv6.NEIGHBOR_ADVERTISEMENT) {
      if (!this.isValid(slot, ip, icmp, end, isSolicitation)) return Drop.BAD_ND;
      const kind = isSolicitation ? NdOption.SOURCE_LINK : NdOption.TARGET_LINK;
      const link = findLinkAddress(view, icmp + Nd.OPTIONS, end, kind);
      const claimed = isSolicitation ? ip + Ipv6.SOURCE : icmp + Nd.TARGET;
      return this.judgeClaim(slot, claimed, link, isSolicitation ? icmp + Nd.TARGET : 0);
    }
    if (type !== Icmpv6.ROUTER_SOLICITATION) return Drop.NONE; // the rest is admission's (bridge/ipv6-guard.ts)
    if (!hasSoundOptions(view, icmp + 8, end)) return Drop.BAD_ND;
    return this.judgeClaim(
      slot,
      ip + Ipv6.SOURCE,
      findLinkAddress(view, icmp + 8, end, NdOption.SOURCE_LINK),
      0,
    );
  }

  /** A2; RFC 4861 §7.1. A partial checksum is one that nothing has spoilt yet. */
  private isValid(slot: number, ip: number, icmp: number, end: number, isSolicitation: boolean): boolean {
    const { packets } = this;
    const { view } = packets;
    const length = end - icmp;
    if (view.getUint8(ip + Ipv6.HOP_LIMIT) !== ND_HOP_LIMIT || view.getUint8(icmp + 1) !== 0) return false;
    if (length < Nd.OPTIONS || isMulticast6(view.getInt32(icmp + Nd.TARGET))) return false;
    if (!hasSoundOptions(view, icmp + Nd.OPTIONS, end)) return false;
    if (packets.csumStart[slot] === 0) {
      const sum = pseudoSum6(view, ip, Protocol.ICMPV6, length) + sumBytes(view, icmp, length);
      if (fold(sum) !== 0xffff) return false;
    }
    const to = ip + Ipv6.DESTINATION;
    if (!isSolicitation) {
      const isSolicited = (view.getUint8(icmp + Nd.FLAGS) & NdFlag.SOLICITED) !== 0;
      return !isSolicited || !isMulticast6(view.getInt32(to));
    }
    if (!isUnspecified(view, ip + Ipv6.SOURCE)) return true;
    const isToGroup =
      view.getInt32(to) === SOLICITED_NODE &&
      view.getInt32(to + 4) === 0 &&
      view.getInt32(to + 8) === 1 &&
      view.getInt32(to + 12) === (solicitedNode3(view.getInt32(icmp + Nd.TARGET + 12)) | 0);
    return isToGroup && findLinkAddress(view, icmp + Nd.OPTIONS, end, NdOption.SOURCE_LINK) === 0;
  }

  /**
   * @param claimed offset of the address claimed
   * @param link offset of the MAC it is said to be at, 0 = none given
   * @param asked offset of the address asked for, 0 = none
   */
  private judgeClaim(slot: number, claimed: number, link: number, asked: number): Drop {
    const { packets, networks, locations, neighbors } = this;
    const { view } = packets;
    const network = packets.network[slot]!;
    const from = packets.source[slot]!;
    const isOwn = isOwnAddress(networks, network, view, claimed);
    if (isPeer(from)) {
      // Each host answers for the gateway itself, so a tunnel has no business with its address (A3).
      if (isOwn) return Drop.SPOOF_GATEWAY;
      const isForGateway = asked !== 0 && isGatewayAt(networks, network, view, asked);
      return isForGateway ? Drop.GATEWAY_FROM_TUNNEL : Drop.NONE;
    }
    const mode = locations.antiSpoof[from]!;
    if (mode === AntiSpoof.OFF) return Drop.NONE;
    if (isOwn) return Drop.SPOOF_GATEWAY;
    const w0 = view.getInt32(claimed);
    const w1 = view.getInt32(claimed + 4);
    const w2 = view.getInt32(claimed + 8);
    const w3 = view.getInt32(claimed + 12);
    const isFree = isLinkLocal(w0) || isUnspecified(view, claimed);
    if (!isFree && !locations.ownsAddress6(from, w0, w1, w2, w3)) {
      if (mode === AntiSpoof.STRICT) return Drop.SPOOF_ARP;
      const owner = neighbors.find(network, w0, w1, w2, w3);
      if (owner >= 0 && neighbors.source[owner] === NeighborSource.PORT) return Drop.SPOOF_GATEWAY;
    }
    if (link === 0) return Drop.NONE;
    const isFrames =
      view.getUint16(link) === packets.srcHi[slot] && view.getInt32(link + 2) === packets.srcLo[slot];
    return isFrames ? Drop.NONE : Drop.SPOOF_ARP;
  }
}

/** Is the address at `at` the gateway's? */
const isGatewayAt = (networks: Networks, network: number, view: DataView, at: number): boolean =>
  networks.isGateway6(
    network,
    view.getInt32(at),
    view.getInt32(at + 4),
    view.getInt32(at + 8),
    view.getInt32(at + 12),
  );
