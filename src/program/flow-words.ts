/** A flow as people write it, or as `twill get flows` prints it. */
import {
  AddressError,
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
} from '../control/socket-address.ts';
import { Usage } from './failure.ts';

export interface FlowWords {
  readonly protocol?: string;
  readonly client: string;
  readonly to?: string;
}

const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp', 'icmpv6'];
const EXAMPLE = 'for instance: tcp 10.0.0.5:4321 10.96.0.10:80';

/**
 * "tcp CLIENT SERVICE", in one word or several, with or without arrows; of a line of `get flows` the rest is passed over.
 * @throws Usage
 */
export function parseFlow(words: readonly string[]): FlowWords {
  let protocol: string | undefined;
  const ends: SocketAddress[] = [];
  for (const word of words.flatMap((text) => text.split(/\s*(?:->|=>|→)\s*|\s+/)).filter((w) => w !== '')) {
    if (PROTOCOLS.includes(word.toLowerCase())) {
      protocol ??= word.toLowerCase();
      continue;
    }
    // Names, states and figures stand behind the client's address; what they may look like is not known.
    if (ends.length > 0 && !/^[[\d].*[.:]/.test(word)) continue;
    try {
      ends.push(parseSocketAddress(word));
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      if (ends.length > 1) continue;
      throw new Usage(
        ends.length > 0 ? error.message : `"${word}" is neither a protocol nor an address; ${EXAMPLE}`,
      );
    }
  }
  const [client, to] = ends;
  if (!client) throw new Usage(`which flow? ${EXAMPLE}`);
  return {
    client: formatSocketAddress(client),
    ...(protocol !== undefined && { protocol }),
    ...(to && { to: formatSocketAddress(to) }),
  };
}
