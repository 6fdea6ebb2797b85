/** The life of a daemon among real namespaces: what it leaves, what it survives, what it refuses and how. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isAlive } from '../../src/demo/process.ts';
import { type Daemon, type Finished, ROOT, type Snapshot, type TestLab, testLab } from '../lab/lab.ts';
import { apply, host, items, network, peer, ping, port, SKIP, service, slice, until, yaml } from './kit.ts';

const A1 = '10.77.0.11';
const A2 = '10.77.0.12';
const A3 = '10.77.0.13';
const PROGRAM = join(ROOT, 'dist/src/program/twill.js');

describe.skipIf(SKIP)('the life of a daemon', () => {
  let lab: TestLab;
  let before: Snapshot;
  let a1: string;
  let a2: string;
  let alpha: string;
  let running: Daemon | undefined;

  beforeAll(async () => {
    lab = testLab();
    before = lab.snapshot();
    alpha = await lab.namespace('alpha');
    const other = await lab.namespace('other');
    await lab.wire(
      { namespace: alpha, name: 'uplink', address: '192.0.2.1/24' },
      { namespace: other, name: 'uplink', address: '192.0.2.2/24' },
    );
  });
  afterAll(async () => lab?.dispose());

  beforeEach(async () => {
    for (const name of ['a1', 'a2', 'a3']) await lab.run(null, ['ip', 'netns', 'delete', lab.prefix + name]);
    [a1, a2] = [await lab.namespace('a1'), await lab.namespace('a2')];
  });
  afterEach(async () => {
    await running?.stop();
    running = undefined;
  });

  const documents = (): unknown[] => [
    host('alpha', '192.0.2.1'),
    peer('beta', '192.0.2.2'),
    network('blue', 42),
    port('a1', 'blue', a1, A1),
    port('a2', 'blue', a2, A2),
  ];
  const start = async (...more: unknown[]): Promise<Daemon> => {
    // its predecessor's log would be taken for its own
    lab.file('alpha.log', '');
    running = await lab.daemonWith(alpha, 'alpha', yaml(...documents(), ...more));
    return running;
  };
  /** `twill up` that is expected to end by itself. */
  const refused = async (
    text: string,
    prefix: readonly string[] = [],
  ): Promise<Finished & { lines: string[] }> => {
    const argv = [
      ...prefix,
      process.execPath,
      PROGRAM,
      'up',
      '--socket',
      join(lab.directory, 'refused.sock'),
    ];
    const ended = await lab.run(alpha, [...argv, '-f', lab.file('refused.yaml', text)], { timeout: 10_000 });
    return { ...ended, lines: ended.stderr.trim().split('\n') };
  };

  interface Link {
    readonly ifname: string;
  }
  const links = async (namespace: string): Promise<string[]> =>
    (JSON.parse(await lab.ip(namespace, '-j', 'link', 'show')) as Link[]).map(({ ifname }) => ifname);
  /** UDP and raw sockets of the host's namespace. */
  const sockets = async (): Promise<string> =>
    (await lab.must(alpha, ['ss', '-H', '-a', '-n', '-u', '-w'])).trim();

  /** Interfaces of the pods and of the host, and the host's sockets. */
  const left = async (): Promise<unknown[]> => [
    await links(a1),
    await links(a2),
    await links(alpha),
    await sockets(),
  ];
  const NOTHING = [['lo'], ['lo'], ['lo', 'uplink'], ''];
  const expectNothingLeft = async (): Promise<void> => expect(await left()).toEqual(NOTHING);

  interface Port {
    readonly metadata: { readonly name: string };
    readonly status: { readonly state: string };
  }
  const states = async (daemon: Daemon): Promise<string[]> =>
    (await items<Port>(lab, daemon, 'ports')).map(
      ({ metadata, status }) => `${metadata.name} ${status.state}`,
    );

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'C11: %s removes every device and socket, and exits 0',
    async (name) => {
      const daemon = await start();
      expect(await ping(lab, a1, A2)).toBe(5);
      expect([await links(a1), await links(a2)]).toEqual([
        ['lo', 'eth0'],
        ['lo', 'eth0'],
      ]);
      process.kill(daemon.record.pid, name);
      await until(
        () => isAlive(daemon.record),
        (alive) => !alive,
      );
      expect(daemon.output()).toContain('"msg":"stopped"');
      expect(daemon.output()).toContain('"code":0');
      expect(
        await until(
          () => daemon.stop(),
          (code) => code !== null,
        ),
      ).toBe(0);
      await expectNothingLeft();
      expect(existsSync(daemon.socket)).toBe(false);
    },
  );

  it('the control socket is for its owner alone', async () => {
    const daemon = await start();
    expect((statSync(daemon.socket).mode & 0o7777).toString(8)).toBe('600');
    expect(statSync(daemon.socket).isSocket()).toBe(true);
  });

  it('P32: kill -9 leaves no device, and the next start with the same socket works', async () => {
    const first = await start();
    process.kill(first.record.pid, 'SIGKILL');
    await until(
      () => isAlive(first.record),
      (alive) => !alive,
    );
    // its threads end one after the other
    await until(left, (found) => JSON.stringify(found) === JSON.stringify(NOTHING));
    expect(existsSync(first.socket)).toBe(true);
    const { code, stderr } = await lab.twill(first, 'status');
    expect([code, stderr.trim().split('\n').length]).toEqual([1, 1]);
    const second = await start();
    expect(second.socket).toBe(first.socket);
    expect(await ping(lab, a1, A2)).toBe(5);
    expect(await states(second)).toEqual(['a1 up', 'a2 up']);
  });

  it('a second daemon on one control socket is refused, and the first goes on', async () => {
    const first = await start();
    const text = lab.file(
      'second.yaml',
      yaml(host('second', '127.0.0.1'), network('red', 43, { port: 4999 })),
    );
    const argv = [process.execPath, PROGRAM, 'up', '--socket', first.socket, '-f', text];
    const { code, stderr } = await lab.run(alpha, argv);
    expect([code, stderr]).toEqual([
      1,
      `twill: another twill daemon (pid ${first.record.pid}) is running on ${first.socket}\n`,
    ]);
    expect(await ping(lab, a1, A2)).toBe(5);
    expect((await lab.twill(first, 'get', 'ports')).code).toBe(0);
  });

  it('M4: SIGHUP takes over a changed file; a bad one changes nothing', async () => {
    const a3 = await lab.namespace('a3');
    const daemon = await start();
    const said = (text: string): number => daemon.output().split(text).length - 1;
    lab.file('alpha.yaml', yaml(...documents(), port('a3', 'blue', a3, A3)));
    process.kill(daemon.record.pid, 'SIGHUP');
    await until(
      () => said('"msg":"reloaded"'),
      (count) => count === 1,
    );
    expect(await ping(lab, a3, A1)).toBe(5);
    lab.file('alpha.yaml', yaml(...documents(), port('a4', 'nowhere', a3, A3)));
    process.kill(daemon.record.pid, 'SIGHUP');
    await until(
      () => said('reload refused'),
      (count) => count === 1,
    );
    expect(await states(daemon)).toEqual(['a1 up', 'a2 up', 'a3 up']);
    expect(await ping(lab, a3, A1)).toBe(5);
    lab.file('alpha.yaml', yaml(...documents()));
    process.kill(daemon.record.pid, 'SIGHUP');
    await until(
      () => said('"msg":"reloaded"'),
      (count) => count === 2,
    );
    expect(await links(a3)).toEqual(['lo']);
    expect(await ping(lab, a1, A2)).toBe(5);
  });

  it('B13, P33: a namespace deleted in use takes only its own port; made again, apply brings it back', async () => {
    const a3 = await lab.namespace('a3');
    const daemon = await start(port('a3', 'blue', a3, A3));
    expect(await ping(lab, a1, A2)).toBe(5);
    await lab.ip(null, 'netns', 'delete', a2);
    expect(
      await until(
        () => states(daemon),
        (found) => found.includes('a2 gone'),
      ),
    ).toEqual(['a1 up', 'a2 gone', 'a3 up']);
    expect((await lab.twill(daemon, 'get', 'ports')).stdout).toMatch(/^a2 +blue +gone /m);
    expect(await ping(lab, a1, A3)).toBe(5);
    const status = await lab.twill(daemon, 'status');
    expect(status.code).toBe(1);
    expect(status.stdout + status.stderr).toContain('port a2 is gone');
    await lab.namespace('a2');
    const again = await apply(lab, daemon, 'again.yaml', yaml(port('a2', 'blue', a2, A2)));
    expect(again.length).toBe(1);
    expect(await states(daemon)).toEqual(['a1 up', 'a2 up', 'a3 up']);
    expect(await ping(lab, a1, A2)).toBe(5);
    expect((await lab.twill(daemon, 'status')).code).toBe(0);
  });

  it('P33: an interface deleted or renamed inside its namespace stops no other port', async () => {
    const daemon = await start();
    await lab.ip(a2, 'link', 'set', 'dev', 'eth0', 'down');
    await lab.ip(a2, 'link', 'set', 'dev', 'eth0', 'name', 'eth7');
    await lab.ip(a2, 'link', 'set', 'dev', 'eth7', 'up');
    expect(await ping(lab, a2, A1)).toBe(5);
    await lab.ip(a2, 'link', 'delete', 'eth7');
    await until(
      () => states(daemon),
      (found) => found.includes('a2 gone'),
    );
    expect(await ping(lab, a1, '10.77.0.1')).toBe(5);
    await apply(lab, daemon, 'again.yaml', yaml(port('a2', 'blue', a2, A2)));
    expect(await ping(lab, a2, A1)).toBe(5);
  });

  describe('refusals: one line, exit 1, nothing half made', () => {
    afterEach(async () => {
      await expectNothingLeft();
      expect(existsSync(join(lab.directory, 'refused.sock'))).toBe(false);
    });

    it('V34: a UDP port that a program has', async () => {
      const pod = join(ROOT, 'dist/test/netns/pod.js');
      const blocker = lab.start(alpha, 'blocker', [process.execPath, pod, 'serve', 'blocker', '4789']);
      try {
        await blocker.waitFor((text) => text.includes('serving'));
        const { code, lines } = await refused(yaml(...documents()));
        expect([code, lines]).toEqual([
          1,
          [
            expect.stringContaining(
              'spec.vxlan.port: UDP port 4789 is in use on 192.0.2.1: another program has it',
            ),
          ],
        ]);
      } finally {
        await blocker.stop();
      }
    });

    it('V34, P12: a UDP port that a kernel vxlan device has, and its name', async () => {
      await lab.vxlan({
        namespace: alpha,
        name: 'vx-kernel',
        vni: 7,
        local: '192.0.2.1',
        remote: '192.0.2.2',
      });
      try {
        const { code, lines } = await refused(yaml(...documents()));
        expect([code, lines]).toEqual([
          1,
          [expect.stringContaining('the kernel vxlan device vx-kernel owns it')],
        ]);
      } finally {
        await lab.ip(alpha, 'link', 'delete', 'vx-kernel');
      }
    });

    it('M3: a namespace that does not exist', async () => {
      const missing = `${lab.prefix}missing`;
      const { code, lines } = await refused(yaml(...documents(), port('m', 'blue', missing, A3)));
      expect([code, lines]).toEqual([
        1,
        [
          expect.stringMatching(
            new RegExp(
              `refused.yaml:\\d+:\\d+: spec.netns: .*/${missing} does not exist; .*ip netns add ${missing}`,
            ),
          ),
        ],
      ]);
    });

    it('M3: an underlay address this host does not have', async () => {
      const [, ...rest] = documents();
      const { code, lines } = await refused(yaml(host('alpha', '192.0.2.77'), ...rest));
      expect([code, lines]).toEqual([
        1,
        [expect.stringContaining('spec.underlay.address: 192.0.2.77 is not an address of this host')],
      ]);
    });

    it('P32: an interface of that name is there already; it stays as it was', async () => {
      await lab.ip(a2, 'link', 'add', 'eth0', 'type', 'bridge');
      try {
        const { code, lines } = await refused(yaml(...documents()));
        expect([code, lines]).toEqual([1, [expect.stringContaining('has an interface eth0 already')]]);
        expect([await links(a1), await links(a2)]).toEqual([['lo'], ['lo', 'eth0']]);
      } finally {
        await lab.ip(a2, 'link', 'delete', 'eth0');
      }
    });

    it('no capabilities', async () => {
      const none = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
      const { code, lines } = await refused(yaml(...documents()), none);
      expect([code, lines]).toEqual([
        1,
        [expect.stringContaining('needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)')],
      ]);
    });

    it('M3, M4: an invalid file, every problem on its line', async () => {
      const { code, lines } = await refused(
        yaml(...documents(), service('shop', '10.77.0.5'), slice('shop', A1), port('m', 'nowhere', a1, A3)),
      );
      expect(code).toBe(1);
      for (const line of lines) expect(line).toMatch(/refused\.yaml:\d+:\d+: /);
      expect(lines.join('\n')).toContain('nowhere');
      expect(lines.join('\n')).toContain('10.77.0.5');
    });
  });

  it('nothing of all this is left: namespaces, links, processes', async () => {
    await lab.dispose();
    expect(lab.snapshot()).toEqual(before);
    expect(existsSync(lab.directory)).toBe(false);
  });
});
