/** `twill apply`: changes the running daemon to what the documents say. */
import type { Command } from 'commander';
import type { ApplyRequest, ApplyResponse } from '../../control/protocol.ts';
import type { Change } from '../../control/types.ts';
import { call } from '../client.ts';
import type { Context } from '../context.ts';
import { type ClientOptions, socketOption, socketPath, timeoutOption } from '../options.ts';
import { readPaths } from '../paths.ts';

interface Options extends ClientOptions {
  readonly filename: string[];
  readonly dryRun?: boolean;
}

export function registerApply(program: Command, context: Context): void {
  program
    .command('apply')
    .summary('create or change resources of the running daemon')
    .description('Creates or changes resources of the running daemon, all or nothing.')
    .requiredOption('-f, --filename <path...>', 'files, directories, or - for standard input')
    .option('--dry-run', 'say what would change, change nothing')
    .addOption(socketOption())
    .addOption(timeoutOption(30))
    .action(async (options: Options) => {
      const sources = await readPaths(options.filename);
      const request: ApplyRequest = {
        sources: sources.map(({ file, text }) => ({ file, text })),
        ...(options.dryRun && { dryRun: true }),
      };
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      printChanges(context, await call<ApplyResponse>(target, 'POST', '/v1/apply', request), options.dryRun);
    });
}

/** One line per resource on stdout, warnings on stderr. */
export function printChanges(context: Context, answer: ApplyResponse, dryRun = false): void {
  for (const warning of answer.warnings) context.stderr.write(`warning: ${warning}\n`);
  const suffix = dryRun ? ' (dry run)' : '';
  for (const change of answer.changes)
    context.stdout.write(`${reference(change)} ${change.action}${suffix}\n`);
}

/** "network/blue", "service/shop"; with the namespace where it is not the default one. */
function reference(change: Change): string {
  const scope = change.namespace === '' || change.namespace === 'default' ? '' : `${change.namespace}/`;
  return `${change.kind.toLowerCase()}/${scope}${change.name}`;
}
