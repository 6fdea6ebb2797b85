import type { Affinities } from './affinity.ts';
import { BACKEND_WORDS, type Services } from './services.ts';

/**
 * Chooses a backend for a new flow: the client's affinity if it has one, else round robin (S24, S26, S27).
 * @returns an index into the service's backends; there must be at least one.
 */
export function chooseBackend(
  services: Services,
  affinities: Affinities,
  service: number,
  network: number,
  client: number,
  now: number,
): number {
  const backends = services.backends[service]!;
  const timeout = services.affinity[service]!;
  if (timeout !== 0) {
    const row = affinities.find(network, service, 0, 0, 0xffff, client);
    if (row >= 0 && ((now - affinities.stamp[row]!) | 0) < timeout) {
      const index = indexOf(backends, affinities.backend, row * BACKEND_WORDS);
      if (index >= 0) return index;
    }
  }
  const count = backends.length / BACKEND_WORDS;
  const index = services.next[service]! % count;
  services.next[service] = index + 1 === count ? 0 : index + 1;
  return index;
}

/** Index of the backend at `at` of `from` among `backends`, or −1. */
export function indexOf(backends: Int32Array, from: Int32Array, at: number): number {
  for (let i = 0; i < backends.length; i += BACKEND_WORDS) {
    if (
      backends[i + 3] === from[at + 3] &&
      backends[i + 4] === from[at + 4] &&
      backends[i + 2] === from[at + 2] &&
      backends[i + 1] === from[at + 1] &&
      backends[i] === from[at]
    ) {
      return i / BACKEND_WORDS;
    }
  }
  return -1;
}
