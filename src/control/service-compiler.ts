/** Services → records of what differs, and their ids. */
import {
  ALGORITHMS,
  ANY_SOURCE,
  FrontendKind,
  NOT_COMPUTED,
  ON_ENDPOINT_REMOVED,
  RecordWriter,
  ServiceFlag,
} from '../service/record.ts';
import { contains, familyOf, formatWords, mappedPrefix, type Words } from '../wire/address.ts';
import type { Report } from './check/services.ts';
import { addressClaim, type Claim, nodePortClaim, precedence } from './claims.ts';
import { Gathered } from './endpoints.ts';
import { formatOrigin, nameOf } from './problem.ts';
import { addressPath } from './schema/service.ts';
import type { Surroundings } from './surroundings.ts';
import type { ResourceOf, ServiceAddress, ServicePort } from './types.ts';

type Service = ResourceOf<'Service'>;
type Slice = ResourceOf<'EndpointSlice'>;

/** What is known under one "namespace/name". */
interface Known {
  service: Service | undefined;
  /** IPv4 and IPv6 slices that carry its name. */
  slices: readonly Slice[];
  ids: Ids;
  /** Its service ports by the Local policy that keeps them from endpoints there are (S36). */
  elsewhere: { readonly internal: number; readonly external: number };
}

/** What runs, and what it is to become. */
export interface Entry extends Known {
  draft: Draft | undefined;
}

/** What an entry is to become. */
export interface Draft extends Known {
  readonly namespace: string;
  readonly name: string;
  readonly entry: Entry;
}

/** A service port the dataplane knows, by name and protocol of its port. */
interface Id {
  readonly port: ServicePort;
  readonly family: 4 | 6;
  readonly id: number;
}

type Ids = readonly Id[];

/** Surroundings, and who has what several Services want. */
export interface World extends Surroundings {
  readonly claims: { owner(claim: Claim, service: Service): Service };
}

export const NOT_ELSEWHERE: Known['elsewhere'] = { internal: 0, external: 0 };

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const KINDS = {
  clusterIP: FrontendKind.CLUSTER_IP,
  externalIP: FrontendKind.EXTERNAL_IP,
  loadBalancer: FrontendKind.LOAD_BALANCER,
} as const;
const HOST_PREFIX = 128;

/** A service port by the ways it is found (S3): of one family, those that are its own. */
interface Unit {
  readonly service: Service;
  readonly port: ServicePort;
  readonly family: 4 | 6;
  readonly frontends: readonly ServiceAddress[];
  /** 0 = none. */
  readonly nodePort: number;
}

const NOBODY: Report = () => {};

export class ServiceCompiler {
  readonly writer = new RecordWriter();
  readonly #scratch = new RecordWriter();
  readonly #gathered = new Gathered();
  readonly #free: number[];
  #left: number;
  #ids: number;
  readonly #released: number[] = [];
  readonly #before: World;
  readonly #after: World;
  readonly #warn: Report;

  constructor(free: number[], ids: number, before: World, after: World, warn: Report) {
    this.#free = free;
    this.#left = free.length;
    this.#ids = ids;
    this.#before = before;
    this.#after = after;
    this.#warn = warn;
  }

  /** Once the change is committed. Ids that go are used again by later ones: until then the dataplane may know them. */
  idsLeft(): { free: number[]; ids: number } {
    const free = this.#free;
    free.length = this.#left;
    for (const id of this.#released) free.push(id);
    return { free, ids: this.#ids };
  }

  compile(draft: Draft): void {
    const { entry: before, service, slices } = draft;
    let internal = 0;
    let external = 0;
    const units = service ? unitsOf(service, this.#after, this.#warn) : [];
    const ids = units.map(({ port, family }): Id => {
      const id = idOf(before.ids, port, family);
      return { port, family, id: id ?? (this.#left > 0 ? this.#free[--this.#left]! : this.#ids++) };
    });
    for (const [i, unit] of units.entries()) {
      const { port, family, id } = ids[i]!;
      const start = this.writer.mark();
      this.#write(this.writer, id, unit, slices, this.#after);
      if (this.#gathered.isUsable && this.#gathered.local === 0) {
        if (service!.spec.internalLocal) internal++;
        if (isExternalLocal(unit)) external++;
      }
      if (this.#gathered.hasEndpoints && !this.#gathered.hasPort) this.#warnOfPort(unit);
      if (idOf(before.ids, port, family) === undefined) continue;
      const olds = unitsOf(before.service!, this.#before, NOBODY);
      const old = olds.find((other) => isSame(other, port, family))!;
      this.#scratch.rewind(0);
      this.#write(this.#scratch, id, old, before.slices, this.#before);
      if (this.writer.endsWith(start, this.#scratch)) this.writer.rewind(start);
    }
    for (const { port, family, id } of before.ids) {
      if (idOf(ids, port, family) !== undefined) continue;
      this.writer.remove(id);
      this.#released.push(id);
    }
    draft.ids = ids;
    draft.elsewhere = internal + external === 0 ? NOT_ELSEWHERE : { internal, external };
  }

  #warnOfPort({ service, port, family }: Unit): void {
    const i = service.spec.ports.indexOf(port);
    const message = `no IPv${family} EndpointSlice of this Service has a port named "${port.name}" over ${port.protocol}, so it has no endpoint; names must be the same`;
    this.#warn(service, `spec.ports[${i}]`, message);
  }

  #write(writer: RecordWriter, id: number, unit: Unit, slices: readonly Slice[], world: World): void {
    const { service, port, family, frontends, nodePort } = unit;
    const { spec } = service;
    const { protocol } = port;
    const externalLocal = isExternalLocal(unit);
    const usesLocal = spec.internalLocal || externalLocal;
    const gathered = this.#gathered;
    gathered.gather(slices, {
      addressType: family === 4 ? 'IPv4' : 'IPv6',
      portName: port.name,
      protocol,
      nodeName: world.nodeName,
      zone: world.zone,
      usesCluster: !spec.internalLocal || isExternal(unit),
      usesLocal,
    });
    const ranges = sourceRanges(unit, world);
    const { algorithm = world.proxy.algorithm } = spec;
    const { onEndpointRemoved = world.proxy.onEndpointRemoved } = spec;
    const { drain = world.proxy.drain * 1000 } = spec;
    const at = writer.begin(id, `${service.namespace}/${service.name}:${labelOf(port)}`, {
      protocol: PROTOCOLS[protocol],
      nodePort,
      flags:
        (spec.internalLocal ? ServiceFlag.INTERNAL_LOCAL : 0) |
        (externalLocal ? ServiceFlag.EXTERNAL_LOCAL : 0) |
        (gathered.isUsable ? ServiceFlag.USABLE : 0) |
        (family === 6 ? ServiceFlag.IPV6 : 0) |
        (ALGORITHMS.indexOf(algorithm) << ServiceFlag.ALGORITHM_SHIFT) |
        (ON_ENDPOINT_REMOVED.indexOf(onEndpointRemoved) << ServiceFlag.ON_REMOVED_SHIFT) |
        (spec.affinityMode === 'absolute' ? ServiceFlag.AFFINITY_ABSOLUTE : 0),
      affinity: spec.affinity * 1000,
      drain: onEndpointRemoved === 'drain' ? drain : 0,
      frontends: frontends.length,
      cluster: gathered.cluster,
      local: usesLocal ? gathered.local : NOT_COMPUTED,
      ranges: ranges === null ? ANY_SOURCE : ranges.length,
      others: gathered.others,
    });
    const { target } = writer;
    let to = at;
    for (const { kind, words } of frontends) {
      to = writeWords(target, to, words, (KINDS[kind] << 16) | port.port);
    }
    to = gathered.writeSets(target, to);
    for (const { words, prefix } of ranges ?? []) to = writeWords(target, to, words, prefix);
    gathered.writeOthers(target, to);
  }
}

/** S10 */
const isExternal = ({ nodePort, frontends }: Unit): boolean =>
  nodePort !== 0 || frontends.some(({ kind }) => kind !== 'clusterIP');

const isExternalLocal = (unit: Unit): boolean => unit.service.spec.externalLocal && isExternal(unit);

/** The service ports of a Service, with what is theirs of what they want (M10). */
function unitsOf(service: Service, world: World, warn: Report): Unit[] {
  const { addresses, ports } = service.spec;
  const units: Unit[] = [];
  for (const { kind, words } of addresses) {
    if (kind !== 'clusterIP') continue;
    const family = familyOf(words);
    for (const port of ports) {
      const frontends = addresses.filter(
        (address) => familyOf(address.words) === family && isFrontend(service, address, port, world, warn),
      );
      const nodePort = isNodePort(service, family, port, world, warn) ? port.nodePort : 0;
      if (frontends.length > 0 || nodePort !== 0) units.push({ service, port, family, frontends, nodePort });
    }
  }
  return units;
}

/** N6: packets to an address inside a subnet never reach the gateway. ClusterIPs there are refused elsewhere. */
function isFrontend(
  service: Service,
  { kind, words }: ServiceAddress,
  port: ServicePort,
  { subnets, claims }: World,
  warn: Report,
): boolean {
  const inside = kind === 'clusterIP' ? undefined : subnets.find(({ cidr }) => contains(cidr, words));
  if (inside) {
    const place = `subnet ${inside.cidr.text} of network ${inside.network}`;
    const message = `${formatWords(words)} lies inside ${place}, where no service is found; not programmed`;
    warn(service, addressPath(service.document, words), message);
    return false;
  }
  const other = claims.owner(addressClaim(words, port), service);
  if (other === service) return true;
  warnOfOwner(service, port, 'port', `${formatWords(words)}:${port.port}`, other, warn);
  return false;
}

function isNodePort(
  service: Service,
  family: 4 | 6,
  port: ServicePort,
  { claims }: World,
  warn: Report,
): boolean {
  if (port.nodePort === 0) return false;
  const other = claims.owner(nodePortClaim(family, port), service);
  if (other === service) return true;
  warnOfOwner(service, port, 'nodePort', `node port ${port.nodePort}`, other, warn);
  return false;
}

function warnOfOwner(
  service: Service,
  port: ServicePort,
  key: string,
  what: string,
  other: Service,
  warn: Report,
): void {
  const place = `${nameOf(other)} (${formatOrigin(other.origin)})`;
  const path = `spec.ports[${service.spec.ports.indexOf(port)}].${key}`;
  const why = precedence(other, service);
  warn(
    service,
    path,
    `${what}/${port.protocol} belongs to ${place}, which ${why}; ${nameOf(service)} is not found there`,
  );
}

/**
 * S3, S18: the source ranges of the family, with the load balancer's own addresses when the node is inside.
 * @returns prefixes in the 128-bit space; null when everybody may come
 */
function sourceRanges({ service, family, frontends }: Unit, world: World) {
  const ranges = service.spec.sourceRanges.filter((range) => range.family === family);
  if (ranges.length === 0) return null;
  const own = world.nodeAddresses.some((address) => ranges.some((range) => contains(range, address)));
  const balancers = own ? frontends.filter(({ kind }) => kind === 'loadBalancer') : [];
  return [
    ...ranges.map(({ words, prefix }) => ({ words, prefix: mappedPrefix(family, prefix) })),
    ...balancers.map(({ words }) => ({ words, prefix: HOST_PREFIX })),
  ];
}

function writeWords(target: Int32Array, at: number, words: Words, last: number): number {
  for (let i = 0; i < 4; i++) target[at + i] = words[i]!;
  target[at + 4] = last;
  return at + 5;
}

const labelOf = ({ name, port }: ServicePort): string => (name === '' ? String(port) : name);

const isSame = (one: Pick<Unit, 'port' | 'family'>, port: ServicePort, family: 4 | 6): boolean =>
  one.family === family && one.port.protocol === port.protocol && labelOf(one.port) === labelOf(port);

const idOf = (ids: Ids, port: ServicePort, family: 4 | 6): number | undefined =>
  ids.find((known) => isSame(known, port, family))?.id;
