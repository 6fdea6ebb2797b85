/**
 * The fabric both worlds have, and what a world is: frames in at a station's place, frames out at others.
 *
 *   pods a b c   10.77.0.11–13     d e f g   10.78.0.14–17     behind peer p: far 10.77.0.21     q: other 10.77.0.22
 */
import { gatewayMac, routerMac } from '../../src/control/identity.ts';

export const VNI = 42;
export const VXLAN_PORT = 4789;
/** Largest IP packet of the network: 1500 less the tunnel and a tag (V15). */
export const MTU = 1446;
export const HOST_ADDRESS = '192.0.2.1';
export const GATEWAYS = ['10.77.0.1', '10.78.0.1'];
export const GATEWAY_MAC = gatewayMac('blue', VNI);
export const ROUTER_MAC = routerMac('blue', VNI, HOST_ADDRESS);
export const SERVICE_CIDR = '10.96.0.0/16';

export interface Station {
  readonly name: string;
  /** Where its frames enter: its own TAP, or the peer it is behind. */
  readonly place: string;
  readonly ip: string;
  readonly mac: string;
}

export const PODS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'] as const;
/** Peer → underlay address. */
export const PEERS: Readonly<Record<string, string>> = { p: '192.0.2.2', q: '192.0.2.3' };

const pod = (name: string, index: number): Station => ({
  name,
  place: name,
  ip: `10.${index < 3 ? 77 : 78}.0.${11 + index}`,
  mac: `02:00:00:00:00:0${index + 1}`,
});

export const STATIONS: readonly Station[] = [
  ...PODS.map(pod),
  { name: 'far', place: 'p', ip: '10.77.0.21', mac: '02:00:00:00:01:01' },
  { name: 'other', place: 'q', ip: '10.77.0.22', mac: '02:00:00:00:02:01' },
];

export const station = (name: string): Station => STATIONS.find((s) => s.name === name)!;
export const stationAt = (ip: string): Station | undefined => STATIONS.find((s) => s.ip === ip);
export const isPod = (place: string): boolean => (PODS as readonly string[]).includes(place);
export const gatewayOf = ({ ip }: Station): string => GATEWAYS[ip.startsWith('10.77') ? 0 : 1]!;
export const isOnOneLink = (a: string, b: string): boolean => a.split('.')[1] === b.split('.')[1];

/** A frame that left: to a pod's TAP, or (without its tunnel headers) to a peer. */
export interface Delivery {
  readonly to: string;
  readonly frame: Uint8Array;
}

export interface ServicePort {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
  readonly targetPort: number;
}

/** A Service with one slice, as both worlds are told of it. */
export interface ServiceSpec {
  readonly name: string;
  readonly clusterIP: string;
  readonly ports: readonly ServicePort[];
  readonly affinity: boolean;
  /** Names of stations. */
  readonly endpoints: readonly string[];
}

/** One service that comes, changes or (no `after`) goes. */
export interface Change {
  readonly name: string;
  readonly before: ServiceSpec | undefined;
  readonly after: ServiceSpec | undefined;
  /** Per port: which endpoint the next new flow of it gets, counted in `endpointsOf`. */
  readonly next: readonly number[];
}

/** In the order they are chosen in. */
export const endpointsOf = (spec: ServiceSpec): Station[] =>
  spec.endpoints.map(station).sort((x, y) => number(x.ip) - number(y.ip));

const number = (ip: string): number => ip.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);

export interface World {
  /** Everything the frames cause, one after the other. */
  send(place: string, frames: readonly Uint8Array[]): Delivery[];
  change(change: Change): void;
  close(): void;
}
