/**
 * Services and EndpointSlices → what the dataplane balances: IPv4 ClusterIPs over TCP and UDP.
 *
 * The running ones are indexed by name and by virtual address, so that a change costs what it touches: the services
 * whose own document or slices changed, and those that want an address with them (M10).
 */
import { RecordWriter, type ServiceBatch } from '../service/record.ts';
import { parseAddress } from '../wire/address.ts';
import { checkSlice, checkVip, type Subnet } from './check/services.ts';
import { Gathered } from './endpoints.ts';
import { formatOrigin, nameOf, problemIn } from './problem.ts';
import type { Problem, Resource, ResourceOf } from './types.ts';

type Service = ResourceOf<'Service'>;
type Slice = ResourceOf<'EndpointSlice'>;

const PROTOCOLS = { TCP: 6, UDP: 17 } as const;

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
  /** What the dataplane knows of it: "port protocol" → id. */
  readonly ids: ReadonlyMap<string, number>;
}

interface Draft {
  readonly before: Entry;
  service: Service | undefined;
  slices: readonly Slice[];
  ids: ReadonlyMap<string, number>;
}

/** What a change means; nothing has happened yet. */
export interface Staged {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly batch: ServiceBatch;
  /** Makes the change the running state. Only for the last one staged. */
  commit(): void;
}

const NOTHING: Entry = { service: undefined, slices: [], ids: new Map() };

export class ServiceBook {
  readonly #entries = new Map<string, Entry>();
  /** "vip protocol port" → every Service that wants it. */
  readonly #claims = new Map<string, readonly Service[]>();
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
    const warn = (resource: Resource, path: string, message: string) =>
      warnings.push(problemIn(resource, path, message));
    const drafts = new Map<string, Draft>();
    const claims = new Map<string, readonly Service[]>();
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
      for (const service of [...known, ...wanted]) this.#draft(drafts, fullName(service));
    }
    if (recheck) {
      for (const [name, { service }] of this.#entries) {
        if (service && !drafts.has(name)) checkVip(service, subnets, refuse);
      }
    }

    const owner = (key: string): Service => ownerOf(claims.get(key) ?? this.#claims.get(key) ?? []);
    const compiler = new Compiler(this.#free, this.#ids);
    for (const [name, draft] of drafts) {
      const { service } = draft;
      if (service) {
        checkVip(service, subnets, refuse);
        for (const [i, { protocol, port }] of service.spec.ports.entries()) {
          if (service.spec.clusterIP === '') break;
          const other = owner(claimOf(service, protocol, port));
          if (other === service) continue;
          const message = `${service.spec.clusterIP}:${port}/${protocol} belongs to ${nameOf(other)} (${formatOrigin(other.origin)}), which is older; not programmed`;
          warn(service, `spec.ports[${i}].port`, message);
        }
      }
      compiler.compile(name, draft, owner);
    }
    const commit = (): void => {
      for (const [name, { service, slices, ids }] of drafts) {
        if (service || slices.length > 0) this.#entries.set(name, { service, slices, ids });
        else this.#entries.delete(name);
      }
      for (const [key, wanted] of claims) {
        if (wanted.length > 0) this.#claims.set(key, wanted);
        else this.#claims.delete(key);
      }
      ({ free: this.#free, ids: this.#ids } = compiler.idsLeft());
    };
    return { problems, warnings, batch: compiler.writer.finish(), commit };
  }

  #draft(drafts: Map<string, Draft>, name: string): Draft {
    let draft = drafts.get(name);
    if (!draft) {
      const before = this.#entries.get(name) ?? NOTHING;
      draft = { before, ...before };
      drafts.set(name, draft);
    }
    return draft;
  }

  #replace(
    drafts: Map<string, Draft>,
    claims: Map<string, readonly Service[]>,
    before: Service | undefined,
    after: Service | undefined,
  ): void {
    const service = (before ?? after)!;
    this.#draft(drafts, fullName(service)).service = after;
    if (service.spec.clusterIP === '') return;
    for (const { protocol, port } of service.spec.ports) {
      const key = claimOf(service, protocol, port);
      const wanted = claims.get(key) ?? this.#claims.get(key);
      if (after) claims.set(key, wanted ? [...wanted, after] : [after]);
      else claims.set(key, wanted?.filter((other) => other !== before) ?? []);
    }
  }

  #slice(drafts: Map<string, Draft>, before: Slice | undefined, after: Slice | undefined): void {
    const { namespace, spec } = (before ?? after)!;
    if (spec.addressType !== 'IPv4' || spec.service === '') return;
    const draft = this.#draft(drafts, `${namespace}/${spec.service}`);
    draft.slices = after ? [...draft.slices, after] : draft.slices.filter((slice) => slice !== before);
  }
}

/** Writes the records of what differs, and gives out ids. */
class Compiler {
  readonly writer = new RecordWriter();
  readonly #scratch = new RecordWriter();
  readonly #gathered = new Gathered();
  readonly #free: readonly number[];
  #left: number;
  #ids: number;
  readonly #released: number[] = [];

  constructor(free: readonly number[], ids: number) {
    this.#free = free;
    this.#left = free.length;
    this.#ids = ids;
  }

  /** Ids that go are used again by later changes only: until then the dataplane may know them. */
  idsLeft(): { free: number[]; ids: number } {
    return { free: [...this.#free.slice(0, this.#left), ...this.#released], ids: this.#ids };
  }

  compile(name: string, draft: Draft, owner: (claim: string) => Service): void {
    const { before, service, slices } = draft;
    const ids = new Map<string, number>();
    for (const port of service?.spec.clusterIP ? service.spec.ports : []) {
      const { protocol } = port;
      if (protocol === 'SCTP' || owner(claimOf(service!, protocol, port.port)) !== service) continue;
      const label = port.name === '' ? String(port.port) : port.name;
      const key = `${label} ${protocol}`;
      const known = before.ids.get(key);
      const id = known ?? (this.#left > 0 ? this.#free[--this.#left]! : this.#ids++);
      ids.set(key, id);
      const start = this.writer.mark();
      this.#write(this.writer, id, `${name}:${label}`, service!, port, slices);
      if (known === undefined) continue;
      const old = before.service!.spec.ports.find((p) => keyOf(p) === key)!;
      this.#scratch.rewind(0);
      this.#write(this.#scratch, id, `${name}:${label}`, before.service!, old, before.slices);
      if (this.writer.endsWith(start, this.#scratch)) this.writer.rewind(start);
    }
    for (const [key, id] of before.ids) {
      if (ids.has(key)) continue;
      this.writer.remove(id);
      this.#released.push(id);
    }
    draft.ids = ids;
  }

  #write(
    writer: RecordWriter,
    id: number,
    name: string,
    { spec }: Service,
    port: Service['spec']['ports'][number],
    slices: readonly Slice[],
  ): void {
    const protocol = port.protocol as 'TCP' | 'UDP';
    const gathered = this.#gathered;
    gathered.gather(slices, port.name, protocol);
    const { words } = parseAddress(spec.clusterIP);
    const { backends, others } = gathered;
    const ms = spec.affinity * 1000;
    const at = writer.begin(id, name, words, PROTOCOLS[protocol], port.port, ms, backends, others);
    gathered.write(writer.target, at);
  }
}

const keyOf = ({ name, protocol, port }: Service['spec']['ports'][number]): string =>
  `${name === '' ? port : name} ${protocol}`;

const fullName = ({ namespace, name }: Resource): string => `${namespace}/${name}`;

const claimOf = ({ spec }: Service, protocol: string, port: number): string =>
  `${spec.clusterIP} ${protocol} ${port}`;

/** M10: the older, then the first by name. */
function ownerOf(services: readonly Service[]): Service {
  return services.reduce((best, service) => (isOlder(service, best) ? service : best));
}

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
