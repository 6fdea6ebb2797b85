/** An explanation as people read it: what, why, and who else was asked. */
import type { Candidate, Explanation } from '../control/protocol.ts';
import type { Origin } from '../control/types.ts';
import type { Since } from '../dataplane/messages.ts';
import { age, si } from './figures.ts';
import { type Column, renderTable, truncate } from './table.ts';

const place = ({ file, line }: Origin): string => `${file}:${line}`;

const condition = ({ ready, serving, terminating }: Candidate): string => {
  if (terminating) return serving ? 'terminating' : 'gone';
  return ready ? 'ready' : 'not ready';
};

const CANDIDATES: readonly Column<Candidate>[] = [
  { title: 'CANDIDATE', value: (row) => row.address },
  { title: 'SLICE', value: (row) => row.slice },
  { title: 'STATE', value: condition },
  { title: 'NODE', wide: true, value: (row) => row.node ?? '-' },
  { title: 'WEIGHT', right: true, value: (row) => String(row.weight) },
  { title: 'PLACE', wide: true, value: (row) => place(row.origin) },
  { title: 'VERDICT', value: (row) => row.why },
];

/** Of the endpoints a flow could choose among. */
function changesOf(since: Since | null): string {
  if (since === null) return 'more changed than is remembered; candidates are those of now';
  const { came, left } = since;
  const parts = [
    came.length > 0 ? `came ${came.join(', ')}` : '',
    left.length > 0 ? `left ${left.join(', ')}` : '',
  ];
  return parts.filter((part) => part !== '').join('; ') || 'the same endpoints';
}

/** @param columns characters of a line, not kept to where `isWide` */
export function renderExplanation(explanation: Explanation, columns: number, isWide: boolean): string {
  const { flow, network, protocol, client, to, service, candidates } = explanation;
  const width = isWide ? Number.POSITIVE_INFINITY : columns;
  const what = `${protocol} ${client} → ${to} in ${network}`;
  const lines = flow
    ? [`${what}: ${flow.state}, begun ${age(flow.age)} ago`]
    : ['no such flow; of the first packet of a new one would now become:', what];
  const facts: [string, string][] = [['verdict', explanation.reason]];
  if (service) {
    const { name, port, frontend, metadataGeneration, generation, algorithm, set, since } = service;
    const chosen = candidates.find((candidate) => candidate.chosen);
    const own = metadataGeneration === null ? '' : `metadata.generation ${metadataGeneration}, `;
    const then = flow && flow.generation !== generation ? `; the flow found it as of ${flow.generation}` : '';
    facts.push(
      ['service', `${name}, port ${port}, by its ${frontend} (${place(service.origin)})`],
      ['generation', `${own}change ${generation}${then}`],
      ['choice', `${algorithm} among the ${set} set`],
    );
    if (then !== '') facts.push(['since then', changesOf(since)]);
    if (chosen) facts.push(['slice', `${chosen.slice} (${place(chosen.origin)})`]);
  }
  if (flow) {
    const { packets, bytes, replyPackets, replyBytes } = flow;
    if (flow.snat !== null) facts.push(['source', `the endpoint sees ${flow.snat}`]);
    if (flow.drain !== null) facts.push(['drain', `ends in ${age(flow.drain)}: its endpoint has left`]);
    facts.push([
      'traffic',
      `${si(packets)} packets, ${si(bytes)} bytes; back ${si(replyPackets)} packets, ${si(replyBytes)} bytes`,
    ]);
  }
  for (const [name, text] of facts) lines.push(`  ${name.padEnd(11)} ${text}`);
  const text = `${lines.map((line) => truncate(line, width)).join('\n')}\n`;
  if (candidates.length === 0) return text;
  return `${text}\n${renderTable(CANDIDATES, candidates, columns, isWide)}`;
}
