/** What a path MTU means for the packets inside: the outer headers of V15 taken off. */
import { overhead } from '../control/mtu.ts';
import type { Generation } from '../control/types.ts';
import type { Address, Op } from '../dataplane/config.ts';

/** Of the running peers: what the worker must be told with each (V17). */
export class PathLimits {
  /** Peer location → largest inner packet its path takes. */
  readonly #inner = new Map<number, number>();

  /** @param inner 0 = no limit known. @returns whether that is news */
  set(peer: number, inner: number): boolean {
    if ((this.#inner.get(peer) ?? 0) === inner) return false;
    if (inner === 0) this.#inner.delete(peer);
    else this.#inner.set(peer, inner);
    return true;
  }

  /** Forgets all but these. */
  keep(peers: readonly { readonly id: number }[]): void {
    const ids = new Set(peers.map(({ id }) => id));
    for (const id of this.#inner.keys()) if (!ids.has(id)) this.#inner.delete(id);
  }

  /** An operation as it holds on the paths there are. */
  limited(op: Op): Op {
    const inner = op.op === 'peer' ? this.#inner.get(op.peer.id) : undefined;
    return op.op !== 'peer' || inner === undefined
      ? op
      : { op: 'peer', peer: { ...op.peer, pathMtu: inner } };
  }
}

/** @returns the largest inner packet, or 0 when every network of the peer fits the path as it is. */
export function innerLimit(generation: Generation, peer: string, pathMtu: number | null): number {
  const config = generation.peers.find((p) => p.name === peer);
  if (!config || pathMtu === null) return 0;
  let limit = 0;
  for (const { network, address } of config.memberships) {
    const joined = generation.networks.find((n) => n.id === network);
    if (!joined) continue;
    const inner = pathMtu - overhead(isV4(address) ? 4 : 6, joined.innerVlan);
    if (joined.mtu > inner) limit = limit === 0 ? inner : Math.min(limit, inner);
  }
  return limit;
}

const isV4 = (address: Address): boolean => address[0] === 0 && address[1] === 0 && address[2] === 0xffff;
