import type { FlowTimeouts } from '../dataplane/config.ts';
import { SctpState } from './sctp.ts';
import { TcpState } from './tcp-state.ts';

/** `state` of UDP flows, above the TCP states. */
export const enum UdpState {
  UNREPLIED = 10,
  REPLIED = 11,
}

/** Rows of a table of idle times. */
export const TIMERS = SctpState.END;

/** Idle times of N20, s. */
const USUAL: FlowTimeouts = {
  tcpSynSent: 120,
  tcpSynRecv: 60,
  tcpEstablished: 86_400,
  tcpFinWait: 120,
  tcpCloseWait: 3600,
  tcpLastAck: 30,
  tcpTimeWait: 120,
  tcpClose: 10,
  tcpUnacknowledged: 300,
  udpUnreplied: 30,
  udpReplied: 120,
  sctpClosed: 10,
  sctpCookieWait: 3,
  sctpCookieEchoed: 3,
  sctpEstablished: 210,
  sctpShutdown: 3,
};

/** The least for a flow whose source is translated, s (N21; RFC 4787 REQ-5, 5382 REQ-5, 7857). */
const FLOORS: FlowTimeouts = {
  tcpSynSent: 240,
  tcpSynRecv: 240,
  tcpEstablished: 7440,
  tcpFinWait: 240,
  tcpCloseWait: 240,
  tcpLastAck: 240,
  tcpTimeWait: 0,
  tcpClose: 240,
  tcpUnacknowledged: 300,
  udpUnreplied: 120,
  udpReplied: 120,
  sctpClosed: 0,
  sctpCookieWait: 0,
  sctpCookieEchoed: 0,
  sctpEstablished: 0,
  sctpShutdown: 0,
};

const inMs = (timers: FlowTimeouts): FlowTimeouts => {
  const entries = Object.entries(timers).map(([name, seconds]) => [name, seconds * 1000]);
  return Object.fromEntries(entries) as FlowTimeouts;
};

/** By flow state. */
function column(timers: FlowTimeouts): number[] {
  const by = new Array<number>(TIMERS).fill(0);
  by[TcpState.SYN_SENT] = timers.tcpSynSent;
  by[TcpState.SYN_SENT2] = timers.tcpSynSent;
  by[TcpState.SYN_RECV] = timers.tcpSynRecv;
  by[TcpState.ESTABLISHED] = timers.tcpEstablished;
  by[TcpState.FIN_WAIT] = timers.tcpFinWait;
  by[TcpState.CLOSE_WAIT] = timers.tcpCloseWait;
  by[TcpState.LAST_ACK] = timers.tcpLastAck;
  by[TcpState.TIME_WAIT] = timers.tcpTimeWait;
  by[TcpState.CLOSE] = timers.tcpClose;
  by[UdpState.UNREPLIED] = timers.udpUnreplied;
  by[UdpState.REPLIED] = timers.udpReplied;
  by[SctpState.CLOSED] = timers.sctpClosed;
  by[SctpState.COOKIE_WAIT] = timers.sctpCookieWait;
  by[SctpState.COOKIE_ECHOED] = timers.sctpCookieEchoed;
  by[SctpState.ESTABLISHED] = timers.sctpEstablished;
  by[SctpState.SHUTDOWN_SENT] = timers.sctpShutdown;
  by[SctpState.SHUTDOWN_RECD] = timers.sctpShutdown;
  by[SctpState.SHUTDOWN_ACK_SENT] = timers.sctpShutdown;
  return by;
}

/**
 * Idle times, ms: [TIMERS × (snat + 2 × unanswered) + state]. snat: 1 for flows whose source is translated; unanswered:
 * 1 for TCP whose peer owes an answer, whatever its state.
 */
export function timeoutTable(timeouts: FlowTimeouts = inMs(USUAL)): Int32Array<ArrayBuffer> {
  const floors = inMs(FLOORS);
  const kept = column(timeouts);
  const translated = column(floors).map((floor, state) => Math.max(floor, kept[state]!));
  const { tcpUnacknowledged } = timeouts;
  const most = Math.max(floors.tcpUnacknowledged, tcpUnacknowledged);
  return Int32Array.from([
    ...kept,
    ...translated,
    ...kept.map((ms) => Math.min(ms, tcpUnacknowledged)),
    ...translated.map((ms) => Math.min(ms, most)),
  ]);
}

/** Who may be evicted from a full table, in order (N22). */
export const enum EvictionClass {
  UNREPLIED_UDP = 0,
  UNREPLIED_TCP = 1,
  CLOSING_TCP = 2,
  KEPT = 3,
}

export const EVICTION_CLASS = new Uint8Array(TIMERS).fill(EvictionClass.KEPT);
EVICTION_CLASS[UdpState.UNREPLIED] = EvictionClass.UNREPLIED_UDP;
EVICTION_CLASS[TcpState.SYN_SENT] = EvictionClass.UNREPLIED_TCP;
EVICTION_CLASS[TcpState.SYN_SENT2] = EvictionClass.UNREPLIED_TCP;
// The initiator has not replied to the responder's SYN: of a flood none ever does.
EVICTION_CLASS[TcpState.SYN_RECV] = EvictionClass.UNREPLIED_TCP;
// The same of associations: what is not set up is nobody's loss.
EVICTION_CLASS[SctpState.CLOSED] = EvictionClass.UNREPLIED_TCP;
EVICTION_CLASS[SctpState.COOKIE_WAIT] = EvictionClass.UNREPLIED_TCP;
EVICTION_CLASS[SctpState.COOKIE_ECHOED] = EvictionClass.UNREPLIED_TCP;
for (const state of [
  TcpState.FIN_WAIT,
  TcpState.CLOSE_WAIT,
  TcpState.LAST_ACK,
  TcpState.TIME_WAIT,
  TcpState.CLOSE,
  SctpState.SHUTDOWN_SENT,
  SctpState.SHUTDOWN_RECD,
  SctpState.SHUTDOWN_ACK_SENT,
]) {
  EVICTION_CLASS[state] = EvictionClass.CLOSING_TCP;
}
