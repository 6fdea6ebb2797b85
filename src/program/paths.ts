/** `-f PATH…` → texts. */
import type { Source } from '../control/types.ts';
import { Failed } from './failure.ts';

/** @throws Failed naming every path that cannot be read. */
export async function readPaths(paths: readonly string[]): Promise<readonly Source[]> {
  const [{ readSources }, { formatProblem }] = await Promise.all([
    import('../control/source.ts'),
    import('../control/problem.ts'),
  ]);
  const { sources, problems } = readSources(paths);
  if (problems.length > 0) throw new Failed(...problems.map(formatProblem));
  return sources;
}
