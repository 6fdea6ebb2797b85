/**
 * Owner of the running set. Every change is one transaction, one at a time:
 * merge → check → compile → diff → execute → swap. Until the swap nothing of the running set has changed, and
 * a failure anywhere before it leaves everything as it was (M4).
 *
 * A port whose device vanished is gone: the rest of the set runs on, and every later transaction tries to
 * bring it back. That it cannot be brought back yet is a warning, so that one deleted namespace does not
 * forbid all changes; a port that is *new* and cannot be made is an error.
 */
import { networkInterfaces } from 'node:os';
import type { Logger } from 'pino';
import { ownAddressWarnings } from '../control/check/services.ts';
import { checkFabric, withoutDuplicates } from '../control/check.ts';
import { compile } from '../control/compile.ts';
import { actionOf, diff } from '../control/diff.ts';
import { hostPlan } from '../control/host-plan.ts';
import { mtuWarnings } from '../control/mtu.ts';
import { ResourceMap } from '../control/named.ts';
import { parseSources } from '../control/parse.ts';
import { formatProblem, inOrder } from '../control/problem.ts';
import type { ApplyResponse } from '../control/protocol.ts';
import { ServiceBook } from '../control/services.ts';
import { nodeAddresses, ownNode, type Surroundings, surroundingsOf } from '../control/surroundings.ts';
import type {
  Change,
  Facts,
  Generation,
  Kind,
  NodeSpec,
  Parsed,
  Plan,
  PortPlan,
  Problem,
  Resource,
  ResourceOf,
  Source,
} from '../control/types.ts';
import type { ServiceBatch } from '../dataplane/messages.ts';
import { formatWords } from '../wire/address.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import type { Kernel } from './devices.ts';
import { Executor } from './executor.ts';
import { Faces } from './faces.ts';
import { DeviceFailure, explain, explainHost, preflight } from './failures.ts';
import type { Observer } from './health/progress.ts';
import { HostFailure, type HostSide, type ServiceChange } from './host-side.ts';
import { isOfFabric, type OwnedChange, OwnedSet } from './owned.ts';
import { PathLimits } from './path-limits.ts';
import { Rejected, refuse } from './rejected.ts';
import { neededBy } from './removal.ts';
import { reviveGone } from './revival.ts';

export interface ManagerOptions {
  readonly kernel: Kernel;
  readonly dataplane: Dataplane;
  readonly host: HostSide;
  readonly log: Logger;
  /** After every swap of more than services. */
  readonly onChange?: () => void;
  readonly observer?: Observer;
}

export class Manager {
  readonly #options: ManagerOptions;
  readonly #executor: Executor;
  readonly #facts: Facts;
  readonly #paths = new PathLimits();
  readonly #set = new OwnedSet();
  readonly services = new ServiceBook();
  readonly #faces = new Faces();
  #generation: Generation | null = null;
  /** What the transaction under way has brought. */
  #changed: readonly Resource[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ManagerOptions) {
    this.#options = options;
    const { kernel, dataplane, host, log } = options;
    this.#executor = new Executor(kernel, dataplane, host, (port, error) =>
      log.error({ port: port.config.name, err: error }, 'port lost: it could not be made again'),
    );
    this.#facts = { mtuTowards: (address) => kernel.routeTo(address).mtu, hostAddresses };
  }

  get resources(): readonly Resource[] {
    return this.#set.all();
  }

  of<K extends Kind>(kind: K): readonly ResourceOf<K>[] {
    return this.#set.of(kind);
  }

  count(kind: Kind): number {
    return this.#set.count(kind);
  }

  get host(): HostSide {
    return this.#options.host;
  }

  /** The Node this daemon runs on, when it is known. */
  get ownNode(): NodeSpec | undefined {
    const host = this.of('Host')[0];
    return host && ownNode(host, this.of('Node'));
  }

  /** Where node ports answer (S19). */
  get nodeAddresses(): string[] {
    const host = this.of('Host')[0];
    return host ? nodeAddresses(host, this.of('Node'), this.#facts).map(formatWords) : [];
  }

  /** null before the first transaction. */
  get generation(): Generation | null {
    return this.#generation;
  }

  isGone(port: PortPlan): boolean {
    return !this.#executor.isOpen(port);
  }

  slicesOf(namespace: string, name: string): readonly ResourceOf<'EndpointSlice'>[] {
    return this.services.slicesOf(namespace, name);
  }

  get surroundings(): Surroundings {
    return this.services.surroundings;
  }

  find(kind: Kind, namespace: string, name: string): Resource | undefined {
    return this.#set.get(kind, namespace, name);
  }

  /** Resources over the socket. @throws Rejected */
  apply(sources: readonly Source[], dryRun = false): Promise<ApplyResponse> {
    return this.#observe(!dryRun, () => {
      const read = parse(sources);
      return this.#transact(this.#set.applied(read.single), read, dryRun);
    });
  }

  /** The texts of the command line's files, the first time or again. @throws Rejected */
  load(sources: readonly Source[], parsed?: Parsed): Promise<ApplyResponse> {
    return this.#observe(true, () => {
      const read = parse(sources, parsed);
      return this.#transact(this.#set.files(read.named), read);
    });
  }

  /** @throws Rejected: 404 when there is none, 422 when others need it */
  remove(kind: Kind, namespace: string, name: string): Promise<ApplyResponse> {
    return this.#observe(true, () => {
      const before = this.#set.get(kind, namespace, name);
      if (!before) {
        throw new Rejected([`no ${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`], 404);
      }
      const needed = neededBy(before, [...this.#set.of('Port'), ...this.#set.of('Peer')]);
      if (needed.length > 0) throw new Rejected(needed);
      return this.#transact(this.#set.removed(before), NOTHING_READ);
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
      if (!config || !this.#paths.set(config.id, inner)) return;
      await this.#options.dataplane.apply(NO_DEVICES, [this.#paths.limited({ op: 'peer', peer: config })]);
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

  /** Work that changes the set, and who is told of it. */
  #observe(isChange: boolean, work: () => Promise<ApplyResponse>): Promise<ApplyResponse> {
    const { observer } = this.#options;
    if (!isChange || !observer) return this.#enqueue(work);
    observer.queued();
    return this.#enqueue(async () => {
      const begun = performance.now();
      this.#changed = [];
      try {
        return await work();
      } finally {
        observer.finished((performance.now() - begun) / 1000, this.#changed);
      }
    });
  }

  #enqueue<T>(work: () => Promise<T> | T): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  /**
   * Services and the rest are judged and compiled apart: a change of services looks at no more than what it touches.
   * @param findings of the texts; among the problems are duplicates, which a set no longer shows (P35)
   */
  async #transact(
    change: OwnedChange,
    { sources, problems, warnings }: Findings,
    dryRun = false,
  ): Promise<ApplyResponse> {
    const { replacements } = change;
    const running = this.#generation;
    const isFabric = running === null || replacements.some(isOfFabric);
    const fabric = this.#set.fabricAfter(replacements);
    const judged = isFabric ? checkFabric(fabric) : SOUND;
    const staged = this.services.stage(replacements, surroundingsOf(fabric), isFabric);
    refuse(inOrder([...problems, ...judged.problems, ...staged.problems], sources));
    const generation = isFabric ? compile(fabric, this.#facts, running) : running;
    const plan = isFabric ? diff(running, generation) : NO_PLAN;
    const changes = replacements.map(({ before, after }): Change => {
      const { kind, namespace, name } = (after ?? before)!;
      return { kind, namespace, name, action: actionOf(before, after) };
    });
    const found = [...warnings, ...judged.warnings, ...staged.warnings];
    if (isFabric) found.push(...mtuWarnings(fabric, this.#facts));
    const changed = replacements.flatMap(({ after }) => after ?? []);
    found.push(...ownAddressWarnings(changed, this.#facts));
    const lines = inOrder(found, sources).map(formatProblem);
    const given = staged.given.length > 0 ? { given: staged.given } : {};
    if (!dryRun) await this.#dropStranded();
    refuse(preflight(plan.createPorts, fabric));
    if (dryRun) return { changes, warnings: lines, ...given, ...(await this.#preview(plan, staged.batch)) };
    const ops = plan.ops.map((op) => this.#paths.limited(op));
    const host = isFabric ? hostPlan(fabric, this.#facts) : undefined;
    let faces = null as ServiceChange | null;
    const commit = (): void => {
      change.commit();
      staged.commit();
      faces = this.#faces.commit(staged.filled);
    };
    try {
      await this.#executor.run(plan, ops, staged.batch, commit, host);
    } catch (error) {
      if (error instanceof HostFailure) refuse([explainHost(error, fabric)]);
      throw error instanceof DeviceFailure
        ? new Rejected([formatProblem(await explain(error, fabric))])
        : error;
    }
    this.#changed = replacements.flatMap(({ after }, i) =>
      after && changes[i]!.action !== 'unchanged' ? [after] : [],
    );
    this.#generation = generation;
    this.#paths.keep(generation.peers);
    lines.push(...(await reviveGone(this.#executor, generation, fabric, this.#options.log)));
    if (faces) this.#options.host.serve(faces);
    lines.push(...this.#options.host.problems);
    if (isFabric) this.#options.onChange?.();
    this.#report(changes);
    return { changes, warnings: lines, ...given };
  }

  /** What a plan would mean to living flows. */
  async #preview(plan: Plan, batch: ServiceBatch): Promise<Pick<ApplyResponse, 'flows' | 'fates'>> {
    const flows = await this.#options.dataplane.preview(batch, plan.ops);
    const fates = { kept: 0, drained: 0, reset: 0, removed: 0 };
    for (const { fate } of flows) fates[fate]++;
    return { flows, fates };
  }

  #report(changes: readonly Change[]): void {
    const counts: Partial<Record<Change['action'], number>> = {};
    for (const { action } of changes) counts[action] = (counts[action] ?? 0) + 1;
    this.#options.log.info(counts, 'applied');
  }
}

/** Of this host's interfaces that are up. */
const hostAddresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address));

const SOUND = { problems: [], warnings: [] } as const;
const NO_PLAN: Plan = {
  openUnderlays: [],
  closeUnderlays: [],
  createPorts: [],
  removePorts: [],
  setMtu: [],
  ops: [],
};
const NO_DEVICES = { addTaps: [], addUnderlays: [], remove: [] } as const;

interface Findings {
  readonly sources: readonly Source[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

const NOTHING_READ: Findings = { sources: [], problems: [], warnings: [] };

interface Read extends Findings {
  readonly single: readonly Resource[];
  /** The same, by name. */
  readonly named: ResourceMap;
}

function parse(sources: readonly Source[], parsed = parseSources(sources)): Read {
  refuse(parsed.problems);
  const problems: Problem[] = [];
  const named = new ResourceMap();
  const single = withoutDuplicates(parsed.resources, problems, named);
  return { sources, single, named, problems, warnings: parsed.warnings };
}
