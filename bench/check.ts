/**
 * `make bench-check`: ratios of a run against those of bench/baseline.json. Never figures themselves: machines
 * differ, what one contender is to another on the same machine much less.
 */
import { readFileSync } from 'node:fs';
import { quantity } from './report/figures.ts';
import { type Cell, isDisturbed, type Results } from './results.ts';

export interface Baseline {
  /** Where the ratios are from, for a person. */
  readonly from: { readonly started: string; readonly commit: string; readonly machine: string };
  /** By cell, then by contender. */
  readonly ratios: Readonly<Record<string, Readonly<Record<string, Expected>>>>;
}

export interface Expected {
  readonly ratio: number;
  /** Share of the ratio by which a run may be worse. */
  readonly tolerance: number;
}

export interface CheckRow {
  readonly cell: string;
  readonly contender: string;
  readonly expected: Expected;
  /** null: not measured. */
  readonly measured: number | null;
  readonly isRegression: boolean;
  readonly remark: string;
}

/** However narrow an interval was: what two runs on one quiet machine differ by. */
const LEAST_TOLERANCE = 0.15;
const MOST_TOLERANCE = 0.5;

/** From the ratios of a run; what one pair gave is known least. The longest of many round trips is chance. */
export function baselineFrom(results: Results): Baseline {
  const ratios = results.cells.flatMap((cell) => {
    const known = cell.ratios.filter(({ contender }) => contender !== 'quiet' && contender !== 'loading');
    if (known.length === 0) return [];
    const each = known.map(({ contender, pairs, median, low, high }) => {
      const spread = pairs === 1 ? MOST_TOLERANCE : Math.max(median - low, high - median) / median;
      const tolerance = Math.min(MOST_TOLERANCE, Math.max(LEAST_TOLERANCE, 1.5 * spread));
      return [contender, { ratio: round(median), tolerance: round(tolerance) }] as const;
    });
    return [[cell.id, Object.fromEntries(each)] as const];
  });
  const { cpu, cpus, kernel } = results.machine;
  return {
    from: { started: results.started, commit: results.commit, machine: `${cpus} × ${cpu}, Linux ${kernel}` },
    ratios: Object.fromEntries(ratios),
  };
}

const round = (value: number): number => Number(value.toFixed(3));

/** @throws Error that says how to make one, when there is none or it is none */
export function readBaseline(path: string): Baseline {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${why}; make one with twill bench --baseline RESULTS.json`);
  }
  if (typeof value !== 'object' || value === null || typeof (value as Baseline).ratios !== 'object') {
    throw new Error(`${path} is no baseline; make one with twill bench --baseline RESULTS.json`);
  }
  return value as Baseline;
}

export function checkResults(results: Results, baseline: Baseline): CheckRow[] {
  const rows = Object.entries(baseline.ratios).flatMap(([id, contenders]) => {
    const cell = results.cells.find((one) => one.id === id);
    return Object.entries(contenders).map(([contender, expected]) => compare(cell, id, contender, expected));
  });
  const wrong = results.cells.flatMap((cell) => {
    const errors = cell.runs.reduce((sum, run) => sum + run.guards.checksumErrors, 0);
    const expected = { ratio: 0, tolerance: 0 };
    const remark = `${errors} checksum errors`;
    return errors === 0
      ? []
      : [{ cell: cell.id, contender: '', expected, measured: errors, isRegression: true, remark }];
  });
  if (rows.every(({ measured }) => measured === null)) {
    throw new Error('nothing was measured that the baseline knows');
  }
  return [...rows, ...wrong];
}

function compare(cell: Cell | undefined, id: string, contender: string, expected: Expected): CheckRow {
  const ratio = cell?.ratios.find((one) => one.contender === contender);
  if (!cell || !ratio) {
    return { cell: id, contender, expected, measured: null, isRegression: false, remark: 'not measured' };
  }
  const { median } = ratio;
  const limit = expected.ratio * (cell.better === 'more' ? 1 - expected.tolerance : 1 + expected.tolerance);
  const isRegression = cell.better === 'more' ? median < limit : median > limit;
  const own = cell.runs.filter((run) => run.contender === 'twill' || run.contender === contender);
  const disturbed = own.filter(isDisturbed).length * 2 > own.length ? 'machine disturbed' : '';
  const words = [isRegression ? `worse than ${quantity(limit)}` : '', disturbed].filter(
    (word) => word !== '',
  );
  return { cell: id, contender, expected, measured: median, isRegression, remark: words.join(', ') };
}

/** Regressions first; what was not measured is only counted. */
export function renderCheck(rows: readonly CheckRow[]): string {
  const measured = rows.filter((row) => row.measured !== null);
  const lines = [...measured]
    .sort((a, b) => Number(b.isRegression) - Number(a.isRegression))
    .map(({ cell, contender, expected, measured, isRegression, remark }) => {
      const name = `${cell}${contender === '' ? '' : ` ÷ ${contender}`}`.padEnd(46);
      const figures = `${quantity(expected.ratio)} ± ${Math.round(expected.tolerance * 100)} %`.padStart(13);
      return `${isRegression ? '✗' : ' '} ${name} ${figures} ${quantity(measured!).padStart(6)}  ${remark}`.trimEnd();
    });
  const head = `  ${'Twill ÷ other'.padEnd(46)} ${'baseline'.padStart(13)} ${'now'.padStart(6)}`;
  const bad = rows.filter(({ isRegression }) => isRegression).length;
  const absent = rows.length - measured.length;
  const end = `${measured.length} compared, ${bad} worse, ${absent} not measured`;
  return `${[head, ...lines, '', end].join('\n')}\n`;
}
