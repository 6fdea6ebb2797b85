/** The cells that need namespaces: builds all contenders at one underlay MTU, warms them up, measures, removes all. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lab } from '../src/demo/lab.ts';
import { packageRoot } from '../src/program/version.ts';
import type { Built } from './contender.ts';
import { CONTENDERS } from './contenders/index.ts';
import { processNanoseconds, residentBytes } from './machine.ts';
import type { Planned } from './matrix.ts';
import type { Idle, Presence, Results } from './results.ts';
import { measureCell, type Session } from './runner.ts';
import { datagrams, tcp } from './tools.ts';

/** Runs `work` in a laboratory of its own, which is gone afterwards. */
export async function withLab<T>(onOpen: (lab: Lab) => void, work: (lab: Lab) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'twill-bench-'));
  const lab = new Lab({ prefix: `twb${process.pid}-`, directory, root: packageRoot() });
  onOpen(lab);
  try {
    return await work(lab);
  } finally {
    await lab.dispose();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Seconds that building the contenders and warming them up takes, about. */
export const BUILD_SECONDS = 20;

export async function measureNetwork(
  session: Session,
  results: Results,
  plan: readonly Planned[],
  mtu: number,
  wantsIdle: boolean,
): Promise<void> {
  const names = new Set(plan.flatMap((planned) => planned.contenders));
  const contenders = new Map<string, Built>();
  const start = session.budget.elapsed;
  session.progress.part(`contenders with an underlay of ${mtu} bytes`);
  for (const contender of CONTENDERS) {
    if (!names.has(contender.name)) continue;
    session.check();
    session.progress.step(contender.name);
    const { name, title, detail } = contender;
    const presence = { name, title, detail };
    const reason = contender.available();
    if (reason !== null) {
      note(results.contenders, { ...presence, version: '', skipped: reason });
      continue;
    }
    try {
      const built = await contender.build(session.lab, mtu);
      note(results.contenders, { ...presence, version: contender.version(), skipped: null });
      if (wantsIdle && built.sockets) results.idle = await measureIdle(session, built);
      await warmUp(session, built);
      contenders.set(contender.name, built);
    } catch (error) {
      session.check();
      if (contender.name === 'twill') throw error;
      note(results.contenders, { ...presence, version: '', skipped: `failed: ${messageOf(error)}` });
    }
  }
  session.budget.finish(BUILD_SECONDS, session.budget.elapsed - start);
  for (const planned of plan) {
    if (session.budget.share === 0) {
      results.notes.push(`${planned.cell.id} was not measured: the time was over`);
      continue;
    }
    const cell = await measureCell(session, planned, contenders);
    if (cell.runs.length > 0 || cell.notes.length > 0) results.cells.push(cell);
    session.check();
  }
}

/** Connections set up, addresses learned, code compiled: what the first packets cost is not measured. */
async function warmUp(session: Session, built: Built): Promise<void> {
  const bench = { lab: session.lab, layout: 'unpinned' } as const;
  for (const route of [built.same, built.cross]) {
    if (!route) continue;
    const first = await session.lab.run(route.client, [
      ...['ping', '-q', '-n', '-c', '20', '-i', '0.02', '-W', '2', route.address],
    ]);
    if (first.code !== 0) throw new Error(`${route.address} does not answer`);
    session.check();
    if (!built.sockets) continue;
    for (let i = 0; i < 2; i++) {
      await tcp(bench, route, { streams: 2, bidirectional: true, seconds: 1 });
      await datagrams(bench, route, { size: i === 0 ? 64 : 'imix', flows: 16, seconds: 0.5 });
    }
  }
}

const IDLE_SECONDS = 3;

/** A daemon without a packet to move, as soon as it is settled. */
async function measureIdle(session: Session, built: Built): Promise<Idle> {
  const { pid } = built.daemons[0]!.record;
  const pause = (seconds: number): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  session.progress.step('idle daemon');
  await pause(1);
  const before = processNanoseconds(pid);
  await pause(IDLE_SECONDS);
  session.check();
  return {
    core: (processNanoseconds(pid) - before) / 1e9 / IDLE_SECONDS,
    residentBytes: residentBytes(pid),
    seconds: IDLE_SECONDS,
  };
}

function note(list: Presence[], presence: Presence): void {
  const at = list.findIndex(({ name }) => name === presence.name);
  if (at < 0) list.push(presence);
  else if (presence.skipped !== null && list[at]!.skipped === null) return;
  else list[at] = presence;
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
