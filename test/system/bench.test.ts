import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { verify } from '../../bench/captures.ts';
import type { Results } from '../../bench/results.ts';
import { ethernet, tcp, udp } from '../frames.ts';
import { CANNOT, testLab } from '../lab/lab.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** Runs the harness with results in a directory of its own. */
function bench(...args: string[]) {
  const directory = mkdtempSync(join(tmpdir(), 'twill-test-bench-'));
  directories.push(directory);
  const temporary = join(directory, 'tmp');
  mkdirSync(temporary);
  const env = { ...process.env, TWILL_BENCH_RESULTS: directory, TMPDIR: temporary };
  const run = () => spawnSync('bin/twill', ['bench', ...args], { encoding: 'utf8', timeout: 100_000, env });
  return { directory, temporary, env, run };
}

const resultsIn = (directory: string): Results => {
  const name = readdirSync(directory).find((one) => one.endsWith('.json'))!;
  return JSON.parse(readFileSync(join(directory, name), 'utf8')) as Results;
};

/** Files in its temporary directory, and namespaces of harnesses that have ended. */
const left = (temporary: string): string[] => {
  const names = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
  const isOrphan = (name: string): boolean => {
    const pid = /^twb(\d+)-/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  return [...names.filter(isOrphan), ...readdirSync(temporary)];
};

it('the harness measures every scene in memory, with its yardstick', () => {
  const { status, stdout, stderr } = bench('--quick', '--memory').run();
  expect(status, stderr).toBe(0);
  expect(stdout).toMatch(/yardstick +\d+\.\d+ ns/);
  const scenes = ['bridge hit', 'VXLAN encap', 'VXLAN decap', 'ClusterIP flow hit', 'flood to all peers'];
  for (const scene of scenes) expect(stdout, scene).toMatch(new RegExp(`${scene}.* ± \\d+\\.\\d %`));
}, 110_000);

it.each([
  [['--fast'], 2, 'usage: twill bench'],
  [['--only', 'tcp-9'], 2, 'no such cell or group'],
  [['--report', '/nowhere.json'], 1, '/nowhere.json cannot be read'],
  [['--check', '/nowhere.json'], 1, '/nowhere.json'],
])('refuses %j in a line', (args, code, words) => {
  const { status, stderr } = bench(...args).run();
  expect(status).toBe(code);
  expect(stderr).toContain(words);
  expect(stderr).not.toMatch(/^\s+at /m);
});

it('tells right, promised and wrong checksums of a capture apart', async () => {
  const macs = { src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' };
  const ends = { from: '10.0.0.1', to: '10.0.0.2', sport: 1000, dport: 2000, payload: [1, 2, 3, 4] };
  const right = [ethernet(macs, udp(ends)), ethernet(macs, tcp(ends))];
  const set = (frame: Uint8Array, at: number, value: number): Uint8Array =>
    frame.with(at, value >>> 8).with(at + 1, value & 255);
  // 10.0.0.1 + 10.0.0.2 + protocol + length
  const promised = [set(right[0]!, 40, 0x1400 + 3 + 17 + 12), set(right[1]!, 50, 0x1400 + 3 + 6 + 24)];
  const wrong = [set(right[0]!, 40, 0x1234), set(right[1]!, 50, 0x1234), set(right[0]!, 24, 0x1234)];
  const lab = testLab();
  try {
    const file = join(lab.directory, 'made.pcap');
    writeFileSync(file, pcap([...right, ...promised, ...wrong]));
    // IP's own count as well: of all but the last
    const sums = { frames: 7, right: 6 + 2 + 1, promised: 2, wrong: [5, 6, 7] };
    expect(await verify(lab, file, true)).toEqual(sums);
    expect(await verify(lab, file, false)).toEqual({ ...sums, promised: 0, wrong: [3, 4, 5, 6, 7] });
  } finally {
    await lab.dispose();
  }
});

/** libpcap's file format, microseconds, Ethernet. */
function pcap(frames: readonly Uint8Array[]): Buffer {
  const words = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer);
  const head = words(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1);
  return Buffer.concat([
    head,
    ...frames.flatMap((frame, i) => [words(i, 0, frame.length, frame.length), Buffer.from(frame)]),
  ]);
}

describe.skipIf(CANNOT !== null)('in namespaces', () => {
  it('catches a slice of workloads and finds their checksums right', () => {
    const { temporary, run } = bench('--captures', '--only', 'ping/same', '--only', 'datagrams-64x16/cross');
    const { status, stdout, stderr } = run();
    expect(status, stderr).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines.map((line) => line.split(': ')[0])).toEqual([
      'ping/same/unpinned',
      'datagrams-64x16/cross/unpinned',
    ]);
    for (const line of lines) expect(line).toMatch(/ [1-9]\d* sums right, .*, 0 wrong$/);
    expect(left(temporary)).toEqual([]);
  }, 60_000);

  it('measures one cell, writes results and a page, and leaves nothing behind', () => {
    const { directory, temporary, run } = bench('--quick', '--only', 'rr-udp/same');
    const { status, stdout, stderr } = run();
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('UDP round trip, idle, same host, unpinned');
    const { cells, aborted } = resultsIn(directory);
    expect(aborted).toBeNull();
    expect(cells).toHaveLength(1);
    const [cell] = cells;
    expect(cell!.runs.map(({ contender }) => contender)).toEqual(['twill', 'kernel', 'kernel', 'twill']);
    for (const { value, guards } of cell!.runs) {
      expect(value).toBeGreaterThan(1);
      expect(guards.checksumErrors).toBe(0);
    }
    expect(cell!.ratios).toMatchObject([{ contender: 'kernel', pairs: 2 }]);
    expect(readdirSync(directory).some((name) => name.endsWith('.html'))).toBe(true);
    expect(left(temporary)).toEqual([]);
  }, 110_000);

  it('ended by a signal, it writes what it has and leaves nothing behind', async () => {
    const { directory, temporary, env } = bench();
    const child = spawn('bin/twill', ['bench', '--only', 'rr-udp'], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let progress = '';
    child.stdout.resume();
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    await new Promise<void>((resolve, reject) => {
      child.on('exit', () => reject(new Error(progress)));
      child.stderr.on('data', (chunk: Buffer) => {
        progress += chunk.toString();
        if (progress.includes('UDP round trip')) resolve();
      });
    });
    child.kill('SIGTERM');
    expect(await ended, progress).toBe(130);
    expect(resultsIn(directory).aborted).toBe('ended by SIGTERM');
    expect(left(temporary)).toEqual([]);
  }, 60_000);
});
