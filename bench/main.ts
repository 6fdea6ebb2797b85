/**
 * The benchmark program behind `make bench` and `twill bench`. Exit codes: 0 measured (or the check passed),
 * 1 failed (or the check did not pass), 2 wrong usage, 130 interrupted: what had been measured is written.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { packageRoot } from '../src/program/version.ts';
import { checkCaptures } from './captures.ts';
import { baselineFrom, checkResults, readBaseline, renderCheck } from './check.ts';
import { findCommand, isExecutable } from './contender.ts';
import { matrix } from './matrix.ts';
import { GROUPS, readOptions, type Task, USAGE } from './options.ts';
import { renderPage } from './report/page.ts';
import { renderPerformance } from './report/performance.ts';
import { renderTable } from './report/table.ts';
import { type Results, SCHEMA } from './results.ts';
import { type Interrupt, type Request, runSession } from './session.ts';
import { LOAD } from './tools.ts';

const ROOT = packageRoot();
/** Elsewhere for tests. */
const RESULTS = process.env.TWILL_BENCH_RESULTS ?? join(ROOT, 'bench/results');
const BASELINE = join(ROOT, 'bench/baseline.json');
const PERFORMANCE = join(ROOT, 'docs/performance.md');

const short = (path: string): string => relative(process.cwd(), path);

function fail(message: string, code = 1): never {
  process.stderr.write(`twill bench: ${message}\n`);
  process.exit(code);
}

/** What a measurement in namespaces needs; a line each. */
function missing(): string | null {
  if (process.getuid?.() !== 0)
    return 'needs root for network namespaces: run it with sudo, or with --memory';
  if (!isExecutable(join(ROOT, 'native/build/twill.node'))) return 'the addon is not built: make build';
  if (!isExecutable(LOAD)) return 'bench/build/twill-load is not built: make bench-tools';
  for (const name of ['ip', 'ping', 'iperf3', 'taskset']) {
    if (findCommand(name) === undefined) return `${name} is not installed: make bench-deps`;
  }
  return null;
}

/** Ctrl-C and SIGTERM end what is under way; the second one ends the program. */
function interruptible(): Interrupt {
  const interrupt: Interrupt = { reason: null, onInterrupt: () => {} };
  const stop = (signal: NodeJS.Signals): void => {
    if (interrupt.reason !== null) process.exit(130);
    interrupt.reason = `ended by ${signal}`;
    process.stderr.write('\ntwill bench: ending; once more to end at once\n');
    interrupt.onInterrupt();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return interrupt;
}

async function captures(only: readonly string[]): Promise<void> {
  const problem = missing();
  if (problem !== null) fail(problem);
  const interrupt = interruptible();
  try {
    const isSound = await checkCaptures(
      only,
      (lab) => {
        interrupt.onInterrupt = () => void lab.dispose();
      },
      (line) => void process.stdout.write(`${line}\n`),
    );
    if (!isSound) fail('a checksum was wrong, or none was seen');
  } catch (error) {
    if (interrupt.reason !== null) process.exit(130);
    throw error;
  }
}

async function measure(request: Request): Promise<Results> {
  const problem = request.isMemoryOnly ? null : missing();
  if (problem !== null) fail(problem);
  const interrupt = interruptible();
  const results = await runSession(request, interrupt);
  const name = results.started.replace(/\.\d+Z$/, 'Z').replaceAll(':', '');
  mkdirSync(RESULTS, { recursive: true });
  const json = join(RESULTS, `${name}.json`);
  const page = join(RESULTS, `${name}.html`);
  writeFileSync(json, `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(page, renderPage(results));
  process.stdout.write(renderTable(results));
  process.stdout.write(`\n${short(json)}\n${short(page)}\n`);
  if (results.aborted !== null) {
    if (interrupt.reason === null) fail(results.aborted);
    process.exit(130);
  }
  return results;
}

function readResults(path: string): Results {
  let results: Results;
  try {
    results = JSON.parse(readFileSync(path, 'utf8')) as Results;
  } catch (error) {
    fail(`${path} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  if (results.schema !== SCHEMA) fail(`${path} is no results file of schema ${SCHEMA}: measure again`);
  return results;
}

async function perform(task: Task): Promise<void> {
  switch (task.kind) {
    case 'list':
      process.stdout.write(`${[...GROUPS, ...matrix('full').map(({ cell }) => cell.id)].join('\n')}\n`);
      return;
    case 'measure':
      await measure(task);
      return;
    case 'captures':
      await captures(task.only);
      return;
    case 'report': {
      const results = readResults(task.file);
      const page = task.file.replace(/(\.json)?$/, '.html');
      writeFileSync(page, renderPage(results));
      process.stdout.write(`${short(page)}\n`);
      if (results.mode === 'selection' || results.aborted !== null) {
        process.stderr.write(`twill bench: ${short(PERFORMANCE)} is left alone: that was no whole run\n`);
        return;
      }
      writeFileSync(PERFORMANCE, renderPerformance(results, task.file));
      process.stdout.write(`${short(PERFORMANCE)}\n`);
      return;
    }
    case 'baseline':
      writeFileSync(BASELINE, `${JSON.stringify(baselineFrom(readResults(task.file)), null, 2)}\n`);
      process.stdout.write(`${short(BASELINE)}\n`);
      return;
    case 'check': {
      const baseline = readBaseline(BASELINE);
      const request: Request = { mode: 'quick', only: [], isMemoryOnly: false };
      const results = task.file === null ? await measure(request) : readResults(task.file);
      const verdicts = checkResults(results, baseline);
      process.stdout.write(renderCheck(verdicts));
      process.exitCode = verdicts.some(({ isRegression }) => isRegression) ? 1 : 0;
    }
  }
}

let task: Task;
try {
  task = readOptions(process.argv.slice(2));
} catch (error) {
  fail(`${error instanceof Error ? error.message : error}\n${USAGE}`, 2);
}
try {
  await perform(task);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
