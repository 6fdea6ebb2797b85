import { describe, expect, it } from 'vitest';
import { Budget } from '../../bench/budget.ts';
import { CONTENDERS } from '../../bench/contenders/index.ts';
import { isSelected, matrix } from '../../bench/matrix.ts';
import { readOptions } from '../../bench/options.ts';
import { expectedSeconds, LIMIT } from '../../bench/session.ts';

describe('the matrix', () => {
  it.each(['full', 'quick'] as const)('of a %s run fits its time, with some to spare', (mode) => {
    expect(expectedSeconds(mode)).toBeLessThan(LIMIT[mode]);
  });

  it('keeps the promises of twenty and three minutes', () => {
    expect(LIMIT.full).toBeLessThan(20 * 60);
    expect(LIMIT.quick).toBeLessThan(3 * 60);
  });

  it('names every cell once, and contenders that exist, Twill first', () => {
    for (const mode of ['full', 'quick'] as const) {
      const ids = matrix(mode).map(({ cell }) => cell.id);
      expect(new Set(ids).size).toBe(ids.length);
      const names = CONTENDERS.map(({ name }) => name);
      for (const { contenders } of matrix(mode)) {
        expect(names).toEqual(expect.arrayContaining([...contenders]));
        expect(contenders[0]).toBe('twill');
      }
    }
  });

  it('has every workload of a full run', () => {
    const ids = matrix('full').map(({ cell }) => cell.id);
    for (const streams of ['1', '4', '8', '1-both']) {
      for (const path of ['same', 'cross']) expect(ids).toContain(`tcp-${streams}/${path}/unpinned`);
    }
    for (const size of ['64', '512', '1400', 'imix']) {
      for (const flows of [1, 16, 1000]) {
        for (const path of ['same', 'cross'])
          expect(ids).toContain(`datagrams-${size}x${flows}/${path}/unpinned`);
      }
    }
    for (const name of ['rr-udp', 'rr-tcp', 'rr-loaded', 'ping'])
      expect(ids).toContain(`${name}/cross/unpinned`);
    expect(ids).toContain('tcp-1/cross/unpinned/9000');
    expect(ids).toContain('tcp-1/same/pinned');
  });
});

describe('a selection', () => {
  it.each([
    [[], true],
    [['tcp'], true],
    [['latency'], false],
    [['tcp-1'], true],
    [['tcp-1/same/unpinned'], true],
    [['tcp-1/cross'], false],
    [['tcp-'], false],
    [['latency', 'tcp-1/same'], true],
  ])('%j: %s', (only, expected) => expect(isSelected(only, 'tcp-1/same/unpinned', 'tcp')).toBe(expected));
});

describe('a budget', () => {
  const at = (limit: number, expected: number) => {
    let now = 100;
    const budget = new Budget(limit, expected, () => now);
    const spend = (planned: number, seconds: number): void => {
      now += seconds;
      budget.finish(planned, seconds);
    };
    return { budget, spend };
  };

  it('lets everything run as planned while there is time', () => {
    const { budget, spend } = at(100, 90);
    expect(budget.rounds(6)).toBe(6);
    spend(30, 30);
    expect(budget.rounds(6)).toBe(6);
    expect(budget.left).toBeCloseTo(60);
  });

  it('cuts rounds when parts take longer, but runs each at least once', () => {
    const { budget, spend } = at(100, 90);
    spend(30, 60);
    expect(budget.rounds(6)).toBeLessThan(6);
    expect(budget.rounds(1)).toBe(1);
    expect(budget.left).toBeLessThanOrEqual(40);
  });

  it('is over when the time is', () => {
    const { budget, spend } = at(100, 200);
    spend(50, 100);
    expect(budget.share).toBe(0);
    expect(budget.rounds(6)).toBe(0);
    expect(budget.left).toBe(0);
  });
});

describe('options', () => {
  it.each([
    [['--fast'], /--fast/],
    [['--only', 'tcp-9'], /tcp-9: no such cell or group/],
    [['word'], /unexpected word "word"/],
    [['--quick', '--only'], /only/],
  ])('%j is refused', (args, message) => expect(() => readOptions(args)).toThrow(message));

  it('are read', () => {
    expect(readOptions(['--quick', '--only', 'tcp-1', '--only', 'services'])).toEqual({
      kind: 'measure',
      mode: 'quick',
      only: ['tcp-1', 'services'],
      isMemoryOnly: false,
    });
    expect(readOptions(['--check'])).toEqual({ kind: 'check', file: null });
    expect(readOptions(['--check', 'x.json'])).toEqual({ kind: 'check', file: 'x.json' });
  });
});
