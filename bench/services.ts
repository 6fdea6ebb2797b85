/**
 * ClusterIPs as they grow in number: time to load them, new connections per second, time for one endpoint change to
 * take effect, how long the dataplane stands still meanwhile, and what a thousand changes a second do to traffic.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { measureChanges, measurePauses } from './changes.ts';
import { measureChurn } from './churn.ts';
import type { Results } from './results.ts';
import * as rules from './rulesets.ts';
import { finishCell, observe, type Session } from './runner.ts';
import {
  type Attempt,
  cellOf,
  type Draft,
  plainRun,
  type ServicesPlan,
  servicesSeconds,
} from './services-plan.ts';
import { buildSites, type Site, WAYS, type Way } from './sites.ts';
import { connections } from './tools.ts';

/** Not a Service's: a direct connection must not meet what a finished one through a Service has left behind. */
const DIRECT_PORT = 8082;

export async function measureServices(
  session: Session,
  results: Results,
  plan: ServicesPlan,
  wants: (id: string, group: string) => boolean,
): Promise<void> {
  const start = session.budget.elapsed;
  session.progress.part('services');
  const sites = await buildSites(session.lab, results);
  /** A failure is a note; only the end of the run goes on up. */
  const attempt: Attempt = async (cell, who, work) => {
    session.check();
    try {
      await work();
      return true;
    } catch (error) {
      session.check();
      cell.notes.push(`${who}: ${error instanceof Error ? error.message : error}`);
      return false;
    }
  };
  const keep = (cell: Draft): void => {
    if (wants(cell.id, cell.group) && cell.runs.length + cell.notes.length > 0)
      results.cells.push(finishCell(cell));
  };
  let isWarm = false;
  for (const size of plan.sizes) {
    if (session.budget.share === 0) {
      results.notes.push(`${size} services were not measured: the time was over`);
      continue;
    }
    const loads = cellOf('load', size, 'loading', 's', 'less');
    for (const [way, { load }] of sites) {
      if (!load) continue;
      session.progress.step(`${size} services: loading ${way}`);
      const limit = Math.min(plan.loadLimit, Math.max(1, session.budget.left)) * 1000;
      const isLoaded = await attempt(loads, way, async () => {
        loads.runs.push(plainRun(way, 0, await load(size, limit)));
      });
      if (!isLoaded) sites.delete(way);
    }
    keep(loads);
    const wanted = (name: string): boolean => wants(`${name}-${size}/same/unpinned`, 'services');
    if (wanted('connections')) {
      await warmUp(session, sites, size, 2 * plan.seconds, !isWarm);
      isWarm = true;
      keep(await measureConnections(session, sites, size, plan, attempt));
    }
    if (wanted('change')) keep(await measureChanges(session, sites, size, plan, attempt));
    const twill = sites.get('twill');
    if (!twill || size !== plan.sizes.at(-1)) continue;
    if (wanted('pause')) keep(await measurePauses(session, twill, size, plan, attempt));
    if (wanted('churn')) keep(await measureChurn(session, twill, size, plan.churns, attempt));
  }
  session.budget.finish(servicesSeconds(plan), session.budget.elapsed - start);
}

async function measureConnections(
  session: Session,
  sites: ReadonlyMap<Way, Site>,
  size: number,
  plan: ServicesPlan,
  attempt: Attempt,
): Promise<Draft> {
  const cell = cellOf('connections', size, 'new connections,', 'conn/s', 'more');
  const rounds = session.budget.rounds(plan.rounds);
  for (let round = 0; round < rounds; round++) {
    for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
      const site = sites.get(way);
      if (!site) continue;
      session.progress.step(`${size} services: ${way}, round ${round + 1} of ${rounds}`);
      await attempt(cell, way, async () => {
        const measure = () => connect(session, site, size, plan.seconds);
        cell.runs.push(await observe(session, site.built, site.route, { contender: way, round }, measure));
      });
    }
  }
  return cell;
}

function connect(
  session: Session,
  site: Site,
  size: number,
  seconds: number,
): ReturnType<typeof connections> {
  const to = site.load
    ? { to: rules.vip(size - 1), port: rules.SERVICE_PORT, serverPort: rules.SERVER_PORT }
    : { to: site.route.address, port: DIRECT_PORT, serverPort: DIRECT_PORT };
  return connections({ lab: session.lab, layout: 'unpinned' }, site.route, { ...to, seconds });
}

/** Longer than the daemon remembers a connection that was reset. */
const FORGOTTEN_MS = 10_500;

/**
 * The code that opens connections and ends them is compiled before it is measured; the first time also that which
 * forgets them and meets their ports again.
 */
async function warmUp(
  session: Session,
  sites: ReadonlyMap<Way, Site>,
  size: number,
  seconds: number,
  isFirst: boolean,
): Promise<void> {
  const ways = (['twill', 'twill-direct'] as const).flatMap((way) => sites.get(way) ?? []);
  for (const pause of isFirst ? [FORGOTTEN_MS, 0] : [0]) {
    session.check();
    session.progress.step('connections to warm up');
    for (const site of ways) await connect(session, site, size, seconds);
    await sleep(pause);
  }
}
