/**
 * Owns the kernel's side of the running generation: TAP descriptors, underlay sockets, the host's side. Carries out a plan
 * as one step: it succeeds, or everything it did is undone in reverse order and an error is thrown.
 *
 * Order: preparation (open, create, host) → worker (devices, ops) → clean-up (close). A device that takes the place
 * of a running one — same interface, same UDP socket, same id — cannot exist beside it: the old one is let go
 * first and made again if the rest fails.
 *
 * A device that vanished is `gone`: nothing is open for it, the rest of the generation runs on. A namespace is
 * also lost when its path is removed or names another one: the kernel keeps a deleted namespace, and the device
 * in it, while anything holds it — a process, or our own descriptor. So its identity is remembered.
 */
import { statSync } from 'node:fs';
import type { Native, Underlay } from '../card/native.ts';
import type { HostPlan } from '../control/host-plan.ts';
import type { Plan, PortPlan, UnderlayPlan } from '../control/types.ts';
import type { Op } from '../dataplane/config.ts';
import type { DeviceChanges, ServiceBatch } from '../dataplane/messages.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import { DeviceFailure } from './failures.ts';
import type { HostSide, IndexOf } from './host-side.ts';

export type Kernel = Pick<Native, 'createTap' | 'setMtu' | 'openUnderlay' | 'close' | 'routeTo'>;

interface OpenTap {
  readonly plan: PortPlan;
  readonly fd: number;
  /** Of the link. */
  readonly index: number;
  /** Of the namespace it was made in; null for the daemon's own. */
  readonly identity: string | null;
}

interface OpenUnderlay {
  readonly plan: UnderlayPlan;
  readonly sockets: Underlay;
}

type Undo = () => void | Promise<void>;

export class Executor {
  readonly #kernel: Kernel;
  readonly #dataplane: Dataplane;
  readonly #host: HostSide;
  /** By card device. */
  readonly #taps = new Map<number, OpenTap>();
  readonly #underlays = new Map<number, OpenUnderlay>();
  /** Called for a port that was taken down for its successor and could not be made again. */
  readonly #onLost: (port: PortPlan, error: unknown) => void;

  constructor(
    kernel: Kernel,
    dataplane: Dataplane,
    host: HostSide,
    onLost: (port: PortPlan, error: unknown) => void,
  ) {
    this.#kernel = kernel;
    this.#dataplane = dataplane;
    this.#host = host;
    this.#onLost = onLost;
  }

  /** Open ports whose path no longer leads to the namespace they are in. */
  stranded(): PortPlan[] {
    const open = [...this.#taps.values()];
    return open.filter(({ plan, identity }) => identity !== identityOf(plan)).map(({ plan }) => plan);
  }

  isOpen(port: PortPlan): boolean {
    return this.#taps.has(port.config.device);
  }

  /**
   * @param commit called once, when nothing can be refused any more: services alone never are, and what it has to do
   * is done while the worker takes them
   * @param host absent: it stays as it is
   * @throws DeviceFailure, HostFailure, or the worker's refusal; in all cases nothing has changed.
   */
  async run(
    plan: Plan,
    ops: readonly Op[],
    services: ServiceBatch,
    commit: () => void,
    host?: HostPlan,
  ): Promise<void> {
    let isSure = false;
    const undo: Undo[] = [];
    const taps: OpenTap[] = [];
    const underlays: OpenUnderlay[] = [];
    try {
      const early = displaced(plan);
      await this.#letGo(early, undo);
      for (const underlay of plan.openUnderlays) {
        const sockets = this.#open(underlay);
        underlays.push({ plan: underlay, sockets });
        undo.push(() => this.#closeSockets(sockets));
      }
      for (const port of plan.createPorts) {
        const tap = this.#create(port);
        taps.push(tap);
        undo.push(() => this.#kernel.close(tap.fd));
      }
      for (const port of plan.setMtu) this.#changeMtu(port, undo);
      if (host) this.#changeHost(host, taps, undo);
      const added = additions(taps, underlays);
      const remove = [
        ...plan.removePorts.map((port) => port.config.device),
        ...plan.closeUnderlays.map((u) => u.device),
      ].filter((device) => this.#taps.has(device) || this.#underlays.has(device));
      undo.push(() => this.#forget([...added.addTaps, ...added.addUnderlays].map((a) => a.device)));
      const applied = this.#dataplane.apply({ ...added, remove }, ops, services);
      isSure = [ops, taps, underlays, remove].every(({ length }) => length === 0);
      if (isSure) commit();
      await applied;
    } catch (error) {
      for (const step of undo.reverse()) {
        try {
          await step();
        } catch {
          // The other steps must be taken all the same; what is told is why the plan failed.
        }
      }
      throw error;
    }
    if (!isSure) commit();
    for (const port of plan.removePorts) this.#closeTap(port.config.device);
    for (const underlay of plan.closeUnderlays) this.#closeUnderlay(underlay.device);
    for (const tap of taps) this.#taps.set(tap.plan.config.device, tap);
    for (const underlay of underlays) this.#underlays.set(underlay.plan.device, underlay);
    for (const port of plan.setMtu) {
      const open = this.#taps.get(port.config.device);
      if (open) this.#taps.set(port.config.device, { ...open, plan: port });
    }
  }

  /** Lets go of a device that vanished from under its port. */
  async drop(port: PortPlan): Promise<void> {
    const { device } = port.config;
    if (!this.#taps.has(device)) return;
    await this.#dataplane.apply({ ...NO_ADDITIONS, remove: [device] }, []);
    this.#closeTap(device);
  }

  /**
   * The same on the card's word, which may be old: it was about the device this port had then. The worker
   * knows what it has now, and refuses to let go of one that works.
   * @returns whether it was let go
   */
  async dropIfGone(port: PortPlan): Promise<boolean> {
    const { device } = port.config;
    if (!this.#taps.has(device)) return false;
    try {
      await this.#dataplane.apply({ ...NO_ADDITIONS, remove: [], removeIfGone: [device] }, []);
    } catch {
      return false;
    }
    this.#closeTap(device);
    return true;
  }

  /** Makes a dropped port again. @throws DeviceFailure; it stays dropped */
  async revive(port: PortPlan): Promise<void> {
    const tap = this.#create(port);
    try {
      const ops: Op[] = [{ op: 'port', port: port.config }];
      await this.#dataplane.apply({ ...additions([tap], []), remove: [] }, ops);
    } catch (error) {
      this.#kernel.close(tap.fd);
      throw error;
    }
    this.#taps.set(port.config.device, tap);
    this.#host.relink(this.#indexOf);
  }

  /** Opens again what `#restore` could not. @throws DeviceFailure */
  async reviveUnderlay(underlay: UnderlayPlan): Promise<void> {
    if (this.#underlays.has(underlay.device)) return;
    const sockets = this.#open(underlay);
    try {
      await this.#dataplane.apply({ ...additions([], [{ plan: underlay, sockets }]), remove: [] }, []);
    } catch (error) {
      this.#closeSockets(sockets);
      throw error;
    }
    this.#underlays.set(underlay.device, { plan: underlay, sockets });
  }

  /** Closes everything. The worker must have ended. */
  close(): void {
    this.#host.close();
    for (const device of [...this.#taps.keys()]) this.#closeTap(device);
    for (const device of [...this.#underlays.keys()]) this.#closeUnderlay(device);
  }

  async #letGo(early: Displaced, undo: Undo[]): Promise<void> {
    const taps = early.ports.flatMap((port) => this.#taps.get(port.config.device) ?? []);
    const underlays = early.underlays.flatMap((underlay) => this.#underlays.get(underlay.device) ?? []);
    const devices = [...taps.map((t) => t.plan.config.device), ...underlays.map((u) => u.plan.device)];
    if (devices.length === 0) return;
    await this.#dataplane.apply({ ...NO_ADDITIONS, remove: devices }, []);
    for (const device of devices) {
      this.#closeTap(device);
      this.#closeUnderlay(device);
    }
    undo.push(() => this.#restore(taps, underlays));
  }

  /** The way back from `#letGo`, as far as the kernel allows. */
  async #restore(taps: readonly OpenTap[], underlays: readonly OpenUnderlay[]): Promise<void> {
    for (const { plan } of underlays) {
      try {
        this.#underlays.set(plan.device, { plan, sockets: this.#open(plan) });
      } catch {
        // Somebody took the port in these milliseconds: the next apply opens it (`reviveUnderlay`) or says why not.
      }
    }
    for (const { plan } of taps) {
      try {
        this.#taps.set(plan.config.device, this.#create(plan));
      } catch (error) {
        this.#onLost(plan, error);
      }
    }
    this.#host.relink(this.#indexOf);
    const back = additions(
      taps.flatMap(({ plan }) => this.#taps.get(plan.config.device) ?? []),
      underlays.flatMap(({ plan }) => this.#underlays.get(plan.device) ?? []),
    );
    const ops = taps
      .filter(({ plan }) => this.isOpen(plan))
      .map(({ plan }): Op => ({ op: 'port', port: plan.config }));
    await this.#dataplane.apply({ ...back, remove: [] }, ops).catch(() => {});
  }

  /** After a refused transaction the worker may hold some of the new devices; closing them needs their release. */
  async #forget(devices: readonly number[]): Promise<void> {
    // One by one: it may not know the next one either.
    for (const device of devices) {
      await this.#dataplane.apply({ ...NO_ADDITIONS, remove: [device] }, []).catch(() => {});
    }
  }

  #changeMtu(port: PortPlan, undo: Undo[]): void {
    const open = this.#taps.get(port.config.device);
    if (!open) return;
    const { netns, name } = port.tap;
    try {
      this.#kernel.setMtu(netns, name, port.tap.mtu);
    } catch (error) {
      // The namespace went away meanwhile: the card reports the port gone by itself.
      if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return;
      throw new DeviceFailure({ port }, error);
    }
    undo.push(() => {
      try {
        this.#kernel.setMtu(netns, name, open.plan.tap.mtu);
      } catch {
        // As above.
      }
    });
  }

  /** New links are not among the running ones yet. */
  #changeHost(next: HostPlan, created: readonly OpenTap[], undo: Undo[]): void {
    const before = this.#host.plan;
    const isOf = (name: string) => (tap: OpenTap) => tap.plan.config.name === name;
    this.#host.apply(next, (name) => created.find(isOf(name))?.index ?? this.#indexOf(name));
    undo.push(() => this.#host.apply(before, this.#indexOf));
  }

  readonly #indexOf: IndexOf = (name) =>
    [...this.#taps.values()].find(({ plan }) => plan.config.name === name)?.index;

  #create(port: PortPlan): OpenTap {
    try {
      const { fd, index } = this.#kernel.createTap(port.tap);
      return { plan: port, fd, index, identity: identityOf(port) };
    } catch (error) {
      throw new DeviceFailure({ port }, error);
    }
  }

  #open(underlay: UnderlayPlan): Underlay {
    try {
      return this.#kernel.openUnderlay(underlay.options);
    } catch (error) {
      throw new DeviceFailure({ underlay }, error);
    }
  }

  #closeTap(device: number): void {
    const open = this.#taps.get(device);
    if (!open) return;
    this.#taps.delete(device);
    this.#kernel.close(open.fd);
  }

  #closeUnderlay(device: number): void {
    const open = this.#underlays.get(device);
    if (!open) return;
    this.#underlays.delete(device);
    this.#closeSockets(open.sockets);
  }

  #closeSockets(sockets: Underlay): void {
    for (const fd of [sockets.rx, ...sockets.tx]) this.#kernel.close(fd);
  }
}

/** Device and inode of the namespace behind a port's path; "" when there is none. */
function identityOf({ tap: { netns } }: PortPlan): string | null {
  if (netns === null) return null;
  try {
    const { dev, ino } = statSync(netns);
    return `${dev}:${ino}`;
  } catch {
    return '';
  }
}

const NO_ADDITIONS = { addTaps: [], addUnderlays: [] } as const;

function additions(
  taps: readonly OpenTap[],
  underlays: readonly OpenUnderlay[],
): Pick<DeviceChanges, 'addTaps' | 'addUnderlays'> {
  return {
    addTaps: taps.map(({ plan, fd }) => ({ device: plan.config.device, fd })),
    addUnderlays: underlays.map(({ plan, sockets }) => ({ device: plan.device, ...sockets })),
  };
}

interface Displaced {
  readonly ports: readonly PortPlan[];
  readonly underlays: readonly UnderlayPlan[];
}

/** Running devices whose place a new one needs. */
function displaced(plan: Plan): Displaced {
  const ids = new Set([
    ...plan.createPorts.map((p) => p.config.device),
    ...plan.openUnderlays.map((u) => u.device),
  ]);
  const interfaces = new Set(plan.createPorts.map(interfaceKey));
  const sockets = new Set(plan.openUnderlays.map(socketKey));
  return {
    ports: plan.removePorts.filter((p) => ids.has(p.config.device) || interfaces.has(interfaceKey(p))),
    underlays: plan.closeUnderlays.filter((u) => ids.has(u.device) || sockets.has(socketKey(u))),
  };
}

const interfaceKey = (port: PortPlan): string => `${port.tap.netns ?? ''}\0${port.tap.name}`;
const socketKey = (underlay: UnderlayPlan): string => `${underlay.options.address}\0${underlay.options.port}`;
