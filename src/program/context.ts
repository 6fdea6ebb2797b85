/** What a command may touch of the process it runs in; tests hand in their own. */
export interface Output {
  write(text: string): void;
  readonly isTTY: boolean;
  /** Characters of a line; Infinity where it is no terminal: a file or a filter wants all of it. */
  readonly columns: number;
}

/** Of a terminal that does not say. */
const USUAL_COLUMNS = 80;

export interface Context {
  /** Data. */
  readonly stdout: Output;
  /** Everything else. */
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Marks in green and red where somebody looks at a terminal and has not asked for plain text. */
export function paint(
  context: Context,
  output: Output,
): (colour: 'green' | 'red' | 'dim', text: string) => string {
  const on = output.isTTY && !context.env.NO_COLOR && context.env.TERM !== 'dumb';
  const codes = { green: 32, red: 31, dim: 2 } as const;
  return (colour, text) => (on ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text);
}

export function processContext(): Context {
  const wrap = (stream: NodeJS.WriteStream): Output => ({
    write: (text) => void stream.write(text),
    isTTY: stream.isTTY === true,
    columns: stream.isTTY ? stream.columns || USUAL_COLUMNS : Number.POSITIVE_INFINITY,
  });
  return {
    stdout: wrap(process.stdout),
    stderr: wrap(process.stderr),
    env: process.env,
  };
}
