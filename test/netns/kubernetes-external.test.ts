/** What Kubernetes' e2e tests assert of what is reached from outside, and of policies (test/e2e/network). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Cluster,
  endpoints,
  IN_NETWORK,
  NODES,
  OTHER_CLIENTS,
  PODS,
  service,
  servicePort,
  WORLD,
} from './cluster.ts';
import { SKIP, until } from './kit.ts';

const TIMED_OUT = ['timeout'];
const REFUSED = ['ECONNREFUSED'];
const ports = (node: number) => [
  servicePort('http', 'TCP', 80, { nodePort: node }),
  servicePort('udp', 'UDP', 80, { nodePort: node }),
];
const EVERYBODY = ['a1', 'b2', 'alpha', 'beta', 'world'];

describe.skipIf(SKIP)('Kubernetes: from outside', () => {
  const cluster = new Cluster();
  const one = { count: 1 };

  beforeAll(() => cluster.start(), 60_000);
  afterAll(() => cluster.lab.dispose());

  it('S17, S19: NodePort: every pod, every node and the world reach it on both nodes', async () => {
    const spec = { type: 'NodePort', ports: ports(30_080) };
    await cluster.apply(service('node', '10.96.2.1', spec), endpoints('node', ['a1', 'b1']));
    for (const protocol of ['http', 'udp'] as const) {
      for (const address of [NODES.alpha, NODES.beta, '10.96.2.1']) {
        const clients = EVERYBODY.filter((from) => from !== 'world' || address !== '10.96.2.1');
        const at = address === '10.96.2.1' ? 80 : 30_080;
        const found = await cluster.each(clients, protocol, address, at, { count: 10 });
        expect({ protocol, address, found }).toEqual({
          protocol,
          address,
          found: clients.map(() => ['a1', 'b1']),
        });
      }
    }
  });

  it('S21: NodePort: with the Cluster policy the world is seen as the node it came by', async () => {
    const seen = (node: 'alpha' | 'beta') =>
      cluster.who('world', 'http', NODES[node], 30_080, { what: 'clientip' });
    expect(await seen('alpha')).toEqual([IN_NETWORK.alpha]);
    expect(await seen('beta')).toEqual([IN_NETWORK.beta]);
  });

  it('S13, S15, S21: NodePort: with the Local policy it is seen as itself, and only where there are endpoints', async () => {
    const spec = { type: 'NodePort', externalTrafficPolicy: 'Local', ports: ports(30_081) };
    await cluster.apply(service('local', '10.96.2.2', spec), endpoints('local', ['a1', 'a2']));
    expect(await cluster.who('world', 'http', NODES.alpha, 30_081)).toEqual(['a1', 'a2']);
    expect(await cluster.who('world', 'http', NODES.alpha, 30_081, { what: 'clientip' })).toEqual([WORLD]);
    expect(await cluster.who('world', 'udp', NODES.alpha, 30_081, { what: 'clientip' })).toEqual([WORLD]);
    expect(await cluster.who('world', 'http', NODES.beta, 30_081, one)).toEqual(TIMED_OUT);
    // S22: pods and the node itself use what there is
    expect(await cluster.who('b1', 'http', NODES.beta, 30_081)).toEqual(['a1', 'a2']);
    expect(await cluster.who('b1', 'http', '10.96.2.2', 80)).toEqual(['a1', 'a2']);
  });

  it('S26: session affinity works on NodePorts', async () => {
    const spec = { type: 'NodePort', sessionAffinity: 'ClientIP', ports: ports(30_082) };
    await cluster.apply(service('sticky', '10.96.2.3', spec), endpoints('sticky', ['a1', 'a2', 'b1', 'b2']));
    for (const from of ['world', 'a1']) {
      const { answers } = await cluster.ask(from, 'http', NODES.alpha, 30_082, { count: 15 });
      expect(Object.values(answers)).toEqual([15]);
    }
  });

  it('S15, S16: NodePort: refused when no endpoints exist, from the world and from pods', async () => {
    await cluster.apply(
      service('none', '10.96.2.4', { type: 'NodePort', ports: ports(30_083) }),
      endpoints('none', []),
    );
    for (const from of ['world', 'a1']) {
      expect(await cluster.who(from, 'http', NODES.alpha, 30_083, one)).toEqual(REFUSED);
    }
  });

  it('S6, S12: NodePort: unready endpoints get nothing, terminating ones when nobody else is', async () => {
    const unready = { ready: false, serving: false };
    const ending = { ready: false, serving: true, terminating: true };
    const spec = { type: 'NodePort', ports: ports(30_084) };
    await cluster.apply(service('state', '10.96.2.5', spec), endpoints('state', ['a1', ['b1', unready]]));
    expect(await cluster.who('world', 'http', NODES.beta, 30_084)).toEqual(['a1']);
    await cluster.apply(
      endpoints('state', [
        ['a1', ending],
        ['b1', unready],
      ]),
    );
    expect(await cluster.who('world', 'http', NODES.beta, 30_084)).toEqual(['a1']);
    await cluster.apply(endpoints('state', [['a1', unready]]));
    expect(await cluster.who('world', 'http', NODES.beta, 30_084, one)).toEqual(REFUSED);
  });

  it('S2: change of type: ClusterIP ↔ NodePort', async () => {
    const vip = '10.96.2.6';
    const asNode = service('changing', vip, { type: 'NodePort', ports: ports(30_085) });
    await cluster.apply(service('changing', vip), endpoints('changing', ['b1']));
    expect(await cluster.who('world', 'http', NODES.alpha, 30_085, one)).toEqual(REFUSED);
    await cluster.apply(asNode);
    expect(await cluster.who('world', 'http', NODES.alpha, 30_085)).toEqual(['b1']);
    await cluster.apply(service('changing', vip));
    expect(await cluster.who('world', 'http', NODES.alpha, 30_085, one)).toEqual(REFUSED);
    expect(await cluster.who('a1', 'http', vip, 80)).toEqual(['b1']);
  });

  it('S3: an external address that is no node’s is served, from pods, nodes and the world', async () => {
    const spec = { externalIPs: ['203.0.113.10'] };
    await cluster.apply(service('external', '10.96.2.7', spec), endpoints('external', ['a1', 'b1']));
    for (const protocol of ['http', 'udp'] as const) {
      const found = await cluster.each(EVERYBODY, protocol, '203.0.113.10', 80);
      expect(found).toEqual(EVERYBODY.map(() => ['a1', 'b1']));
    }
  });

  it('S4, S15: a load balancer’s address, and who is let in', async () => {
    const [vip, allowed] = ['203.0.113.20', OTHER_CLIENTS[0]];
    const balanced = (more: object) => ({
      ...service('balanced', '10.96.2.8', { type: 'LoadBalancer', ports: ports(30_086), ...more }),
      status: { loadBalancer: { ingress: [{ ip: vip }] } },
    });
    await cluster.apply(balanced({}), endpoints('balanced', ['a1', 'b1']));
    for (const from of ['world', 'a2', 'b2']) {
      expect(await cluster.who(from, 'http', vip, 80)).toEqual(['a1', 'b1']);
    }
    await cluster.apply(balanced({ loadBalancerSourceRanges: [` ${allowed}/32 `] }));
    expect(await cluster.who('world', 'http', vip, 80, { local: allowed })).toEqual(['a1', 'b1']);
    expect(await cluster.who('world', 'http', vip, 80, one)).toEqual(TIMED_OUT);
    // the ranges do not guard the NodePort
    expect(await cluster.who('world', 'http', NODES.alpha, 30_086)).toEqual(['a1', 'b1']);
  });

  it('S13, S15: internalTrafficPolicy Local: the own node’s endpoints or none', async () => {
    const vip = '10.96.2.9';
    const spec = { internalTrafficPolicy: 'Local' };
    await cluster.apply(service('inside', vip, spec), endpoints('inside', ['a1', 'a2']));
    expect(await cluster.who('a2', 'http', vip, 80)).toEqual(['a1', 'a2']);
    expect(await cluster.who('b1', 'http', vip, 80, one)).toEqual(TIMED_OUT);
    const ending = { ready: false, serving: true, terminating: true };
    await cluster.apply(endpoints('inside', ['a1', ['b1', ending]]));
    expect(await cluster.who('a2', 'http', vip, 80)).toEqual(['a1']);
    expect(await cluster.who('b2', 'http', vip, 80)).toEqual(['b1']);
  });

  it('S11: topology: only endpoints that are meant for the own zone or node get traffic', async () => {
    const vip = '10.96.2.10';
    const zone = (name: string) => ({ hints: { forZones: [{ name: `zone-${name}` }] } });
    const node = (name: string) => ({ hints: { forNodes: [{ name }] } });
    await cluster.apply(
      service('near', vip),
      endpoints('near', [
        ['a1', zone('alpha')],
        ['b1', zone('beta')],
      ]),
    );
    expect(await cluster.who('a2', 'http', vip, 80)).toEqual(['a1']);
    expect(await cluster.who('b2', 'http', vip, 80)).toEqual(['b1']);
    await cluster.apply(
      endpoints('near', [
        ['a1', node('beta')],
        ['b1', node('alpha')],
      ]),
    );
    expect(await cluster.who('a2', 'http', vip, 80)).toEqual(['b1']);
    // one without a hint, and nobody's matters
    await cluster.apply(endpoints('near', [['a1', zone('alpha')], 'b1']));
    expect(await cluster.who('a2', 'http', vip, 80)).toEqual(['a1', 'b1']);
  });

  it('S34: a health check port tells a load balancer where local endpoints are', async () => {
    const spec = {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 31_000,
      ports: ports(30_087),
    };
    const ending = { ready: false, serving: true, terminating: true };
    await cluster.apply(service('checked', '10.96.2.11', spec), endpoints('checked', ['a1', 'a2']));
    const check = async (node: 'alpha' | 'beta'): Promise<string> => {
      const url = `http://${NODES[node]}:31000/any`;
      const { stdout } = await cluster.lab.run(cluster.ns.world!, [
        'curl',
        '-s',
        '-m',
        '2',
        '-w',
        ' %{http_code}',
        url,
      ]);
      return `${/"localEndpoints":\d+/.exec(stdout)?.[0]} ${stdout.slice(-3)}`;
    };
    await until(
      () => check('alpha'),
      (answer) => answer === '"localEndpoints":2 200',
    );
    expect(await check('beta')).toBe('"localEndpoints":0 503');
    await cluster.apply(endpoints('checked', [['a1', ending]]));
    await until(
      () => check('alpha'),
      (answer) => answer === '"localEndpoints":0 503',
    );
    expect(await cluster.who('world', 'http', NODES.alpha, 30_087)).toEqual(['a1']);
  });

  it('N5, S30: a NodePort’s connections outlive their Service’s changes', async () => {
    const spec = { type: 'NodePort', ports: ports(30_088) };
    await cluster.apply(service('steady', '10.96.2.12', spec), endpoints('steady', ['a1', 'b1']));
    const held = await Promise.all(['world', 'b2'].map((from) => cluster.hold(from, NODES.alpha, 30_088)));
    for (let round = 0; round < 6; round++) {
      await cluster.apply(endpoints('steady', round % 2 === 0 ? ['a2'] : ['a1', 'b1', 'b2']));
    }
    for (const connection of held) {
      const before = connection.output().length;
      await connection.waitFor((text) => text.length > before + 20);
      expect(new Set(connection.output().match(/answer \w+/g)).size).toBe(1);
      expect(connection.output()).not.toMatch(/closed|ECONN/);
      await connection.stop();
    }
    expect(Object.keys(PODS)).toContain(held[0]!.output().match(/answer (\w+)/)![1]);
    expect(await cluster.who('world', 'http', NODES.alpha, 30_088, { count: 9 })).toEqual(['a1', 'b1', 'b2']);
  });
});
