/**
 * ClusterIPs as they grow in number: new connections per second, time to load them, time for one endpoint change to
 * take effect while traffic runs. Beside Twill's Services: Twill and the kernel's routing without any, iptables,
 * nftables.
 *
 * The kernel's side is a router between two subnets, so that replies pass it too.
 */
import { join } from 'node:path';
import type { Lab } from '../src/demo/lab.ts';
import { call } from '../src/program/client.ts';
import { packageRoot } from '../src/program/version.ts';
import { type Built, missingCommand, type Route } from './contender.ts';
import { twill } from './contenders/twill.ts';
import { OVERHEAD_SECONDS } from './matrix.ts';
import type { Cell, Presence, Results, Run } from './results.ts';
import * as rules from './rulesets.ts';
import { finishCell, observe, type Session } from './runner.ts';
import { connections, roundTrips } from './tools.ts';

const SERVER_PORT = 8080;
const OTHER_PORT = 8081;
/** Not a Service's: a direct connection must not meet what a finished one through a Service has left behind. */
const DIRECT_PORT = 8082;
const CLIENT = '10.78.0.10';
const SERVER = '10.79.0.11';

export interface ServicesPlan {
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** Of one run of connections. */
  readonly seconds: number;
  /** A rule set that takes longer to load is given up. */
  readonly loadLimit: number;
  readonly changes: number;
}

export const SERVICES: Readonly<Record<'full' | 'quick', ServicesPlan>> = {
  full: { sizes: [1, 100, 10_000, 100_000], rounds: 3, seconds: 1, loadLimit: 45, changes: 10 },
  quick: { sizes: [1, 10_000], rounds: 2, seconds: 0.5, loadLimit: 15, changes: 4 },
};

const WAYS = ['twill', 'twill-direct', 'direct', 'iptables', 'nftables'] as const;
type Way = (typeof WAYS)[number];

export const WAY_TITLES: Readonly<Record<string, string>> = {
  twill: 'Twill',
  'twill-direct': 'Twill, no Service',
  direct: 'kernel, no Service',
  iptables: 'iptables',
  nftables: 'nftables',
  quiet: 'Twill, nothing changed',
};

/** What the services take, about: loading grows with the size, the rest does not. */
export function servicesSeconds(plan: ServicesPlan): number {
  const perSize = WAYS.length * plan.rounds * (plan.seconds + OVERHEAD_SECONDS) + 6;
  return 6 + plan.sizes.reduce((sum, size) => sum + perSize + size / 3000, 0);
}

interface Loading {
  readonly run: (limitMs: number) => Promise<void>;
  /** What is left to do before connections are measured. */
  readonly settle?: () => Promise<void>;
}

/** One way to a server: how to load so many Services, and how to change the last one's endpoint. */
interface Site {
  readonly built: Built;
  readonly route: Route;
  readonly server: string;
  /** Prepares; only what it returns is timed. */
  load?: (size: number) => Loading;
  change?: (size: number, port: number) => Promise<void>;
}

export async function measureServices(
  session: Session,
  results: Results,
  plan: ServicesPlan,
  wants: (id: string, group: string) => boolean,
): Promise<void> {
  const start = session.budget.elapsed;
  session.progress.part('services');
  const sites = await build(session.lab, results, plan);
  const given = new Map<string, string>();
  for (const size of plan.sizes) {
    if (session.budget.share === 0) {
      results.notes.push(`${size} services were not measured: the time was over`);
      continue;
    }
    const loads = await loadAll(session, sites, size, plan, given);
    if (wants(loads.id, loads.group)) results.cells.push(finishCell(loads));
    const rates = newCell('connections', size, 'services', 'new connections,', 'conn/s', 'more');
    const rounds = session.budget.rounds(plan.rounds);
    for (let round = 0; wants(rates.id, rates.group) && round < rounds; round++) {
      const order = round % 2 === 0 ? WAYS : WAYS.toReversed();
      for (const way of order) {
        const site = sites.get(way);
        if (!site || given.has(way)) continue;
        session.check();
        session.progress.step(`${size} services: ${way}, round ${round + 1} of ${rounds}`);
        const to = site.load
          ? { to: rules.vip(size - 1), port: rules.SERVICE_PORT, serverPort: SERVER_PORT }
          : { to: site.server, port: DIRECT_PORT, serverPort: DIRECT_PORT };
        const bench = { lab: session.lab, layout: 'unpinned' } as const;
        const options = { ...to, seconds: plan.seconds };
        await attempt(session, rates, way, async () => {
          const measure = () => connections(bench, site.route, options);
          rates.runs.push(await observe(session, site.built, site.route, { contender: way, round }, measure));
        });
      }
    }
    if (rates.runs.length > 0) results.cells.push(finishCell(rates));
    if (wants(`change-${size}`, 'services')) await measureChanges(session, results, sites, size, plan, given);
  }
  session.budget.finish(servicesSeconds(plan), session.budget.elapsed - start);
}

type Draft = Omit<Cell, 'series' | 'ratios'>;

function newCell(
  name: string,
  size: number,
  group: string,
  title: string,
  unit: Cell['unit'],
  better: Cell['better'],
): Draft {
  const count = size.toLocaleString('en').replaceAll(',', ' ');
  return {
    id: `${name}-${size}/same/unpinned`,
    group,
    title: `${title} ${count} ${size === 1 ? 'service' : 'services'}`,
    path: 'same',
    layout: 'unpinned',
    mtu: 1500,
    unit,
    better,
    runs: [],
    notes: [],
  };
}

/** A failure is a note; only the end of the run goes on up. */
async function attempt(
  session: Session,
  cell: Draft,
  who: string,
  work: () => Promise<void>,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    session.check();
    cell.notes.push(`${who}: ${error instanceof Error ? error.message : error}`);
    return false;
  }
}

async function loadAll(
  session: Session,
  sites: ReadonlyMap<string, Site>,
  size: number,
  plan: ServicesPlan,
  given: Map<string, string>,
): Promise<Draft> {
  const cell = newCell('load', size, 'services', 'loading', 's', 'less');
  for (const [way, site] of sites) {
    if (!site.load || given.has(way)) continue;
    session.check();
    session.progress.step(`${size} services: loading ${way}`);
    const isLoaded = await attempt(session, cell, way, async () => {
      const { run, settle } = site.load!(size);
      const limit = Math.min(plan.loadLimit, Math.max(1, session.budget.left)) * 1000;
      const start = performance.now();
      await run(limit);
      cell.runs.push(plainRun(way, 0, (performance.now() - start) / 1000));
      await settle?.();
    });
    if (!isLoaded) given.set(way, cell.notes.at(-1)!);
  }
  return cell;
}

const plainRun = (contender: string, round: number, value: number): Run => ({
  contender,
  round,
  value,
  steal: 0,
  foreign: 0,
  guards: {
    retransmits: null,
    drops: {},
    checksumErrors: 0,
    applicationOverruns: 0,
    daemonOverruns: 0,
    collections: 0,
    deoptimisations: 0,
  },
});

/** From the request to the first new connection that the new endpoint answers; and what others noticed of it. */
async function measureChanges(
  session: Session,
  results: Results,
  sites: ReadonlyMap<string, Site>,
  size: number,
  plan: ServicesPlan,
  given: ReadonlyMap<string, string>,
): Promise<void> {
  const changes = newCell('change', size, 'services', 'one endpoint change,', 'ms', 'less');
  const pauses = newCell('pause', size, 'services', 'longest round trip beside changes,', 'ms', 'less');
  const bench = { lab: session.lab, layout: 'unpinned' } as const;
  for (const [way, site] of sites) {
    if (!site.change || given.has(way)) continue;
    session.check();
    session.progress.step(`${size} services: endpoint changes, ${way}`);
    const work = (): Promise<void> =>
      attempt(session, changes, way, () => change(session, site, way, size, plan, changes)).then(() => {});
    if (way !== 'twill') {
      await work();
      continue;
    }
    const seconds = 1;
    const quiet = await roundTrips(bench, site.route, { protocol: 'udp', seconds });
    pauses.runs.push(plainRun('quiet', 0, quiet.max / 1000));
    const busy = roundTrips(bench, site.route, { protocol: 'udp', seconds });
    const [{ max }] = await Promise.all([busy, work()]);
    pauses.runs.push(plainRun('twill', 0, max / 1000));
  }
  results.cells.push(
    ...[changes, pauses].filter(({ runs, notes }) => runs.length + notes.length > 0).map(finishCell),
  );
}

async function change(
  session: Session,
  site: Site,
  way: string,
  size: number,
  plan: ServicesPlan,
  cell: Draft,
): Promise<void> {
  const { lab } = session;
  const program = [process.execPath, join(packageRoot(), 'dist/bench/probe.js')];
  const letters = [String(SERVER_PORT), 'a', String(OTHER_PORT), 'b'];
  const server = lab.start(site.route.server, `probe-server-${way}-${size}`, [
    ...program,
    'serve',
    ...letters,
  ]);
  try {
    await server.waitFor((text) => text.includes('ready'));
    const to = [rules.vip(size - 1), String(rules.SERVICE_PORT)];
    const watcher = lab.start(site.route.client, `probe-${way}-${size}`, [...program, 'watch', ...to]);
    try {
      await watcher.waitFor((text) => text.startsWith('a '));
      for (let i = 0; i < plan.changes; i++) {
        session.check();
        const isBack = i % 2 === 1;
        const lines = i + 2;
        const start = process.hrtime.bigint();
        await site.change!(size, isBack ? SERVER_PORT : OTHER_PORT);
        await watcher.waitFor((text) => text.split('\n').length > lines, 10_000);
        const at = BigInt(watcher.output().trim().split('\n').at(-1)!.split(' ')[1]!);
        cell.runs.push(plainRun(way, i, Number(at - start) / 1e6));
      }
      if (plan.changes % 2 === 1) await site.change!(size, SERVER_PORT);
    } finally {
      await watcher.stop(500);
    }
  } finally {
    await server.stop(500);
  }
}

async function build(lab: Lab, results: Results, plan: ServicesPlan): Promise<Map<Way, Site>> {
  const sites = new Map<Way, Site>();
  const built = await twill.build(lab, 1500);
  const route = built.same!;
  const [socket, fresh] = built.sockets as [string, string];
  let loaded = 0;
  const apply = async (to: string, texts: readonly string[], limit: number): Promise<void> => {
    const end = performance.now() + limit;
    for (const text of texts) {
      const timeout = Math.max(1, end - performance.now());
      await call({ socket: to, timeout }, 'POST', '/v1/apply', {
        sources: [{ file: 'services.json', text }],
      });
    }
  };
  sites.set('twill', {
    built,
    route,
    server: route.address,
    // the most are loaded by a daemon that has none yet; fewer are added to those of the size before
    load(size) {
      const endpoint = { address: route.address, port: SERVER_PORT };
      const more = rules.twillServices(loaded, size, endpoint);
      const isMost = size === plan.sizes.at(-1);
      loaded = size;
      if (!isMost) return { run: (limit) => apply(socket, more, limit) };
      const all = rules.twillServices(0, size, endpoint);
      return {
        run: (limit) => apply(fresh, all, limit),
        settle: () => apply(socket, more, plan.loadLimit * 1000),
      };
    },
    change: (size, port) =>
      apply(socket, [rules.twillChange(size, { address: route.address, port })], 10_000),
  });
  sites.set('twill-direct', { built, route, server: route.address });
  sites.set('direct', await router(lab, 'd'));
  const restore = (ns: string, words: string[], input: string, timeout: number) =>
    lab.must(ns, words, { input, timeout }).then(() => {});
  if (isPresent(results, 'iptables', missingCommand('iptables-restore'))) {
    const site = await router(lab, 'i');
    const [ns] = site.route.hosts as [string];
    site.load = (size) => {
      const text = rules.iptablesServices(size, endpointOf(SERVER_PORT));
      return { run: (limit) => restore(ns, ['iptables-restore'], text, limit) };
    };
    site.change = (size, port) =>
      restore(ns, ['iptables-restore', '--noflush'], rules.iptablesChange(size, endpointOf(port)), 10_000);
    sites.set('iptables', site);
  }
  if (isPresent(results, 'nftables', missingCommand('nft'))) {
    const site = await router(lab, 'n');
    const [ns] = site.route.hosts as [string];
    const words = ['nft', '-f', '-'];
    site.load = (size) => {
      const text = rules.nftablesServices(size, endpointOf(SERVER_PORT));
      return { run: (limit) => restore(ns, words, text, limit) };
    };
    site.change = (size, port) => restore(ns, words, rules.nftablesChange(size, endpointOf(port)), 10_000);
    sites.set('nftables', site);
  }
  return sites;
}

const endpointOf = (port: number): rules.Endpoint => ({ address: SERVER, port });

function isPresent(results: Results, name: string, skipped: string | null): boolean {
  const title = WAY_TITLES[name]!;
  const detail = 'DNAT in a router between two subnets, one endpoint per service';
  const presence: Presence = { name, title, detail, version: '', skipped };
  results.contenders.push(presence);
  return skipped === null;
}

/** A router between a client and a server, in the kernel. */
async function router(lab: Lab, letter: string): Promise<Site> {
  const [host, client, server] = await Promise.all([
    lab.namespace(`${letter}h`),
    lab.namespace(`${letter}c`),
    lab.namespace(`${letter}s`),
  ]);
  await lab.wire(
    { namespace: client, name: 'eth0', address: `${CLIENT}/24` },
    { namespace: host, name: 'c0', address: '10.78.0.1/24' },
  );
  await lab.wire(
    { namespace: server, name: 'eth0', address: `${SERVER}/24` },
    { namespace: host, name: 's0', address: '10.79.0.1/24' },
  );
  await lab.ip(client, 'route', 'add', 'default', 'via', '10.78.0.1');
  await lab.ip(server, 'route', 'add', 'default', 'via', '10.79.0.1');
  // a connection that was reset is forgotten soon, or the kernel's table of all namespaces would fill up
  const settings = ['net.ipv4.ip_forward=1', 'net.netfilter.nf_conntrack_tcp_timeout_close=1'];
  await lab.run(host, ['sysctl', '-q', '-w', ...settings]);
  const route = { client, server, address: SERVER, clientAddress: CLIENT, hosts: [host] };
  return { built: { same: route, daemons: [] }, route, server: SERVER };
}
