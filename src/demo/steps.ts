/** One line per step: what, ✔ or ✖, and its figure. */

export interface Screen {
  write(text: string): void;
  readonly isTTY: boolean;
}

const LABEL_COLUMNS = 48;

export class Steps {
  readonly #screen: Screen;
  readonly #colour: boolean;
  readonly #begin = performance.now();
  passed = 0;
  failed = 0;

  constructor(screen: Screen) {
    this.#screen = screen;
    this.#colour = screen.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  }

  say(text: string): void {
    this.#screen.write(`${text}\n`);
  }

  /** Seconds since the first step. */
  get seconds(): string {
    return ((performance.now() - this.#begin) / 1000).toFixed(1);
  }

  /** Runs one step. @returns whether it held; its figure is what `work` returns, its failure what it throws. Interrupted: not judged. */
  async step(label: string, work: () => Promise<string>, stop?: AbortSignal): Promise<boolean> {
    if (this.#screen.isTTY) this.#screen.write(`  … ${label}`);
    let figure: string;
    let held = true;
    try {
      figure = await work();
    } catch (error) {
      figure = error instanceof Error ? error.message : String(error);
      held = false;
    }
    if (stop?.aborted) return false;
    if (held) this.passed++;
    else this.failed++;
    if (this.#screen.isTTY) this.#screen.write('\r\x1b[K');
    const mark = held ? this.#paint(32, '✔') : this.#paint(31, '✖');
    const [first = '', ...rest] = figure.split('\n');
    this.say(`  ${mark} ${label.padEnd(LABEL_COLUMNS)} ${first}`.trimEnd());
    for (const line of rest) this.say(`      ${line}`);
    return held;
  }

  #paint(code: number, text: string): string {
    return this.#colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}
