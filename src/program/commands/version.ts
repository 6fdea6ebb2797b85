/** `twill version`: what to name in a bug report. */
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { outputOption } from '../options.ts';
import { packageRoot, version } from '../version.ts';

export function registerVersion(program: Command, context: Context): void {
  program
    .command('version')
    .summary('versions of twill, node and the kernel')
    .description('Prints the versions of twill, Node.js and the kernel, and whether the addon is built.')
    .addOption(outputOption(['table', 'json', 'yaml']))
    .action(async (options: { output: string }) => {
      const facts = {
        twill: version(),
        node: process.versions.node,
        kernel: release(),
        addon: existsSync(join(packageRoot(), 'native/build/twill.node')) ? 'built' : 'not built',
      };
      if (options.output === 'json') context.stdout.write(`${JSON.stringify(facts, null, 2)}\n`);
      else if (options.output === 'yaml') context.stdout.write((await import('yaml')).stringify(facts));
      else {
        context.stdout.write(
          `twill ${facts.twill} (node ${facts.node}, linux ${facts.kernel}, addon ${facts.addon})\n`,
        );
      }
    });
}
