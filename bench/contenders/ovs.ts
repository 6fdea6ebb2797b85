/**
 * Open vSwitch's userspace datapath, ports over AF_PACKET, with and without userspace TSO. Its database and
 * daemon are started here, in a directory and namespaces of their own; an instance of the system is not touched.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Background, Lab } from '../../src/demo/lab.ts';
import {
  type Built,
  type Contender,
  findCommand,
  missingCommand,
  OVERHEAD,
  PODS,
  Sites,
  underlayAddress,
  VNI,
} from '../contender.ts';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

/** One instance: a database and a switch in a host's namespace. */
class Instance {
  readonly #lab: Lab;
  readonly #namespace: string;
  readonly #directory: string;
  readonly #name: string;

  constructor(lab: Lab, namespace: string, name: string) {
    this.#lab = lab;
    this.#namespace = namespace;
    this.#name = name;
    this.#directory = join(lab.directory, name);
    mkdirSync(this.#directory);
  }

  /** @returns the process that moves packets */
  async start(isTso: boolean): Promise<Background> {
    const path = (file: string): string => join(this.#directory, file);
    const env = { OVS_RUNDIR: this.#directory, OVS_DBDIR: this.#directory, OVS_LOGDIR: this.#directory };
    await this.#lab.must(null, ['ovsdb-tool', 'create', path('conf.db'), SCHEMA]);
    const database = this.#lab.start(
      null,
      `${this.#name}-db`,
      ['ovsdb-server', `--remote=punix:${path('db')}`, `--unixctl=${path('db.ctl')}`, path('conf.db')],
      env,
    );
    await poll(() => this.set('--no-wait', 'init'), database);
    await this.set('--no-wait', 'set', 'Open_vSwitch', '.', `other_config:userspace-tso-enable=${isTso}`);
    return this.#lab.start(
      this.#namespace,
      this.#name,
      ['ovs-vswitchd', `--unixctl=${path('switch.ctl')}`, `unix:${path('db')}`],
      env,
    );
  }

  async set(...words: readonly string[]): Promise<string> {
    return this.#lab.must(null, [
      'ovs-vsctl',
      '--timeout=10',
      `--db=unix:${join(this.#directory, 'db')}`,
      ...words,
    ]);
  }

  async addPort(bridge: string, name: string, ...options: readonly string[]): Promise<void> {
    const more = options.length === 0 ? [] : ['--', 'set', 'interface', name, ...options];
    await this.set('add-port', bridge, name, ...more);
  }

  async addBridge(name: string): Promise<void> {
    await this.set('add-br', name, '--', 'set', 'bridge', name, 'datapath_type=netdev');
    await this.#lab.ip(this.#namespace, 'link', 'set', name, 'up');
  }
}

/** Tries until it works, or the process it needs has ended. */
async function poll(attempt: () => Promise<unknown>, process: Background): Promise<void> {
  let failure: unknown;
  await process.waitFor(() => true);
  for (let i = 0; i < 100; i++) {
    try {
      await attempt();
      return;
    } catch (error) {
      failure = error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw failure;
}

async function build(lab: Lab, underlayMtu: number, letter: string, isTso: boolean): Promise<Built> {
  const sites = new Sites(lab, letter);
  await sites.make(underlayMtu, false);
  const mtu = underlayMtu - OVERHEAD;
  const daemons: Background[] = [];
  for (const host of [1, 2] as const) {
    const ns = sites.host(host);
    const instance = new Instance(lab, ns, `${letter}${host}`);
    daemons.push(await instance.start(isTso));
    // its tunnels leave by a bridge that has the underlay's address and the wire as a port
    await instance.addBridge('under');
    await instance.addPort('under', 'up0');
    await lab.ip(ns, 'address', 'add', `${underlayAddress(host)}/24`, 'dev', 'under');
    await instance.addBridge('br0');
    const tunnel = [`options:remote_ip=${underlayAddress(3 - host)}`, `options:key=${VNI}`];
    await instance.addPort('br0', 'vx0', 'type=vxlan', ...tunnel);
    for (const [i, pod] of PODS.entries()) {
      if (pod.host !== host) continue;
      const inner = { namespace: sites.pod(i), name: 'eth0', address: `${pod.address}/24`, mtu };
      await lab.wire(inner, { namespace: ns, name: `p${i}`, mtu });
      await instance.addPort('br0', `p${i}`);
      // without TSO it neither cuts a super-frame nor fills in a checksum that was left out
      if (!isTso) await lab.must(inner.namespace, ['ethtool', '-K', 'eth0', 'tx', 'off']);
    }
  }
  // Open vSwitch 3.1 drops super-frames that should go into a tunnel
  return { same: sites.route(1), ...(isTso ? {} : { cross: sites.route(2) }), daemons };
}

function contender(name: string, title: string, letter: string, isTso: boolean): Contender {
  return {
    name,
    title,
    detail: isTso
      ? 'userspace datapath, veth ports, userspace-tso-enable=true; no tunnels: it has no TSO for them'
      : 'userspace datapath, veth ports over AF_PACKET, VXLAN; offloads off in the pods',
    available: () => missingCommand('ovs-vswitchd', 'ovsdb-server', 'ovsdb-tool', 'ovs-vsctl', 'ethtool'),
    version: () =>
      /(\d+\.\d+\.\d+)/.exec(
        execFileSync(findCommand('ovs-vswitchd')!, ['--version'], { encoding: 'utf8' }),
      )?.[1] ?? 'unknown',
    build: (lab, mtu) => build(lab, mtu, letter, isTso),
  };
}

export const ovs = contender('ovs', 'Open vSwitch', 'o', false);
export const ovsTso = contender('ovs-tso', 'Open vSwitch with TSO', 'u', true);
