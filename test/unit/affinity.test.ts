import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Affinities } from '../../src/service/affinity.ts';

const DAY = 86_400_000;
/** Backend n: five words that name it. */
const BACKENDS = Int32Array.from(Array.from({ length: 8 }, (_, n) => [0, 0, 0xffff, n, 8000 + n]).flat());
/** What is read of a tuple: network and source. */
const tupleOf = (network: number, client: number) =>
  Int32Array.of(network << 8, 0, client, 0, 0, 0, 0xffff, 0, 0, 0);
const find = (table: Affinities, client: number, service = 0, network = 0) =>
  table.find(network, service, 0, 0, 0xffff, client);
const remember = (
  table: Affinities,
  client: number,
  backend: number,
  now: number,
  service = 0,
  network = 0,
) => table.remember(tupleOf(network, client), service, BACKENDS, backend * 5, backend, now);
const backendOf = (table: Affinities, row: number) => table.backend[row * 5 + 3];

describe('the affinity table', () => {
  it('S26, S27, S28: behaves like a map in order of last use', () => {
    const step = fc.record({
      kind: fc.constantFrom('remember', 'remember', 'remember', 'forget', 'sweep'),
      client: fc.nat(9),
      service: fc.nat(2),
      network: fc.nat(1),
      backend: fc.nat(7),
      pause: fc.constantFrom(0, 1, 1000, DAY, DAY + 1),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const table = new Affinities(7, 3);
        /** Insertion order is order of last use. */
        const model = new Map<string, { backend: number; stamp: number; hits: number }>();
        let now = 0;
        for (const { kind, client, service, network, backend, pause } of steps) {
          now += pause;
          const key = `${network} ${service} ${client}`;
          if (kind === 'remember') {
            remember(table, client, backend, now | 0, service, network);
            const hits = (model.get(key)?.hits ?? 0) + 1;
            if (!model.delete(key) && model.size === 7) model.delete([...model.keys()][0]!);
            model.set(key, { backend, stamp: now | 0, hits });
          } else if (kind === 'forget') {
            table.forget((row) => table.key(row, 1) !== service || backendOf(table, row)! < 4);
            for (const [other, row] of model)
              if (other.split(' ')[1] === `${service}` && row.backend >= 4) model.delete(other);
          } else {
            table.sweep(now | 0, 100);
            for (const [other, row] of model) {
              if ((((now | 0) - row.stamp) | 0) <= DAY) break;
              model.delete(other);
            }
          }
          expect(table.count).toBe(model.size);
          for (const n of [0, 1]) {
            for (const s of [0, 1, 2]) {
              for (let c = 0; c < 10; c++) {
                const row = find(table, c, s, n);
                const wanted = model.get(`${n} ${s} ${c}`);
                const got =
                  row < 0
                    ? undefined
                    : { backend: backendOf(table, row), stamp: table.stamp[row], hits: table.hits[row] };
                expect(got).toEqual(wanted);
              }
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('S28: a full table forgets the least recently used client and refuses nobody', () => {
    const table = new Affinities(100, 3);
    for (let client = 0; client < 100; client++) remember(table, client, 1, client);
    remember(table, 0, 1, 200);
    for (let client = 1000; client < 1099; client++) remember(table, client, 2, 300);
    expect(table.count).toBe(100);
    expect(find(table, 0)).toBeGreaterThanOrEqual(0);
    expect([1, 50, 99].map((client) => find(table, client))).toEqual([-1, -1, -1]);
    expect(find(table, 1098)).toBeGreaterThanOrEqual(0);
  });

  it('S26: every part of the key counts', () => {
    const table = new Affinities(10, 3);
    remember(table, 5, 1, 0, 1, 1);
    expect(find(table, 5, 1, 1)).toBe(0);
    for (const row of [
      find(table, 5, 1, 0),
      find(table, 5, 0, 1),
      find(table, 4, 1, 1),
      table.find(1, 1, 1, 0, 0xffff, 5),
      table.find(1, 1, 0, 1, 0xffff, 5),
      table.find(1, 1, 0, 0, 0, 5),
    ]) {
      expect(row).toBe(-1);
    }
  });

  it('S27: the whole backend is overwritten', () => {
    const table = new Affinities(10, 3);
    remember(table, 5, 1, 0);
    remember(table, 5, 6, 1);
    expect([...table.backend.subarray(0, 5)]).toEqual([0, 0, 0xffff, 6, 8006]);
    expect(table.count).toBe(1);
  });

  it('S27: a forgotten row is free for the next client', () => {
    const table = new Affinities(1, 3);
    remember(table, 5, 1, 0);
    table.forget(() => false);
    expect([table.count, table.isUsed(0), find(table, 5)]).toEqual([0, false, -1]);
    remember(table, 6, 2, 0);
    expect([find(table, 6), table.hits[0]]).toEqual([0, 1]);
  });

  it('S26: the sweep takes what no timeout can reach any more, oldest first, within its budget', () => {
    const table = new Affinities(10, 3);
    for (let client = 0; client < 5; client++) remember(table, client, 1, client);
    table.sweep(DAY + 4, 2);
    expect([0, 1, 2].map((client) => find(table, client) >= 0)).toEqual([false, false, true]);
    table.sweep(DAY + 4, 10);
    expect(table.count).toBe(1);
    table.sweep(DAY + 5, 10);
    expect(table.count).toBe(0);
  });
});
