/** What every report says in words: where from, who, and what to be careful about. */
import { violations } from '../guards.ts';
import { type Cell, DISTURBED, isDisturbed, type Results } from '../results.ts';
import { WAY_TITLES } from '../sites.ts';
import { pathTitle, percent, quantity } from './figures.ts';

export const titleOf = (results: Results, contender: string): string =>
  results.contenders.find(({ name }) => name === contender)?.title ?? WAY_TITLES[contender] ?? contender;

export const cellTitle = ({ title, path, layout, mtu }: Cell): string =>
  [title, pathTitle(path), layout, mtu === 1500 ? '' : `MTU ${mtu}`].filter((word) => word !== '').join(', ');

export function machineLines({
  machine,
  twill,
  commit,
  started,
  seconds,
  mode,
}: Results): [string, string][] {
  return [
    [
      'machine',
      `${machine.cpus} × ${machine.cpu} (${machine.layout}), ${quantity(machine.memoryBytes / 2 ** 30)} GiB`,
    ],
    ['system', `Linux ${machine.kernel}, Node ${machine.node}`],
    ['yardstick', `${quantity(machine.yardstick)} ns per dependent multiply (about 1.2 ns at 3.5 GHz)`],
    ['Twill', commit === '' ? twill : `${twill}, commit ${commit}`],
    ['unpinned', machine.layouts.unpinned],
    ['pinned', machine.layouts.pinned],
    ['run', `${mode}, ${started.slice(0, 16).replace('T', ' ')} UTC, ${quantity(seconds / 60)} minutes`],
  ];
}

/** What the cells of Services measure. */
export const SERVICES_WORDS =
  'ClusterIPs with ten endpoints each in Twill; iptables and nftables rules with one, in their favour. The service ' +
  'that is asked for is the last one of the list. Twill loads them from a file, from SIGHUP to its word that it is ' +
  'done. A change counts from the request, which Twill gets on an open connection and the others by a command, to ' +
  'the arrival of the first datagram at the new endpoint, 5000 new flows a second. The longest trip is that of ' +
  '10 000 datagrams a second of one flow, from the sender’s stamp to the receiving kernel’s; what the machine itself ' +
  'does to it is in that without changes too, which takes equally long; the targets say the difference of the two, ' +
  'round by round. Beside a thousand changes a second, four connections, every datagram is a new flow, 5000 a second, ' +
  'and one is astray that arrives where from request to answer of every change no endpoint can have been.';

/** What a reader must know before believing anything: disturbed runs, broken guards, what is missing. */
export function warnings(results: Results): string[] {
  const runs = results.cells.flatMap((cell) => cell.runs.map((run) => ({ cell, run })));
  const disturbed = runs.filter(({ run }) => isDisturbed(run)).length;
  const lines: string[] = [];
  if (results.aborted !== null) lines.push(`ended early: ${results.aborted}`);
  if (disturbed > 0) {
    lines.push(
      `${disturbed} of ${runs.length} runs had more than ${percent(DISTURBED)} foreign load or stolen time`,
    );
  }
  for (const cell of results.cells) {
    const bad = cell.runs.flatMap(({ contender, guards }) =>
      violations(guards).map((violation) => `${contender}: ${violation}`),
    );
    if (bad.length > 0) lines.push(`${cellTitle(cell)}: ${summarise(bad)}`);
    lines.push(...cell.notes.map((note) => `${cellTitle(cell)}: ${note}`));
  }
  return [...lines, ...results.notes];
}

/** "twill: 1 garbage collections" thrice → one line with the number of runs. */
function summarise(lines: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1);
  return [...counts].map(([line, count]) => (count === 1 ? line : `${line} (in ${count} runs)`)).join('; ');
}

/** Twill's guards of a cell in a line: what was counted, zeros left out. */
export function guardLine(cell: Cell, contender = 'twill'): string {
  const own = cell.runs.filter((run) => run.contender === contender).map(({ guards }) => guards);
  const total = (of: (guards: (typeof own)[number]) => number): number =>
    own.reduce((sum, one) => sum + of(one), 0);
  const drops = new Map<string, number>();
  for (const { drops: each } of own) {
    for (const [reason, count] of Object.entries(each)) drops.set(reason, (drops.get(reason) ?? 0) + count);
  }
  const parts: [string, number][] = [
    ['retransmits', total(({ retransmits }) => retransmits ?? 0)],
    ['checksum errors', total(({ checksumErrors }) => checksumErrors)],
    ['application overruns', total(({ applicationOverruns }) => applicationOverruns)],
    ['daemon overruns', total(({ daemonOverruns }) => daemonOverruns)],
    ['collections', total(({ collections }) => collections)],
    ['deoptimisations', total(({ deoptimisations }) => deoptimisations)],
    ...drops,
  ];
  const seen = parts.filter(([, count]) => count > 0).map(([name, count]) => `${name} ${quantity(count)}`);
  return seen.length === 0 ? 'clean' : seen.join(', ');
}
