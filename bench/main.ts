import { runPipelineBench } from './pipeline.ts';

const quick = process.argv.includes('--quick');
const results = runPipelineBench(quick ? 10_000 : 1_000_000, quick ? 0.2 : 1);
for (const { scene, flows, nsPerFrame, margin } of results) {
  console.log(
    `${scene.padEnd(28)} ${String(flows).padStart(9)} flows ${nsPerFrame.toFixed(1).padStart(8)} ns/frame ± ${margin.toFixed(1)} %`,
  );
}
