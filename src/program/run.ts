/** Command line → exit code: 0 done, 1 failed, 2 wrong usage. */
import { Command, CommanderError } from 'commander';
import { COMMANDS } from './commands/index.ts';
import type { Context } from './context.ts';
import { Failed, Usage } from './failure.ts';
import { version } from './version.ts';

/** Read with the program itself, whatever rights it gives up later. */
const VERSION = version();

/** Where a command leaves its exit code when it is not simply 0. */
export interface Outcome {
  code: number;
}

export function buildProgram(context: Context, outcome: Outcome): Command {
  const program = new Command('twill')
    .description('A container network in userspace: learning bridge, VXLAN overlay, Kubernetes ClusterIPs.')
    .version(`twill ${VERSION}`)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'twill: ')),
      // help keeps to the width of every other table
      getOutHelpWidth: () => 80,
      getErrHelpWidth: () => 80,
    })
    .helpCommand('help [command]', 'help on a command')
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage.');
  for (const register of COMMANDS) register(program, context, outcome);
  return program;
}

/** @param args without the interpreter and the script. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const outcome: Outcome = { code: 0 };
  const program = buildProgram(context, outcome);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return outcome.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof Usage) {
      context.stderr.write(`twill: ${error.message}\n`);
      return 2;
    }
    if (error instanceof Failed) {
      for (const line of error.lines) context.stderr.write(`twill: ${line}\n`);
      return 1;
    }
    context.stderr.write(
      `twill: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    return 1;
  }
}
