import type { Affinities } from './affinity.ts';
import { BACKEND_WORDS, type Services } from './services.ts';

/**
 * The backend a client's affinity names (S26, S27).
 * @returns an index into the service's backends; −1 when it has none, it is too old, or its backend has left.
 */
export function affineBackend(
  services: Services,
  affinities: Affinities,
  service: number,
  network: number,
  client: number,
  now: number,
): number {
  const timeout = services.affinity[service]!;
  if (timeout === 0) return -1;
  const row = affinities.find(network, service, 0, 0, 0xffff, client);
  if (row < 0 || ((now - affinities.stamp[row]!) | 0) >= timeout) return -1;
  return indexOf(services.backends[service]!, affinities.backend, row * BACKEND_WORDS);
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
