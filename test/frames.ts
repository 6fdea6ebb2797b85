/** Frame builders for tests: readable text in, bytes out; every checksum computed here, independently of src. */

export const mac = (text: string): number[] => text.split(':').map((part) => Number.parseInt(part, 16));
export const ip4 = (text: string): number[] => text.split('.').map(Number);
export const hex = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'));
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export const u16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const u32 = (value: number): number[] => [
  (value >>> 24) & 255,
  (value >>> 16) & 255,
  (value >>> 8) & 255,
  value & 255,
];

/** One's-complement sum, folded and complemented: the plain RFC 1071 algorithm. */
export function internetChecksum(bytes: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

export interface EthernetFields {
  src: string;
  dst: string;
  type?: number;
}

export function ethernet(
  { src, dst, type = 0x0800 }: EthernetFields,
  payload: ArrayLike<number> = [],
): Uint8Array {
  return Uint8Array.from([...mac(dst), ...mac(src), ...u16(type), ...Array.from(payload)]);
}

export interface Ipv4Fields {
  from: string;
  to: string;
  protocol: number;
  ttl?: number;
  tos?: number;
  id?: number;
  /** Flags and fragment offset; DF by default. */
  fragment?: number;
}

export function ipv4(fields: Ipv4Fields, payload: ArrayLike<number>): number[] {
  const { from, to, protocol, ttl = 64, tos = 0, id = 0, fragment = 0x4000 } = fields;
  const header = [
    0x45,
    tos,
    ...u16(20 + payload.length),
    ...u16(id),
    ...u16(fragment),
    ttl,
    protocol,
    0,
    0,
    ...ip4(from),
    ...ip4(to),
  ];
  header.splice(10, 2, ...u16(internetChecksum(header)));
  return [...header, ...Array.from(payload)];
}

/** The same IPv4 packet with options, padded to whole words with their end. */
export function withOptions(packet: ArrayLike<number>, options: ArrayLike<number>): number[] {
  const bytes = Array.from(packet);
  const padded = [...Array.from(options), ...new Array<number>(-options.length & 3).fill(0)];
  const header = [...bytes.slice(0, 20), ...padded];
  header.splice(0, 1, 0x40 | (header.length / 4));
  header.splice(2, 2, ...u16(bytes.length + padded.length));
  header.splice(10, 2, 0, 0);
  header.splice(10, 2, ...u16(internetChecksum(header)));
  return [...header, ...bytes.slice(20)];
}

function withL4Checksum(from: string, to: string, protocol: number, segment: number[], at: number): number[] {
  const pseudo = [...ip4(from), ...ip4(to), 0, protocol, ...u16(segment.length)];
  const sum = internetChecksum([...pseudo, ...segment]);
  const copy = [...segment];
  copy.splice(at, 2, ...u16(protocol === 17 && sum === 0 ? 0xffff : sum));
  return copy;
}

export interface UdpFields {
  from: string;
  to: string;
  sport: number;
  dport: number;
  ttl?: number;
  tos?: number;
  id?: number;
  fragment?: number;
  payload?: ArrayLike<number>;
}

/** IPv4 packet with a UDP datagram. */
export function udp(fields: UdpFields): number[] {
  const { from, to, sport, dport, payload = [1, 2, 3, 4], ...ip } = fields;
  const datagram = [...u16(sport), ...u16(dport), ...u16(8 + payload.length), 0, 0, ...Array.from(payload)];
  return ipv4({ from, to, protocol: 17, ...ip }, withL4Checksum(from, to, 17, datagram, 6));
}

export interface TcpFields {
  from: string;
  to: string;
  sport: number;
  dport: number;
  /** Letters of S, A, F, R, P. */
  flags?: string;
  seq?: number;
  ack?: number;
  window?: number;
  /** Padded to whole words with NOPs. */
  options?: readonly number[];
  ttl?: number;
  payload?: ArrayLike<number>;
}

/** Header and payload; the checksum is 0. */
export function tcpSegment(fields: Omit<TcpFields, 'from' | 'to' | 'ttl'>): number[] {
  const { sport, dport, flags = 'S', seq = 1000, ack = 0, window = 0xfaf0, payload = [] } = fields;
  const options = [...(fields.options ?? [])];
  while (options.length % 4 !== 0) options.push(1);
  const bits = { F: 1, S: 2, R: 4, P: 8, A: 16 } as Record<string, number>;
  const flagByte = [...flags].reduce((sum, letter) => sum | bits[letter]!, 0);
  const offset = (5 + options.length / 4) << 4;
  const fixed = [...u16(sport), ...u16(dport), ...u32(seq), ...u32(ack), offset, flagByte, ...u16(window)];
  return [...fixed, 0, 0, 0, 0, ...options, ...Array.from(payload)];
}

/** IPv4 packet with a TCP segment. */
export function tcp({ from, to, ttl, ...segment }: TcpFields): number[] {
  const bytes = withL4Checksum(from, to, 6, tcpSegment(segment), 16);
  return ipv4({ from, to, protocol: 6, ...(ttl !== undefined && { ttl }) }, bytes);
}

export function icmp(from: string, to: string, message: ArrayLike<number>, ttl = 64): number[] {
  const bytes = [...Array.from(message)];
  bytes.splice(2, 2, ...u16(internetChecksum([...bytes.slice(0, 2), 0, 0, ...bytes.slice(4)])));
  return ipv4({ from, to, protocol: 1, ttl }, bytes);
}

export const echoRequest = (from: string, to: string, ttl = 64): number[] =>
  icmp(from, to, [8, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3, 4], ttl);

export interface ArpFields {
  op: 'request' | 'reply';
  senderMac: string;
  senderIp: string;
  targetMac?: string;
  targetIp: string;
  /** Ethernet destination; broadcast for requests, the target for replies. */
  dst?: string;
  src?: string;
}

export function arp(fields: ArpFields): Uint8Array {
  const { op, senderMac, senderIp, targetMac = '00:00:00:00:00:00', targetIp } = fields;
  const dst = fields.dst ?? (op === 'request' ? 'ff:ff:ff:ff:ff:ff' : targetMac);
  const body = [0, 1, 8, 0, 6, 4, 0, op === 'request' ? 1 : 2];
  return ethernet({ src: fields.src ?? senderMac, dst, type: 0x0806 }, [
    ...body,
    ...mac(senderMac),
    ...ip4(senderIp),
    ...mac(targetMac),
    ...ip4(targetIp),
  ]);
}

export interface VxlanFields {
  vni: number;
  flags?: number;
  reserved?: number;
}

/** The payload of a VXLAN datagram. */
export function vxlan({ vni, flags = 0x08000000, reserved = 0 }: VxlanFields, frame: Uint8Array): Uint8Array {
  return Uint8Array.from([...u32(flags), ...u32(((vni << 8) | reserved) >>> 0), ...frame]);
}

/** Is every IPv4, TCP and UDP checksum of an IPv4 packet right? */
export function checksumsAreRight(packet: ArrayLike<number>): boolean {
  const bytes = Array.from(packet);
  const header = (bytes[0]! & 15) * 4;
  if (internetChecksum(bytes.slice(0, header)) !== 0) return false;
  const total = (bytes[2]! << 8) | bytes[3]!;
  const l4 = bytes.slice(header, total);
  const protocol = bytes[9]!;
  if (protocol === 1) return internetChecksum(l4) === 0;
  if (protocol !== 6 && protocol !== 17) return true;
  if (protocol === 17 && l4[6] === 0 && l4[7] === 0) return true;
  return internetChecksum([...bytes.slice(12, 20), 0, protocol, ...u16(l4.length), ...l4]) === 0;
}

/** IPv6 address in full form: eight groups, or one `::`. */
export function ip6(text: string): number[] {
  const [head = '', tail] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16)));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right].flatMap(u16);
}

export interface Ipv6Fields {
  from: string;
  to: string;
  protocol: number;
  trafficClass?: number;
  hopLimit?: number;
}

export function ipv6(fields: Ipv6Fields, payload: ArrayLike<number>): number[] {
  const { from, to, protocol, trafficClass = 0, hopLimit = 64 } = fields;
  return [
    ...u32((0x60000000 | (trafficClass << 20)) >>> 0),
    ...u16(payload.length),
    protocol,
    hopLimit,
    ...ip6(from),
    ...ip6(to),
    ...Array.from(payload),
  ];
}

/** What a test asks of an IPv4 frame. Ports, flags and numbers are those of its TCP or UDP header, else 0. */
export interface Ipv4View {
  dst: string;
  src: string;
  from: string;
  to: string;
  tos: number;
  ttl: number;
  protocol: number;
  sport: number;
  dport: number;
  /** Letters of TCP flags in the order F S R P A. */
  flags: string;
  seq: number;
  ack: number;
  /** ICMP type and code as "3/4". */
  icmp: string;
  /** The IPv4 packet without Ethernet header and padding. */
  packet: Uint8Array;
  /** What follows the 20-byte IPv4 header. */
  body: Uint8Array;
}

export const macText = (bytes: ArrayLike<number>): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');

export function readIpv4(frame: Uint8Array): Ipv4View {
  const packet = frame.subarray(14, 14 + ((frame[16]! << 8) | frame[17]!));
  const body = packet.subarray(20);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const protocol = packet[9]!;
  const isTcp = protocol === 6;
  const hasPorts = isTcp || protocol === 17;
  return {
    dst: macText(frame.subarray(0, 6)),
    src: macText(frame.subarray(6, 12)),
    from: packet.subarray(12, 16).join('.'),
    to: packet.subarray(16, 20).join('.'),
    tos: packet[1]!,
    ttl: packet[8]!,
    protocol,
    sport: hasPorts ? view.getUint16(0) : 0,
    dport: hasPorts ? view.getUint16(2) : 0,
    flags: isTcp ? [...'FSRPA'].filter((_, bit) => (body[13]! >> bit) & 1).join('') : '',
    seq: isTcp ? view.getUint32(4) : 0,
    ack: isTcp ? view.getUint32(8) : 0,
    icmp: protocol === 1 ? `${body[0]}/${body[1]}` : '',
    packet,
    body,
  };
}

/** The folded, not complemented pseudo-header sum that stands in a partial checksum (N42). */
export const partialSum = (from: string, to: string, protocol: number, length: number): number =>
  ~internetChecksum([...ip4(from), ...ip4(to), 0, protocol, ...u16(length)]) & 0xffff;
