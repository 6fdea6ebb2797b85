/** The table building blocks against plain JavaScript models. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HashIndex } from '../../src/table/hash-index.ts';
import { Lists } from '../../src/table/lists.ts';
import { RowPool } from '../../src/table/row-pool.ts';
import { Segments } from '../../src/table/segments.ts';

describe('HashIndex', () => {
  /** Few hashes over few places, so that probes collide, wrap around and shift back. */
  const hashes = fc.oneof(fc.integer({ min: 0, max: 7 }), fc.constantFrom(-1, -2, 0x7fffffff, -0x80000000));

  const find = ({ entries, mask }: HashIndex, hash: number, row: number): boolean => {
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      if (entries[at] === 0) return false;
      if (entries[at + 1] === hash && entries[at] === row + 1) return true;
    }
  };

  it('finds exactly the rows a Map would have', () => {
    const ops = fc.array(fc.tuple(fc.integer({ min: 0, max: 15 }), hashes), { maxLength: 200 });
    fc.assert(
      fc.property(ops, (steps) => {
        const index = new HashIndex(16);
        const model = new Map<number, number>();
        for (const [row, hash] of steps) {
          const old = model.get(row);
          if (old === undefined) {
            index.insert(hash, row);
            model.set(row, hash);
          } else {
            index.remove(old, row);
            model.delete(row);
          }
          for (let other = 0; other < 16; other++) {
            const expected = model.get(other);
            if (expected !== undefined) expect(find(index, expected, other)).toBe(true);
          }
          expect(
            index.entries
              .filter((entry, at) => at % 2 === 0 && entry !== 0)
              .sort()
              .join(),
          ).toBe(
            [...model.keys()]
              .map((key) => key + 1)
              .sort((a, b) => a - b)
              .join(),
          );
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is at most half full, whatever the capacity', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (capacity) => {
        const { entries, mask } = new HashIndex(capacity);
        const places = entries.length / 2;
        expect(mask).toBe(entries.length - 2);
        expect(entries.length & mask).toBe(0);
        expect(places).toBeGreaterThanOrEqual(capacity * 2);
        expect(places).toBeLessThan(Math.max(16, capacity * 4 + 1));
      }),
    );
  });
});

describe('Lists', () => {
  it('are the arrays a model keeps, in order, from both ends', () => {
    const command = fc.tuple(
      fc.constantFrom('append', 'remove', 'refresh'),
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: 0, max: 9 }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 150 }), (steps) => {
        const lists = new Lists(3, 10);
        const model: number[][] = [[], [], []];
        for (const [what, list, row] of steps) {
          const owner = model.findIndex((rows) => rows.includes(row));
          if (what === 'append' && owner < 0) {
            lists.append(list, row);
            model[list]!.push(row);
          } else if (what !== 'append' && owner >= 0) {
            model[owner] = model[owner]!.filter((other) => other !== row);
            if (what === 'refresh') {
              lists.refresh(owner, row);
              model[owner]!.push(row);
            } else {
              lists.remove(owner, row);
            }
          }
          model.forEach((rows, at) => {
            const walked: number[] = [];
            for (let i = lists.head[at]!; i >= 0; i = lists.after(i)) walked.push(i);
            expect(walked).toEqual(rows);
            expect(lists.length[at]).toBe(rows.length);
            expect(lists.tail[at]).toBe(rows.at(-1) ?? -1);
          });
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('RowPool', () => {
  it('never hands out a row twice, nor more than there are', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: -3, max: 20 })),
        (capacity, steps) => {
          const pool = new RowPool(capacity);
          const used = new Set<number>();
          let highest = -1;
          for (const step of steps) {
            const victim = [...used][step];
            if (step >= 0 && victim !== undefined) {
              pool.give(victim);
              used.delete(victim);
            } else {
              const row = pool.take();
              if (used.size === capacity) {
                expect(row).toBe(-1);
              } else {
                expect(row).toBeGreaterThanOrEqual(0);
                expect(row).toBeLessThan(capacity);
                expect(used.has(row)).toBe(false);
                used.add(row);
                highest = Math.max(highest, row);
              }
            }
            expect(pool.used).toBe(used.size);
            expect(pool.extent).toBe(highest + 1);
          }
        },
      ),
    );
  });

  it('touches a fresh row only when none was given back', () => {
    const pool = new RowPool(10);
    const [first, second] = [pool.take(), pool.take()];
    pool.give(first);
    expect(pool.take()).toBe(first);
    expect(pool.take()).toBe(second + 1);
  });
});

describe('Segments', () => {
  const lengths = fc.oneof(
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: 500, max: 2000 }),
    fc.constantFrom(1 << 17, (1 << 17) + 1, 300_000),
  );

  it('gives every run words of its own', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(lengths, fc.boolean()), { maxLength: 60 }), (steps) => {
        const segments = new Segments();
        const live: { run: number; length: number; mark: number }[] = [];
        const write = (run: number, length: number, mark: number) => {
          const at = segments.offset(run);
          segments.words(run).fill(mark, at, at + length);
        };
        let mark = 0;
        for (const [length, release] of steps) {
          const oldest = release ? live.shift() : undefined;
          if (oldest) segments.give(oldest.run, oldest.length);
          const run = segments.take(length);
          live.push({ run, length, mark: ++mark });
          write(run, length, mark);
        }
        for (const { run, length, mark } of live) {
          const at = segments.offset(run);
          const words = segments.words(run).subarray(at, at + length);
          expect(words.length).toBe(length);
          expect(words.every((word) => word === mark)).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('uses again what was given back: memory follows what is live, not what ever was', () => {
    const segments = new Segments();
    for (let i = 0; i < 100_000; i++) segments.give(segments.take(50), 50);
    for (let i = 0; i < 10; i++) segments.give(segments.take(300_000), 300_000);
    expect(segments.chunks.length).toBe(2);
  });
});
