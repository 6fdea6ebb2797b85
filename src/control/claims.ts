/** What Services may want of each other: an address with protocol and port, or a node port (M10). */
import { isV4, type Words } from '../wire/address.ts';
import { familiesOf } from './schema/service.ts';
import type { Resource, ResourceOf, ServicePort } from './types.ts';

type Service = ResourceOf<'Service'>;

/**
 * One thing only one Service can have: a number for an IPv4 address (from 0, below 2^50) or a node port (below 0),
 * text for an IPv6 address.
 */
export type Claim = number | string;

const PROTOCOLS = { TCP: 0, UDP: 1, SCTP: 2 } as const;

export function addressClaim(words: Words, { protocol, port }: ServicePort): Claim {
  if (isV4(words)) return ((words[3] >>> 0) * 65_536 + port) * 4 + PROTOCOLS[protocol];
  return `${words.join(' ')} ${port} ${protocol}`;
}

export function nodePortClaim(family: 4 | 6, { protocol, nodePort }: ServicePort): Claim {
  return -1 - (nodePort * 32 + family * 4 + PROTOCOLS[protocol]);
}

/** All that a Service wants, each once. */
export function claimsOf({ spec }: Service): Claim[] {
  const claims: Claim[] = [];
  for (const port of spec.ports) {
    for (const { words } of spec.addresses) claims.push(addressClaim(words, port));
    if (port.nodePort === 0) continue;
    for (const family of familiesOf(spec.addresses)) claims.push(nodePortClaim(family, port));
  }
  return claims;
}

/** M10: the older, then the first by name. */
export function ownerOf(services: readonly Service[]): Service {
  if (services.length === 1) return services[0]!;
  return services.reduce((best, service) => (isOlder(service, best) ? service : best));
}

/** Why one of two is the owner, to complete "which …". */
export const precedence = (owner: Service, other: Service): string =>
  createdAt(owner) === createdAt(other)
    ? 'comes first by name, as neither has an older creationTimestamp'
    : 'is older';

const fullName = ({ namespace, name }: Resource): string => `${namespace}/${name}`;

/** The order in which Services come before each other. */
export function isOlder(a: Service, b: Service): boolean {
  const [createdA, createdB] = [createdAt(a), createdAt(b)];
  return createdA === createdB ? fullName(a) < fullName(b) : createdA < createdB;
}

/** ms; a Service without creationTimestamp counts as the youngest. */
function createdAt(service: Service): number {
  const { creationTimestamp } = (service.document as { metadata: { creationTimestamp?: unknown } }).metadata;
  const time = typeof creationTimestamp === 'string' ? Date.parse(creationTimestamp) : Number.NaN;
  return Number.isNaN(time) ? Number.POSITIVE_INFINITY : time;
}
