/** Peers against this host, each other, and the networks they name. */

import { REMOTES } from '../../card/layout.ts';
import { FIRST_PEER, LOCATIONS } from '../../telemetry/counters.ts';
import { contains, parseAddress, parseCidr } from '../../wire/address.ts';
import type { Findings } from '../check.ts';
import { gatewayMac, routerMac } from '../identity.ts';
import { inNetwork } from '../membership.ts';
import { formatOrigin, nearest } from '../problem.ts';
import type { Resource, ResourceOf } from '../types.ts';

type Peer = ResourceOf<'Peer'>;

export const MOST_PEERS = LOCATIONS - FIRST_PEER;
/** Configured MACs of a network, the gateway's two included: what its FDB sets aside for them. */
export const MOST_STATIC = 8192;
/** Configured addresses of all networks: what the neighbour table sets aside for them. */
export const MOST_ADDRESSES = 8192;

export function checkPeers(set: Findings): void {
  const host = set.hosts[0]?.spec.underlay;
  const own = [host?.address, host?.address6].filter((address) => address !== undefined);
  const owner = new Map<string, Peer>();
  const rows = new Set<string>();
  set.peers.forEach((peer, i) => {
    if (i === MOST_PEERS) set.refuse(peer, 'metadata.name', `more than ${MOST_PEERS} peers`);
    const { addresses } = peer.spec;
    if (addresses.length === 0)
      set.refuse(peer, 'spec.addresses', 'empty; give the underlay address of the other host');
    addresses.forEach((address, j) => {
      const path = `spec.addresses[${j}]`;
      const other = owner.get(address);
      const sibling = addresses.findIndex((a) => familyOf(a) === familyOf(address));
      if (own.includes(address))
        set.refuse(peer, path, `${address} is this host's own address; give the other host's`);
      if (other !== undefined && other !== peer) {
        set.refuse(
          peer,
          path,
          `${address} is peer ${other.name}'s (${formatOrigin(other.origin)}); addresses must differ`,
        );
      } else if (sibling < j) {
        set.refuse(
          peer,
          path,
          `${address} is a second ${familyOf(address)} address; give at most one per family`,
        );
      }
      owner.set(address, other ?? peer);
    });
    if (
      host !== undefined &&
      addresses.length > 0 &&
      !addresses.some((a) => own.some((o) => familyOf(o) === familyOf(a)))
    ) {
      const mine = familyOf(own[0]!);
      set.refuse(
        peer,
        'spec.addresses',
        `no ${mine} address, and this host has only ${mine} underlay; give one, or set the Host's other family`,
      );
    }
    checkMemberships(set, peer);
    for (const network of set.networks) {
      if (inNetwork(peer, network)) rows.add(`${addresses[0]} ${peer.spec.port ?? network.spec.vxlan.port}`);
    }
    if (rows.size > REMOTES)
      set.refuse(
        peer,
        'metadata.name',
        `more than ${REMOTES} pairs of peer address and UDP port; use fewer ports`,
      );
  });
  checkStatic(set);
}

function checkMemberships(set: Findings, peer: Peer): void {
  const known = set.networks.map((network) => network.name);
  peer.spec.networks?.forEach((name, i) => {
    if (!known.includes(name)) set.refuse(peer, `spec.networks[${i}]`, unknownNetwork(name, known));
  });
  peer.spec.static.forEach((entry, i) => {
    const { network } = entry;
    if (network === undefined) return;
    if (!known.includes(network)) {
      set.refuse(peer, `spec.static[${i}].network`, unknownNetwork(network, known));
    } else if (peer.spec.networks !== undefined && !peer.spec.networks.includes(network)) {
      set.refuse(
        peer,
        `spec.static[${i}].network`,
        `this peer is not in network ${network}; add it to spec.networks`,
      );
    }
  });
}

/** A static MAC has one place per network, which is neither here nor the gateway. */
function checkStatic(set: Findings): void {
  const host = set.hosts[0]?.spec.underlay.address ?? '';
  let addresses = 0;
  const count = (more: number, resource: Resource, path: string): void => {
    const within = addresses <= MOST_ADDRESSES;
    addresses += more;
    if (within && addresses > MOST_ADDRESSES)
      set.refuse(
        resource,
        path,
        `more than ${MOST_ADDRESSES} addresses of gateways, ports and static entries`,
      );
  };
  for (const network of set.networks) count(network.spec.subnets.length, network, 'spec.subnets');
  for (const port of set.ports) count(port.spec.addresses.length, port, 'spec.addresses');
  for (const network of set.networks) {
    const { vni } = network.spec.vxlan;
    const owners = new Map<string, string>([
      [gatewayMac(network.name, vni), `the gateway MAC of network ${network.name}`],
      [routerMac(network.name, vni, host), `this host's router MAC in network ${network.name}`],
    ]);
    for (const port of set.ports) {
      if (port.spec.network === network.name) owners.set(port.spec.mac, `the MAC of port ${port.name}`);
    }
    for (const peer of set.peers) {
      if (!inNetwork(peer, network)) continue;
      peer.spec.static.forEach((entry, i) => {
        if (entry.network !== undefined && entry.network !== network.name) return;
        const owner = owners.get(entry.mac);
        const mine = `at peer ${peer.name}`;
        if (owner !== undefined && owner !== mine) {
          set.refuse(
            peer,
            `spec.static[${i}].mac`,
            `${entry.mac} is ${owner}; a MAC has one place per network`,
          );
        }
        owners.set(entry.mac, owner ?? mine);
        if (entry.ip !== undefined && belongs(entry.ip, network)) count(1, peer, `spec.static[${i}].ip`);
        if (owner === undefined && owners.size === MOST_STATIC + 1) {
          set.refuse(
            peer,
            `spec.static[${i}].mac`,
            `more than ${MOST_STATIC} MACs of gateway, ports and static entries in network ${network.name}`,
          );
        }
      });
    }
  }
}

/** An entry for all networks binds its address only where that is an address of a subnet. */
function belongs(ip: string, network: ResourceOf<'Network'>): boolean {
  const { words } = parseAddress(ip);
  return network.spec.subnets.some(({ cidr }) => contains(parseCidr(cidr), words));
}

export function unknownNetwork(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined) return `no network "${name}"; did you mean ${near}?`;
  return `no network "${name}"; ${known.length === 0 ? 'none is defined' : `defined: ${known.join(', ')}`}`;
}

function familyOf(address: string): 'IPv4' | 'IPv6' {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}
