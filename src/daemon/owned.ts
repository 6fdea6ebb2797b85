/**
 * The set of resources the daemon runs, and who gave each: the files of the command line, or the socket.
 *
 *   files read again   what came from files and is gone from them is deleted; what came over the socket stays
 *   applied            added, or takes the place of the one with its name; an unchanged one keeps its owner
 *
 * A change is a list of replacements; it costs what it touches, and nothing happens before `commit`.
 */
import { sameContent } from '../control/diff.ts';
import { NamedMap } from '../control/named.ts';
import type { Replacement } from '../control/services.ts';
import type { Kind, Resource, ResourceOf } from '../control/types.ts';

type Owner = 'files' | 'socket';

export interface OwnedReplacement extends Replacement {
  readonly owner: Owner;
}

interface Owned {
  readonly resource: Resource;
  readonly owner: Owner;
}

const isService = (kind: Kind): boolean => kind === 'Service' || kind === 'EndpointSlice';

/** Whether a change is of more than services. */
export const isOfFabric = ({ before, after }: OwnedReplacement): boolean =>
  !isService((after ?? before)!.kind);

export class OwnedSet {
  readonly #kinds = new Map<Kind, NamedMap<Owned>>();

  /** All of a kind. */
  of<K extends Kind>(kind: K): ResourceOf<K>[] {
    return [...this.#of(kind).values()].map(({ resource }) => resource as ResourceOf<K>);
  }

  count(kind: Kind): number {
    return this.#of(kind).size;
  }

  all(): Resource[] {
    return [...this.#kinds.keys()].flatMap((kind): Resource[] => this.of(kind));
  }

  /** Everything but services as it will be; what was just read comes last. */
  fabricAfter(changes: readonly OwnedReplacement[]): Resource[] {
    const own = changes.filter(isOfFabric);
    const replaced = new Set(own.map(({ before }) => before));
    const kinds = [...this.#kinds.keys()].filter((kind) => !isService(kind));
    const others = kinds.flatMap((kind): Resource[] => this.of(kind)).filter((one) => !replaced.has(one));
    return [...others, ...own.flatMap(({ after }) => after ?? [])];
  }

  get(kind: Kind, namespace: string, name: string): Resource | undefined {
    return this.#of(kind).get(namespace, name)?.resource;
  }

  /** @param resources without duplicates */
  applied(resources: readonly Resource[]): OwnedReplacement[] {
    return resources.map((after) => {
      const old = this.#find(after);
      const owner = old && sameContent(old.resource, after) ? old.owner : 'socket';
      return { before: old?.resource, after, owner };
    });
  }

  /** @param resources without duplicates */
  files(resources: readonly Resource[]): OwnedReplacement[] {
    const replaced = new Set<Resource>();
    const changes = resources.map((after): OwnedReplacement => {
      const before = this.#find(after)?.resource;
      if (before) replaced.add(before);
      return { before, after, owner: 'files' };
    });
    for (const kind of this.#kinds.values()) {
      for (const { resource, owner } of kind.values()) {
        if (owner === 'files' && !replaced.has(resource))
          changes.push({ before: resource, after: undefined, owner });
      }
    }
    return changes;
  }

  commit(changes: readonly OwnedReplacement[]): void {
    for (const { before, after, owner } of changes) {
      const { kind, namespace, name } = (after ?? before)!;
      if (after) this.#of(kind).set(namespace, name, { resource: after, owner });
      else this.#of(kind).delete(namespace, name);
    }
  }

  #find({ kind, namespace, name }: Resource): Owned | undefined {
    return this.#of(kind).get(namespace, name);
  }

  #of(kind: Kind): NamedMap<Owned> {
    let all = this.#kinds.get(kind);
    if (!all) {
      all = new NamedMap();
      this.#kinds.set(kind, all);
    }
    return all;
  }
}
