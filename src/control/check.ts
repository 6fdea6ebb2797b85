/** Rules that hold between resources. What one document can be judged by alone is in `schema/`. */
import { checkHost } from './check/host.ts';
import { checkNetworks } from './check/networks.ts';
import { checkPeers } from './check/peers.ts';
import { checkPorts } from './check/ports.ts';
import { ResourceMap } from './named.ts';
import { formatOrigin, nameOf, problemIn } from './problem.ts';
import { ServiceBook } from './services.ts';
import { surroundingsOf } from './surroundings.ts';
import type { Allocation, Problem, Resource, ResourceOf } from './types.ts';

export interface Checked {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** Of a set nobody runs yet. */
export interface CheckedSet extends Checked {
  /** What Services would be given (S38). */
  readonly given: readonly Allocation[];
}

/** The resources of a set by kind, and where findings go. */
export interface Findings {
  readonly hosts: readonly ResourceOf<'Host'>[];
  readonly networks: readonly ResourceOf<'Network'>[];
  readonly peers: readonly ResourceOf<'Peer'>[];
  readonly ports: readonly ResourceOf<'Port'>[];
  refuse(resource: Resource, path: string, message: string): void;
  warn(resource: Resource, path: string, message: string): void;
}

/** Judges a complete set: all problems (it must not be applied) and warnings (it may). */
export function checkSet(resources: readonly Resource[]): CheckedSet {
  const problems: Problem[] = [];
  const single = withoutDuplicates(resources, problems);
  const fabric = checkFabric(single);
  const changes = single.map((after) => ({ before: undefined, after }));
  const services = new ServiceBook().stage(changes, surroundingsOf(single), false);
  return {
    problems: [...problems, ...fabric.problems, ...services.problems],
    warnings: [...fabric.warnings, ...services.warnings],
    given: services.given,
  };
}

/** The part of it that is no Service and no EndpointSlice; without duplicates. */
export function checkFabric(resources: readonly Resource[]): Checked {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const set: Findings = {
    hosts: resources.filter((r) => r.kind === 'Host'),
    networks: resources.filter((r) => r.kind === 'Network'),
    peers: resources.filter((r) => r.kind === 'Peer'),
    ports: resources.filter((r) => r.kind === 'Port'),
    refuse: (resource, path, message) => problems.push(problemIn(resource, path, message)),
    warn: (resource, path, message) => warnings.push(problemIn(resource, path, message)),
  };
  if (set.hosts.length === 0) {
    const message = 'no Host; exactly one document of kind Host must say who this daemon is';
    problems.push({ file: resources[0]?.origin.file ?? '', line: 0, column: 0, path: '', message });
  }
  for (const other of set.hosts.slice(1)) {
    const first = set.hosts[0]!;
    set.refuse(
      other,
      'kind',
      `a second Host; Host ${first.name} is at ${formatOrigin(first.origin)}, keep one`,
    );
  }
  const host = set.hosts[0];
  if (host) checkHost(host, resources, set);
  checkNetworks(set);
  checkPeers(set);
  checkPorts(set);
  return { problems, warnings };
}

/**
 * M3: one object, one definition. The first of several is judged further.
 * @param named where they are put; of several, any
 */
export function withoutDuplicates(
  resources: readonly Resource[],
  problems: Problem[],
  named = new ResourceMap(),
): readonly Resource[] {
  const more = new Set(resources.filter((resource) => !named.set(resource)));
  if (more.size === 0) return resources;
  const isSame = (a: Resource, b: Resource) =>
    a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;
  for (const resource of more) {
    const first = resources.find((other) => isSame(other, resource))!;
    const message = `${nameOf(resource)} is already defined at ${formatOrigin(first.origin)}; definitions are not merged, keep one`;
    problems.push(problemIn(resource, 'metadata.name', message));
  }
  return resources.filter((resource) => !more.has(resource));
}
