// Runs every test; the last line is `N passed, N failed, N skipped`. Under CI=true a skipped test is a failure:
// there everything must be able to run.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directory = mkdtempSync(join(tmpdir(), 'twill-test-'));
const file = join(directory, 'results.json');
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json'];
const run = spawnSync(process.execPath, [...vitest, `--outputFile.json=${file}`, ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: process.stdout.isTTY ? process.env : { ...process.env, NO_COLOR: '1' },
});
let results = { testResults: [] };
try {
  results = JSON.parse(readFileSync(file, 'utf8'));
} catch {
  // it died before it could write: counted below as one failure
}
rmSync(directory, { recursive: true, force: true });

let passed = 0;
let failed = 0;
const skipped = [];
for (const { name, status, assertionResults } of results.testResults) {
  const before = failed;
  for (const test of assertionResults) {
    if (test.status === 'passed') passed++;
    else if (test.status === 'failed') failed++;
    else skipped.push(`${name.replace(`${process.cwd()}/`, '')}: ${test.fullName}`);
  }
  // a file that does not load, or whose hooks fail, has no failed test of its own
  if (status === 'failed' && failed === before) failed++;
}
if (run.status !== 0 && failed === 0) failed++;
for (const name of skipped) console.log(`skipped: ${name}`);
const strict = process.env.CI === 'true' && skipped.length > 0;
if (strict) console.log('CI=true: what is skipped is a failure');
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
process.exitCode = failed > 0 || strict ? 1 : 0;
