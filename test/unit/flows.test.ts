import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Flows } from '../../src/conntrack/flows.ts';
import { FLOW_WORDS, trafficAt, windowAt } from '../../src/conntrack/row.ts';
import { TUPLE_WORDS } from '../../src/conntrack/tuple.ts';

/** States by number, as timeouts.ts names them: what the model needs to know of each. */
const STATES = {
  1: { name: 'SYN_SENT', ms: 120_000, class: 1 },
  2: { name: 'SYN_RECV', ms: 60_000, class: 1 },
  3: { name: 'ESTABLISHED', ms: 86_400_000, class: 3 },
  4: { name: 'FIN_WAIT', ms: 120_000, class: 2 },
  5: { name: 'CLOSE_WAIT', ms: 3_600_000, class: 2 },
  6: { name: 'LAST_ACK', ms: 30_000, class: 2 },
  7: { name: 'TIME_WAIT', ms: 120_000, class: 2 },
  8: { name: 'CLOSE', ms: 10_000, class: 2 },
  9: { name: 'SYN_SENT2', ms: 120_000, class: 1 },
  10: { name: 'UDP unreplied', ms: 30_000, class: 0 },
  11: { name: 'UDP replied', ms: 120_000, class: 3 },
} as const;
type State = keyof typeof STATES;
const STATE_NUMBERS = Object.keys(STATES).map(Number) as State[];
const SEED = 77;

/** Two tuples nobody else has, of both address families. */
const tuples = (id: number): [Int32Array, Int32Array] => {
  const high = id % 2 === 0 ? [0, 0, 0xffff] : [0x20010db8, id, 0];
  const original = Int32Array.of(6, (id << 16) | 80, id, 1, ...high, ...high);
  const reply = Int32Array.of(6, (8080 << 16) | id, 2, id, ...high, ...high);
  return [original, reply];
};

interface Row {
  id: number;
  state: State;
  expires: number;
}

/** The table as a list, least recently refreshed first. */
class Model {
  rows: Row[] = [];
  evicted = 0;
  constructor(public limit: number) {}

  live(now: number): Row[] {
    return this.rows.filter((row) => row.expires > now);
  }

  add(id: number, state: State, now: number): boolean {
    if (this.rows.length >= this.limit) {
      const victims = this.rows.filter((row) => STATES[row.state].class < 3);
      const first = Math.min(...victims.map((row) => STATES[row.state].class));
      const victim = victims.find((row) => STATES[row.state].class === first);
      if (!victim) return false;
      this.rows.splice(this.rows.indexOf(victim), 1);
      this.evicted++;
    }
    this.rows.push({ id, state, expires: now + STATES[state].ms });
    return true;
  }

  refresh(row: Row, state: State, now: number): void {
    const expires = now + STATES[state].ms;
    const stays = STATES[row.state].class === STATES[state].class && expires === row.expires;
    row.state = state;
    row.expires = expires;
    if (stays) return;
    this.rows.splice(this.rows.indexOf(row), 1);
    this.rows.push(row);
  }
}

const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      id: fc.nat(40),
      state: fc.constantFrom(...STATE_NUMBERS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('refresh' as const),
      id: fc.nat(40),
      state: fc.constantFrom(...STATE_NUMBERS),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), id: fc.nat(40) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(0, 1, 9_999, 30_000, 60_000, 4_000_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sweep' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('resize' as const), to: fc.integer({ min: 1, max: 24 }) }),
  },
);

describe('the flow table', () => {
  it.each([0, 0x7fff0000])('N3, N22, N23, N24: behaves like a list, at time %i', (start) => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 120 }), (commands) => {
        const flows = new Flows(12, SEED);
        const model = new Model(12);
        // The model counts from zero; the table's clock wraps.
        let now = 0;
        const clock = () => (start + now) | 0;
        const find = (id: number, direction: 0 | 1) => {
          const tuple = tuples(id)[direction];
          return flows.find(tuple, flows.hash(tuple), clock());
        };
        /** What the switch does before it adds: it looks, and an expired row that is met goes. */
        const meet = (id: number) => {
          const row = model.rows.find((other) => other.id === id);
          if (row && row.expires <= now) model.rows.splice(model.rows.indexOf(row), 1);
          return row && row.expires > now ? row : undefined;
        };
        for (const step of commands) {
          if (step.kind === 'wait') now += step.ms;
          else if (step.kind === 'sweep') {
            flows.sweep(clock(), flows.extent);
            model.rows = model.live(now);
          } else if (step.kind === 'resize') {
            flows.resize(step.to);
            model.limit = step.to;
            // A resize puts kept classes behind the others; the order within each is what counts.
            model.rows.sort((a, b) => STATES[a.state].class - STATES[b.state].class);
          } else {
            const known = meet(step.id);
            const at = find(step.id, 0);
            expect(at >= 0).toBe(known !== undefined);
            expect(find(step.id, 1)).toBe(at < 0 ? -1 : at + 1);
            if (step.kind === 'add' && !known) {
              const added = flows.add(...tuples(step.id), step.state, clock());
              expect(added >= 0).toBe(model.add(step.id, step.state, now));
            } else if (step.kind === 'refresh' && known) {
              flows.refresh(at >> 1, step.state, clock());
              model.refresh(known, step.state, now);
            } else if (step.kind === 'remove' && known) {
              flows.remove(at >> 1);
              model.rows.splice(model.rows.indexOf(known), 1);
            }
          }
          expect(flows.count).toBe(model.rows.length);
          expect(flows.evicted).toBe(model.evicted);
          const listed: string[] = [];
          for (let row = 0; row < flows.extent; row++) {
            if (flows.isLive(row, clock()))
              listed.push(`${flows.word(row * 2, 1) >>> 16} ${flows.stateOf(row)} ${flows.left(row, start)}`);
          }
          expect(listed.sort()).toEqual(
            model
              .live(now)
              .map((row) => `${row.id} ${row.state} ${row.expires | 0}`)
              .sort(),
          );
        }
      }),
      { numRuns: 200 },
    );
  });

  it('N3: every word of a tuple tells flows apart', () => {
    const flows = new Flows(64, SEED);
    const [original, reply] = tuples(2);
    flows.add(original, reply, 10, 0);
    for (let i = 0; i < TUPLE_WORDS; i++) {
      for (const bit of [1, -0x80000000]) {
        const other = original.slice();
        other[i] = other[i]! ^ bit;
        expect(flows.find(other, flows.hash(other), 0), `word ${i}`).toBe(-1);
      }
    }
    expect(flows.find(original, flows.hash(original), 0)).toBe(0);
  });

  it('N3: keys with equal hashes are still told apart, also after a removal between them', () => {
    const flows = new Flows(256, SEED);
    for (let id = 0; id < 256; id++) flows.add(...tuples(id), 10, 0);
    for (let id = 0; id < 256; id += 2) {
      const tuple = tuples(id)[0];
      flows.remove(flows.find(tuple, flows.hash(tuple), 0) >> 1);
    }
    for (let id = 0; id < 256; id++) {
      for (const direction of [0, 1] as const) {
        const tuple = tuples(id)[direction];
        const at = flows.find(tuple, flows.hash(tuple), 0);
        expect(at >= 0).toBe(id % 2 === 1);
        if (at >= 0) expect([at & 1, flows.word((at >> 1) * 2, 1) >>> 16]).toEqual([direction, id]);
      }
    }
  });

  it('N22: a removed row starts afresh', () => {
    const flows = new Flows(1, SEED);
    const row = flows.add(...tuples(2), 10, 0);
    const fresh = [...flows.lines];
    flows.remove(row);
    flows.add(...tuples(1), 3, 5);
    for (const id of [row * 2, row * 2 + 1]) {
      flows.lines.fill(9, windowAt(id), windowAt(id) + 8);
      flows.traffic.fill(9, trafficAt(id), trafficAt(id) + 2);
      flows.prepare(id);
    }
    flows.remove(row);
    expect(flows.add(...tuples(2), 10, 0)).toBe(row);
    expect([...flows.lines]).toEqual(fresh);
    expect(flows.created).toBe(3);
  });

  it('N23: a resize keeps what is known of each flow', () => {
    const flows = new Flows(4, SEED);
    const rows = [0, 1, 2, 3].map((id) => {
      const row = flows.add(...tuples(id), 3, id);
      flows.service[row] = id + 10;
      flows.generation[row] = id + 20;
      for (const tuple of [row * 2, row * 2 + 1]) {
        flows.lines.fill(tuple - 3, windowAt(tuple), windowAt(tuple) + 8);
        flows.traffic.set([tuple, tuple + 0.5], trafficAt(tuple));
      }
      return [...flows.lines.subarray(row * FLOW_WORDS, (row + 1) * FLOW_WORDS)];
    });
    flows.resize(1000);
    expect([flows.limit, flows.count, flows.created]).toEqual([1000, 4, 4]);
    for (let id = 0; id < 4; id++) {
      const tuple = tuples(id)[1];
      const row = flows.find(tuple, flows.hash(tuple), 5) >> 1;
      expect([...flows.lines.subarray(row * FLOW_WORDS, (row + 1) * FLOW_WORDS)]).toEqual(rows[id]);
      expect([flows.stateOf(row), flows.left(row, id)]).toEqual([3, 86_400_000]);
      expect([flows.service[row], flows.generation[row]]).toEqual([id + 10, id + 20]);
    }
    flows.resize(2);
    expect([flows.limit, flows.count]).toEqual([2, 4]);
  });
});
