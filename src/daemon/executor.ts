/**
 * Owns the kernel's side of the running generation: its devices and the host's side. Carries out a plan as one step: it succeeds, or everything it did is undone in reverse order and an error is thrown.
 *
 * Order: preparation (open, create, host) → worker (devices, ops) → clean-up (close). A device that takes the place
 * of a running one — same interface, same UDP socket, same id — cannot exist beside it: the old one is let go
 * first and made again if the rest fails.
 *
 * A device that vanished is `gone`: nothing is open for it, the rest of the generation runs on.
 */
import type { HostPlan } from '../control/host-plan.ts';
import type { Plan, PortPlan, UnderlayPlan } from '../control/types.ts';
import type { Op } from '../dataplane/config.ts';
import type { ServiceBatch } from '../dataplane/messages.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import { additions, Devices, type Kernel, type OpenTap, type OpenUnderlay } from './devices.ts';
import type { HostSide, IndexOf } from './host-side.ts';

type Undo = () => void | Promise<void>;

export class Executor {
  readonly #devices: Devices;
  readonly #dataplane: Dataplane;
  readonly #host: HostSide;
  /** Called for a port that was taken down for its successor and could not be made again. */
  readonly #onLost: (port: PortPlan, error: unknown) => void;

  constructor(
    kernel: Kernel,
    dataplane: Dataplane,
    host: HostSide,
    onLost: (port: PortPlan, error: unknown) => void,
  ) {
    this.#devices = new Devices(kernel);
    this.#dataplane = dataplane;
    this.#host = host;
    this.#onLost = onLost;
  }

  /** Open ports whose path no longer leads to the namespace they are in. */
  stranded(): PortPlan[] {
    return this.#devices.stranded();
  }

  isOpen(port: PortPlan): boolean {
    return this.#devices.tap(port) !== undefined;
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
    const devices = this.#devices;
    let isSure = false;
    const undo: Undo[] = [];
    const taps: OpenTap[] = [];
    const underlays: OpenUnderlay[] = [];
    try {
      const early = displaced(plan);
      await this.#letGo(early, undo);
      for (const underlay of plan.openUnderlays) {
        const opened = devices.open(underlay);
        underlays.push(opened);
        undo.push(() => devices.release(opened));
      }
      for (const port of plan.createPorts) {
        const tap = devices.create(port);
        taps.push(tap);
        undo.push(() => devices.release(tap));
      }
      for (const port of plan.setMtu) this.#changeMtu(port, undo);
      if (host) this.#changeHost(host, taps, undo);
      const added = additions(taps, underlays);
      const remove = [
        ...plan.removePorts.map((port) => port.config.device),
        ...plan.closeUnderlays.map((u) => u.device),
      ].filter((device) => devices.has(device));
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
    for (const port of plan.removePorts) devices.close(port.config.device);
    for (const underlay of plan.closeUnderlays) devices.close(underlay.device);
    devices.add(taps, underlays);
    for (const port of plan.setMtu) devices.replan(port);
  }

  /** Lets go of a device that vanished from under its port. */
  async drop(port: PortPlan): Promise<void> {
    if (!this.isOpen(port)) return;
    const { device } = port.config;
    await this.#dataplane.apply({ ...NO_ADDITIONS, remove: [device] }, []);
    this.#devices.close(device);
  }

  /**
   * The same on the card's word, which may be old: it was about the device this port had then. The worker
   * knows what it has now, and refuses to let go of one that works.
   * @returns whether it was let go
   */
  async dropIfGone(port: PortPlan): Promise<boolean> {
    if (!this.isOpen(port)) return false;
    const { device } = port.config;
    try {
      await this.#dataplane.apply({ ...NO_ADDITIONS, remove: [], removeIfGone: [device] }, []);
    } catch {
      return false;
    }
    this.#devices.close(device);
    return true;
  }

  /** Makes a dropped port again. @throws DeviceFailure; it stays dropped */
  async revive(port: PortPlan): Promise<void> {
    const tap = this.#devices.create(port);
    try {
      const ops: Op[] = [{ op: 'port', port: port.config }];
      await this.#dataplane.apply({ ...additions([tap], []), remove: [] }, ops);
    } catch (error) {
      this.#devices.release(tap);
      throw error;
    }
    this.#devices.add([tap], []);
    this.#host.relink(this.#indexOf);
  }

  /** Opens again what `#restore` could not. @throws DeviceFailure */
  async reviveUnderlay(underlay: UnderlayPlan): Promise<void> {
    if (this.#devices.underlay(underlay)) return;
    const opened = this.#devices.open(underlay);
    try {
      await this.#dataplane.apply({ ...additions([], [opened]), remove: [] }, []);
    } catch (error) {
      this.#devices.release(opened);
      throw error;
    }
    this.#devices.add([], [opened]);
  }

  /** Closes everything. The worker must have ended. */
  close(): void {
    this.#host.close();
    this.#devices.closeAll();
  }

  async #letGo(early: Displaced, undo: Undo[]): Promise<void> {
    const taps = early.ports.flatMap((port) => this.#devices.tap(port) ?? []);
    const underlays = early.underlays.flatMap((underlay) => this.#devices.underlay(underlay) ?? []);
    const devices = [...taps.map((t) => t.plan.config.device), ...underlays.map((u) => u.plan.device)];
    if (devices.length === 0) return;
    await this.#dataplane.apply({ ...NO_ADDITIONS, remove: devices }, []);
    for (const device of devices) this.#devices.close(device);
    undo.push(() => this.#restore(taps, underlays));
  }

  /** The way back from `#letGo`, as far as the kernel allows. */
  async #restore(taps: readonly OpenTap[], underlays: readonly OpenUnderlay[]): Promise<void> {
    const back: { taps: OpenTap[]; underlays: OpenUnderlay[] } = { taps: [], underlays: [] };
    for (const { plan } of underlays) {
      try {
        back.underlays.push(this.#devices.open(plan));
      } catch {
        // Somebody took the port in these milliseconds: the next apply opens it (`reviveUnderlay`) or says why not.
      }
    }
    for (const { plan } of taps) {
      try {
        back.taps.push(this.#devices.create(plan));
      } catch (error) {
        this.#onLost(plan, error);
      }
    }
    this.#devices.add(back.taps, back.underlays);
    this.#host.relink(this.#indexOf);
    const ops = back.taps.map(({ plan }): Op => ({ op: 'port', port: plan.config }));
    const added = additions(back.taps, back.underlays);
    await this.#dataplane.apply({ ...added, remove: [] }, ops).catch(() => {});
  }

  /** After a refused transaction the worker may hold some of the new devices; closing them needs their release. */
  async #forget(devices: readonly number[]): Promise<void> {
    // One by one: it may not know the next one either.
    for (const device of devices) {
      await this.#dataplane.apply({ ...NO_ADDITIONS, remove: [device] }, []).catch(() => {});
    }
  }

  #changeMtu(port: PortPlan, undo: Undo[]): void {
    const open = this.#devices.tap(port);
    if (!open || !this.#devices.setMtu(port)) return;
    undo.push(() => void this.#devices.setMtu(open.plan));
  }

  /** New links are not among the running ones yet. */
  #changeHost(next: HostPlan, created: readonly OpenTap[], undo: Undo[]): void {
    const before = this.#host.plan;
    const isOf = (name: string) => (tap: OpenTap) => tap.plan.config.name === name;
    this.#host.apply(next, (name) => created.find(isOf(name))?.index ?? this.#indexOf(name));
    undo.push(() => this.#host.apply(before, this.#indexOf));
  }

  readonly #indexOf: IndexOf = (name) => this.#devices.indexOf(name);
}

const NO_ADDITIONS = { addTaps: [], addUnderlays: [] } as const;

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
