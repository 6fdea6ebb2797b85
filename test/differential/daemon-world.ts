/**
 * A real daemon among namespaces: frames enter and leave by the interfaces of pods, the sockets of peers, and the wire
 * to the outside.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { call } from '../../src/program/client.ts';
import { type Daemon, ROOT, testLab } from '../lab/lab.ts';
import { documents, fabric, sliceName } from './documents.ts';
import { stationsBy } from './host-kernel.ts';
import { QUIET, WAY_OUT } from './node.ts';
import type { Change } from './spec.ts';
import {
  BEYOND,
  type Delivery,
  FAMILIES,
  familyOf,
  GATEWAYS,
  NODE,
  NODE_MAC,
  OUTSIDE,
  PEERS,
  PODS,
  VNI,
  VXLAN_PORT,
} from './world.ts';

/** Until its ports are announced three times (A15). */
const ANNOUNCED_MS = 3500;
const API_MS = 10_000;

export class DaemonWorld {
  readonly #lab = testLab();
  #daemon!: Daemon;
  #wires!: ChildProcess;
  #lines!: AsyncIterator<string>;

  async start(): Promise<void> {
    const lab = this.#lab;
    const ns: Record<string, string> = {};
    for (const name of ['here', 'under', ...PODS]) {
      ns[name] = await lab.namespace(name);
      const settings = Object.entries(QUIET).map(([key, value]) => `${key}=${value}`);
      await lab.must(ns[name], ['sysctl', '-qw', ...settings]);
    }
    const [here, under] = [ns.here!, ns.under!];
    await lab.wire({ namespace: here, name: 'uplink' }, { namespace: under, name: 'wire' });
    await lab.ip(here, 'link', 'set', 'dev', 'uplink', 'address', NODE_MAC);
    for (const address of NODE)
      await lab.ip(
        here,
        'address',
        'add',
        `${address}/${familyOf(address) === 4 ? 24 : 64}`,
        'dev',
        'uplink',
      );
    for (const address of Object.values(PEERS))
      await lab.ip(under, 'address', 'add', `${address}/24`, 'dev', 'wire');
    const list = { kind: 'List', items: fabric(true, (pod) => ns[pod]!) };
    this.#daemon = await lab.daemonWith(here, 'daemon', JSON.stringify(list));
    // without an address, a pod's own kernel says nothing
    for (const pod of PODS) await lab.ip(ns[pod]!, 'address', 'flush', 'dev', 'eth0');
    for (const words of [...WAY_OUT, ...stationsBy('tw-blue')]) await lab.ip(here, ...words);
    // the host finds the gateway by ARP and discovery, once
    for (const gateway of GATEWAYS) await lab.must(here, ['ping', '-c', '1', '-W', '2', gateway]);
    await sleep(ANNOUNCED_MS);
    const places = [
      ...PODS.map((pod) => `${ns[pod]}:${pod}:eth0`),
      `${under}:${OUTSIDE}:wire:${[BEYOND.mac, NODE_MAC].map((mac) => mac.replaceAll(':', '')).join(':')}`,
      ...Object.entries(PEERS).map(([peer, address]) => `${under}:${peer}:${address}`),
    ];
    const script = join(ROOT, 'test/differential/wires.py');
    this.#wires = spawn('python3', [script, String(VXLAN_PORT), String(VNI), ...places], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#wires.stdout! })[Symbol.asyncIterator]();
    await this.#line();
  }

  async send(place: string, frames: readonly Uint8Array[]): Promise<Delivery[]> {
    this.#wires.stdin!.write(
      `${place} ${frames.map((frame) => Buffer.from(frame).toString('hex')).join(' ')}\n`,
    );
    const line = await this.#line();
    return line
      .split(' ')
      .filter(Boolean)
      .map((text) => {
        const [to, hex] = text.split('=') as [string, string];
        return { to, frame: Uint8Array.from(Buffer.from(hex, 'hex')) };
      });
  }

  async change({ name, after }: Change): Promise<void> {
    const target = { socket: this.#daemon.socket, timeout: API_MS };
    if (after) {
      const text = JSON.stringify({ kind: 'List', items: documents(after) });
      await call(target, 'POST', '/v1/apply', { sources: [{ file: 'change.yaml', text }] });
    } else {
      const slices = FAMILIES.map((family) => `endpointslices/${sliceName(name, family)}`);
      for (const path of [`services/${name}`, ...slices])
        await call(target, 'DELETE', `/v1/${path}?namespace=default`);
    }
  }

  async close(): Promise<void> {
    if (this.#wires?.exitCode === null) {
      const ended = once(this.#wires, 'exit');
      this.#wires.kill();
      await ended;
    }
    await this.#lab.dispose();
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the wires are gone');
    return value;
  }
}
