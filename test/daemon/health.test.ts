import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { formatProblem } from '../../src/control/problem.ts';
import type { ResourceOf } from '../../src/control/types.ts';
import { Health } from '../../src/daemon/health/health.ts';
import { formatEndpoint, Listener } from '../../src/daemon/health/listener.ts';
import { Metrics } from '../../src/daemon/health/metrics.ts';
import { Progress } from '../../src/daemon/health/progress.ts';
import { answerHealth } from '../../src/daemon/health/proxy-health.ts';
import { ServiceHealth } from '../../src/daemon/health/service-health.ts';
import { COUNTER_FIELDS, Counter, Counters, FIRST_PORT, Global } from '../../src/telemetry/counters.ts';
import { Drop } from '../../src/telemetry/drop.ts';
import { resources } from '../control/fixture.ts';
import { silent } from './fakes.ts';

const LOOPBACK = '127.0.0.1';
const closing: { close(): Promise<void> | void }[] = [];

afterEach(async () => {
  for (const thing of closing.splice(0)) await thing.close();
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const get = async (port: number, path = '/') => {
  const response = await fetch(`http://${LOOPBACK}:${port}${path}`);
  return { status: response.status, headers: response.headers, text: await response.text() };
};

const check = (port: number, localEndpoints: number) => ({
  namespace: 'shop',
  name: 'web',
  port,
  localEndpoints,
});

describe('a health check node port', () => {
  const serve = (isHealthy = () => true) => {
    const health = new ServiceHealth(silent, isHealthy);
    closing.push(health);
    return health;
  };

  it('S34: says 200 with the number of local ready endpoints, on any path', async () => {
    const port = await freePort();
    await serve().update([check(port, 2)], [LOOPBACK]);
    const { status, headers, text } = await get(port, '/what/ever?x=1');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('application/json');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-load-balancing-endpoint-weight')).toBe('2');
    expect(JSON.parse(text)).toEqual({
      service: { namespace: 'shop', name: 'web' },
      localEndpoints: 2,
      serviceProxyHealthy: true,
    });
  });

  it('S34: says 503 without a local ready endpoint, and while the proxy is not healthy', async () => {
    const port = await freePort();
    let isHealthy = true;
    const health = serve(() => isHealthy);
    await health.update([check(port, 0)], [LOOPBACK]);
    expect((await get(port)).status).toBe(503);
    await health.update([check(port, 1)], [LOOPBACK]);
    expect((await get(port)).status).toBe(200);
    isHealthy = false;
    const { status, text } = await get(port);
    expect([status, JSON.parse(text).serviceProxyHealthy]).toEqual([503, false]);
  });

  it('S34: is closed when its Service goes', async () => {
    const port = await freePort();
    const health = serve();
    await health.update([check(port, 1)], [LOOPBACK]);
    await health.update([], [LOOPBACK]);
    await expect(get(port)).rejects.toThrow();
  });

  it('S34: is a problem while its port is another program’s', async () => {
    const port = await freePort();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(port, LOOPBACK, resolve));
    const health = serve();
    await health.update([check(port, 1)], [LOOPBACK]);
    expect(health.problems).toEqual([
      `health check port of Service shop/web is not served: ${LOOPBACK}:${port} is in use by another process`,
    ]);
    await health.update([], [LOOPBACK]);
    expect(health.problems).toEqual([]);
    await health.update([check(port, 1)], [LOOPBACK]);
    await new Promise((resolve) => taken.close(resolve));
    await health.update([check(port, 1)], [LOOPBACK]);
    expect([(await get(port)).status, health.problems]).toEqual([200, []]);
  });
});

describe('the health of the proxy', () => {
  let now = 0;
  const make = () => new Progress(() => now);
  const status = (progress: Progress, path: string, eligible = true) =>
    answerHealth(path, progress, eligible).status;

  it('S35: is bad once a change has waited for a minute, and good again when it is done', () => {
    now = 0;
    const progress = make();
    progress.queued();
    progress.finished(0, []);
    expect(status(progress, '/healthz')).toBe(200);
    progress.queued();
    now = 60_000;
    expect(status(progress, '/healthz')).toBe(200);
    now = 60_001;
    expect([status(progress, '/healthz'), status(progress, '/livez')]).toEqual([503, 503]);
    progress.finished(60, []);
    expect(status(progress, '/healthz')).toBe(200);
  });

  it('S35: takes no traffic before anything is in force, and lives', () => {
    const progress = make();
    expect([status(progress, '/healthz'), status(progress, '/livez')]).toEqual([503, 200]);
    progress.queued();
    expect([status(progress, '/healthz'), status(progress, '/livez')]).toEqual([503, 200]);
    progress.finished(0, []);
    expect(status(progress, '/healthz')).toBe(200);
  });

  it('S35: changes that follow each other closely are not one that is stuck', () => {
    now = 0;
    const progress = make();
    for (let i = 0; i < 100; i++) {
      progress.queued();
      now += 1000;
      if (i > 0) progress.finished(1, []);
    }
    expect(progress.isStuck).toBe(false);
  });

  it('S35: /healthz knows of a Node that is being deleted, /livez does not', () => {
    const progress = make();
    progress.queued();
    progress.finished(0, []);
    expect(status(progress, '/healthz')).toBe(200);
    expect([status(progress, '/healthz', false), status(progress, '/livez', false)]).toEqual([503, 200]);
    expect(JSON.parse(answerHealth('/healthz', progress, false).body)).toMatchObject({ nodeEligible: false });
    expect(status(progress, '/')).toBe(404);
  });
});

describe('metrics', () => {
  const counters = new Counters();
  const progress = new Progress();
  const metrics = new Metrics({
    progress,
    counters,
    withoutLocalEndpoints: () => ({ internal: 3, external: 1 }),
    locations: () => new Map([[FIRST_PORT, 'web']]),
  });
  progress.add(metrics);

  it('S36: carry the names of kube-proxy', async () => {
    progress.queued();
    const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString() };
    progress.finished(0.02, [{ kind: 'EndpointSlice', annotations } as never]);
    const text = await metrics.text();
    expect(text).toMatch(/^kubeproxy_sync_proxy_rules_duration_seconds_count 1$/m);
    expect(text).toMatch(/^kubeproxy_network_programming_duration_seconds_count 1$/m);
    expect(text).toMatch(/^kubeproxy_sync_proxy_rules_last_timestamp_seconds 1\d+\.?\d*$/m);
    expect(text).toMatch(/^kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds 1\d+\.?\d*$/m);
    expect(text).toMatch(
      /^kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="internal"} 3$/m,
    );
    expect(text).toMatch(
      /^kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="external"} 1$/m,
    );
  });

  it('S36: a change from before the start says nothing', async () => {
    const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': '2020-01-01T00:00:00Z' };
    progress.queued();
    progress.finished(0.02, [{ kind: 'EndpointSlice', annotations } as never]);
    expect(await metrics.text()).toMatch(/^kubeproxy_network_programming_duration_seconds_count 1$/m);
  });

  it('show what is counted, read when asked', async () => {
    counters.globals[Global.FLOWS] = 7;
    counters.globals[Global.DATAGRAMS_EVICTED] = 3;
    counters.drops[FIRST_PORT * Drop.COUNT + Drop.TOO_BIG] = 2;
    counters.drops[Drop.TOO_BIG] = 3;
    counters.values[FIRST_PORT * COUNTER_FIELDS + Counter.RX_BYTES] = 1500;
    const text = await metrics.text();
    expect(text).toMatch(/^twill_flows 7$/m);
    expect(text).toMatch(/^twill_datagrams_evicted_total 3$/m);
    expect(text).toMatch(/^twill_drops_total{reason="TOO_BIG"} 5$/m);
    expect(text).toMatch(/^twill_received_bytes_total{location="web"} 1500$/m);
  });
});

describe('where the Host wants them', () => {
  it('S35, S36: a place that cannot be had is named with its line and a remedy that fits', async () => {
    const port = await freePort();
    closing.push(
      await Listener.open({ address: LOOPBACK, port }, () => ({ status: 200, type: 'text/plain', body: '' })),
    );
    const resource = resources({
      apiVersion: 'twill/v1alpha1',
      kind: 'Host',
      metadata: { name: 'alpha' },
      spec: {
        underlay: { address: '192.0.2.1' },
        health: { bind: `${LOOPBACK}:${port}` },
        metrics: { bind: `192.0.2.77:${port}` },
      },
    })[0] as ResourceOf<'Host'>;
    const facts = {
      host: () => undefined,
      checks: () => [],
      nodeAddresses: () => [],
      isNodeEligible: () => true,
      withoutLocalEndpoints: () => ({ internal: 0, external: 0 }),
      locations: () => new Map(),
    };
    const health = new Health(facts, new Counters(), silent);
    closing.push(health);
    expect((await health.start(resource)).map(formatProblem)).toEqual(health.problems);
    expect(health.problems).toEqual([
      expect.stringMatching(
        /^\S+:\d+:\d+: spec\.health\.bind: .* is in use by another process; stop it, choose another address and port, or write health: \{bind: none\}$/,
      ),
      expect.stringMatching(
        /^\S+:\d+:\d+: spec\.metrics\.bind: .* is not an address of this host; choose another address and port, or write metrics: \{bind: none\}$/,
      ),
    ]);
  });
});

describe('a listener', () => {
  it('says in words why it cannot listen', async () => {
    const port = await freePort();
    const respond = () => ({ status: 200, type: 'text/plain', body: '' });
    closing.push(await Listener.open({ address: LOOPBACK, port }, respond));
    await expect(Listener.open({ address: LOOPBACK, port }, respond)).rejects.toThrow(
      `${LOOPBACK}:${port} is in use by another process`,
    );
    await expect(Listener.open({ address: '192.0.2.77', port }, respond)).rejects.toThrow(
      `192.0.2.77:${port} is not an address of this host`,
    );
    expect(formatEndpoint({ address: '::1', port: 80 })).toBe('[::1]:80');
  });

  it('answers 500 when there is no answer, and goes on', async () => {
    const port = await freePort();
    const respond = () => {
      throw new Error('no idea');
    };
    closing.push(await Listener.open({ address: LOOPBACK, port }, respond));
    expect(await get(port)).toMatchObject({ status: 500, text: 'no idea\n' });
    expect((await get(port)).status).toBe(500);
  });
});
