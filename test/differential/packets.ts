/** Packets of either family under one name, and what a test asks of a frame of either. */
import { ethernet, icmp, ip4, ipv4, ipv6, tcp, udp } from '../frames.ts';
import { icmp6, tcp6, udp6 } from '../frames6.ts';
import { type Family, familyOf, text6 } from './world.ts';

export interface Ends {
  readonly from: string;
  readonly to: string;
  readonly sport: number;
  readonly dport: number;
}
export interface Segment extends Ends {
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
  readonly payload?: Uint8Array;
}

const ETHER_TYPES = { 4: 0x0800, 6: 0x86dd } as const;
/** Bytes of Ethernet and IP header, without options and extension headers. */
export const L4: Readonly<Record<Family, number>> = { 4: 34, 6: 54 };
const IP_BYTES = { 4: 20, 6: 40 } as const;

export const segment = (fields: Segment): number[] =>
  familyOf(fields.from) === 4 ? tcp(fields) : tcp6(fields);
export const datagram = (
  fields: Ends & { readonly payload?: Uint8Array; readonly hops?: number },
): number[] => {
  const { hops = 64, ...rest } = fields;
  return familyOf(fields.from) === 4 ? udp({ ...rest, ttl: hops }) : udp6({ ...rest, hopLimit: hops });
};
export const message = (from: string, to: string, body: ArrayLike<number>, hops = 64): number[] =>
  familyOf(from) === 4 ? icmp(from, to, body, hops) : icmp6(from, to, body, hops);

/** A packet of either family in its frame. */
export const framed = (src: string, dst: string, packet: readonly number[]): Uint8Array =>
  ethernet({ src, dst, type: ETHER_TYPES[packet[0]! >> 4 === 6 ? 6 : 4] }, packet);

/** "destination unreachable" that quotes the beginning of a packet. @param code of the family's own */
export function unreachable(from: string, to: string, code: number, packet: Uint8Array): number[] {
  const family = familyOf(from);
  const quoted = packet.subarray(0, IP_BYTES[family] + 8);
  return message(from, to, [family === 4 ? 3 : 1, code, 0, 0, 0, 0, 0, 0, ...quoted]);
}
/** Port, host or administratively. */
export const UNREACHABLE_CODES: Readonly<Record<Family, readonly number[]>> = { 4: [1, 3, 13], 6: [1, 3, 4] };

/** The first 8 bytes behind the IP header of a packet that nobody sent, and that header. */
export function quotable({ from, to, sport, dport }: Ends, protocol: number): Uint8Array {
  const ports = [sport >> 8, sport & 255, dport >> 8, dport & 255, 0, 0, 0, 0];
  return Uint8Array.from(
    familyOf(from) === 4
      ? [...[0x45, 0, 0, 40, 0, 0, 0x40, 0, 60, protocol, 0, 0], ...ip4(from), ...ip4(to), ...ports]
      : ipv6({ from, to, protocol, hopLimit: 60 }, ports),
  );
}

export interface View {
  readonly family: Family;
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly sport: number;
  readonly dport: number;
  /** Where the transport header begins, in bytes of the frame. */
  readonly l4: number;
  /** Without Ethernet header and padding. */
  readonly packet: Uint8Array;
}

const FRAGMENT = 44;
const FRAGMENT_BYTES = 8;

/**
 * A frame with an IP packet that has its TCP, UDP or other header right behind, or behind the header of a first fragment;
 * undefined of any other frame.
 */
export function view(frame: Uint8Array): View | undefined {
  if (frame.length < 34) return undefined;
  const type = u16(frame, 12);
  const family = type === 0x0800 && frame[14] === 0x45 ? 4 : type === 0x86dd ? 6 : undefined;
  if (family === undefined || frame.length < L4[family]) return undefined;
  const is4 = family === 4;
  const first = frame[is4 ? 23 : 20]!;
  const least = L4[family] + FRAGMENT_BYTES;
  const isFirstPart = !is4 && first === FRAGMENT && frame.length >= least && u16(frame, 56) >> 3 === 0;
  const protocol = isFirstPart ? frame[54]! : first;
  const l4 = isFirstPart ? least : L4[family];
  const hasPorts = (protocol === 6 || protocol === 17) && frame.length >= l4 + 4;
  return {
    family,
    protocol,
    l4,
    sport: hasPorts ? u16(frame, l4) : 0,
    dport: hasPorts ? u16(frame, l4 + 2) : 0,
    get from() {
      return is4 ? frame.subarray(26, 30).join('.') : text6(frame.subarray(22, 38));
    },
    get to() {
      return is4 ? frame.subarray(30, 34).join('.') : text6(frame.subarray(38, 54));
    },
    get packet() {
      return frame.subarray(14, 14 + (is4 ? u16(frame, 16) : 40 + u16(frame, 18)));
    },
  };
}

const u16 = (frame: Uint8Array, at: number): number => (frame[at]! << 8) | frame[at + 1]!;

/** A packet in two fragments. @param at where the second begins, in bytes behind the IP header; a multiple of 8 */
export function inTwo(packet: readonly number[], at: number): [number[], number[]] {
  const bytes = Uint8Array.from(packet);
  const is6 = packet[0]! >> 4 === 6;
  const sum = is6 ? 46 : 26; // a datagram's checksum tells it from others
  const id = (bytes[sum]! << 8) | bytes[sum + 1]!;
  if (is6) {
    const header = { from: text6(bytes.subarray(8, 24)), to: text6(bytes.subarray(24, 40)), protocol: 44 };
    const part = (from: number, to: number, isLast: boolean): number[] =>
      ipv6(header, [
        ...[bytes[6]!, 0, from >> 8, (from & 0xf8) | (isLast ? 0 : 1), 0, 0, id >> 8, id & 255],
        ...bytes.subarray(40 + from, 40 + to),
      ]);
    return [part(0, at, false), part(at, bytes.length - 40, true)];
  }
  const header = {
    from: bytes.subarray(12, 16).join('.'),
    to: bytes.subarray(16, 20).join('.'),
    protocol: bytes[9]!,
    id,
  };
  return [
    ipv4({ ...header, fragment: 0x2000 }, bytes.subarray(20, 20 + at)),
    ipv4({ ...header, fragment: at >> 3 }, bytes.subarray(20 + at)),
  ];
}

/** Another TCP or UDP checksum than the right one. */
export function corrupted(frame: Uint8Array): Uint8Array {
  const { family, protocol } = view(frame)!;
  const copy = Uint8Array.from(frame);
  copy[L4[family] + (protocol === 6 ? 16 : 6)]! ^= 0x55;
  return copy;
}

/** An IPv4 datagram without a checksum. */
export const withoutChecksum = (frame: Uint8Array): Uint8Array => Uint8Array.from(frame).fill(0, 40, 42);
