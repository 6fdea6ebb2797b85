/**
 * The kernel's devices that are open for the running generation: TAPs and underlay sockets, by card device.
 *
 * A namespace is lost when its path is removed or names another one: the kernel keeps a deleted namespace, and the
 * device in it, while anything holds it — a process, or our own descriptor. So its identity is remembered.
 */
import { statSync } from 'node:fs';
import type { Native, Underlay } from '../card/native.ts';
import type { PortPlan, UnderlayPlan } from '../control/types.ts';
import type { DeviceChanges } from '../dataplane/messages.ts';
import { DeviceFailure } from './failures.ts';

export type Kernel = Pick<Native, 'createTap' | 'setMtu' | 'openUnderlay' | 'close' | 'routeTo'>;

export interface OpenTap {
  readonly plan: PortPlan;
  readonly fd: number;
  /** Of the link. */
  readonly index: number;
  /** Of the namespace it was made in; null for the daemon's own. */
  readonly identity: string | null;
}

export interface OpenUnderlay {
  readonly plan: UnderlayPlan;
  readonly sockets: Underlay;
}

export class Devices {
  readonly #kernel: Kernel;
  readonly #taps = new Map<number, OpenTap>();
  readonly #underlays = new Map<number, OpenUnderlay>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  has(device: number): boolean {
    return this.#taps.has(device) || this.#underlays.has(device);
  }

  tap({ config }: PortPlan): OpenTap | undefined {
    return this.#taps.get(config.device);
  }

  underlay({ device }: UnderlayPlan): OpenUnderlay | undefined {
    return this.#underlays.get(device);
  }

  /** Index of the link of the port with that name. */
  indexOf(name: string): number | undefined {
    return [...this.#taps.values()].find(({ plan }) => plan.config.name === name)?.index;
  }

  /** Ports whose path no longer leads to the namespace they are in. */
  stranded(): PortPlan[] {
    const open = [...this.#taps.values()];
    return open.filter(({ plan, identity }) => identity !== identityOf(plan)).map(({ plan }) => plan);
  }

  /** Not among them before `add`. @throws DeviceFailure */
  create(port: PortPlan): OpenTap {
    try {
      const { fd, index } = this.#kernel.createTap(port.tap);
      return { plan: port, fd, index, identity: identityOf(port) };
    } catch (error) {
      throw new DeviceFailure({ port }, error);
    }
  }

  /** Not among them before `add`. @throws DeviceFailure */
  open(underlay: UnderlayPlan): OpenUnderlay {
    try {
      return { plan: underlay, sockets: this.#kernel.openUnderlay(underlay.options) };
    } catch (error) {
      throw new DeviceFailure({ underlay }, error);
    }
  }

  add(taps: readonly OpenTap[], underlays: readonly OpenUnderlay[]): void {
    for (const tap of taps) this.#taps.set(tap.plan.config.device, tap);
    for (const underlay of underlays) this.#underlays.set(underlay.plan.device, underlay);
  }

  /** The port's plan differs from the running one in its MTU. */
  replan(port: PortPlan): void {
    const open = this.tap(port);
    if (open) this.add([{ ...open, plan: port }], []);
  }

  /** @throws DeviceFailure. @returns whether there is a device to set it of */
  setMtu(port: PortPlan): boolean {
    const { netns, name, mtu } = port.tap;
    try {
      this.#kernel.setMtu(netns, name, mtu);
      return true;
    } catch (error) {
      // The namespace went away meanwhile: the card reports the port gone by itself.
      if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
      throw new DeviceFailure({ port }, error);
    }
  }

  close(device: number): void {
    const [tap, underlay] = [this.#taps.get(device), this.#underlays.get(device)];
    this.#taps.delete(device);
    this.#underlays.delete(device);
    if (tap) this.release(tap);
    if (underlay) this.release(underlay);
  }

  closeAll(): void {
    for (const device of [...this.#taps.keys(), ...this.#underlays.keys()]) this.close(device);
  }

  /** One that is not among them, or no longer. */
  release(device: OpenTap | OpenUnderlay): void {
    const fds = 'fd' in device ? [device.fd] : [device.sockets.rx, ...device.sockets.tx];
    for (const fd of fds) this.#kernel.close(fd);
  }
}

/** What the worker is told of new devices. */
export function additions(
  taps: readonly OpenTap[],
  underlays: readonly OpenUnderlay[],
): Pick<DeviceChanges, 'addTaps' | 'addUnderlays'> {
  return {
    addTaps: taps.map(({ plan, fd }) => ({ device: plan.config.device, fd })),
    addUnderlays: underlays.map(({ plan, sockets }) => ({ device: plan.device, ...sockets })),
  };
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
