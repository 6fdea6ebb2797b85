/**
 * Loads services into a compiled switch again and again and reports what garbage the last load made, as one JSON line.
 * Runs in a process of its own: node --expose-gc changes.js
 */
import { getHeapSpaceStatistics } from 'node:v8';
import { MemoryCard } from '../../src/card/memory-card.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { RecordWriter } from '../../src/service/record.ts';
import { Counters } from '../../src/telemetry/counters.ts';
import { address4, service } from '../fabric.ts';

export interface LoadResult {
  readonly records: number;
  readonly steps: number;
  /** Growth of the young generation meanwhile. */
  readonly bytes: number;
}

const RECORDS = 10_000;
const LOADS = 8;

const writer = new RecordWriter();
for (let id = 0; id < RECORDS; id++) {
  const backends = [1, 2, 3].map((host) => ({ address: address4(`10.77.0.${host}`), port: 8080 + (id % 7) }));
  writer.add({ ...service({ id, vip: address4(`10.96.${id >> 8}.${id & 255}`) }), backends });
}
const batch = writer.finish();
const dataplane = new Dataplane(new MemoryCard(), new Counters(), 1);
const heap = (): number =>
  getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')!.space_used_size;

function load(): number {
  let steps = 0;
  for (const _ of dataplane.steps([], batch)) {
    dataplane.turn();
    steps++;
  }
  return steps;
}

for (let i = 0; i < LOADS; i++) load();
global.gc!();
const before = heap();
const steps = load();
const bytes = heap() - before;
process.stdout.write(JSON.stringify({ records: RECORDS, steps, bytes } satisfies LoadResult));
