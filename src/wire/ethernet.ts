/**
 * Ethernet II (IEEE 802.3 §3.1.1, 802.1Q §9):
 *
 *   0        6        12     14
 *   +--------+--------+------+----------
 *   |  dst   |  src   | type | payload …
 *   +--------+--------+------+----------
 *
 * A MAC address is held as two integers: `hi`, its first two bytes, and `lo`, its last four as int32.
 */
export const ETHERNET_BYTES = 14;
export const VLAN_BYTES = 4;

export const enum EtherType {
  IPV4 = 0x0800,
  ARP = 0x0806,
  VLAN = 0x8100,
  QINQ = 0x88a8,
  IPV6 = 0x86dd,
}

/** Bit of `hi` that marks group (multicast and broadcast) addresses. */
export const GROUP_BIT = 0x0100;

export const isBroadcast = (hi: number, lo: number): boolean => hi === 0xffff && lo === -1;

/** B1: a source must be a unicast address other than zero. */
export const isValidSource = (hi: number, lo: number): boolean => (hi & GROUP_BIT) === 0 && (hi | lo) !== 0;

/** 01:80:c2:00:00:00 – 0f, which bridges filter (802.1Q Table 8-1). */
export const isReservedGroup = (hi: number, lo: number): boolean =>
  hi === 0x0180 && (lo & 0xfffffff0) === (0xc2000000 | 0);

/** Writes one address at `at`. */
export function writeMac(view: DataView, at: number, hi: number, lo: number): void {
  view.setUint16(at, hi);
  view.setInt32(at + 2, lo);
}

export function writeEthernet(
  view: DataView,
  at: number,
  dstHi: number,
  dstLo: number,
  srcHi: number,
  srcLo: number,
  type: number,
): void {
  writeMac(view, at, dstHi, dstLo);
  writeMac(view, at + 6, srcHi, srcLo);
  view.setUint16(at + 12, type);
}
