/** Where services are found from outside: what the host must route and let in. Kept up with every change. */
import { formatWords } from '../wire/address.ts';
import { familiesOf } from './schema/service.ts';
import type { ResourceOf } from './types.ts';

type Service = ResourceOf<'Service'>;

export interface NodePort {
  readonly family: 4 | 6;
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
}

export class Exposure {
  /** Goes up with every change of what is below. */
  version = 0;
  /** Text → how many Services. */
  readonly #addresses = new Map<string, number>();
  readonly #nodePorts = new Map<string, { readonly nodePort: NodePort; uses: number }>();

  /** externalIPs and load balancers' addresses. */
  addresses(): Iterable<string> {
    return this.#addresses.keys();
  }

  *nodePorts(): Generator<NodePort> {
    for (const { nodePort } of this.#nodePorts.values()) yield nodePort;
  }

  replace(before: Service | undefined, after: Service | undefined): void {
    if (after) this.#count(after, 1);
    if (before) this.#count(before, -1);
  }

  #count({ spec }: Service, by: 1 | -1): void {
    for (const { kind, words } of spec.addresses) {
      if (kind === 'clusterIP') continue;
      const text = formatWords(words);
      const uses = (this.#addresses.get(text) ?? 0) + by;
      if (uses === 0) this.#addresses.delete(text);
      else this.#addresses.set(text, uses);
      this.version++;
    }
    for (const { nodePort: port, protocol } of spec.ports) {
      if (port === 0 || protocol === 'SCTP') continue;
      for (const family of familiesOf(spec.addresses)) {
        const key = `${family} ${protocol} ${port}`;
        const known = this.#nodePorts.get(key) ?? { nodePort: { family, protocol, port }, uses: 0 };
        known.uses += by;
        if (known.uses === 0) this.#nodePorts.delete(key);
        else this.#nodePorts.set(key, known);
        this.version++;
      }
    }
  }
}
