/** What comparing frames needs: small questions about them, and copies that differ in one respect. */
import { internetChecksum, toHex } from '../frames.ts';
import { L4, view } from './packets.ts';
import type { Delivery, Family } from './world.ts';

export const copyOf = (frame: Uint8Array): Uint8Array => Uint8Array.from(frame);

/** Bytes behind the IP header that say what it is about. */
const HEADER: Readonly<Record<number, number>> = { 1: 8, 6: 20, 17: 8, 58: 8 };

/** The family of an IP packet without options or extension headers, with all of its headers; undefined of other frames. */
export function familyIn(frame: Uint8Array): Family | undefined {
  const seen = view(frame);
  if (seen === undefined) return undefined;
  const { family, packet, protocol } = seen;
  const total = family === 4 ? (packet[2]! << 8) | packet[3]! : 40 + ((packet[4]! << 8) | packet[5]!);
  const least = L4[family] - 14 + (HEADER[protocol] ?? 0);
  return total <= packet.length && total >= least ? family : undefined;
}

/** ICMPv6 type and code as the ICMP of IPv4 has them (RFC 7915 §4.2). */
const AS_ICMP: Readonly<Record<string, string>> = {
  ...{ '1/0': '3/0', '1/1': '3/13', '1/3': '3/1', '1/4': '3/3', '2/0': '3/4', '3/0': '11/0' },
  ...{ '128/0': '8/0', '129/0': '0/0' },
};

/** ICMP type and code as "3/4", ICMPv6's as IPv4's; '' of any other frame. */
export function icmpType(frame: Uint8Array): string {
  const family = familyIn(frame);
  if (family === undefined || view(frame)!.protocol !== (family === 4 ? 1 : 58)) return '';
  const text = `${frame[L4[family]]}/${frame[L4[family] + 1]}`;
  return family === 4 ? text : (AS_ICMP[text] ?? text);
}

export function isReset(frame: Uint8Array): boolean {
  const family = familyIn(frame);
  return family !== undefined && view(frame)!.protocol === 6 && (frame[L4[family] + 13]! & 4) !== 0;
}

/** Its IPv4, ICMP and ICMPv6 checksums made right, in place. */
export function fixed(frame: Uint8Array): Uint8Array {
  const { family, protocol, packet } = view(frame)!;
  const at = new DataView(frame.buffer, frame.byteOffset);
  const body = frame.subarray(L4[family], 14 + packet.length);
  if (family === 4) {
    at.setUint16(24, 0);
    at.setUint16(24, internetChecksum(frame.subarray(14, 34)));
  }
  if (protocol === 1) {
    at.setUint16(36, 0);
    at.setUint16(36, internetChecksum(body));
  } else if (protocol === 58) {
    at.setUint16(56, 0);
    const { length } = body;
    at.setUint16(
      56,
      internetChecksum([...frame.subarray(22, 54), 0, 0, length >> 8, length & 255, 0, 0, 0, 58, ...body]),
    );
  }
  return frame;
}

/** The place of the TTL or hop limit of a packet that begins there. */
export const hopsAt = (family: Family, start = 14): number => start + (family === 4 ? 8 : 7);

/** Are its IPv4 and ICMP checksums right? */
export const isSound = (frame: Uint8Array): boolean => Buffer.compare(fixed(copyOf(frame)), frame) === 0;

/** A copy with more hops to go, its header's checksum as wrong as before. */
export function withHops(frame: Uint8Array, more: number): Uint8Array {
  const copy = copyOf(frame);
  if (familyIn(frame) === 4) replace(copy, 22, 24, ((frame[22]! + more) << 8) | frame[23]!);
  else copy[hopsAt(6)]! += more;
  return copy;
}

/** A copy from another port, its checksum as wrong as before. */
export function withPort(frame: Uint8Array, port: number): Uint8Array {
  const { l4, protocol } = view(frame)!;
  const copy = copyOf(frame);
  replace(copy, l4, l4 + (protocol === 6 ? 16 : 6), port);
  return copy;
}

/** Another word at a place, in place. @param sumAt the checksum that covers it (RFC 1624: HC' = ~(~HC + ~m + m')) */
function replace(frame: Uint8Array, wordAt: number, sumAt: number, word: number): void {
  const at = new DataView(frame.buffer, frame.byteOffset);
  const sum = (~at.getUint16(sumAt) & 0xffff) + (~at.getUint16(wordAt) & 0xffff) + word;
  const folded = (sum & 0xffff) + (sum >> 16);
  at.setUint16(wordAt, word);
  at.setUint16(sumAt, ~((folded & 0xffff) + (folded >> 16)) & 0xffff);
}

/** Without what follows an IP packet; null when nothing does. */
export function withoutPadding(frame: Uint8Array): Uint8Array | null {
  if (familyIn(frame) === undefined) return null;
  const total = 14 + view(frame)!.packet.length;
  return total < frame.length ? frame.subarray(0, total) : null;
}

export const describe = ({ to, frame }: Delivery): string => `${to} ${toHex(frame)}`;

export function sameDeliveries(a: readonly Delivery[], b: readonly Delivery[]): boolean {
  if (a.length !== b.length) return false;
  if (a.length === 1) return a[0]!.to === b[0]!.to && Buffer.compare(a[0]!.frame, b[0]!.frame) === 0;
  const [x, y] = [a.map(describe).sort(), b.map(describe).sort()];
  return x.every((text, i) => text === y[i]);
}
