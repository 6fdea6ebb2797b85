/**
 * Services and EndpointSlices → what the dataplane balances: IPv4 ClusterIPs over TCP and UDP.
 *
 * The running ones are indexed by name and by virtual address, so that a change costs what it touches: the services
 * whose own document or slices changed, and those that want an address with them (M10).
 */
import {
  ANY_SOURCE,
  FRONTEND_WORDS,
  NOT_COMPUTED,
  RecordWriter,
  type ServiceBatch,
  ServiceFlag,
} from '../service/record.ts';
import { parseAddress } from '../wire/address.ts';
import { checkSlice, checkVip, type Subnet } from './check/services.ts';
import { Gathered } from './endpoints.ts';
import { NamedMap } from './named.ts';
import { formatOrigin, nameOf, problemIn } from './problem.ts';
import type { Problem, Resource, ResourceOf } from './types.ts';

type Service = ResourceOf<'Service'>;
type Slice = ResourceOf<'EndpointSlice'>;

const PROTOCOLS = { TCP: 6, UDP: 17 } as const;
const CLAIMS = { TCP: 0, UDP: 1, SCTP: 2 } as const;

/** A resource that comes (no `before`), changes, or goes (no `after`). */
export interface Replacement {
  readonly before: Resource | undefined;
  readonly after: Resource | undefined;
}

/** All that is known under one "namespace/name". */
interface Entry {
  readonly service: Service | undefined;
  /** IPv4 slices that carry its name. */
  readonly slices: readonly Slice[];
  readonly ids: Ids;
}

/** What the dataplane knows of a Service: ids by "port protocol". */
type Ids = readonly { readonly key: string; readonly id: number }[];

/** What an entry is to become. */
interface Draft {
  readonly namespace: string;
  readonly name: string;
  readonly before: Entry;
  service: Service | undefined;
  slices: readonly Slice[];
  ids: Ids;
}

type Warn = (resource: Resource, path: string, message: string) => void;

/** What a change means; nothing has happened yet. */
export interface Staged {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly batch: ServiceBatch;
  /** Makes the change the running state. Only for the last one staged. */
  commit(): void;
}

const NOTHING: Entry = { service: undefined, slices: [], ids: [] };

export class ServiceBook {
  readonly #entries = new NamedMap<Entry>();
  /** `claimOf` an address → every Service that wants it. */
  readonly #claims = new Map<number, readonly Service[]>();
  /** Ids that were given back, the next one to use last. */
  #free: number[] = [];
  #ids = 0;

  /**
   * @param changes of Services and EndpointSlices; others are ignored
   * @param recheck the subnets changed, so that every virtual address must be judged
   */
  stage(changes: readonly Replacement[], subnets: readonly Subnet[], recheck: boolean): Staged {
    const problems: Problem[] = [];
    const warnings: Problem[] = [];
    const refuse = (resource: Resource, path: string, message: string) =>
      problems.push(problemIn(resource, path, message));
    const warn: Warn = (resource, path, message) => warnings.push(problemIn(resource, path, message));
    const drafts = new NamedMap<Draft>();
    const claims = new Map<number, readonly Service[]>();
    for (const { before, after } of changes) {
      if (before?.kind === 'Service') this.#replace(drafts, claims, before, undefined);
      if (after?.kind === 'Service') this.#replace(drafts, claims, undefined, after);
      if (before?.kind === 'EndpointSlice') this.#slice(drafts, before, undefined);
      if (after?.kind === 'EndpointSlice') {
        this.#slice(drafts, undefined, after);
        if (!after.isPlain) checkSlice(after, warn);
      }
    }
    for (const [key, wanted] of claims) {
      const known = this.#claims.get(key) ?? [];
      if (known.length + wanted.length < 2) continue;
      for (const { namespace, name } of [...known, ...wanted]) this.#draft(drafts, namespace, name);
    }
    if (recheck) {
      for (const { service } of this.#entries.values()) {
        if (service && !drafts.get(service.namespace, service.name)) checkVip(service, subnets, refuse);
      }
    }
    const owner = (claim: number): Service => ownerOf(claims.get(claim) ?? this.#claims.get(claim) ?? []);
    const compiler = new Compiler(this.#free, this.#ids, owner, warn);
    for (const draft of drafts.values()) {
      if (draft.service) checkVip(draft.service, subnets, refuse);
      compiler.compile(draft);
    }
    const commit = (): void => {
      for (const { namespace, name, service, slices, ids } of drafts.values()) {
        if (service || slices.length > 0) this.#entries.set(namespace, name, { service, slices, ids });
        else this.#entries.delete(namespace, name);
      }
      for (const [key, wanted] of claims) {
        if (wanted.length > 0) this.#claims.set(key, wanted);
        else this.#claims.delete(key);
      }
      ({ free: this.#free, ids: this.#ids } = compiler.idsLeft());
    };
    return { problems, warnings, batch: compiler.writer.finish(), commit };
  }

  #draft(drafts: NamedMap<Draft>, namespace: string, name: string): Draft {
    const known = drafts.get(namespace, name);
    if (known) return known;
    const before = this.#entries.get(namespace, name) ?? NOTHING;
    const { service, slices, ids } = before;
    const draft = { namespace, name, before, service, slices, ids };
    drafts.set(namespace, name, draft);
    return draft;
  }

  #replace(
    drafts: NamedMap<Draft>,
    claims: Map<number, readonly Service[]>,
    before: Service | undefined,
    after: Service | undefined,
  ): void {
    const service = (before ?? after)!;
    this.#draft(drafts, service.namespace, service.name).service = after;
    if (service.spec.clusterIP === '') return;
    for (const { protocol, port } of service.spec.ports) {
      const key = claimOf(service, protocol, port);
      const wanted = claims.get(key) ?? this.#claims.get(key);
      if (after) claims.set(key, wanted ? [...wanted, after] : [after]);
      else claims.set(key, wanted?.filter((other) => other !== before) ?? []);
    }
  }

  #slice(drafts: NamedMap<Draft>, before: Slice | undefined, after: Slice | undefined): void {
    const { namespace, spec } = (before ?? after)!;
    if (spec.addressType !== 'IPv4' || spec.service === '') return;
    const draft = this.#draft(drafts, namespace, spec.service);
    draft.slices = after ? [...draft.slices, after] : draft.slices.filter((slice) => slice !== before);
  }
}

/** Writes the records of what differs, and gives out ids. */
class Compiler {
  readonly writer = new RecordWriter();
  readonly #scratch = new RecordWriter();
  readonly #gathered = new Gathered();
  readonly #free: number[];
  #left: number;
  #ids: number;
  readonly #released: number[] = [];

  readonly #owner: (claim: number) => Service;
  readonly #warn: Warn;

  constructor(free: number[], ids: number, owner: (claim: number) => Service, warn: Warn) {
    this.#free = free;
    this.#left = free.length;
    this.#ids = ids;
    this.#owner = owner;
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
    const { before, service, slices } = draft;
    const ids: { key: string; id: number }[] = [];
    const ports = service?.spec.clusterIP ? service.spec.ports : [];
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      if (!this.#isOwn(service!, i) || port.protocol === 'SCTP') continue;
      const key = keyOf(port);
      const known = idOf(before.ids, key);
      const id = known ?? (this.#left > 0 ? this.#free[--this.#left]! : this.#ids++);
      ids.push({ key, id });
      const start = this.writer.mark();
      this.#write(this.writer, id, service!, port, slices);
      if (known === undefined) continue;
      const old = before.service!.spec.ports.find((p) => keyOf(p) === key)!;
      this.#scratch.rewind(0);
      this.#write(this.#scratch, id, before.service!, old, before.slices);
      if (this.writer.endsWith(start, this.#scratch)) this.writer.rewind(start);
    }
    for (const { key, id } of before.ids) {
      if (idOf(ids, key) !== undefined) continue;
      this.writer.remove(id);
      this.#released.push(id);
    }
    draft.ids = ids;
  }

  /** Warns when another Service has the address of the port. */
  #isOwn(service: Service, i: number): boolean {
    const { clusterIP, ports } = service.spec;
    const { protocol, port } = ports[i]!;
    const other = this.#owner(claimOf(service, protocol, port));
    if (other === service) return true;
    const message = `${clusterIP}:${port}/${protocol} belongs to ${nameOf(other)} (${formatOrigin(other.origin)}), which is older; not programmed`;
    this.#warn(service, `spec.ports[${i}].port`, message);
    return false;
  }

  #write(
    writer: RecordWriter,
    id: number,
    { namespace, name, spec }: Service,
    port: ServicePort,
    slices: readonly Slice[],
  ): void {
    const protocol = port.protocol as 'TCP' | 'UDP';
    const gathered = this.#gathered;
    gathered.gather(slices, port.name, protocol);
    const { words } = parseAddress(spec.clusterIP);
    const { backends, others } = gathered;
    const ms = spec.affinity * 1000;
    const full = `${namespace}/${name}:${labelOf(port)}`;
    const head = {
      protocol: PROTOCOLS[protocol],
      nodePort: 0,
      flags: backends > 0 ? ServiceFlag.USABLE : 0,
      affinity: ms,
      drain: 0,
      frontends: 1,
      cluster: backends,
      local: NOT_COMPUTED,
      ranges: ANY_SOURCE,
      others,
    };
    const at = writer.begin(id, full, head);
    const { target } = writer;
    for (let i = 0; i < 4; i++) target[at + i] = words[i]!;
    target[at + 4] = port.port;
    gathered.write(target, at + FRONTEND_WORDS);
  }
}

type ServicePort = Service['spec']['ports'][number];

const labelOf = ({ name, port }: ServicePort): string => (name === '' ? String(port) : name);

const keyOf = (port: ServicePort): string => `${labelOf(port)} ${port.protocol}`;

const idOf = (ids: Ids, key: string): number | undefined => ids.find((known) => known.key === key)?.id;

/** An address of a port as one number, below 2^50. */
function claimOf({ spec }: Service, protocol: ServicePort['protocol'], port: number): number {
  const { words } = parseAddress(spec.clusterIP);
  return ((words[3] >>> 0) * 65_536 + port) * 4 + CLAIMS[protocol];
}

/** M10: the older, then the first by name. */
function ownerOf(services: readonly Service[]): Service {
  if (services.length === 1) return services[0]!;
  return services.reduce((best, service) => (isOlder(service, best) ? service : best));
}

const fullName = ({ namespace, name }: Resource): string => `${namespace}/${name}`;

function isOlder(a: Service, b: Service): boolean {
  const [createdA, createdB] = [createdAt(a), createdAt(b)];
  return createdA === createdB ? fullName(a) < fullName(b) : createdA < createdB;
}

/** ms; a Service without creationTimestamp counts as the youngest. */
function createdAt(service: Service): number {
  const { creationTimestamp } = (service.document as { metadata: { creationTimestamp?: unknown } }).metadata;
  const time = typeof creationTimestamp === 'string' ? Date.parse(creationTimestamp) : Number.NaN;
  return Number.isNaN(time) ? Number.POSITIVE_INFINITY : time;
}
