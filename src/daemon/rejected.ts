/** What the daemon answers to a request it does not carry out. */
import { formatProblem } from '../control/problem.ts';
import type { Problem } from '../control/types.ts';

/** Refused; nothing has changed. */
export class Rejected extends Error {
  override readonly name = 'Rejected';
  /** One line each. */
  readonly errors: readonly string[];
  /** HTTP status. */
  readonly status: number;

  constructor(errors: readonly string[], status = 422) {
    super(errors.join('\n'));
    this.errors = errors;
    this.status = status;
  }
}

/** @throws Rejected unless there is none */
export function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new Rejected(problems.map(formatProblem));
}
