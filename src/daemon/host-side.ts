/**
 * The host's side of its ports: one nftables table, forwarding, routes to services. Level-triggered: `apply` makes the
 * kernel what a plan says, whatever it was.
 *
 *   table     takes the place of its predecessor in one transaction; its comment says which sysctls were changed and
 *             from what, so that the successor of a daemon that died puts them back
 *   sysctls   set only where they were 0, put back when no host port needs them
 *   routes    see host-routes.ts
 *   links     take no router advertisement and no redirect: stations of a network do not tell the host its routes
 */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { type HostPlan, type HostPortPlan, NO_HOST_PORTS } from '../control/host-plan.ts';
import { HostRoutes, type Lead } from './host-routes.ts';
import type { HostSystem } from './host-system.ts';
import { type NodePortSet, natTable, noTable } from './nat-table.ts';

/** The host's kernel refused; nothing has changed. */
export class HostFailure extends Error {
  override readonly name = 'HostFailure';
  /** Name of a Port that needs what was refused. */
  readonly port: string;

  constructor(port: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.port = port;
  }
}

/** What of the services the host must know. */
export interface ServiceChange {
  /** Virtual addresses that came and went. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** All node ports, when they changed. */
  readonly nodePorts?: NodePortSet;
}

/** Index of the link of a Port, undefined while there is none. */
export type IndexOf = (port: string) => number | undefined;

const FORWARDING = [
  { sysctl: 'net.ipv4.ip_forward', isOurs: (text: string) => !text.includes(':') },
  { sysctl: 'net.ipv6.conf.all.forwarding', isOurs: (text: string) => text.includes(':') },
];

const TRUSTING = ['accept_ra', 'accept_redirects'];

export class HostSide {
  readonly #system: HostSystem;
  readonly #table: string;
  readonly #routes: HostRoutes;
  #plan: HostPlan = NO_HOST_PORTS;
  #nodePorts: NodePortSet = { tcp: [], udp: [] };
  /** Sysctls that were changed, and from what. */
  readonly #before = new Map<string, string>();
  #tableProblem: string | null = null;
  #linkProblems: readonly string[] = [];

  /** @param socket path of the control socket: daemons in one namespace differ by it */
  constructor(system: HostSystem, socket: string) {
    this.#system = system;
    this.#table = `twill-${createHash('sha256').update(resolve(socket)).digest('hex').slice(0, 8)}`;
    this.#routes = new HostRoutes((add, route) => system.changeRoute(add, route));
  }

  get plan(): HostPlan {
    return this.#plan;
  }

  /** What is not as it should be, one line each. */
  get problems(): string[] {
    const table = this.#tableProblem === null ? [] : [this.#tableProblem];
    return [...this.#routes.problems, ...table, ...this.#linkProblems];
  }

  get routes(): number {
    return this.#routes.count;
  }

  /** Takes away what a daemon that died here has left. */
  recover(): void {
    const left = this.#system.table(this.#table);
    if (left === null) return;
    const note = /comment "([^"]*)"/.exec(left)?.[1] ?? '';
    for (const [, name = '', value = ''] of note.matchAll(/(net[\w.]+) was (\d)/g))
      this.#before.set(name, value);
    this.#release();
  }

  /** All or nothing. @throws HostFailure */
  apply(plan: HostPlan, indexOf: IndexOf): void {
    if (plan.ports.length === 0) {
      if (this.#plan.ports.length > 0) this.#release();
    } else {
      this.#enforce(plan);
    }
    this.#plan = plan;
    this.relink(indexOf);
  }

  /** After a link was made again: what went with its predecessor. */
  relink(indexOf: IndexOf): void {
    const { ports, serviceCIDRs } = this.#plan;
    this.#linkProblems = ports
      .filter(({ name }) => indexOf(name) !== undefined)
      .flatMap((port) => this.#guard(port));
    this.#routes.lead(ports.length === 0 ? [] : leads(ports[0]!, indexOf), serviceCIDRs);
  }

  /** Services have changed. What the kernel refuses is among the `problems`. */
  serve(change: ServiceChange): void {
    this.#routes.change(change.added, change.removed);
    if (!change.nodePorts) return;
    this.#nodePorts = change.nodePorts;
    if (this.#plan.ports.length === 0) return;
    try {
      this.#load(this.#plan);
      this.#tableProblem = null;
    } catch (error) {
      this.#tableProblem = `node ports are not delivered as they should be: ${(error as Error).message}`;
    }
  }

  /** Takes away everything. */
  close(): void {
    this.apply(NO_HOST_PORTS, () => undefined);
  }

  #enforce(plan: HostPlan): void {
    const running = this.#plan;
    try {
      this.#switchTo(plan);
    } catch (error) {
      try {
        if (running.ports.length > 0) this.#switchTo(running);
        else this.#release();
      } catch {
        // What is told is why the plan failed.
      }
      throw new HostFailure(plan.ports[0]!.name, error);
    }
    this.#tableProblem = null;
  }

  /** A sysctl is changed after the table says so, and put back before it says no more. */
  #switchTo(plan: HostPlan): void {
    const needed = FORWARDING.filter(({ isOurs }) => needsForwarding(plan, isOurs)).map(
      ({ sysctl }) => sysctl,
    );
    for (const name of [...this.#before.keys()].filter((name) => !needed.includes(name))) {
      this.#putBack(name);
      this.#before.delete(name);
    }
    for (const name of needed) {
      if (!this.#before.has(name) && this.#system.sysctl(name) === '0') this.#before.set(name, '0');
    }
    this.#load(plan);
    for (const name of this.#before.keys()) this.#system.setSysctl(name, '1');
  }

  /** @returns what could not be turned off */
  #guard({ interface: link }: HostPortPlan): string[] {
    return TRUSTING.flatMap((what) => {
      const name = `net/ipv6/conf/${link}/${what}`;
      try {
        if (this.#system.sysctl(name) !== '0') this.#system.setSysctl(name, '0');
        return [];
      } catch (error) {
        // Without IPv6 there is nothing to turn off.
        return (error as NodeJS.ErrnoException).code === 'ENOENT' ? [] : [(error as Error).message];
      }
    });
  }

  #load(plan: HostPlan): void {
    const note = ['twill', ...[...this.#before].map(([name, value]) => `${name} was ${value}`)].join('; ');
    this.#system.nft(natTable(this.#table, note, plan, this.#nodePorts));
  }

  /** As far as the kernel allows: this is for the end, which must come. */
  #release(): void {
    for (const name of this.#before.keys()) this.#putBack(name);
    this.#before.clear();
    this.#tableProblem = null;
    try {
      this.#system.nft(noTable(this.#table));
    } catch {
      // Without nft there is no table.
    }
  }

  #putBack(name: string): void {
    try {
      this.#system.setSysctl(name, this.#before.get(name)!);
    } catch {
      // It could not be set either.
    }
  }
}

/** An internal network needs the host, and nobody behind it. */
function needsForwarding(plan: HostPlan, isOurs: (text: string) => boolean): boolean {
  return plan.ports.some((port) => !port.internal && port.ways.some(({ address }) => isOurs(address)));
}

function leads(port: HostPortPlan, indexOf: IndexOf): Lead[] {
  const index = indexOf(port.name);
  return index === undefined ? [] : port.ways.map((way) => ({ index, ...way }));
}
