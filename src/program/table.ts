/** Text in columns: two spaces between, nothing after the last, and never wider than asked. */

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string;
  /** Figures stand right. */
  readonly right?: boolean;
  /** Only with `-o wide`. */
  readonly wide?: boolean;
}

const GAP = 2;
/** A shrunk column keeps its title, and at least this much of its text. */
const MIN_WIDTH = 5;

/**
 * Lines with the titles first, each ended by a newline.
 * @param width of a line in characters; Infinity = as wide as need be
 * @param isWide with the columns of `-o wide`, however wide those are
 */
export function renderTable<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  width: number,
  isWide = false,
): string {
  const shown = columns.filter((column) => isWide || !column.wide);
  const cells = [
    shown.map((column) => column.title),
    ...rows.map((row) => shown.map((c) => clean(c.value(row)))),
  ];
  const widths = shown.map((_, at) => cells.reduce((most, line) => Math.max(most, length(line[at]!)), 0));
  if (!isWide) shrink(widths, shown, width);
  let text = '';
  for (const line of cells) {
    text += `${line
      .map((cell, at) => {
        const cut = truncate(cell, widths[at]!);
        const pad = ' '.repeat(widths[at]! - length(cut));
        return shown[at]!.right ? pad + cut : cut + pad;
      })
      .join(' '.repeat(GAP))
      .trimEnd()}\n`;
  }
  return text;
}

/** Takes from the widest text column, one character at a time, then from figures, until all fit. */
function shrink(widths: number[], columns: readonly Column<never>[], width: number): void {
  let excess = widths.reduce((sum, each) => sum + each, GAP * (widths.length - 1)) - width;
  while (excess > 0) {
    let widest = -1;
    for (const [at, column] of columns.entries()) {
      const floor = Math.max(MIN_WIDTH, column.title.length);
      if (!column.right && widths[at]! > floor && (widest < 0 || widths[at]! > widths[widest]!)) widest = at;
    }
    if (widest < 0) widest = widths.indexOf(Math.max(...widths));
    widths[widest]!--;
    excess--;
  }
}

export function truncate(text: string, width: number): string {
  if (length(text) <= width) return text;
  return width < 1 ? '' : `${[...text].slice(0, width - 1).join('')}…`;
}

function length(text: string): number {
  return [...text].length;
}

/** A name from elsewhere must not move the cursor. */
function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is to be removed
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}
