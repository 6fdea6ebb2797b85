/**
 * The measurements in memory, as programs of their own: they can be stopped, and the engine compiles each as it
 * compiles the daemon's.
 *
 *   memory.js pipeline FLOWS SECONDS       every stage mix, with one flow and with FLOWS
 *   memory.js growth SCENE SIZE SECONDS    one row of growth.ts
 *
 * Prints a MemoryRow as JSON per line.
 */
import { measureGrowth } from './growth.ts';
import { runPipelineBench } from './pipeline.ts';
import type { MemoryRow } from './results.ts';

const print = (row: MemoryRow): void => void process.stdout.write(`${JSON.stringify(row)}\n`);
const [kind, ...rest] = process.argv.slice(2);

if (kind === 'pipeline') {
  for (const { scene, flows, nsPerFrame, margin } of runPipelineBench(Number(rest[0]), Number(rest[1]))) {
    print({ scene, what: 'flows', size: flows, nsPerFrame, margin });
  }
} else {
  print(measureGrowth(rest[0]!, Number(rest[1]), Number(rest[2])));
}
