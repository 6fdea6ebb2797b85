/**
 * Owner of the running set. Every change is one transaction, one at a time:
 * merge → check → compile → diff → execute → swap. Until the swap nothing of the running set has changed, and
 * a failure anywhere before it leaves everything as it was (M4).
 *
 * A port whose device vanished is gone: the rest of the set runs on, and every later transaction tries to
 * bring it back. That it cannot be brought back yet is a warning, so that one deleted namespace does not
 * forbid all changes; a port that is *new* and cannot be made is an error.
 */
import type { Logger } from 'pino';
import { checkSet } from '../control/check.ts';
import { compile } from '../control/compile.ts';
import { changesOf, diff } from '../control/diff.ts';
import { mtuWarnings } from '../control/mtu.ts';
import { parseSources } from '../control/parse.ts';
import { formatProblem } from '../control/problem.ts';
import type { ApplyResponse } from '../control/protocol.ts';
import type {
  Change,
  Facts,
  Generation,
  Kind,
  PortPlan,
  Problem,
  Resource,
  Source,
} from '../control/types.ts';
import type { Op, PeerConfig } from '../dataplane/config.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import { Executor, type Kernel } from './executor.ts';
import { DeviceFailure, explain, preflight } from './failures.ts';
import { keyOf, type OwnedSet, withApplied, withFiles, without } from './owned.ts';

/** Refused; nothing has changed. */
export class Rejected extends Error {
  override readonly name = 'Rejected';
  /** One line each. */
  readonly errors: readonly string[];
  /** HTTP status. */
  readonly status: number;

  constructor(errors: readonly string[], status = 422) {
    super(errors.join('\n'));
    this.errors = errors;
    this.status = status;
  }
}

export interface ManagerOptions {
  readonly kernel: Kernel;
  readonly dataplane: Dataplane;
  readonly log: Logger;
  /** After every swap. */
  readonly onChange?: () => void;
}

export class Manager {
  readonly #options: ManagerOptions;
  readonly #executor: Executor;
  readonly #facts: Facts;
  /** Peer location → largest inner packet its path takes (V17). */
  readonly #paths = new Map<number, number>();
  #set: OwnedSet = new Map();
  #generation: Generation | null = null;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ManagerOptions) {
    this.#options = options;
    const { kernel, dataplane, log } = options;
    this.#executor = new Executor(kernel, dataplane, (port, error) =>
      log.error({ port: port.config.name, err: error }, 'port lost: it could not be made again'),
    );
    this.#facts = { mtuTowards: (address) => kernel.routeTo(address).mtu };
  }

  get resources(): readonly Resource[] {
    return [...this.#set.values()].map((owned) => owned.resource);
  }

  /** null before the first transaction. */
  get generation(): Generation | null {
    return this.#generation;
  }

  isGone(port: PortPlan): boolean {
    return !this.#executor.isOpen(port);
  }

  find(kind: Kind, namespace: string, name: string): Resource | undefined {
    return this.#set.get(keyOf({ kind, namespace, name }))?.resource;
  }

  /** Resources over the socket. @throws Rejected */
  apply(sources: readonly Source[], dryRun = false): Promise<ApplyResponse> {
    return this.#enqueue(() => {
      const { resources, warnings } = parse(sources);
      return this.#transact(withApplied(this.#set, resources), resources, warnings, dryRun);
    });
  }

  /** The texts of the command line's files, the first time or again. @throws Rejected */
  load(sources: readonly Source[]): Promise<ApplyResponse> {
    return this.#enqueue(() => {
      const { resources, warnings } = parse(sources);
      return this.#transact(withFiles(this.#set, resources), resources, warnings);
    });
  }

  /** @throws Rejected: 404 when there is none, 422 when others need it */
  remove(kind: Kind, namespace: string, name: string): Promise<ApplyResponse> {
    return this.#enqueue(() => {
      const key = keyOf({ kind, namespace, name });
      if (!this.#set.has(key)) {
        throw new Rejected([`no ${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`], 404);
      }
      if (kind === 'Network') {
        const needed = this.resources.flatMap((resource) => neededBy(name, resource));
        if (needed.length > 0) throw new Rejected(needed);
      }
      return this.#transact(without(this.#set, key), [], []);
    });
  }

  /** The device of a port vanished: only that port goes down. */
  portGone(location: number): Promise<void> {
    return this.#enqueue(async () => {
      const port = this.#generation?.ports.find((p) => p.config.id === location);
      if (port && (await this.#executor.dropIfGone(port))) this.#warnGone(port);
    });
  }

  /** Looks for namespaces that were deleted, or replaced by another of the same name. */
  sweep(): Promise<void> {
    return this.#enqueue(() => this.#dropStranded());
  }

  /** @param inner largest inner packet the path takes; 0 = no limit known */
  limitPath(peer: string, inner: number): Promise<void> {
    return this.#enqueue(async () => {
      const config = this.#generation?.peers.find((p) => p.name === peer);
      if (!config || (this.#paths.get(config.id) ?? 0) === inner) return;
      if (inner === 0) this.#paths.delete(config.id);
      else this.#paths.set(config.id, inner);
      await this.#options.dataplane.apply(NO_DEVICES, [{ op: 'peer', peer: this.#limited(config) }]);
    });
  }

  /** Waits for what is under way, then closes every device. The worker must have ended. */
  async close(): Promise<void> {
    await this.#queue.catch(() => {});
    this.#executor.close();
  }

  /** Closes every device now, whatever is under way: for a dead worker. */
  closeNow(): void {
    this.#executor.close();
  }

  async #dropStranded(): Promise<void> {
    for (const port of this.#executor.stranded()) await this.#drop(port);
  }

  async #drop(port: PortPlan): Promise<void> {
    await this.#executor.drop(port);
    this.#warnGone(port);
  }

  #warnGone(port: PortPlan): void {
    const { name } = port.config;
    const { netns } = port.tap;
    this.#options.log.warn({ port: name, netns }, 'port gone: its namespace or device vanished');
  }

  #enqueue<T>(work: () => Promise<T> | T): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  /** @param incoming what was just read, with any duplicates: a set no longer shows them (P35) */
  async #transact(
    next: OwnedSet,
    incoming: readonly Resource[],
    warnings: readonly Problem[],
    dryRun = false,
  ): Promise<ApplyResponse> {
    const keys = new Set(incoming.map(keyOf));
    const others = [...next.values()]
      .map((owned) => owned.resource)
      .filter((resource) => !keys.has(keyOf(resource)));
    const resources = [...others, ...incoming];
    const checked = checkSet(resources);
    refuse(checked.problems);
    const generation = compile(resources, this.#facts, this.#generation);
    const plan = diff(this.#generation, generation);
    // The whole set was judged; the answer is about what was asked for and what follows from it.
    const changes = changesOf(this.resources, resources).filter(
      (change) => change.action !== 'unchanged' || keys.has(keyOf(change)),
    );
    const found = [...warnings, ...checked.warnings, ...mtuWarnings(resources, this.#facts)];
    const lines = found.map(formatProblem);
    if (!dryRun) await this.#dropStranded();
    refuse(preflight(plan.createPorts, resources));
    if (dryRun) return { changes, warnings: lines };
    try {
      await this.#executor.run(
        plan,
        plan.ops.map((op) => this.#withPath(op)),
      );
    } catch (error) {
      throw error instanceof DeviceFailure
        ? new Rejected([formatProblem(await explain(error, resources))])
        : error;
    }
    this.#set = next;
    this.#generation = generation;
    const peers = new Set(generation.peers.map((peer) => peer.id));
    for (const id of this.#paths.keys()) if (!peers.has(id)) this.#paths.delete(id);
    lines.push(...(await this.#revive(generation, resources)));
    this.#options.onChange?.();
    this.#report(changes);
    return { changes, warnings: lines };
  }

  #report(changes: readonly Change[]): void {
    const counts: Partial<Record<Change['action'], number>> = {};
    for (const { action } of changes) counts[action] = (counts[action] ?? 0) + 1;
    this.#options.log.info(counts, 'applied');
  }

  /** @returns why some devices are still gone, one line each. */
  async #revive(generation: Generation, resources: readonly Resource[]): Promise<string[]> {
    const gone = generation.ports.filter((port) => this.isGone(port));
    const lines: string[] = [];
    const tries = generation.underlays.map((underlay) => () => this.#executor.reviveUnderlay(underlay));
    for (const port of gone) {
      const absent = preflight([port], resources);
      lines.push(...absent.map(formatProblem));
      if (absent.length > 0) continue;
      tries.push(async () => {
        await this.#executor.revive(port);
        this.#options.log.info({ port: port.config.name }, 'port is back');
      });
    }
    for (const attempt of tries) {
      try {
        await attempt();
      } catch (error) {
        const known = error instanceof DeviceFailure;
        lines.push(known ? formatProblem(await explain(error, resources)) : String(error));
      }
    }
    return lines;
  }

  #withPath(op: Op): Op {
    return op.op === 'peer' ? { op: 'peer', peer: this.#limited(op.peer) } : op;
  }

  #limited(peer: PeerConfig): PeerConfig {
    const inner = this.#paths.get(peer.id);
    return inner === undefined ? peer : { ...peer, pathMtu: inner };
  }
}

const NO_DEVICES = { addTaps: [], addUnderlays: [], remove: [] } as const;

/** What to do about a resource that keeps a network from being deleted. */
function neededBy(network: string, resource: Resource): string[] {
  const { kind, name } = resource;
  const needs =
    (kind === 'Port' && resource.spec.network === network) ||
    (kind === 'Peer' &&
      (resource.spec.networks?.includes(network) === true ||
        resource.spec.static.some((entry) => entry.network === network)));
  if (!needs) return [];
  const other = `${kind.toLowerCase()} ${name}`;
  return [`network ${network} is needed by ${other}; first: twill delete ${other}`];
}

function parse(sources: readonly Source[]): { resources: readonly Resource[]; warnings: readonly Problem[] } {
  const parsed = parseSources(sources);
  refuse(parsed.problems);
  return parsed;
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new Rejected(problems.map(formatProblem));
}
