import { Word } from '../conntrack/tuple.ts';
import { NO_SERVICE } from '../service/open.ts';
import { Field, type ServiceBatch } from '../service/record.ts';
import { Services } from '../service/services.ts';
import { Judge } from '../service/verdict.ts';
import type { Op } from './config.ts';
import type { Dataplane } from './dataplane.ts';
import { Fate, Fates, grace } from './fate.ts';
import { flowRow } from './flow-row.ts';
import { isBehind, lostMasks, masksOf, membersAfter } from './masks.ts';
import type { FateRow } from './messages.ts';

/** Rows looked at, and records read, between two turns. */
const ROWS_PER_STEP = 4096;
const RECORDS_PER_STEP = 64;

/** The living flows to which a change would mean something, and null for every step without one. Nothing changes. */
export function* previewRows(
  dataplane: Dataplane,
  batch: ServiceBatch,
  ops: readonly Op[],
): Generator<FateRow | null> {
  const { flows, services, networks, locations, hostRules } = dataplane.pipeline;
  // The changed services as they would be, aside.
  const after = new Services(0);
  for (const _ of after.grow(batch.ids, batch.frontends)) yield null;
  const changed = new Set<number>();
  for (let i = 0, at = 0; i < batch.count; i++) {
    changed.add(batch.records[at + Field.ID]!);
    at = after.put(batch.records, at);
    if (i % RECORDS_PER_STEP === RECORDS_PER_STEP - 1) yield null;
  }
  const removed = new Set(batch.removed);
  const gone = new Set(ops.flatMap((op) => (op.op === 'remove-network' ? [op.id] : [])));
  const masks = lostMasks(masksOf(dataplane), masksOf(membersAfter(dataplane, ops)));
  const fates = new Fates(flows, after, new Judge(networks, locations, after, hostRules));
  for (let row = 0; row < flows.extent; row++) {
    if (row % ROWS_PER_STEP === ROWS_PER_STEP - 1) yield null;
    if (!flows.isLive(row, dataplane.now)) continue;
    if (gone.has(flows.word(row * 2, Word.SCOPE) >>> 8)) {
      yield { ...flowRow(dataplane, row), fate: 'removed', because: 'its network goes' };
      continue;
    }
    if (isBehind(flows, row, masks)) {
      yield { ...flowRow(dataplane, row), fate: 'removed', because: 'the address its endpoint sees goes' };
      continue;
    }
    const id = flows.service[row]!;
    if (id === NO_SERVICE || flows.generation[row] !== services.generation[id]) continue;
    const isRemoved = removed.has(id);
    if (!isRemoved && !changed.has(id)) continue;
    const fate = fates.of(row, isRemoved ? grace(services, id) : undefined);
    if (fate === Fate.NONE) continue;
    yield { ...flowRow(dataplane, row), ...say(fate, isRemoved ? services : after, id, isRemoved) };
  }
}

/** A fate in words. */
function say(
  fate: Fate,
  services: Services,
  id: number,
  isRemoved: boolean,
): Pick<FateRow, 'fate' | 'because'> {
  const what = isRemoved ? 'its service port goes' : 'its endpoint or address is no longer the service’s';
  if (fate === Fate.KEPT) return { fate: 'kept', because: `${what}; established TCP stays` };
  if (fate === Fate.REMOVED) return { fate: 'removed', because: `${what}; the next datagram goes elsewhere` };
  const ms = grace(services, id);
  if (ms > 0) return { fate: 'drained', because: `${what}; ends after ${ms / 1000} s` };
  return { fate: 'reset', because: `${what}; both sides are reset` };
}
