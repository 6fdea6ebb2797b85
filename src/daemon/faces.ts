/**
 * What of the running Services the host's kernel must know, however many there are: virtual addresses, which it routes
 * to Twill, and node ports, which it hands over. Counted, since Services may share them; a change costs what it touches.
 */
import type { Replacement } from '../control/services.ts';
import type { Resource, ServiceSpec } from '../control/types.ts';
import { formatWords } from '../wire/address.ts';
import type { ServiceChange } from './host-side.ts';

interface NodePort {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

/** How one Service shows itself to the host. */
interface Face {
  readonly addresses: readonly string[];
  readonly nodePorts: readonly NodePort[];
}

const NOTHING: Face = { addresses: [], nodePorts: [] };

function faceOf(service: ServiceSpec): Face {
  if (service.addresses.length === 0) return NOTHING;
  const nodePorts = service.ports.flatMap(({ nodePort, protocol }): NodePort[] =>
    nodePort === 0 || protocol === 'SCTP'
      ? []
      : [{ protocol: protocol === 'TCP' ? 'tcp' : 'udp', port: nodePort }],
  );
  return { addresses: service.addresses.map(({ words }) => formatWords(words)), nodePorts };
}

export class Faces {
  readonly #addresses = new Map<string, number>();
  /** By "tcp 30080". */
  readonly #nodePorts = new Map<string, number>();

  /** @returns null when nothing is new to the host. */
  commit(replacements: readonly Replacement[]): ServiceChange | null {
    const touched = new Map<string, boolean>();
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
      added,
      removed,
      ...(isNew && { nodePorts: { tcp: this.#open('tcp'), udp: this.#open('udp') } }),
    };
  }

  #open(protocol: string): number[] {
    const ports = [...this.#nodePorts.keys()].map((key) => key.split(' '));
    return ports.filter(([name]) => name === protocol).map(([, port]) => Number(port));
  }

  #count(resource: Resource | undefined, by: number, ...touched: [Touched, Touched]): void {
    if (resource?.kind !== 'Service') return;
    const { addresses, nodePorts } = faceOf(resource.spec);
    for (const address of addresses) tally(this.#addresses, address, by, touched[0]);
    for (const { protocol, port } of nodePorts) tally(this.#nodePorts, `${protocol} ${port}`, by, touched[1]);
  }
}

/** Keys whose count changed → whether they were there before. */
type Touched = Map<string, boolean>;

function tally(counts: Map<string, number>, key: string, by: number, touched: Touched): void {
  const before = counts.get(key) ?? 0;
  if (!touched.has(key)) touched.set(key, before > 0);
  counts.set(key, before + by);
}

/** Forgets what is counted 0. @returns what came and what went */
function settle(counts: Map<string, number>, touched: Touched): [string[], string[]] {
  const added: string[] = [];
  const removed: string[] = [];
  for (const [key, was] of touched) {
    const is = counts.get(key)! > 0;
    if (!is) counts.delete(key);
    if (is !== was) (is ? added : removed).push(key);
  }
  return [added, removed];
}
