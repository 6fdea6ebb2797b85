import { windowAt } from './row.ts';

/**
 * TCP windows (N13): what each end of a connection has sent, was told it may send, and has asked for. The method is
 * Guido van Rooij's "Real Stateful TCP Packet Filtering in IP Filter", as Linux refined it (tcp_in_window of
 * net/netfilter/nf_conntrack_proto_tcp.c).
 *
 * Of each flow 16 words, one line of its row (row.ts), 8 for each tuple id:
 *
 *   0  END      one past the last sequence number sent
 *   1  LIMIT    one past the last the peer has room for
 *   2  WIDTH    widest window offered, bytes; 0 = not heard
 *   3  ACKED    number asked for last; at first, what is to be asked for
 *   4  OPTIONS  window scale (bits 0–3) · `Option` bits
 *   5–7         of the original tuple: `Progress`; of the reply tuple: `Noted`
 *
 * Sequence numbers are int32 and wrap: compare by `(a - b) | 0`.
 */
export const enum Window {
  END = 0,
  LIMIT = 1,
  WIDTH = 2,
  ACKED = 3,
  OPTIONS = 4,
}

/** Words of the original tuple that are about the flow. */
const enum Progress {
  STATUS = 5,
  /** END of the SYN the connection began with. */
  START = 6,
}

const enum Status {
  /** Bit d: the last data of direction d is not acknowledged. */
  PENDING = 3,
  /** Direction of the last segments if they were repetitions; above it, their number. */
  REPLY = 4,
  ONE = 8,
  /** More than three of them. */
  STALLED = 32,
}

/** Words of the reply tuple: another SYN of the initiator, let through unjudged. */
const enum Noted {
  END = 5,
  WIDTH = 6,
  OPTIONS = 7,
}

export const enum Option {
  SCALED = 16,
  SACK = 32,
  /** Of a noted SYN: there is one. */
  NOTED = 64,
}

/** How far behind an acknowledgment may be, at least (Linux MAXACKWINCONST). */
const OLDEST_ACK = 66_000;
/** Windows grow no further, so that differences stay within int32. */
const WIDEST = 0x3fffffff;

export const enum Verdict {
  OUTSIDE = 0,
  INSIDE = 1,
  /** Inside, and the peer owes an answer: data is unacknowledged, or more than three segments only repeated others. */
  UNANSWERED = 2,
}

export const scaleOf = (options: number): number => options & 15;

/** Nothing known: a new flow. */
export function clearWindows(words: Int32Array, row: number): void {
  const from = windowAt(row * 2);
  for (let i = from; i < from + 16; i++) words[i] = 0;
}

/** A SYN or SYN+ACK of direction `id`: its windows begin here. @param window as it stands in the header: never scaled */
export function beginWindow(
  words: Int32Array,
  id: number,
  end: number,
  window: number,
  options: number,
): void {
  const at = windowAt(id);
  const peer = windowAt(id ^ 1);
  words[at + Window.END] = end;
  words[at + Window.LIMIT] = end;
  words[at + Window.WIDTH] = Math.max(1, window);
  words[at + Window.OPTIONS] = options;
  if ((id & 1) === 0) words[at + Progress.START] = end;
  words[peer + Window.ACKED] = end;
  // RFC 7323 §2.2: scaled are both directions or none.
  if (words[peer + Window.WIDTH] !== 0 && (options & words[peer + Window.OPTIONS]! & Option.SCALED) === 0) {
    words[at + Window.OPTIONS]! &= ~15;
    words[peer + Window.OPTIONS]! &= ~15;
  }
}

/**
 * A segment other than a SYN without ACK: if its receiver could accept it, both ends have come further.
 * @param sack the highest number acknowledged, SACK edges included; `ack` without
 * @param window scaled, bytes
 */
export function passWindow(
  words: Int32Array,
  id: number,
  seq: number,
  end: number,
  ack: number,
  sack: number,
  window: number,
): Verdict {
  const at = windowAt(id);
  const peer = windowAt(id ^ 1);
  const limit = words[at + Window.LIMIT]!;
  const width = words[at + Window.WIDTH]!;
  const peerEnd = words[peer + Window.END]!;
  const further = (end - words[at + Window.END]!) | 0;
  const behind = (peerEnd - sack) | 0;
  if (((limit - seq) | 0) < 0 || further < -words[peer + Window.WIDTH]! || behind < 0) return Verdict.OUTSIDE;
  if (behind > OLDEST_ACK && behind > width) return Verdict.OUTSIDE;

  const offered = window + ((sack - ack) | 0);
  if (offered > width) words[at + Window.WIDTH] = offered;
  if (((ack - words[at + Window.ACKED]!) | 0) > 0) words[at + Window.ACKED] = ack;
  raise(words, peer, (sack + window) | 0, window);
  const flow = windowAt(id & ~1) + Progress.STATUS;
  const before = words[flow]!;
  let status = before & Status.PENDING;
  if (further > 0) {
    words[at + Window.END] = end;
    status |= 1 << (id & 1);
    if (((end - limit) | 0) > 0) widen(words, peer, (end - limit) | 0);
  } else if (further - ((end - seq) | 0) < 0) {
    status |= repeated(before, id & 1);
  }
  if (ack === peerEnd) status &= ~(2 >> (id & 1));
  if (status !== before) words[flow] = status;
  return status === 0 || ((status & Status.PENDING) === 0 && status < Status.STALLED)
    ? Verdict.INSIDE
    : Verdict.UNANSWERED;
}

/**
 * The same for the usual segment: the next in order, or an acknowledgment alone. Short, to be inlined.
 * @returns OUTSIDE, and nothing has changed, also where `passWindow` must look closer
 */
export function passNext(
  words: Int32Array,
  id: number,
  seq: number,
  payload: number,
  ack: number,
  window: number,
): Verdict {
  const at = windowAt(id);
  const peer = windowAt(id ^ 1);
  const behind = (words[peer + Window.END]! - ack) | 0;
  const news = (ack - words[at + Window.ACKED]!) | 0;
  const width = words[at + Window.WIDTH]!;
  if (seq !== words[at + Window.END] || news < 0 || behind < 0 || behind > width || window > width)
    return Verdict.OUTSIDE;
  const end = (seq + payload) | 0;
  if (((words[at + Window.LIMIT]! - end) | 0) < 0) return Verdict.OUTSIDE;
  if (news > 0) words[at + Window.ACKED] = ack;
  const room = (ack + window) | 0;
  if (window === 0 || ((room - words[peer + Window.LIMIT]!) | 0) > 0) raise(words, peer, room, window);
  const flow = windowAt(id & ~1) + Progress.STATUS;
  const before = words[flow]!;
  let status = before & Status.PENDING;
  if (payload > 0) {
    words[at + Window.END] = end;
    status |= 1 << (id & 1);
  }
  if (behind === 0) status &= ~(2 >> (id & 1));
  if (status !== before) words[flow] = status;
  return status === 0 ? Verdict.INSIDE : Verdict.UNANSWERED;
}

/** A closed window still admits the octet that probes it. */
function raise(words: Int32Array, peer: number, room: number, window: number): void {
  const limit = window === 0 ? (room + 1) | 0 : room;
  if (((limit - words[peer + Window.LIMIT]!) | 0) > 0) words[peer + Window.LIMIT] = limit;
}

/** A sender went beyond its limit: its receiver had more room than was seen. */
function widen(words: Int32Array, peer: number, over: number): void {
  words[peer + Window.WIDTH] = Math.min(WIDEST, words[peer + Window.WIDTH]! + over);
}

/** Upper bits of the status after a segment that was sent before, or a probe of a silent peer. */
function repeated(status: number, direction: number): number {
  const mark = direction === 0 ? 0 : Status.REPLY;
  if ((status & Status.REPLY) !== mark) return mark | Status.ONE;
  return mark | Math.min(Status.STALLED, (status & ~(Status.ONE - 1)) + Status.ONE);
}

/** A SYN of the initiator that the state table ignores: unless it is an old one, the table may be what is old. */
export function noteSyn(words: Int32Array, row: number, end: number, window: number, options: number): void {
  if (words[windowAt(row * 2) + Progress.START] === end) return;
  const at = windowAt(row * 2 + 1);
  words[at + Noted.END] = end;
  words[at + Noted.WIDTH] = window;
  words[at + Noted.OPTIONS] = options | Option.NOTED;
}

/** The responder accepts a noted SYN: the connection begins there. @returns false when it acknowledges no such SYN. */
export function acceptNotedSyn(words: Int32Array, row: number, ack: number): boolean {
  const at = windowAt(row * 2 + 1);
  const options = words[at + Noted.OPTIONS]!;
  const end = words[at + Noted.END]!;
  if ((options & Option.NOTED) === 0 || ack !== end) return false;
  const window = words[at + Noted.WIDTH]!;
  clearWindows(words, row);
  beginWindow(words, row * 2, end, window, options & ~Option.NOTED);
  return true;
}
