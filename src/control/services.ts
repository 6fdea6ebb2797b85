/**
 * Services and EndpointSlices → what the dataplane balances.
 *
 * The running ones are indexed by name and by what they claim, so that a change costs what it touches: the services
 * whose own document or slices changed, and those that want an address or a node port with them (M10).
 */
import { isDeepStrictEqual } from 'node:util';
import type { ServiceBatch } from '../service/record.ts';
import { Allocator } from './allocation/allocator.ts';
import type { ServiceChange } from './allocation/round.ts';
import { checkService, checkSlice, checkVips, type Report } from './check/services.ts';
import { ClaimBook, type StagedClaims } from './claim-book.ts';
import { localReady } from './endpoints.ts';
import { NamedMap } from './named.ts';
import { nameOf, problemIn } from './problem.ts';
import { type Draft, type Entry, NOT_ELSEWHERE, ServiceCompiler } from './service-compiler.ts';
import { NOWHERE, type Surroundings } from './surroundings.ts';
import type { Allocation, Problem, Resource, ResourceOf } from './types.ts';

type Service = ResourceOf<'Service'>;
type Slice = ResourceOf<'EndpointSlice'>;

/** A resource that comes (no `before`), changes, or goes (no `after`). */
export interface Replacement {
  readonly before: Resource | undefined;
  readonly after: Resource | undefined;
}

/** What a change means; nothing has happened yet. */
export interface Staged {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** The changes of Services with what they were given (S38), and of those that are given another place. */
  readonly filled: readonly Replacement[];
  /** What is given and was not before. */
  readonly given: readonly Allocation[];
  readonly batch: ServiceBatch;
  /** Makes the change the running state. Only for the last one staged. */
  commit(): void;
}

/** A load balancer asks for it at a node port of its own (S34). */
export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** Ready endpoints on this host. */
  readonly localEndpoints: number;
}

/** Services without EndpointSlices that are told one by one: of a whole cluster's there may be very many. */
const MOST_TOLD = 20;

export class ServiceBook {
  readonly #entries = new NamedMap<Entry>();
  /** Of the change staged last, until it is committed. */
  #drafts: Draft[] = [];
  readonly #claims = new ClaimBook();
  readonly #allocator = new Allocator();
  /** Those with a health check node port. */
  readonly #checked = new NamedMap<Service>();
  #elsewhere = NOT_ELSEWHERE;
  #surroundings = NOWHERE;
  /** Ids that were given back, the next one to use last. */
  #free: number[] = [];
  #ids = 0;

  /** A Service with what it was given (S38). */
  get(namespace: string, name: string): Service | undefined {
    return this.#entries.get(namespace, name)?.service;
  }

  /** Slices that carry the name of a Service. */
  slicesOf(namespace: string, name: string): readonly Slice[] {
    return this.#entries.get(namespace, name)?.slices ?? [];
  }

  /** What services were compiled with last. */
  get surroundings(): Surroundings {
    return this.#surroundings;
  }

  /** Service ports with a Local policy whose endpoints are all on other hosts (S36). */
  get withoutLocalEndpoints(): { readonly internal: number; readonly external: number } {
    return this.#elsewhere;
  }

  healthChecks(): HealthCheck[] {
    return [...this.#checked.values()].map(({ namespace, name, spec }) => ({
      namespace,
      name,
      port: spec.healthCheckNodePort,
      localEndpoints: localReady(this.#entries.get(namespace, name)!.slices, this.#surroundings.nodeName),
    }));
  }

  /**
   * @param changes of Services and EndpointSlices; others are ignored
   * @param recheck the surroundings may have changed, so that every service must be judged
   */
  stage(changes: readonly Replacement[], surroundings: Surroundings, recheck: boolean): Staged {
    const problems: Problem[] = [];
    const warnings: Problem[] = [];
    const refuse: Report = (resource, path, message) => problems.push(problemIn(resource, path, message));
    const warn: Report = (resource, path, message) => warnings.push(problemIn(resource, path, message));
    this.#abandon();
    const claims = this.#claims.stage();
    const allotted = this.#allocator.stage(
      this.#ofServices(changes),
      surroundings,
      recheck,
      () => this.#running(),
      refuse,
      warn,
    );
    for (const { before, after } of allotted.changes) {
      if (before) this.#replace(claims, before, undefined);
      if (after) this.#replace(claims, undefined, after);
      if (after && !after.isPlain) checkService(after, warn);
    }
    for (const { before, after } of changes) {
      if (before?.kind === 'EndpointSlice') this.#slice(before, undefined);
      if (after?.kind !== 'EndpointSlice') continue;
      this.#slice(undefined, after);
      if (!after.isPlain) checkSlice(after, warn);
    }
    for (const { namespace, name } of claims.concerned()) this.#draft(namespace, name);
    if (recheck) this.#recheck(surroundings, refuse);
    const before = { ...this.#surroundings, claims: this.#claims };
    const after = { ...surroundings, claims };
    const compiler = new ServiceCompiler(this.#free, this.#ids, before, after, warn);
    for (const draft of this.#drafts) {
      if (draft.service) checkVips(draft.service, surroundings, refuse);
      compiler.compile(draft);
    }
    for (const slice of this.#orphans()) {
      const message = `there is no Service ${slice.namespace}/${slice.spec.service}; this slice waits for it`;
      warn(slice, 'metadata.labels', message);
    }
    if (!surroundings.hasHostPort) this.#warnOfNodePorts(warn);
    const unserved = [...this.#unserved()];
    for (const [i, service] of unserved.slice(0, MOST_TOLD).entries()) {
      const more = i === MOST_TOLD - 1 ? unserved.length - MOST_TOLD : 0;
      const others = more > 0 ? ` (and those of ${more} more Services)` : '';
      const message = `no EndpointSlice names ${nameOf(service)}: its clients${others} are refused until one does`;
      warn(service, 'metadata.name', message);
    }
    const commit = (): void => {
      for (const draft of this.#drafts) this.#commit(draft);
      this.#drafts = [];
      claims.commit();
      allotted.commit();
      ({ free: this.#free, ids: this.#ids } = compiler.idsLeft());
      this.#surroundings = surroundings;
    };
    const { changes: filled, given } = allotted;
    return { problems, warnings, filled, given, batch: compiler.writer.finish(), commit };
  }

  /** Changes of Services, from what they run with. */
  #ofServices(changes: readonly Replacement[]): ServiceChange[] {
    const services: ServiceChange[] = [];
    for (const { before, after } of changes) {
      const { kind, namespace, name, isPlain } = (before ?? after)!;
      if (kind !== 'Service') continue;
      const running = before && !isPlain ? this.get(namespace, name) : before;
      services.push({ before: running as Service | undefined, after: after as Service | undefined });
    }
    return services;
  }

  *#running(): Generator<Service> {
    for (const { service } of this.#entries.values()) if (service) yield service;
  }

  #commit({ namespace, name, entry, service, slices, ids, elsewhere }: Draft): void {
    if (service?.spec.healthCheckNodePort) this.#checked.set(namespace, name, service);
    else this.#checked.delete(namespace, name);
    this.#elsewhere = difference(this.#elsewhere, entry.elsewhere, elsewhere);
    Object.assign(entry, { service, slices, ids, elsewhere, draft: undefined });
    if (isEmpty(entry)) this.#entries.delete(namespace, name);
  }

  /** Forgets what was staged and not committed. */
  #abandon(): void {
    for (const { namespace, name, entry } of this.#drafts) {
      entry.draft = undefined;
      if (isEmpty(entry)) this.#entries.delete(namespace, name);
    }
    this.#drafts = [];
  }

  /** Services that did not change: judged again; and compiled again where what they depend on changed. */
  #recheck(surroundings: Surroundings, refuse: Report): void {
    const dependsOn = ({ serviceCIDRs: _, hasHostPort: __, ...rest }: Surroundings) => rest;
    const isOther = !isDeepStrictEqual(dependsOn(surroundings), dependsOn(this.#surroundings));
    for (const { service, draft } of this.#entries.values()) {
      if (!service || draft) continue;
      if (isOther) this.#draft(service.namespace, service.name);
      else checkVips(service, surroundings, refuse);
    }
  }

  /** Slices that come and name a Service nobody knows. */
  *#orphans(): Generator<Slice> {
    for (const { entry, service, slices } of this.#drafts) {
      if (service) continue;
      for (const slice of slices) if (!entry.slices.includes(slice)) yield slice;
    }
  }

  /** S19: of the first Service that comes with one. */
  #warnOfNodePorts(warn: Report): void {
    for (const { entry, service } of this.#drafts) {
      if (!service || service === entry.service) continue;
      const { addresses, ports } = service.spec;
      const i = ports.findIndex(({ nodePort }) => nodePort !== 0);
      if (i < 0 || addresses.length === 0) continue;
      const message = 'pods alone find node ports: no Port is the host’s own, which is one without netns';
      warn(service, `spec.ports[${i}]`, message);
      return;
    }
  }

  /** Services that can be found and have no slice, where one came or the other went. */
  *#unserved(): Generator<Service> {
    for (const { entry, service, slices } of this.#drafts) {
      if (!service || slices.length > 0 || (entry.service && entry.slices.length === 0)) continue;
      if (service.spec.addresses.length > 0) yield service;
    }
  }

  /** What an entry is to become. A new name has an entry that is empty until the change is committed. */
  #draft(namespace: string, name: string): Draft {
    let entry = this.#entries.get(namespace, name);
    if (!entry) {
      entry = { service: undefined, slices: [], ids: [], elsewhere: NOT_ELSEWHERE, draft: undefined };
      this.#entries.set(namespace, name, entry);
    }
    if (entry.draft) return entry.draft;
    const { service, slices, ids, elsewhere } = entry;
    entry.draft = { namespace, name, entry, service, slices, ids, elsewhere };
    this.#drafts.push(entry.draft);
    return entry.draft;
  }

  #replace(claims: StagedClaims, before: Service | undefined, after: Service | undefined): void {
    const service = (before ?? after)!;
    this.#draft(service.namespace, service.name).service = after;
    if (after) claims.add(after);
    else claims.drop(service);
  }

  #slice(before: Slice | undefined, after: Slice | undefined): void {
    const { namespace, spec } = (before ?? after)!;
    if (spec.addressType === 'FQDN' || spec.service === '') return;
    const draft = this.#draft(namespace, spec.service);
    draft.slices = after ? draft.slices.concat(after) : draft.slices.filter((slice) => slice !== before);
  }
}

const isEmpty = ({ service, slices }: Entry): boolean => service === undefined && slices.length === 0;

type Elsewhere = Entry['elsewhere'];

/** A sum after one of its parts changed. */
function difference(sum: Elsewhere, before: Elsewhere, after: Elsewhere): Elsewhere {
  return {
    internal: sum.internal - before.internal + after.internal,
    external: sum.external - before.external + after.external,
  };
}
