/** The result on the screen: 80 columns. */
import type { Cell, Results, Series } from '../results.ts';
import { targetRows, type Verdict } from '../targets.ts';
import { percent, quantity } from './figures.ts';
import { cellTitle, guardLine, machineLines, titleOf, warnings } from './words.ts';

const MARK: Readonly<Record<Verdict, string>> = { aim: '✓✓', met: '✓ ', missed: '✗ ', unknown: '· ' };

export function renderTable(results: Results): string {
  const lines = machineLines(results).map(([name, text]) => wrap(`${name.padEnd(10)} ${text}`, 11));
  for (const cell of results.cells) lines.push('', ...cellLines(results, cell));
  if (results.memory.length > 0) lines.push('', ...memoryLines(results));
  if (results.idle) {
    const { core, residentBytes } = results.idle;
    lines.push('', `Idle daemon: ${percent(core)} of a core, ${quantity(residentBytes / 1e6)} MB resident`);
  }
  const skipped = results.contenders.filter((one) => one.skipped !== null);
  if (skipped.length > 0)
    lines.push('', ...skipped.map(({ title, skipped: why }) => wrap(`skipped: ${title}: ${why}`, 2)));
  if (results.mode !== 'selection') lines.push('', ...targetLines(results));
  const remarks = warnings(results);
  if (remarks.length > 0) lines.push('', ...remarks.map((remark) => wrap(`! ${remark}`, 2)));
  return `${lines.join('\n')}\n`;
}

function cellLines(results: Results, cell: Cell): string[] {
  const unit = cell.better === 'more' ? cell.unit : `${cell.unit}, less is better`;
  const head = wrap(`${cellTitle(cell)} (${unit})`, 0);
  const isCounted = cell.series.some(({ loss }) => loss !== undefined);
  const [last, lastOf] = lastColumn(cell);
  const columns = ['', 'median', 'least–most', 'Twill ÷ it', last];
  const rows = cell.series.map((one) => {
    const ratio = cell.ratios.find(({ contender }) => contender === one.contender);
    const text = ratio ? `${quantity(ratio.median)} (${quantity(ratio.low)}–${quantity(ratio.high)})` : '';
    const more = lastOf(one);
    const range = `${quantity(one.least)}–${quantity(one.most)}`;
    const name = titleOf(results, one.contender);
    return [name, quantity(one.median), range, text, more === undefined ? '' : quantity(more)];
  });
  const losses = isCounted
    ? [`  loss: ${cell.series.map(({ contender, loss }) => `${contender} ${percent(loss ?? 0)}`).join(', ')}`]
    : [];
  const guards = cell.series.some(({ contender }) => contender === 'twill') && guardLine(cell) !== 'clean';
  return [
    head,
    ...[columns, ...rows].map(tableRow),
    ...losses.map((line) => wrap(line, 4)),
    ...(guards ? [wrap(`  Twill's guards: ${guardLine(cell)}`, 4)] : []),
  ];
}

/** What says most beside the figure itself. */
function lastColumn({ group }: Cell): [string, (one: Series) => number | undefined] {
  if (group === 'tcp') return ['CPU-s/GB', (one) => one.cpuPerGigabyte];
  if (group === 'datagrams') return ['CPU-s/M', (one) => one.cpuPerMillion];
  return group === 'latency' ? ['p99', (one) => one.percentiles?.p99] : ['', () => undefined];
}

const WIDTHS = [24, 8, 14, 19, 9];

const tableRow = (columns: readonly string[]): string =>
  columns
    .map((text, i) =>
      i === 0 ? `  ${text.slice(0, WIDTHS[0]).padEnd(WIDTHS[0]!)}` : ` ${text.padStart(WIDTHS[i]! - 1)}`,
    )
    .join('')
    .trimEnd();

function memoryLines({ memory }: Results): string[] {
  return [
    'Logic in memory, ns per frame without the card',
    ...memory.map(({ scene, what, size, nsPerFrame, margin }) => {
      const count = `${quantity(size)} ${size === 1 ? what.replace(/s$/, '') : what}`;
      return `  ${scene.padEnd(30)} ${count.padStart(16)} ${quantity(nsPerFrame).padStart(9)} ± ${margin.toFixed(1)} %`;
    }),
  ];
}

function targetLines(results: Results): string[] {
  return [
    'Targets: ✓✓ as aimed, ✓ reached, ✗ missed, · not measured',
    ...targetRows(results).map(({ path, layout, requirement, aim, measured, verdict }) => {
      const goal = requirement === '' ? `aim ${aim}` : requirement;
      const where = layout === '' ? path : `${path}, ${layout}`;
      return wrap(`${MARK[verdict]} ${where}: ${goal}: ${measured}`, 3);
    }),
  ];
}

/** Breaks at 80 columns; what follows is indented. */
export function wrap(text: string, indent: number, width = 80): string {
  const words = text.trimEnd().split(/(?<=\S) /);
  const lines: string[] = [];
  let line = '';
  for (const word of words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = ' '.repeat(indent) + word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
