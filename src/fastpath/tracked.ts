import type { Flows } from '../conntrack/flows.ts';
import { FLOW_WORDS, Flow, TUPLE_STEP, windowAt } from '../conntrack/row.ts';
import { TcpState } from '../conntrack/tcp-state.ts';
import { TIMERS, UdpState } from '../conntrack/timeouts.ts';
import { Line, ORIGINAL, Ready } from '../conntrack/tuple.ts';
import { passNext, scaleOf, Verdict, Window } from '../conntrack/windows.ts';
import type { Packets } from '../packet/packets.ts';
import { swap16 } from '../wire/checksum.ts';
import { Protocol } from '../wire/ipv4.ts';
import { TCP_BYTES, Tcp } from '../wire/tcp.ts';

/** NOP, NOP, timestamp: the only options of a segment that say nothing of windows. Words as they stand on the wire. */
const TIMESTAMP = 0x0a080101;
const TIMESTAMP_BYTES = 12;

/** What a packet of an established flow does to it. */
export interface Tracked {
  /**
   * May packets of tuple `id` repeat what was decided? It holds for all of a burst, since nothing here moves a state.
   * What they become is filled in then.
   */
  admits(id: number, protocol: number, now: number): boolean;
  /**
   * A segment of an established connection, which no list of candidates for eviction has (N22).
   * @param l4 where its header stands  @param length of header and payload
   * @returns false when the stages must look closer: at its place, or at options that may say more of it.
   */
  advance(l4: number, length: number, id: number, now: number): boolean;
  /** The timer of a UDP flow. */
  renew(row: number, now: number): void;
}

export function createTracked({ view, words }: Packets, flows: Flows): Tracked {
  const { timeouts } = flows;

  function admits(id: number, protocol: number, now: number): boolean {
    const { lines } = flows;
    const at = (id >> 1) * FLOW_WORDS;
    const phase = lines[at + Flow.STATE]!;
    if (((lines[at + Flow.EXPIRES]! - now) | 0) <= 0) return false;
    if (protocol === Protocol.TCP) {
      if (phase !== TcpState.ESTABLISHED) return false;
    } else if ((id & 1) !== ORIGINAL && phase !== UdpState.REPLIED) return false;
    if (lines[id * TUPLE_STEP + Line.READY] === Ready.NO) flows.prepare(id);
    return true;
  }

  function advance(l4: number, length: number, id: number, now: number): boolean {
    const { lines } = flows;
    const w = l4 >> 2;
    const word = words[w + 3]!;
    const header = (word & 0xf0) >>> 2;
    const payload = length - header;
    if (payload < 0) return false;
    if (header !== TCP_BYTES && (header !== TCP_BYTES + TIMESTAMP_BYTES || words[w + 5] !== TIMESTAMP))
      return false;
    const seq = view.getInt32(l4 + Tcp.SEQUENCE);
    const ack = view.getInt32(l4 + Tcp.ACKNOWLEDGMENT);
    const window = swap16(word >>> 16) << scaleOf(lines[windowAt(id) + Window.OPTIONS]!);
    const verdict = passNext(lines, id, seq, payload, ack, window);
    if (verdict === Verdict.OUTSIDE) return false;
    const at = (id >> 1) * FLOW_WORDS;
    const timers = (lines[at + Flow.SNAT]! + (verdict === Verdict.INSIDE ? 0 : 2)) * TIMERS;
    lines[at + Flow.EXPIRES] = (now + timeouts[timers + TcpState.ESTABLISHED]!) | 0;
    return true;
  }

  function renew(row: number, now: number): void {
    const { lines } = flows;
    const at = row * FLOW_WORDS;
    const phase = lines[at + Flow.STATE]!;
    if (lines[at + Flow.EXPIRES] !== ((now + timeouts[lines[at + Flow.SNAT]! * TIMERS + phase]!) | 0))
      flows.refresh(row, phase, now);
  }

  return { admits, advance, renew };
}
