import { AntiSpoof, type Locations } from '../fabric/locations.ts';
import { Drop } from '../telemetry/drop.ts';
import { ICMPV6_NEIGHBOR_ADVERTISEMENT, ICMPV6_ROUTER_ADVERTISEMENT } from '../wire/icmp.ts';
import { Protocol } from '../wire/ipv4.ts';
import { Extension, IPV6_BYTES, Ipv6 } from '../wire/ipv6.ts';

/** Extension headers looked behind; what hides deeper cannot be vouched for (N39, RFC 7113 §2). */
const MAX_EXTENSIONS = 8;
/** UDP ports 547 → 546: a DHCPv6 server's reply. */
const DHCPV6_REPLY = 0x02230222;

/**
 * What a guarded port may send in IPv6 (B24, B25): no foreign source, no router advertisement, no DHCPv6 reply, no
 * neighbour advertisement for an address that is not its own.
 * @param ip offset of a whole IPv6 header whose payload length fits its frame.
 */
export function judgeIpv6(
  view: DataView,
  ip: number,
  port: number,
  mode: AntiSpoof,
  locations: Locations,
): Drop {
  if (mode === AntiSpoof.STRICT && !mayUse(view, ip + Ipv6.SOURCE, port, locations, true))
    return Drop.SPOOF_IP;
  const end = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
  let at = ip + IPV6_BYTES;
  let next = view.getUint8(ip + Ipv6.NEXT_HEADER);
  for (let n = 0; isExtension(next); n++) {
    if (n === MAX_EXTENSIONS || at + 8 > end) return Drop.ROGUE_SERVER;
    const isFragment = next === Extension.FRAGMENT;
    if (isFragment && (view.getUint16(at + 2) & 0xfff8) !== 0) return Drop.NONE; // a later one starts no header
    const size = isFragment ? 8 : (view.getUint8(at + 1) + 1) << 3;
    next = view.getUint8(at);
    at += size;
  }
  if (next === Protocol.UDP)
    return at + 8 <= end && view.getInt32(at) === DHCPV6_REPLY ? Drop.ROGUE_SERVER : Drop.NONE;
  if (next !== Protocol.ICMPV6) return Drop.NONE;
  if (at + 8 > end) return Drop.ROGUE_SERVER; // its type is cut off
  const type = view.getUint8(at);
  if (type === ICMPV6_ROUTER_ADVERTISEMENT) return Drop.ROGUE_SERVER;
  if (type !== ICMPV6_NEIGHBOR_ADVERTISEMENT || mode !== AntiSpoof.STRICT) return Drop.NONE;
  return at + 24 <= end && mayUse(view, at + 8, port, locations, false) ? Drop.NONE : Drop.SPOOF_ARP;
}

const isExtension = (next: number): boolean =>
  next === Extension.HOP_BY_HOP ||
  next === Extension.ROUTING ||
  next === Extension.FRAGMENT ||
  next === Extension.DESTINATION;

/** The port's own addresses, any link-local one, and as a source the unspecified address of DAD. */
function mayUse(
  view: DataView,
  at: number,
  port: number,
  locations: Locations,
  unspecified: boolean,
): boolean {
  const w0 = view.getInt32(at);
  const w1 = view.getInt32(at + 4);
  const w2 = view.getInt32(at + 8);
  const w3 = view.getInt32(at + 12);
  if (w0 >>> 22 === 0xfe80 >>> 6) return true;
  if (unspecified && (w0 | w1 | w2 | w3) === 0) return true;
  return locations.ownsAddress6(port, w0, w1, w2, w3);
}
