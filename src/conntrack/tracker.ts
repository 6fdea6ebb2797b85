import type { Packets } from '../packet/packets.ts';
import { Protocol } from '../wire/ipv4.ts';
import { Tcp, TcpFlag } from '../wire/tcp.ts';
import { type Flows, REPLY } from './flows.ts';
import { IGNORE, nextTcpState, TcpState } from './tcp-state.ts';
import { UdpState } from './timeouts.ts';

/**
 * Judges packets of known flows and moves the flows' states (N12–N15, N19).
 *
 * Limits: TCP windows are not checked (N13), so an RST is exact or leaves the state alone (N14).
 */
export class Tracker {
  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
  ) {}

  /** What the first packet of a flow says. */
  begin(slot: number, row: number): void {
    const { packets, flows } = this;
    if (packets.protocol[slot] !== Protocol.TCP) return;
    const sequence = packets.view.getInt32(packets.l4[slot]! + Tcp.SEQUENCE);
    flows.acknowledge(row * 2 + REPLY, (sequence + 1) | 0);
  }

  /** A packet of the flow. @returns the new state, or IGNORE, INVALID, NEW_FLOW. */
  step(slot: number, row: number, direction: number, now: number): number {
    const isTcp = this.packets.protocol[slot] === Protocol.TCP;
    return isTcp ? this.stepTcp(slot, row, direction, now) : this.stepUdp(row, direction, now);
  }

  private stepTcp(slot: number, row: number, direction: number, now: number): number {
    const { packets, flows } = this;
    const { view } = packets;
    const tcp = packets.l4[slot]!;
    const flags = view.getUint8(tcp + Tcp.FLAGS);
    const state = flows.state[row]!;
    if ((flags & TcpFlag.RST) !== 0) {
      if (!this.isExactReset(tcp, flags, row, direction, state)) return IGNORE;
      flows.refresh(row, TcpState.CLOSE, now);
      return TcpState.CLOSE;
    }
    const next = nextTcpState(state, flags, direction === REPLY);
    if (next >= IGNORE) return next;
    // A SYN again: a refusal must acknowledge the sequence number it came with.
    if (next === TcpState.SYN_SENT)
      flows.acknowledge(row * 2 + REPLY, (view.getInt32(tcp + Tcp.SEQUENCE) + 1) | 0);
    if ((flags & TcpFlag.ACK) !== 0)
      flows.acknowledge(row * 2 + direction, view.getInt32(tcp + Tcp.ACKNOWLEDGMENT));
    flows.refresh(row, next, now);
    return next;
  }

  /** N14: a reset ends the flow only with the sequence number its receiver last asked for. */
  private isExactReset(tcp: number, flags: number, row: number, direction: number, state: number): boolean {
    const { view } = this.packets;
    if (state === TcpState.SYN_SENT && direction === REPLY) {
      // Until the responder speaks, its `acked` holds what it must acknowledge: the initiator's SYN.
      const expected = this.flows.acked(row * 2 + REPLY);
      return (flags & TcpFlag.ACK) !== 0 && view.getInt32(tcp + Tcp.ACKNOWLEDGMENT) === expected;
    }
    return view.getInt32(tcp + Tcp.SEQUENCE) === this.flows.acked(row * 2 + (direction ^ 1));
  }

  private stepUdp(row: number, direction: number, now: number): number {
    const { flows } = this;
    const state = direction === REPLY ? UdpState.REPLIED : flows.state[row]!;
    flows.refresh(row, state, now);
    return state;
  }
}
