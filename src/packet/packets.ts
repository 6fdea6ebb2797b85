import { type CardMemory, Control, SLOTS, STAGGER_BYTES } from '../card/layout.ts';
import { COUNTER_FIELDS, Counter, type Counters, GATEWAY } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { IPV6_BYTES, Ipv6 } from '../wire/ipv6.ts';

/** `flags` bits. */
export const enum Flag {
  /** Came through a tunnel: never goes into one again (V31). */
  TUNNEL = 1,
  /** Addressed to the gateway MAC or this host's router MAC: ends at the local router. */
  TO_GATEWAY = 2,
  /** Left the local router: its source MAC depends on the egress (A14), and it may hairpin (N31). */
  ROUTED = 4,
  /** IP fragment, first or later; no atomic one. */
  FRAGMENT = 8,
  /** Says IP but its header does not hold together, or its addresses may not be; bridged, never routed or translated (B21). */
  BAD_IP = 16,
  /** 802.1Q or 802.1ad tagged: the tag is payload, nothing behind it is looked at (B23). */
  TAGGED = 32,
  /** Flood to local ports only (A5). */
  LOCAL_ONLY = 64,
  /** The VXLAN header stands in front of the frame. */
  ENCAPSULATED = 128,
  /** One end was rewritten by its flow; an ICMP error must quote it as it was. */
  TRANSLATED = 256,
  /** A TCP frame whose sender did not say how large its segments are, nor if there are several (V26): any smaller size is as right. */
  SIZE_UNKNOWN = 512,
  /** IPv6 extension headers that are too many or cut off: what they hide is not known (N39). */
  BAD_CHAIN = 1024,
}

/**
 * Packets: the card's columns plus what the stages find out. A packet is a slot number; every column is
 * indexed by it. Filled by parse:
 *
 *   network   NetworkConfig.id          source   location it came from (telemetry/counters.ts)
 *   flags     `Flag` bits               etherType
 *   dst/src   MAC as (Hi, Lo)           l3, l4   arena offsets of IP/ARP and of TCP/UDP/ICMP; 0 = none
 *   protocol  IP protocol of l4, 0 = none
 *
 * Ownership: a slot belongs to the stage that holds it until it is dropped, consumed or put on an egress list;
 * dropping and consuming count and free it. Frames the daemon makes itself have source GATEWAY.
 */
export class Packets {
  readonly start: Int32Array;
  readonly length: Int32Array;
  readonly csumStart: Int32Array;
  readonly csumOffset: Int32Array;
  readonly gsoType: Int32Array;
  readonly gsoSize: Int32Array;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The arena in words as they stand on the wire; a frame starts at 2 mod 4, so its IP header is aligned. */
  readonly words: Int32Array;

  private readonly own = new ArrayBuffer(16 * (SLOTS * 4 + STAGGER_BYTES));
  private columns = 0;
  readonly network = this.column();
  readonly source = this.column();
  readonly flags = this.column();
  readonly etherType = this.column();
  readonly dstHi = this.column();
  readonly dstLo = this.column();
  readonly srcHi = this.column();
  readonly srcLo = this.column();
  readonly l3 = this.column();
  readonly l4 = this.column();
  readonly protocol = this.column();
  /** Next slot of a waiting queue (neigh/neighbors.ts). */
  readonly link = this.column();

  private readonly free: Int32Array;
  private readonly control: Int32Array;
  private readonly values: Float64Array;
  private readonly drops: Float64Array;

  constructor(
    readonly memory: CardMemory,
    readonly counters: Counters,
  ) {
    this.start = memory.start;
    this.length = memory.length;
    this.csumStart = memory.csumStart;
    this.csumOffset = memory.csumOffset;
    this.gsoType = memory.gsoType;
    this.gsoSize = memory.gsoSize;
    this.bytes = memory.bytes;
    this.view = memory.view;
    this.words = new Int32Array(memory.bytes.buffer, memory.bytes.byteOffset, memory.bytes.length >> 2);
    this.free = memory.free;
    this.control = memory.control;
    this.values = counters.values;
    this.drops = counters.drops;
  }

  private column(): Int32Array {
    return new Int32Array(this.own, this.columns++ * (SLOTS * 4 + STAGGER_BYTES), SLOTS);
  }

  /** Free slots. */
  get available(): number {
    return this.control[Control.FREE_COUNT]!;
  }

  /** A free slot, or −1. The caller fills every column. */
  allocate(): number {
    const count = this.control[Control.FREE_COUNT]!;
    if (count === 0) return -1;
    this.control[Control.FREE_COUNT] = count - 1;
    return this.free[count - 1]!;
  }

  /** One past the last byte of the IP packet of a slot with l3: Ethernet's padding is none of it (N44). */
  endOf(slot: number): number {
    const ip = this.l3[slot]!;
    return this.etherType[slot] === EtherType.IPV4
      ? ip + this.view.getUint16(ip + Ipv4.TOTAL_LENGTH)
      : ip + IPV6_BYTES + this.view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
  }

  /**
   * Is the transport checksum the one on its sender's wire? Not that of a partial or segmented packet, nor, once it was
   * translated and put back, what covers bytes in later fragments: SCTP's.
   */
  hasSenderSum(slot: number): boolean {
    const isPart = (this.flags[slot]! & Flag.FRAGMENT) !== 0 && this.protocol[slot] === Protocol.SCTP;
    return this.csumStart[slot] === 0 && this.gsoType[slot] === 0 && !isPart;
  }

  /** Gives a slot back without counting. */
  release(slot: number): void {
    const count = this.control[Control.FREE_COUNT]!;
    this.free[count] = slot;
    this.control[Control.FREE_COUNT] = count + 1;
  }

  /** Discards a packet under a named reason. */
  drop(slot: number, reason: Drop): void {
    this.drops[this.source[slot]! * Drop.COUNT + reason]!++;
    this.release(slot);
  }

  /** Ends a packet that has done its work here. */
  consume(slot: number): void {
    this.values[this.source[slot]! * COUNTER_FIELDS + Counter.CONSUMED]!++;
    this.release(slot);
  }

  /** Counts a packet's arrival from its source. */
  countReceived(slot: number): void {
    const row = this.source[slot]! * COUNTER_FIELDS;
    this.values[row + Counter.RX]!++;
    this.values[row + Counter.RX_BYTES]! += this.length[slot]!;
  }

  /** Adds to the number of packets of a source that wait for a neighbour. */
  countHeld(slot: number, change: number): void {
    this.values[this.source[slot]! * COUNTER_FIELDS + Counter.HELD]! += change;
  }

  /** Packets of a location that wait now. */
  heldFrom(location: number): number {
    return this.values[location * COUNTER_FIELDS + Counter.HELD]!;
  }

  /** Counts a frame of the daemon's own that could not be made. */
  countLost(reason: Drop): void {
    this.values[GATEWAY * COUNTER_FIELDS + Counter.RX]!++;
    this.drops[GATEWAY * Drop.COUNT + reason]!++;
  }
}
