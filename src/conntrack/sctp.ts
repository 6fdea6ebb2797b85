import { CHUNK_BYTES, Chunk, INIT_BYTES, REFLECTED, SCTP_BYTES, Sctp } from '../wire/sctp.ts';
import { IGNORE, INVALID } from './tcp-state.ts';
import { REPLY } from './tuple.ts';

/** States of an association, above those of UDP, named as in net/netfilter/nf_conntrack_proto_sctp.c. */
export const enum SctpState {
  CLOSED = 12,
  COOKIE_WAIT,
  COOKIE_ECHOED,
  ESTABLISHED,
  SHUTDOWN_SENT,
  SHUTDOWN_RECD,
  SHUTDOWN_ACK_SENT,
  END,
}

export const SCTP_STATE_NAMES = [
  'closed',
  'cookie-wait',
  'cookie-echoed',
  'established',
  'shutdown-sent',
  'shutdown-recd',
  'shutdown-ack-sent',
] as const;

const STATES = SctpState.END - SctpState.CLOSED;
const cl = SctpState.CLOSED;
const cw = SctpState.COOKIE_WAIT;
const ce = SctpState.COOKIE_ECHOED;
const es = SctpState.ESTABLISHED;
const ss = SctpState.SHUTDOWN_SENT;
const sr = SctpState.SHUTDOWN_RECD;
const sa = SctpState.SHUTDOWN_ACK_SENT;

/** Row = type of chunk from the initiator, then from the responder, column = state. */
// biome-ignore format: a table
const TRANSITIONS = Uint8Array.of(
  //                      CL  CW  CE  ES  SS  SR  SA
  /* i DATA            */ cl, cw, ce, es, ss, sr, sa,
  /* i INIT            */ cl, cw, ce, es, cl, cl, sa,
  /* i INIT ACK        */ cl, cw, ce, es, ss, sr, sa,
  /* i SACK            */ cl, cw, ce, es, ss, sr, sa,
  /* i HEARTBEAT       */ cl, cw, ce, es, ss, sr, sa,
  /* i HEARTBEAT ACK   */ cl, cw, ce, es, ss, sr, sa,
  /* i ABORT           */ cl, cl, cl, cl, cl, cl, cl,
  /* i SHUTDOWN        */ cl, cw, ce, ss, ss, sr, sa,
  /* i SHUTDOWN ACK    */ cl, cw, ce, es, sa, sa, sa,
  /* i ERROR           */ cl, cw, ce, es, ss, sr, sa,
  /* i COOKIE ECHO     */ cl, ce, ce, es, ss, sr, sa,
  /* i COOKIE ACK      */ cl, cw, es, es, ss, sr, sa,
  /* i ECNE            */ cl, cw, ce, es, ss, sr, sa,
  /* i CWR             */ cl, cw, ce, es, ss, sr, sa,
  /* i SHUTDOWN COMPL. */ cl, cw, ce, es, ss, sr, cl,
  /* r DATA            */ cl, cw, ce, es, ss, sr, sa,
  /* r INIT            */ cl, cw, ce, es, ss, sr, sa,
  /* r INIT ACK        */ cw, cw, ce, es, ss, sr, sa,
  /* r SACK            */ cl, cw, ce, es, ss, sr, sa,
  /* r HEARTBEAT       */ cl, cw, ce, es, ss, sr, sa,
  /* r HEARTBEAT ACK   */ cl, cw, ce, es, ss, sr, sa,
  /* r ABORT           */ cl, cl, cl, cl, cl, cl, cl,
  /* r SHUTDOWN        */ cl, cw, ce, sr, ss, sr, sa,
  /* r SHUTDOWN ACK    */ cl, cw, ce, es, sa, sa, sa,
  /* r ERROR           */ cl, cw, cl, es, ss, sr, sa,
  /* r COOKIE ECHO     */ cl, ce, ce, es, ss, sr, sa,
  /* r COOKIE ACK      */ cl, cw, es, es, ss, sr, sa,
  /* r ECNE            */ cl, cw, ce, es, ss, sr, sa,
  /* r CWR             */ cl, cw, ce, es, ss, sr, sa,
  /* r SHUTDOWN COMPL. */ cl, cw, ce, es, ss, sr, cl,
);

/** Words of each direction, in the flow's room for windows. */
const enum Peer {
  /** What packets of this direction bear; 0 = not known. */
  TAG = 0,
  /** 1 = it began the handshake. */
  HAS_BEGUN = 1,
  /** 1 = its last heartbeat bore another tag: if that is answered, the association began anew. */
  IS_IN_DOUBT = 2,
}

/** Chunks looked at. Those that mean something here come before data (RFC 9260 §6.10), and there are few of them. */
const MOST_CHUNKS = 32;

/** Chunks that may come with another tag, or have rules of their own for it (RFC 9260 §8.5.1). */
const HAS_OWN_TAG =
  (1 << Chunk.INIT) |
  (1 << Chunk.SHUTDOWN_COMPLETE) |
  (1 << Chunk.COOKIE_ECHO) |
  (1 << Chunk.ABORT) |
  (1 << Chunk.SHUTDOWN_ACK) |
  (1 << Chunk.HEARTBEAT) |
  (1 << Chunk.HEARTBEAT_ACK);
const IS_ALONE = (1 << Chunk.INIT) | (1 << Chunk.INIT_ACK) | (1 << Chunk.SHUTDOWN_COMPLETE);
const IS_FIRST = IS_ALONE | (1 << Chunk.COOKIE_ACK) | (1 << Chunk.COOKIE_ECHO);

const bitOf = (type: number): number => (type < Chunk.COUNT ? 1 << type : 0);

/** Does a packet begin an association: an INIT by itself, with the tag 0? */
export function isInit(view: DataView, sctp: number, end: number): boolean {
  const chunk = sctp + SCTP_BYTES;
  if (chunk + INIT_BYTES > end || view.getUint8(chunk) !== Chunk.INIT) return false;
  const length = view.getUint16(chunk + 2);
  const isOnly = chunk + length + CHUNK_BYTES > end;
  return length >= INIT_BYTES && isOnly && view.getInt32(sctp + Sctp.TAG) === 0;
}

/** Notes what the INIT at `sctp` says. @param own @param peer where the words of either direction begin */
export function beginAssociation(
  view: DataView,
  sctp: number,
  words: Int32Array,
  own: number,
  peer: number,
): void {
  words[peer + Peer.TAG] = view.getInt32(sctp + SCTP_BYTES + CHUNK_BYTES);
  words[own + Peer.HAS_BEGUN] = 1;
}

/**
 * A packet of a known association: its chunks by the state table and their verification tags, as Linux judges them.
 * @param end one past its last byte at hand
 * @param own, peer where the words of this and the other direction begin
 * @returns the new state, IGNORE: it goes on and refreshes nothing, or INVALID
 */
export function stepAssociation(
  view: DataView,
  sctp: number,
  end: number,
  state: number,
  direction: number,
  words: Int32Array,
  own: number,
  peer: number,
): number {
  const kinds = kindsOf(view, sctp, end);
  if (kinds < 0) return INVALID;
  const tag = view.getInt32(sctp + Sctp.TAG);
  if ((kinds & HAS_OWN_TAG) === 0 && tag !== words[own + Peer.TAG]) return INVALID;
  let isIgnored = false;
  let next = state;
  let at = sctp + SCTP_BYTES;
  for (let count = 0; count < MOST_CHUNKS && at + CHUNK_BYTES <= end; count++) {
    const type = view.getUint8(at);
    if (type === Chunk.HEARTBEAT || type === Chunk.HEARTBEAT_ACK) {
      if (words[own + Peer.TAG] === 0) words[own + Peer.TAG] = tag;
      else if (tag === words[own + Peer.TAG])
        words[own + Peer.IS_IN_DOUBT] = words[peer + Peer.IS_IN_DOUBT] = 0;
      else {
        if ((kinds & (1 << Chunk.DATA)) !== 0 || isIgnored) return INVALID;
        if (type === Chunk.HEARTBEAT) {
          words[own + Peer.IS_IN_DOUBT] = 1;
          words[peer + Peer.IS_IN_DOUBT] = 0;
          isIgnored = true;
        } else {
          if (words[peer + Peer.IS_IN_DOUBT] === 0) return INVALID;
          words[peer + Peer.IS_IN_DOUBT] = 0;
          words[own + Peer.TAG] = tag;
          words[peer + Peer.TAG] = 0;
        }
      }
    } else if (
      !isTagRight(type, view.getUint8(at + 1), tag, words[own + Peer.TAG]!, words[peer + Peer.TAG]!)
    ) {
      return INVALID;
    }
    const before = next;
    if (type < Chunk.COUNT) {
      const row = type + (direction === REPLY ? Chunk.COUNT : 0);
      next = TRANSITIONS[row * STATES + before - SctpState.CLOSED]!;
    }
    if (type === Chunk.INIT || type === Chunk.INIT_ACK) {
      if (at + INIT_BYTES > end) return INVALID;
      const initiate = view.getInt32(at + CHUNK_BYTES);
      if (type === Chunk.INIT) {
        if (words[own + Peer.HAS_BEGUN] === 1) words[peer + Peer.HAS_BEGUN] = 0;
        words[own + Peer.HAS_BEGUN] = 1;
        // An INIT said again keeps nothing alive: its client may have gone, and the port be another's.
        if (before === SctpState.CLOSED && next === SctpState.CLOSED) isIgnored = true;
      } else {
        const known = words[peer + Peer.TAG]!;
        const isAnswer = words[peer + Peer.HAS_BEGUN] === 1;
        const isCollision = isAnswer && words[own + Peer.HAS_BEGUN] === 1;
        if (((!isAnswer && known !== 0) || isCollision) && known !== initiate) return INVALID;
      }
      words[peer + Peer.TAG] = initiate;
    } else if (type === Chunk.COOKIE_ACK) {
      words[own + Peer.HAS_BEGUN] = words[peer + Peer.HAS_BEGUN] = 0;
    } else if (type === Chunk.DATA) {
      break;
    }
    at += (view.getUint16(at + 2) + 3) & ~3;
  }
  return isIgnored ? IGNORE : next;
}

/** Tags that a kind of chunk must have (RFC 9260 §8.5.1). */
function isTagRight(type: number, flags: number, tag: number, own: number, peer: number): boolean {
  switch (type) {
    case Chunk.INIT:
      return tag === 0;
    case Chunk.ABORT:
    case Chunk.SHUTDOWN_COMPLETE:
      return tag === ((flags & REFLECTED) !== 0 ? peer : own);
    case Chunk.COOKIE_ECHO:
      return tag === own;
    default:
      return true;
  }
}

/** The types of chunks there are, a bit each; −1 when they cannot come like this. */
function kindsOf(view: DataView, sctp: number, end: number): number {
  let kinds = 0;
  let at = sctp + SCTP_BYTES;
  if (at + CHUNK_BYTES > end) return -1;
  for (let count = 0; count < MOST_CHUNKS && at + CHUNK_BYTES <= end; count++) {
    const kind = bitOf(view.getUint8(at));
    const length = view.getUint16(at + 2);
    if (length < CHUNK_BYTES || (count > 0 && ((kind & IS_FIRST) !== 0 || (kinds & IS_ALONE) !== 0)))
      return -1;
    kinds |= kind;
    if (kind === 1 << Chunk.DATA) break;
    at += (length + 3) & ~3;
  }
  return kinds;
}
