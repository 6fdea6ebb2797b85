import { TcpState } from './tcp-state.ts';

/** `state` of UDP flows, above the TCP states. */
export const enum UdpState {
  UNREPLIED = 10,
  REPLIED = 11,
}

/** Index of a timer that is no state: TCP whose peer owes an answer, be it to data or to three repetitions. */
export const UNANSWERED = 12;
export const TIMERS = 13;

const ms = (timers: Readonly<Record<number, number>>): readonly number[] =>
  Array.from({ length: TIMERS }, (_, index) => (timers[index] ?? 0) * 1000);

/** Idle time in ms by flow state, in `Timer` order (N20). */
export const DEFAULT_TIMEOUTS = ms({
  [TcpState.NONE]: 120,
  [TcpState.SYN_SENT]: 120,
  [TcpState.SYN_SENT2]: 120,
  [TcpState.SYN_RECV]: 60,
  [TcpState.ESTABLISHED]: 86_400,
  [TcpState.FIN_WAIT]: 120,
  [TcpState.CLOSE_WAIT]: 3600,
  [TcpState.LAST_ACK]: 30,
  [TcpState.TIME_WAIT]: 120,
  [TcpState.CLOSE]: 10,
  [UNANSWERED]: 300,
  [UdpState.UNREPLIED]: 30,
  [UdpState.REPLIED]: 120,
});

/** The least for a flow whose source is translated (N21; RFC 4787, 5382, 7857). */
const FLOORS = ms({
  [TcpState.SYN_SENT]: 240,
  [TcpState.SYN_SENT2]: 240,
  [TcpState.SYN_RECV]: 240,
  [TcpState.ESTABLISHED]: 7440,
  [TcpState.FIN_WAIT]: 240,
  [TcpState.CLOSE_WAIT]: 240,
  [TcpState.LAST_ACK]: 240,
  [TcpState.CLOSE]: 240,
  [UNANSWERED]: 300,
  [UdpState.UNREPLIED]: 120,
  [UdpState.REPLIED]: 120,
});

/**
 * Idle time in ms, first of flows whose source stays, then of the others: [snat × TIMERS + timer]. Those of TCP data
 * that nobody answers stand behind: [2 × TIMERS + snat × TIMERS + state] = the shorter of both.
 */
export function timeoutTable(timeouts: readonly number[] = DEFAULT_TIMEOUTS): Int32Array<ArrayBuffer> {
  const table = new Int32Array(4 * TIMERS);
  for (let timer = 0; timer < TIMERS; timer++) {
    table[timer] = timeouts[timer]!;
    table[TIMERS + timer] = Math.max(timeouts[timer]!, FLOORS[timer]!);
  }
  for (let at = 0; at < 2 * TIMERS; at++) {
    const unanswered = table[(at < TIMERS ? 0 : TIMERS) + UNANSWERED]!;
    table[2 * TIMERS + at] = Math.min(table[at]!, unanswered);
  }
  return table;
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
EVICTION_CLASS[TcpState.NONE] = EvictionClass.UNREPLIED_TCP;
for (const state of [
  TcpState.FIN_WAIT,
  TcpState.CLOSE_WAIT,
  TcpState.LAST_ACK,
  TcpState.TIME_WAIT,
  TcpState.CLOSE,
]) {
  EVICTION_CLASS[state] = EvictionClass.CLOSING_TCP;
}
