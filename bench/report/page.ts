/** The report: one HTML file that needs nothing else. */
import type { Cell, MemoryRow, Results } from '../results.ts';
import { targetRows, type Verdict } from '../targets.ts';
import { type Bar, bars, type Curve, curves, intervals, percentiles } from './charts.ts';
import { pathTitle, percent, quantity } from './figures.ts';
import { STYLE } from './style.ts';
import { element, escaped } from './svg.ts';
import { cellTitle, guardLine, machineLines, SERVICES_WORDS, titleOf, warnings } from './words.ts';

const VERDICT: Readonly<Record<Verdict, string>> = {
  aim: '✓ as aimed',
  met: '✓ reached',
  missed: '✗ missed',
  unknown: 'not measured',
};

export function renderPage(results: Results): string {
  const sections = [
    summary(results),
    rates(results, 'tcp', 'TCP throughput', 'iperf3 in namespaces; what the receiver counts.'),
    rates(
      results,
      'datagrams',
      'Datagrams',
      'Sent as fast as the sender can, counted by the receiving application.',
    ),
    latency(results),
    services(results),
    memory(results),
    everything(results),
    reproduce(results),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Twill ${escaped(results.twill)}: measured ${escaped(results.started.slice(0, 10))}</title>
<style>${STYLE}</style></head>
<body><main>${sections.filter((part) => part !== '').join('\n')}</main></body></html>
`;
}

const tag = (name: string, content: string, className = ''): string =>
  element(name, className === '' ? {} : { class: className }, content);

const figure = (image: string, caption = ''): string =>
  tag('figure', image + (caption === '' ? '' : tag('figcaption', escaped(caption))));

const heading = (title: string, words = ''): string =>
  tag('h2', escaped(title)) + (words === '' ? '' : tag('p', escaped(words), 'soft'));

function summary(results: Results): string {
  const rows = targetRows(results);
  const count = (verdict: Verdict): number => rows.filter((row) => row.verdict === verdict).length;
  const facts = machineLines(results).map(
    ([name, words]) => tag('dt', escaped(name)) + tag('dd', escaped(words)),
  );
  const remarks = warnings(results);
  const counts = (['aim', 'met', 'missed', 'unknown'] as const).map((verdict) =>
    tag('div', tag('b', String(count(verdict)), verdict) + escaped(VERDICT[verdict].replace(/^. /, ''))),
  );
  const head = ['path', 'layout', 'at least', 'aim', 'measured', 'verdict'];
  const body = rows.map((row, i) => {
    const isSame = rows[i - 1]?.path === row.path;
    const cells = [isSame ? '' : row.path, row.layout, row.requirement, row.aim];
    const measured = tag('td', escaped(row.measured), 'whole');
    const verdict = tag('td', escaped(VERDICT[row.verdict]), `verdict ${row.verdict}`);
    return tag('tr', cells.map((cell) => tag('td', escaped(cell))).join('') + measured + verdict);
  });
  const lead =
    'Twill beside what else carries packets between network namespaces, on one machine, in turns. A ratio is the ' +
    'median over rounds of Twill’s figure divided by the other’s in the same round, with its 95 % interval.';
  return [
    tag('h1', 'Twill, measured'),
    tag('p', escaped(lead), 'soft'),
    tag('dl', facts.join('')),
    results.mode === 'selection' ? '' : tag('div', counts.join(''), 'counts'),
    remarks.length === 0 ? '' : noteBox(remarks),
    heading('Targets'),
    tag('div', table(head, body), 'wide'),
  ].join('');
}

const table = (head: readonly string[], rows: readonly string[]): string =>
  tag(
    'table',
    tag('thead', tag('tr', head.map((word) => tag('th', escaped(word))).join(''))) +
      tag('tbody', rows.join('')),
  );

const SHOWN = 6;

function noteBox(remarks: readonly string[]): string {
  const items = (list: readonly string[]): string =>
    tag('ul', list.map((one) => tag('li', escaped(one))).join(''));
  const more = remarks.slice(SHOWN);
  const rest =
    more.length === 0 ? '' : tag('details', tag('summary', `${more.length} more remarks`) + items(more));
  return tag('div', `<b>To be read with care</b>${items(remarks.slice(0, SHOWN))}${rest}`, 'notes');
}

/** Bars for the cells with many contenders; one picture of ratios to the kernel for all. */
function rates(results: Results, group: string, title: string, words: string): string {
  const cells = results.cells.filter((cell) => cell.group === group && cell.series.length > 0);
  if (cells.length === 0) return '';
  const crowded = cells.filter(({ series }) => series.length > 2);
  const pictures = crowded.map((cell) => {
    const rows = cell.series.map((one): Bar => {
      const cpu = one.cpuPerGigabyte === undefined ? '' : `, ${quantity(one.cpuPerGigabyte)} CPU-s/GB`;
      const remark = one.loss === undefined ? cpu : `, ${percent(one.loss)} lost`;
      const { contender, median, least, most } = one;
      return { name: titleOf(results, contender), who: contender, value: median, least, most, remark };
    });
    return tag('h3', escaped(cellTitle(cell))) + figure(bars(cellTitle(cell), cell.unit, rows));
  });
  return heading(title, words) + pictures.join('') + besideKernel(cells);
}

function besideKernel(cells: readonly Cell[]): string {
  const rows = cells.flatMap((cell) => {
    const ratio = cell.ratios.find(({ contender }) => contender === 'kernel');
    return ratio ? [{ name: cellTitle(cell), ...ratio }] : [];
  });
  if (rows.length === 0) return '';
  return (
    tag('h3', 'Twill ÷ kernel') +
    figure(
      intervals('Twill divided by the kernel', rows),
      'Median of the ratios of the rounds, and its 95 % interval.',
    )
  );
}

function latency(results: Results): string {
  const cells = results.cells.filter((cell) => cell.group === 'latency' && cell.series.length > 0);
  if (cells.length === 0) return '';
  const byPath = (['same', 'cross'] as const).flatMap((path) => {
    const rows = cells
      .filter((cell) => cell.path === path)
      .flatMap((cell) =>
        cell.series.flatMap(({ contender, percentiles: found }) =>
          found ? [{ name: latencyName(results, cell, contender), who: contender, ...found }] : [],
        ),
      );
    if (rows.length === 0) return [];
    const caption = '● median, ■ 99 %, ◆ 99.9 % of round trips in µs; a logarithmic axis.';
    return [
      tag('h3', escaped(pathTitle(path))) + figure(percentiles(`latency, ${pathTitle(path)}`, rows), caption),
    ];
  });
  return heading('Latency', 'One request after the other, 64 bytes each way.') + byPath.join('');
}

function latencyName(results: Results, cell: Cell, contender: string): string {
  const layout = cell.layout === 'pinned' ? ', pinned' : '';
  const title = contender === 'kernel' ? 'kernel' : titleOf(results, contender);
  return `${cell.title}${layout}: ${title}`;
}

/** Cells whose id says how many services there are, as a curve per contender. */
function servicesCurves(results: Results, name: string): Curve[] {
  const cells = results.cells.flatMap((cell) => {
    const size = new RegExp(`^${name}-(\\d+)/`).exec(cell.id)?.[1];
    return size === undefined ? [] : [{ size: Number(size), cell }];
  });
  const contenders = [...new Set(cells.flatMap(({ cell }) => cell.series.map(({ contender }) => contender)))];
  return contenders.map((contender) => ({
    name: titleOf(results, contender),
    who: contender,
    points: cells.flatMap(({ size, cell }) => {
      const one = cell.series.find((series) => series.contender === contender);
      return one ? [{ x: size, y: one.median, low: one.least, high: one.most }] : [];
    }),
  }));
}

function services(results: Results): string {
  const pictures = [
    ['connections', 'New connections per second', 'connections/s', false],
    ['load', 'Time to load', 'seconds', true],
    ['change', 'Time for one endpoint change to take effect', 'milliseconds', true],
  ] as const;
  const parts = pictures.flatMap(([name, title, unit, isLogarithmic]) => {
    const list = servicesCurves(results, name);
    if (list.length === 0) return [];
    return [tag('h3', title) + figure(curves(title, { x: 'services', y: unit }, list, isLogarithmic))];
  });
  if (parts.length === 0) return '';
  return heading('Services', SERVICES_WORDS) + parts.join('');
}

function memory(results: Results): string {
  if (results.memory.length === 0) return '';
  const flows = results.memory.filter(({ what }) => what === 'flows');
  const rows = flows.map(({ scene, size, nsPerFrame, margin }): Bar => {
    const spread = (nsPerFrame * margin) / 100;
    const name = `${scene}, ${quantity(size)} ${size === 1 ? 'flow' : 'flows'}`;
    return {
      name,
      who: 'twill',
      value: nsPerFrame,
      least: Math.max(0, nsPerFrame - spread),
      most: nsPerFrame + spread,
    };
  });
  const growing = results.memory.filter(({ what }) => what !== 'flows');
  const growth = new Set(growing.map(({ scene }) => scene));
  const colours = ['twill', 'kernel', 'reference', 'ovs-tso'];
  const list = [...growth].map((scene, i): Curve => {
    const points = growing.filter((row) => row.scene === scene);
    return growthCurve(scene, points, colours[i % colours.length]!);
  });
  return [
    heading('Logic in memory', 'What the packet path costs without any system call, ns per frame.'),
    rows.length === 0 ? '' : figure(bars('Logic in memory', 'ns', rows)),
    list.length === 0 ? '' : tag('h3', 'As the fabric grows'),
    list.length === 0
      ? ''
      : figure(
          curves('Growth', { x: 'ports, peers or MACs', y: 'ns per received frame' }, list, true),
          'A flooded frame leaves once per port or peer. Both axes are logarithmic.',
        ),
  ].join('');
}

function growthCurve(scene: string, rows: readonly MemoryRow[], who: string): Curve {
  const points = rows.map(({ size, nsPerFrame }) => ({ x: size, y: Math.max(0.1, nsPerFrame) }));
  return { name: `${scene}:`, who, points };
}

function everything(results: Results): string {
  if (results.cells.length === 0) return '';
  const head = ['', 'runs', 'median', 'least–most', 'Twill ÷ it', 'CPU-s/GB', 'CPU-s/M', 'loss'];
  const rows = results.cells.flatMap((cell) => {
    const guards = cell.series.some(({ contender }) => contender === 'twill')
      ? `; guards: ${guardLine(cell)}`
      : '';
    const title = `${escaped(cellTitle(cell))} <span class="soft">(${escaped(cell.unit + guards)})</span>`;
    const first = `<tr class="head"><td colspan="${head.length}">${title}</td></tr>`;
    const lines = cell.series.map((one) => {
      const ratio = cell.ratios.find(({ contender }) => contender === one.contender);
      const optional = (value: number | undefined): string => (value === undefined ? '' : quantity(value));
      const figures = [
        String(one.runs),
        quantity(one.median),
        `${quantity(one.least)}–${quantity(one.most)}`,
        ratio ? `${quantity(ratio.median)} (${quantity(ratio.low)}–${quantity(ratio.high)})` : '',
        optional(one.cpuPerGigabyte),
        optional(one.cpuPerMillion),
        one.loss === undefined ? '' : percent(one.loss),
      ];
      const name = tag('td', escaped(titleOf(results, one.contender)));
      return tag('tr', name + figures.map((one) => tag('td', escaped(one), 'n')).join(''));
    });
    return [first, ...lines];
  });
  const headCells = head.map((word, i) => tag('th', escaped(word), i === 0 ? '' : 'n')).join('');
  const words =
    'CPU-seconds are those of the whole machine, interrupts included, per gigabyte or per million datagrams that arrived.';
  return (
    heading('Everything', words) +
    tag('div', tag('table', tag('thead', tag('tr', headCells)) + tag('tbody', rows.join(''))), 'wide')
  );
}

function reproduce(results: Results): string {
  const rows = results.contenders.map(({ title, detail, version, skipped }) =>
    tag('tr', [title, detail, version, skipped ?? ''].map((word) => tag('td', escaped(word))).join('')),
  );
  const commands =
    'make bench-deps   # the other contenders\nmake bench        # as root, at most 20 minutes';
  return [
    heading('How to reproduce this'),
    tag('pre', escaped(commands)),
    tag('h3', 'Contenders'),
    table(['', 'set up as', 'version', 'not measured because'], rows),
  ].join('');
}
