import { TcpState } from './tcp-state.ts';

/** `state` of UDP flows, above the TCP states. */
export const enum UdpState {
  UNREPLIED = 10,
  REPLIED = 11,
}

/** Idle time in ms by flow state (N20). */
export const TIMEOUT_MS = new Int32Array(12);
TIMEOUT_MS[TcpState.NONE] = 120_000;
TIMEOUT_MS[TcpState.SYN_SENT] = 120_000;
TIMEOUT_MS[TcpState.SYN_SENT2] = 120_000;
TIMEOUT_MS[TcpState.SYN_RECV] = 60_000;
TIMEOUT_MS[TcpState.ESTABLISHED] = 86_400_000;
TIMEOUT_MS[TcpState.FIN_WAIT] = 120_000;
TIMEOUT_MS[TcpState.CLOSE_WAIT] = 3_600_000;
TIMEOUT_MS[TcpState.LAST_ACK] = 30_000;
TIMEOUT_MS[TcpState.TIME_WAIT] = 120_000;
TIMEOUT_MS[TcpState.CLOSE] = 10_000;
TIMEOUT_MS[UdpState.UNREPLIED] = 30_000;
TIMEOUT_MS[UdpState.REPLIED] = 120_000;

/** Who may be evicted from a full table, in order (N22). */
export const enum EvictionClass {
  UNREPLIED_UDP = 0,
  UNREPLIED_TCP = 1,
  CLOSING_TCP = 2,
  KEPT = 3,
}

export const EVICTION_CLASS = new Uint8Array(12).fill(EvictionClass.KEPT);
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
