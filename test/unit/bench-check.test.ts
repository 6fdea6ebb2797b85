import { describe, expect, it } from 'vitest';
import { baselineFrom, checkResults, readBaseline, renderCheck } from '../../bench/check.ts';
import { cell, results, run } from '../bench-results.ts';

const twice = (twill: number, kernel: number, more = {}) =>
  [0, 1].flatMap((round) => [run('twill', round, twill, more), run('kernel', round, kernel)]);
const tcp = (twill: number, more = {}) => cell('tcp-1/same/unpinned', twice(twill, 10, more));
const latency = (twill: number) => cell('rr-udp/same/unpinned', twice(twill, 10), { better: 'less' });

const baseline = baselineFrom(results([tcp(8), latency(12)]));

describe('a baseline', () => {
  it('keeps ratios and their tolerances, no figures', () => {
    expect(baseline.ratios).toEqual({
      'tcp-1/same/unpinned': { kernel: { ratio: 0.8, tolerance: 0.15 } },
      'rr-udp/same/unpinned': { kernel: { ratio: 1.2, tolerance: 0.15 } },
    });
  });

  it('tolerates more where the rounds differed more', () => {
    const runs = [7, 8, 10].flatMap((value, round) => [run('twill', round, value), run('kernel', round, 10)]);
    const { ratios } = baselineFrom(results([cell('tcp-1/same/unpinned', runs)]));
    expect(ratios['tcp-1/same/unpinned']!.kernel!.tolerance).toBeGreaterThan(0.3);
  });

  it('tolerates most where a single pair was measured', () => {
    const { ratios } = baselineFrom(results([cell('load-1/same/unpinned', twice(1, 2).slice(0, 2))]));
    expect(ratios['load-1/same/unpinned']!.kernel!.tolerance).toBe(0.5);
  });

  it('that is missing is told with its remedy', () => {
    expect(() => readBaseline('/nowhere/baseline.json')).toThrow(/make one with twill bench --baseline/);
  });
});

describe('a check', () => {
  const verdicts = (...cells: ReturnType<typeof cell>[]) =>
    checkResults(results(cells), baseline)
      .filter(({ isRegression }) => isRegression)
      .map(({ cell: id, remark }) => `${id}: ${remark}`);

  it('passes what is within the tolerance, or better', () => {
    expect(verdicts(tcp(6.9), latency(13.7))).toEqual([]);
    expect(verdicts(tcp(20), latency(2))).toEqual([]);
  });

  it('finds what is worse, whichever direction is worse', () => {
    expect(verdicts(tcp(6.7), latency(12))).toEqual(['tcp-1/same/unpinned: worse than 0.68']);
    expect(verdicts(tcp(8), latency(14))).toEqual(['rr-udp/same/unpinned: worse than 1.38']);
  });

  it('does not mistake a faster machine for an improvement', () => {
    const faster = cell('tcp-1/same/unpinned', [run('twill', 0, 16), run('kernel', 0, 40)]);
    expect(verdicts(faster)).toHaveLength(1);
  });

  it('fails on checksum errors whatever the speed', () => {
    const { guards } = run('twill', 0, 1);
    const wrong = tcp(9, { guards: { ...guards, checksumErrors: 2 } });
    expect(verdicts(wrong)).toEqual(['tcp-1/same/unpinned: 4 checksum errors']);
  });

  it('refuses to pass when nothing was measured', () => {
    expect(() => checkResults(results([]), baseline)).toThrow('nothing was measured');
  });

  it('is a table of a line per ratio', () => {
    const text = renderCheck(checkResults(results([tcp(5)]), baseline));
    expect(text).toMatch(/^✗ tcp-1\/same\/unpinned ÷ kernel .* 0\.80 ± 15 % {3}0\.50 {2}worse than 0\.68$/m);
    expect(text).toContain('1 compared, 1 worse, 1 not measured');
  });
});
