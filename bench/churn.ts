/**
 * A thousand endpoint changes a second beside traffic: what is lost, what goes where no endpoint is any more, and how
 * long the longest trip takes, against the same traffic without changes.
 *
 * Every datagram is a flow of its own to the last Service, whose one endpoint moves between two ports. Where it may go
 * is known from when changes were asked for and answered: between the two, to the old endpoint or to the new one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlConnection } from './control-connection.ts';
import type { Churn } from './results.ts';
import * as rules from './rulesets.ts';
import type { Session } from './runner.ts';
import { type Attempt, cellOf, type Draft, plainRun } from './services-plan.ts';
import type { Site } from './sites.ts';
import { LOAD } from './tools.ts';

const SECONDS = 3;
const TRAFFIC_RATE = 5000;
/** Each asks, waits for the answer and asks again when it is time. The first changes the Service that is asked for. */
const CONNECTIONS = 4;
const CHANGES_PER_SECOND = 1000;
/** Traffic that begins before the changes and ends after them. */
const LEAD_MS = 100;
const DRAIN_MS = 200;

/** The endpoint of the Service that is asked for: since and until when it can have been this one, ns. */
interface Epoch {
  readonly port: number;
  readonly from: bigint;
  until: bigint;
}

const FOREVER = 1n << 62n;

export async function measureChurn(
  session: Session,
  site: Site,
  size: number,
  rounds: number,
  attempt: Attempt,
): Promise<Draft> {
  const cell = cellOf(
    'churn',
    size,
    `longest trip beside ${CHANGES_PER_SECOND} changes a second,`,
    'ms',
    'less',
  );
  // the code that is to be measured is compiled before
  session.progress.step('changes to warm up');
  await attempt(cell, 'twill', async () => {
    await connected(site, (connections) => change(connections, size, site.route.address));
  });
  for (let round = 0; round < rounds; round++) {
    const kinds = ['quiet', 'twill'] as const;
    for (const who of round % 2 === 0 ? kinds : kinds.toReversed()) {
      session.progress.step(`${size} services: ${who === 'quiet' ? 'no changes' : 'changes'} beside traffic`);
      await attempt(cell, who, async () => {
        const { longest, churn } = await besideTraffic(
          session,
          site,
          size,
          `${who}-${round}`,
          who === 'twill',
        );
        cell.runs.push({ ...plainRun(who, round, longest), loss: churn.lost / churn.sent, churn });
      });
    }
  }
  return cell;
}

async function connected<T>(
  site: Site,
  work: (connections: readonly ControlConnection[]) => Promise<T>,
): Promise<T> {
  const connections = await Promise.all(Array.from({ length: CONNECTIONS }, () => site.connection!()));
  try {
    return await work(connections);
  } finally {
    for (const connection of connections) connection.close();
  }
}

async function besideTraffic(
  session: Session,
  site: Site,
  size: number,
  name: string,
  isChanging: boolean,
): Promise<{ longest: number; churn: Churn }> {
  const { lab } = session;
  const { client, server } = site.route;
  const sink = lab.start(server, `churn-sink-${name}`, [
    ...[LOAD, 'pace-server', '--port', String(rules.PROBES), '--each'],
  ]);
  try {
    await sink.waitFor((text) => text.includes('ready'));
    const to = [
      '--to',
      rules.vip(size - 1),
      '--port',
      String(rules.PROBE_PORT),
      '--rate',
      String(TRAFFIC_RATE),
    ];
    const seconds = SECONDS + (2 * LEAD_MS) / 1000;
    const words = [LOAD, 'pace', ...to, '--fresh', '--seconds', String(seconds)];
    const source = lab.start(client, `churn-pace-${name}`, words);
    await sleep(LEAD_MS);
    const { epochs, changes } = isChanging
      ? await connected(site, (connections) => change(connections, size, site.route.address))
      : { epochs: [{ port: rules.PROBES, from: 0n, until: FOREVER }], changes: 0 };
    await source.waitFor((text) => text.includes('sent'), 10_000);
    await sleep(DRAIN_MS);
    await sink.stop(2000);
    const { sent } = JSON.parse(source.output()) as { sent: number };
    const trips = tripsIn(sink.output());
    const longest = Math.max(0, ...trips.map(({ from, to }) => Number(to - from)));
    const churn = { sent, lost: sent - trips.length, astray: countAstray(trips, epochs), changes };
    return { longest: longest / 1e6, churn };
  } finally {
    await sink.stop(500);
  }
}

/** @returns what the endpoint was meanwhile, and how many changes a second there were */
async function change(
  connections: readonly ControlConnection[],
  size: number,
  address: string,
): Promise<{ epochs: Epoch[]; changes: number }> {
  const epochs: Epoch[] = [{ port: rules.PROBES, from: 0n, until: FOREVER }];
  const each = (SECONDS * CHANGES_PER_SECOND) / CONNECTIONS;
  const start = performance.now();
  await Promise.all(
    connections.map(async (connection, k) => {
      for (let i = 0; i < each; i++) {
        const due = start + ((i * CONNECTIONS + k) * 1000) / CHANGES_PER_SECOND - performance.now();
        if (due > 0) await sleep(due);
        if (k > 0) {
          await connection.apply(rules.twillElsewhere((i * CONNECTIONS + k) % Math.max(1, size - 1), i + 1));
          continue;
        }
        // an even number, so that it ends as it began
        const port = rules.PROBES + ((i + 1) % 2);
        const { asked, answered } = await connection.apply(rules.twillChange(size, { address, probe: port }));
        epochs.at(-1)!.until = answered;
        epochs.push({ port, from: asked, until: FOREVER });
      }
    }),
  );
  return { epochs, changes: (each * CONNECTIONS * 1000) / (performance.now() - start) };
}

interface Trip {
  readonly port: number;
  readonly from: bigint;
  readonly to: bigint;
}

/** The lines "PORT SENT ARRIVED". */
const tripsIn = (text: string): Trip[] =>
  [...text.matchAll(/^(\d+) (\d+) (\d+)$/gm)].map(([, port, from, to]) => ({
    port: Number(port),
    from: BigInt(from!),
    to: BigInt(to!),
  }));

/** Datagrams at an endpoint that was none at any time of their trip. */
export function countAstray(trips: readonly Trip[], epochs: readonly Epoch[]): number {
  let first = 0;
  let astray = 0;
  for (const { port, from, to } of [...trips].sort((a, b) => (a.from < b.from ? -1 : 1))) {
    while (epochs[first]!.until < from) first++;
    let at = first;
    while (at < epochs.length && epochs[at]!.from <= to && epochs[at]!.port !== port) at++;
    if (at === epochs.length || epochs[at]!.from > to) astray++;
  }
  return astray;
}
