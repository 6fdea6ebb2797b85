/** Between the prober, which knows the paths to peers, and the manager, which has the worker keep to them (V17). */
import type { Logger } from 'pino';
import { peerAddress } from '../control/membership.ts';
import type { Manager } from './manager.ts';
import { innerLimit } from './path-limits.ts';
import type { Prober } from './probes.ts';

export class PeerPaths {
  readonly #manager: Manager;
  readonly #prober: Prober;
  readonly #log: Logger;
  #isClosed = false;

  constructor(manager: Manager, prober: Prober, log: Logger) {
    this.#manager = manager;
    this.#prober = prober;
    this.#log = log;
  }

  /** After every swap: probe the peers there are now, and judge their paths by the networks there are now. */
  follow(): void {
    const host = this.#manager.of('Host')[0];
    const targets = this.#manager.of('Peer').flatMap((peer) => {
      const address = host && peerAddress(peer, host);
      return address === undefined ? [] : { name: peer.name, address };
    });
    this.#prober.setTargets(targets);
    for (const { name } of targets) this.limit(name, this.#prober.limit(name));
  }

  /** @param pathMtu null = as the link has it */
  limit(peer: string, pathMtu: number | null): void {
    const { generation } = this.#manager;
    if (!generation || this.#isClosed) return;
    const inner = innerLimit(generation, peer, pathMtu);
    this.#manager.limitPath(peer, inner).catch((error) => this.#log.error({ err: error, peer }, 'path MTU'));
  }

  /** The kernel refused a datagram to a peer as too large. */
  suspect(location: number): void {
    const peer = this.#manager.generation?.peers.find((p) => p.id === location);
    if (peer) this.#prober.suspect(peer.name);
  }

  /** From now on the worker is told nothing: it is being stopped. */
  close(): void {
    this.#isClosed = true;
  }
}
