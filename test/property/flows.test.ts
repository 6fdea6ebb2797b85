/**
 * The flow table against maps, at the size and for as long as a busy host has it: hundreds of thousands of operations
 * drawn from a seed, thousands of flows at a time. `test/unit/flows.test.ts` has the small ones, which shrink.
 *
 *   TWILL_PROPERTY_SEED   which operations
 */
import { describe, expect, it } from 'vitest';
import { Flows } from '../../src/conntrack/flows.ts';
import { EVICTION_CLASS, TIMERS, timeoutTable } from '../../src/conntrack/timeouts.ts';
import { Random } from '../random.ts';

const OPERATIONS = 200_000;
const SEED = Number(process.env.TWILL_PROPERTY_SEED ?? 20_261);
/** Half as many flows as there are tuples to choose from. */
const [LIMIT, TUPLES] = [2048, 4096];
const LIMITS = [1024, 1500, 2048, 3000, 4096] as const;
/** How often everything is looked at, in operations. */
const EVERYTHING = 20_000;
const KEPT = 3;
const TCP_STATES = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const UDP_STATES = [10, 11];
const TIMEOUTS = timeoutTable();

interface Flow {
  readonly id: number;
  state: number;
  /** ms; the model's clock does not wrap. */
  expires: number;
  readonly born: number;
}

/** The tuples of flow `id`: even ones are TCP, every third IPv6; of every fifth the source is translated too. */
function tuplesOf(id: number): [Int32Array, Int32Array] {
  const high = id % 3 === 0 ? [0x20010db8, 0, id] : [0, 0, 0xffff];
  const scope = ((id % 7) << 8) | (id % 2 === 0 ? 6 : 17);
  const answered = isTranslated(id) ? 7 : id;
  return [
    Int32Array.of(scope, (id << 16) | 80, id, 1, ...high, ...high),
    Int32Array.of(scope, (8080 << 16) | (id & 0xffff), 2 + (id % 5), answered, ...high, ...high),
  ];
}
const isTranslated = (id: number): boolean => id % 5 === 0;
const idle = (id: number, state: number): number => TIMEOUTS[(isTranslated(id) ? TIMERS : 0) + state]!;

/** Flows in the order in which they would be evicted, by class. */
class Model {
  readonly classes = [0, 1, 2, KEPT].map(() => new Map<number, Flow>());
  readonly flows = new Map<number, Flow>();
  created = 0;
  evicted = 0;
  limit = LIMIT;

  add(id: number, state: number, now: number): boolean {
    if (this.flows.size >= this.limit && !this.#evict()) return false;
    const flow = { id, state, expires: now + idle(id, state), born: now };
    this.flows.set(id, flow);
    this.classes[EVICTION_CLASS[state]!]!.set(id, flow);
    this.created++;
    return true;
  }

  refresh(flow: Flow, state: number, now: number): void {
    const [before, after] = [EVICTION_CLASS[flow.state]!, EVICTION_CLASS[state]!];
    const expires = now + idle(flow.id, state);
    const isMoved = before !== after || (after !== KEPT && expires !== flow.expires);
    flow.state = state;
    flow.expires = expires;
    if (!isMoved) return;
    this.classes[before]!.delete(flow.id);
    this.classes[after]!.set(flow.id, flow);
  }

  remove({ id, state }: Flow): void {
    this.flows.delete(id);
    this.classes[EVICTION_CLASS[state]!]!.delete(id);
  }

  #evict(): boolean {
    for (const flows of this.classes.slice(0, KEPT)) {
      const [oldest] = flows.values();
      if (!oldest) continue;
      this.remove(oldest);
      this.evicted++;
      return true;
    }
    return false;
  }
}

class Pair {
  readonly flows = new Flows(LIMIT, SEED);
  readonly model = new Model();
  readonly #random = new Random(SEED);
  readonly #start: number;
  #now = 0;

  /** @param start of the table's clock, which wraps */
  constructor(start: number) {
    this.#start = start;
  }

  get #clock(): number {
    return (this.#start + this.#now) | 0;
  }

  step(): void {
    const weights = { add: 500, refresh: 300, remove: 60, wait: 120, sweep: 15, resize: 1 };
    const kind = this.#random.weighted(weights);
    if (kind === 'wait') this.#now += this.#random.pick([0, 1, 2, 5, 10, 200]);
    else if (kind === 'sweep') this.#sweep();
    else if (kind === 'resize') this.#resize();
    else this.#touch(kind, this.#random.below(TUPLES));
  }

  #touch(kind: 'add' | 'refresh' | 'remove', id: number): void {
    const { flows, model } = this;
    const [original, reply] = tuplesOf(id);
    const known = model.flows.get(id);
    const isLive = known !== undefined && known.expires > this.#now;
    // a flow that is met after its end is gone
    if (known && !isLive) model.remove(known);
    const found = this.#find(this.#random.chance(50) ? original : reply) >> 1;
    if (found >= 0 !== isLive) expect.fail(`flow ${id} is ${isLive ? 'not' : 'still'} found`);
    const state = this.#random.pick(id % 2 === 0 ? TCP_STATES : UDP_STATES);
    if (kind === 'add' && !isLive) {
      const row = flows.add(original, reply, state, this.#clock);
      if (row >= 0) flows.service[row] = id;
      const isAdded = row >= 0;
      if (isAdded !== model.add(id, state, this.#now))
        expect.fail(`flow ${id}: ${isAdded ? '' : 'not '}added`);
    } else if (kind === 'refresh' && isLive) {
      flows.refresh(found, state, this.#clock);
      model.refresh(known, state, this.#now);
    } else if (kind === 'remove' && isLive) {
      flows.remove(found);
      model.remove(known);
    }
  }

  #find(tuple: Int32Array): number {
    return this.flows.find(tuple, this.flows.hash(tuple), this.#clock);
  }

  /** All rows in two goes. */
  #sweep(): void {
    const { flows, model } = this;
    flows.sweep(this.#clock, flows.extent >> 1);
    flows.sweep(this.#clock, flows.extent);
    for (const flow of [...model.flows.values()]) if (flow.expires <= this.#now) model.remove(flow);
  }

  #resize(): void {
    this.model.limit = this.#random.pick(LIMITS);
    this.flows.resize(this.model.limit);
  }

  compareCounts(): void {
    const { flows, model } = this;
    if (
      flows.count === model.flows.size &&
      flows.created === model.created &&
      flows.evicted === model.evicted
    )
      return;
    const counts = [model.flows.size, model.created, model.evicted];
    expect([flows.count, flows.created, flows.evicted]).toEqual(counts);
  }

  /** Every flow, in a listing and by each way to find it. */
  compareAll(): void {
    const { flows, model } = this;
    const live = [...model.flows.values()].filter(({ expires }) => expires > this.#now);
    const listed = new Map<number, string>();
    for (let row = 0; row < flows.extent; row++) {
      if (!flows.isLive(row, this.#clock)) continue;
      const id = flows.word(row * 2, 1) >>> 16;
      if (listed.has(id)) expect.fail(`flow ${id} is listed twice`);
      const about = [flows.stateOf(row), flows.left(row, this.#start), flows.age(row, this.#clock)];
      listed.set(id, [...about, flows.service[row], flows.isSnat(row) ? 1 : 0].join(' '));
    }
    const about = ({ id, state, expires, born }: Flow): string =>
      [state, expires | 0, this.#now - born, id, isTranslated(id) ? 1 : 0].join(' ');
    expect(listed).toEqual(new Map(live.map((flow) => [flow.id, about(flow)])));
    for (const { id } of live) {
      const [original, reply] = tuplesOf(id);
      const at = flows.seek(original);
      const isFound =
        at >= 0 &&
        flows.seek(reply) === (at ^ 1) &&
        this.#find(original) === at &&
        this.#find(reply) === (at ^ 1);
      const [scope, ports, source, destination] = original as unknown as [number, number, number, number];
      const isFound4 = id % 3 === 0 || flows.find4(scope, ports, source, destination) === at;
      if (!isFound || !isFound4) expect.fail(`flow ${id} is not found as it should be`);
    }
  }
}

describe('the flow table, long', () => {
  it.each([0, 0x7fff0000])(
    'N3, N22, N23, N24: is what maps are, with counts right at all times, from time %i on',
    (start) => {
      const pair = new Pair(start);
      let fullest = 0;
      for (let i = 1; i <= OPERATIONS; i++) {
        pair.step();
        pair.compareCounts();
        fullest = Math.max(fullest, pair.flows.count);
        if (i % EVERYTHING === 0) pair.compareAll();
      }
      // it was full, evicted, and refused; else this proves little
      expect(fullest).toBeGreaterThanOrEqual(LIMIT);
      expect(pair.model.evicted).toBeGreaterThan(OPERATIONS / 100);
    },
    60_000,
  );
});
