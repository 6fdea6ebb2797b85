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
import type { Mode } from './world.ts';

const FRAMES = Number(process.env.TWILL_DIFFERENTIAL_FRAMES ?? 50_000);
const SEED = Number(process.env.TWILL_DIFFERENTIAL_SEED ?? 20_261);
const MODES: readonly Mode[] = ['routed', 'bridged', 'routed, with a host', 'bridged, with a host'];
/** Of a failed run to show. */
const MOST_STEPS = 40;
/** Enough to meet every difference, and every kind of flow. */
const ENOUGH = 40_000;

/** S20–S22, N31: every way to ask a service, and as whom its endpoints must see the client. */
const OUTER = ['externalIP', 'loadBalancer', 'nodePort'];
const FLOWS = [4, 6].flatMap((family) => {
  const flow = (kind: string, set: string, from: string, as: string): string =>
    `IPv${family} ${kind} (${set}) from ${from} as ${as}`;
  return [
    ...['cluster', 'local'].map((set) => flow('clusterIP', set, 'a pod', 'itself')),
    ...['cluster', 'local'].map((set) => flow('clusterIP', set, 'outside', 'the host')),
    ...['cluster', 'local'].map((set) => flow('clusterIP', set, 'a pod', 'the gateway')),
    ...OUTER.flatMap((kind) => [
      flow(kind, 'cluster', 'outside', 'the host'),
      flow(kind, 'local', 'outside', 'itself'),
      ...['itself', 'the host', 'the gateway'].map((as) => flow(kind, 'cluster', 'a pod', as)),
    ]),
  ];
});

describe.skipIf(!kernel)(`Twill beside the kernel, seed ${SEED}`, () => {
  const met = new Map<string, number>();
  const flows = new Map<string, number>();
  const add = (to: Map<string, number>, from: ReadonlyMap<string, number>): void => {
    for (const [key, count] of from) to.set(key, (to.get(key) ?? 0) + count);
  };

  it.each(MODES)(
    'N2, N12, N26, N31, N34, S15, S20, S21, S22, S23, S24, S26: the same frames come out, %s',
    (mode) => {
      const outcome = run(SEED, mode, FRAMES / MODES.length);
      add(met, outcome.met);
      add(flows, outcome.flows);
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

  it.skipIf(FRAMES < ENOUGH)('S20, S21, S22, N31: clients of every kind were seen as they must be', () => {
    const asked = [...flows.keys()].filter((flow) => !flow.includes('gatewayPort'));
    expect(asked.sort()).toEqual([...FLOWS].sort());
  });
});
