import type { Hasher } from '../table/hash.ts';
import { deltaHalf, deltaWord, fold, swap16 } from '../wire/checksum.ts';
import { TUPLE_STEP } from './row.ts';
import { isTuple4, Line, REPLY, Word } from './tuple.ts';

/**
 * Fills in, behind the key of tuple `id`, what a packet with that tuple becomes when one end of it changes: the ends, the
 * change of its checksums, and the hash of the flow it then is (see tuple.ts).
 */
export function prepareLine(lines: Int32Array, id: number, hasher: Hasher): void {
  const at = id * TUPLE_STEP;
  const other = (id ^ 1) * TUPLE_STEP;
  const isReply = (id & 1) === REPLY;
  const ports = lines[at + Word.PORTS]!;
  const otherPorts = lines[other + Word.PORTS]!;
  const before = lines[at + (isReply ? Word.SOURCE : Word.DESTINATION)]!;
  const address = lines[other + (isReply ? Word.DESTINATION : Word.SOURCE)]!;
  const after = isReply ? (otherPorts << 16) | (ports & 0xffff) : (ports & 0xffff0000) | (otherPorts >>> 16);
  let delta = deltaWord(before, address);
  for (let i = 0; i < 3; i++) {
    const from = lines[at + (isReply ? Word.SOURCE_HIGH : Word.DESTINATION_HIGH) + i]!;
    delta += deltaWord(from, lines[other + (isReply ? Word.DESTINATION_HIGH : Word.SOURCE_HIGH) + i]!);
  }
  const addressDelta = fold(delta);
  const wholeDelta = fold(
    addressDelta + deltaHalf(ports >>> 16, after >>> 16) + deltaHalf(ports & 0xffff, after & 0xffff),
  );
  lines[at + Line.ADDRESS] = address;
  lines[at + Line.PORTS] = after;
  lines[at + Line.DELTAS] = (swap16(wholeDelta) << 16) | swap16(addressDelta);
  lines[at + Line.ENTROPY] = isReply
    ? entropy(
        lines,
        hasher,
        other,
        Word.DESTINATION,
        Word.DESTINATION_HIGH,
        at,
        Word.DESTINATION,
        Word.DESTINATION_HIGH,
        after,
      )
    : entropy(lines, hasher, at, Word.SOURCE, Word.SOURCE_HIGH, other, Word.SOURCE, Word.SOURCE_HIGH, after);
  lines[at + Line.IS_READY] = 1;
}

/** V4, as overlay/encap.ts: of a packet whose ends stand in two lines, last word and first of the others each. */
function entropy(
  lines: Int32Array,
  hasher: Hasher,
  source: number,
  s3: number,
  s0: number,
  destination: number,
  d3: number,
  d0: number,
  ports: number,
): number {
  const protocol = lines[source]! & 0xff;
  const from = lines[source + s3]!;
  const to = lines[destination + d3]!;
  if (isTuple4(lines, source)) return hasher.of4(from, to, protocol, ports);
  const s = source + s0;
  const d = destination + d0;
  return hasher.of10(
    protocol,
    ports,
    lines[s]!,
    lines[s + 1]!,
    lines[s + 2]!,
    from,
    lines[d]!,
    lines[d + 1]!,
    lines[d + 2]!,
    to,
  );
}
