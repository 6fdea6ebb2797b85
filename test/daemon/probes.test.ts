import { afterEach, describe, expect, it } from 'vitest';
import type { EchoResult, Pinger } from '../../src/daemon/echo.ts';
import { Prober } from '../../src/daemon/probes.ts';

/** A path with a router that may or may not say why it dropped something. */
class FakePath implements Pinger {
  up = true;
  mtu = 1500;
  says = true;
  /** Drops every n-th packet. */
  loss = 0;
  pings = 0;
  readonly sizes: number[] = [];

  async ping(_address: string, size: number): Promise<EchoResult> {
    this.sizes.push(size);
    this.pings++;
    await Promise.resolve();
    if (!this.up || (this.loss > 0 && this.pings % this.loss === 0)) return { kind: 'timeout' };
    if (size <= this.mtu) return { kind: 'reply', rtt: 1.25 };
    return this.says ? { kind: 'too-big', mtu: this.mtu } : { kind: 'timeout' };
  }

  close(): void {}
}

let prober: Prober | undefined;
afterEach(() => prober?.close());

function watch(echo: Pinger | string, linkMtu = 1500) {
  const limits: (number | null)[] = [];
  const turns: boolean[] = [];
  prober = new Prober({
    echo,
    linkMtu: () => linkMtu,
    onPathMtu: (_peer, mtu) => limits.push(mtu),
    onReachable: (_peer, reachable) => turns.push(reachable),
    probeMs: 10,
    discoverMs: 40,
    timeoutMs: 5,
  });
  prober.setTargets([{ name: 'beta', address: '192.0.2.2' }]);
  const running = prober;
  return { limits, turns, state: () => running.state('beta'), prober: running };
}

const until = async (condition: () => boolean): Promise<void> => {
  for (let i = 0; i < 300 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(condition()).toBe(true);
};

describe('reachability', () => {
  it('is unknown, then yes with a round-trip time, then no after three misses, then yes again', async () => {
    const path = new FakePath();
    const { state, turns } = watch(path);
    expect(state()).toEqual({ reachable: 'unknown', rtt: null, pathMtu: null });
    await until(() => state().reachable === 'yes');
    expect(state().rtt).toBe(1.25);
    path.up = false;
    await until(() => state().reachable === 'no');
    path.up = true;
    await until(() => state().reachable === 'yes');
    expect(turns).toEqual([true, false, true]);
  });

  it('is not lost with single packets', async () => {
    const path = new FakePath();
    path.loss = 3;
    const { state } = watch(path);
    await until(() => path.pings > 40);
    expect(state().reachable).toBe('yes');
  });

  it('is off without a socket', () => {
    const { state, prober } = watch('off (needs CAP_NET_RAW)');
    expect(state()).toEqual({ reachable: 'off', rtt: null, pathMtu: null });
    expect(prober.text).toBe('off (needs CAP_NET_RAW)');
  });
});

describe('path MTU', () => {
  it('of an ordinary path needs one packet and limits nothing', async () => {
    const path = new FakePath();
    const { state, limits } = watch(path);
    await until(() => state().pathMtu === 1500);
    expect(limits).toEqual([]);
    expect(path.sizes.filter((size) => size > 64)).toEqual([1500]);
  });

  it('is what the router says', async () => {
    const path = new FakePath();
    path.mtu = 1400;
    const { state, limits } = watch(path);
    await until(() => state().pathMtu === 1400);
    expect(limits).toEqual([1400]);
  });

  for (const mtu of [576, 577, 1279, 1499]) {
    it(`${mtu} is found exactly when the router says nothing`, async () => {
      const path = new FakePath();
      path.mtu = mtu;
      path.says = false;
      const { limits } = watch(path);
      await until(() => limits.length > 0);
      expect(limits).toEqual([mtu]);
    });
  }

  it('a lying router neither loops nor goes below the floor', async () => {
    const path = new FakePath();
    path.mtu = 100;
    const { state, limits } = watch(path);
    await until(() => path.sizes.includes(576));
    expect(state().pathMtu).toBeNull();
    expect(limits).toEqual([]);
  });

  it('that grew is found by the next discovery and the limit is lifted', async () => {
    const path = new FakePath();
    path.mtu = 1300;
    const { limits } = watch(path);
    await until(() => limits.length === 1);
    path.mtu = 1500;
    await until(() => limits.length === 2);
    expect(limits).toEqual([1300, null]);
  });

  it('is looked for at once when the kernel refused a size', async () => {
    const path = new FakePath();
    const { limits, state, prober } = watch(path);
    await until(() => state().pathMtu === 1500);
    path.mtu = 1200;
    prober.suspect('beta');
    prober.suspect('nobody');
    await until(() => limits.at(-1) === 1200);
  });

  it('goes down by plateaus where nobody answers', async () => {
    const { limits, prober, state } = watch('off (raw-socket not built)');
    prober.suspect('beta');
    prober.suspect('beta');
    expect(limits).toEqual([1492]);
    expect(state().pathMtu).toBe(1492);
  });
});

it('forgets peers that are gone and starts anew when an address changes', async () => {
  const path = new FakePath();
  path.mtu = 1400;
  const { limits, prober } = watch(path);
  await until(() => limits.length === 1);
  prober.setTargets([{ name: 'beta', address: '192.0.2.3' }]);
  expect(limits[1]).toBeNull();
  await until(() => prober.state('beta').pathMtu === 1400);
  prober.setTargets([]);
  const { pings } = path;
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(path.pings).toBe(pings);
});
