/** The benchmark program behind `make bench` and `twill bench`. */
import { cpus, release } from 'node:os';
import { type Comparison, runNamespaceBench } from './namespaces.ts';
import { runPipelineBench } from './pipeline.ts';

const isQuick = process.argv.includes('--quick');

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
if (process.getuid?.() === 0) {
  console.log('\nOne TCP stream between namespaces, interleaved:');
  const progress = (text: string): void => void process.stderr.write(`  ${text}\n`);
  const results = await runNamespaceBench(isQuick ? 2 : 6, isQuick ? 2 : 4, progress);
  for (const result of results) printComparison(result);
} else {
  console.log('\nnamespaces: skipped, needs root');
}
