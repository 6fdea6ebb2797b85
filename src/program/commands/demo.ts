/** `twill demo`: the two-host network in throw-away namespaces, with a verdict per path. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { Usage } from '../failure.ts';
import type { Outcome } from '../run.ts';
import { packageRoot } from '../version.ts';

interface Options {
  readonly keep?: boolean;
  readonly down?: boolean;
}

export function registerDemo(program: Command, context: Context, outcome: Outcome): void {
  program
    .command('demo')
    .summary('two hosts and five pods in namespaces, every path proved with real traffic')
    .description(
      'Builds two hosts and five pods in throw-away namespaces of this machine, proves every path with real ' +
        'traffic, and removes it all. Exits 0 only if every proof held. Needs root.',
    )
    .option('--keep', 'leave it running and say what to try (also: KEEP=1)')
    .option('--down', 'remove what an earlier --keep left')
    .action(async (options: Options) => {
      if (options.keep && options.down) throw new Usage('--keep and --down exclude each other');
      if (options.down) {
        const { tearDown } = await import('../../demo/tear-down.ts');
        outcome.code = await tearDown(context.stdout);
        return;
      }
      const { runDemo } = await import('../../demo/demo.ts');
      const kept = context.env.KEEP ?? '';
      const keep = options.keep ?? (kept !== '' && kept !== '0');
      outcome.code = await runDemo({ keep, output: context.stdout, root: packageRoot() });
    });
}
