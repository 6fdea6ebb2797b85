import type { Kind, Resource } from './types.ts';

/** A map from (namespace, name). Two levels, so that no key is put together for every look. */
export class NamedMap<T> {
  readonly #namespaces = new Map<string, Map<string, T>>();
  /** The namespace looked at last: neighbours mostly are of one. */
  #last = '';
  #lastNames: Map<string, T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(namespace: string, name: string): T | undefined {
    return this.#of(namespace)?.get(name);
  }

  /** @returns false when there was another value */
  set(namespace: string, name: string, value: T): boolean {
    let names = this.#of(namespace);
    if (!names) {
      names = new Map();
      this.#namespaces.set(namespace, names);
      this.#lastNames = names;
    }
    const before = names.size;
    names.set(name, value);
    const added = names.size - before;
    this.#size += added;
    return added > 0;
  }

  delete(namespace: string, name: string): void {
    const names = this.#of(namespace);
    if (!names?.delete(name)) return;
    this.#size--;
    if (names.size > 0) return;
    this.#namespaces.delete(namespace);
    this.#lastNames = undefined;
  }

  *values(): Generator<T> {
    for (const names of this.#namespaces.values()) yield* names.values();
  }

  #of(namespace: string): Map<string, T> | undefined {
    if (namespace !== this.#last || this.#lastNames === undefined) {
      this.#last = namespace;
      this.#lastNames = this.#namespaces.get(namespace);
    }
    return this.#lastNames;
  }
}

/** Resources by kind, namespace and name. */
export class ResourceMap {
  readonly #kinds = new Map<Kind, NamedMap<Resource>>();

  kinds(): Iterable<Kind> {
    return this.#kinds.keys();
  }

  *of(kind: Kind): Generator<Resource> {
    yield* this.#kinds.get(kind)?.values() ?? [];
  }

  *all(): Generator<Resource> {
    for (const named of this.#kinds.values()) yield* named.values();
  }

  count(kind: Kind): number {
    return this.#kinds.get(kind)?.size ?? 0;
  }

  get isEmpty(): boolean {
    for (const { size } of this.#kinds.values()) if (size > 0) return false;
    return true;
  }

  get(kind: Kind, namespace: string, name: string): Resource | undefined {
    return this.#kinds.get(kind)?.get(namespace, name);
  }

  /** @returns false when it took the place of another */
  set(resource: Resource): boolean {
    let named = this.#kinds.get(resource.kind);
    if (!named) {
      named = new NamedMap();
      this.#kinds.set(resource.kind, named);
    }
    return named.set(resource.namespace, resource.name, resource);
  }

  /** @returns false when `before` is not there; then nothing changes */
  replace(before: Resource, after: Resource): boolean {
    if (this.get(before.kind, before.namespace, before.name) !== before) return false;
    this.set(after);
    return true;
  }

  /** The one of that name, if there is one. */
  delete({ kind, namespace, name }: Resource): void {
    this.#kinds.get(kind)?.delete(namespace, name);
  }
}
