/** Rules that hold between resources. What one document can be judged by alone is in `schema/`. */
import { checkNetworks } from './check/networks.ts';
import { checkPeers } from './check/peers.ts';
import { checkPorts } from './check/ports.ts';
import { checkServices } from './check/services.ts';
import { formatOrigin, nameOf, problemIn } from './problem.ts';
import type { Problem, Resource, ResourceOf } from './types.ts';

export interface Checked {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** The resources of a set by kind, and where findings go. */
export interface Findings {
  readonly hosts: readonly ResourceOf<'Host'>[];
  readonly networks: readonly ResourceOf<'Network'>[];
  readonly peers: readonly ResourceOf<'Peer'>[];
  readonly ports: readonly ResourceOf<'Port'>[];
  readonly services: readonly ResourceOf<'Service'>[];
  readonly slices: readonly ResourceOf<'EndpointSlice'>[];
  refuse(resource: Resource, path: string, message: string): void;
  warn(resource: Resource, path: string, message: string): void;
}

/** Judges a complete set: all problems (it must not be applied) and warnings (it may). */
export function checkSet(resources: readonly Resource[]): Checked {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const single = withoutDuplicates(resources, problems);
  const set: Findings = {
    hosts: single.filter((r) => r.kind === 'Host'),
    networks: single.filter((r) => r.kind === 'Network'),
    peers: single.filter((r) => r.kind === 'Peer'),
    ports: single.filter((r) => r.kind === 'Port'),
    services: single.filter((r) => r.kind === 'Service'),
    slices: single.filter((r) => r.kind === 'EndpointSlice'),
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
  checkNetworks(set);
  checkPeers(set);
  checkPorts(set);
  checkServices(set);
  return { problems, warnings };
}

/** M3: one object, one definition. The first of several is judged further. */
function withoutDuplicates(resources: readonly Resource[], problems: Problem[]): Resource[] {
  const seen = new Map<string, Resource>();
  for (const resource of resources) {
    const key = nameOf(resource);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, resource);
      continue;
    }
    const message = `${key} is already defined at ${formatOrigin(first.origin)}; definitions are not merged, keep one`;
    problems.push(problemIn(resource, 'metadata.name', message));
  }
  return [...seen.values()];
}
