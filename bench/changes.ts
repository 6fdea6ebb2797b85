/**
 * What a change of Services costs those who send meanwhile: how long until it holds, and for how long the dataplane
 * stands still. Both by datagrams at a constant rate that the receiving kernel stamps on arrival.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PROBE_PORT, PROBES, vip } from './rulesets.ts';
import type { Session } from './runner.ts';
import { type Attempt, cellOf, type Draft, plainRun, type ServicesPlan } from './services-plan.ts';
import { type Site, WAYS, type Way } from './sites.ts';
import { LOAD, longestTrip } from './tools.ts';

/** A second: each from a port of its own, none used twice within the time a kernel remembers it. */
const PROBE_RATE = 5000;
const CHANGES_PER_SECOND = 10;
const LEAST_WINDOW_MS = 1000;

/** From the request to the arrival of the first datagram at the new endpoint, ms; every datagram is a new flow. */
export async function measureChanges(
  session: Session,
  sites: ReadonlyMap<Way, Site>,
  size: number,
  plan: ServicesPlan,
  attempt: Attempt,
): Promise<Draft> {
  const cell = cellOf('change', size, 'one endpoint change,', 'ms', 'less');
  for (const way of WAYS) {
    const site = sites.get(way);
    if (!site?.change) continue;
    session.progress.step(`${size} services: endpoint changes, ${way}`);
    await attempt(cell, way, async () => {
      for (const [i, ms] of (
        await timeChanges(session, site, `${way}-${size}`, size, plan.changes)
      ).entries()) {
        cell.runs.push(plainRun(way, i, ms));
      }
    });
  }
  return cell;
}

/** @param name of the programs' logs */
async function timeChanges(
  session: Session,
  site: Site,
  name: string,
  size: number,
  count: number,
): Promise<number[]> {
  const { lab } = session;
  const { client, server } = site.route;
  const sink = lab.start(server, `sink-${name}`, [LOAD, 'pace-server', '--port', String(PROBES)]);
  try {
    await sink.waitFor((text) => text.includes('ready'));
    const to = ['--to', vip(size - 1), '--port', String(PROBE_PORT), '--rate', String(PROBE_RATE)];
    const source = lab.start(client, `pace-${name}`, [LOAD, 'pace', ...to, '--seconds', '60', '--fresh']);
    try {
      await sink.waitFor(() => arrivals(sink.output()).some(({ port }) => port === PROBES));
      const times: number[] = [];
      // an even number, so that it ends as it began
      for (let i = 0; i < count; i++) {
        session.check();
        const probe = PROBES + ((i + 1) % 2);
        const start = await site.change!(size, probe);
        const isFirst = (one: Arrival): boolean => one.port === probe && one.at > start;
        const found = (): Arrival | undefined => arrivals(sink.output()).find(isFirst);
        await sink.waitFor(() => found() !== undefined, 10_000);
        times.push(Number(found()!.at - start) / 1e6);
      }
      return times;
    } finally {
      await source.stop(0);
    }
  } finally {
    await sink.stop(500);
  }
}

interface Arrival {
  readonly port: number;
  /** Monotonic, ns. */
  readonly at: bigint;
}

/** The lines "PORT NANOSECONDS". */
const arrivals = (text: string): Arrival[] =>
  [...text.matchAll(/^(\d+) (\d+)$/gm)].map(([, port, at]) => ({ port: Number(port), at: BigInt(at!) }));

/**
 * The longest that one of 10 000 datagrams a second was on its way through Twill, ms: while all Services are loaded
 * anew, while endpoints change, and for as long while nothing changes. Rounds are short and many, their three windows
 * equally long and in turns, so that what the machine does by itself is in all three and a round's difference is Twill's.
 */
export async function measurePauses(
  session: Session,
  site: Site,
  size: number,
  plan: ServicesPlan,
  attempt: Attempt,
): Promise<Draft> {
  const cell = cellOf('pause', size, 'longest trip of a datagram,', 'ms', 'less');
  const bench = { lab: session.lab, layout: 'unpinned' } as const;
  let window = LEAST_WINDOW_MS;
  const changes = async (): Promise<void> => {
    const start = performance.now();
    for (let i = 0; i < CHANGES_PER_SECOND || i % 2 === 1 || performance.now() - start < window; i++) {
      await site.change!(size, PROBES + ((i + 1) % 2));
      await sleep(1000 / CHANGES_PER_SECOND);
    }
  };
  const loading = async (): Promise<void> => {
    const start = performance.now();
    do await site.load!(size, plan.loadLimit * 1000);
    while (performance.now() - start < LEAST_WINDOW_MS);
    window = performance.now() - start;
  };
  const kinds = [
    ['loading', loading],
    ['quiet', () => sleep(window)],
    ['twill', changes],
  ] as const;
  for (let round = 0; round < plan.pauses; round++) {
    for (const [who, work] of round % 2 === 0 ? kinds : kinds.toReversed()) {
      session.progress.step(`${size} services: pauses, ${who}, round ${round + 1} of ${plan.pauses}`);
      await attempt(cell, who, async () => {
        const { value, percentiles } = await longestTrip(bench, site.route, work);
        cell.runs.push({ ...plainRun(who, round, value), percentiles: percentiles! });
      });
    }
  }
  return cell;
}
