/**
 * The same frames and changes through Twill and through the Linux kernel: a bridge, VXLAN and kube-proxy's rules in a
 * namespace. After each step both must have delivered the same frames to the same places, but for what
 * docs/differences.md lists.
 *
 *   TWILL_DIFFERENTIAL_FRAMES   how many (50 000)
 *   TWILL_DIFFERENTIAL_SEED     which ones
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { kernel } from '../card/kernel.ts';
import { ROOT } from '../lab/lab.ts';
import { DIFFERENCES } from './differences.ts';
import { run, shorten, tell } from './run.ts';
import type { Mode } from './services.ts';

const FRAMES = Number(process.env.TWILL_DIFFERENTIAL_FRAMES ?? 50_000);
const SEED = Number(process.env.TWILL_DIFFERENTIAL_SEED ?? 20_261);
const MODES: readonly Mode[] = ['routed', 'bridged'];
/** Of a failed run to show. */
const MOST_STEPS = 40;
/** Enough to meet every difference. */
const ENOUGH = 20_000;

describe.skipIf(!kernel)('Twill beside the kernel', () => {
  const met = new Map<string, number>();

  it.each(MODES)(
    'N2, N12, S15, S24, S26: the same frames come out, %s',
    (mode) => {
      const outcome = run(SEED, mode, FRAMES / MODES.length);
      for (const [id, count] of outcome.met) met.set(id, (met.get(id) ?? 0) + count);
      if (outcome.failure !== undefined) {
        const steps = shorten(SEED, mode, outcome);
        expect.fail(
          `after ${outcome.frames} frames, with TWILL_DIFFERENTIAL_SEED=${SEED}:\n${outcome.failure}\n` +
            `the last of ${steps.length} steps shows it:\n${steps.slice(-MOST_STEPS).map(tell).join('\n')}`,
        );
      }
      expect(outcome.delivered).toBeGreaterThan(outcome.frames / 2);
    },
    120_000,
  );

  it.skipIf(FRAMES < ENOUGH)('docs/differences.md lists what is met, and nothing else', () => {
    const text = readFileSync(join(ROOT, 'docs/differences.md'), 'utf8');
    const listed = [...text.matchAll(/^\* `([a-z-]+)`/gm)].map(([, id]) => id!);
    expect(listed.sort()).toEqual(DIFFERENCES.map(({ id }) => id).sort());
    expect([...met.keys()].sort()).toEqual(listed.sort());
  });
});
