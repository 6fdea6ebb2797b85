import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';

const LOAD = 'bench/build/twill-load';
const servers: ChildProcess[] = [];

beforeAll(() => {
  execFileSync('make', ['-s', 'bench-tools']);
}, 60_000);

afterEach(() => {
  for (const server of servers.splice(0)) server.kill('SIGKILL');
});

/** A port that was free for TCP a moment ago. */
async function freePort(): Promise<string> {
  const probe = createServer().listen(0);
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return String(port);
}

/** Starts a server; resolves when it says it is ready, `rest` to what else it says. */
async function serve(...args: string[]): Promise<{ rest: Promise<string> }> {
  const server = spawn(LOAD, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  servers.push(server);
  const first = await new Promise<string>((resolve) => server.stdout.once('data', (d) => resolve(String(d))));
  expect(first).toBe('ready\n');
  return { rest: text(server.stdout) };
}

function run(...args: string[]): Record<string, number> {
  const { status, stdout, stderr } = spawnSync(LOAD, args, { encoding: 'utf8', timeout: 15_000 });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Record<string, number>;
}

describe('twill-load', () => {
  const paced = ['--rate', '20000', '--seconds', '0.5'];
  it.each([
    { name: 'one flow', to: '127.0.0.1', sink: [], blast: ['--size', '64'], flows: 1 },
    { name: 'many flows', to: '127.0.0.1', sink: [], blast: ['--size', '512', '--flows', '100'], flows: 100 },
    { name: 'a mix over IPv6', to: '::1', sink: [], blast: ['--size', 'imix', '--flows', '16'], flows: 16 },
    { name: 'offloads', to: '127.0.0.1', sink: ['--gro'], blast: ['--size', '1400', '--gso'], flows: 1 },
  ])('counts what it sent at the receiver: $name', async ({ to, sink, blast, flows }) => {
    const port = await freePort();
    const { rest } = await serve('sink', '--port', port, '--seconds', '1', ...sink);
    const sent = run('blast', '--to', to, '--port', port, ...paced, ...blast);
    expect(sent.errors).toBe(0);
    expect(sent.sent).toBeGreaterThan(1000);
    const got = JSON.parse(await rest) as Record<string, number>;
    expect(got).toMatchObject({ received: sent.sent, bytes: sent.bytes, flows });
    expect(got).toMatchObject({ reordered: 0, duplicates: 0, corrupt: 0 });
  });

  it('tells what comes late, twice or changed', async () => {
    const port = await freePort();
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const few = ['--size', '64', '--rate', '50', '--seconds', '0.3'];
    const kept: Buffer[] = [];
    socket.on('message', (datagram) => kept.push(datagram));
    run('blast', '--to', '127.0.0.1', '--port', String(socket.address().port), ...few);
    while (kept.length < 3) await once(socket, 'message');
    const [a, b, c] = kept as [Buffer, Buffer, Buffer];

    const { rest } = await serve('sink', '--port', port, '--seconds', '1');
    const last = Buffer.from(c);
    last[63]! ^= 1;
    for (const datagram of [a, c, b, b, last, c.subarray(0, 60), c.subarray(0, 3)]) {
      await new Promise((done) => socket.send(datagram, Number(port), '127.0.0.1', done));
    }
    socket.close();
    const got = JSON.parse(await rest);
    expect(got).toMatchObject({ received: 7, flows: 1, reordered: 1, duplicates: 1, corrupt: 3 });
  });

  it.each([
    { proto: 'udp', to: '127.0.0.1' },
    { proto: 'tcp', to: '::1' },
  ])('measures round trips: $proto', async ({ proto, to }) => {
    const port = await freePort();
    await serve('rr-server', '--port', port, '--proto', proto, '--seconds', '10');
    const server = ['--to', to, '--port', port, '--proto', proto];
    const { count, lost, ...time } = run('rr', ...server, '--seconds', '0.3', '--interval-us', '100');
    expect(count).toBeGreaterThan(100);
    expect(count).toBeLessThan(3000);
    expect(lost).toBe(0);
    expect(time.p50).toBeGreaterThan(1);
    const rising = [time.p50!, time.p90!, time.p99!, time.p99_9!];
    expect(rising).toEqual(rising.toSorted((a, b) => a - b));
    expect(time.max).toBeGreaterThanOrEqual(time.p99_9! * 0.99);
  });

  it.each([[], ['--fin'], ['--from', '127.0.0.2,127.0.0.3']])(
    'counts connections: %s %s',
    async (...more) => {
      const port = await freePort();
      await serve('crr-server', '--port', port, '--seconds', '10');
      const client = ['crr', '--to', '127.0.0.1', '--port', port, '--threads', '2', '--seconds', '0.2'];
      const { connections, failed, seconds } = run(...client, ...more);
      expect(connections).toBeGreaterThan(50);
      expect(failed).toBe(0);
      expect(seconds).toBeGreaterThan(0.19);
    },
  );

  it.each([[], ['--fresh']])(
    'tells how long datagrams were on their way, and to which port: %s',
    async (...more) => {
      const port = await freePort();
      const { rest } = await serve('pace-server', '--port', port, '--seconds', '0.8');
      const pace = ['--rate', '2000', '--seconds', '0.2', ...more];
      const begin = process.hrtime.bigint();
      for (const to of [0, 1]) {
        const sent = run('pace', '--to', '127.0.0.1', '--port', String(Number(port) + to), ...pace);
        expect(sent).toEqual({ sent: 400, errors: 0 });
      }
      const lines = (await rest).trim().split('\n');
      const { received, ...trip } = JSON.parse(lines.pop()!) as Record<string, number>;
      expect(received).toBe(800);
      expect(trip.p50).toBeGreaterThan(0);
      const changes = lines.map((line) => line.split(' '));
      expect(changes.map(([at]) => Number(at))).toEqual([Number(port), Number(port) + 1]);
      const [first, second] = changes.map(([, at]) => BigInt(at!));
      expect(first! > begin && second! - first! > 190_000_000n).toBe(true);
    },
  );

  it('fails with a reason where nobody answers', async () => {
    const args = ['--to', '127.0.0.1', '--port', await freePort(), '--seconds', '0.1'];
    const { status, stdout, stderr } = spawnSync(LOAD, ['crr', ...args], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^twill-load: no connection to 127\.0\.0\.1 port \d+: Connection refused\n$/);
  });

  it.each([
    { args: [], says: 'usage: twill-load crr-server ' },
    { args: ['swim'], says: 'usage: twill-load sink ' },
    { args: ['sink', '--port', '1'], says: '--seconds: is missing' },
    { args: ['sink', '--port', '0'], says: '--port 0: a whole number from 1 to 65535 is needed' },
    { args: ['sink', '--rate', '1'], says: '--rate: not an option of this mode' },
    { args: ['blast', '--size', '15'], says: '--size 15: a whole number from 16 to 65507 is needed' },
    { args: ['rr', '--proto', 'sctp'], says: '--proto sctp: udp or tcp is needed' },
    { args: ['crr', '--to'], says: '--to: a value is missing' },
  ])('refuses $args', ({ args, says }) => {
    const { status, stderr } = spawnSync(LOAD, args, { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr).toContain(says);
  });
});
