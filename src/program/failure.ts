/** What a command ends with, besides done (0). Anything else that is thrown is a defect and keeps its stack. */

/** Exit code 1: the command was understood and did not succeed. One line per message. */
export class Failed extends Error {
  override readonly name = 'Failed';
  readonly lines: readonly string[];

  constructor(...lines: string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}

/** Exit code 2: the command line makes no sense. */
export class Usage extends Error {
  override readonly name = 'Usage';
}
