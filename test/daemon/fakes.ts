/** A kernel and a dataplane that keep a diary, and fail where a test says so. */
import { type Logger, pino } from 'pino';
import type { OwnRoute, TapOptions, UnderlayOptions } from '../../src/card/native.ts';
import type { Source } from '../../src/control/types.ts';
import type { Dataplane, DumpRows } from '../../src/daemon/dataplane-proxy.ts';
import type { Kernel } from '../../src/daemon/devices.ts';
import { HostSide } from '../../src/daemon/host-side.ts';
import type { HostSystem } from '../../src/daemon/host-system.ts';
import type { Op } from '../../src/dataplane/config.ts';
import type { DeviceChanges, DumpKind, FateRow, FlowAnswer } from '../../src/dataplane/messages.ts';

export const silent: Logger = pino({ level: 'silent' });

export function errno(code: string, message = code): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code });
}

/** Refuses what a kernel would: a second interface of one name, a second socket on one port. */
export class FakeKernel implements Kernel {
  readonly diary: string[] = [];
  /** Open descriptors and what they are. */
  readonly open = new Map<number, string>();
  /** What to throw for a call, by its diary entry. */
  readonly failures = new Map<string, Error>();
  #nextFd = 100;

  createTap(options: TapOptions): { fd: number; index: number } {
    const name = `tap ${options.netns ?? 'own'} ${options.name}`;
    return { fd: this.#make(name, 'EEXIST'), index: 7 };
  }

  openUnderlay(options: UnderlayOptions): { rx: number; tx: number[] } {
    const name = `udp ${options.address}:${options.port}`;
    return { rx: this.#make(name, 'EADDRINUSE'), tx: [this.#make(`${name} tx`, null)] };
  }

  setMtu(_netns: string | null, name: string, mtu: number): void {
    this.#note(`mtu ${name} ${mtu}`);
  }

  close(fd: number): void {
    const what = this.open.get(fd);
    if (what === undefined) throw errno('EBADF', `close of ${fd}, which is not open`);
    this.open.delete(fd);
    if (!what.endsWith(' tx')) this.diary.push(`close ${what}`);
  }

  routeTo() {
    return { interface: 'eth0', index: 2, mtu: 1500, source: '' };
  }

  /** Sorted names of what is open, transmit sockets left out. */
  names(): string[] {
    return [...this.open.values()].filter((name) => !name.endsWith(' tx')).sort();
  }

  #make(name: string, taken: string | null): number {
    if (taken !== null && [...this.open.values()].includes(name)) throw errno(taken);
    if (!name.endsWith(' tx')) this.#note(name);
    const fd = this.#nextFd++;
    this.open.set(fd, name);
    return fd;
  }

  #note(entry: string): void {
    const failure = this.failures.get(entry);
    if (failure) throw failure;
    this.diary.push(entry);
  }
}

/** nftables, sysctls and routes as a program sees them. */
export class FakeHost implements HostSystem {
  readonly diary: string[] = [];
  /** Texts by name. */
  readonly tables = new Map<string, string>();
  readonly sysctls = new Map([
    ['net.ipv4.ip_forward', '0'],
    ['net.ipv6.conf.all.forwarding', '0'],
  ]);
  /** "10.96.0.10/32 via 10.77.0.1 src 10.77.0.2 dev 7" */
  readonly routes = new Set<string>();
  /** Refuses the next scripts, sysctls or routes that contain a text. */
  readonly refused = new Set<string>();

  nft(script: string): void {
    this.#note(script);
    const [, name = ''] = /delete table inet (\S+)/.exec(script)!;
    this.tables.delete(name);
    if (script.includes('{')) this.tables.set(name, script);
  }

  table(name: string): string | null {
    return this.tables.get(name) ?? null;
  }

  sysctl(name: string): string {
    return this.sysctls.get(name) ?? '1';
  }

  setSysctl(name: string, value: string): void {
    this.#note(`${name} = ${value}`);
    this.sysctls.set(name, value);
  }

  changeRoute(add: boolean, { to, prefix, via, source, index }: OwnRoute): void {
    const route = `${to}/${prefix} via ${via} src ${source} dev ${index}`;
    if (add) this.#note(route);
    if (this.routes.has(route) === add) throw errno(add ? 'EEXIST' : 'ESRCH');
    if (add) this.routes.add(route);
    else this.routes.delete(route);
  }

  #note(entry: string): void {
    for (const text of this.refused) if (entry.includes(text)) throw new Error(`refused: ${text}`);
    this.diary.push(entry);
  }
}

export const fakeHost = (): HostSide => new HostSide(new FakeHost(), '/run/twill/test.sock');

export class FakeDataplane implements Dataplane {
  /** Devices it holds, with the descriptor. */
  readonly devices = new Map<number, number>();
  /** Devices whose kernel device vanished. */
  readonly gone = new Set<number>();
  readonly ops: Op[] = [];
  answer: FlowAnswer = { flows: [], service: null, outlook: null };
  fates: readonly FateRow[] = [];
  readonly dumps: Partial<Record<DumpKind, readonly unknown[]>> = {};
  /** Refuses the next transaction for which this is true. */
  refuse: (devices: DeviceChanges, ops: readonly Op[]) => boolean = () => false;

  constructor(readonly kernel: FakeKernel) {}

  async apply(devices: DeviceChanges, ops: readonly Op[]): Promise<void> {
    await Promise.resolve();
    if (this.refuse(devices, ops)) {
      this.refuse = () => false;
      throw new Error('refused by the test');
    }
    for (const device of devices.removeIfGone ?? []) {
      if (!this.gone.has(device)) throw new Error(`device ${device} is not gone`);
      this.devices.delete(device);
    }
    for (const { device, fd } of devices.addTaps) this.#add(device, fd);
    for (const { device, rx } of devices.addUnderlays) this.#add(device, rx);
    this.ops.push(...ops);
    for (const device of devices.remove) this.devices.delete(device);
  }

  async dump<K extends DumpKind>(what: K): Promise<readonly DumpRows[K][]> {
    return (this.dumps[what] ?? []) as readonly DumpRows[K][];
  }

  async explain(): Promise<FlowAnswer> {
    return this.answer;
  }

  async preview(): Promise<readonly FateRow[]> {
    return this.fates;
  }

  #add(device: number, fd: number): void {
    if (this.devices.has(device)) throw new Error(`device ${device} is there already`);
    if (!this.kernel.open.has(fd)) throw new Error(`descriptor ${fd} is not open`);
    this.devices.set(device, fd);
  }
}

const OWN_NAMESPACE = '/proc/self/ns/net';

/** Resources in YAML. Ports lie in namespaces that exist everywhere. */
export const HOST =
  'apiVersion: twill/v1alpha1\nkind: Host\nmetadata: {name: alpha}\nspec: {underlay: {address: 192.0.2.1}}\n';

export const network = (
  name = 'blue',
  vni = 42,
  port = 4789,
  mtu: number | 'auto' = 'auto',
  third = 77,
): string =>
  `apiVersion: twill/v1alpha1\nkind: Network\nmetadata: {name: ${name}}\n` +
  `spec: {vxlan: {vni: ${vni}, port: ${port}}, mtu: ${mtu}, subnets: [{cidr: 10.${third}.0.0/24, gateway: 10.${third}.0.1}]}\n`;

export const peer = (name = 'beta', address = '192.0.2.2'): string =>
  `apiVersion: twill/v1alpha1\nkind: Peer\nmetadata: {name: ${name}}\nspec: {addresses: [${address}]}\n`;

export const port = (
  name: string,
  address: string,
  netns = OWN_NAMESPACE,
  iface = `if-${name}`,
  rest = '',
): string =>
  `apiVersion: twill/v1alpha1\nkind: Port\nmetadata: {name: ${name}}\n` +
  `spec: {network: blue, netns: ${netns}, interface: ${iface}, addresses: [${address}]${rest}}\n`;

export const source = (file: string, ...documents: string[]): Source => ({
  file,
  text: documents.join('---\n'),
});
