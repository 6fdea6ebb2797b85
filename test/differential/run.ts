/** One run: both worlds take the same steps and are compared after each. */
import type { Met, Pair } from './difference.ts';
import { DIFFERENCES } from './differences.ts';
import { describe, sameDeliveries } from './frame-views.ts';
import { KernelWorld } from './kernel-world.ts';
import { type Step, Traffic } from './traffic.ts';
import { TwillWorld } from './twill-world.ts';
import type { Mode } from './world.ts';

/** A step as it was taken, so that it can be taken again. */
interface Taken {
  readonly step: Step;
  readonly isStale: boolean;
  readonly isShared: boolean;
  /** Number of the connection it belongs to; 0 = none. */
  readonly conversation: number;
}

export interface Outcome {
  readonly frames: number;
  /** Frames of which anything was delivered. */
  readonly delivered: number;
  /** Differences met, with how many frames. */
  readonly met: ReadonlyMap<string, number>;
  /** Flows by what they prove, see `Connection.about`. */
  readonly flows: ReadonlyMap<string, number>;
  /** What cannot be explained; undefined = nothing. */
  readonly failure: string | undefined;
  readonly taken: readonly Taken[];
}

class Both {
  readonly #twill: TwillWorld;
  readonly #kernel: KernelWorld;
  readonly #mode: Mode;
  #suppressed = 0;
  readonly met = new Map<string, number>();

  constructor(seed: number, mode: Mode) {
    this.#mode = mode;
    this.#twill = new TwillWorld(seed, mode);
    this.#kernel = new KernelWorld(mode);
  }

  close(): void {
    this.#twill.close();
    this.#kernel.close();
  }

  take({ step, isStale, isShared }: Taken): { pair: Pair; isTainted: boolean; failure?: string } {
    if (step.kind === 'wait') this.#twill.wait(step.ms);
    if (step.kind === 'change') {
      this.#twill.change(step.change);
      this.#kernel.change(step.change);
    }
    if (step.kind !== 'frame') return { pair: { twill: [], kernel: [] }, isTainted: false };
    const frames = [step.frame, ...(step.more ?? [])];
    const pair: Pair = {
      twill: this.#twill.send(step.place, frames),
      kernel: this.#kernel.send(step.place, frames),
    };
    const met = { sent: step, mode: this.#mode, isStale, isShared, isSuppressed: this.#isSuppressed(pair) };
    let ids = explain(pair, met);
    if (ids === null) {
      const late = this.#kernel.late();
      const whole = { ...pair, kernel: [...pair.kernel, ...late] };
      if (late.length > 0) ids = explain(whole, met);
      if (ids === null) return { pair: whole, isTainted: true, failure: report(whole, step) };
    }
    for (const id of ids) this.met.set(id, (this.met.get(id) ?? 0) + 1);
    return { pair, isTainted: ids.some((id) => DIFFERENCES.find((d) => d.id === id)!.taints) };
  }

  /** Has Twill just kept an ICMP error back? Asked only where it might have. */
  #isSuppressed({ twill, kernel }: Pair): boolean {
    if (twill.length > 0 || kernel.length === 0) return false;
    const before = this.#suppressed;
    this.#suppressed = this.#twill.suppressed();
    return this.#suppressed > before;
  }
}

/** The differences that are between the two; null when there are others. */
function explain(pair: Pair, met: Met): string[] | null {
  const ids: string[] = [];
  let left = pair;
  for (const { id, resolve } of DIFFERENCES) {
    if (sameDeliveries(left.twill, left.kernel)) return ids;
    const next = resolve(left, met);
    if (next === null) continue;
    ids.push(id);
    left = next;
  }
  return sameDeliveries(left.twill, left.kernel) ? ids : null;
}

function report({ twill, kernel }: Pair, step: Step & { kind: 'frame' }): string {
  const list = (deliveries: Pair['twill']) =>
    deliveries.map(describe).sort().join('\n           ') || 'nothing';
  return [
    `${step.label}: ${describe({ to: `from ${step.place}`, frame: step.frame })}`,
    `  Twill    ${list(twill)}`,
    `  kernel   ${list(kernel)}`,
  ].join('\n');
}

export function run(seed: number, mode: Mode, frames: number): Outcome {
  const both = new Both(seed, mode);
  const traffic = new Traffic(seed, mode);
  const { flows } = traffic;
  const taken: Taken[] = [];
  let [count, delivered] = [0, 0];
  try {
    while (count < frames) {
      const step = traffic.next();
      const { isStale, isShared, conversation } = traffic;
      const next = { step, isStale, isShared, conversation };
      taken.push(next);
      const { pair, isTainted, failure } = both.take(next);
      if (failure !== undefined) return { frames: count, delivered, met: both.met, flows, failure, taken };
      if (step.kind !== 'frame') continue;
      count++;
      if (pair.twill.length > 0) delivered++;
      traffic.observe(pair.twill, isTainted);
    }
    return { frames: count, delivered, met: both.met, flows, failure: undefined, taken };
  } finally {
    both.close();
  }
}

const SHORTENING_MS = 10_000;

/**
 * The steps of a failed run that fail alike: the changes, the frames of the connection it failed on and the first of
 * every other; else the changes and the last 1, 2, 4 … steps; else all.
 */
export function shorten(seed: number, mode: Mode, { taken, failure }: Outcome): readonly Taken[] {
  const isChange = ({ step }: Taken): boolean => step.kind !== 'frame';
  const isAlike = (steps: readonly Taken[]): boolean => firstFailure(seed, mode, steps) === failure;
  const { conversation } = taken.at(-1)!;
  // the first frame of each connection takes a turn of its service's endpoints
  const first = new Map([...taken].reverse().map((other) => [other.conversation, other]));
  const own = taken.filter(
    (other) =>
      isChange(other) || other.conversation === conversation || first.get(other.conversation) === other,
  );
  if (conversation !== 0 && isAlike(own)) return own;
  const end = performance.now() + SHORTENING_MS;
  for (let length = 1; length < taken.length && performance.now() < end; length *= 2) {
    const last = [...taken.slice(0, -length).filter(isChange), ...taken.slice(-length)];
    if (isAlike(last)) return last;
  }
  return taken;
}

function firstFailure(seed: number, mode: Mode, steps: readonly Taken[]): string | undefined {
  const both = new Both(seed, mode);
  try {
    for (const taken of steps) {
      const { failure } = both.take(taken);
      if (failure !== undefined) return failure;
    }
    return undefined;
  } finally {
    both.close();
  }
}

/** Digits of a frame that are shown: its headers. */
const SHOWN = 160;

export const tell = ({ step }: Taken): string => {
  if (step.kind === 'wait') return `wait ${step.ms}`;
  if (step.kind === 'change')
    return `change ${JSON.stringify(step.change.after ?? { removed: step.change.name })}`;
  return `${step.label}: ${describe({ to: step.place, frame: step.frame }).slice(0, SHOWN)}`;
};
