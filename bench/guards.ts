/**
 * What must not happen while something is measured, counted around every run: retransmits, drops by reason,
 * checksum errors, overrun sockets, collections and deoptimisations in Twill's packet path.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Background, Lab } from '../src/demo/lab.ts';
import { call } from '../src/program/client.ts';
import type { Built, Route } from './contender.ts';

export interface Guards {
  /** TCP segments sent again; null where there is no TCP. */
  readonly retransmits: number | null;
  /** Twill's drops by reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly checksumErrors: number;
  /** Datagrams lost because the receiving application (in a pod) was too slow. */
  readonly applicationOverruns: number;
  /** The same of the daemons' sockets, in the hosts' namespaces. */
  readonly daemonOverruns: number;
  /** Of the engine, in the thread that moves packets. */
  readonly collections: number;
  readonly deoptimisations: number;
}

/** What must be zero whatever is measured: a wrong checksum, a garbage collection, a deoptimisation. */
export function violations(guards: Guards): string[] {
  const lines: string[] = [];
  const say = (count: number, what: string): void => {
    if (count > 0) lines.push(`${count} ${what}${count === 1 ? '' : 's'}`);
  };
  say(guards.checksumErrors, 'checksum error');
  say(guards.collections, 'garbage collection');
  say(guards.deoptimisations, 'deoptimisation');
  return lines;
}

interface Counts {
  readonly drops: Readonly<Record<string, number>>;
  readonly pods: Snmp;
  readonly hosts: Snmp;
  readonly collections: number;
  readonly deoptimisations: number;
}

/** Starts to count; the function it returns ends the count. */
export async function guard(
  lab: Lab,
  built: Built,
  route: Route,
): Promise<(retransmits: number | null) => Promise<Guards>> {
  const before = await read(lab, built, route);
  return async (retransmits) => {
    const after = await read(lab, built, route);
    const drops = Object.entries(after.drops)
      .map(([reason, count]) => [reason, count - (before.drops[reason] ?? 0)] as const)
      .filter(([, count]) => count > 0);
    return {
      retransmits,
      drops: Object.fromEntries(drops),
      checksumErrors:
        after.pods.checksum + after.hosts.checksum - before.pods.checksum - before.hosts.checksum,
      applicationOverruns: after.pods.overruns - before.pods.overruns,
      daemonOverruns: after.hosts.overruns - before.hosts.overruns,
      collections: after.collections - before.collections,
      deoptimisations: after.deoptimisations - before.deoptimisations,
    };
  };
}

async function read(lab: Lab, built: Built, route: Route): Promise<Counts> {
  const traced = built.sockets ? built.daemons : [];
  return {
    drops: await dropsOf(built.sockets ?? []),
    pods: await snmp(lab, [route.client, route.server]),
    hosts: await snmp(lab, route.hosts),
    collections: sum(traced.map((daemon) => countCollections(textOf(daemon.log)))),
    deoptimisations: sum(traced.map((daemon) => countDeoptimisations(traceOf(daemon)))),
  };
}

async function dropsOf(sockets: readonly string[]): Promise<Record<string, number>> {
  const totals: Record<string, number> = {};
  for (const socket of sockets) {
    const { items } = await call<{ items: { reason: string; count: number }[] }>(
      { socket, timeout: 10_000 },
      'GET',
      '/v1/drops',
    );
    for (const { reason, count } of items) totals[reason] = (totals[reason] ?? 0) + count;
  }
  return totals;
}

interface Snmp {
  readonly checksum: number;
  readonly overruns: number;
}

async function snmp(lab: Lab, namespaces: readonly string[]): Promise<Snmp> {
  const each = await Promise.all(namespaces.map((one) => lab.must(one, ['cat', '/proc/net/snmp'])));
  const all = each.map(parseSnmp);
  return { checksum: sum(all.map((one) => one.checksum)), overruns: sum(all.map((one) => one.overruns)) };
}

/** /proc/net/snmp: a line of names and a line of figures per protocol. */
export function parseSnmp(text: string): Snmp {
  const lines = text.trim().split('\n');
  let checksum = 0;
  let overruns = 0;
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const names = lines[i]!.split(' ');
    const figures = lines[i + 1]!.split(' ');
    const of = (name: string): number => Number(figures[names.indexOf(name)] ?? 0);
    checksum += of('InCsumErrors');
    if (names[0] === 'Udp:') overruns += of('RcvbufErrors');
  }
  return { checksum, overruns };
}

/**
 * Collections in the packet thread. A line begins "[PID:ISOLATE]"; the main thread's isolate lies on the heap that
 * grows from the program, a thread's far above it in an arena of its own.
 */
export function countCollections(log: string): number {
  const lines = log.matchAll(/^\[\d+:(0x[0-9a-f]+)\]\s+\d+ ms: (?:Scavenge|Mark-Compact|Mark-sweep)/gm);
  return [...lines].filter(([, isolate]) => BigInt(isolate!) >= 0x7000_0000_0000n).length;
}

export function countDeoptimisations(trace: string): number {
  return [...trace.matchAll(/^\[bailout \(kind: deopt-/gm)].length;
}

/** The engine's trace of the daemon's second isolate, the packet thread; empty while nothing was traced. */
const traceOf = (daemon: Background): string =>
  textOf(join(dirname(daemon.log), `code-${daemon.record.pid}-1.asm`));

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
