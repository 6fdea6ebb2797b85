import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { estimate, median, ratios, series } from '../../bench/stats.ts';
import { run } from '../bench-results.ts';

describe('median', () => {
  it.each([
    [[3], 3],
    [[4, 1], 2.5],
    [[9, 1, 5], 5],
    [[10, 2, 4, 8], 6],
  ])('of %j is %d', (values, expected) => expect(median(values)).toBe(expected));

  it('leaves its argument alone and refuses nothing', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('estimate', () => {
  it('holds the median, within the values', () => {
    const values = fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(values, (list) => {
        const { median: middle, low, high } = estimate(list);
        return Math.min(...list) <= low && low <= middle && middle <= high && high <= Math.max(...list);
      }),
      { numRuns: 40 },
    );
  });

  it('is the same every time', () => expect(estimate([1, 2, 3, 4])).toEqual(estimate([1, 2, 3, 4])));

  it('is narrower with more of the same', () => {
    const few = estimate([1, 2, 3, 4, 5]);
    const many = estimate(Array.from({ length: 100 }, (_, i) => 1 + (i % 5)));
    expect(many.high - many.low).toBeLessThan(few.high - few.low);
  });
});

describe('ratios', () => {
  it('compare inside a round: drift over the rounds does not show', () => {
    const runs = [1, 2, 3].flatMap((speed, round) => [
      run('twill', round, 2 * speed),
      run('kernel', round, 4 * speed),
    ]);
    expect(ratios(runs)).toEqual([{ contender: 'kernel', pairs: 3, median: 0.5, low: 0.5, high: 0.5 }]);
  });

  it('leave out rounds that lack one of the two, and contenders without any', () => {
    const runs = [run('twill', 0, 6), run('kernel', 0, 3), run('kernel', 1, 1), run('vde', 1, 1)];
    expect(ratios(runs)).toMatchObject([{ contender: 'kernel', pairs: 1, median: 2 }]);
  });
});

describe('series', () => {
  it('has a line per contender, with what was measured only', () => {
    const runs = [
      run('twill', 0, 1, { loss: 0.5, cpuPerGigabyte: 4, percentiles: { p50: 1, p99: 2, p99_9: 3 } }),
      run('twill', 1, 3, { loss: 0, cpuPerGigabyte: 2, percentiles: { p50: 3, p99: 4, p99_9: 9 } }),
      run('kernel', 0, 5),
    ];
    expect(series(runs)).toEqual([
      {
        ...{ contender: 'twill', runs: 2, median: 2, least: 1, most: 3, loss: 0.25, cpuPerGigabyte: 3 },
        percentiles: { p50: 2, p99: 3, p99_9: 6 },
      },
      { contender: 'kernel', runs: 1, median: 5, least: 5, most: 5 },
    ]);
  });
});
