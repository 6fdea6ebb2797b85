/**
 * Services and EndpointSlices → what the dataplane balances.
 *
 * The running ones are indexed by name and by what they claim, so that a change costs what it touches: the services
 * whose own document or slices changed, and those that want an address or a node port with them (M10).
 */
import { isDeepStrictEqual } from 'node:util';
import type { ServiceBatch } from '../service/record.ts';
import { Allocator } from './allocation/allocator.ts';
import { checkService, checkSlice, checkVips, type Report } from './check/services.ts';
import { type Claim, claimsOf, ownerOf } from './claims.ts';
import { localReady } from './endpoints.ts';
import { NamedMap } from './named.ts';
import { problemIn } from './problem.ts';
import { type Draft, type Entry, ServiceCompiler } from './service-compiler.ts';
import { NOWHERE, type Surroundings } from './surroundings.ts';
import type { Allocation, Problem, Resource, ResourceOf } from './types.ts';

type Service = ResourceOf<'Service'>;
type Slice = ResourceOf<'EndpointSlice'>;
type Claims = Map<Claim, readonly Service[]>;

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

const NOTHING: Entry = { service: undefined, slices: [], ids: [], elsewhere: { internal: 0, external: 0 } };

export class ServiceBook {
  readonly #entries = new NamedMap<Entry>();
  /** Every Service that wants it. */
  readonly #claims: Claims = new Map();
  readonly #allocator = new Allocator();
  /** Those with a health check node port. */
  readonly #checked = new NamedMap<Service>();
  #elsewhere = NOTHING.elsewhere;
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
    const drafts = new NamedMap<Draft>();
    const claims: Claims = new Map();
    const allotted = this.#allocator.stage(
      this.#ofServices(changes),
      surroundings,
      recheck,
      () => this.#running(),
      refuse,
      warn,
    );
    for (const { before, after } of allotted.changes) {
      if (before) this.#replace(drafts, claims, before, undefined);
      if (after) this.#replace(drafts, claims, undefined, after);
      if (after && !after.isPlain) checkService(after, warn);
    }
    for (const { before, after } of changes) {
      if (before?.kind === 'EndpointSlice') this.#slice(drafts, before, undefined);
      if (after?.kind === 'EndpointSlice') this.#slice(drafts, undefined, after);
      if (after?.kind === 'EndpointSlice' && !after.isPlain) checkSlice(after, warn);
    }
    for (const [claim, wanted] of claims) {
      const known = this.#claims.get(claim) ?? [];
      if (known.length + wanted.length < 2) continue;
      for (const { namespace, name } of [...known, ...wanted]) this.#draft(drafts, namespace, name);
    }
    if (recheck) this.#recheck(drafts, surroundings, refuse);
    const before = { ...this.#surroundings, owner: (claim: Claim) => ownerOf(this.#claims.get(claim) ?? []) };
    const after = {
      ...surroundings,
      owner: (c: Claim) => ownerOf(claims.get(c) ?? this.#claims.get(c) ?? []),
    };
    const compiler = new ServiceCompiler(this.#free, this.#ids, before, after, warn);
    for (const draft of drafts.values()) {
      if (draft.service) checkVips(draft.service, surroundings, refuse);
      compiler.compile(draft);
    }
    warnings.push(...this.#orphans(changes, drafts));
    const commit = (): void => {
      for (const { namespace, name, before, ...entry } of drafts.values()) {
        if (entry.service || entry.slices.length > 0) this.#entries.set(namespace, name, entry);
        else this.#entries.delete(namespace, name);
        if (entry.service?.spec.healthCheckNodePort) this.#checked.set(namespace, name, entry.service);
        else this.#checked.delete(namespace, name);
        this.#elsewhere = difference(this.#elsewhere, before.elsewhere, entry.elsewhere);
      }
      for (const [claim, wanted] of claims) {
        if (wanted.length > 0) this.#claims.set(claim, wanted);
        else this.#claims.delete(claim);
      }
      allotted.commit();
      ({ free: this.#free, ids: this.#ids } = compiler.idsLeft());
      this.#surroundings = surroundings;
    };
    const { changes: filled, given } = allotted;
    return { problems, warnings, filled, given, batch: compiler.writer.finish(), commit };
  }

  /** Changes of Services, from what they run with. */
  #ofServices(
    changes: readonly Replacement[],
  ): { before: Service | undefined; after: Service | undefined }[] {
    return changes.flatMap(({ before, after }) => {
      const { kind, namespace, name } = (after ?? before)!;
      if (kind !== 'Service') return [];
      return { before: before && this.get(namespace, name), after: after as Service | undefined };
    });
  }

  *#running(): Generator<Service> {
    for (const { service } of this.#entries.values()) if (service) yield service;
  }

  /** Services that did not change: judged again; and compiled again where what they depend on changed. */
  #recheck(drafts: NamedMap<Draft>, surroundings: Surroundings, refuse: Report): void {
    const dependsOn = ({ serviceCIDRs: _, ...rest }: Surroundings) => rest;
    const isOther = !isDeepStrictEqual(dependsOn(surroundings), dependsOn(this.#surroundings));
    for (const { service } of this.#entries.values()) {
      if (!service || drafts.get(service.namespace, service.name)) continue;
      if (isOther) this.#draft(drafts, service.namespace, service.name);
      else checkVips(service, surroundings, refuse);
    }
  }

  /** Slices that come and name a Service nobody knows. */
  *#orphans(changes: readonly Replacement[], drafts: NamedMap<Draft>): Generator<Problem> {
    for (const { after } of changes) {
      if (after?.kind !== 'EndpointSlice' || after.spec.service === '') continue;
      const { namespace, spec } = after;
      if (spec.addressType === 'FQDN' || drafts.get(namespace, spec.service)!.service) continue;
      const message = `there is no Service ${namespace}/${spec.service}; this slice waits for it`;
      yield problemIn(after, 'metadata.labels', message);
    }
  }

  #draft(drafts: NamedMap<Draft>, namespace: string, name: string): Draft {
    const known = drafts.get(namespace, name);
    if (known) return known;
    const before = this.#entries.get(namespace, name) ?? NOTHING;
    const draft = { namespace, name, before, ...before };
    drafts.set(namespace, name, draft);
    return draft;
  }

  #replace(
    drafts: NamedMap<Draft>,
    claims: Claims,
    before: Service | undefined,
    after: Service | undefined,
  ): void {
    const service = (before ?? after)!;
    this.#draft(drafts, service.namespace, service.name).service = after;
    for (const claim of claimsOf(service)) {
      const wanted = claims.get(claim) ?? this.#claims.get(claim);
      if (after) claims.set(claim, wanted ? [...wanted, after] : [after]);
      else claims.set(claim, wanted?.filter((other) => other !== before) ?? []);
    }
  }

  #slice(drafts: NamedMap<Draft>, before: Slice | undefined, after: Slice | undefined): void {
    const { namespace, spec } = (before ?? after)!;
    if (spec.addressType === 'FQDN' || spec.service === '') return;
    const draft = this.#draft(drafts, namespace, spec.service);
    draft.slices = after ? [...draft.slices, after] : draft.slices.filter((slice) => slice !== before);
  }
}

type Elsewhere = Entry['elsewhere'];

/** A sum after one of its parts changed. */
function difference(sum: Elsewhere, before: Elsewhere, after: Elsewhere): Elsewhere {
  return {
    internal: sum.internal - before.internal + after.internal,
    external: sum.external - before.external + after.external,
  };
}
