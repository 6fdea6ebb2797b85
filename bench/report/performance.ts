/** docs/performance.md: what a whole run found, and how to find it again. */
import { basename } from 'node:path';
import type { Cell, Results } from '../results.ts';
import { targetRows, type Verdict } from '../targets.ts';
import { percent, quantity } from './figures.ts';
import { cellTitle, guardLine, machineLines, SERVICES_WORDS, titleOf, warnings } from './words.ts';

const VERDICT: Readonly<Record<Verdict, string>> = {
  aim: '**as aimed**',
  met: '**reached**',
  missed: 'missed',
  unknown: 'not measured',
};

/** @param file the results file, named so that a reader knows what to look for */
export function renderPerformance(results: Results, file: string): string {
  const facts = machineLines(results).map(([name, words]) => [name, words]);
  const sections = [
    `# Performance

Generated from \`${basename(file)}\` by \`twill bench --report\`; do not edit. A ratio is the median over rounds of
Twill's figure divided by the other's in the same round, with a bootstrap interval of 95 %. Compare ratios, not
figures: machines differ.`,
    markdown(['', ''], facts),
    `## Targets

${markdown(
  ['path', 'layout', 'at least', 'aim', 'measured', ''],
  targetRows(results).map(({ path, layout, requirement, aim, measured, verdict }) => [
    path,
    layout,
    requirement,
    aim,
    measured,
    VERDICT[verdict],
  ]),
)}`,
    ...group(results, 'tcp', 'TCP', 'CPU-s/GB', (one) => one.cpuPerGigabyte),
    ...group(results, 'datagrams', 'Datagrams', 'CPU-s/M', (one) => one.cpuPerMillion),
    ...group(results, 'latency', 'Latency', 'p99', (one) => one.percentiles?.p99),
    ...group(results, 'services', 'Services', '', () => undefined, SERVICES_WORDS),
    ...memory(results),
    ...remarks(results),
    `## Contenders

${markdown(
  ['', 'set up as', 'version', 'not measured because'],
  results.contenders.map(({ title, detail, version, skipped }) => [title, detail, version, skipped ?? '']),
)}`,
    `## How to reproduce it

\`\`\`sh
make bench-deps                 # the other contenders, from the distribution
make bench                      # as root, at most 20 minutes; ARGS=--quick for 3
twill bench --report bench/results/….json
\`\`\`

The run writes its page with plots beside the results file. A quiet machine matters more than a fast one: runs with
more than 1 % foreign load or stolen time are counted above. \`make bench-check\` compares the ratios of a quick run
with \`bench/baseline.json\`.`,
  ];
  return `${sections.join('\n\n')}\n`;
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [row(head), `|${'---|'.repeat(head.length)}`, ...rows.map(row)].join('\n');
}

function group(
  results: Results,
  name: string,
  title: string,
  extra: string,
  extraOf: (one: Cell['series'][number]) => number | undefined,
  words = '',
): string[] {
  const cells = results.cells.filter((cell) => cell.group === name && cell.series.length > 0);
  if (cells.length === 0) return [];
  const hasLoss = cells.some(({ series }) => series.some(({ loss }) => loss !== undefined));
  const head = ['', '', 'median', 'least–most', 'Twill ÷ it', extra, hasLoss ? 'loss' : ''].filter(
    (word, i) => word !== '' || i < 2,
  );
  const rows = cells.flatMap((cell) =>
    cell.series.map((one, i) => {
      const ratio = cell.ratios.find(({ contender }) => contender === one.contender);
      const more = extraOf(one);
      return [
        i === 0 ? cellTitle(cell) : '',
        titleOf(results, one.contender),
        `${quantity(one.median)} ${cell.unit}`,
        `${quantity(one.least)}–${quantity(one.most)}`,
        ratio ? `${quantity(ratio.median)} (${quantity(ratio.low)}–${quantity(ratio.high)})` : '',
        ...(extra === '' ? [] : [more === undefined ? '' : quantity(more)]),
        ...(hasLoss ? [one.loss === undefined ? '' : percent(one.loss)] : []),
      ];
    }),
  );
  return [`## ${title}`, ...(words === '' ? [] : [words]), markdown(head, rows)];
}

function memory({ memory: rows }: Results): string[] {
  if (rows.length === 0) return [];
  const lines = rows.map(({ scene, what, size, nsPerFrame, margin }) => [
    scene,
    `${quantity(size)} ${size === 1 ? what.replace(/s$/, '') : what}`,
    quantity(nsPerFrame),
    `± ${margin.toFixed(1)} %`,
  ]);
  return [`## Logic in memory\n\n${markdown(['', '', 'ns per frame', ''], lines)}`];
}

function remarks(results: Results): string[] {
  const guards = results.cells
    .filter(
      (cell) => cell.series.some(({ contender }) => contender === 'twill') && guardLine(cell) !== 'clean',
    )
    .map((cell) => `* ${cellTitle(cell)}: ${guardLine(cell)}`);
  const list = warnings(results).map((line) => `* ${line}`);
  return [
    ...(list.length === 0 ? [] : [`## To be read with care\n\n${list.join('\n')}`]),
    ...(guards.length === 0
      ? []
      : [`## Twill's guards\n\n${guards.join('\n')}\n\nAll other cells were clean.`]),
  ];
}
