/** A whole run: what is planned, in its order, within its time; what was measured when it ends, however it ends. */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Lab } from '../src/demo/lab.ts';
import { packageRoot, version } from '../src/program/version.ts';
import { Budget } from './budget.ts';
import { SCENES } from './growth.ts';
import { describeMachine } from './machine.ts';
import { isSelected, type Mode, matrix, type Planned, secondsOf } from './matrix.ts';
import { BUILD_SECONDS, measureNetwork, messageOf, withLab } from './network.ts';
import { StderrProgress } from './progress.ts';
import { type MemoryRow, type Results, SCHEMA } from './results.ts';
import { Aborted, type Session } from './runner.ts';
import { measureServices } from './services.ts';
import { SERVICES, servicesSeconds } from './services-plan.ts';

/** Seconds a run may take in all, the report included. */
export const LIMIT: Readonly<Record<Mode, number>> = { full: 20 * 60 - 30, quick: 3 * 60 - 10 };

interface MemoryPlan {
  readonly flows: number;
  readonly pipelineSeconds: number;
  readonly growthSeconds: number;
  readonly expected: number;
}

const MEMORY: Readonly<Record<Mode, MemoryPlan>> = {
  full: { flows: 1_000_000, pipelineSeconds: 0.5, growthSeconds: 0.3, expected: 70 },
  quick: { flows: 10_000, pipelineSeconds: 0.1, growthSeconds: 0.1, expected: 25 },
};

export interface Request {
  readonly mode: Mode;
  readonly only: readonly string[];
  readonly isMemoryOnly: boolean;
}

/** Ends a run early; the second call ends the program. */
export interface Interrupt {
  reason: string | null;
  onInterrupt: () => void;
}

/** What a whole run is expected to take. */
export function expectedSeconds(mode: Mode): number {
  const cells = matrix(mode);
  const builds = new Set(cells.map(({ cell }) => cell.mtu)).size * BUILD_SECONDS;
  const measured = cells.reduce((sum, one) => sum + secondsOf(one), 0);
  return builds + measured + servicesSeconds(SERVICES[mode]) + MEMORY[mode].expected;
}

interface Part {
  readonly expected: number;
  readonly steps: number;
  readonly run: () => Promise<void>;
}

export async function runSession(request: Request, interrupt: Interrupt): Promise<Results> {
  const { mode, only, isMemoryOnly } = request;
  const results = begin(request);
  const plan = isMemoryOnly ? [] : matrix(mode).filter(({ cell }) => isSelected(only, cell.id, cell.group));
  const services = SERVICES[mode];
  const wantsIdle = !isMemoryOnly && isSelected(only, 'idle', 'idle');
  const wantsMemory = isSelected(only, 'memory', 'memory');
  const wantsService = (id: string, group: string): boolean => isSelected(only, id, group);
  const wantsServices =
    !isMemoryOnly &&
    services.sizes.some((size) =>
      ['load', 'connections', 'change', 'pause', 'churn'].some((name) =>
        wantsService(`${name}-${size}/same/unpinned`, 'services'),
      ),
    );
  let lab: Lab | undefined;
  let child: AbortController | undefined;
  interrupt.onInterrupt = () => {
    child?.abort();
    void lab?.dispose();
  };
  const check = (): void => {
    if (interrupt.reason !== null) throw new Aborted(interrupt.reason);
  };
  const parts: Part[] = [];
  const session = (): Session => ({ lab: lab!, budget, progress, check });
  const open = (made: Lab): void => {
    lab = made;
  };
  for (const mtu of [1500, 9000]) {
    const cells = plan.filter(({ cell }) => cell.mtu === mtu);
    const idle = wantsIdle && mtu === 1500;
    if (cells.length === 0 && !idle) continue;
    const planned: Planned[] = cells;
    parts.push({
      expected: BUILD_SECONDS + cells.reduce((sum, one) => sum + secondsOf(one), 0),
      steps: cells.length + 1,
      run: () => withLab(open, () => measureNetwork(session(), results, planned, mtu, idle)),
    });
  }
  if (wantsServices) {
    parts.push({
      expected: servicesSeconds(services),
      steps: 1,
      run: () => withLab(open, () => measureServices(session(), results, services, wantsService)),
    });
  }
  if (wantsMemory) {
    parts.push({
      expected: MEMORY[mode].expected,
      steps: 1,
      run: async () => {
        child = new AbortController();
        await measureMemory(session(), results, MEMORY[mode], child.signal);
      },
    });
  }
  const expected = parts.reduce((sum, part) => sum + part.expected, 0);
  const budget = new Budget(LIMIT[mode], expected);
  const progress = new StderrProgress(
    budget,
    parts.reduce((sum, part) => sum + part.steps, 0),
  );
  try {
    for (const part of parts) {
      check();
      await part.run();
    }
  } catch (error) {
    results.aborted = interrupt.reason ?? messageOf(error);
  } finally {
    progress.end();
  }
  results.seconds = Math.round(budget.elapsed);
  return results;
}

function begin({ mode, only, isMemoryOnly }: Request): Results {
  return {
    schema: SCHEMA,
    started: new Date().toISOString(),
    mode: only.length > 0 || isMemoryOnly ? 'selection' : mode,
    twill: version(),
    commit: commit(),
    seconds: 0,
    aborted: null,
    machine: describeMachine(),
    contenders: [],
    cells: [],
    memory: [],
    idle: null,
    notes: [],
  };
}

/** "5c142b3", with a "+" when the checkout has changes; "" outside one. */
function commit(): string {
  try {
    const git = (...words: string[]): string =>
      execFileSync('git', ['-C', packageRoot(), ...words], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    return (
      git('rev-parse', '--short', 'HEAD').trim() + (git('status', '--porcelain', '-uno') === '' ? '' : '+')
    );
  } catch {
    return '';
  }
}

async function measureMemory(
  session: Session,
  results: Results,
  plan: MemoryPlan,
  signal: AbortSignal,
): Promise<void> {
  const start = session.budget.elapsed;
  session.progress.part('logic in memory');
  const run = async (...words: readonly (string | number)[]): Promise<void> => {
    session.check();
    session.progress.step(words.join(' '));
    try {
      for (const row of await rows(words.map(String), signal)) results.memory.push(row);
    } catch (error) {
      session.check();
      results.notes.push(`in memory, ${words.join(' ')}: ${messageOf(error)}`);
    }
  };
  await run('pipeline', plan.flows, plan.pipelineSeconds);
  for (const { scene, sizes } of SCENES) {
    for (const size of sizes) {
      if (session.budget.share > 0) await run('growth', scene, size, plan.growthSeconds);
    }
  }
  session.budget.finish(plan.expected, session.budget.elapsed - start);
}

/** Runs memory.ts. @throws Error with its last line when it fails */
function rows(words: readonly string[], signal: AbortSignal): Promise<MemoryRow[]> {
  const program = join(packageRoot(), 'dist/bench/memory.js');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--expose-gc', program, ...words], {
      signal,
      killSignal: 'SIGKILL',
    });
    let out = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code !== 0) {
        const why = /^Error: (.*)$/m.exec(errors)?.[1] ?? errors.trim().split('\n').at(-1);
        reject(new Error(why ?? `exit ${code}`));
        return;
      }
      resolve(
        out
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as MemoryRow),
      );
    });
  });
}
