import type { Hasher } from '../table/hash.ts';
import { deltaHalf, deltaWord, fold, swap16 } from '../wire/checksum.ts';
import { TUPLE_STEP } from './row.ts';
import { isTuple4, Line, REPLY, Ready, Word } from './tuple.ts';

/**
 * Fills in, behind the key of tuple `id`, what a packet with that tuple becomes: the ends, the change of its checksums, and
 * the hash of the flow it then is (see tuple.ts). It becomes what a packet of the other tuple would be an answer to.
 */
export function prepareLine(lines: Int32Array, id: number, hasher: Hasher): void {
  const at = id * TUPLE_STEP;
  const other = (id ^ 1) * TUPLE_STEP;
  const ports = lines[at + Word.PORTS]!;
  const after = (lines[other + Word.PORTS]! << 16) | (lines[other + Word.PORTS]! >>> 16);
  const source = lines[other + Word.DESTINATION]!;
  const destination = lines[other + Word.SOURCE]!;
  const isMasked = destination !== lines[at + Word.DESTINATION] || isHighOther(lines, at, other);
  let delta =
    deltaWord(lines[at + Word.SOURCE]!, source) + deltaWord(lines[at + Word.DESTINATION]!, destination);
  for (let i = 0; i < 3; i++) {
    delta += deltaWord(lines[at + Word.SOURCE_HIGH + i]!, lines[other + Word.DESTINATION_HIGH + i]!);
    delta += deltaWord(lines[at + Word.DESTINATION_HIGH + i]!, lines[other + Word.SOURCE_HIGH + i]!);
  }
  const addressDelta = fold(delta);
  const wholeDelta = fold(
    addressDelta + deltaHalf(ports >>> 16, after >>> 16) + deltaHalf(ports & 0xffff, after & 0xffff),
  );
  lines[at + Line.SOURCE] = source;
  lines[at + Line.DESTINATION] = destination;
  lines[at + Line.PORTS] = after;
  lines[at + Line.DELTAS] = (swap16(wholeDelta) << 16) | swap16(addressDelta);
  lines[at + Line.ENTROPY] = entropy(lines, other, source, destination, after, hasher);
  lines[at + Line.READY] = (id & 1) === REPLY && isMasked ? Ready.TURNED : Ready.YES;
}

function isHighOther(lines: Int32Array, at: number, other: number): boolean {
  for (let i = 0; i < 3; i++)
    if (lines[at + Word.DESTINATION_HIGH + i] !== lines[other + Word.SOURCE_HIGH + i]) return true;
  return false;
}

/** V4, as overlay/encap.ts: of a packet that the tuple at `other` answers. */
function entropy(
  lines: Int32Array,
  other: number,
  source: number,
  destination: number,
  ports: number,
  hasher: Hasher,
): number {
  const protocol = lines[other]! & 0xff;
  if (isTuple4(lines, other)) return hasher.of4(source, destination, protocol, ports);
  const s = other + Word.DESTINATION_HIGH;
  const d = other + Word.SOURCE_HIGH;
  return hasher.of10(
    protocol,
    ports,
    lines[s]!,
    lines[s + 1]!,
    lines[s + 2]!,
    source,
    lines[d]!,
    lines[d + 1]!,
    lines[d + 2]!,
    destination,
  );
}
