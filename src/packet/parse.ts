import { BURST, Fault } from '../card/layout.ts';
import { Drop } from '../telemetry/drop.ts';
import { isEthernetArp } from '../wire/arp.ts';
import { ETHERNET_BYTES, EtherType } from '../wire/ethernet.ts';
import { isDiscovery } from '../wire/icmpv6.ts';
import { FRAGMENT_MASK, Ipv4, Protocol } from '../wire/ipv4.ts';
import { Chain, IPV6_BYTES, Ipv6, isExtension, walk } from '../wire/ipv6.ts';
import { SCTP_BYTES } from '../wire/sctp.ts';
import type { Burst } from './burst.ts';
import { Flag, type Packets } from './packets.ts';

/**
 * Finds the headers of every frame of a burst: the one place where lengths of untrusted frames are judged.
 * Later stages read at l3 and l4 without checking again: l3 > 0 promises a whole IP or ARP header, l4 > 0 the
 * fixed header of `protocol` (TCP 20 bytes, SCTP 12, UDP and ICMP 8), behind IPv6 extension headers too (N39).
 *
 * Cost: about 15 loads per frame, one or two more per extension header.
 */
export function parse(packets: Packets, burst: Burst): void {
  const { slots } = burst;
  const { fault } = packets.memory;
  let kept = 0;
  burst.arps = 0;
  burst.discoveries = 0;
  for (let i = 0, n = Math.min(burst.count, BURST); i < n; i++) {
    const slot = slots[i]!;
    if (fault[slot] !== Fault.NONE) {
      packets.drop(slot, fault[slot] === Fault.VNET ? Drop.BAD_VNET_HEADER : Drop.TRUNCATED);
    } else if (packets.length[slot]! < ETHERNET_BYTES) {
      packets.drop(slot, Drop.SHORT_FRAME); // B20
    } else {
      parseFrame(packets, slot);
      if (packets.etherType[slot] === EtherType.ARP) burst.arps++;
      else if (isNeighborDiscovery(packets, slot)) burst.discoveries++;
      slots[kept++] = slot;
    }
  }
  burst.count = kept;
}

/** A whole message of neighbour discovery, whatever it says? */
export const isNeighborDiscovery = (packets: Packets, slot: number): boolean =>
  packets.protocol[slot] === Protocol.ICMPV6 &&
  packets.l4[slot] !== 0 &&
  packets.etherType[slot] === EtherType.IPV6 &&
  isDiscovery(packets.view.getUint8(packets.l4[slot]!));

const chain = new Chain();

/** ::ffff:a.b.c.d, which no packet may carry. */
const isMapped = (view: DataView, at: number): boolean =>
  view.getInt32(at + 8) === 0xffff && (view.getInt32(at) | view.getInt32(at + 4)) === 0;

/** Fills the columns of one frame of at least 14 bytes. Bits already in `flags` stay. */
export function parseFrame(packets: Packets, slot: number): void {
  const { view } = packets;
  const start = packets.start[slot]!;
  const type = view.getUint16(start + 12);
  packets.dstHi[slot] = view.getUint16(start);
  packets.dstLo[slot] = view.getInt32(start + 2);
  packets.srcHi[slot] = view.getUint16(start + 6);
  packets.srcLo[slot] = view.getInt32(start + 8);
  packets.etherType[slot] = type;
  packets.l3[slot] = 0;
  packets.l4[slot] = 0;
  packets.protocol[slot] = 0;
  if (type === EtherType.IPV4) parseIpv4(packets, slot, start + ETHERNET_BYTES);
  else if (type === EtherType.IPV6) parseIpv6(packets, slot, start + ETHERNET_BYTES);
  else if (type === EtherType.ARP) parseArp(packets, slot, start + ETHERNET_BYTES);
  else if (type === EtherType.VLAN || type === EtherType.QINQ) packets.flags[slot]! |= Flag.TAGGED;
}

function parseIpv4(packets: Packets, slot: number, ip: number): void {
  const { view } = packets;
  const room = packets.length[slot]! - ETHERNET_BYTES;
  const first = room < 20 ? 0 : view.getUint8(ip);
  const header = (first & 15) << 2;
  if (first >>> 4 !== 4 || header < 20 || header > room) {
    packets.flags[slot]! |= Flag.BAD_IP;
    return;
  }
  const total = view.getUint16(ip + Ipv4.TOTAL_LENGTH);
  if (total < header || total > room) {
    packets.flags[slot]! |= Flag.BAD_IP;
    return;
  }
  packets.l3[slot] = ip;
  const fragment = view.getUint16(ip + Ipv4.FRAGMENT) & FRAGMENT_MASK;
  const protocol = view.getUint8(ip + Ipv4.PROTOCOL);
  packets.protocol[slot] = protocol;
  if (fragment !== 0) {
    packets.flags[slot]! |= Flag.FRAGMENT;
    return;
  }
  setL4(packets, slot, protocol, ip + header, total - header);
}

function parseIpv6(packets: Packets, slot: number, ip: number): void {
  const { view } = packets;
  const room = packets.length[slot]! - ETHERNET_BYTES;
  if (room < IPV6_BYTES || view.getUint8(ip) >>> 4 !== 6) {
    packets.flags[slot]! |= Flag.BAD_IP;
    return;
  }
  const payload = view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
  if (payload > room - IPV6_BYTES) {
    packets.flags[slot]! |= Flag.BAD_IP;
    return;
  }
  packets.l3[slot] = ip;
  if (isMapped(view, ip + Ipv6.SOURCE) || isMapped(view, ip + Ipv6.DESTINATION)) {
    packets.flags[slot]! |= Flag.BAD_IP; // in our tables it would be an IPv4 address (RFC 4942 §2.2)
    return;
  }
  const end = ip + IPV6_BYTES + payload;
  const next = view.getUint8(ip + Ipv6.NEXT_HEADER);
  packets.protocol[slot] = next;
  if (!isExtension(next)) {
    setL4(packets, slot, next, ip + IPV6_BYTES, payload);
    return;
  }
  if (!walk(view, ip, end, chain)) {
    packets.flags[slot]! |= Flag.BAD_CHAIN;
    return;
  }
  packets.protocol[slot] = chain.protocol;
  if (chain.fragment !== 0) packets.flags[slot]! |= Flag.FRAGMENT;
  else setL4(packets, slot, chain.protocol, chain.at, end - chain.at);
}

function setL4(packets: Packets, slot: number, protocol: number, l4: number, length: number): void {
  if (protocol === Protocol.TCP) {
    if (length >= 20) packets.l4[slot] = l4;
  } else if (protocol === Protocol.SCTP) {
    if (length >= SCTP_BYTES) packets.l4[slot] = l4;
  } else if (protocol === Protocol.UDP || protocol === Protocol.ICMP || protocol === Protocol.ICMPV6) {
    if (length >= 8) packets.l4[slot] = l4;
  }
}

function parseArp(packets: Packets, slot: number, arp: number): void {
  if (packets.length[slot]! >= 42 && isEthernetArp(packets.view, arp)) packets.l3[slot] = arp; // A1
}
