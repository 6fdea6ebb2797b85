import { EtherType, writeEthernet, writeMac } from './ethernet.ts';

/**
 * ARP for IPv4 over Ethernet (RFC 826), offsets from the ARP header:
 *
 *  0 | hrd 1 | pro 0x0800 |   4 | hln 6 | pln 4 | op |   8 | sender MAC 6 |  14 | sender IP 4 |
 * 18 | target MAC 6 |  24 | target IP 4 |
 */
export const ARP_BYTES = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

export const enum Arp {
  OPERATION = 6,
  SENDER_MAC = 8,
  SENDER_IP = 14,
  TARGET_MAC = 18,
  TARGET_IP = 24,
}

/** A1: the only ARP Twill looks into. */
export const isEthernetArp = (view: DataView, at: number): boolean =>
  view.getInt32(at) === 0x00010800 &&
  view.getUint16(at + 4) === 0x0604 &&
  (view.getUint16(at + 6) - 1) >>> 1 === 0;

/** Writes a whole ARP frame of 42 bytes at `at`. */
export function writeArp(
  view: DataView,
  at: number,
  operation: number,
  dstHi: number,
  dstLo: number,
  senderHi: number,
  senderLo: number,
  senderIp: number,
  targetHi: number,
  targetLo: number,
  targetIp: number,
): void {
  writeEthernet(view, at, dstHi, dstLo, senderHi, senderLo, EtherType.ARP);
  const arp = at + 14;
  view.setInt32(arp, 0x00010800);
  view.setInt32(arp + 4, 0x06040000 | operation);
  writeMac(view, arp + Arp.SENDER_MAC, senderHi, senderLo);
  view.setInt32(arp + Arp.SENDER_IP, senderIp);
  writeMac(view, arp + Arp.TARGET_MAC, targetHi, targetLo);
  view.setInt32(arp + Arp.TARGET_IP, targetIp);
}

export const ARP_FRAME_BYTES = 42;
