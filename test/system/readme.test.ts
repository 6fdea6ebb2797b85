import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { CANNOT } from '../lab/lab.ts';

const ROOT = new URL('../..', import.meta.url);
const readme = readFileSync(new URL('README.md', ROOT), 'utf8');

/** The shell block below a heading. */
function block(heading: string): string {
  const section = readme.split(/^## /m).find((text) => text.startsWith(heading));
  return /```sh\n([\s\S]*?)```/.exec(section ?? '')?.[1] ?? '';
}

describe('README', () => {
  it('names only make targets that exist', () => {
    const makefile = readFileSync(new URL('Makefile', ROOT), 'utf8');
    const targets = [...readme.matchAll(/\bmake ([a-z][a-z-]*)/g)].map((match) => match[1]!);
    expect(targets.length).toBeGreaterThan(3);
    for (const target of targets) expect(makefile, `make ${target}`).toMatch(new RegExp(`^${target}:`, 'm'));
  });
});

describe.skipIf(CANNOT)('README, as root', () => {
  const namespaces = [...block('Run it').matchAll(/ip netns add (\S+)/g)].map((match) => match[1]!);
  afterAll(() => {
    for (const name of namespaces) spawnSync('ip', ['netns', 'del', name]);
  });

  it('"Run it" runs as printed and leaves nothing behind', () => {
    const lines = block('Run it').split('\n');
    expect(namespaces.length).toBe(2);
    const script = lines
      .filter((line) => !line.startsWith('make build'))
      // The reader types slower than bash: wait for the daemon where it is put into the background.
      .map((line) =>
        line.endsWith(' &')
          ? `${line}\nfor i in $(seq 100); do ./bin/twill status >/dev/null 2>&1 && break; sleep 0.1; done`
          : line,
      )
      .join('\n');
    const ending = 'kill %1; wait %1 || exit 9; [ ! -e /run/twill/twill.sock ]';
    const run = spawnSync('bash', ['-m', '-e', '-c', `${script}\n${ending}`], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: 60_000,
    });
    expect(run.stdout).toContain('3 received');
    expect(run.stdout).toContain('healthy');
    expect(run.status, run.stderr).toBe(0);
  }, 70_000);
});
