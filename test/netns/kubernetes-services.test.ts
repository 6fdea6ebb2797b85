/** What Kubernetes' e2e tests assert of ClusterIPs (test/e2e/network), with real traffic between two nodes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, endpoints, FIRST, IN_NETWORK, PODS, SECOND, service, servicePort } from './cluster.ts';
import { SKIP, until } from './kit.ts';

const VIP = '10.96.1.1';
/** What everybody does within: kube-proxy's own bound for UDP is 60 s. */
const SECOND_MS = 1000;

describe.skipIf(SKIP)('Kubernetes: services', () => {
  const cluster = new Cluster();
  const all = Object.keys(PODS).sort();

  beforeAll(() => cluster.start(), 60_000);
  afterAll(() => cluster.lab.dispose());

  it('S5: Granular Checks, Pods: every pod and node reaches every pod by HTTP and UDP, source unchanged', async () => {
    const asked = [];
    for (const from of ['a1', 'b2', 'alpha', 'beta']) {
      const own = PODS[from as keyof typeof PODS] ?? IN_NETWORK[from as keyof typeof IN_NETWORK];
      for (const [name, address] of Object.entries(PODS)) {
        for (const protocol of ['http', 'udp'] as const) {
          asked.push([cluster.who(from, protocol, address, FIRST, { count: 1 }), name] as const);
        }
        if (name !== from) {
          const seen = cluster.who(from, 'http', address, FIRST, { count: 1, what: 'clientip' });
          asked.push([seen, own] as const);
        }
      }
      expect(await Promise.all(asked.map(([answer]) => answer))).toEqual(asked.map(([, name]) => [name]));
    }
  });

  it('S12, S20: Granular Checks, Services: pods and nodes reach every endpoint, and pods keep their address', async () => {
    await cluster.apply(service('web', VIP), endpoints('web', ['a1', 'a2', 'b1', 'b2']));
    for (const protocol of ['http', 'udp'] as const) {
      const clients = ['a1', 'b2', 'alpha', 'beta'];
      expect(await cluster.each(clients, protocol, VIP, 80, { count: 8 })).toEqual(clients.map(() => all));
    }
    await cluster.apply(endpoints('web', ['a1', 'b1']));
    for (const [from, address] of [
      ['a2', PODS.a2],
      ['b2', PODS.b2],
    ] as const) {
      expect(await cluster.who(from, 'http', VIP, 80, { what: 'clientip' })).toEqual([address]);
      expect(await cluster.who(from, 'udp', VIP, 80, { what: 'clientip' })).toEqual([address]);
    }
  });

  it('S5: several Services with one selector: deleting one leaves the others', async () => {
    await cluster.apply(service('twin', '10.96.1.2'), endpoints('twin', ['a1', 'b1']));
    expect(await cluster.who('a2', 'http', '10.96.1.2', 80)).toEqual(['a1', 'b1']);
    await cluster.delete('services', 'twin');
    await cluster.delete('endpointslices', 'twin-1');
    expect(await cluster.who('a2', 'http', '10.96.1.2', 80, { count: 1 })).not.toContain('a1');
    expect(await cluster.who('a2', 'http', VIP, 80)).toEqual(['a1', 'b1']);
    expect(await cluster.who('b2', 'udp', VIP, 80)).toEqual(['a1', 'b1']);
  });

  it('N15, N18: a port used again through another VIP gets through, though the endpoint remembers the first connection', async () => {
    const other = '10.96.1.9';
    await cluster.apply(service('other', other), endpoints('other', ['b1']));
    await cluster.apply(service('same', '10.96.1.8'), endpoints('same', ['b1']));
    const ports = [40_001, 40_002, 40_003, 40_004, 40_005, 40_006, 40_007, 40_008];
    const ask = (vip: string) =>
      Promise.all(ports.map((port) => cluster.who('a1', 'http', vip, 80, { count: 1, local: `:${port}` })));
    expect(await ask(other)).toEqual(ports.map(() => ['b1']));
    expect(await ask('10.96.1.8')).toEqual(ports.map(() => ['b1']));
    for (const name of ['other', 'same']) {
      await cluster.delete('services', name);
      await cluster.delete('endpointslices', `${name}-1`);
    }
  });

  it('S5, S8: basic and multiport endpoints: membership follows pods and ports', async () => {
    const vip = '10.96.1.3';
    const ports = [servicePort('one', 'TCP', 80), servicePort('two', 'TCP', 81)];
    const [one, two] = [servicePort('one', 'TCP', FIRST), servicePort('two', 'TCP', SECOND)];
    await cluster.apply(service('multi', vip, { ports }), endpoints('multi', ['a1'], [one]));
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a1']);
    expect(await cluster.who('b1', 'http', vip, 81, { count: 1 })).toEqual(['ECONNREFUSED']);
    await cluster.apply(endpoints('multi', ['a1', 'b2'], [one, two]));
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a1', 'b2']);
    expect(await cluster.who('b1', 'http', vip, 81)).toEqual(['a1', 'b2']);
    await cluster.apply(endpoints('multi', ['b2'], [two]));
    expect(await cluster.who('b1', 'http', vip, 80, { count: 1 })).toEqual(['ECONNREFUSED']);
    expect(await cluster.who('b1', 'http', vip, 81)).toEqual(['b2']);
    await cluster.apply(endpoints('multi', []));
    expect(await cluster.who('b1', 'http', vip, 81, { count: 1 })).toEqual(['ECONNREFUSED']);
  });

  it('S3: same port, different protocols: removing one leaves the other', async () => {
    const vip = '10.96.1.4';
    await cluster.apply(service('mixed', vip), endpoints('mixed', ['a1']));
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a1']);
    expect(await cluster.who('b1', 'udp', vip, 80)).toEqual(['a1']);
    await cluster.apply(service('mixed', vip, { ports: [servicePort('udp', 'UDP')] }));
    expect(await cluster.who('b1', 'http', vip, 80, { count: 1 })).toEqual(['ECONNREFUSED']);
    expect(await cluster.who('b1', 'udp', vip, 80)).toEqual(['a1']);
    await cluster.apply(service('mixed', vip, { ports: [servicePort('http', 'TCP')] }));
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a1']);
    expect(await cluster.who('b1', 'udp', vip, 80, { count: 1 })).toEqual(['ECONNREFUSED']);
  });

  it('S26, S29: session affinity: 15 requests on one pod, switched off and on live', async () => {
    const vip = '10.96.1.5';
    const affine = { sessionAffinity: 'ClientIP' };
    await cluster.apply(service('sticky', vip, affine), endpoints('sticky', ['a1', 'a2', 'b1', 'b2']));
    for (const from of ['a1', 'b1', 'alpha']) {
      const { answers } = await cluster.ask(from, 'http', vip, 80, { count: 15 });
      expect(Object.values(answers)).toEqual([15]);
    }
    await cluster.apply(service('sticky', vip));
    expect((await cluster.who('a1', 'http', vip, 80, { count: 8 })).length).toBeGreaterThan(1);
    await cluster.apply(service('sticky', vip, affine));
    expect(Object.values((await cluster.ask('a1', 'http', vip, 80, { count: 15 })).answers)).toEqual([15]);
  });

  it('S26, S27: session affinity times out: the same pod until then, later another', async () => {
    const vip = '10.96.1.6';
    const sessionAffinityConfig = { clientIP: { timeoutSeconds: 1 } };
    const affine = { sessionAffinity: 'ClientIP', sessionAffinityConfig };
    await cluster.apply(service('forgetful', vip, affine), endpoints('forgetful', ['a1', 'a2', 'b1', 'b2']));
    const [first] = await cluster.who('a1', 'http', vip, 80, { count: 15 });
    await sleep(1200);
    const [second, ...more] = await cluster.who('a1', 'http', vip, 80, { count: 15 });
    expect([second === first, more]).toEqual([false, []]);
  });

  it('S2: change of type: ExternalName has no address, ClusterIP has one again', async () => {
    const vip = '10.96.1.7';
    await cluster.apply(service('changing', vip), endpoints('changing', ['b1']));
    expect(await cluster.who('a1', 'http', vip, 80)).toEqual(['b1']);
    const named = { type: 'ExternalName', externalName: 'www.example', clusterIP: undefined };
    await cluster.apply(service('changing', '', named));
    expect(await cluster.who('a1', 'http', vip, 80, { count: 1 })).not.toContain('b1');
    await cluster.apply(service('changing', vip, { type: 'ClusterIP' }));
    expect(await cluster.who('a1', 'http', vip, 80)).toEqual(['b1']);
  });

  it.each(['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless'])(
    'S2: the label %s takes the address away, and gives it back',
    async (label) => {
      const vip = '10.96.1.8';
      await cluster.apply(service('labelled', vip), endpoints('labelled', ['b1']));
      expect(await cluster.who('a1', 'http', vip, 80)).toEqual(['b1']);
      await cluster.apply(service('labelled', vip, {}, { [label]: 'another' }));
      expect(await cluster.who('a1', 'http', vip, 80, { count: 1 })).not.toContain('b1');
      await cluster.apply(service('labelled', vip));
      expect(await cluster.who('a1', 'http', vip, 80)).toEqual(['b1']);
    },
  );

  it('N31: hairpin: a pod reaches itself through its own Service', async () => {
    const vip = '10.96.1.9';
    await cluster.apply(service('self', vip), endpoints('self', ['b1']));
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['b1']);
    expect(await cluster.who('b1', 'udp', vip, 80)).toEqual(['b1']);
  });

  it('S15, S16: refused when no endpoints exist, by TCP and UDP, seen from pods and nodes', async () => {
    const vip = '10.96.1.10';
    await cluster.apply(service('empty', vip), endpoints('empty', []));
    for (const from of ['a1', 'b1', 'alpha']) {
      expect(await cluster.who(from, 'http', vip, 80, { count: 1 })).toEqual(['ECONNREFUSED']);
    }
    expect(await cluster.who('a2', 'udp', vip, 80, { count: 1 })).toEqual(['ECONNREFUSED']);
    await cluster.apply(endpoints('empty', ['a1']));
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a1']);
  });

  it('S6, S14: unready endpoints get nothing; published ones are ready; terminating ones when nobody else is', async () => {
    const vip = '10.96.1.11';
    const unready = { ready: false, serving: false };
    const ending = { ready: false, serving: true, terminating: true };
    const gone = { ready: false, serving: false, terminating: true };
    const state = (...list: Parameters<typeof endpoints>[1]) => cluster.apply(endpoints('state', list));
    await cluster.apply(service('state', vip));
    await state(['a1', unready]);
    expect(await cluster.who('b1', 'http', vip, 80, { count: 1 })).toEqual(['ECONNREFUSED']);
    await state(['a1', unready], 'a2', ['b2', ending]);
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a2']);
    await state(['a1', ending], ['a2', unready], ['b2', gone]);
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a1']);
    // publishNotReadyAddresses: the controller folds it into ready
    await state(
      ['a1', { ready: true, serving: false }],
      ['b2', { ready: true, serving: true, terminating: true }],
    );
    expect(await cluster.who('b1', 'http', vip, 80)).toEqual(['a1', 'b2']);
  });

  it('S31, S33, S37: Conntrack: a UDP client with a fixed port reaches the next server pod within a second', async () => {
    const vip = '10.96.1.12';
    const bound = SECOND_MS;
    await cluster.apply(service('udp', vip), endpoints('udp', ['a1']));
    const following = cluster.follow('b1', vip, 80, 40_123, 2500);
    await sleep(600);
    await cluster.apply(endpoints('udp', ['b2']));
    const changed = 600 + bound;
    await sleep(600);
    await cluster.apply(endpoints('udp', ['a2']));
    const { answers } = await following;
    expect(answers.map(({ name }) => name)).toEqual(['a1', 'b2', 'a2']);
    expect(answers[1]!.at).toBeLessThan(changed + 300);
    expect(answers[2]!.at - answers[1]!.at).toBeLessThan(600 + bound + 300);
  });

  it('S31: Conntrack: UDP sent before there is an endpoint finds it within a second of its becoming ready', async () => {
    const vip = '10.96.1.13';
    await cluster.apply(service('late', vip), endpoints('late', [['a1', { ready: false, serving: false }]]));
    const following = cluster.follow('b1', vip, 80, 40_124, 2000);
    await sleep(500);
    const before = performance.now();
    await cluster.apply(endpoints('late', ['a1']));
    const applied = performance.now() - before;
    const { answers } = await following;
    expect(answers.map(({ name }) => name)).toEqual(['a1']);
    expect(answers[0]!.at).toBeLessThan(500 + applied + SECOND_MS);
  });

  it('S23, N36: large requests: an HTTP body, and datagrams beyond the MTU, there and back', async () => {
    for (const from of ['a1', 'b1', 'alpha']) {
      for (const bytes of [2000, 1_000_000]) {
        expect(await cluster.post(from, 'http', VIP, 80, bytes)).toBe(true);
      }
      for (const bytes of [2000, 2000, 20_000]) {
        expect(await cluster.post(from, 'udp', VIP, 80, bytes)).toBe(true);
      }
    }
  });

  it('S9: funny IPs: leading zeros are decimal', async () => {
    await cluster.apply(service('funny', '010.096.01.014'), endpoints('funny', ['a2']));
    expect(await cluster.who('b1', 'http', '10.96.1.14', 80)).toEqual(['a2']);
  });

  it('N5, S30, M7: VIPs live through churn: up, down, recreated, and established connections unharmed', async () => {
    const vip = '10.96.1.15';
    await cluster.apply(service('steady', vip), endpoints('steady', ['a1', 'b1']));
    const held = await Promise.all(['a2', 'b2', 'a2', 'b2'].map((from) => cluster.hold(from, vip, 80)));
    for (let round = 0; round < 10; round++) {
      await cluster.apply(
        service(`churn-${round}`, `10.96.2.${round}`),
        endpoints(`churn-${round}`, ['a1', 'b2']),
      );
      await cluster.apply(endpoints('steady', round % 2 === 0 ? ['b1'] : ['a1', 'b1']));
      if (round > 1) await cluster.delete('services', `churn-${round - 2}`);
    }
    await cluster.delete('services', 'steady');
    expect(await cluster.who('a2', 'http', vip, 80, { count: 1 })).not.toContain('a1');
    await cluster.apply(service('steady', vip));
    expect(await cluster.who('a2', 'http', vip, 80)).toEqual(['a1', 'b1']);
    for (const connection of held) {
      const answers = (): string[] =>
        connection
          .output()
          .split('\n')
          .filter((line) => line.startsWith('answer'));
      const count = answers().length;
      await until(
        () => answers().length,
        (now) => now > count + 2,
      );
      // each stays with the pod it began with
      expect(new Set(answers()).size).toBe(1);
      expect(connection.output()).not.toMatch(/closed|ECONN/);
      await connection.stop();
    }
  });
});
