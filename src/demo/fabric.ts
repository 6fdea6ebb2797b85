/**
 * The demo's fabric, as in examples/: two hosts, five pods, two networks that use the same addresses.
 *
 *   twill-demo-alpha  192.0.2.1 ══ veth, MTU 1500 ══ 192.0.2.2  twill-demo-beta
 *     blue  a1 10.77.0.11   a2 10.77.0.12                   b1 10.77.0.13
 *     red   r1 10.77.0.11                                   r2 10.77.0.13
 *
 * Late in the demo alpha joins blue itself, as 10.77.0.2.
 */
import { join } from 'node:path';
import type { Background, Daemon, Lab } from './lab.ts';
import type { Counts } from './pod.ts';

export const PREFIX = 'twill-demo-';
export const PODS = ['a1', 'a2', 'b1', 'r1', 'r2'] as const;
export type Pod = (typeof PODS)[number];
/** Where traffic may come from. */
export type Place = Pod | 'alpha';

export const ADDRESS: Readonly<Record<Place, string>> = {
  alpha: '10.77.0.2',
  a1: '10.77.0.11',
  a2: '10.77.0.12',
  b1: '10.77.0.13',
  r1: '10.77.0.11',
  r2: '10.77.0.13',
};
export const BROADCAST = '10.77.0.255';
export const SHOP = '10.96.0.10';
export const STICKY = '10.96.0.11';
/** Overlay MTU of a 1500-byte underlay: less outer Ethernet, IPv4, UDP and VXLAN headers. */
export const MTU = 1450;
export const SERVER_PORT = 8080;
export const DATAGRAM_PORT = 9999;

export class Fabric {
  readonly lab: Lab;
  readonly #servers = new Map<Pod, Background>();
  readonly #daemons: Daemon[] = [];

  constructor(lab: Lab) {
    this.lab = lab;
  }

  get alpha(): Daemon {
    return this.#daemon(0);
  }

  get beta(): Daemon {
    return this.#daemon(1);
  }

  get daemons(): readonly Daemon[] {
    return this.#daemons;
  }

  async buildNamespaces(): Promise<void> {
    for (const name of ['alpha', 'beta', ...PODS]) await this.lab.namespace(name);
    await this.lab.wire(
      { namespace: `${PREFIX}alpha`, name: 'uplink', address: '192.0.2.1/24', mtu: 1500 },
      { namespace: `${PREFIX}beta`, name: 'uplink', address: '192.0.2.2/24', mtu: 1500 },
    );
  }

  async startDaemons(): Promise<void> {
    for (const host of ['alpha', 'beta']) {
      const files = [`${host}.yaml`, 'services.yaml'].map((name) => this.example(name));
      this.#daemons.push(await this.lab.daemon(PREFIX + host, host, files));
    }
  }

  async startServers(): Promise<void> {
    for (const pod of PODS) {
      const words = [this.#program, 'serve', pod, String(SERVER_PORT), String(DATAGRAM_PORT)];
      this.#servers.set(pod, this.lab.start(PREFIX + pod, pod, [process.execPath, ...words]));
    }
    await Promise.all(
      [...this.#servers.values()].map((server) => server.waitFor((text) => text.includes('serving'))),
    );
  }

  example(name: string): string {
    return join(this.lab.root, 'examples', name);
  }

  /** That many connections from a pod or host, one after the other. */
  async connect(from: Place, address: string, port: number, count: number): Promise<Counts> {
    const words = [this.#program, 'connect', `http://${address}:${port}/`, String(count)];
    return JSON.parse(await this.lab.must(PREFIX + from, [process.execPath, ...words])) as Counts;
  }

  async shout(pod: Pod, text: string): Promise<void> {
    const words = [this.#program, 'shout', BROADCAST, String(DATAGRAM_PORT), text];
    await this.lab.must(PREFIX + pod, [process.execPath, ...words]);
  }

  /** How many datagrams with this text a pod has received. */
  heard(pod: Pod, text: string): number {
    const lines = this.#servers.get(pod)?.output().split('\n') ?? [];
    return lines.filter((line) => line.startsWith(`datagram ${text} `)).length;
  }

  get #program(): string {
    return join(this.lab.root, 'dist/src/demo/pod.js');
  }

  #daemon(index: number): Daemon {
    const daemon = this.#daemons[index];
    if (!daemon) throw new Error('the daemons are not up');
    return daemon;
  }
}
