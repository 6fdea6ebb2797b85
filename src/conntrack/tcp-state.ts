import { TcpFlag } from '../wire/tcp.ts';

/** Connection states (N12), as Linux names them (net/netfilter/nf_conntrack_proto_tcp.c). */
export const enum TcpState {
  NONE = 0,
  SYN_SENT,
  SYN_RECV,
  ESTABLISHED,
  FIN_WAIT,
  CLOSE_WAIT,
  LAST_ACK,
  TIME_WAIT,
  CLOSE,
  SYN_SENT2,
  COUNT,
}

/** Transition results that are no state. */
export const IGNORE = 20;
export const INVALID = 21;
export const NEW_FLOW = 22;
export const OUT_OF_WINDOW = 23;

const no = TcpState.NONE;
const ss = TcpState.SYN_SENT;
const sr = TcpState.SYN_RECV;
const es = TcpState.ESTABLISHED;
const fw = TcpState.FIN_WAIT;
const cw = TcpState.CLOSE_WAIT;
const la = TcpState.LAST_ACK;
const tw = TcpState.TIME_WAIT;
const cl = TcpState.CLOSE;
const s2 = TcpState.SYN_SENT2;
const ig = IGNORE;
const iv = INVALID;
const nf = NEW_FLOW;

/** Row = segment kind (SYN, SYN+ACK, FIN, ACK of the initiator, then of the responder), column = state. */
// biome-ignore format: a table
const TRANSITIONS = Uint8Array.of(
  //            NONE  SS  SR  ES  FW  CW  LA  TW  CL  S2
  /* i SYN     */ ss, ss, ig, ig, ig, ig, ig, nf, nf, s2,
  /* i SYN+ACK */ iv, iv, ig, ig, ig, ig, ig, ig, ig, sr,
  /* i FIN     */ iv, iv, fw, fw, la, la, la, tw, cl, iv,
  /* i ACK     */ no, iv, es, es, cw, cw, tw, tw, cl, iv,
  /* r SYN     */ iv, s2, iv, iv, iv, iv, iv, iv, iv, s2,
  /* r SYN+ACK */ iv, sr, ig, ig, ig, ig, ig, ig, ig, sr,
  /* r FIN     */ iv, iv, fw, fw, la, la, la, tw, cl, iv,
  /* r ACK     */ iv, ig, sr, es, cw, cw, tw, tw, cl, ig,
);

/** Sets of flags that mean something, by FIN, SYN, RST and ACK; the others say nothing of a state. */
const POSSIBLE = [
  TcpFlag.SYN,
  TcpFlag.SYN | TcpFlag.ACK,
  TcpFlag.FIN | TcpFlag.ACK,
  TcpFlag.ACK,
  TcpFlag.RST,
  TcpFlag.RST | TcpFlag.ACK,
].reduce((mask, flags) => mask | (1 << flags), 0);

/** Does an end that follows RFC 9293 send such flags? */
export const isPossible = (flags: number): boolean =>
  ((POSSIBLE >>> (flags & (TcpFlag.FIN | TcpFlag.SYN | TcpFlag.RST | TcpFlag.ACK))) & 1) !== 0;

/**
 * Next state, or IGNORE (forward, nothing changes), INVALID (drop), NEW_FLOW (replace the flow).
 * RST is judged by the caller, which knows sequence numbers (N14).
 * @param flags a possible set without RST
 * @param reply true for the responder's direction.
 */
export function nextTcpState(state: number, flags: number, reply: boolean): number {
  let kind: number;
  if ((flags & TcpFlag.SYN) !== 0) kind = (flags & TcpFlag.ACK) !== 0 ? 1 : 0;
  else kind = (flags & TcpFlag.FIN) !== 0 ? 2 : 3;
  return TRANSITIONS[(kind + (reply ? 4 : 0)) * TcpState.COUNT + state]!;
}

export const TCP_STATE_NAMES = [
  'none',
  'syn-sent',
  'syn-recv',
  'established',
  'fin-wait',
  'close-wait',
  'last-ack',
  'time-wait',
  'close',
  'syn-sent2',
] as const;
