/**
 * Internet checksums: RFC 1071 sums and RFC 1624 incremental updates.
 * A *sum* is an unfolded one's-complement sum of 16-bit words (a small integer); a *field* is the 16-bit
 * value that stands in a header.
 */

/** Folds a sum below 2^31 to 16 bits. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** Sum of `length` bytes at `at`; an odd last byte is padded with zero (RFC 1071 §1). At most 64 KiB. */
export function sumBytes(view: DataView, at: number, length: number): number {
  let sum = 0;
  const end = at + (length & ~1);
  for (let i = at; i < end; i += 2) sum += view.getUint16(i);
  if (length & 1) sum += view.getUint8(end) << 8;
  return sum;
}

/** The other byte order of a 16-bit value. Sums may be formed in either: swapping commutes with adding (RFC 1071 §2). */
export const swap16 = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);

/** Sum of one 32-bit word. */
export const sumWord = (word: number): number => (word >>> 16) + (word & 0xffff);

/**
 * RFC 1624 eqn 3 with the change given as a sum: HC' = ~(~HC + delta), delta = ~m + m'.
 * A wrong checksum stays equally wrong (N40).
 */
export const updateField = (field: number, delta: number): number =>
  ~fold((~field & 0xffff) + delta) & 0xffff;

/** A partial checksum holds the folded, not complemented pseudo-header sum (virtio 1.2 §5.1.6; N42). */
export const updatePartial = (field: number, delta: number): number => fold(field + delta);

/** ~old + new for one 32-bit word, as a sum. */
export const deltaWord = (from: number, to: number): number => sumWord(~from) + sumWord(to);

/** ~old + new for one 16-bit value. */
export const deltaHalf = (from: number, to: number): number => (~from & 0xffff) + to;

/** Sum of the IPv4 pseudo-header (RFC 9293 §3.1). `length` is the L4 length of the IP header (N44). */
export const pseudoSum4 = (source: number, destination: number, protocol: number, length: number): number =>
  sumWord(source) + sumWord(destination) + protocol + length;

/** Sum of the IPv6 pseudo-header (RFC 8200 §8.1) of the header at `ip`. */
export function pseudoSum6(view: DataView, ip: number, protocol: number, length: number): number {
  return sumBytes(view, ip + 8, 32) + protocol + (length >>> 16) + (length & 0xffff);
}
