import { Gso } from '../card/layout.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { parseFrame } from '../packet/parse.ts';
import { Drop } from '../telemetry/drop.ts';
import { fold, pseudoSum4, sumBytes } from '../wire/checksum.ts';
import { dropUncopied, Ipv4, MORE_FRAGMENTS, OFFSET_MASK, Protocol } from '../wire/ipv4.ts';
import { UDP_BYTES, Udp } from '../wire/udp.ts';

const MOST_BYTES = 65_535;
/** Slots that fragments leave to what else is to be received, held and said. */
const SPARE_SLOTS = 128;

/**
 * Cuts IPv4 packets without DF to what their egress takes (N34; RFC 791 §3.2). The packet becomes its own first fragment;
 * the others are frames of the gateway's own, with the addresses, hops and identification of the packet. All of them are
 * made, or none.
 *
 *   partial checksum   completed first: a fragment cannot carry half of a sum over all of them
 *   UDP super-frame    parted into its datagrams, each cut alone (its segments are datagrams, whose bounds matter)
 *   TCP super-frame    not here: smaller segments do (fit.ts)
 */
export class Fragmenter {
  constructor(
    private readonly packets: Packets,
    private readonly originator: Originator,
  ) {}

  /**
   * Into how many frames of at most `limit` bytes behind the Ethernet header a packet would be cut; 0 = into none: its
   * header leaves no room, or it is a super-frame that is none of UDP.
   */
  count(slot: number, limit: number): number {
    const { packets } = this;
    const ip = packets.l3[slot]!;
    const header = headerBytes(packets.view, ip);
    const most = limit - header;
    if (most < 8) return 0;
    const body = packets.view.getUint16(ip + Ipv4.TOTAL_LENGTH) - header;
    const gsoSize = packets.gsoSize[slot]!;
    if (gsoSize === 0) return partsOf(body, most);
    if (!this.isDatagrams(slot, ip + header)) return 0;
    const payload = body - UDP_BYTES;
    const others = payload <= gsoSize ? 0 : Math.ceil(payload / gsoSize) - 1;
    return others * partsOf(UDP_BYTES + gsoSize, most) + partsOf(body - others * gsoSize, most);
  }

  /**
   * Cuts a packet into `count` frames, as that said. They are linked behind the slot by `link`, up to −1.
   * @returns why it was not cut, or NONE
   */
  cut(slot: number, limit: number, count: number): Drop {
    const { packets } = this;
    const { link } = packets;
    const ip = packets.l3[slot]!;
    const word = packets.view.getUint16(ip + Ipv4.FRAGMENT);
    // A fragment that ends beyond 65 535: the offset of a part of it may not fit its field.
    if (((word & OFFSET_MASK) << 3) + packets.view.getUint16(ip + Ipv4.TOTAL_LENGTH) > MOST_BYTES)
      return Drop.FRAGMENT_INVALID;
    if (packets.available < count - 1 + SPARE_SLOTS) return Drop.NO_BUFFER;
    link[slot] = -1;
    if (packets.gsoSize[slot] !== 0) this.part(slot);
    for (let one = slot; one >= 0; ) {
      const next = link[one]!;
      this.cutOne(one, limit);
      one = next;
    }
    return Drop.NONE;
  }

  /** Does the metadata of a super-frame describe what the frame says it is: datagrams of UDP? */
  private isDatagrams(slot: number, l4: number): boolean {
    const { packets } = this;
    return (
      packets.gsoType[slot] === Gso.UDP_L4 &&
      packets.protocol[slot] === Protocol.UDP &&
      packets.l4[slot] === l4 &&
      packets.start[slot]! + packets.csumStart[slot]! === l4
    );
  }

  /** Parts a super-frame into its datagrams, numbered as the card numbers segments (native/segment.c). */
  private part(slot: number): void {
    const { packets, originator } = this;
    const { bytes, link, start } = packets;
    const gsoSize = packets.gsoSize[slot]!;
    const from = start[slot]!;
    const payload = packets.l4[slot]! + UDP_BYTES;
    const end = packets.endOf(slot);
    let last = slot;
    let index = 1;
    for (let at = payload + gsoSize; at < end; at += gsoSize, index++) {
      const size = Math.min(gsoSize, end - at);
      const made = originator.make(packets.network[slot]!, payload - from + size);
      bytes.copyWithin(start[made]!, from, payload);
      bytes.copyWithin(start[made]! + payload - from, at, at + size);
      this.finishDatagram(made, slot, UDP_BYTES + size, index);
      link[last] = made;
      link[made] = -1;
      last = made;
    }
    const size = Math.min(gsoSize, end - payload);
    packets.length[slot] = payload - from + size;
    packets.gsoType[slot] = Gso.NONE;
    packets.gsoSize[slot] = 0;
    packets.csumStart[slot] = 0;
    packets.csumOffset[slot] = 0;
    this.finishDatagram(slot, slot, UDP_BYTES + size, 0);
  }

  /** Lengths, identification and checksums of the datagram at `index` of a super-frame. */
  private finishDatagram(made: number, from: number, length: number, index: number): void {
    const { packets } = this;
    const { view, start } = packets;
    const ip = start[made]! + packets.l3[from]! - start[from]!;
    const udp = start[made]! + packets.l4[from]! - start[from]!;
    view.setUint16(ip + Ipv4.ID, view.getUint16(ip + Ipv4.ID) + index);
    this.finishHeader(ip, udp - ip, length, view.getUint16(ip + Ipv4.FRAGMENT));
    view.setUint16(udp + Udp.LENGTH, length);
    view.setUint16(udp + Udp.CHECKSUM, 0);
    const source = view.getInt32(ip + Ipv4.SOURCE);
    const destination = view.getInt32(ip + Ipv4.DESTINATION);
    const sum = fold(pseudoSum4(source, destination, Protocol.UDP, length) + sumBytes(view, udp, length));
    view.setUint16(udp + Udp.CHECKSUM, sum === 0xffff ? 0xffff : ~sum & 0xffff); // N41
    if (made !== from) this.describe(made, from);
  }

  /** Cuts what is one packet; its parts come behind it in the list it is in. */
  private cutOne(slot: number, limit: number): void {
    const { packets, originator } = this;
    const { view, bytes, link, start } = packets;
    const ip = packets.l3[slot]!;
    const header = headerBytes(view, ip);
    const total = view.getUint16(ip + Ipv4.TOTAL_LENGTH);
    const body = total - header;
    const most = limit - header;
    const word = view.getUint16(ip + Ipv4.FRAGMENT);
    const from = start[slot]!;
    const before = ip + header - from;
    packets.length[slot] = before + body; // Ethernet's padding is none of it
    if (body <= most) return;
    if (packets.csumStart[slot] !== 0) this.finishChecksum(slot, ip + total);
    const part = most & ~7;
    const after = link[slot]!;
    let last = slot;
    for (let at = part; at < body; at += part) {
      const isLast = body - at <= most;
      const size = isLast ? body - at : part;
      const made = originator.make(packets.network[slot]!, before + size);
      bytes.copyWithin(start[made]!, from, from + before);
      bytes.copyWithin(start[made]! + before, from + before + at, from + before + at + size);
      const to = start[made]! + ip - from;
      dropUncopied(view, to, header);
      this.finishHeader(to, header, size, (word + (at >>> 3)) | (isLast ? 0 : MORE_FRAGMENTS));
      this.describe(made, slot);
      link[last] = made;
      link[made] = after;
      last = made;
      if (isLast) break;
    }
    packets.length[slot] = before + part;
    this.finishHeader(ip, header, part, word | MORE_FRAGMENTS);
    packets.flags[slot]! |= Flag.FRAGMENT;
    packets.l4[slot] = 0;
  }

  /**
   * Completes a partial checksum (virtio 1.2 §5.1.6), as the card does. Where the sum starts and stands was checked against
   * the frame alone, so nothing of the header that may have changed is trusted after it.
   */
  private finishChecksum(slot: number, end: number): void {
    const { packets } = this;
    const { view } = packets;
    const at = packets.start[slot]! + packets.csumStart[slot]!;
    const offset = packets.csumOffset[slot]!;
    const sum = ~fold(sumBytes(view, at, Math.max(0, end - at))) & 0xffff;
    view.setUint16(at + offset, sum === 0 && offset === Udp.CHECKSUM ? 0xffff : sum);
    packets.csumStart[slot] = 0;
    packets.csumOffset[slot] = 0;
  }

  /** @param body bytes behind the header · `word` of flags and offset */
  private finishHeader(ip: number, header: number, body: number, word: number): void {
    const { view } = this.packets;
    view.setUint16(ip + Ipv4.TOTAL_LENGTH, header + body);
    view.setUint16(ip + Ipv4.FRAGMENT, word);
    view.setUint16(ip + Ipv4.CHECKSUM, 0);
    view.setUint16(ip + Ipv4.CHECKSUM, ~fold(sumBytes(view, ip, header)) & 0xffff);
  }

  /** The columns of a made frame, which goes where `from` goes. */
  private describe(made: number, from: number): void {
    const { packets } = this;
    parseFrame(packets, made);
    packets.l4[made] = 0; // V4: fragments, and what is whole among them, take one way, in order
    packets.flags[made]! |= packets.flags[from]! & Flag.ROUTED;
  }
}

const headerBytes = (view: DataView, ip: number): number => (view.getUint8(ip) & 15) << 2;

/** Fragments of a body: all but the last in units of 8 bytes. */
const partsOf = (body: number, most: number): number =>
  body <= most ? 1 : Math.ceil((body - most) / (most & ~7)) + 1;
