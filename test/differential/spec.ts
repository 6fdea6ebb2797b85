/** A Service as both worlds are told of it, and whom it gives which flows (S10–S15, S22). */
import { type Addresses, type Family, gatewayOf, NODE, of, type Station, station } from './world.ts';

export interface ServicePort {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
  readonly targetPort: number;
  readonly nodePort: number;
}

/** A Service of both families with a slice of each. */
export interface ServiceSpec {
  readonly name: string;
  readonly clusterIPs: Addresses;
  readonly ports: readonly ServicePort[];
  readonly affinity: boolean;
  /** Names of stations. */
  readonly endpoints: readonly string[];
  readonly internalLocal: boolean;
  /** How it is found from outside; undefined = not at all. */
  readonly external: External | undefined;
}

export interface External {
  readonly externalIPs: Addresses;
  readonly balancers: Addresses;
  readonly isLocal: boolean;
  /** loadBalancerSourceRanges; none = anybody. */
  readonly ranges: readonly string[];
}

export const KINDS = ['clusterIP', 'externalIP', 'loadBalancer', 'nodePort', 'gatewayPort'] as const;
/** `gatewayPort`: a node port asked for at the gateway's address, which only Twill answers. */
export type Kind = (typeof KINDS)[number];

export const clusterIPs = (index: number): Addresses => [
  `10.96.0.${10 + index}`,
  `fd00:96:3:4:5:6:7:${10 + index}`,
];
/** Addresses beside ClusterIPs, which services come by and lose. */
export const externalIPs = (index: number): Addresses => outer(100 + index);
export const balancers = (index: number): Addresses => outer(200 + index);
const outer = (last: number): Addresses => [`203.0.113.${last}`, `2001:db8:203:8:9:a:b:${last}`];
export const isOuter = (address: string): boolean =>
  /^(203\.0\.113\.|2001:db8:203:.*:)[12]\d\d$/.test(address);

/** The policies' sets: whoever serves, and who serves here. */
export const POLICIES = ['cluster', 'local'] as const;
export type Policy = (typeof POLICIES)[number];

/** Endpoints that a slice places on another node, wherever they are. */
const ELSEWHERE = ['e', 'g', 'far', 'other'];
export const isElsewhere = (name: string): boolean => ELSEWHERE.includes(name);

/** The set's endpoints in the order they are chosen in; none when nothing asks for the set (S10). */
export function endpointsOf(spec: ServiceSpec, set: Policy): Station[] {
  const { internalLocal, external, endpoints } = spec;
  const isUsed =
    set === 'cluster'
      ? !internalLocal || external !== undefined
      : internalLocal || external?.isLocal === true;
  if (!isUsed) return [];
  const names = set === 'cluster' ? endpoints : endpoints.filter((name) => !isElsewhere(name));
  return names.map(station).sort((x, y) => number(x.ip) - number(y.ip));
}

/** Both families order alike: the last number counts. */
const number = (ip: string): number => ip.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);

/** The set that a client asks by a frontend; pods and the outside differ (S22). */
export function setOf(spec: ServiceSpec, kind: Kind, isOutside: boolean): Policy {
  if (kind === 'clusterIP') return spec.internalLocal ? 'local' : 'cluster';
  return spec.external!.isLocal && isOutside ? 'local' : 'cluster';
}

/** Where a client finds the port by such a frontend. */
export function frontendOf(
  { clusterIPs, external }: ServiceSpec,
  port: ServicePort,
  kind: Kind,
  family: Family,
  client: Station,
): { readonly address: string; readonly port: number } {
  if (kind === 'nodePort') return { address: of(NODE, family), port: port.nodePort };
  if (kind === 'gatewayPort') return { address: gatewayOf(client, family), port: port.nodePort };
  const addresses =
    kind === 'clusterIP' ? clusterIPs : kind === 'externalIP' ? external!.externalIPs : external!.balancers;
  return { address: of(addresses, family), port: port.port };
}

/** Whose turn it is: by family, port and set, counted in `endpointsOf`. */
export type Turns = Readonly<Record<Family, readonly Readonly<Record<Policy, number>>[]>>;

/** One service that comes, changes or (no `after`) goes. */
export interface Change {
  readonly name: string;
  readonly before: ServiceSpec | undefined;
  readonly after: ServiceSpec | undefined;
  readonly turns: Turns;
}
