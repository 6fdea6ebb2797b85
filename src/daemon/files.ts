/** The files of the command line: read at the start, and again at every SIGHUP. */
import { checkSet } from '../control/check.ts';
import { parseSources } from '../control/parse.ts';
import { inOrder } from '../control/problem.ts';
import { readSources } from '../control/source.ts';
import type { Parsed, Problem, Source } from '../control/types.ts';
import { refuse } from './rejected.ts';

/** Texts, and what they mean. */
export interface Read {
  readonly sources: readonly Source[];
  readonly parsed: Parsed;
}

export class Files {
  readonly #paths: readonly string[];
  /** Standard input can be read once. */
  #stdin: readonly Source[] = [];

  /** @param paths files, directories, or "-" */
  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** @returns what they say, or every problem of theirs */
  read(): { readonly read: Read } | { readonly problems: readonly Problem[] } {
    const { sources, problems } = readSources(this.#paths);
    const parsed = parseSources(sources);
    const found = [...problems, ...parsed.problems];
    if (found.length === 0) found.push(...inOrder(checkSet(parsed.resources).problems, sources));
    if (found.length > 0) return { problems: found };
    this.#stdin = sources.filter((source) => source.file === '<stdin>');
    return { read: { sources, parsed } };
  }

  /** Their texts as they are now. @throws Rejected when one cannot be read */
  again(): readonly Source[] {
    const { sources, problems } = readSources(this.#paths.filter((path) => path !== '-'));
    refuse(problems);
    return [...this.#stdin, ...sources];
  }
}
