/**
 * What of the running Services the host's kernel must know, however many there are: virtual addresses, which it routes
 * to Twill, and node ports, which it hands over. Counted, since Services may share them; a change costs what it touches.
 */
import type { Replacement } from '../control/services.ts';
import type { Resource } from '../control/types.ts';
import { formatWords, isV4, type Words } from '../wire/address.ts';
import type { ServiceChange } from './host-side.ts';

/** An IPv4 address as a number, an IPv6 address as text: of a hundred thousand Services few are new to the host. */
type Key = number | string;

const keyOf = (words: Words): Key => (isV4(words) ? words[3] : formatWords(words));

const textOf = (key: Key): string => (typeof key === 'string' ? key : formatWords([0, 0, 0xffff, key]));

export class Faces {
  readonly #addresses = new Map<Key, number>();
  /** By "tcp 30080". */
  readonly #nodePorts = new Map<string, number>();

  /** @returns null when nothing is new to the host. */
  commit(replacements: readonly Replacement[]): ServiceChange | null {
    const touched = new Map<Key, boolean>();
    const ports = new Map<string, boolean>();
    for (const { before, after } of replacements) {
      this.#count(before, -1, touched, ports);
      this.#count(after, 1, touched, ports);
    }
    const [added, removed] = settle(this.#addresses, touched);
    const [opened, closed] = settle(this.#nodePorts, ports);
    if (added.length + removed.length + opened.length + closed.length === 0) return null;
    const isNew = opened.length + closed.length > 0;
    return {
      added: added.map(textOf),
      removed: removed.map(textOf),
      ...(isNew && { nodePorts: { tcp: this.#open('tcp'), udp: this.#open('udp') } }),
    };
  }

  #open(protocol: string): number[] {
    const ports = [...this.#nodePorts.keys()].map((key) => key.split(' '));
    return ports.filter(([name]) => name === protocol).map(([, port]) => Number(port));
  }

  #count(
    resource: Resource | undefined,
    by: number,
    touched: Touched<Key>,
    touchedPorts: Touched<string>,
  ): void {
    if (resource?.kind !== 'Service') return;
    const { addresses, ports } = resource.spec;
    for (const { words } of addresses) tally(this.#addresses, keyOf(words), by, touched);
    if (addresses.length === 0) return;
    for (const { nodePort, protocol } of ports) {
      if (nodePort === 0 || protocol === 'SCTP') continue;
      tally(this.#nodePorts, `${protocol.toLowerCase()} ${nodePort}`, by, touchedPorts);
    }
  }
}

/** Keys whose count changed → whether they were there before. */
type Touched<K> = Map<K, boolean>;

function tally<K>(counts: Map<K, number>, key: K, by: number, touched: Touched<K>): void {
  const before = counts.get(key) ?? 0;
  if (!touched.has(key)) touched.set(key, before > 0);
  counts.set(key, before + by);
}

/** Forgets what is counted 0. @returns what came and what went */
function settle<K>(counts: Map<K, number>, touched: Touched<K>): [K[], K[]] {
  const added: K[] = [];
  const removed: K[] = [];
  for (const [key, was] of touched) {
    const is = counts.get(key)! > 0;
    if (!is) counts.delete(key);
    if (is !== was) (is ? added : removed).push(key);
  }
  return [added, removed];
}
