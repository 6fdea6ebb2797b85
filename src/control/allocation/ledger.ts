/** What is used, and how often: addresses of Services and node ports. Changes are drafts until they are committed. */
import { formatWords, isV4, type Words } from '../../wire/address.ts';
import { addressPath } from '../schema/service.ts';
import type { ResourceOf, ServiceSpec } from '../types.ts';

/** A number from 0 for an IPv4 address, below 0 for a node port; text for an IPv6 address. */
export type Key = number | string;

export const addressKey = (words: Words): Key => (isV4(words) ? words[3] >>> 0 : words.join(' '));
export const nodePortKey = (port: number): Key => -port;

/** Whatever a Service has, each once; whichever the protocol, as an API server counts. */
export function keysOf({ addresses, ports, healthCheckNodePort }: ServiceSpec): Set<Key> {
  const keys = new Set<Key>(addresses.map(({ words }) => addressKey(words)));
  for (const { nodePort } of ports) if (nodePort !== 0) keys.add(nodePortKey(nodePort));
  if (healthCheckNodePort !== 0) keys.add(nodePortKey(healthCheckNodePort));
  return keys;
}

export function textOf(key: Key): string {
  if (typeof key === 'number' && key < 0) return `node port ${-key}`;
  return formatWords(typeof key === 'number' ? [0, 0, 0xffff, key | 0] : wordsOf(key));
}

const wordsOf = (key: string): Words => key.split(' ').map(Number) as unknown as Words;

/** Where a Service has written it. */
export function pathOf({ spec, document }: ResourceOf<'Service'>, key: Key): string {
  const address = spec.addresses.find(({ words }) => addressKey(words) === key);
  if (address) return addressPath(document, address.words);
  const i = spec.ports.findIndex(({ nodePort }) => nodePortKey(nodePort) === key);
  return i < 0 ? 'spec.healthCheckNodePort' : `spec.ports[${i}].nodePort`;
}

export class Ledger {
  readonly #counts: Map<Key, number>;
  readonly #draft = new Map<Key, number>();

  constructor(counts: Map<Key, number>) {
    this.#counts = counts;
  }

  isUsed(key: Key): boolean {
    return (this.#draft.get(key) ?? this.#counts.get(key) ?? 0) > 0;
  }

  add(keys: Iterable<Key>, by: 1 | -1): void {
    for (const key of keys) {
      this.#draft.set(key, (this.#draft.get(key) ?? this.#counts.get(key) ?? 0) + by);
    }
  }

  commit(): void {
    for (const [key, count] of this.#draft) {
      if (count > 0) this.#counts.set(key, count);
      else this.#counts.delete(key);
    }
  }
}
