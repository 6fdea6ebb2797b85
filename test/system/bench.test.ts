import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Results } from '../../bench/results.ts';
import { CANNOT } from '../lab/lab.ts';

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

describe.skipIf(CANNOT !== null)('in namespaces', () => {
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
