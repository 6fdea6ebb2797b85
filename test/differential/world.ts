/**
 * The fabric both worlds have, and what a world is: frames in at a station's place, frames out at others.
 *
 *   pods a b c   10.77.0.11–13     d e f g   10.78.0.14–17     behind peer p: far 10.77.0.21     q: other 10.77.0.22
 *
 * each with an IPv6 address of the same last number, fd00:77:1:2:a:b:c:11 and so on: no word of these is 0, so that a
 * checksum must count each. Where the host has a port, clients are
 * outside too: near 198.51.100.9, next 198.51.100.77, away 203.0.113.9, all behind one router of the host's uplink.
 */
import { gatewayMac, routerMac } from '../../src/control/identity.ts';
import { ip6 } from '../frames.ts';
import type { Change } from './spec.ts';

export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

export const VNI = 42;
export const VXLAN_PORT = 4789;
/** Largest IP packet of the network: 1500 less the tunnel and a tag (V15). */
export const MTU = 1446;

/** The text of 16 bytes: eight groups, none left out. */
export function text6(bytes: ArrayLike<number>): string {
  return Array.from({ length: 8 }, (_, i) => ((bytes[i * 2]! << 8) | bytes[i * 2 + 1]!).toString(16)).join(
    ':',
  );
}
const six = (text: string): string => text6(ip6(text));

/** By family: [IPv4, IPv6]. */
export type Addresses = readonly [string, string];
export const of = (addresses: Addresses, family: Family): string => addresses[family === 4 ? 0 : 1];
export const familyOf = (address: string): Family => (address.includes(':') ? 6 : 4);

export const HOST_ADDRESS = '192.0.2.1';
/** The host's own, where node ports answer. */
export const NODE: Addresses = [HOST_ADDRESS, six('2001:db8::c:d:e:1')];
export const GATEWAYS = ['10.77.0.1', '10.78.0.1', six('fd00:77:1:2::1'), six('fd00:78:1:2::1')];
export const SUBNETS = ['10.77.0.0/24', '10.78.0.0/24', 'fd00:77:1:2::/64', 'fd00:78:1:2::/64'];
export const GATEWAY_MAC = gatewayMac('blue', VNI);
export const ROUTER_MAC = routerMac('blue', VNI, HOST_ADDRESS);
export const SERVICE_CIDRS: Addresses = ['10.96.0.0/16', 'fd00:96:3:4:5:6:7:0/112'];

/** The host's own port in the network: the address endpoints see in place of clients (S21). */
export const HOST_PORT = {
  name: 'host',
  mac: '02:00:00:00:77:02',
  addresses: ['10.77.0.2', '10.78.0.2', six('fd00:77:1:2::2'), six('fd00:78:1:2::2')],
  masked: ['10.77.0.2', six('fd00:77:1:2::2')] as Addresses,
};
export const NODE_MAC = '02:00:00:00:99:01';
/** The router beyond the uplink: of everybody outside. */
export const BEYOND = {
  addresses: ['192.0.2.254', six('2001:db8::fe')] as Addresses,
  mac: '02:00:00:00:99:09',
};
export const OUTSIDE = 'outside';
/** Networks that lie behind that router. */
export const OUTER_CIDRS = ['198.51.100.0/24', '203.0.113.0/24', '2001:db8:51::/48', '2001:db8:203::/48'];

export interface Station {
  readonly name: string;
  /** Where its frames enter: its own TAP, the peer it is behind, or the uplink. */
  readonly place: string;
  readonly ip: string;
  readonly ip6: string;
  readonly mac: string;
}

export const PODS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'] as const;
/** Peer → underlay address. */
export const PEERS: Readonly<Record<string, string>> = { p: '192.0.2.2', q: '192.0.2.3' };

const inside = (name: string, place: string, subnet: number, last: number, mac: string): Station => ({
  ...{ name, place, mac },
  ip: `10.${subnet}.0.${last}`,
  ip6: six(`fd00:${subnet}:1:2:a:b:c:${last}`),
});

export const STATIONS: readonly Station[] = [
  ...PODS.map((name, i) => inside(name, name, i < 3 ? 77 : 78, 11 + i, `02:00:00:00:00:0${i + 1}`)),
  inside('far', 'p', 77, 21, '02:00:00:00:01:01'),
  inside('other', 'q', 77, 22, '02:00:00:00:02:01'),
];

const outsider = (name: string, ip: string, text: string): Station => ({
  ...{ name, place: OUTSIDE, mac: BEYOND.mac, ip },
  ip6: six(text),
});
export const OUTSIDERS: readonly Station[] = [
  outsider('near', '198.51.100.9', '2001:db8:51:0:1:2:3:9'),
  outsider('next', '198.51.100.77', '2001:db8:51:1:1:2:3:77'),
  outsider('away', '203.0.113.9', '2001:db8:203:5:6:7:8:9'),
];

const ALL = [...STATIONS, ...OUTSIDERS];
export const station = (name: string): Station => ALL.find((s) => s.name === name)!;
const BY_ADDRESS = new Map(ALL.flatMap((s) => [s.ip, s.ip6].map((address) => [address, s])));
export const stationAt = (address: string): Station | undefined => BY_ADDRESS.get(address);
export const addressOf = ({ ip, ip6: address6 }: Station, family: Family): string =>
  family === 4 ? ip : address6;
export const isPod = (place: string): boolean => (PODS as readonly string[]).includes(place);
const subnetOf = (address: string): string => address.split(/[.:]/)[1]!;
export const gatewayOf = (from: Station, family: Family = 4): string =>
  GATEWAYS[(subnetOf(from.ip) === '77' ? 0 : 1) + (family === 4 ? 0 : 2)]!;
/** Of two addresses of one family inside the network. */
export const isOnOneLink = (a: string, b: string): boolean => subnetOf(a) === subnetOf(b);

/** What netfilter sees of the kernel's bridge, and whether the host has a port, hence an outside. */
export type Mode = 'routed' | 'bridged' | 'routed, with a host' | 'bridged, with a host';
export const isBridged = (mode: Mode): boolean => mode.startsWith('bridged');
export const hasHost = (mode: Mode): boolean => mode.endsWith('host');

/** A frame that left: to a pod's TAP, by the uplink, or (without its tunnel headers) to a peer. */
export interface Delivery {
  readonly to: string;
  readonly frame: Uint8Array;
}

export interface World {
  /** Everything the frames cause, one after the other. */
  send(place: string, frames: readonly Uint8Array[]): Delivery[];
  change(change: Change): void;
  close(): void;
}
