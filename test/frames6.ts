/** IPv6 frame builders and readers for tests; every checksum computed here, independently of src. */
import { ethernet, internetChecksum, ip6, ipv6, mac, macText, type TcpFields, tcpSegment } from './frames.ts';

const u16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];

function withChecksum(from: string, to: string, protocol: number, body: number[], at: number): number[] {
  const pseudo = [...ip6(from), ...ip6(to), ...u32(body.length), 0, 0, 0, protocol];
  const zeroed = [...body];
  zeroed.splice(at, 2, 0, 0);
  const sum = internetChecksum([...pseudo, ...zeroed]);
  zeroed.splice(at, 2, ...u16(protocol === 17 && sum === 0 ? 0xffff : sum));
  return zeroed;
}

export interface Segment6 {
  from: string;
  to: string;
  sport: number;
  dport: number;
  hopLimit?: number;
  trafficClass?: number;
  payload?: ArrayLike<number>;
}

/** IPv6 packet with a UDP datagram. */
export function udp6(fields: Segment6): number[] {
  const { from, to, sport, dport, payload = [1, 2, 3, 4], ...ip } = fields;
  const datagram = [...u16(sport), ...u16(dport), ...u16(8 + payload.length), 0, 0, ...Array.from(payload)];
  return ipv6({ from, to, protocol: 17, ...ip }, withChecksum(from, to, 17, datagram, 6));
}

/** IPv6 packet with a TCP segment. */
export function tcp6(fields: Segment6 & Omit<TcpFields, 'ttl'>): number[] {
  const { from, to, hopLimit, trafficClass, ...segment } = fields;
  const ip = {
    ...(hopLimit !== undefined && { hopLimit }),
    ...(trafficClass !== undefined && { trafficClass }),
  };
  return ipv6({ from, to, protocol: 6, ...ip }, withChecksum(from, to, 6, tcpSegment(segment), 16));
}

/** IPv6 packet with an ICMPv6 message, whose checksum is filled in. */
export const icmp6 = (from: string, to: string, message: ArrayLike<number>, hopLimit = 64): number[] =>
  ipv6({ from, to, protocol: 58, hopLimit }, withChecksum(from, to, 58, Array.from(message), 2));

export const echo6 = (from: string, to: string, hopLimit = 64): number[] =>
  icmp6(from, to, [128, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3, 4], hopLimit);

/** ff02::1:ffxx:xxxx */
export const solicitedNode = (ip: string): string => {
  const [a, b, c] = ip6(ip).slice(13) as [number, number, number];
  return `ff02::1:ff${a.toString(16).padStart(2, '0')}:${((b << 8) | c).toString(16)}`;
};
export const groupMac = (ip: string): string => macText([0x33, 0x33, ...ip6(ip).slice(12)]);

export interface NdFields {
  src: string;
  dst?: string;
  from: string;
  to?: string;
  target: string;
  /** The MAC in the link-layer option; none for ''. The frame's source unless given. */
  link?: string;
  flags?: number;
  hopLimit?: number;
  code?: number;
}

/** A frame with a neighbour solicitation: multicast, with a source link-layer option unless from "::". */
export function solicitation(fields: NdFields): Uint8Array {
  const { src, from, target } = fields;
  const to = fields.to ?? solicitedNode(target);
  const link = fields.link ?? (from === '::' ? '' : src);
  const option = link === '' ? [] : [1, 1, ...mac(link)];
  const { code = 0, hopLimit = 255 } = fields;
  const message = [135, code, 0, 0, 0, 0, 0, 0, ...ip6(target), ...option];
  const dst = fields.dst ?? groupMac(to);
  return ethernet({ src, dst, type: 0x86dd }, icmp6(from, to, message, hopLimit));
}

/** A frame with a neighbour advertisement: unsolicited and overriding, to all nodes, unless told otherwise. */
export function advertisement(fields: NdFields): Uint8Array {
  const { src, from, target, to = 'ff02::1', link = src, flags = 0x20, code = 0, hopLimit = 255 } = fields;
  const option = link === '' ? [] : [2, 1, ...mac(link)];
  const message = [136, code, 0, 0, flags, 0, 0, 0, ...ip6(target), ...option];
  const dst = fields.dst ?? groupMac(to);
  return ethernet({ src, dst, type: 0x86dd }, icmp6(from, to, message, hopLimit));
}

export interface Ipv6View {
  dst: string;
  src: string;
  /** Sixteen bytes each, as hexadecimal text without separators. */
  from: string;
  to: string;
  hopLimit: number;
  protocol: number;
  sport: number;
  dport: number;
  /** Letters of TCP flags in the order F S R P A. */
  flags: string;
  seq: number;
  ack: number;
  /** ICMPv6 type and code as "1/4". */
  icmp: string;
  packet: Uint8Array;
  body: Uint8Array;
}

export const hex6 = (ip: string): string => Buffer.from(ip6(ip)).toString('hex');

export function readIpv6(frame: Uint8Array): Ipv6View {
  const packet = frame.subarray(14, 54 + ((frame[18]! << 8) | frame[19]!));
  const body = packet.subarray(40);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const protocol = packet[6]!;
  const isTcp = protocol === 6;
  const hasPorts = isTcp || protocol === 17;
  return {
    dst: macText(frame.subarray(0, 6)),
    src: macText(frame.subarray(6, 12)),
    from: Buffer.from(packet.subarray(8, 24)).toString('hex'),
    to: Buffer.from(packet.subarray(24, 40)).toString('hex'),
    hopLimit: packet[7]!,
    protocol,
    sport: hasPorts ? view.getUint16(0) : 0,
    dport: hasPorts ? view.getUint16(2) : 0,
    flags: isTcp ? [...'FSRPA'].filter((_, bit) => (body[13]! >> bit) & 1).join('') : '',
    seq: isTcp ? view.getUint32(4) : 0,
    ack: isTcp ? view.getUint32(8) : 0,
    icmp: protocol === 58 ? `${body[0]}/${body[1]}` : '',
    packet,
    body,
  };
}

/** Is the TCP, UDP or ICMPv6 checksum of an IPv6 packet without extension headers right? */
export function checksumIsRight6(packet: ArrayLike<number>): boolean {
  const bytes = Array.from(packet);
  const length = (bytes[4]! << 8) | bytes[5]!;
  const pseudo = [...bytes.slice(8, 40), ...u32(length), 0, 0, 0, bytes[6]!];
  return internetChecksum([...pseudo, ...bytes.slice(40, 40 + length)]) === 0;
}

/** The folded, not complemented pseudo-header sum that stands in a partial checksum (N42). */
export const partialSum6 = (from: string, to: string, protocol: number, length: number): number =>
  ~internetChecksum([...ip6(from), ...ip6(to), ...u32(length), 0, 0, 0, protocol]) & 0xffff;
