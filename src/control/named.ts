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
