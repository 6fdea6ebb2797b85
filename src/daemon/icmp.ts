/**
 * ICMP echo as the peer probes speak it: requests of an exact packet size, and the two answers that matter.
 *
 *   IPv4 (RFC 792)    type 8 request, 0 reply, 3/4 fragmentation needed; messages arrive with their IP header
 *   IPv6 (RFC 4443)   type 128 request, 129 reply, 2 packet too big; messages arrive without it
 */
export type Family = 4 | 6;

export type EchoMessage =
  | { readonly kind: 'reply'; readonly id: number; readonly sequence: number }
  /** `mtu` 0: the router did not say. */
  | { readonly kind: 'too-big'; readonly id: number; readonly sequence: number; readonly mtu: number };

const ICMP_HEADER = 8;
const IPV6_HEADER = 40;
const ICMPV6 = 58;

export const ipHeader = (family: Family): number => (family === 4 ? 20 : IPV6_HEADER);

/** The ICMP part of a request whose IP packet is `size` bytes long. ICMPv6 checksums are the kernel's work. */
export function echoRequest(family: Family, id: number, sequence: number, size: number): Buffer {
  const packet = Buffer.alloc(Math.max(ICMP_HEADER, size - ipHeader(family)));
  packet[0] = family === 4 ? 8 : 128;
  packet.writeUInt16BE(id, 4);
  packet.writeUInt16BE(sequence, 6);
  // All payload bytes are zero, so the sum is over the header alone.
  if (family === 4) {
    const sum = 0x0800 + id + sequence;
    packet.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 2);
  }
  return packet;
}

/** @returns null for anything that is not about an echo request. */
export function readEcho(family: Family, message: Buffer): EchoMessage | null {
  return family === 4 ? readV4(message) : readV6(message);
}

function readV4(message: Buffer): EchoMessage | null {
  const at = ihl(message, 0);
  if (at < 0 || message.length < at + ICMP_HEADER) return null;
  if (message[at] === 0) return reply(message, at);
  if (message[at] !== 3 || message[at + 1] !== 4) return null;
  const inner = at + ICMP_HEADER;
  const quoted = inner + ihl(message, inner);
  if (quoted < inner || message.length < quoted + ICMP_HEADER) return null;
  if (message[inner + 9] !== 1 || message[quoted] !== 8) return null;
  return { ...about(message, quoted), kind: 'too-big', mtu: message.readUInt16BE(at + 6) };
}

function readV6(message: Buffer): EchoMessage | null {
  if (message.length < ICMP_HEADER) return null;
  if (message[0] === 129) return reply(message, 0);
  const quoted = ICMP_HEADER + IPV6_HEADER;
  if (message[0] !== 2 || message.length < quoted + ICMP_HEADER) return null;
  if (message[ICMP_HEADER + 6] !== ICMPV6 || message[quoted] !== 128) return null;
  return { ...about(message, quoted), kind: 'too-big', mtu: message.readUInt32BE(4) };
}

/** Bytes of the IPv4 header at `at`, or a negative number when there is none. */
function ihl(message: Buffer, at: number): number {
  if (message.length < at + 20 || message[at]! >> 4 !== 4) return -message.length - 1;
  const bytes = (message[at]! & 15) * 4;
  return bytes < 20 ? -message.length - 1 : bytes;
}

const about = (message: Buffer, at: number): { id: number; sequence: number } => ({
  id: message.readUInt16BE(at + 4),
  sequence: message.readUInt16BE(at + 6),
});

const reply = (message: Buffer, at: number): EchoMessage => ({ ...about(message, at), kind: 'reply' });
