import type { Packets } from '../packet/packets.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { IPV6_BYTES, Ipv6 } from '../wire/ipv6.ts';
import { TCP_BYTES, Tcp, TcpFlag } from '../wire/tcp.ts';
import type { Flows } from './flows.ts';
import { windowAt } from './row.ts';
import { beginAssociation, stepAssociation } from './sctp.ts';
import { readSack, readSynOptions } from './tcp-options.ts';
import { IGNORE, INVALID, isPossible, nextTcpState, OUT_OF_WINDOW, TcpState } from './tcp-state.ts';
import { UdpState } from './timeouts.ts';
import { ORIGINAL, REPLY } from './tuple.ts';
import {
  acceptNotedSyn,
  beginWindow,
  noteSyn,
  Option,
  passWindow,
  scaleOf,
  Verdict,
  Window,
} from './windows.ts';

/**
 * Judges packets of known flows and moves the flows' states (N12–N15, N18, N19). The segment at hand is in the fields:
 * a super-frame is one segment with all its payload.
 */
export class Tracker {
  /** `tcpLiberal`: out of the window is no reason to drop (N13). */
  isLiberal = false;
  private tcp = 0;
  private flags = 0;
  private seq = 0;
  private ack = 0;
  private window = 0;
  /** One past the header. */
  private body = 0;
  /** One past the last sequence number. */
  private end = 0;

  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
  ) {}

  /** What the first packet of a flow says. @param beyond bytes of it that are in later fragments */
  begin(slot: number, row: number, beyond: number): void {
    const { packets, flows } = this;
    const protocol = packets.protocol[slot];
    if (protocol === Protocol.SCTP) {
      const own = windowAt(row * 2);
      beginAssociation(packets.view, packets.l4[slot]!, flows.lines, own, windowAt(row * 2 + 1));
    }
    if (protocol !== Protocol.TCP || !this.read(slot, beyond)) return;
    this.beginWindow(row * 2 + ORIGINAL);
  }

  /**
   * A packet of the flow.
   * @param beyond bytes of it that are in later fragments
   * @returns the new state, or IGNORE, INVALID, OUT_OF_WINDOW, NEW_FLOW.
   */
  step(slot: number, row: number, direction: number, beyond: number, now: number): number {
    const protocol = this.packets.protocol[slot];
    if (protocol === Protocol.SCTP) return this.stepSctp(slot, row, direction, now);
    if (protocol !== Protocol.TCP) return this.stepUdp(row, direction, now);
    return this.read(slot, beyond) ? this.stepTcp(row, direction, now) : INVALID;
  }

  private stepTcp(row: number, direction: number, now: number): number {
    const { flows, flags } = this;
    const id = row * 2 + direction;
    const state = flows.stateOf(row);
    if (!isPossible(flags)) return INVALID;
    if ((flags & TcpFlag.RST) !== 0) return this.stepReset(row, direction, state, now);
    let next = nextTcpState(state, flags, direction === REPLY);
    if (next === IGNORE) next = this.ignore(row, direction);
    if (next >= IGNORE) return next;
    const { lines } = flows;
    const isSyn = (flags & TcpFlag.SYN) !== 0;
    // Until both have agreed, the last SYN of each is the one that counts.
    const isFirst = state === TcpState.SYN_SENT || lines[windowAt(id) + Window.WIDTH] === 0;
    if (isSyn && isFirst) this.beginWindow(id);
    const hasAck = (flags & TcpFlag.ACK) !== 0;
    if (isSyn && !hasAck) {
      flows.refresh(row, next, now);
      return next;
    }
    const options = lines[windowAt(id) + Window.OPTIONS]!;
    const ack = hasAck ? this.ack : lines[windowAt(id ^ 1) + Window.END]!;
    const isSack = (lines[windowAt(id ^ 1) + Window.OPTIONS]! & Option.SACK) !== 0;
    const sack = isSack ? readSack(this.packets.view, this.tcp, this.body, ack) : ack;
    const window = isSyn ? this.window : this.window << scaleOf(options);
    const verdict = passWindow(lines, id, this.seq, this.end, ack, sack, window);
    if (verdict === Verdict.OUTSIDE && !this.isLiberal) return OUT_OF_WINDOW;
    flows.refresh(row, next, now, verdict === Verdict.UNANSWERED);
    return next;
  }

  /**
   * What the table ignores goes on, and says what it says: an initiator that lost its memory begins again on a
   * connection that lives here, and when the responder agrees it is a new one (N18).
   */
  private ignore(row: number, direction: number): number {
    const { flags } = this;
    const { lines } = this.flows;
    if ((flags & TcpFlag.SYN) === 0) return IGNORE;
    if (direction === ORIGINAL && (flags & TcpFlag.ACK) === 0) {
      noteSyn(lines, row, this.end, this.window, readSynOptions(this.packets.view, this.tcp, this.body));
    } else if (direction === REPLY && (flags & TcpFlag.ACK) !== 0) {
      if (acceptNotedSyn(lines, row, this.ack)) return TcpState.SYN_RECV;
    }
    return IGNORE;
  }

  /** N14: exact ends the flow; in the window it goes to a receiver who will ask back; others are forged or stale. */
  private stepReset(row: number, direction: number, state: number, now: number): number {
    const { flows, flags } = this;
    const { lines } = flows;
    const at = windowAt(row * 2 + direction);
    const peer = windowAt(row * 2 + (direction ^ 1));
    if (state === TcpState.SYN_SENT && direction === REPLY) {
      const isAnswer = (flags & TcpFlag.ACK) !== 0 && this.ack === lines[peer + Window.END];
      if (!isAnswer) return OUT_OF_WINDOW;
    } else {
      const ahead = (this.seq - lines[peer + Window.ACKED]!) | 0;
      const room = (lines[at + Window.LIMIT]! - this.seq) | 0;
      if ((ahead < 0 || room < 0) && !this.isLiberal) {
        // An endpoint that still knows an older connection of these ports answers the SYN with where that one stands;
        // without the client's reset it would do so for ever (RFC 9293 §3.5.1).
        return state === TcpState.SYN_SENT ? IGNORE : OUT_OF_WINDOW;
      }
      if (ahead !== 0 && state !== TcpState.CLOSE) return IGNORE;
    }
    flows.refresh(row, TcpState.CLOSE, now);
    return TcpState.CLOSE;
  }

  private beginWindow(id: number): void {
    const options = readSynOptions(this.packets.view, this.tcp, this.body);
    beginWindow(this.flows.lines, id, this.end, this.window, options);
  }

  /** Reads the segment in `slot`. @returns false when its header is no TCP header. */
  private read(slot: number, beyond: number): boolean {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const tcp = packets.l4[slot]!;
    const isV4 = packets.etherType[slot] === EtherType.IPV4;
    const last =
      ip +
      (isV4 ? view.getUint16(ip + Ipv4.TOTAL_LENGTH) : IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH));
    const header = (view.getUint8(tcp + Tcp.DATA_OFFSET) >>> 4) << 2;
    this.tcp = tcp;
    this.body = tcp + header;
    if (header < TCP_BYTES || this.body > last) return false;
    this.flags = view.getUint8(tcp + Tcp.FLAGS);
    this.seq = view.getInt32(tcp + Tcp.SEQUENCE);
    this.ack = view.getInt32(tcp + Tcp.ACKNOWLEDGMENT);
    this.window = view.getUint16(tcp + Tcp.WINDOW);
    const marks = ((this.flags >>> 1) & 1) + (this.flags & 1); // SYN and FIN count
    this.end = (this.seq + last - this.body + beyond + marks) | 0;
    return true;
  }

  private stepSctp(slot: number, row: number, direction: number, now: number): number {
    const { packets, flows } = this;
    const state = stepAssociation(
      packets.view,
      packets.l4[slot]!,
      packets.endOf(slot),
      flows.stateOf(row),
      direction,
      flows.lines,
      windowAt(row * 2 + direction),
      windowAt(row * 2 + (direction ^ 1)),
    );
    if (state < IGNORE) flows.refresh(row, state, now);
    return state;
  }

  private stepUdp(row: number, direction: number, now: number): number {
    const { flows } = this;
    const state = direction === REPLY ? UdpState.REPLIED : flows.stateOf(row);
    flows.refresh(row, state, now);
    return state;
  }
}
