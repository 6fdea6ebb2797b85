/** The benchmark program behind `make bench` and `twill bench`: `--quick` for a first look, `--memory` without namespaces. */
import { cpus, release } from 'node:os';
import { parseArgs } from 'node:util';
import { type Comparison, runNamespaceBench } from './namespaces.ts';
import { runPipelineBench } from './pipeline.ts';

const { quick: isQuick, memory: isMemoryOnly } = options();

/** Ends with 2 and a line of usage when they are wrong. */
function options(): { quick: boolean; memory: boolean } {
  try {
    const flag = { type: 'boolean', default: false } as const;
    return parseArgs({ options: { quick: flag, memory: flag } }).values;
  } catch (error) {
    console.error(
      `twill bench: ${error instanceof Error ? error.message : error}\nusage: twill bench [--quick] [--memory]`,
    );
    process.exit(2);
  }
}

// So that the laboratory is taken down on the way out.
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

function printComparison({ path, twill, kernel }: Comparison): void {
  const ratios = twill.map((value, i) => value / kernel[i]!);
  const spread = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`;
  console.log(
    `${path.padEnd(12)} Twill ${median(twill).toFixed(2)} Gbit/s  kernel ${median(kernel).toFixed(2)} Gbit/s  ` +
      `ratio ${median(ratios).toFixed(2)} (${spread}, ${ratios.length} pairs)`,
  );
}

console.log(
  `${cpus().length} × ${cpus()[0]!.model.trim()}, Linux ${release()}, Node ${process.version}, unpinned`,
);
/**
 * How fast this machine is at what the packet path does: ns per step of a chain of dependent multiplications, each
 * 3 cycles plus the loop's own. Clouds differ by a factor of three; compare figures through it.
 */
function yardstick(): number {
  const steps = 30_000_000;
  let x = 1;
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < steps; i++) x = Math.imul(x, 0x9e3779b1) ^ i;
    best = Math.min(best, Number(process.hrtime.bigint() - start) / steps);
  }
  return x === 0 ? Number.NaN : best;
}

console.log(`yardstick: ${yardstick().toFixed(2)} ns per dependent multiply (about 1.2 ns at 3.5 GHz)`);
console.log('\nLogic in memory, ns per frame without the card:');
for (const { scene, flows, nsPerFrame, margin } of runPipelineBench(
  isQuick ? 10_000 : 1_000_000,
  isQuick ? 0.2 : 1,
)) {
  const size = `${flows} ${flows === 1 ? 'flow' : 'flows'}`;
  console.log(
    `${scene.padEnd(28)} ${size.padStart(14)} ${nsPerFrame.toFixed(1).padStart(8)} ± ${margin.toFixed(1)} %`,
  );
}
if (isMemoryOnly) process.exit();
if (process.getuid?.() === 0) {
  console.log('\nOne TCP stream between namespaces, interleaved:');
  const progress = (text: string): void => void process.stderr.write(`  ${text}\n`);
  const results = await runNamespaceBench(isQuick ? 2 : 6, isQuick ? 2 : 4, progress);
  for (const result of results) printComparison(result);
} else {
  console.log('\nnamespaces: skipped, needs root');
}
