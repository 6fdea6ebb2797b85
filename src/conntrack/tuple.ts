import type { Packets } from '../packet/packets.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Ipv6 } from '../wire/ipv6.ts';

/**
 * A flow key of 10 words: wide enough for IPv6, compared in this order.
 *
 *   0  network << 8 | protocol     1  source port << 16 | destination port
 *   2  source word 3               3  destination word 3        (the IPv4 address, when it is one)
 *   4–6  source words 0–2          7–9  destination words 0–2   (0, 0, 0xffff for IPv4)
 */
export const TUPLE_WORDS = 10;

/** Direction bit of a tuple id. */
export const ORIGINAL = 0;
export const REPLY = 1;

export const enum Word {
  SCOPE = 0,
  PORTS = 1,
  SOURCE = 2,
  DESTINATION = 3,
  SOURCE_HIGH = 4,
  DESTINATION_HIGH = 7,
}

/**
 * A tuple in the flow table (row.ts): one cache line. Behind the key stands what a packet with that tuple becomes; it
 * follows from both tuples of the flow and never changes while the flow lives.
 *
 *   10  `Ready`                                          13  source port << 16 | destination port it gets
 *   11  last word of the source address it gets          14  checksum deltas in wire order: of the addresses alone
 *   12  last word of the destination address                  (low half), of addresses and ports (high half)
 *                                                        15  hash of the translated packet's flow (V4)
 */
export const enum Line {
  READY = 10,
  SOURCE = 11,
  DESTINATION = 12,
  PORTS = 13,
  DELTAS = 14,
  ENTROPY = 15,
}

export const enum Ready {
  /** The words behind it are not filled in. */
  NO = 0,
  YES = 1,
  /** And it is an answer to an address of this host, under which the client appeared: the router's, whoever it is sent to. */
  TURNED = 2,
}

/** Protocols of which flows are tracked: both ports stand in front of the header. */
export const hasPorts = (protocol: number): boolean =>
  protocol === Protocol.TCP || protocol === Protocol.UDP || protocol === Protocol.SCTP;

/** Which end of a packet or tuple. */
export const enum End {
  SOURCE = 0,
  DESTINATION = 1,
}

/** Reads the tuple of a packet with a parsed IPv4 or IPv6 header and a header with ports into `into`. */
export function readTuple(packets: Packets, slot: number, into: Int32Array): void {
  into[Word.SCOPE] = (packets.network[slot]! << 8) | packets.protocol[slot]!;
  into[Word.PORTS] = packets.view.getInt32(packets.l4[slot]!);
  readAddresses(packets, slot, into);
}

/** The addresses alone. */
export function readAddresses(packets: Packets, slot: number, into: Int32Array): void {
  const { view } = packets;
  const ip = packets.l3[slot]!;
  const isV4 = packets.etherType[slot] === EtherType.IPV4;
  for (let i = 0; i < 3; i++) {
    const mapped = i === 2 ? 0xffff : 0;
    into[Word.SOURCE_HIGH + i] = isV4 ? mapped : view.getInt32(ip + Ipv6.SOURCE + i * 4);
    into[Word.DESTINATION_HIGH + i] = isV4 ? mapped : view.getInt32(ip + Ipv6.DESTINATION + i * 4);
  }
  into[Word.SOURCE] = view.getInt32(ip + (isV4 ? Ipv4.SOURCE : Ipv6.SOURCE + 12));
  into[Word.DESTINATION] = view.getInt32(ip + (isV4 ? Ipv4.DESTINATION : Ipv6.DESTINATION + 12));
}

/** Does the tuple whose key begins at `at` of `words` hold IPv4 addresses? */
export const isTuple4 = (words: Int32Array, at: number): boolean =>
  words[at + Word.SOURCE_HIGH + 2] === 0xffff &&
  words[at + Word.SOURCE_HIGH + 1] === 0 &&
  words[at + Word.SOURCE_HIGH] === 0;

/** The tuple of what answers a packet of `tuple`, untranslated. */
export function reverseTuple(tuple: Int32Array, into: Int32Array): void {
  into[Word.SCOPE] = tuple[Word.SCOPE]!;
  into[Word.PORTS] = (tuple[Word.PORTS]! << 16) | (tuple[Word.PORTS]! >>> 16);
  into[Word.SOURCE] = tuple[Word.DESTINATION]!;
  into[Word.DESTINATION] = tuple[Word.SOURCE]!;
  for (let i = 0; i < 3; i++) {
    into[Word.SOURCE_HIGH + i] = tuple[Word.DESTINATION_HIGH + i]!;
    into[Word.DESTINATION_HIGH + i] = tuple[Word.SOURCE_HIGH + i]!;
  }
}
