import { AntiSpoof, type Locations } from '../fabric/locations.ts';
import { Drop } from '../telemetry/drop.ts';
import { Icmpv6, isDiscovery } from '../wire/icmpv6.ts';
import { Protocol } from '../wire/ipv4.ts';
import { Chain, IPV6_BYTES, Ipv6, isLaterFragment, isLinkLocal, walk } from '../wire/ipv6.ts';

/** UDP ports 547 → 546: a DHCPv6 server's reply. */
const DHCPV6_REPLY = 0x02230222;

const chain = new Chain();

/**
 * What a guarded port may send in IPv6 (B24, B25): no foreign source, no router advertisement or redirect, no DHCPv6
 * reply. What neighbour discovery claims is judged by neigh/nd-guard.ts, which does not look into fragments: so none
 * may be hidden there (RFC 6980 §5).
 * @param ip offset of a whole IPv6 header whose payload length fits its frame.
 */
export function judgeIpv6(
  view: DataView,
  ip: number,
  port: number,
  mode: AntiSpoof,
  locations: Locations,
): Drop {
  if (mode === AntiSpoof.STRICT && !mayUse(view, ip + Ipv6.SOURCE, port, locations)) return Drop.SPOOF_IP;
  const end = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
  if (!walk(view, ip, end, chain)) return Drop.ROGUE_SERVER; // what hides behind cannot be vouched for (RFC 7113 §2)
  const { protocol, at, fragment } = chain;
  if (fragment !== 0 && isLaterFragment(view, fragment)) return Drop.NONE; // it starts no header
  if (protocol === Protocol.UDP)
    return at + 8 <= end && view.getInt32(at) === DHCPV6_REPLY ? Drop.ROGUE_SERVER : Drop.NONE;
  if (protocol !== Protocol.ICMPV6) return Drop.NONE;
  if (at + 8 > end) return Drop.ROGUE_SERVER; // its type is cut off
  const type = view.getUint8(at);
  if (type === Icmpv6.ROUTER_ADVERTISEMENT || type === Icmpv6.REDIRECT) return Drop.ROGUE_SERVER;
  return fragment !== 0 && isDiscovery(type) ? Drop.BAD_ND : Drop.NONE;
}

/** The port's own addresses, any link-local one, and the unspecified address of a probe. */
function mayUse(view: DataView, at: number, port: number, locations: Locations): boolean {
  const w0 = view.getInt32(at);
  const w1 = view.getInt32(at + 4);
  const w2 = view.getInt32(at + 8);
  const w3 = view.getInt32(at + 12);
  if (isLinkLocal(w0) || (w0 | w1 | w2 | w3) === 0) return true;
  return locations.ownsAddress6(port, w0, w1, w2, w3);
}
