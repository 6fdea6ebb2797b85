import type { Networks } from '../fabric/networks.ts';
import { interfaceId2, interfaceId3, LINK_LOCAL } from '../wire/ipv6.ts';

/**
 * Is the IPv6 address at `at` the network's gateway, or the link-local address by which this host's router asks (A14)?
 */
export function isOwnAddress(networks: Networks, network: number, view: DataView, at: number): boolean {
  const w0 = view.getInt32(at);
  const w1 = view.getInt32(at + 4);
  const w2 = view.getInt32(at + 8);
  const w3 = view.getInt32(at + 12);
  return networks.isGateway6(network, w0, w1, w2, w3) || isRouterLink(networks, network, w0, w1, w2, w3);
}

/** Is it the link-local address of this host's router MAC? */
export function isRouterLink(
  networks: Networks,
  network: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): boolean {
  if (w0 !== LINK_LOCAL || w1 !== 0) return false;
  const lo = networks.routerLo[network]!;
  return w2 === interfaceId2(networks.routerHi[network]!, lo) && w3 === interfaceId3(lo);
}
