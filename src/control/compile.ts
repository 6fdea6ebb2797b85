/**
 * Checked resources → numbers: the complete next generation of all but services, which `services.ts` compiles.
 *
 * Ids follow their object from the running generation, so the same set compiled again is the same generation,
 * and objects that did not change keep their place in every table.
 */
import { DEVICES, REMOTES } from '../card/layout.ts';
import type { TapOptions, UnderlayOptions } from '../card/native.ts';
import type { Mac, NetworkConfig, PeerConfig, PeerMembership } from '../dataplane/config.ts';
import { FIRST_PEER, FIRST_PORT, LOCATIONS } from '../telemetry/counters.ts';
import { contains, formatWords, mappedPrefix, parseAddress, parseCidr, parseMac } from '../wire/address.ts';
import { MOST_NETWORKS } from './check/networks.ts';
import { hostConfig } from './host-config.ts';
import { gatewayMac, routerMac } from './identity.ts';
import { assignIds } from './ids.ts';
import { inNetwork, peerAddress } from './membership.ts';
import { cachedFacts, networkMtu } from './mtu.ts';
import { underlayAddresses } from './surroundings.ts';
import type { Facts, Generation, PortPlan, RemotePlan, Resource, ResourceOf, UnderlayPlan } from './types.ts';

type Host = ResourceOf<'Host'>;
type Network = ResourceOf<'Network'>;
type Peer = ResourceOf<'Peer'>;
type Port = ResourceOf<'Port'>;
type Ids = ReadonlyMap<string, number>;

const INHERIT = -1;
const NO_DEVICE = -1;

/**
 * The generation a set means.
 * @param resources a set `checkSet` has no problem with
 * @param running the generation in effect, whose ids are kept; null at the start
 * @throws Error when there is no Host, or a table of ids is full
 */
export function compile(
  resources: readonly Resource[],
  facts: Facts,
  running: Generation | null,
): Generation {
  const asked = cachedFacts(facts);
  const host = resources.find((r) => r.kind === 'Host');
  if (host === undefined) throw new Error('no Host: exactly one must say who this daemon is');
  const networks = byName(resources.filter((r) => r.kind === 'Network'));
  const peers = byName(resources.filter((r) => r.kind === 'Peer'));
  const ports = byName(resources.filter((r) => r.kind === 'Port'));

  const mtus = new Map(networks.map((n) => [n.name, networkMtu(n, host, peers, asked)]));
  const networksByName = new Map(networks.map((n) => [n.name, n]));
  const taps = new Map(ports.map((port) => [port.name, tapOptions(port, networksByName, mtus)]));
  const sockets = underlayOptions(host, networks);

  const networkIds = assignIds('networks', names(networks), idsOf(running?.networks), 0, MOST_NETWORKS);
  const peerIds = assignIds('peers', names(peers), idsOf(running?.peers), FIRST_PEER, LOCATIONS);
  const portIds = assignIds(
    'ports',
    names(ports),
    idsOf(running?.ports.map((p) => p.config)),
    FIRST_PORT,
    FIRST_PEER,
  );
  const deviceKeys = [...sockets.map(underlayKey), ...[...taps.values()].map(tapKey)];
  const devices = assignIds('devices', deviceKeys, devicesOf(running), 0, DEVICES);
  const destinations = remoteKeys(host, networks, peers);
  const rows = assignIds('peer addresses', destinations, rowsOf(running), 0, REMOTES);

  const underlays = sockets.map((options) => ({ device: devices.get(underlayKey(options))!, options }));
  const plans = ports.map((port): PortPlan => {
    const tap = taps.get(port.name)!;
    const config = {
      id: portIds.get(port.name)!,
      name: port.name,
      network: networkIds.get(port.spec.network)!,
      device: devices.get(tapKey(tap))!,
      mac: mac(port.spec.mac),
      addresses: tap.addresses.map(({ address }) => parseAddress(address).words),
      antiSpoof: port.spec.antiSpoof,
      mtu: tap.mtu,
      ...(port.spec.netns === null && { isHost: true }),
    };
    return { config, tap };
  });

  return {
    host: hostConfig(host, resources, facts),
    underlays: underlays.sort((a, b) => a.device - b.device),
    remotes: destinations.map((key) => remotePlan(key, rows)).sort((a, b) => a.row - b.row),
    networks: byId(networks.map((n) => networkConfig(n, host, networkIds, mtus.get(n.name)!, underlays))),
    peers: byId(peers.map((peer) => peerConfig(peer, host, networks, peerIds, networkIds, rows))),
    ports: plans.sort((a, b) => a.config.id - b.config.id),
  };
}

/** One socket set per underlay address and UDP port; `checkSet` made sure that its networks agree. */
function underlayOptions(host: Host, networks: readonly Network[]): UnderlayOptions[] {
  const byPort = new Map(networks.map((n) => [n.spec.vxlan.port, n.spec.vxlan]));
  const ports = [...byPort.values()].sort((a, b) => a.port - b.port);
  return underlayAddresses(host).flatMap((address) =>
    ports.map((vxlan) => ({
      address,
      port: vxlan.port,
      sourcePorts: [...vxlan.sourcePorts] as [number, number],
      ttl: vxlan.ttl,
      df: vxlan.df === 'set',
      checksum: address.includes(':') || vxlan.checksum !== 'off',
      zeroChecksum6: vxlan.zeroChecksum6,
    })),
  );
}

function networkConfig(
  network: Network,
  host: Host,
  ids: Ids,
  mtu: number,
  underlays: readonly UnderlayPlan[],
): NetworkConfig {
  const { vxlan, bridge } = network.spec;
  const underlay = (v6: boolean) =>
    underlays.find(({ options }) => options.port === vxlan.port && options.address.includes(':') === v6)
      ?.device;
  return {
    id: ids.get(network.name)!,
    name: network.name,
    vni: vxlan.vni,
    underlay4: underlay(false) ?? NO_DEVICE,
    underlay6: underlay(true) ?? NO_DEVICE,
    mtu,
    subnets: network.spec.subnets.map((subnet) => {
      const { family, words, prefix } = parseCidr(subnet.cidr);
      return {
        address: words,
        prefix: mappedPrefix(family, prefix),
        gateway: parseAddress(subnet.gateway).words,
      };
    }),
    gatewayMac: mac(gatewayMac(network.name, vxlan.vni)),
    routerMac: mac(routerMac(network.name, vxlan.vni, host.spec.underlay.address)),
    ageing: Math.round(bridge.ageing * 1000),
    maxEntries: bridge.maxEntries,
    unknownUnicast: bridge.unknownUnicast,
    broadcast: bridge.broadcast,
    multicast: bridge.multicast,
    arpSuppression: bridge.arpSuppression,
    reserved: bridge.reserved,
    innerVlan: vxlan.innerVlan,
    reservedBits: vxlan.reservedBits,
    dscp: vxlan.tos === 'inherit' ? INHERIT : vxlan.tos,
    ...(network.spec.internal && { internal: true }),
  };
}

function peerConfig(
  peer: Peer,
  host: Host,
  networks: readonly Network[],
  ids: Ids,
  networkIds: Ids,
  rows: Ids,
): PeerConfig {
  const joined = networks.filter((network) => inNetwork(peer, network));
  const address = peerAddress(peer, host);
  const memberships = joined.flatMap((network): PeerMembership[] => {
    if (address === undefined) return [];
    const port = peer.spec.port ?? network.spec.vxlan.port;
    const remote = rows.get(remoteKey(address, port))!;
    return [{ network: networkIds.get(network.name)!, remote, address: parseAddress(address).words, port }];
  });
  const entries = peer.spec.static.flatMap((entry) => {
    const places = joined.filter((network) => entry.network === undefined || entry.network === network.name);
    return places.map((network) => {
      const words = entry.ip === undefined ? null : parseAddress(entry.ip).words;
      // An entry for all networks binds its address only where that address belongs.
      const belongs =
        words !== null && network.spec.subnets.some(({ cidr }) => contains(parseCidr(cidr), words));
      return { network: networkIds.get(network.name)!, mac: mac(entry.mac), address: belongs ? words : null };
    });
  });
  return {
    id: ids.get(peer.name)!,
    name: peer.name,
    addresses: peer.spec.addresses.map((text) => parseAddress(text).words),
    memberships: memberships.sort((a, b) => a.network - b.network),
    flood: peer.spec.flood,
    static: entries,
    pathMtu: 0,
  };
}

/**
 * Prefix lengths from the subnet, the next hop of each family from the subnet of its first address. The host has its own
 * default route, and an internal network is none (N33).
 */
function tapOptions(
  port: Port,
  networks: ReadonlyMap<string, Network>,
  mtus: ReadonlyMap<string, number>,
): TapOptions {
  const { spec } = port;
  const network = networks.get(spec.network);
  const subnets = network?.spec.subnets ?? [];
  const wantsRoute = spec.defaultRoute && spec.netns !== null && network?.spec.internal === false;
  const subnetOf = (address: string) => {
    const { words } = parseAddress(address);
    return subnets.find(({ cidr }) => contains(parseCidr(cidr), words));
  };
  const gateways = new Map<boolean, string>();
  const addresses = spec.addresses.map(({ address, prefix }) => {
    const subnet = subnetOf(address);
    const v6 = address.includes(':');
    if (subnet !== undefined && wantsRoute && !gateways.has(v6)) gateways.set(v6, subnet.gateway);
    if (prefix !== 0) return { address, prefix };
    return { address, prefix: subnet === undefined ? (v6 ? 128 : 32) : parseCidr(subnet.cidr).prefix };
  });
  const limit = mtus.get(spec.network)!;
  return {
    netns: spec.netns,
    name: spec.interface,
    mac: spec.mac,
    mtu: Math.min(spec.mtu ?? limit, limit),
    addresses,
    gateways: [...gateways.values()],
  };
}

function remoteKeys(host: Host, networks: readonly Network[], peers: readonly Peer[]): string[] {
  const keys = new Set<string>();
  for (const peer of peers) {
    const address = peerAddress(peer, host);
    for (const network of networks) {
      if (address === undefined || !inNetwork(peer, network)) continue;
      keys.add(remoteKey(address, peer.spec.port ?? network.spec.vxlan.port));
    }
  }
  return [...keys];
}

function remoteKey(address: string, port: number): string {
  return `${address} ${port}`;
}

function remotePlan(key: string, rows: Ids): RemotePlan {
  const [address = '', port = ''] = key.split(' ');
  return { row: rows.get(key)!, address: parseAddress(address).words, port: Number(port) };
}

/** A TAP keeps its device while nothing but its MTU changes. */
function tapKey(tap: TapOptions): string {
  return `tap ${JSON.stringify({ ...tap, mtu: 0 })}`;
}

function underlayKey(options: UnderlayOptions): string {
  return `underlay ${JSON.stringify(options)}`;
}

function devicesOf(running: Generation | null): Ids {
  return new Map([
    ...(running?.underlays ?? []).map(({ device, options }) => [underlayKey(options), device] as const),
    ...(running?.ports ?? []).map(({ config, tap }) => [tapKey(tap), config.device] as const),
  ]);
}

function rowsOf(running: Generation | null): Ids {
  return new Map(
    running?.remotes.map(({ row, address, port }) => [remoteKey(formatWords(address), port), row]),
  );
}

function idsOf(objects: readonly { readonly name: string; readonly id: number }[] | undefined): Ids {
  return new Map(objects?.map(({ name, id }) => [name, id]));
}

function names(resources: readonly Resource[]): string[] {
  return resources.map((resource) => resource.name);
}

function byName<R extends Resource>(resources: readonly R[]): R[] {
  return [...resources].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function byId<T extends { readonly id: number }>(objects: T[]): T[] {
  return objects.sort((a, b) => a.id - b.id);
}

function mac(text: string): Mac {
  return parseMac(text);
}
