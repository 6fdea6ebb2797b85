import { describe, expect, it } from 'vitest';
import type { Generation } from '../../src/control/types.ts';
import { prettyLine } from '../../src/daemon/log.ts';
import { Manager } from '../../src/daemon/manager.ts';
import { innerLimit } from '../../src/daemon/path-limits.ts';
import { Prober } from '../../src/daemon/probes.ts';
import { Sampler } from '../../src/daemon/sampler.ts';
import { Views } from '../../src/daemon/views.ts';
import { COUNTER_FIELDS, Counter, Counters } from '../../src/telemetry/counters.ts';
import { Drop } from '../../src/telemetry/drop.ts';
import { FakeDataplane, FakeKernel, fakeHost, HOST, network, peer, port, silent, source } from './fakes.ts';

const SERVICE =
  'apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}\n';
const SLICE =
  'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}\n' +
  'addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.77.0.11]}, {addresses: [10.77.0.12], conditions: {ready: false}}]\n';

async function setUp() {
  const dataplane = new FakeDataplane(new FakeKernel());
  const manager = new Manager({ kernel: dataplane.kernel, dataplane, host: fakeHost(), log: silent });
  await manager.load([source('f', HOST, network(), peer(), port('web', '10.77.0.11'), SERVICE, SLICE)]);
  const counters = new Counters();
  const sampler = new Sampler(counters, 0);
  const prober = new Prober({ echo: 'off (test)', linkMtu: () => 1500, onPathMtu: () => {} });
  const health: { problems: string[] } = { problems: [] };
  const views = new Views({
    manager,
    dataplane,
    counters,
    sampler,
    prober,
    health,
    version: '1',
    started: 0,
  });
  const generation = manager.generation!;
  const [web, beta] = [generation.ports[0]!.config.id, generation.peers[0]!.id];
  const add = (location: number, counter: Counter, n: number) => {
    counters.values[location * COUNTER_FIELDS + counter]! += n;
  };
  const drop = (location: number, reason: Drop, n: number) => {
    counters.drops[location * Drop.COUNT + reason]! += n;
  };
  return { views, manager, dataplane, sampler, counters, health, web, beta, add, drop };
}

describe('status', () => {
  it('shows rates of the last second', async () => {
    const { views, sampler, web, add } = await setUp();
    add(web, Counter.RX, 500);
    add(web, Counter.RX_BYTES, 1000);
    sampler.sample(500);
    expect(views.status().ports).toMatchObject([
      { name: 'web', state: 'up', rxRate: 1000, rxBitRate: 16_000, txRate: 0 },
    ]);
    sampler.sample(1500);
    expect(views.status().ports).toMatchObject([{ rxRate: 0 }]);
  });

  it('S34: a health check port that is not served is a reason not to be healthy', async () => {
    const { views, health } = await setUp();
    expect(views.status()).toMatchObject({ healthy: true, problems: [] });
    health.problems.push('health check port of Service shop/web is not served: why');
    expect(views.status()).toMatchObject({ healthy: false, problems: health.problems });
  });

  it('a counter that was cleared gives no negative rate', async () => {
    const { views, sampler, counters, web, add, drop } = await setUp();
    add(web, Counter.RX, 500);
    drop(web, Drop.LOOP, 5);
    sampler.sample(1000);
    counters.clear(web);
    sampler.sample(2000);
    expect(views.status()).toMatchObject({ ports: [{ rxRate: 0 }], drops: [] });
  });

  it('adds drops up by reason, most first, and lists them by place', async () => {
    const { views, sampler, web, beta, drop } = await setUp();
    drop(web, Drop.SPOOF_IP, 2);
    drop(beta, Drop.SPOOF_IP, 1);
    drop(1, Drop.UNKNOWN_PEER, 9);
    sampler.sample(performance.now());
    expect(views.status().drops).toMatchObject([
      { reason: 'UNKNOWN_PEER', count: 9 },
      { reason: 'SPOOF_IP', count: 3 },
    ]);
    expect(views.drops().map(({ reason, from, count, last }) => [reason, from, count, last])).toEqual([
      ['UNKNOWN_PEER', 'underlay', 9, 0],
      ['SPOOF_IP', 'web', 2, 0],
      ['SPOOF_IP', 'beta', 1, 0],
    ]);
  });

  it('is healthy until a port is gone', async () => {
    const { views, manager, dataplane, web } = await setUp();
    expect(views.status()).toMatchObject({ healthy: true, problems: [] });
    dataplane.gone.add(manager.generation!.ports[0]!.config.device);
    await manager.portGone(web);
    const { healthy, problems, ports } = views.status();
    expect([healthy, problems.length, ports[0]?.state]).toEqual([false, 1, 'gone']);
    expect(problems[0]).toMatch(/^port web is gone: .*twill apply/);
  });
});

describe('items', () => {
  it('count what the worker has learned', async () => {
    const { views, dataplane } = await setUp();
    dataplane.dumps.fdb = [
      { network: 'blue', port: 'gateway', peer: null },
      { network: 'blue', port: 'web', peer: null },
      { network: 'blue', port: null, peer: 'beta' },
    ];
    dataplane.dumps.flows = [{ service: 'default/shop:http' }, { service: 'default/shop:http' }];
    expect(await views.items('networks')).toMatchObject([
      { status: { mtu: 1450, ports: 1, peers: 1, macs: 2 } },
    ]);
    expect(await views.items('peers')).toMatchObject([{ status: { macs: 1, networks: ['blue'] } }]);
    expect(await views.items('services')).toMatchObject([{ status: { endpoints: 1, flows: 2 } }]);
    expect(await views.items('hosts')).toMatchObject([{ kind: 'Host', metadata: { name: 'alpha' } }]);
  });

  it('S38: Services are shown with what they were given, as an API server would have filled it in', async () => {
    const { views, manager } = await setUp();
    const networks = HOST.replace('}}', '}, serviceCIDRs: [10.96.0.0/16]}');
    const open =
      'apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  type: LoadBalancer\n' +
      '  externalTrafficPolicy: Local\n  ports: [{name: a, port: 80, targetPort: 8080}]\n';
    const { given } = await manager.apply([source('g', networks, open)]);
    const { clusterIPs, nodePorts, healthCheckNodePort } = given![0]!;
    const { spec } = (await views.item('Service', 'web'))!;
    expect(spec).toEqual({
      ...{ type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort },
      ...{ clusterIP: clusterIPs[0], clusterIPs },
      ports: [{ name: 'a', port: 80, targetPort: 8080, nodePort: nodePorts[0]!.nodePort }],
    });
  });

  it('a peer was last heard on the card’s clock, also after it wrapped', async () => {
    const { views, counters, beta } = await setUp();
    const now = Number(process.hrtime.bigint() / 1_000_000n) | 0;
    counters.values[beta * COUNTER_FIELDS + Counter.LAST_RX] = (now - 7000) | 0;
    expect(await views.items('peers')).toMatchObject([{ status: { lastHeard: 7 } }]);
  });
});

describe('V15: what a path MTU leaves for the packets inside', () => {
  const member = (id: number, v6 = false) => ({
    network: id,
    remote: 0,
    address: v6 ? ([1, 2, 3, 4] as const) : ([0, 0, 0xffff, 5] as const),
    port: 4789,
  });
  const generation = {
    networks: [
      { id: 0, mtu: 1450 },
      { id: 1, mtu: 1300 },
      { id: 2, mtu: 1446, innerVlan: 'pass' },
    ],
    peers: [
      { name: 'four', memberships: [member(0), member(1)] },
      { name: 'six', memberships: [member(0, true)] },
      { name: 'tagged', memberships: [member(2)] },
    ],
  } as unknown as Generation;
  const cases: [peer: string, pathMtu: number | null, inner: number][] = [
    ['four', 1500, 0],
    ['four', 1499, 1449],
    ['four', 1400, 1350],
    ['six', 1520, 0],
    ['six', 1500, 1430],
    ['tagged', 1500, 0],
    ['tagged', 1499, 1445],
    ['four', null, 0],
    ['nobody', 900, 0],
  ];
  for (const [name, pathMtu, inner] of cases) {
    it(`${name} ${pathMtu} → ${inner}`, () => expect(innerLimit(generation, name, pathMtu)).toBe(inner));
  }
});

it('a log line for a terminal is one short line', () => {
  const json =
    '{"level":"info","time":"2026-01-02T03:04:05.678Z","pid":1,"ports":2,"socket":"/run/x","msg":"ready"}';
  expect(prettyLine(json, false)).toBe('03:04:05 info  ready ports=2 socket=/run/x\n');
  expect(prettyLine(json.replace('"ports":2', '"why":"a b"'), false)).toContain('why="a b"');
});
