/** `twill up`: the daemon, in the foreground. */
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { Usage } from '../failure.ts';
import { socketOption, socketPath } from '../options.ts';
import type { Outcome } from '../run.ts';
import { version } from '../version.ts';

interface Options {
  readonly filename: string[];
  readonly socket?: string;
  readonly logLevel: LogLevel;
  readonly cpu?: number;
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
type LogLevel = (typeof LEVELS)[number];

export function registerUp(program: Command, context: Context, outcome: Outcome): void {
  program
    .command('up')
    .summary('run the daemon in the foreground')
    .description(
      'Runs the daemon in the foreground. Logs to stderr; "ready" when every port forwards. ' +
        'SIGHUP re-reads the files, and leaves what was applied; SIGTERM and Ctrl-C leave nothing behind.',
    )
    .requiredOption('-f, --filename <path...>', 'files, directories, or - for standard input')
    .addOption(socketOption())
    .addOption(new Option('--log-level <level>', 'least severe to log').choices(LEVELS).default('info'))
    .addOption(new Option('--cpu <number>', 'pin the dataplane to this CPU').argParser(parseCpu))
    .action(async (options: Options) => {
      const { runDaemon } = await import('../../daemon/daemon.ts');
      outcome.code = await runDaemon({
        paths: options.filename,
        socket: socketPath(context, options),
        version: version(),
        logLevel: options.logLevel,
        ...(options.cpu !== undefined && { cpu: options.cpu }),
      });
    });
}

function parseCpu(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new Usage(`"${text}" is not the number of a CPU`);
  return Number(text);
}
