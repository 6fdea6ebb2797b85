import { execFileSync, spawnSync } from 'node:child_process';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Background, CANNOT, ROOT, type TestLab, testLab } from '../lab/lab.ts';

const REFERENCE = `${ROOT}/bench/build/twill-ref`;
const LOAD = `${ROOT}/bench/build/twill-load`;

beforeAll(() => {
  execFileSync('make', ['-s', 'bench-tools'], { cwd: ROOT });
}, 60_000);

it.each([
  { args: [], says: 'usage: twill-ref tap' },
  { args: ['tap', 'a', 'eth0', 'b'], says: 'usage: twill-ref tap' },
  { args: ['tap', 'a', 'eth0', 'b', 'eth0', '--vni', '1'], says: '--vni: not an option of this mode' },
  { args: ['tap', 'a', 'eth0', 'b', 'eth0', '--batch', '65'], says: '--batch must be from 1 to 64' },
  { args: ['vxlan', 'a', 'eth0', '--vni', '1'], says: '--vni and --local and --remote of one family' },
])('refuses $args', ({ args, says }) => {
  const { status, stderr } = spawnSync(REFERENCE, args, { encoding: 'utf8' });
  expect(status).toBe(2);
  expect(stderr).toContain(says);
});

/** Sends a file's worth of known bytes over TCP; both ends print their hash. */
const SEND = `
const hash = require('crypto').createHash('sha256');
const [host, port] = process.argv.slice(1);
const socket = require('net').connect(+port, host, async () => {
  for (let i = 0; i < 200; i++) {
    const block = Buffer.alloc(100_003, String(i * i));
    hash.update(block);
    if (!socket.write(block)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  socket.end(() => console.log(hash.digest('hex')));
});`;
const RECEIVE = `
const server = require('net').createServer({ allowHalfOpen: true }, (socket) => {
  const hash = require('crypto').createHash('sha256');
  socket.on('data', (data) => hash.update(data));
  socket.on('end', () => { socket.end(); server.close(); console.log(hash.digest('hex')); });
}).listen(+process.argv[1], () => console.log('ready'));`;

describe.skipIf(CANNOT !== null)('twill-ref', () => {
  let lab: TestLab;
  afterEach(async () => lab.dispose());
  const word = (text: string) => text.trim().split('\n').at(-1)!;
  const isReady = (text: string) => text.startsWith('ready\n');

  async function start(namespace: string | null, name: string, argv: readonly string[]): Promise<Background> {
    const started = lab.start(namespace, name, argv);
    await started.waitFor(isReady);
    return started;
  }

  const ended = async (server: Background) => {
    await server.waitFor((text) => text.split('\n').length > 2);
    return word(server.output());
  };

  async function transfer(from: string, to: string, host: string, name: string): Promise<void> {
    const server = await start(to, `tcp-${name}`, [process.execPath, '-e', RECEIVE, '7001']);
    const sent = await lab.must(from, [process.execPath, '-e', SEND, host, '7001']);
    expect(await ended(server)).toBe(word(sent));
  }

  async function datagrams(from: string, to: string, host: string, more: readonly string[]): Promise<void> {
    const name = `sink${more.join('')}`;
    const sink = await start(to, name, [LOAD, 'sink', '--port', '7002', '--seconds', '1']);
    const source = [LOAD, 'blast', '--to', host, '--port', '7002', '--seconds', '0.4', ...more];
    const sent = JSON.parse(await lab.must(from, source));
    const got = JSON.parse(await ended(sink));
    expect(got).toMatchObject({ reordered: 0, duplicates: 0, corrupt: 0 });
    expect(got.received).toBeGreaterThan(sent.sent * 0.9);
  }

  /** Both ends: [namespace, address, IPv6 address]. */
  type End = readonly [string, string, string];

  async function prove(a: End, b: End): Promise<void> {
    await lab.must(a[0], ['ping', '-c', '1', '-W', '2', b[1]]);
    await transfer(a[0], b[0], b[1], 'there');
    await transfer(b[0], a[0], a[2], 'back');
    const paced = ['--rate', '20000'];
    await datagrams(a[0], b[0], b[1], ['--size', '64', ...paced]);
    await datagrams(b[0], a[0], a[2], ['--size', 'imix', '--flows', '16', ...paced]);
    await datagrams(a[0], b[0], b[2], ['--size', '1400', '--flows', '3', ...paced]);
  }

  /** Stops it, and looks that its interfaces are gone and that it forwarded. */
  async function ends(reference: Background, ...namespaces: string[]): Promise<void> {
    expect(await reference.stop()).toBe(0);
    const { frames, bytes, writes, drops } = JSON.parse(word(reference.output()));
    expect(frames).toBeGreaterThan(10_000);
    expect(bytes).toBeGreaterThan(40_000_000);
    expect(writes).toBeGreaterThan(100);
    expect(drops).toBeLessThan(10);
    for (const namespace of namespaces) {
      const { stdout } = await lab.run(namespace, ['ip', '-brief', 'link']);
      expect(stdout).not.toContain('eth0');
    }
  }

  async function underlay(): Promise<[string, string]> {
    const [h1, h2] = [await lab.namespace('h1'), await lab.namespace('h2')];
    await lab.wire(
      { namespace: h1, name: 'up0', address: '192.0.2.1/24' },
      { namespace: h2, name: 'up0', address: '192.0.2.2/24' },
    );
    return [h1, h2];
  }

  const tunnel = (netns: string, host: number, more: readonly string[] = []): string[] => {
    const inner = ['--address', `10.9.0.${host}/24`, '--address', `fd09::${host}/64`];
    const outer = ['--local', `192.0.2.${host}`, '--remote', `192.0.2.${3 - host}`];
    return [REFERENCE, 'vxlan', netns, 'eth0', ...inner, ...outer, ...more, '--vni', '77'];
  };
  const end = (namespace: string, host: number): End => [namespace, `10.9.0.${host}`, `fd09::${host}`];

  it.each(['64', '1'])('joins two namespaces on one host, batch %s', async (batch) => {
    lab = testLab();
    const [a, b] = [await lab.namespace('a'), await lab.namespace('b')];
    const first = ['--address1', '10.9.0.1/24', '--address1', 'fd09::1/64'];
    const second = ['--address2', '10.9.0.2/24', '--address2', 'fd09::2/64'];
    const argv = [REFERENCE, 'tap', a, 'eth0', b, 'eth0', ...first, ...second, '--batch', batch];
    const reference = await start(null, 'reference', argv);
    await prove(end(a, 1), end(b, 2));
    await ends(reference, a, b);
    expect(lab.snapshot().processes).toEqual([]);
    await lab.dispose();
    expect(lab.snapshot().namespaces).toEqual([]);
  });

  it.each(['64', '1'])('joins two hosts, batch %s', async (batch) => {
    lab = testLab();
    const [h1, h2] = await underlay();
    const [a, b] = [await lab.namespace('a'), await lab.namespace('b')];
    const one = await start(h1, 'one', tunnel(a, 1, ['--batch', batch]));
    const two = await start(h2, 'two', tunnel(b, 2, ['--batch', batch]));
    await prove(end(a, 1), end(b, 2));
    await ends(one, a);
    await ends(two, b);
  });

  it('talks to the VXLAN device of the kernel', async () => {
    lab = testLab();
    const [h1, h2] = await underlay();
    const a = await lab.namespace('a');
    const reference = await start(h1, 'reference', tunnel(a, 1));
    const kernel = { namespace: h2, name: 'vx0', vni: 77, local: '192.0.2.2', remote: '192.0.2.1' };
    await lab.vxlan({ ...kernel, address: '10.9.0.2/24' });
    await lab.ip(h2, 'address', 'add', 'fd09::2/64', 'dev', 'vx0', 'nodad');
    await prove(end(a, 1), end(h2, 2));
    await ends(reference, a);
  });

  it('says what it could not do', () => {
    const args = ['tap', 'no-such-namespace', 'eth0', 'no-such-namespace', 'eth1'];
    const { status, stderr } = spawnSync(REFERENCE, args, { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toBe(
      'twill-ref: open namespace /run/netns/no-such-namespace: No such file or directory\n',
    );
  });
});
