/** Measures cells: contenders take turns inside a round, the order turns round every round (ABBA), guards on. */
import type { Lab } from '../src/demo/lab.ts';
import type { Budget } from './budget.ts';
import type { Built, Route } from './contender.ts';
import { guard } from './guards.ts';
import { meter } from './machine.ts';
import { type Planned, secondsOf } from './matrix.ts';
import type { Cell, Layout, Run } from './results.ts';
import { ratios, series } from './stats.ts';
import type { Measured } from './tools.ts';

/** Somebody pressed Ctrl-C: what has been measured is kept. */
export class Aborted extends Error {}

export interface Progress {
  /** A part begins. */
  part(title: string): void;
  /** Inside the part: who runs, and how often it did. */
  step(text: string): void;
}

export interface Session {
  readonly lab: Lab;
  readonly budget: Budget;
  readonly progress: Progress;
  /** @throws Aborted when the run is to end */
  check(): void;
}

/** One run between guards. `route` says whose namespaces the guards watch. */
export async function observe(
  session: Session,
  built: Built,
  route: Route,
  who: { readonly contender: string; readonly round: number },
  measure: () => Promise<Measured>,
): Promise<Run> {
  const guards = await guard(session.lab, built, route);
  const lookUp = meter(ownership(session.lab));
  const measured = await measure();
  const use = lookUp();
  const { value, loss, percentiles, bytes, packets, retransmits } = measured;
  return {
    ...who,
    value,
    ...(loss === undefined ? {} : { loss }),
    ...(percentiles === undefined ? {} : { percentiles }),
    ...(bytes ? { cpuPerGigabyte: use.cpuSeconds / (bytes / 1e9) } : {}),
    ...(packets ? { cpuPerMillion: use.cpuSeconds / (packets / 1e6) } : {}),
    steal: use.steal,
    foreign: use.foreign,
    guards: await guards(retransmits ?? null),
  };
}

/** A process is ours when the laboratory or this program started it. */
function ownership(lab: Lab): (pid: number, parent: number) => boolean {
  const ours = new Set([process.pid, ...lab.processes.map(({ pid }) => pid)]);
  return (pid, parent) => ours.has(pid) || ours.has(parent);
}

export async function measureCell(
  session: Session,
  planned: Planned,
  contenders: ReadonlyMap<string, Built>,
): Promise<Cell> {
  const { path, layout, title } = planned.cell;
  const runs: Run[] = [];
  const notes: string[] = [];
  const start = session.budget.elapsed;
  const taking = planned.contenders.filter((name) => path !== 'none' && contenders.get(name)?.[path]);
  const rounds = session.budget.rounds(planned.rounds);
  if (rounds < planned.rounds) notes.push(`${rounds} of ${planned.rounds} rounds: no time for more`);
  session.progress.part(`${title}, ${path === 'same' ? 'same host' : 'across hosts'}, ${layout}`);
  try {
    const failed = new Set<string>();
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? taking : taking.toReversed();
      for (const contender of order) {
        session.check();
        if (failed.has(contender)) continue;
        session.progress.step(`${contender}, round ${round + 1} of ${rounds}`);
        const built = contenders.get(contender)!;
        const route = built[path as 'same' | 'cross']!;
        try {
          await pin(session.lab, built, layout);
          const bench = { lab: session.lab, layout };
          const measure = (): Promise<Measured> => planned.measure(bench, route);
          runs.push(await observe(session, built, route, { contender, round }, measure));
        } catch (error) {
          session.check();
          failed.add(contender);
          notes.push(`${contender}: ${error instanceof Error ? error.message : error}`);
        }
      }
    }
  } catch (error) {
    if (!(error instanceof Aborted)) throw error;
    notes.push('aborted');
  }
  session.budget.finish(secondsOf(planned), session.budget.elapsed - start);
  return finishCell({ ...planned.cell, runs, notes });
}

export function finishCell(cell: Omit<Cell, 'series' | 'ratios'>): Cell {
  return { ...cell, series: series(cell.runs), ratios: ratios(cell.runs) };
}

/** CPUs the daemons of a contender may use: CPU 1 in the pinned layout. */
const pinned = new WeakMap<Built, Layout>();

export async function pin(lab: Lab, built: Built, layout: Layout): Promise<void> {
  if ((pinned.get(built) ?? 'unpinned') === layout) return;
  for (const { record } of built.daemons) {
    const cpus = layout === 'pinned' ? '1' : '0-4095';
    await lab.must(null, ['taskset', '-a', '-c', '-p', cpus, String(record.pid)]);
  }
  pinned.set(built, layout);
}
