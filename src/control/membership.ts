/** Who belongs to what, by name. */
import type { ResourceOf } from './types.ts';

/** A peer is in every network unless it names some. */
export function inNetwork(peer: ResourceOf<'Peer'>, network: ResourceOf<'Network'>): boolean {
  return peer.spec.networks === undefined || peer.spec.networks.includes(network.name);
}

/** The peer's address datagrams go to: IPv4 where both sides have it, else IPv6; undefined without a common family. */
export function peerAddress(peer: ResourceOf<'Peer'>, host: ResourceOf<'Host'>): string | undefined {
  const { address, address6 } = host.spec.underlay;
  const isV6 = (text: string) => text.includes(':');
  const v4 = isV6(address) ? undefined : peer.spec.addresses.find((a) => !isV6(a));
  const v6 = isV6(address) || address6 !== undefined ? peer.spec.addresses.find(isV6) : undefined;
  return v4 ?? v6;
}
