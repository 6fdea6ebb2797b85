/**
 * The set of resources the daemon runs, and who gave each: the files of the command line, or the socket.
 * Pure functions from one set to the next.
 *
 *   files read again   what came from files and is gone from them is deleted; what came over the socket stays
 *   applied            added, or takes the place of the one with its name; an unchanged one keeps its owner
 */
import type { Kind, Resource } from '../control/types.ts';

export interface Owned {
  readonly resource: Resource;
  readonly owner: 'files' | 'socket';
}

export type OwnedSet = ReadonlyMap<string, Owned>;

export function keyOf(resource: {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${resource.kind}/${resource.namespace}/${resource.name}`;
}

export function withApplied(current: OwnedSet, resources: readonly Resource[]): OwnedSet {
  const next = new Map(current);
  for (const resource of resources) {
    const key = keyOf(resource);
    const before = current.get(key);
    const owner = before && same(before.resource, resource) ? before.owner : 'socket';
    next.set(key, { resource, owner });
  }
  return next;
}

export function withFiles(current: OwnedSet, resources: readonly Resource[]): OwnedSet {
  const next = new Map([...current].filter(([, { owner }]) => owner === 'socket'));
  for (const resource of resources) next.set(keyOf(resource), { resource, owner: 'files' });
  return next;
}

export function without(current: OwnedSet, key: string): OwnedSet {
  const next = new Map(current);
  next.delete(key);
  return next;
}

const same = (a: Resource, b: Resource): boolean => content(a) === content(b);
const content = (r: Resource): string => JSON.stringify([r.labels, r.annotations, r.spec]);
