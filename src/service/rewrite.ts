import { End, isTuple4, Word } from '../conntrack/tuple.ts';
import type { Packets } from '../packet/packets.ts';
import { deltaHalf, deltaWord, updateField, updatePartial } from '../wire/checksum.ts';
import { crcChange } from '../wire/crc32c.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Ipv6 } from '../wire/ipv6.ts';
import { Sctp } from '../wire/sctp.ts';
import { Tcp } from '../wire/tcp.ts';
import { Udp } from '../wire/udp.ts';

/**
 * Rewrites one end of a packet with ports, of a later fragment its address alone, to address and port of an end of the
 * tuple at `at` of `words`, and updates every checksum incrementally (N40–N43). One rewrite covers a whole super-frame.
 * @param beyond bytes of the packet in later fragments
 */
export function rewrite(
  packets: Packets,
  slot: number,
  end: End,
  words: Int32Array,
  at: number,
  to: End,
  beyond = 0,
): void {
  const { view } = packets;
  const l4 = packets.l4[slot]!;
  const delta = isTuple4(words, at)
    ? setAddress4(packets, slot, end, words[at + (to === End.SOURCE ? Word.SOURCE : Word.DESTINATION)]!)
    : setAddress6(packets, slot, end, words, at, to);
  if (l4 === 0) return;
  const ports = words[at + Word.PORTS]!;
  const port = to === End.SOURCE ? ports >>> 16 : ports & 0xffff;
  const portAt = l4 + (end === End.SOURCE ? Tcp.SOURCE_PORT : Tcp.DESTINATION_PORT);
  const oldPort = view.getUint16(portAt);
  view.setUint16(portAt, port);
  if (packets.protocol[slot] === Protocol.SCTP) {
    updateCrc(view, l4 + Sctp.CHECKSUM, oldPort ^ port, packets.endOf(slot) + beyond - portAt - 2);
    return;
  }

  const isUdp = packets.protocol[slot] === Protocol.UDP;
  const fieldAt = l4 + (isUdp ? Udp.CHECKSUM : Tcp.CHECKSUM);
  const field = view.getUint16(fieldAt);
  if (packets.csumStart[slot] !== 0) {
    view.setUint16(fieldAt, updatePartial(field, delta)); // N42: ports are no part of a pseudo-header
    return;
  }
  if (isUdp && field === 0) return; // N41: no checksum
  const next = updateField(field, delta + deltaHalf(oldPort, port));
  view.setUint16(fieldAt, isUdp && next === 0 ? 0xffff : next);
}

/**
 * SCTP's sum covers ports and no address (RFC 9260 §6.8). It is changed by what changed, so a wrong one stays wrong (N40);
 * 0 is none at all (RFC 9653): a right one is 0 once in 2^32.
 */
function updateCrc(view: DataView, at: number, change: number, behind: number): void {
  const field = view.getInt32(at, true);
  if (change !== 0 && field !== 0) view.setInt32(at, field ^ crcChange(change, behind), true);
}

/** @returns what the change adds to sums that cover the address. */
function setAddress4(packets: Packets, slot: number, end: End, address: number): number {
  const { view } = packets;
  const ip = packets.l3[slot]!;
  const at = ip + (end === End.SOURCE ? Ipv4.SOURCE : Ipv4.DESTINATION);
  const delta = deltaWord(view.getInt32(at), address);
  view.setInt32(at, address);
  view.setUint16(ip + Ipv4.CHECKSUM, updateField(view.getUint16(ip + Ipv4.CHECKSUM), delta));
  return delta;
}

function setAddress6(
  packets: Packets,
  slot: number,
  end: End,
  words: Int32Array,
  from: number,
  to: End,
): number {
  const { view } = packets;
  const at = packets.l3[slot]! + (end === End.SOURCE ? Ipv6.SOURCE : Ipv6.DESTINATION);
  const high = from + (to === End.SOURCE ? Word.SOURCE_HIGH : Word.DESTINATION_HIGH);
  const low = from + (to === End.SOURCE ? Word.SOURCE : Word.DESTINATION);
  let delta = 0;
  for (let i = 0; i < 4; i++) {
    const word = words[i < 3 ? high + i : low]!;
    delta += deltaWord(view.getInt32(at + i * 4), word);
    view.setInt32(at + i * 4, word);
  }
  return delta;
}

/** A datagram of IPv6 without the checksum that IPv6 demands (N41; RFC 8200 §8.1)? A partial one may be 0. */
export function lacksChecksum(packets: Packets, slot: number): boolean {
  return (
    packets.protocol[slot] === Protocol.UDP &&
    packets.etherType[slot] === EtherType.IPV6 &&
    packets.csumStart[slot] === 0 &&
    packets.view.getUint16(packets.l4[slot]! + Udp.CHECKSUM) === 0
  );
}
