import type { Affinities } from './affinity.ts';
import { BACKEND_WORDS } from './record.ts';
import type { Services } from './services.ts';

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
  return indexOf(services, service, affinities.backend, row * BACKEND_WORDS);
}

/** Index of the backend at `at` of `from` among those of a service, or −1. */
function indexOf(services: Services, service: number, from: Int32Array, at: number): number {
  const words = services.backends(service);
  const count = services.size[service]!;
  for (let index = 0, to = services.first(service); index < count; index++, to += BACKEND_WORDS) {
    if (
      words[to + 3] === from[at + 3] &&
      words[to + 4] === from[at + 4] &&
      words[to + 2] === from[at + 2] &&
      words[to + 1] === from[at + 1] &&
      words[to] === from[at]
    ) {
      return index;
    }
  }
  return -1;
}
