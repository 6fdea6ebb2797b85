/**
 * Ways to a server behind Services: through Twill, with or without one; through the kernel's routing, bare or with
 * iptables or nftables. The kernel's side is a router between two subnets, so that replies pass it too.
 */
import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Background, Lab } from '../src/demo/lab.ts';
import { type Built, missingCommand, type Route } from './contender.ts';
import { twill } from './contenders/twill.ts';
import { ControlConnection } from './control-connection.ts';
import type { Presence, Results } from './results.ts';
import * as rules from './rulesets.ts';

export const WAYS = ['twill', 'twill-direct', 'direct', 'iptables', 'nftables'] as const;
export type Way = (typeof WAYS)[number];

export const WAY_TITLES: Readonly<Record<string, string>> = {
  twill: 'Twill',
  'twill-direct': 'Twill, no Service',
  direct: 'kernel, no Service',
  iptables: 'iptables',
  nftables: 'nftables',
  quiet: 'Twill, nothing changed',
  loading: 'Twill, all loaded anew',
};

export interface Site {
  readonly built: Built;
  readonly route: Route;
  /** Loads so many Services where there are none, within `limit` ms. @returns the seconds it took */
  readonly load?: (size: number, limit: number) => Promise<number>;
  /** Leads the last Service's probes to another port. @returns when that was asked for, ns */
  readonly change?: (size: number, probe: number) => Promise<bigint>;
  /** Another connection to whoever is told of changes; `close` it. */
  readonly connection?: () => Promise<ControlConnection>;
}

const CLIENT = '10.78.0.10';
const SERVER = '10.79.0.11';

export async function buildSites(lab: Lab, results: Results): Promise<Map<Way, Site>> {
  const site = await twillSite(lab);
  const sites = new Map<Way, Site>([
    ['twill', site],
    ['twill-direct', { built: site.built, route: site.route }],
    ['direct', await router(lab, 'd')],
  ]);
  const restore = (ns: string, words: string[], input: string, timeout: number): Promise<unknown> =>
    lab.must(ns, words, { input, timeout });
  if (isPresent(results, 'iptables', missingCommand('iptables-restore'))) {
    const bare = await router(lab, 'i');
    const [ns] = bare.route.hosts as [string];
    sites.set('iptables', {
      ...bare,
      load(size, limit) {
        const text = rules.iptablesServices(size, endpoint(rules.PROBES));
        return timed(() => restore(ns, ['iptables-restore'], text, limit));
      },
      async change(_, probe) {
        const start = process.hrtime.bigint();
        await restore(ns, ['iptables-restore', '--noflush'], rules.iptablesChange(endpoint(probe)), 10_000);
        return start;
      },
    });
  }
  if (isPresent(results, 'nftables', missingCommand('nft'))) {
    const bare = await router(lab, 'n');
    const [ns] = bare.route.hosts as [string];
    const words = ['nft', '-f', '-'];
    sites.set('nftables', {
      ...bare,
      load(size, limit) {
        const text = rules.nftablesServices(size, endpoint(rules.PROBES));
        return timed(() => restore(ns, words, text, limit));
      },
      async change(size, probe) {
        const start = process.hrtime.bigint();
        await restore(ns, words, rules.nftablesChange(size, endpoint(probe)), 10_000);
        return start;
      },
    });
  }
  return sites;
}

const endpoint = (probe: number): rules.Endpoint => ({ address: SERVER, probe });

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** As an operator does it: all Services in a file and SIGHUP; a change over the control socket. */
export async function twillSite(lab: Lab): Promise<Site> {
  const built = await twill.build(lab, 1500);
  const route = built.same!;
  const [daemon] = built.daemons as [Background];
  const [socket] = built.sockets as [string];
  const [file] = built.files as [string];
  const endpointOf = (probe: number): rules.Endpoint => ({ address: route.address, probe });
  /** Written beforehand: while the daemon reads there is no other work on the machine than its own. */
  const texts = new Map<number, string>();
  const textOf = (size: number): string => {
    const known = texts.get(size);
    if (known !== undefined) return known;
    const path = `${file}.${size}`;
    writeFileSync(path, size === 0 ? rules.NO_SERVICES : rules.twillServices(size, endpointOf(rules.PROBES)));
    texts.set(size, path);
    return path;
  };
  const hold = (path: string): void => {
    rmSync(`${file}.new`, { force: true });
    linkSync(path, `${file}.new`);
    renameSync(`${file}.new`, file);
  };
  return {
    built,
    route,
    async load(size, limit) {
      const [none, all] = [textOf(0), textOf(size)];
      hold(none);
      await reload(daemon, limit);
      hold(all);
      return reload(daemon, limit);
    },
    async change(size, probe) {
      const connection = await ControlConnection.open(socket);
      await sleep(5); // the daemon takes the connection meanwhile
      try {
        return (await connection.apply(rules.twillChange(size, endpointOf(probe)))).asked;
      } finally {
        connection.close();
      }
    },
    connection: () => ControlConnection.open(socket),
  };
}

/** @returns seconds from the signal to the daemon's word that it is done */
async function reload(daemon: Background, limit: number): Promise<number> {
  const words = (log: string): string[] =>
    log.split('\n').filter((line) => line.includes('"msg":"reloaded"') || line.includes('"msg":"reload '));
  const before = words(daemon.output()).length;
  const start = Date.now();
  process.kill(daemon.record.pid, 'SIGHUP');
  await daemon.waitFor((log) => words(log).length > before, limit);
  const { time, msg } = JSON.parse(words(daemon.output()).at(-1)!) as { time: string; msg: string };
  if (msg !== 'reloaded') throw new Error(msg);
  return (Date.parse(time) - start) / 1000;
}

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
  const settings = [
    'net.ipv4.ip_forward=1',
    // a connection that was reset is forgotten soon, or the kernel's table of all namespaces would fill up
    'net.netfilter.nf_conntrack_tcp_timeout_close=1',
    // and a probe before its port is used again, or its flow would lead to the endpoint of old
    'net.netfilter.nf_conntrack_udp_timeout=1',
  ];
  await lab.run(host, ['sysctl', '-q', '-w', ...settings]);
  const route = { client, server, address: SERVER, clientAddress: CLIENT, hosts: [host] };
  return { built: { same: route, daemons: [] }, route };
}
