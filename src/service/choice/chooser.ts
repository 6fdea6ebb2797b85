import { BACKEND_WORDS } from '../record.ts';
import type { EndpointSet, Services } from '../services.ts';

/** Who gets a new flow: the one place where endpoints are compared. */
export class Chooser {
  constructor(private readonly services: Services) {}

  /**
   * The endpoint for a new flow, among those of a set with a weight. Nothing changes until `opened`.
   * @param tuple of the flow's first packet
   * @returns its index in the set, or −1: nobody takes new flows.
   */
  pick(service: number, set: EndpointSet, _tuple: Int32Array): number {
    const { services } = this;
    const size = services.size(service, set);
    if (size === 0) return -1;
    const words = services.words(service);
    const first = services.first(service, set);
    let index = services.next[service]! % size;
    for (let left = size; left > 0; left--) {
      if (words[first + index * BACKEND_WORDS + 4]! >>> 16 !== 0) return index;
      index = index + 1 === size ? 0 : index + 1;
    }
    return -1;
  }

  /** A flow that `pick` chose for is open, towards the endpoint at `index` (S24). */
  opened(service: number, set: EndpointSet, index: number): void {
    const { services } = this;
    services.next[service] = index + 1 === services.size(service, set) ? 0 : index + 1;
  }
}
