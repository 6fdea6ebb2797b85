import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { ApplyResponse, Status } from '../../src/control/protocol.ts';
import { call } from '../../src/program/client.ts';
import { FakeDaemon, twill } from './harness.ts';

const daemon = new FakeDaemon();
const directory = mkdtempSync(join(tmpdir(), 'twill-client-'));
beforeAll(() => daemon.listen());
afterAll(async () => {
  await daemon.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  daemon.seen.length = 0;
  daemon.answer = () => ({ body: {} });
});

const file = (name: string, text: string): string => {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
};

const NO_CHANGE: ApplyResponse = { changes: [], warnings: [] };

describe('no daemon', () => {
  it.each([
    ['status'],
    ['get', 'networks'],
    ['delete', 'network', 'blue'],
    ['detach', 'web'],
    ['attach', 'web', '--network', 'blue'],
  ])('twill %s says how to start one', async (...args) => {
    const socket = join(directory, 'none.sock');
    expect(await twill([...args, '--socket', socket])).toEqual({
      code: 1,
      stdout: '',
      stderr: `twill: daemon not running: no socket at ${socket}; start it with: twill up -f PATH\n`,
    });
  });

  it('takes the socket from TWILL_SOCKET, and from the option before that', async () => {
    const fromEnv = await twill(['status'], { TWILL_SOCKET: join(directory, 'env.sock') });
    expect(fromEnv.stderr).toContain(join(directory, 'env.sock'));
    const option = ['status', '--socket', join(directory, 'option.sock')];
    expect((await twill(option, { TWILL_SOCKET: 'x' })).stderr).toContain(join(directory, 'option.sock'));
  });

  it.skipIf(existsSync('/run/twill/twill.sock'))('uses /run/twill/twill.sock otherwise', async () => {
    expect((await twill(['status'])).stderr).toContain('no socket at /run/twill/twill.sock;');
  });

  it('tells a socket left by a killed daemon', async () => {
    const socket = file('stale.sock', '');
    rmSync(socket);
    const script = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
    const { spawnSync } = await import('node:child_process');
    spawnSync(process.execPath, ['-e', script]);
    expect((await twill(['status', '--socket', socket])).stderr).toContain(`nobody listens on ${socket}`);
  });

  it('tells a path that is too long for a socket', async () => {
    const socket = `/tmp/${'x'.repeat(120)}`;
    expect((await twill(['status', '--socket', socket])).stderr).toContain('at most 107 bytes');
  });

  it('says that a path is no socket', async () => {
    expect((await twill(['status', '--socket', directory])).stderr).toBe(
      `twill: ${directory} is not a socket\n`,
    );
  });

  it.skipIf(process.getuid?.() !== 0)('tells a missing right from a missing daemon', async () => {
    const closed = join(directory, 'closed');
    mkdirSync(closed);
    chmodSync(closed, 0o700);
    process.seteuid?.(65534);
    try {
      const { code, stderr } = await twill(['status', '--socket', join(closed, 's')]);
      expect([code, stderr]).toEqual([1, `twill: no access to ${join(closed, 's')}: needs root\n`]);
    } finally {
      process.seteuid?.(0);
    }
  });
});

describe('a daemon that misbehaves', () => {
  it('is given up after --timeout', async () => {
    daemon.answer = () => ({});
    const begin = performance.now();
    const { code, stderr } = await daemon.twill('status', '--timeout', '100ms');
    expect([code, stderr]).toEqual([
      1,
      `twill: no answer from the daemon at ${daemon.socket} within 0.1 s\n`,
    ]);
    expect(performance.now() - begin).toBeLessThan(5000);
  });

  it.each([
    ['something else than JSON', { body: '<html>' }, 'is it a twill daemon?'],
    ['a refusal without a reason', { status: 500, body: {} }, 'the daemon refused GET /v1/status: HTTP 500'],
    ['a refusal with two', { status: 422, body: { errors: ['one', 'two'] } }, 'twill: one\ntwill: two\n'],
  ])('%s', async (_name, answer, message) => {
    daemon.answer = () => answer;
    const { code, stderr } = await daemon.twill('status');
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });

  it('hangs up', async () => {
    const socket = join(directory, 'hang.sock');
    const server = createServer((connection) => connection.destroy());
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    await expect(call({ socket, timeout: 1000 }, 'GET', '/v1/status')).rejects.toThrow(
      'closed the connection',
    );
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('apply', () => {
  it('sends the texts with the names the user gave, and prints a line per resource', async () => {
    const [one, two] = [file('one.yaml', 'a: 1\n'), file('two.json', '{}')];
    daemon.answer = () => ({
      body: {
        changes: [
          { kind: 'Network', namespace: '', name: 'blue', action: 'created' },
          { kind: 'Service', namespace: 'default', name: 'shop', action: 'configured' },
          { kind: 'EndpointSlice', namespace: 'prod', name: 'shop-1', action: 'unchanged' },
        ],
        warnings: ['two.json:1:1: odd'],
      } satisfies ApplyResponse,
    });
    expect(await daemon.twill('apply', '-f', one, two)).toEqual({
      code: 0,
      stdout: 'network/blue created\nservice/shop configured\nendpointslice/prod/shop-1 unchanged\n',
      stderr: 'warning: two.json:1:1: odd\n',
    });
    const sources = [
      { file: one, text: 'a: 1\n' },
      { file: two, text: '{}' },
    ];
    expect(daemon.seen).toEqual([{ method: 'POST', path: '/v1/apply', body: { sources } }]);
  });

  it('takes -f again and again', async () => {
    const [one, two] = [file('one.yaml', 'a: 1\n'), file('two.json', '{}')];
    daemon.answer = () => ({ body: NO_CHANGE });
    await daemon.twill('apply', '-f', one, '-f', two);
    expect((daemon.seen[0]!.body as { sources: unknown[] }).sources).toHaveLength(2);
  });

  it('S38: apply says what Services are given', async () => {
    const given = { namespace: 'default', name: 'shop', clusterIPs: ['10.96.7.3'], nodePorts: [] };
    daemon.answer = () => ({ body: { ...NO_CHANGE, given: [{ ...given, healthCheckNodePort: 31_000 }] } });
    const { stdout } = await daemon.twill('apply', '-f', file('one.yaml', ''));
    expect(stdout).toBe('service/shop is given clusterIP 10.96.7.3, healthCheckNodePort 31000\n');
    const dry = await daemon.twill('apply', '-f', file('one.yaml', ''), '--dry-run');
    expect(dry.stdout).toContain('would be given clusterIP 10.96.7.3');
  });
  it.each([[], ['--dry-run'], ['-o', 'json']])(
    '%j of files without a resource is a failure',
    async (...more) => {
      daemon.answer = () => ({
        body: { changes: [], warnings: ['one.yaml:2:7: kind: v1 Pod "x" is skipped'] },
      });
      const one = file('one.yaml', '');
      const { code, stderr } = await daemon.twill('apply', '-f', one, ...more);
      expect([code, stderr.split('\n').at(-2)]).toEqual([1, `twill: no resource in ${one}`]);
    },
  );

  it('--dry-run is told to the daemon and to the reader', async () => {
    daemon.answer = () => ({
      body: { changes: [{ kind: 'Port', namespace: '', name: 'web', action: 'created' }], warnings: [] },
    });
    const { stdout } = await daemon.twill('apply', '-f', file('one.yaml', ''), '--dry-run');
    expect(stdout).toBe('port/web created (dry run)\n');
    expect(daemon.seen[0]?.body).toMatchObject({ dryRun: true });
  });

  it('asks nothing of the daemon when a file cannot be read', async () => {
    const { code, stderr } = await daemon.twill('apply', '-f', join(directory, 'absent.yaml'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^twill: .*absent\.yaml: cannot be read: no such file or directory\n$/);
    expect(daemon.seen).toEqual([]);
  });

  it('prints every error of the daemon', async () => {
    daemon.answer = () => ({
      status: 422,
      body: { errors: ['one.yaml:1:1: spec.x: wrong', 'one.yaml:2:1: worse'] },
    });
    expect(await daemon.twill('apply', '-f', file('one.yaml', ''))).toEqual({
      code: 1,
      stdout: '',
      stderr: 'twill: one.yaml:1:1: spec.x: wrong\ntwill: one.yaml:2:1: worse\n',
    });
  });
});

describe('delete and detach', () => {
  it.each([
    [['delete', 'network', 'blue'], '/v1/networks/blue'],
    [['delete', 'net/blue'], '/v1/networks/blue'],
    [['delete', 'svc', 'shop'], '/v1/services/shop?namespace=default'],
    [['delete', 'eps', 'shop-1', '-n', 'prod'], '/v1/endpointslices/shop-1?namespace=prod'],
    [['delete', 'port', 'a/b?c'], '/v1/ports/a%2Fb%3Fc'],
  ])('%j', async (args, path) => {
    daemon.answer = () => ({
      body: { changes: [{ kind: 'Network', namespace: '', name: 'blue', action: 'deleted' }], warnings: [] },
    });
    expect(await daemon.twill(...args)).toEqual({ code: 0, stdout: 'network/blue deleted\n', stderr: '' });
    expect(daemon.seen).toEqual([{ method: 'DELETE', path, body: undefined }]);
  });

  it('an absent one is a failure', async () => {
    daemon.answer = () => ({ status: 404, body: { errors: ['networks "blu" not found'] } });
    expect(await daemon.twill('delete', 'network', 'blu')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'twill: networks "blu" not found\n',
    });
  });

  it('detach', async () => {
    daemon.answer = () => ({
      body: { changes: [{ kind: 'Port', namespace: '', name: 'web', action: 'deleted' }], warnings: [] },
    });
    expect((await daemon.twill('detach', 'web')).stdout).toBe('port/web deleted\n');
    expect(daemon.seen).toEqual([{ method: 'POST', path: '/v1/detach', body: { name: 'web' } }]);
  });
});

describe('attach', () => {
  const port = {
    apiVersion: 'twill/v1alpha1',
    kind: 'Port',
    metadata: { name: 'web' },
    spec: { network: 'blue', netns: 'web', interface: 'eth1', addresses: ['10.77.0.11'] },
    status: { state: 'up', mac: '02:00:00:00:00:01', mtu: 1450 },
  };

  it('sends what was given and no more, and says what came of it', async () => {
    daemon.answer = () => ({ body: { port } });
    const { code, stdout } = await daemon.twill('attach', 'web', '--network', 'blue');
    expect([code, stdout]).toEqual([0, 'port/web created (eth1, 10.77.0.11, 02:00:00:00:00:01, MTU 1450)\n']);
    const options = ['--network', 'blue', '--name', 'n', '--interface', 'eth1', '--address', '10.77.0.11'];
    options.push('--no-default-route');
    await daemon.twill('attach', 'web', ...options);
    expect(daemon.seen.map(({ body }) => body)).toEqual([
      { netns: 'web', network: 'blue' },
      {
        netns: 'web',
        network: 'blue',
        name: 'n',
        interface: 'eth1',
        address: '10.77.0.11',
        defaultRoute: false,
      },
    ]);
  });

  it('makes a relative path absolute: the daemon is somewhere else', async () => {
    daemon.answer = () => ({ body: { port } });
    await daemon.twill('attach', './ns/web', '--network', 'blue');
    expect(daemon.seen[0]?.body).toMatchObject({ netns: join(process.cwd(), 'ns/web') });
  });

  it('prints the Port as JSON', async () => {
    daemon.answer = () => ({ body: { port } });
    const { stdout } = await daemon.twill('attach', 'web', '--network', 'blue', '-o', 'json');
    expect(JSON.parse(stdout)).toEqual(port);
    const yaml = await daemon.twill('attach', 'web', '--network', 'blue', '-o', 'yaml');
    expect(parse(yaml.stdout)).toEqual(port);
  });
});

describe('status', () => {
  const status: Status = {
    healthy: true,
    problems: [],
    host: 'alpha',
    version: '0.1.0',
    pid: 42,
    uptime: 200,
    probing: 'on',
    counts: { networks: 1, ports: 30, peers: 1, services: 2, flows: 1_234_567 },
    ports: Array.from({ length: 30 }, (_, i) => ({
      name: `a-port-with-a-very-long-name-indeed-number-${i}`,
      network: 'a-network-with-a-long-name',
      state: i === 29 ? ('gone' as const) : ('up' as const),
      rxRate: i * 1000,
      txRate: 123_456_789,
      rxBitRate: 9.876e9,
      txBitRate: 1,
    })),
    hostPorts: [{ interface: 'tw-blue', network: 'blue', addresses: ['10.77.0.2'], masquerade: true }],
    hostRoutes: 2,
    peers: [{ name: 'beta', reachable: 'yes', rtt: 0.12, rxRate: 0, txRate: 0 }],
    drops: [{ reason: 'NO_ENDPOINT', count: 12, rate: 0.5 }],
  };

  it('is one screen of 80 columns and exit code 0 when healthy', async () => {
    daemon.answer = () => ({ body: status });
    const { code, stdout } = await daemon.twill('status');
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.length).toBeLessThan(40);
    expect(lines[0]).toBe('✔ healthy  host alpha, up 3m, twill 0.1.0, pid 42');
    expect(stdout).toContain('… and 22 more: twill get ports');
    expect(stdout).toContain('NO_ENDPOINT');
    expect(lines).toContain('the host in blue: tw-blue 10.77.0.2, masqueraded, routes to services: 2');
    // what needs attention first
    expect(lines.find((line) => line.startsWith('a-port'))).toContain('gone');
  });

  it('is exit code 1 with the reasons when not', async () => {
    daemon.answer = () => ({
      body: { ...status, healthy: false, problems: ['port web: its namespace is gone'] },
    });
    const { code, stdout } = await daemon.twill('status');
    expect(code).toBe(1);
    expect(stdout).toContain('✖ not healthy');
    expect(stdout).toContain('  port web: its namespace is gone\n');
  });

  it('stays on one screen with many reasons', async () => {
    const problems = Array.from(
      { length: 50 },
      (_, i) => `twill apply brings back port p${i}, ${'x'.repeat(80)}`,
    );
    daemon.answer = () => ({ body: { ...status, healthy: false, problems } });
    const { stdout } = await daemon.twill('status');
    expect(stdout).toContain('  twill apply brings back port p7, ');
    expect(stdout).not.toContain('port p8,');
    expect(stdout).toContain('  … and 42 more: twill status -o json\n');
    expect(stdout.endsWith('\n')).toBe(true);
  });

  it('is JSON on request, with the same exit code', async () => {
    daemon.answer = () => ({ body: { ...status, healthy: false } });
    const { code, stdout } = await daemon.twill('status', '-o', 'json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({ ...status, healthy: false });
  });
});
