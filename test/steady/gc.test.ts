import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LoadResult } from './changes.ts';
import type { SceneResult } from './traffic.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
let folder = '';

/** The switch as it is shipped: compiled, so that the optimiser sees what it sees in production. */
beforeAll(() => {
  const cache = join(root, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  folder = mkdtempSync(join(cache, 'steady-'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const config = {
    extends: join(root, 'tsconfig.json'),
    files: ['traffic.ts', 'changes.ts'].map((name) => join(root, 'test/steady', name)),
    include: [],
    compilerOptions: { rootDir: root, outDir: folder, incremental: false, tsBuildInfoFile: null },
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const compiled = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' });
  expect(compiled.stdout).toBe('');
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('steady state', () => {
  it.each([
    ['bridge hit', 1],
    ['routed hit', 1],
    ['VXLAN encapsulation', 1],
    ['VXLAN decapsulation', 0],
    ['ClusterIP over UDP', 1],
    ['ClusterIP over TCP', 0],
    ['fragments to a ClusterIP', 0],
    ['routed packets that are cut', 0],
    ['established connections', 0.9],
    ['new connections to a node port', 0],
    ['ARP', 0],
    ['IPv6: bridged, routed, into a tunnel, to a service and back', 0.99],
    ['IPv6: discovery and echo', 0],
    ['echo to the gateway and floods', 0],
    ['everything', 0],
  ])(
    'a million frames allocate nothing and collect nothing: %s',
    (scene, fast) => {
      // Each in a process of its own: what one scene taught the optimiser must not help the next.
      const flags = ['--expose-gc', '--max-semi-space-size=1', join(folder, 'test/steady/traffic.js')];
      const output = execFileSync(process.execPath, [...flags, scene], { encoding: 'utf8' });
      const result = JSON.parse(output) as SceneResult;
      expect(result.frames).toBeGreaterThanOrEqual(1_000_000);
      expect(result.sent).toBeGreaterThanOrEqual(result.frames / 2);
      expect(result.dropped).toBe(0);
      expect(result.fast).toBeGreaterThanOrEqual(fast);
      expect(result.collections).toBe(0);
      // A sixtieth of a byte per frame: what the measurement itself allocates.
      expect(result.bytes).toBeLessThan(16_384);
    },
    60_000,
  );

  it('services are put without garbage of their own, a bounded step at a time', () => {
    const script = join(folder, 'test/steady/changes.js');
    const output = execFileSync(process.execPath, ['--expose-gc', script], { encoding: 'utf8' });
    const { records, steps, bytes } = JSON.parse(output) as LoadResult;
    expect(steps).toBeGreaterThan(records / 128);
    // What a step costs, `yield` among it, and not a byte for a record: a generator for each took 577.
    expect(bytes / records).toBeLessThan(4);
  }, 60_000);
});
