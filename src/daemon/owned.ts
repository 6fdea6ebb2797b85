/**
 * The set of resources the daemon runs, and who gave each: the files of the command line, or the socket.
 *
 *   files read again   what came from files and is gone from them is deleted; what came over the socket stays
 *   applied            added, or takes the place of the one with its name; an unchanged one keeps its owner
 *
 * A change is a list of replacements; it costs what it touches, and nothing happens before `commit`.
 */
import { sameContent } from '../control/diff.ts';
import { ResourceMap } from '../control/named.ts';
import type { Replacement } from '../control/services.ts';
import type { Kind, Resource, ResourceOf } from '../control/types.ts';

export interface OwnedChange {
  readonly replacements: readonly Replacement[];
  /** Only for the last one asked for. */
  commit(): void;
}

const isService = (kind: Kind): boolean => kind === 'Service' || kind === 'EndpointSlice';

/** Whether a change is of more than services. */
export const isOfFabric = ({ before, after }: Replacement): boolean => !isService((after ?? before)!.kind);

export class OwnedSet {
  #files = new ResourceMap();
  readonly #socket = new ResourceMap();

  /** All of a kind. */
  of<K extends Kind>(kind: K): ResourceOf<K>[] {
    return [...this.#files.of(kind), ...this.#socket.of(kind)] as ResourceOf<K>[];
  }

  count(kind: Kind): number {
    return this.#files.count(kind) + this.#socket.count(kind);
  }

  all(): Resource[] {
    return this.#kinds().flatMap((kind): Resource[] => this.of(kind));
  }

  /** Everything but services as it will be; what was just read comes last. */
  fabricAfter(changes: readonly Replacement[]): Resource[] {
    const own = changes.filter(isOfFabric);
    const replaced = new Set(own.map(({ before }) => before));
    const kinds = this.#kinds().filter((kind) => !isService(kind));
    const others = kinds.flatMap((kind): Resource[] => this.of(kind)).filter((one) => !replaced.has(one));
    return [...others, ...own.flatMap(({ after }) => after ?? [])];
  }

  get(kind: Kind, namespace: string, name: string): Resource | undefined {
    return this.#files.get(kind, namespace, name) ?? this.#socket.get(kind, namespace, name);
  }

  /** @param resources without duplicates */
  applied(resources: readonly Resource[]): OwnedChange {
    const replacements = resources.map(
      (after): Replacement => ({ before: this.get(after.kind, after.namespace, after.name), after }),
    );
    const commit = (): void => {
      for (const { before, after } of replacements) {
        const isKept = before && sameContent(before, after!) && this.#files.replace(before, after!);
        if (isKept) continue;
        this.#files.delete(after!);
        this.#socket.set(after!);
      }
    };
    return { replacements, commit };
  }

  /** @param named what the files hold now, which is kept */
  files(named: ResourceMap): OwnedChange {
    const replacements: Replacement[] = [];
    for (const after of named.all())
      replacements.push({ before: this.get(after.kind, after.namespace, after.name), after });
    for (const before of this.#files.all()) {
      if (!named.get(before.kind, before.namespace, before.name)) {
        replacements.push({ before, after: undefined });
      }
    }
    const commit = (): void => {
      this.#files = named;
      if (this.#socket.isEmpty) return;
      for (const { after } of replacements) if (after) this.#socket.delete(after);
    };
    return { replacements, commit };
  }

  removed(before: Resource): OwnedChange {
    const commit = (): void => {
      this.#files.delete(before);
      this.#socket.delete(before);
    };
    return { replacements: [{ before, after: undefined }], commit };
  }

  #kinds(): Kind[] {
    return [...new Set([...this.#files.kinds(), ...this.#socket.kinds()])];
  }
}
