import type { Flows } from '../conntrack/flows.ts';
import { TUPLE_STEP, windowAt } from '../conntrack/row.ts';
import { TcpState } from '../conntrack/tcp-state.ts';
import { isTuple4, Word } from '../conntrack/tuple.ts';
import { Window } from '../conntrack/windows.ts';
import type { Networks } from '../fabric/networks.ts';
import { Burst } from '../packet/burst.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { parseFrame } from '../packet/parse.ts';
import { Drop } from '../telemetry/drop.ts';
import { fold, pseudoSum4, pseudoSum6, sumBytes } from '../wire/checksum.ts';
import { ETHERNET_BYTES, EtherType, writeEthernet } from '../wire/ethernet.ts';
import { IPV4_BYTES, Protocol, writeIpv4 } from '../wire/ipv4.ts';
import { IPV6_BYTES, Ipv6, writeAddress, writeIpv6 } from '../wire/ipv6.ts';
import { TCP_BYTES, Tcp, TcpFlag } from '../wire/tcp.ts';

/** Connections ended between two turns, two frames each; and rows looked at for them, about 100 µs. */
const ENDINGS_PER_STEP = 64;
const ROWS_PER_STEP = 8192;
const HOP_LIMIT = 64;
/** RST and ACK, five words of header, no window. */
const RESET = (5 << 28) | ((TcpFlag.RST | TcpFlag.ACK) << 16) | 0;

/**
 * Ends TCP flows whose endpoint has left its service, when the service wants that (S30): a reset to either side, in the
 * name of the other.
 *
 * A reset bears the number its receiver waits for, if all that was sent has arrived. Where data is still on its way or
 * got lost it does not fit and is not believed; so the flow stays for a while, closed, and whatever comes of it is
 * answered by a reset that fits that segment. `flows.ends` of a closed flow says so.
 *
 *   ends = 0   lives on        due, not closed   ends at that time        not 0, closed   is answered with resets
 */
export class Ending {
  /** Resets to be routed like packets to the gateway. */
  readonly made = new Burst();
  /** When the next flow is due, if any is. */
  private due = 0;
  private isWaiting = false;
  /** Row a pass over the flows has come to; −1 = none is under way. */
  private cursor = -1;

  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
    private readonly networks: Networks,
    private readonly originator: Originator,
  ) {}

  /** The flow ends in `ms`, or earlier if that was said before. */
  schedule(row: number, ms: number, now: number): void {
    const { ends } = this.flows;
    const wanted = (now + ms) | 0 || 1;
    if (ends[row] === 0 || ((wanted - ends[row]!) | 0) < 0) ends[row] = wanted;
    this.expect(ends[row]!);
  }

  /** Its endpoint is back. */
  cancel(row: number): void {
    if (this.flows.stateOf(row) !== TcpState.CLOSE) this.flows.ends[row] = 0;
  }

  get isBehind(): boolean {
    return this.cursor >= 0;
  }

  /** The flows have other rows now: a pass under way begins again. */
  moved(): void {
    if (this.isBehind) this.cursor = 0;
  }

  /** Ends flows that are due, some each turn. */
  maintain(now: number): void {
    if (this.cursor < 0) {
      if (!this.isWaiting || ((this.due - now) | 0) > 0) return;
      this.cursor = 0;
      this.isWaiting = false;
    }
    const { flows } = this;
    let endings = 0;
    let row = this.cursor;
    const last = Math.min(flows.extent, row + ROWS_PER_STEP);
    for (; row < last && endings < ENDINGS_PER_STEP; row++) {
      const ends = flows.ends[row]!;
      if (ends === 0 || !flows.isLive(row, now) || flows.stateOf(row) === TcpState.CLOSE) continue;
      if (((ends - now) | 0) > 0) {
        this.expect(ends);
        continue;
      }
      if (flows.stateOf(row) === TcpState.TIME_WAIT) {
        flows.ends[row] = 0; // both ends are through with it
        continue;
      }
      this.end(row, now);
      endings++;
    }
    this.cursor = row < flows.extent ? row : -1;
  }

  /** Is it a segment of an ended flow? Then it is answered and dropped. A client's new connection is none. */
  refuse(slot: number, row: number, direction: number, beyond: number, now: number): boolean {
    const { flows, packets } = this;
    if (flows.ends[row] === 0 || flows.stateOf(row) !== TcpState.CLOSE) return false;
    const flags = packets.view.getUint8(packets.l4[slot]! + Tcp.FLAGS);
    if (direction === 0 && (flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST)) === TcpFlag.SYN) return false;
    flows.refresh(row, TcpState.CLOSE, now);
    this.originator.tcpReset(slot, beyond);
    packets.drop(slot, Drop.FLOW_ENDED);
    return true;
  }

  private expect(ends: number): void {
    if (!this.isWaiting || ((ends - this.due) | 0) < 0) this.due = ends;
    this.isWaiting = true;
  }

  private end(row: number, now: number): void {
    this.flows.refresh(row, TcpState.CLOSE, now);
    this.reset(row * 2);
    this.reset(row * 2 + 1);
  }

  /** A reset that answers tuple `id`: to whoever sends by it, from whom it sends to. */
  private reset(id: number): void {
    const { packets, flows, networks, originator } = this;
    const { view } = packets;
    const { lines } = flows;
    const line = id * TUPLE_STEP;
    const network = lines[line + Word.SCOPE]! >>> 8;
    const is4 = isTuple4(lines, line);
    const head = is4 ? IPV4_BYTES : IPV6_BYTES;
    const slot = originator.make(network, ETHERNET_BYTES + head + TCP_BYTES);
    if (slot < 0) return;
    const start = packets.start[slot]!;
    const hi = networks.gatewayHi[network]!;
    const lo = networks.gatewayLo[network]!;
    writeEthernet(view, start, hi, lo, hi, lo, is4 ? EtherType.IPV4 : EtherType.IPV6);
    const ip = start + ETHERNET_BYTES;
    const tcp = ip + head;
    const from = lines[line + Word.DESTINATION]!;
    const to = lines[line + Word.SOURCE]!;
    if (is4) writeIpv4(view, ip, IPV4_BYTES + TCP_BYTES, Protocol.TCP, from, to);
    else writeAddresses(view, ip, lines, line);
    const ports = lines[line + Word.PORTS]!;
    view.setInt32(tcp + Tcp.SOURCE_PORT, (ports << 16) | (ports >>> 16));
    view.setInt32(tcp + Tcp.SEQUENCE, lines[windowAt(id ^ 1) + Window.END]!);
    view.setInt32(tcp + Tcp.ACKNOWLEDGMENT, lines[windowAt(id) + Window.END]!);
    view.setInt32(tcp + Tcp.DATA_OFFSET, RESET);
    view.setInt32(tcp + Tcp.CHECKSUM, 0);
    const pseudo = is4
      ? pseudoSum4(from, to, Protocol.TCP, TCP_BYTES)
      : pseudoSum6(view, ip, Protocol.TCP, TCP_BYTES);
    view.setUint16(tcp + Tcp.CHECKSUM, ~fold(pseudo + sumBytes(view, tcp, TCP_BYTES)) & 0xffff);
    parseFrame(packets, slot);
    packets.flags[slot]! |= Flag.TO_GATEWAY;
    this.made.push(slot);
  }
}

/** The IPv6 header of what answers a tuple. */
function writeAddresses(view: DataView, ip: number, lines: Int32Array, line: number): void {
  writeIpv6(view, ip, TCP_BYTES, Protocol.TCP, HOP_LIMIT);
  const from = line + Word.DESTINATION_HIGH;
  const to = line + Word.SOURCE_HIGH;
  writeAddress(
    view,
    ip + Ipv6.SOURCE,
    lines[from]!,
    lines[from + 1]!,
    lines[from + 2]!,
    lines[line + Word.DESTINATION]!,
  );
  writeAddress(
    view,
    ip + Ipv6.DESTINATION,
    lines[to]!,
    lines[to + 1]!,
    lines[to + 2]!,
    lines[line + Word.SOURCE]!,
  );
}
