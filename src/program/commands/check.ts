/** `twill check`: validates files without touching anything. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { Failed } from '../failure.ts';
import { readPaths } from '../paths.ts';
import { describeGiven } from './apply.ts';

export function registerCheck(program: Command, context: Context): void {
  program
    .command('check')
    .summary('validate files, touch nothing')
    .description('Validates files as `twill up` would read them. Needs no daemon and no privilege.')
    .requiredOption('-f, --filename <path...>', 'files, directories, or - for standard input')
    .action(async (options: { filename: string[] }) => {
      const sources = await readPaths(options.filename);
      const [{ parseSources }, { checkSet }, { formatProblem, inOrder }] = await Promise.all([
        import('../../control/parse.ts'),
        import('../../control/check.ts'),
        import('../../control/problem.ts'),
      ]);
      const parsed = parseSources(sources);
      // relations are judged only between documents that are sound by themselves
      const set = parsed.problems.length > 0 ? undefined : checkSet(parsed.resources);
      const warnings = [...parsed.warnings, ...(set?.warnings ?? [])];
      for (const warning of inOrder(warnings, sources))
        context.stderr.write(`warning: ${formatProblem(warning)}\n`);
      const problems = inOrder(set?.problems ?? parsed.problems, sources);
      if (problems.length > 0) throw new Failed(...problems.map(formatProblem));
      for (const given of set?.given ?? [])
        context.stdout.write(`${describeGiven(given, 'would be given')}\n`);
      const count = parsed.resources.length;
      context.stdout.write(`${count} ${count === 1 ? 'resource' : 'resources'}, no errors\n`);
    });
}
