import { expect, it } from 'vitest';
import { Flows } from '../../src/conntrack/flows.ts';
import { unmask } from '../../src/dataplane/masks.ts';

const ESTABLISHED = 3;

it('N29: the pass over many flows goes in steps, and leaves those behind other addresses', () => {
  const flows = new Flows(40_000, 1);
  const mapped = [0, 0, 0xffff, 0, 0, 0xffff];
  // Flow i of network 0 or 1: client 1 → 2, answered by 3 to address 8 or 9.
  const add = (i: number, network: number, mask: number) => {
    const scope = (network << 8) | 6;
    const original = Int32Array.of(scope, (i << 16) | 80, 1, 2, ...mapped);
    flows.add(original, Int32Array.of(scope, (8080 << 16) | i, 3, mask, ...mapped), ESTABLISHED, 0);
  };
  for (let i = 0; i < 20_000; i++) add(i, 0, i % 4 === 0 ? 8 : 9);
  add(30_000, 1, 9);
  let steps = 0;
  for (const _ of unmask(flows, [{ network: 0, address: [0, 0, 0xffff, 9] }], { now: 1 })) steps++;
  expect(flows.count).toBe(5001);
  // 15 000 removals, each as dear as 17 rows looked at.
  expect(steps).toBeGreaterThan(25);
});
