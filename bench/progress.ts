/** What runs, which part of how many, and how long it will still take: on stderr, one line that renews itself. */
import type { Budget } from './budget.ts';
import type { Progress } from './runner.ts';

export class StderrProgress implements Progress {
  readonly #budget: Budget;
  readonly #parts: number;
  readonly #isTerminal = process.stderr.isTTY === true;
  #part = 0;
  #title = '';

  constructor(budget: Budget, parts: number) {
    this.#budget = budget;
    this.#parts = parts;
  }

  part(title: string): void {
    this.#part++;
    this.#title = title;
    if (!this.#isTerminal) process.stderr.write(`${this.#line(title)}\n`);
    else this.step('');
  }

  step(text: string): void {
    if (!this.#isTerminal) return;
    const line = this.#line(text === '' ? this.#title : `${this.#title}: ${text}`);
    process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
  }

  end(): void {
    if (this.#isTerminal) process.stderr.write('\r\x1b[K');
  }

  #line(text: string): string {
    const count = String(Math.min(this.#part, this.#parts)).padStart(String(this.#parts).length);
    return `[${count}/${this.#parts}, ${duration(this.#budget.left)} left] ${text}`;
  }
}

export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 90 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')} min`;
}
