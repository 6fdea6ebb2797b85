/** SCTP packets for tests, and their sum by an implementation of its own: bit by bit, from RFC 9260 App. A. */
import { type Ipv4Fields, ip4, ip6, ipv4, ipv6 } from './frames.ts';

export function crc32c(bytes: ArrayLike<number>): number {
  let sum = 0xffffffff;
  for (const byte of Array.from(bytes)) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return ~sum >>> 0;
}

const u16 = (value: number): number[] => [(value >>> 8) & 0xff, value & 0xff];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];
const little = (value: number): number[] => u32(value).reverse();

export const TYPES: Readonly<Record<string, number>> = {
  DATA: 0,
  INIT: 1,
  'INIT ACK': 2,
  SACK: 3,
  HEARTBEAT: 4,
  'HEARTBEAT ACK': 5,
  ABORT: 6,
  SHUTDOWN: 7,
  'SHUTDOWN ACK': 8,
  ERROR: 9,
  'COOKIE ECHO': 10,
  'COOKIE ACK': 11,
  'SHUTDOWN COMPLETE': 14,
};

export function chunk(type: string, body: ArrayLike<number> = [], flags = 0): number[] {
  const bytes = [TYPES[type] ?? Number(type), flags, ...u16(4 + body.length), ...Array.from(body)];
  while (bytes.length % 4 !== 0) bytes.push(0);
  return bytes;
}

/** INIT or INIT ACK: what the other side is to send as its tag. */
export const initiate = (type: 'INIT' | 'INIT ACK', tag: number): number[] =>
  chunk(type, [...u32(tag), ...u32(65_536), ...u16(1), ...u16(1), ...u32(7)]);
export const data = (payload: ArrayLike<number>): number[] =>
  chunk('DATA', [...u32(1), ...u16(0), ...u16(0), ...u32(0), ...Array.from(payload)], 3);

export interface SctpFields {
  from: string;
  to: string;
  sport: number;
  dport: number;
  tag: number;
  chunks: readonly (readonly number[])[];
  /** Instead of the right one. */
  sum?: number;
  ip?: Partial<Ipv4Fields>;
}

/** Header and chunks, with their sum. */
export function sctpBytes({ sport, dport, tag, chunks, sum }: Omit<SctpFields, 'from' | 'to'>): number[] {
  const head = [...u16(sport), ...u16(dport), ...u32(tag)];
  const body = chunks.flat();
  return [...head, ...little(sum ?? crc32c([...head, 0, 0, 0, 0, ...body])), ...body];
}

export function sctp(fields: SctpFields): number[] {
  const { from, to } = fields;
  const bytes = sctpBytes(fields);
  if (from.includes(':')) return ipv6({ from, to, protocol: 132 }, bytes);
  return ipv4({ from, to, protocol: 132, ...fields.ip }, bytes);
}

export interface SctpView {
  from: readonly number[];
  to: readonly number[];
  sport: number;
  dport: number;
  tag: number;
  sum: number;
  isRight: boolean;
  /** Behind the header. */
  body: Uint8Array;
}

/** Of an Ethernet frame with an SCTP packet in it. */
export function readSctp(frame: Uint8Array): SctpView {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const is4 = view.getUint16(12) === 0x0800;
  const at = 14 + (is4 ? (view.getUint8(14) & 15) * 4 : 40);
  const end = 14 + (is4 ? view.getUint16(16) : 40 + view.getUint16(18));
  const copy = frame.slice(at, end);
  const sum = view.getUint32(at + 8, true);
  copy.fill(0, 8, 12);
  return {
    from: [...frame.subarray(is4 ? 26 : 22, is4 ? 30 : 38)],
    to: [...frame.subarray(is4 ? 30 : 38, is4 ? 34 : 54)],
    sport: view.getUint16(at),
    dport: view.getUint16(at + 2),
    tag: view.getUint32(at + 4),
    sum,
    isRight: sum === crc32c(copy),
    body: frame.slice(at + 12, end),
  };
}

export const addressBytes = (text: string): number[] => (text.includes(':') ? ip6(text) : ip4(text));
