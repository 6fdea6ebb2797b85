import { MAX_WINDOW_SCALE, TCP_BYTES, TcpOption } from '../wire/tcp.ts';
import { Option } from './windows.ts';

/**
 * What the options of a SYN say, as `Window.OPTIONS` holds it. Malformed options end the list.
 * @param end one past the header, which has been found to be whole
 */
export function readSynOptions(view: DataView, tcp: number, end: number): number {
  let options = 0;
  for (let at = tcp + TCP_BYTES; at < end; at = nextOption(view, at, end)) {
    const kind = view.getUint8(at);
    if (kind === TcpOption.WINDOW_SCALE && at + 3 <= end && view.getUint8(at + 1) === 3) {
      options |= Option.SCALED | Math.min(view.getUint8(at + 2), MAX_WINDOW_SCALE);
    } else if (kind === TcpOption.SACK_PERMITTED && at + 2 <= end && view.getUint8(at + 1) === 2) {
      options |= Option.SACK;
    }
  }
  return options;
}

/** The highest number a segment acknowledges: `ack`, or the right edge of a SACK block beyond it (RFC 2018 §3). */
export function readSack(view: DataView, tcp: number, end: number, ack: number): number {
  let highest = ack;
  for (let at = tcp + TCP_BYTES; at < end; at = nextOption(view, at, end)) {
    if (view.getUint8(at) !== TcpOption.SACK || at + 2 > end) continue;
    const last = Math.min(at + view.getUint8(at + 1), end);
    for (let block = at + 2; block + 8 <= last; block += 8) {
      const edge = view.getInt32(block + 4);
      if (((edge - highest) | 0) > 0) highest = edge;
    }
  }
  return highest;
}

/** Where the option behind the one at `at` begins; `end` when there is none. */
function nextOption(view: DataView, at: number, end: number): number {
  const kind = view.getUint8(at);
  if (kind === TcpOption.NOP) return at + 1;
  if (kind === TcpOption.END || at + 2 > end) return end;
  const length = view.getUint8(at + 1);
  return length < 2 ? end : at + length;
}
