import type { Affinities } from '../affinity.ts';
import { BACKEND_WORDS } from '../record.ts';
import type { EndpointSet, Services } from '../services.ts';

/**
 * The endpoint a client's affinity names (S26, S27).
 * @param tuple of the flow's first packet
 * @returns an index into the set; −1 when the client has none, it is too old, or its endpoint is not in the set or takes
 *   no new flows.
 */
export function affineEndpoint(
  services: Services,
  affinities: Affinities,
  service: number,
  set: EndpointSet,
  tuple: Int32Array,
  now: number,
): number {
  const timeout = services.affinity[service]!;
  if (timeout === 0) return -1;
  const row = affinities.of(tuple, service);
  if (row < 0 || ((now - affinities.stamp[row]!) | 0) >= timeout) return -1;
  const index = indexOf(services, service, set, affinities, row);
  if (index < 0) return -1;
  const endpoint = services.first(service, set) + index * BACKEND_WORDS;
  return services.words(service)[endpoint + 4]! >>> 16 === 0 ? -1 : index;
}

/** Index of a row's endpoint in a set, or −1. It usually still is where it was. */
function indexOf(
  services: Services,
  service: number,
  set: EndpointSet,
  affinities: Affinities,
  row: number,
): number {
  const words = services.words(service);
  const first = services.first(service, set);
  const size = services.size(service, set);
  const hint = affinities.index[row]!;
  if (hint < size && isSame(words, first + hint * BACKEND_WORDS, affinities.backend, row * BACKEND_WORDS))
    return hint;
  for (let index = 0, at = first; index < size; index++, at += BACKEND_WORDS) {
    if (isSame(words, at, affinities.backend, row * BACKEND_WORDS)) return index;
  }
  return -1;
}

/** Is the endpoint at `at`, whatever its weight, the one at `other` of `backends`? */
const isSame = (words: Int32Array, at: number, backends: Int32Array, other: number): boolean =>
  words[at + 3] === backends[other + 3] &&
  (words[at + 4]! & 0xffff) === backends[other + 4] &&
  words[at + 2] === backends[other + 2] &&
  words[at + 1] === backends[other + 1] &&
  words[at] === backends[other];
