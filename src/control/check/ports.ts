/** Ports against their network and each other. */
import type { InterfaceAddress } from '../../card/native.ts';
import { FIRST_PEER, FIRST_PORT } from '../../telemetry/counters.ts';
import { contains, overlaps, parseAddress, parseCidr, reservedIn, sameWords } from '../../wire/address.ts';
import type { Findings } from '../check.ts';
import { gatewayMac, routerMac } from '../identity.ts';
import { formatOrigin } from '../problem.ts';
import { underlayAddresses } from '../surroundings.ts';
import type { ResourceOf } from '../types.ts';
import { unknownNetwork } from './peers.ts';

type Port = ResourceOf<'Port'>;
type Network = ResourceOf<'Network'>;

export const MOST_PORTS = FIRST_PEER - FIRST_PORT;

export function checkPorts(set: Findings): void {
  const networks = new Map(set.networks.map((network) => [network.name, network]));
  const interfaces = new Map<string, Port>();
  const macs = new Map<string, Port>();
  const addresses = new Map<string, Port>();
  const hostPorts = new Map<Network, Port>();
  set.ports.forEach((port, i) => {
    if (i === MOST_PORTS) set.refuse(port, 'metadata.name', `more than ${MOST_PORTS} ports`);
    const { netns, interface: name, network: networkName, mac } = port.spec;
    const network = networks.get(networkName);
    const twin = claim(interfaces, `${netns} ${name}`, port);
    // Of a network's second port of the host more is wrong than the name, which is the network's unless it says another.
    const isSecond = netns === null && network !== undefined && hostPorts.get(network) === twin;
    if (twin !== undefined && !isSecond) {
      const where = netns === null ? "the daemon's own namespace" : netns;
      set.refuse(
        port,
        'spec.interface',
        `${name} in ${where} is port ${twin.name}'s (${formatOrigin(twin.origin)}); use another name or netns`,
      );
    }
    if (network === undefined) {
      set.refuse(port, 'spec.network', unknownNetwork(networkName, [...networks.keys()]));
      return;
    }
    const macTwin = claim(macs, `${networkName} ${mac}`, port);
    if (macTwin !== undefined) {
      set.refuse(
        port,
        'spec.mac',
        `${mac} is port ${macTwin.name}'s (${formatOrigin(macTwin.origin)}); MACs differ within a network`,
      );
    }
    if (netns === null) checkHostPort(set, port, network, hostPorts);
    checkReservedMac(set, port, network);
    checkMtu(set, port, network);
    port.spec.addresses.forEach((given, j) => {
      const path = `spec.addresses[${j}]`;
      const other = claim(addresses, `${networkName} ${given.address}`, port);
      if (other === port) set.refuse(port, path, `${given.address} is listed twice; keep one`);
      else if (other !== undefined) {
        set.refuse(
          port,
          path,
          `${given.address} is port ${other.name}'s (${formatOrigin(other.origin)}); addresses differ within a network`,
        );
      }
      checkAddress(set, port, network, path, given);
    });
  });
}

/** One per network, with an address to be spoken to by, in subnets the host can tell from those of other networks. */
function checkHostPort(set: Findings, port: Port, network: Network, others: Map<Network, Port>): void {
  const twin = others.get(network);
  if (twin !== undefined) {
    set.refuse(
      port,
      'spec.network',
      `port ${twin.name} (${formatOrigin(twin.origin)}) is network ${network.name}'s port of the host already, and one is all; give this one a netns`,
    );
    return;
  }
  const name = port.spec.interface;
  if (!/^[\w.@+-]+$/.test(name)) {
    const message = `"${name}" would not be one word to nft; use letters, digits, "-", "_", "." and "@", such as tw-blue`;
    set.refuse(port, 'spec.interface', message);
  }
  const subnets = network.spec.subnets.map(({ cidr }) => parseCidr(cidr));
  if (subnets.length > 0 && port.spec.addresses.length === 0) {
    const known = subnets.map(({ text }) => text).join(', ');
    set.refuse(port, 'spec.addresses', `missing; a port of the host needs an address of its own in ${known}`);
  }
  const underlay = [
    ...set.hosts.slice(0, 1).flatMap(underlayAddresses),
    ...set.peers.flatMap(({ spec }) => spec.addresses),
  ].map(parseAddress);
  for (const subnet of subnets) {
    const inside = underlay.find(({ words }) => contains(subnet, words));
    if (inside === undefined) continue;
    const message = `the underlay's ${inside.text} lies inside subnet ${subnet.text}, and the host would send VXLAN into the network itself; use another subnet, or give this port a netns`;
    set.refuse(port, 'spec.network', message);
  }
  for (const [other, owner] of others) {
    const mine = subnets.find((a) => other.spec.subnets.some(({ cidr }) => overlaps(a, parseCidr(cidr))));
    if (mine === undefined) continue;
    set.refuse(
      port,
      'spec.network',
      `subnet ${mine.text} of network ${network.name} overlaps network ${other.name}, where the host has port ` +
        `${owner.name} (${formatOrigin(owner.origin)}); it could not tell them apart: give one a netns`,
    );
  }
  others.set(network, port);
}

function checkAddress(
  set: Findings,
  port: Port,
  network: Network,
  path: string,
  given: InterfaceAddress,
): void {
  const { address: text, prefix } = given;
  const { words } = parseAddress(text);
  const subnet = network.spec.subnets.find(({ cidr }) => contains(parseCidr(cidr), words));
  if (subnet === undefined) {
    const known = network.spec.subnets.map(({ cidr }) => cidr).join(', ');
    set.refuse(
      port,
      path,
      `${text} is in no subnet of network ${network.name}; ${known === '' ? 'it has none' : `its subnets: ${known}`}`,
    );
    return;
  }
  const cidr = parseCidr(subnet.cidr);
  const reserved = reservedIn(cidr, words);
  if (sameWords(parseAddress(subnet.gateway).words, words)) {
    set.refuse(port, path, `${text} is the gateway of ${cidr.text}; use another address`);
  } else if (reserved !== null) {
    set.refuse(port, path, `${text} is the ${reserved} address of ${cidr.text}; use another address`);
  }
  if (prefix !== 0 && prefix < cidr.prefix) {
    set.refuse(
      port,
      path,
      `prefix length ${prefix} reaches beyond subnet ${cidr.text}; use /${cidr.prefix}, or none`,
    );
  }
}

function checkReservedMac(set: Findings, port: Port, network: Network): void {
  const { vni } = network.spec.vxlan;
  const host = set.hosts[0];
  if (port.spec.mac === gatewayMac(network.name, vni)) {
    set.refuse(
      port,
      'spec.mac',
      `${port.spec.mac} is the gateway MAC of network ${network.name}; use another`,
    );
  }
  if (host && port.spec.mac === routerMac(network.name, vni, host.spec.underlay.address)) {
    set.refuse(
      port,
      'spec.mac',
      `${port.spec.mac} is this host's router MAC in network ${network.name}; use another`,
    );
  }
}

function checkMtu(set: Findings, port: Port, network: Network): void {
  const { mtu } = port.spec;
  const limit = network.spec.mtu;
  if (mtu === undefined) return;
  if (limit !== 'auto' && mtu > limit) {
    set.refuse(
      port,
      'spec.mtu',
      `${mtu} is above ${limit}, the MTU of network ${network.name}; use at most that`,
    );
  }
  if (mtu < 1280 && port.spec.addresses.some(({ address }) => address.includes(':'))) {
    set.refuse(port, 'spec.mtu', `${mtu} is too small for IPv6; use at least 1280`);
  }
}

/** The earlier owner of a key, if any; the first one keeps it. */
function claim(owners: Map<string, Port>, key: string, port: Port): Port | undefined {
  const owner = owners.get(key);
  if (owner === undefined) owners.set(key, port);
  return owner;
}
