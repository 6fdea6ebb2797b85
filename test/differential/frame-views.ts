/** What comparing frames needs: small questions about them, and copies that differ in one respect. */
import { internetChecksum, toHex } from '../frames.ts';
import type { Delivery } from './world.ts';

export const copyOf = (frame: Uint8Array): Uint8Array => Uint8Array.from(frame);

/** Bytes behind the IPv4 header that say what it is about. */
const HEADER: Readonly<Record<number, number>> = { 1: 8, 6: 20, 17: 8 };

/** Is it an IPv4 packet without options, with all of its headers? */
export function hasIpv4(frame: Uint8Array): boolean {
  if (frame.length < 34 || frame[12] !== 8 || frame[13] !== 0 || frame[14] !== 0x45) return false;
  const total = (frame[16]! << 8) | frame[17]!;
  return total <= frame.length - 14 && total >= 20 + (HEADER[frame[23]!] ?? 0);
}

const L4 = 34;

/** ICMP type and code as "3/4"; '' of any other frame. */
export const icmpType = (frame: Uint8Array): string =>
  hasIpv4(frame) && frame[23] === 1 ? `${frame[L4]}/${frame[L4 + 1]}` : '';

export const isReset = (frame: Uint8Array): boolean =>
  hasIpv4(frame) && frame[23] === 6 && (frame[L4 + 13]! & 4) !== 0;

/** Its IPv4 and ICMP checksums made right, in place. */
export function fixIpv4(frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset);
  view.setUint16(24, 0);
  view.setUint16(24, internetChecksum(frame.subarray(14, L4)));
  if (frame[23] === 1) {
    view.setUint16(L4 + 2, 0);
    view.setUint16(L4 + 2, internetChecksum(frame.subarray(L4)));
  }
  return frame;
}

/** Without what follows an IPv4 packet; null when nothing does. */
export function withoutPadding(frame: Uint8Array): Uint8Array | null {
  const total = 14 + ((frame[16]! << 8) | frame[17]!);
  return hasIpv4(frame) && total < frame.length ? frame.subarray(0, total) : null;
}

export const describe = ({ to, frame }: Delivery): string => `${to} ${toHex(frame)}`;

export function sameDeliveries(a: readonly Delivery[], b: readonly Delivery[]): boolean {
  if (a.length !== b.length) return false;
  if (a.length === 1) return a[0]!.to === b[0]!.to && Buffer.compare(a[0]!.frame, b[0]!.frame) === 0;
  const [x, y] = [a.map(describe).sort(), b.map(describe).sort()];
  return x.every((text, i) => text === y[i]);
}
