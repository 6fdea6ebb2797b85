/** `twill up`: the daemon, in the foreground. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { socketOption, socketPath } from '../options.ts';
import type { Outcome } from '../run.ts';

interface Options {
  readonly filename: string[];
  readonly socket?: string;
}

export function registerUp(program: Command, context: Context, outcome: Outcome): void {
  program
    .command('up')
    .summary('run the daemon in the foreground')
    .description(
      'Runs the daemon in the foreground. Logs to stderr; "ready" when every port forwards. ' +
        'SIGHUP re-reads the files; SIGTERM and Ctrl-C leave nothing behind.',
    )
    .requiredOption('-f, --filename <path...>', 'files, directories, or - for standard input')
    .addOption(socketOption())
    .action(async (options: Options) => {
      const { runDaemon } = await import('../../daemon/daemon.ts');
      outcome.code = await runDaemon({ paths: options.filename, socket: socketPath(context, options) });
    });
}
