import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEcho, type Pinger } from '../../src/daemon/echo.ts';
import { CAN_NAMESPACES, ip, link, namespace, removeNamespaces } from './namespaces.ts';

describe.skipIf(!CAN_NAMESPACES)('echo over real sockets', () => {
  let echo: Pinger;
  beforeEach(async () => {
    const opened = await openEcho();
    if (typeof opened === 'string') throw new Error(`no raw socket: ${opened}`);
    echo = opened;
  });
  afterEach(() => echo.close());

  it('loopback answers at once, over both families', async () => {
    for (const address of ['127.0.0.1', '::1']) {
      const result = await echo.ping(address, 64, 1000);
      expect(result.kind, address).toBe('reply');
      if (result.kind === 'reply') expect(result.rtt).toBeLessThan(500);
    }
  });

  it('many at once each get their own answer', async () => {
    const sizes = Array.from({ length: 200 }, (_, i) => 64 + i);
    const results = await Promise.all(sizes.map((size) => echo.ping('127.0.0.1', size, 2000)));
    expect(results.every((result) => result.kind === 'reply')).toBe(true);
  });

  it('an address without a route, and one that is none, time out', async () => {
    const results = await Promise.all(
      ['240.0.0.1', 'nonsense'].map((address) => echo.ping(address, 64, 100)),
    );
    expect(results).toEqual([{ kind: 'timeout' }, { kind: 'timeout' }]);
  });

  it('close answers what is waiting', async () => {
    const waiting = echo.ping('240.0.0.1', 64, 60_000);
    echo.close();
    expect(await waiting).toEqual({ kind: 'timeout' });
  });
});

const BUILT = join(import.meta.dirname, '../../dist/src/daemon');
const PROBE = `
  import { openEcho } from ${JSON.stringify(join(BUILT, 'echo.js'))};
  import { Prober } from ${JSON.stringify(join(BUILT, 'probes.js'))};
  const addresses = process.argv.slice(2);
  const prober = new Prober({ echo: await openEcho(), linkMtu: () => 1500, onPathMtu: () => {} });
  prober.setTargets(addresses.map((address) => ({ name: address, address })));
  const states = () => addresses.map((a) => prober.state(a));
  for (let i = 0; i < 100 && states().some((s) => s.pathMtu === null); i++) await new Promise((r) => setTimeout(r, 100));
  console.log(JSON.stringify(Object.fromEntries(addresses.map((a, i) => [a, [states()[i].reachable, states()[i].pathMtu]]))));
  prober.close();`;

/** The prober runs in another namespace, so in a process of its own: as built, as Node 20 reads no types. */
describe.skipIf(!CAN_NAMESPACES || !existsSync(BUILT))('path MTU over a router with a smaller link', () => {
  const folder = mkdtempSync(join(tmpdir(), `twill-echo-${process.pid}-`));
  afterEach(() => {
    removeNamespaces();
    rmSync(folder, { recursive: true, force: true });
  });

  it('is found over IPv4 and IPv6', async () => {
    const [a, router, b] = [namespace('a'), namespace('r'), namespace('b')] as const;
    link(a, '192.0.2.1/30', router, '192.0.2.2/30', 1500);
    link(router, '192.0.2.5/30', b, '192.0.2.6/30', 1400);
    link(a, 'fd00:1::1/64', router, 'fd00:1::2/64', 1500);
    link(router, 'fd00:2::1/64', b, 'fd00:2::2/64', 1350);
    ip('netns', 'exec', router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    ip('-n', a, 'route', 'add', 'default', 'via', '192.0.2.2');
    ip('-n', b, 'route', 'add', 'default', 'via', '192.0.2.5');
    ip('-n', a, '-6', 'route', 'add', 'default', 'via', 'fd00:1::2');
    ip('-n', b, '-6', 'route', 'add', 'default', 'via', 'fd00:2::1');
    const script = join(folder, 'probe.mjs');
    writeFileSync(script, PROBE);
    const output = await new Promise<string>((resolve, reject) => {
      const args = ['netns', 'exec', a, process.execPath, script, '192.0.2.6', 'fd00:2::2'];
      execFile('ip', args, { timeout: 15_000 }, (error, stdout, stderr) =>
        error ? reject(new Error(`${error.message}\n${stderr}`)) : resolve(stdout),
      );
    });
    expect(JSON.parse(output)).toEqual({ '192.0.2.6': ['yes', 1400], 'fd00:2::2': ['yes', 1350] });
  });
});
