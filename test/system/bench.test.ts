import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

const bench = (...args: string[]) =>
  spawnSync('bin/twill', ['bench', ...args], { encoding: 'utf8', timeout: 100_000 });

it('the harness measures every scene in memory, with its yardstick', () => {
  const { status, stdout, stderr } = bench('--quick', '--memory');
  expect(status, stderr).toBe(0);
  expect(stdout).toMatch(/yardstick: \d+\.\d+ ns/);
  for (const scene of [
    'bridge hit',
    'VXLAN encap',
    'VXLAN decap',
    'ClusterIP flow hit',
    'ClusterIP new flow',
  ]) {
    expect(stdout, scene).toMatch(new RegExp(`${scene}.* \\d+\\.\\d ±`));
  }
}, 110_000);

it('refuses what it does not know', () => {
  const { status, stderr } = bench('--fast');
  expect(status).toBe(2);
  expect(stderr).toContain('usage: twill bench');
});
