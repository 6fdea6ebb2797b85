/** Frames that belong to no connection. */
import type { Random } from '../random.ts';
import type { Outgoing } from './connection.ts';
import { Draw, type Kinds } from './draw.ts';
import { IP } from './strays-ip.ts';
import { LINK } from './strays-link.ts';
import { OUTER } from './strays-outside.ts';
import { hasHost, type Mode } from './world.ts';

const [FIRST_PORT, LAST_PORT] = [1024, 9999];

export class Strays {
  readonly #random: Random;
  readonly #kinds: Kinds;
  readonly #weights: Readonly<Record<string, number>>;
  #port = FIRST_PORT;

  constructor(random: Random, mode: Mode) {
    this.#random = random;
    this.#kinds = { ...LINK, ...IP, ...(hasHost(mode) && OUTER) };
    const weights = Object.entries(this.#kinds).map(([label, [weight]]) => [label, weight] as const);
    this.#weights = Object.fromEntries(weights);
  }

  next(): Outgoing {
    const label = this.#random.weighted(this.#weights);
    this.#port = this.#port >= LAST_PORT ? FIRST_PORT : this.#port + 1;
    return { label, ...this.#kinds[label]![1](new Draw(this.#random, this.#port)) };
  }
}
