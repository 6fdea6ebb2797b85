/** Transactions against the real kernel: TAPs in namespaces of this test, one UDP socket on loopback. */
import { createSocket } from 'node:dgram';
import { rmSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/card/native.ts';
import type { Kernel } from '../../src/daemon/devices.ts';
import { Manager } from '../../src/daemon/manager.ts';
import { Rejected } from '../../src/daemon/rejected.ts';
import { FakeDataplane, FakeKernel, fakeHost, network, port, silent, source } from './fakes.ts';
import { CAN_NAMESPACES, ip, namespace, removeNamespace, removeNamespaces } from './namespaces.ts';

const HOST =
  'apiVersion: twill/v1alpha1\nkind: Host\nmetadata: {name: lo}\nspec: {underlay: {address: 127.0.0.1}}\n';

/** Accepts every descriptor: only the fake kernel's can be checked. */
class AnyDataplane extends FakeDataplane {
  override async apply(): Promise<void> {}
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

/** Takes the port as the daemon would; fails while anybody has it. */
async function isFree(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    socket.once('error', () => resolve(false));
    socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)));
  });
}

const links = (ns: string): string[] =>
  (JSON.parse(ip('-j', '-n', ns, 'link', 'show')) as { ifname: string }[])
    .map((l) => l.ifname)
    .filter((n) => n !== 'lo');

describe.skipIf(!CAN_NAMESPACES)('with the real kernel', () => {
  let manager: Manager | undefined;
  afterEach(async () => {
    await manager?.close();
    removeNamespaces();
  });

  const open = (): Manager => {
    const native = loadNative();
    const kernel: Kernel = native;
    manager = new Manager({
      kernel,
      dataplane: new AnyDataplane(new FakeKernel()),
      host: fakeHost(),
      log: silent,
    });
    return manager;
  };

  it('a pod gets its eth0, with address, route and MTU, and loses it at the end', async () => {
    const [ns, udp] = [namespace('pod'), await freePort()];
    const manager = open();
    const base = (mtu: number) =>
      source('f', HOST, network('blue', 42, udp, mtu), port('web', '10.77.0.11', ns, 'eth0'));
    await manager.load([base(1400)]);
    expect(ip('-n', ns, '-o', 'address', 'show', 'eth0')).toContain('10.77.0.11/24');
    expect(ip('-n', ns, 'route')).toContain('default via 10.77.0.1 dev eth0');
    expect(ip('-n', ns, 'link', 'show', 'eth0')).toContain('mtu 1400');
    await manager.load([base(1300)]);
    expect(ip('-n', ns, 'link', 'show', 'eth0')).toContain('mtu 1300');
    expect(await isFree(udp)).toBe(false);
    await manager.close();
    expect(links(ns)).toEqual([]);
    expect(await isFree(udp)).toBe(true);
  });

  it('P32: a refused change leaves the running pods their addresses and nothing of the new ones', async () => {
    const [one, two, three, udp] = [namespace('x'), namespace('y'), namespace('z'), await freePort()];
    const manager = open();
    await manager.load([source('f', HOST, network('blue', 42, udp), port('one', '10.77.0.11', one, 'eth0'))]);
    ip('-n', three, 'link', 'add', 'eth0', 'type', 'bridge');
    const more = source(
      'more.yaml',
      port('two', '10.77.0.12', two, 'eth0'),
      port('zz', '10.77.0.13', three, 'eth0'),
    );
    const error = await manager.apply([more]).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(Rejected);
    expect((error as Rejected).errors).toEqual([
      expect.stringMatching(
        /^more\.yaml:\d+:\d+: spec\.interface: \/run\/netns\/.* has an interface eth0 already/,
      ),
    ]);
    expect([links(one), links(two)]).toEqual([['eth0'], []]);
    expect(manager.resources.filter((r) => r.kind === 'Port').map((r) => r.name)).toEqual(['one']);
  });

  it('V34: an occupied UDP port is named, and no pod was touched', async () => {
    const [ns, udp] = [namespace('pod'), await freePort()];
    const blocker = createSocket('udp4');
    await new Promise<void>((resolve) => blocker.bind(udp, '127.0.0.1', resolve));
    try {
      const all = source('f.yaml', HOST, network('blue', 42, udp), port('web', '10.77.0.11', ns, 'eth0'));
      await expect(open().load([all])).rejects.toThrow(
        `spec.vxlan.port: UDP port ${udp} is in use on 127.0.0.1`,
      );
      expect(links(ns)).toEqual([]);
    } finally {
      await new Promise<void>((resolve) => blocker.close(resolve));
    }
  });

  it('a name whose namespace is lost says how to make it again', async () => {
    const [name, udp] = [`twd${process.pid}-stale`, await freePort()];
    writeFileSync(`/run/netns/${name}`, '');
    try {
      const all = source('f', HOST, network('blue', 42, udp), port('web', '10.77.0.11', name, 'eth0'));
      const error = await open()
        .load([all])
        .catch((e: unknown) => e);
      expect((error as Rejected).errors).toEqual([
        expect.stringContaining(
          `/run/netns/${name} is not a network namespace; ` +
            `make it again with: ip netns del ${name} && ip netns add ${name}`,
        ),
      ]);
    } finally {
      rmSync(`/run/netns/${name}`);
    }
  });

  it('a namespace deleted in use takes its own port down; made again, the port comes back', async () => {
    const [one, two, udp] = [namespace('x'), namespace('y'), await freePort()];
    const manager = open();
    const ports = [port('one', '10.77.0.11', one, 'eth0'), port('two', '10.77.0.12', two, 'eth0')];
    await manager.load([source('f', HOST, network('blue', 42, udp), ...ports)]);
    const states = () =>
      manager.generation!.ports.map((p) => `${p.config.name} ${manager.isGone(p) ? 'gone' : 'up'}`).sort();
    removeNamespace(one);
    await manager.sweep();
    expect(states()).toEqual(['one gone', 'two up']);
    const { warnings } = await manager.apply([]);
    expect(warnings).toEqual([
      expect.stringContaining(`spec.netns: namespace /run/netns/${one} does not exist`),
    ]);
    ip('netns', 'add', one);
    try {
      await manager.apply([]);
      expect(states()).toEqual(['one up', 'two up']);
      expect(links(one)).toEqual(['eth0']);
    } finally {
      ip('netns', 'del', one);
    }
  });
});
