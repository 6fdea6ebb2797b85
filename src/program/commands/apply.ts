/** `twill apply`: changes the running daemon to what the documents say. */
import type { Command } from 'commander';
import type { ApplyRequest, ApplyResponse } from '../../control/protocol.ts';
import type { Allocation, Change } from '../../control/types.ts';
import type { Fate, FateRow } from '../../dataplane/messages.ts';
import { call } from '../client.ts';
import type { Context } from '../context.ts';
import { Failed } from '../failure.ts';
import { type ClientOptions, outputOption, socketOption, socketPath, timeoutOption } from '../options.ts';
import { readPaths } from '../paths.ts';
import { type Column, renderTable } from '../table.ts';

/** Flows a dry run names before it only counts them. */
const MOST_FLOWS = 20;

interface Options extends ClientOptions {
  readonly filename: string[];
  readonly dryRun?: boolean;
  readonly output: string;
}

export function registerApply(program: Command, context: Context): void {
  program
    .command('apply')
    .summary('create or change resources of the running daemon')
    .description('Creates or changes resources of the running daemon, all or nothing.')
    .requiredOption('-f, --filename <path...>', 'files, directories, or - for standard input')
    .option('--dry-run', 'say what would change, living flows included; change nothing')
    .addOption(outputOption(['table', 'wide', 'json', 'yaml']))
    .addOption(socketOption())
    .addOption(timeoutOption(30))
    .action(async (options: Options) => {
      const sources = await readPaths(options.filename);
      const request: ApplyRequest = {
        sources: sources.map(({ file, text }) => ({ file, text })),
        ...(options.dryRun && { dryRun: true }),
      };
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      const answer = await call<ApplyResponse>(target, 'POST', '/v1/apply', request);
      if (options.output === 'json') context.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
      else if (options.output === 'yaml') context.stdout.write((await import('yaml')).stringify(answer));
      else {
        printChanges(context, answer, options.dryRun);
        if (answer.flows && answer.fates) {
          printFates(context, answer.flows, answer.fates, options.output === 'wide');
        }
      }
      if (answer.changes.length === 0) throw new Failed(`no resource in ${options.filename.join(', ')}`);
    });
}

const FATES: readonly Column<FateRow>[] = [
  { title: 'FATE', value: (row) => row.fate },
  { title: 'CLIENT', value: (row) => row.client },
  { title: 'SERVICE', value: (row) => row.service },
  { title: 'BACKEND', value: (row) => row.backend },
  { title: 'STATE', value: (row) => row.state },
  { title: 'PROTO', wide: true, value: (row) => row.protocol },
  { title: 'VIP', wide: true, value: (row) => row.vip },
  { title: 'NETWORK', wide: true, value: (row) => row.network },
  { title: 'BECAUSE', wide: true, value: (row) => row.because },
];
/** The most drastic first. */
const ORDER: readonly Fate[] = ['reset', 'drained', 'removed', 'kept'];

/** Living flows that would be told otherwise, in order of how much; some of them unless `isWide`. */
function printFates(
  context: Context,
  flows: readonly FateRow[],
  fates: Readonly<Record<Fate, number>>,
  isWide: boolean,
): void {
  const counts = ORDER.filter((fate) => fates[fate] > 0).map((fate) => `${fates[fate]} ${fate}`);
  context.stdout.write(`living flows: ${counts.join(', ') || 'none concerned'} (dry run)\n`);
  if (flows.length === 0) return;
  const sorted = ORDER.flatMap((fate) => flows.filter((row) => row.fate === fate));
  const shown = isWide ? sorted : sorted.slice(0, MOST_FLOWS);
  context.stdout.write(renderTable(FATES, shown, context.stdout.columns, isWide));
  const more = sorted.length - shown.length;
  if (more > 0) context.stdout.write(`… and ${more} more: -o wide, or -o json\n`);
}

/** One line per resource on stdout, warnings on stderr. */
export function printChanges(context: Context, answer: ApplyResponse, dryRun = false): void {
  for (const warning of answer.warnings) context.stderr.write(`warning: ${warning}\n`);
  const suffix = dryRun ? ' (dry run)' : '';
  for (const change of answer.changes)
    context.stdout.write(`${reference(change)} ${change.action}${suffix}\n`);
  for (const given of answer.given ?? [])
    context.stdout.write(`${describeGiven(given, dryRun ? 'would be given' : 'is given')}${suffix}\n`);
}

/** "service/shop is given clusterIP 10.96.7.3, nodePort 31402 for port 80" (S38). */
export function describeGiven(given: Allocation, verb: string): string {
  const parts = [
    ...given.clusterIPs.map((address) => `clusterIP ${address}`),
    ...given.nodePorts.map(({ port, nodePort }) => `nodePort ${nodePort} for port ${port}`),
    ...(given.healthCheckNodePort === undefined ? [] : [`healthCheckNodePort ${given.healthCheckNodePort}`]),
  ];
  return `${reference({ kind: 'Service', ...given })} ${verb} ${parts.join(', ')}`;
}

/** "network/blue", "service/shop"; with the namespace where it is not the default one. */
function reference(change: Pick<Change, 'kind' | 'namespace' | 'name'>): string {
  const scope = change.namespace === '' || change.namespace === 'default' ? '' : `${change.namespace}/`;
  return `${change.kind.toLowerCase()}/${scope}${change.name}`;
}
