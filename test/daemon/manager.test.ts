import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { attachedFile } from '../../src/control/problem.ts';
import type { Dataplane } from '../../src/daemon/dataplane-proxy.ts';
import { HostSide } from '../../src/daemon/host-side.ts';
import { Manager } from '../../src/daemon/manager.ts';
import { Rejected } from '../../src/daemon/rejected.ts';
import { servicesIn } from '../control/fixture.ts';
import {
  errno,
  FakeDataplane,
  FakeHost,
  FakeKernel,
  fakeHost,
  HOST,
  network,
  peer,
  port,
  silent,
  source,
} from './fakes.ts';

let kernel: FakeKernel;
let dataplane: FakeDataplane;
let manager: Manager;

beforeEach(() => {
  kernel = new FakeKernel();
  dataplane = new FakeDataplane(kernel);
  manager = new Manager({ kernel, dataplane, host: fakeHost(), log: silent });
});

const web = port('web', '10.77.0.11');
const database = port('db', '10.77.0.12');
const base = source('base.yaml', HOST, network(), peer(), web);
const RUNNING = ['tap /proc/self/ns/net if-web', 'udp 192.0.2.1:4789'];

const rejection = async (work: Promise<unknown>): Promise<readonly string[]> => {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(Rejected);
  return (error as Rejected).errors;
};

describe('a transaction', () => {
  it('opens, creates and hands everything to the worker', async () => {
    const { changes } = await manager.load([base]);
    expect(changes.map((c) => `${c.kind} ${c.action}`)).toEqual([
      'Host created',
      'Network created',
      'Peer created',
      'Port created',
    ]);
    expect(kernel.diary).toEqual(['udp 192.0.2.1:4789', 'tap /proc/self/ns/net if-web']);
    expect(dataplane.devices.size).toBe(2);
    expect(dataplane.ops.map((op) => op.op)).toEqual(['host', 'network', 'peer', 'port']);
  });

  it('M7: does nothing for an unchanged set', async () => {
    await manager.load([base]);
    const [diary, ops] = [kernel.diary.length, dataplane.ops.length];
    const { changes } = await manager.apply([base]);
    expect(changes.every((change) => change.action === 'unchanged')).toBe(true);
    expect([kernel.diary.length, dataplane.ops.length]).toEqual([diary, ops]);
  });

  const shop = `apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
`;
  const slice = (name: string, address: string) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}, namespace: default, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints: [{addresses: [${address}]}]
`;

  it('S1: a start hands over every Service with all of its endpoints at once, in whatever files they are', async () => {
    const apply = vi.spyOn(dataplane as Dataplane, 'apply');
    await manager.load([
      source('1.yaml', slice('a', '10.77.0.11')),
      source('2.yaml', shop),
      base,
      source('3.yaml', slice('b', '10.77.0.12')),
    ]);
    expect(apply).toHaveBeenCalledOnce();
    const [service, ...others] = servicesIn(apply.mock.calls[0]![2]!);
    expect(service!.backends).toHaveLength(2);
    expect(others).toEqual([]);
  });

  it('S1: a start that cannot read all EndpointSlices programs nothing', async () => {
    const apply = vi.spyOn(dataplane as Dataplane, 'apply');
    const broken = source('3.yaml', slice('b', '10.77.0.12').replace('IPv4', 'IPX'));
    await rejection(manager.load([base, source('1.yaml', shop, slice('a', '10.77.0.11')), broken]));
    expect(apply).not.toHaveBeenCalled();
    expect(kernel.diary).toEqual([]);
  });

  it('M4: stops after the diff in a dry run', async () => {
    await manager.load([base]);
    const { changes } = await manager.apply([source('db.yaml', database)], true);
    expect(changes).toEqual([{ kind: 'Port', namespace: '', name: 'db', action: 'created' }]);
    expect(kernel.names()).toEqual(RUNNING);
    expect(manager.find('Port', '', 'db')).toBeUndefined();
  });

  it('S38: says what Services are given, tells the host of it, and keeps it; a dry run gives nothing', async () => {
    const networks = HOST.replace('}}', '}, serviceCIDRs: [10.96.0.0/16]}');
    await manager.load([source('base.yaml', networks, network(), peer(), web)]);
    const open = shop.replace('clusterIP: 10.96.0.10', 'type: NodePort');
    const dry = await manager.apply([source('shop.yaml', open)], true);
    expect(dry.given).toMatchObject([{ name: 'shop', clusterIPs: [expect.stringMatching(/^10\.96\./)] }]);
    expect(manager.services.get('default', 'shop')).toBeUndefined();
    const apply = vi.spyOn(dataplane as Dataplane, 'apply');
    const { given } = await manager.apply([source('shop.yaml', open)]);
    expect(given).toEqual(dry.given);
    const [service] = servicesIn(apply.mock.calls.at(-1)![2]!);
    expect(service).toMatchObject({ port: 80, nodePort: given![0]!.nodePorts[0]!.nodePort });
    const again = await manager.apply([source('shop.yaml', open)]);
    expect(again.given).toBeUndefined();
    expect(again.changes).toMatchObject([{ name: 'shop', action: 'unchanged' }]);
    await manager.remove('Service', 'default', 'shop');
    expect((await manager.apply([source('shop.yaml', open)])).given).toEqual(given);
  });

  it('a dry run refuses what the real one would', async () => {
    await manager.load([base]);
    const lost = source('db.yaml', port('db', '10.77.0.12', 'twill-no-such'));
    const errors = await rejection(manager.apply([lost], true));
    expect(errors).toEqual([expect.stringContaining('namespace /run/netns/twill-no-such does not exist')]);
    expect(kernel.names()).toEqual(RUNNING);
  });

  it('P35: refuses one object defined twice', async () => {
    await manager.load([base]);
    const errors = await rejection(
      manager.apply([source('one.yaml', database), source('two.yaml', database)]),
    );
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/^two\.yaml:3:\d+: metadata\.name: Port db is already defined at one\.yaml/);
  });

  it('reports every error at once and applies nothing', async () => {
    await manager.load([base]);
    const bad = database.replace('blue', 'green').replace('10.77.0.12', '10.77.0.999');
    const errors = await rejection(manager.apply([source('bad.yaml', bad, 'kind: Pot\n')]));
    expect(errors.length).toBeGreaterThanOrEqual(2);
    expect(kernel.names()).toEqual(RUNNING);
  });

  it('runs one at a time, in the order of arrival', async () => {
    await manager.load([base]);
    await Promise.all([
      manager.apply([source('a', database)]),
      manager.remove('Port', '', 'db'),
      manager.apply([source('b', database)]),
    ]);
    expect(kernel.diary.filter((entry) => entry.endsWith('if-db'))).toEqual([
      'tap /proc/self/ns/net if-db',
      'close tap /proc/self/ns/net if-db',
      'tap /proc/self/ns/net if-db',
    ]);
  });

  it('sends what was asked about and what follows from it, not the whole set', async () => {
    await manager.load([base]);
    const { changes } = await manager.remove('Port', '', 'web');
    expect(changes).toEqual([{ kind: 'Port', namespace: '', name: 'web', action: 'deleted' }]);
  });

  it('refuses to remove what others need, and what is not there', async () => {
    await manager.load([base]);
    await manager.apply([source('db.yaml', database)]);
    expect(await rejection(manager.remove('Network', '', 'blue'))).toEqual([
      'network blue is needed by port web; first: twill delete port web',
      'network blue is needed by port db; first: twill delete port db',
    ]);
    expect(await rejection(manager.remove('Host', '', 'alpha'))).toEqual([
      'Host alpha says who this daemon is; stop the daemon instead',
    ]);
    await expect(manager.remove('Port', '', 'nope')).rejects.toMatchObject({ status: 404 });
  });
});

describe('nothing half made', () => {
  const failing = [
    { what: 'the second TAP', entry: 'tap /proc/self/ns/net if-late' },
    { what: 'the underlay of a second network', entry: 'udp 192.0.2.1:4790' },
  ];
  for (const { what, entry } of failing) {
    it(`when ${what} fails`, async () => {
      await manager.load([base]);
      const before = manager.generation;
      kernel.failures.set(entry, errno('ENOMEM', 'out of memory'));
      const more = source(
        'more.yaml',
        network('red', 43, 4790, 'auto', 78),
        database,
        port('late', '10.77.0.13'),
      );
      const errors = await rejection(manager.apply([more]));
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatch(/^more\.yaml:\d+:\d+: .*out of memory/);
      expect(kernel.names()).toEqual(RUNNING);
      expect(dataplane.devices.size).toBe(2);
      expect(manager.generation).toBe(before);
      expect(manager.find('Port', '', 'db')).toBeUndefined();
    });
  }

  it('when the worker refuses, and the next apply works', async () => {
    await manager.load([base]);
    dataplane.refuse = (devices) => devices.addTaps.length > 0;
    await expect(manager.apply([source('db', database)])).rejects.toThrow('refused by the test');
    expect(kernel.names()).toEqual(RUNNING);
    await manager.apply([source('db', database)]);
    expect(kernel.names()).toHaveLength(3);
  });

  it('undoes in reverse order', async () => {
    kernel.failures.set('tap /proc/self/ns/net if-web', errno('ENOMEM'));
    await rejection(manager.load([source('all', HOST, network(), database, web)]));
    expect(kernel.diary).toEqual([
      'udp 192.0.2.1:4789',
      'tap /proc/self/ns/net if-db',
      'close tap /proc/self/ns/net if-db',
      'close udp 192.0.2.1:4789',
    ]);
    expect(kernel.open.size).toBe(0);
  });

  it('a new MTU is taken back', async () => {
    await manager.load([base]);
    kernel.failures.set('tap /proc/self/ns/net if-db', errno('ENOMEM'));
    dataplane.refuse = () => false;
    await manager.apply([source('mtu', network('blue', 42, 4789, 1400))]);
    expect(kernel.diary.at(-1)).toBe('mtu if-web 1400');
    dataplane.refuse = () => true;
    await expect(manager.apply([source('mtu', network('blue', 42, 4789, 1300))])).rejects.toThrow();
    expect(kernel.diary.slice(-2)).toEqual(['mtu if-web 1300', 'mtu if-web 1400']);
  });
});

describe('a port of the host', () => {
  const own = (address = '10.77.0.2') =>
    `apiVersion: twill/v1alpha1\nkind: Port\nmetadata: {name: node}\nspec: {network: blue, addresses: [${address}]}\n`;
  const shop =
    'apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n' +
    'spec: {type: NodePort, clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 30080}]}\n';
  const route = (source = '10.77.0.2') => `10.96.0.1/32 via 10.77.0.1 src ${source} dev 7`;
  let system: FakeHost;
  beforeEach(() => {
    system = new FakeHost();
    const hostSide = new HostSide(system, '/run/twill/test.sock');
    manager = new Manager({ kernel, dataplane, host: hostSide, log: silent });
  });
  const state = () => [...system.tables.values(), ...system.routes, system.sysctl('net.ipv4.ip_forward')];

  it('brings table, routes and forwarding, follows the services, and takes all of it along', async () => {
    await manager.load([source('f', HOST, network(), own(), shop)]);
    expect(state()).toEqual([expect.stringContaining('tcp dport { 30080 }'), route(), '1']);
    await manager.remove('Service', 'default', 'shop');
    expect(state()).toEqual([expect.not.stringContaining('30080'), '1']);
    await manager.remove('Port', '', 'node');
    expect(state()).toEqual(['0']);
    await manager.load([source('f', HOST, network(), own(), shop)]);
    expect(state()).toHaveLength(3);
    await manager.close();
    expect(state()).toEqual(['0']);
  });

  it('M4: what the worker refuses leaves the host as it was', async () => {
    await manager.load([source('f', HOST, network(), shop)]);
    dataplane.refuse = () => true;
    await expect(manager.apply([source('g', own())])).rejects.toThrow('refused by the test');
    expect(state()).toEqual(['0']);
    await manager.apply([source('g', own())]);
    const before = state();
    dataplane.refuse = (_, ops) => ops.length > 0;
    await expect(manager.apply([source('g', own('10.77.0.3'))])).rejects.toThrow('refused by the test');
    expect(state()).toEqual(before);
    await manager.apply([source('g', own('10.77.0.3'))]);
    expect(state()).toContain(route('10.77.0.3'));
  });

  it('M3: what the host refuses is told of the port, and nothing is made', async () => {
    await manager.load([source('f', HOST, network())]);
    system.refused.add('ip_forward = 1');
    expect(await rejection(manager.apply([source('g', own())]))).toEqual(['g:1:1: refused: ip_forward = 1']);
    expect([state(), kernel.names()]).toEqual([['0'], ['udp 192.0.2.1:4789']]);
  });

  it('M4: services live on when the host cannot follow them, which is told', async () => {
    await manager.load([source('f', HOST, network(), own())]);
    system.refused.add('10.96.0.1/32');
    const { warnings } = await manager.apply([source('g', shop)]);
    expect(warnings.filter((line) => !line.includes('no EndpointSlice'))).toEqual([
      'no route of ours to 10.96.0.1: refused: 10.96.0.1/32; see: ip route show 10.96.0.1',
    ]);
  });
});

it('M3: warnings come file by file as they were read, each from its first line to its last', async () => {
  await manager.load([base]);
  const secret = 'apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n';
  const vip = (name: string) =>
    `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n`;
  const given = [source('z', vip('web'), secret), source('a', secret, vip('shop'))];
  const { warnings } = await manager.apply(given);
  expect(warnings.map((line) => /^\w:\d+/.exec(line)?.[0])).toEqual(['z:3', 'z:4', 'z:7', 'a:2', 'a:7']);
});

describe('a device that takes the place of a running one', () => {
  const moved = port('web', '10.77.0.99');
  it('is made after the old one let go of the interface name', async () => {
    await manager.load([base]);
    kernel.diary.length = 0;
    await manager.apply([source('moved', moved)]);
    expect(kernel.diary).toEqual(['close tap /proc/self/ns/net if-web', 'tap /proc/self/ns/net if-web']);
    expect(dataplane.devices.size).toBe(2);
  });

  it('gives it back when the rest fails', async () => {
    await manager.load([base]);
    kernel.failures.set('tap /proc/self/ns/net if-db', errno('ENOMEM'));
    await rejection(manager.apply([source('moved', moved, database)]));
    expect(kernel.names()).toEqual(RUNNING);
    expect(dataplane.devices.size).toBe(2);
    expect(manager.isGone(manager.generation!.ports[0]!)).toBe(false);
  });

  it('also for a UDP socket with other options', async () => {
    await manager.load([base]);
    await manager.apply([source('ttl', network().replace('port: 4789', 'port: 4789, ttl: 9'))]);
    expect(kernel.names()).toEqual(RUNNING);
    expect(dataplane.devices.size).toBe(2);
  });
});

describe('what the kernel refuses is explained', () => {
  const cases: { code: string; entry: string; line: RegExp }[] = [
    {
      code: 'EPERM',
      entry: 'tap /proc/self/ns/net if-web',
      line: /needs root \(CAP_NET_ADMIN and CAP_SYS_ADMIN\)$/,
    },
    {
      code: 'EEXIST',
      entry: 'tap /proc/self/ns/net if-web',
      line: /^base\.yaml:\d+:\d+: spec\.interface: .* has an interface if-web already/,
    },
    {
      code: 'EADDRINUSE',
      entry: 'udp 192.0.2.1:4789',
      line: /spec\.vxlan\.port: UDP port 4789 is in use on 192\.0\.2\.1/,
    },
    {
      code: 'EADDRNOTAVAIL',
      entry: 'udp 192.0.2.1:4789',
      line: /^base\.yaml:4:\d+: spec\.underlay\.address: 192\.0\.2\.1 is not an address of this host/,
    },
  ];
  for (const { code, entry, line } of cases) {
    it(code, async () => {
      kernel.failures.set(entry, errno(code));
      const errors = await rejection(manager.load([base]));
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatch(line);
      expect(kernel.open.size).toBe(0);
    });
  }

  it('a default route in the way, in the words of whoever made the port', async () => {
    const error = Object.assign(errno('EEXIST'), { syscall: 'add default route via 10.77.0.1' });
    kernel.failures.set('tap /proc/self/ns/net if-web', error);
    const file = source('x.yaml', HOST, network());
    expect(await rejection(manager.load([file, source('w.yaml', web)]))).toEqual([
      expect.stringMatching(/^w\.yaml:4:\d+: .* has a default route already; set defaultRoute: false$/),
    ]);
    expect(await rejection(manager.load([file, source(attachedFile('web'), web)]))).toEqual([
      expect.stringMatching(
        /^port web: spec\.defaultRoute: .* has a default route already; attach with --no-default-route$/,
      ),
    ]);
  });

  it('a path that is no network namespace', async () => {
    const error = Object.assign(errno('EINVAL'), { syscall: 'setns /proc/self/ns/net' });
    kernel.failures.set('tap /proc/self/ns/net if-web', error);
    const [line] = await rejection(manager.load([base]));
    expect(line).toMatch(/spec\.netns: .* is not a network namespace; give the name or path of one$/);
  });

  it.skipIf(!existsSync('/dev/net/tun'))(
    'namespaces that do not exist, all of them before anything is made',
    async () => {
      const lost = [port('a', '10.77.0.21', 'twill-no-a'), port('b', '10.77.0.22', '/tmp/twill-no-b')];
      const errors = await rejection(manager.load([source('x.yaml', HOST, network(), ...lost)]));
      expect(errors).toHaveLength(2);
      expect(errors[0]).toMatch(
        /^x\.yaml:\d+:\d+: spec\.netns: namespace \/run\/netns\/twill-no-a does not exist; create it with: ip netns add twill-no-a$/,
      );
      expect(errors[1]).toMatch(/namespace \/tmp\/twill-no-b does not exist/);
      expect(kernel.diary).toEqual([]);
    },
  );
});

describe('a port whose device vanished', () => {
  const goneWeb = async () => {
    await manager.load([base]);
    const [plan] = manager.generation!.ports;
    dataplane.gone.add(plan!.config.device);
    await manager.portGone(plan!.config.id);
    dataplane.gone.clear();
    return plan!;
  };

  it('goes down alone', async () => {
    const plan = await goneWeb();
    expect(manager.isGone(plan)).toBe(true);
    expect(kernel.names()).toEqual(['udp 192.0.2.1:4789']);
    expect(dataplane.devices.size).toBe(1);
  });

  it('a late word of its predecessor takes down nothing', async () => {
    await manager.load([base]);
    await manager.apply([source('moved', port('web', '10.77.0.99'))]);
    const [plan] = manager.generation!.ports;
    await manager.portGone(plan!.config.id);
    expect(manager.isGone(plan!)).toBe(false);
    expect(kernel.names()).toEqual(RUNNING);
    expect(dataplane.devices.size).toBe(2);
  });

  it('comes back with the next apply, even of an unchanged resource', async () => {
    const plan = await goneWeb();
    const { changes } = await manager.apply([source('web', web)]);
    expect(changes[0]?.action).toBe('unchanged');
    expect(manager.isGone(plan)).toBe(false);
    expect(dataplane.ops.at(-1)).toEqual({ op: 'port', port: plan.config });
  });

  it('that cannot come back yet is a warning and forbids nothing else', async () => {
    const plan = await goneWeb();
    kernel.failures.set('tap /proc/self/ns/net if-web', errno('EEXIST'));
    const { warnings } = await manager.apply([source('db', database)]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^base\.yaml:\d+:\d+: spec\.interface: /);
    expect(manager.isGone(plan)).toBe(true);
    expect(kernel.names()).toContain('tap /proc/self/ns/net if-db');
  });

  it('can be deleted and its event may come twice', async () => {
    const plan = await goneWeb();
    await manager.portGone(plan.config.id);
    await manager.remove('Port', '', 'web');
    expect(kernel.names()).toEqual(['udp 192.0.2.1:4789']);
  });
});

describe('a namespace that was deleted while something holds it', () => {
  const folder = mkdtempSync(join(tmpdir(), `twill-manager-${process.pid}-`));
  const path = join(folder, 'pod');
  afterAll(() => rmSync(folder, { recursive: true }));

  it('takes its port down, and one of the same name gets a new device', async () => {
    writeFileSync(path, '');
    await manager.load([source('f', HOST, network(), port('pod', '10.77.0.11', path), database)]);
    await manager.sweep();
    expect(kernel.names()).toHaveLength(3);
    rmSync(path);
    await manager.sweep();
    expect(kernel.names()).toEqual(['tap /proc/self/ns/net if-db', 'udp 192.0.2.1:4789']);
    const { warnings } = await manager.apply([]);
    expect(warnings).toHaveLength(1);
    writeFileSync(path, '');
    await manager.apply([]);
    expect(kernel.names()).toHaveLength(3);
  });

  it('is noticed by a transaction without waiting', async () => {
    writeFileSync(path, '');
    await manager.load([source('f', HOST, network(), port('pod', '10.77.0.11', path))]);
    writeFileSync(`${path}.new`, '');
    renameSync(`${path}.new`, path);
    await manager.apply([]);
    expect(kernel.diary.filter((entry) => entry.includes('if-pod'))).toEqual([
      `tap ${path} if-pod`,
      `close tap ${path} if-pod`,
      `tap ${path} if-pod`,
    ]);
  });
});

describe('files and the socket', () => {
  it('files read again: gone ones are deleted, those of the socket stay', async () => {
    await manager.load([source('f', HOST, network(), web)]);
    await manager.apply([source('s', database)]);
    const { changes } = await manager.load([source('f', HOST, network())]);
    expect(changes.filter((c) => c.action === 'deleted').map((c) => c.name)).toEqual(['web']);
    expect(manager.find('Port', '', 'db')).toBeDefined();
    expect(kernel.names()).toEqual(['tap /proc/self/ns/net if-db', 'udp 192.0.2.1:4789']);
  });

  it('an unchanged resource applied over the socket still belongs to its file', async () => {
    await manager.load([base]);
    await manager.apply([source('again', web)]);
    await manager.load([source('base.yaml', HOST, network(), peer())]);
    expect(manager.find('Port', '', 'web')).toBeUndefined();
  });

  it('a bad file changes nothing', async () => {
    await manager.load([base]);
    const before = manager.generation;
    await rejection(manager.load([source('base.yaml', HOST, 'kind: [')]));
    await rejection(manager.load([]));
    expect(manager.generation).toBe(before);
    expect(manager.find('Port', '', 'web')).toBeDefined();
  });
});

describe('V17: a smaller path', () => {
  it('is told to the worker once, survives a change of the peer and is taken back', async () => {
    await manager.load([base]);
    await manager.limitPath('beta', 1350);
    await manager.limitPath('beta', 1350);
    const peerOps = () => dataplane.ops.flatMap((op) => (op.op === 'peer' ? [op.peer.pathMtu] : []));
    expect(peerOps()).toEqual([0, 1350]);
    await manager.apply([source('beta', peer('beta', '192.0.2.3'))]);
    expect(peerOps()).toEqual([0, 1350, 1350]);
    await manager.limitPath('beta', 0);
    expect(peerOps().at(-1)).toBe(0);
    await manager.limitPath('nobody', 900);
    expect(peerOps()).toHaveLength(4);
  });
});

it('closes every descriptor once at the end', async () => {
  await manager.load([base]);
  await manager.close();
  expect(kernel.open.size).toBe(0);
  await manager.close();
});
