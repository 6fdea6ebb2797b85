/** Networks against each other, and subnets inside one. */
import type { Cidr } from '../../wire/address.ts';
import { contains, overlaps, parseAddress, parseCidr, reservedIn, unusualKind } from '../../wire/address.ts';
import type { Findings } from '../check.ts';
import { formatOrigin } from '../problem.ts';
import type { ResourceOf } from '../types.ts';

type Network = ResourceOf<'Network'>;

/** Network ids are 0 … 255. */
export const MOST_NETWORKS = 256;
/** B4: the standard's minimum. */
const SHORT_AGEING = 10;
const LEAST_MTU_V4 = 576;
const LEAST_MTU_V6 = 1280;

/** What networks on one UDP port share, since they share its sockets. */
const SHARED = ['sourcePorts', 'checksum', 'df', 'ttl', 'zeroChecksum6'] as const;

export function checkNetworks(set: Findings): void {
  const byKey = new Map<string, Network>();
  const byPort = new Map<number, Network>();
  set.networks.forEach((network, i) => {
    if (i === MOST_NETWORKS) set.refuse(network, 'metadata.name', `more than ${MOST_NETWORKS} networks`);
    const { port, vni } = network.spec.vxlan;
    const twin = byKey.get(`${port}/${vni}`);
    if (twin !== undefined) {
      const place = formatOrigin(twin.origin);
      set.refuse(
        network,
        'spec.vxlan.vni',
        `${vni} on UDP port ${port} is network ${twin.name}'s (${place}); use another`,
      );
    }
    byKey.set(`${port}/${vni}`, twin ?? network);
    const sharer = byPort.get(port);
    if (sharer !== undefined) checkShared(set, network, sharer);
    byPort.set(port, sharer ?? network);
    checkSubnets(set, network);
    checkValues(set, network);
    checkWayOut(set, network);
  });
}

function checkShared(set: Findings, network: Network, first: Network): void {
  for (const key of SHARED) {
    const mine = network.spec.vxlan[key];
    const theirs = first.spec.vxlan[key];
    if (String(mine) === String(theirs)) continue;
    const shown = (value: typeof mine) => (Array.isArray(value) ? `[${value.join(', ')}]` : String(value));
    set.refuse(
      network,
      `spec.vxlan.${key}`,
      `${shown(mine)} differs from ${shown(theirs)} of network ${first.name}, and both use UDP port ` +
        `${network.spec.vxlan.port}; write the same, or use another port`,
    );
  }
}

function checkSubnets(set: Findings, network: Network): void {
  const seen: Cidr[] = [];
  network.spec.subnets.forEach((subnet, i) => {
    const cidr = parseCidr(subnet.cidr);
    const twin = seen.findIndex((other) => overlaps(cidr, other));
    if (twin >= 0) {
      set.refuse(
        network,
        `spec.subnets[${i}].cidr`,
        `${cidr.text} overlaps ${seen[twin]!.text} of subnets[${twin}]; use disjoint ones`,
      );
    }
    seen.push(cidr);
    const kind = unusualKind(cidr.words);
    if (kind === 'link-local' || kind === 'multicast' || kind === 'loopback') {
      const better = cidr.family === 6 ? 'fd00:77::/64' : '10.77.0.0/24';
      set.refuse(
        network,
        `spec.subnets[${i}].cidr`,
        `${cidr.text} is ${kind}, which nobody routes; use one such as ${better}`,
      );
    }
    const gateway = parseAddress(subnet.gateway);
    const path = `spec.subnets[${i}].gateway`;
    const reserved = reservedIn(cidr, gateway.words);
    if (!contains(cidr, gateway.words)) {
      set.refuse(
        network,
        path,
        `${gateway.text} is outside ${cidr.text}; use an address inside, or leave it out`,
      );
    } else if (reserved !== null) {
      set.refuse(
        network,
        path,
        `${gateway.text} is the ${reserved} address of ${cidr.text}; use another, or leave it out`,
      );
    }
  });
}

/** N33, and what would be without effect. */
function checkWayOut(set: Findings, network: Network): void {
  const { nat, internal } = network.spec;
  if (!nat.masquerade) return;
  if (internal) {
    set.refuse(
      network,
      'spec.nat.masquerade',
      'nothing leaves an internal network; remove it, or internal: true',
    );
  } else if (!set.ports.some(({ spec }) => spec.network === network.name && spec.netns === null)) {
    set.warn(
      network,
      'spec.nat.masquerade',
      `without effect: no Port without netns, which is a network's way out, is in network ${network.name}`,
    );
  }
}

function checkValues(set: Findings, network: Network): void {
  const { mtu, subnets, bridge } = network.spec;
  if (bridge.ageing > 0 && bridge.ageing < SHORT_AGEING) {
    set.warn(
      network,
      'spec.bridge.ageing',
      `${bridge.ageing}s is below ${SHORT_AGEING}s, the least 802.1D allows; stations will be flooded for often`,
    );
  }
  if (mtu === 'auto') return;
  if (mtu < LEAST_MTU_V6 && subnets.some(({ cidr }) => cidr.includes(':'))) {
    set.refuse(network, 'spec.mtu', `${mtu} is too small for IPv6; use at least ${LEAST_MTU_V6}, or auto`);
  } else if (mtu < LEAST_MTU_V4) {
    set.warn(
      network,
      'spec.mtu',
      `${mtu} is below ${LEAST_MTU_V4}, which every IPv4 host accepts; use at least that, or auto`,
    );
  }
}
