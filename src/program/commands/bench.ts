/** `twill bench`: the harness of bench/, in its own process so that its flags reach the engine. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { Failed } from '../failure.ts';
import type { Outcome } from '../run.ts';
import { packageRoot } from '../version.ts';

/** The harness reads its options itself. */
const HARNESS = `
Options of the harness:
  (none)           everything, at most 20 minutes
  --quick          the most important, at most 3 minutes
  --only NAME      one cell or group of --list; may be repeated
  --memory         the logic in memory alone, without root
  --report FILE    page of a results file; docs/performance.md of a full run
  --captures       tshark verifies the checksums in a slice of every workload
  --check [FILE]   ratios of a quick run, or of FILE, against the baseline
  --baseline FILE  makes bench/baseline.json from a results file
  --list           the names --only knows`;

export function registerBench(program: Command, _context: Context, outcome: Outcome): void {
  program
    .command('bench')
    .summary('measure this machine: Twill beside the kernel and other switches')
    .description(
      'Runs the benchmark harness of the source checkout: Twill, the kernel, Open vSwitch, vde_switch, tinc and a ' +
        'bare C forwarder in turns, in network namespaces. Prints a table; leaves JSON and a page with plots in ' +
        'bench/results.',
    )
    .argument('[args...]', 'passed on to the harness')
    .allowUnknownOption()
    .addHelpText('after', HARNESS)
    .action(async (args: string[]) => {
      if (!existsSync(join(packageRoot(), 'bench'))) {
        throw new Failed('the harness is only in the source checkout: run make bench there');
      }
      const main = join(packageRoot(), 'dist/bench/main.js');
      if (!existsSync(main)) throw new Failed('the benchmark harness is not built: run make build');
      const child = spawn(process.execPath, ['--expose-gc', main, ...args], { stdio: 'inherit' });
      // a terminal sends Ctrl-C to the child too, which ends by itself
      const stay = (): void => {};
      const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
      process.on('SIGINT', stay);
      process.on('SIGTERM', pass);
      outcome.code = await new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('exit', (code) => resolve(code ?? 1));
      });
      process.off('SIGINT', stay);
      process.off('SIGTERM', pass);
    });
}
