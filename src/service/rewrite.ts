import type { Packets } from '../packet/packets.ts';
import { deltaHalf, deltaWord, updateField, updatePartial } from '../wire/checksum.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Tcp } from '../wire/tcp.ts';
import { Udp } from '../wire/udp.ts';

/** Which end of a packet is rewritten. */
export const enum End {
  SOURCE = 0,
  DESTINATION = 1,
}

/**
 * Rewrites one end of an IPv4 TCP or UDP packet to `address`:`port` and updates every checksum incrementally
 * (N40–N43). One rewrite covers a whole super-frame.
 */
export function rewrite4(packets: Packets, slot: number, end: End, address: number, port: number): void {
  const { view } = packets;
  const ip = packets.l3[slot]!;
  const l4 = packets.l4[slot]!;
  const addressAt = ip + (end === End.SOURCE ? Ipv4.SOURCE : Ipv4.DESTINATION);
  const portAt = l4 + (end === End.SOURCE ? Tcp.SOURCE_PORT : Tcp.DESTINATION_PORT);
  const oldPort = view.getUint16(portAt);
  const addressDelta = deltaWord(view.getInt32(addressAt), address);
  view.setInt32(addressAt, address);
  view.setUint16(portAt, port);
  view.setUint16(ip + Ipv4.CHECKSUM, updateField(view.getUint16(ip + Ipv4.CHECKSUM), addressDelta));

  const isUdp = packets.protocol[slot] === Protocol.UDP;
  const fieldAt = l4 + (isUdp ? Udp.CHECKSUM : Tcp.CHECKSUM);
  const field = view.getUint16(fieldAt);
  if (packets.csumStart[slot] !== 0) {
    view.setUint16(fieldAt, updatePartial(field, addressDelta)); // N42: ports are no part of a pseudo-header
    return;
  }
  if (isUdp && field === 0) return; // N41: no checksum
  const next = updateField(field, addressDelta + deltaHalf(oldPort, port));
  view.setUint16(fieldAt, isUdp && next === 0 ? 0xffff : next);
}
