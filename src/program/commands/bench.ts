/** `twill bench`: the harness of bench/, in its own process so that its flags reach the engine. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { Failed } from '../failure.ts';
import type { Outcome } from '../run.ts';
import { packageRoot } from '../version.ts';

export function registerBench(program: Command, _context: Context, outcome: Outcome): void {
  program
    .command('bench')
    .summary('measure this machine: logic in memory, and TCP beside the kernel')
    .description(
      'Runs the benchmark harness. --quick takes half a minute; --memory measures the logic alone, without root.',
    )
    .argument('[args...]', 'passed on to the harness')
    .allowUnknownOption()
    .action(async (args: string[]) => {
      if (!existsSync(join(packageRoot(), 'bench'))) {
        throw new Failed('the harness is only in the source checkout: run make bench there');
      }
      const main = join(packageRoot(), 'dist/bench/main.js');
      if (!existsSync(main)) throw new Failed('the benchmark harness is not built: run make build');
      const child = spawn(process.execPath, ['--expose-gc', main, ...args], { stdio: 'inherit' });
      // a terminal sends Ctrl-C to the child too, which ends by itself
      const stay = (): void => {};
      process.on('SIGINT', stay);
      outcome.code = await new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('exit', (code) => resolve(code ?? 1));
      });
      process.off('SIGINT', stay);
    });
}
