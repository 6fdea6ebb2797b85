/** Problems as values, and as the lines people read. */
import type { Origin, Problem, Resource, Source } from './types.ts';

/** `file:line:column: path: message`; parts that are not known are left out. */
export function formatProblem(problem: Problem): string {
  const attached = attachedIn(problem.file);
  const whole = problem.file === '' ? '' : `${problem.file}: `;
  const place = attached ? `port ${attached}: ` : problem.line > 0 ? `${formatOrigin(problem)}: ` : whole;
  return `${place}${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`;
}

export function formatOrigin(origin: Origin): string {
  const attached = attachedIn(origin.file);
  return attached ? `twill attach` : `${origin.file}:${origin.line}:${origin.column}`;
}

/** The "file" of a Port made by `twill attach`: nobody wrote its document, so its lines are not told. */
export const attachedFile = (port: string): string => `<attach ${port}>`;

/** Name of the port whose `attachedFile` this is. */
export const attachedIn = (file: string): string | undefined => /^<attach (.+)>$/.exec(file)?.[1];

/** A problem at a path of a resource's own document. */
export function problemIn(resource: Resource, path: string, message: string): Problem {
  return { ...resource.locate(path), path, message };
}

/**
 * As people read: file by file in the order they were read, then those that were not read now; each from its first line to
 * its last, what has no line at its end.
 */
export function inOrder(problems: readonly Problem[], sources: readonly Source[]): Problem[] {
  const ranks = new Map<string, number>();
  for (const { file } of [...sources, ...problems]) if (!ranks.has(file)) ranks.set(file, ranks.size);
  const lineOf = ({ line }: Problem): number => (line > 0 ? line : Number.POSITIVE_INFINITY);
  const compare = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);
  return [...problems].sort(
    (a, b) =>
      compare(ranks.get(a.file)!, ranks.get(b.file)!) ||
      compare(lineOf(a), lineOf(b)) ||
      compare(a.column, b.column),
  );
}

/** "Port web", "Service default/shop". */
export function nameOf(resource: Resource): string {
  return `${resource.kind} ${resource.namespace === '' ? '' : `${resource.namespace}/`}${resource.name}`;
}

/** A value as a person would recognise it: strings quoted, collections by their kind. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

/** The known word nearest to a mistyped one, if near enough to suggest. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Optimal string alignment distance: insertions, deletions, substitutions, swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + changed);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      }
      row.push(cost);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length]!;
}
