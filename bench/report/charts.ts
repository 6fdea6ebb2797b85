/** The kinds of picture in the page. Colour says who: class "c-NAME" (style.ts). */
import { quantity } from './figures.ts';
import { element, line, linear, logarithmic, logTicks, picture, type Scale, text, ticks } from './svg.ts';

export interface Bar {
  readonly name: string;
  /** Whose colour. */
  readonly who: string;
  readonly value: number;
  readonly least: number;
  readonly most: number;
  /** Behind the value. */
  readonly remark?: string;
}

const WIDTH = 760;
const ROW = 26;

/** Medians as bars, from the least to the most run as a whisker. */
export function bars(title: string, unit: string, rows: readonly Bar[]): string {
  const left = 210;
  const right = WIDTH - 190;
  const height = rows.length * ROW + 28;
  const marks = ticks(Math.max(...rows.map(({ most }) => most)));
  const x = linear([0, marks.at(-1)!], [left, right]);
  const bottom = rows.length * ROW + 4;
  const parts = marks.flatMap((mark) => [
    line(x(mark), 0, x(mark), bottom, 'grid'),
    text(x(mark), bottom + 16, quantityOfTick(mark), 'tick', 'middle'),
  ]);
  rows.forEach(({ name, who, value, least, most, remark = '' }, i) => {
    const y = i * ROW + 4;
    const middle = y + ROW / 2 - 3;
    parts.push(
      text(left - 10, middle + 4, name, who === 'twill' ? 'label own' : 'label', 'end'),
      element('rect', {
        x: left,
        y,
        width: Math.max(1, x(value) - left),
        height: ROW - 8,
        rx: 2,
        class: `bar c-${who}`,
      }),
      line(x(least), middle, x(most), middle, 'whisker'),
      line(x(least), middle - 4, x(least), middle + 4, 'whisker'),
      line(x(most), middle - 4, x(most), middle + 4, 'whisker'),
      text(Math.max(x(most), x(value)) + 8, middle + 4, `${quantity(value)} ${unit}${remark}`, 'value'),
    );
  });
  return picture(WIDTH, height, title, parts);
}

export interface Interval {
  readonly name: string;
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Ratios with their intervals on a logarithmic axis; 1 is a line. */
export function intervals(title: string, rows: readonly Interval[]): string {
  const left = 330;
  const right = WIDTH - 130;
  const least = Math.min(0.5, ...rows.map(({ low }) => low));
  const most = Math.max(2, ...rows.map(({ high }) => high));
  const marks = logTicks(least, most);
  const x = logarithmic([marks[0]!, marks.at(-1)!], [left, right]);
  const row = 22;
  const bottom = rows.length * row + 4;
  const parts = marks.flatMap((mark) => [
    line(x(mark), 0, x(mark), bottom, mark === 1 ? 'one' : 'grid'),
    text(x(mark), bottom + 16, `${quantityOfTick(mark)} ×`, 'tick', 'middle'),
  ]);
  rows.forEach(({ name, median, low, high }, i) => {
    const y = i * row + row / 2 + 2;
    parts.push(
      text(left - 10, y + 4, name, 'label', 'end'),
      line(x(low), y, x(high), y, 'interval'),
      element('circle', { cx: x(median), cy: y, r: 4.5, class: 'dot c-twill' }),
      text(right + 10, y + 4, `${quantity(median)} (${quantity(low)}–${quantity(high)})`, 'value'),
    );
  });
  return picture(WIDTH, bottom + 24, title, parts);
}

export interface Spread {
  readonly name: string;
  readonly who: string;
  readonly p50: number;
  readonly p99: number;
  readonly p99_9: number;
}

/** Median, 99th and 99.9th percentile of latencies on one logarithmic axis, µs. */
export function percentiles(title: string, rows: readonly Spread[]): string {
  const left = 330;
  const right = WIDTH - 150;
  const marks = logTicks(
    Math.min(...rows.map(({ p50 }) => p50)),
    Math.max(...rows.map(({ p99_9 }) => p99_9)),
  );
  const x = logarithmic([marks[0]!, marks.at(-1)!], [left, right]);
  const row = 22;
  const bottom = rows.length * row + 4;
  const parts = marks.flatMap((mark) => [
    line(x(mark), 0, x(mark), bottom, 'grid'),
    text(x(mark), bottom + 16, `${quantityOfTick(mark)} µs`, 'tick', 'middle'),
  ]);
  rows.forEach(({ name, who, p50, p99, p99_9 }, i) => {
    const y = i * row + row / 2 + 2;
    parts.push(
      text(left - 10, y + 4, name, who === 'twill' ? 'label own' : 'label', 'end'),
      line(x(p50), y, x(p99_9), y, 'interval'),
      element('circle', { cx: x(p50), cy: y, r: 5, class: `dot c-${who}` }),
      element('rect', { x: x(p99) - 4, y: y - 4, width: 8, height: 8, class: `dot c-${who}` }),
      element('path', { d: diamond(x(p99_9), y, 5), class: `dot c-${who}` }),
      text(right + 10, y + 4, [p50, p99, p99_9].map(quantity).join(' / '), 'value'),
    );
  });
  return picture(WIDTH, bottom + 24, title, parts);
}

const diamond = (x: number, y: number, r: number): string =>
  `M${x.toFixed(1)} ${(y - r).toFixed(1)}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;

export interface Curve {
  readonly name: string;
  readonly who: string;
  readonly points: readonly {
    readonly x: number;
    readonly y: number;
    readonly low?: number;
    readonly high?: number;
  }[];
}

/** How figures grow with a size: sizes on a logarithmic axis, figures on either. */
export function curves(
  title: string,
  labels: { readonly x: string; readonly y: string },
  list: readonly Curve[],
  isLogarithmic: boolean,
): string {
  const [left, right, top, bottom] = [64, WIDTH - 210, 24, 250];
  const points = list.flatMap(({ points }) => points);
  const sizes = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const x = logarithmic([sizes[0]!, Math.max(sizes.at(-1)!, sizes[0]! * 1.01)], [left, right]);
  const values = points.flatMap(({ y, low = y, high = y }) => [low, high]).filter((value) => value > 0);
  const most = Math.max(...values);
  const marks = isLogarithmic ? logTicks(Math.min(...values), most) : ticks(most);
  const domain = [marks[0]!, marks.at(-1)!] as const;
  const y: Scale = (isLogarithmic ? logarithmic : linear)(domain, [bottom, top]);
  const parts = [
    ...marks.flatMap((mark) => [
      line(left, y(mark), right, y(mark), 'grid'),
      text(left - 8, y(mark) + 4, quantityOfTick(mark), 'tick', 'end'),
    ]),
    ...sizes.map((size) => text(x(size), bottom + 18, quantityOfTick(size), 'tick', 'middle')),
    text((left + right) / 2, bottom + 36, labels.x, 'axis', 'middle'),
    text(left - 50, 12, labels.y, 'axis'),
  ];
  for (const { who, points } of list) {
    const path = points.map(
      (one, i) => `${i === 0 ? 'M' : 'L'}${x(one.x).toFixed(1)} ${y(one.y).toFixed(1)}`,
    );
    parts.push(element('path', { d: path.join(''), class: `curve c-${who}` }));
    for (const one of points) {
      if (one.low !== undefined && one.high !== undefined && one.high > one.low) {
        parts.push(line(x(one.x), y(one.low), x(one.x), y(one.high), 'whisker'));
      }
      parts.push(element('circle', { cx: x(one.x), cy: y(one.y), r: 3.5, class: `dot c-${who}` }));
    }
  }
  parts.push(...endLabels(list, y, right + 12));
  return picture(WIDTH, bottom + 44, title, parts);
}

/** Names at the ends of the curves, moved apart where they would overlap. */
function endLabels(list: readonly Curve[], y: Scale, x: number): string[] {
  const gap = 17;
  const ends = list
    .map(({ name, who, points }) => ({ name, who, at: y(points.at(-1)!.y), value: points.at(-1)!.y }))
    .sort((a, b) => a.at - b.at);
  for (let i = 1; i < ends.length; i++) ends[i]!.at = Math.max(ends[i]!.at, ends[i - 1]!.at + gap);
  return ends.flatMap(({ name, who, at, value }) => [
    element('circle', { cx: x + 4, cy: at, r: 4.5, class: `dot c-${who}` }),
    text(x + 14, at + 4, `${name} ${quantity(value)}`, who === 'twill' ? 'label own' : 'label'),
  ]);
}

function quantityOfTick(value: number): string {
  if (value >= 1e6 && value % 1e6 === 0) return `${value / 1e6} M`;
  if (value >= 1e4 && value % 1e3 === 0) return `${value / 1e3} k`;
  return String(Number(value.toPrecision(3)));
}
