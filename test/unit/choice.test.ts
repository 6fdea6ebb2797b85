import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Algorithm, Choice } from '../../src/service/choice/choice.ts';
import { NO_CHOICE } from '../../src/service/choice/choice.ts';
import { beginAt, endAt, flowsAt, LEAST_CONNECTIONS } from '../../src/service/choice/least-connections.ts';
import { fill, MAGLEV } from '../../src/service/choice/maglev.ts';
import { Random } from '../../src/service/choice/random.ts';
import { ROUND_ROBIN } from '../../src/service/choice/round-robin.ts';
import { WEIGHTED_ROUND_ROBIN } from '../../src/service/choice/weighted.ts';
import { BACKEND_WORDS } from '../../src/service/record.ts';

/** A set of [last byte of the address, weight], behind some words of something else. */
function setOf(
  algorithm: Algorithm,
  members: readonly (readonly [number, number])[],
  before?: Choice,
): Choice {
  const [first, at] = [7, 5];
  const endpoints = new Int32Array(first + members.length * BACKEND_WORDS);
  members.forEach(([host, weight], i) => {
    endpoints.set([0, 0, 0xffff, 0x0a000000 | host, (weight << 16) | 8080], first + i * BACKEND_WORDS);
  });
  const count = members.length;
  const words = new Int32Array(at + algorithm.size(count)).fill(0x55555555, 0, at);
  const choice = { endpoints, first, count, words, at };
  algorithm.build(choice, before ?? NO_CHOICE, 1);
  return choice;
}

const pick = (algorithm: Algorithm, { words, at, count }: Choice, hash = 0): number => {
  const index = algorithm.pick(words, at, count, hash);
  if (index >= 0) algorithm.taken(words, at, count, index);
  return index;
};
const picks = (algorithm: Algorithm, choice: Choice, times: number): number[] =>
  Array.from({ length: times }, () => pick(algorithm, choice));
const tally = (of: readonly number[], count: number): number[] => {
  const counts = new Array<number>(count).fill(0);
  for (const index of of) counts[index]!++;
  return counts;
};
const equal = (count: number) => Array.from({ length: count }, (_, i) => [i + 1, 1] as const);
const weighing = (...weights: number[]) => weights.map((weight, i) => [i + 1, weight] as const);
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const weights = fc
  .array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 12 })
  .filter((all) => sum(all) > 0);

describe('round robin', () => {
  it('S24: k × n flows give each endpoint exactly k', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 5 }), (n, k) => {
        const choice = setOf(ROUND_ROBIN, equal(n));
        expect(tally(picks(ROUND_ROBIN, choice, n * k), n)).toEqual(new Array(n).fill(k));
      }),
    );
  });

  it('S24: a change keeps the index, modulo the number of endpoints', () => {
    const five = setOf(ROUND_ROBIN, equal(5));
    picks(ROUND_ROBIN, five, 4);
    expect(pick(ROUND_ROBIN, setOf(ROUND_ROBIN, equal(6), five))).toBe(4);
    expect(pick(ROUND_ROBIN, setOf(ROUND_ROBIN, equal(3), five))).toBe(1);
    expect(pick(ROUND_ROBIN, setOf(ROUND_ROBIN, [], five))).toBe(-1);
  });

  it('goes on behind the endpoint that got the flow', () => {
    const choice = setOf(ROUND_ROBIN, equal(4));
    ROUND_ROBIN.taken(choice.words, choice.at, 4, 2);
    expect(pick(ROUND_ROBIN, choice)).toBe(3);
  });
});

describe('weighted round robin', () => {
  it('S24, M12: Σ weights flows give each endpoint exactly its weight, period after period; 0 gets none', () => {
    fc.assert(
      fc.property(weights, (all) => {
        const choice = setOf(WEIGHTED_ROUND_ROBIN, weighing(...all));
        for (let period = 0; period < 3; period++) {
          expect(tally(picks(WEIGHTED_ROUND_ROBIN, choice, sum(all)), all.length)).toEqual(all);
        }
      }),
    );
  });

  it('spreads turns evenly: nobody is ever two turns from its share', () => {
    fc.assert(
      fc.property(weights, (all) => {
        const choice = setOf(WEIGHTED_ROUND_ROBIN, weighing(...all));
        const counts = new Array<number>(all.length).fill(0);
        let furthest = 0;
        for (let i = 1; i <= 2 * sum(all); i++) {
          counts[pick(WEIGHTED_ROUND_ROBIN, choice)]!++;
          const off = counts.map((count, at) => Math.abs(count - (i * all[at]!) / sum(all)));
          furthest = Math.max(furthest, ...off);
        }
        expect(furthest).toBeLessThan(2);
      }),
    );
    expect(picks(WEIGHTED_ROUND_ROBIN, setOf(WEIGHTED_ROUND_ROBIN, weighing(5, 1, 1)), 7)).toEqual([
      0, 0, 0, 1, 2, 0, 0,
    ]);
  });

  it('is exact with the largest weights', () => {
    const choice = setOf(WEIGHTED_ROUND_ROBIN, weighing(65_535, 65_534, 1));
    expect(tally(picks(WEIGHTED_ROUND_ROBIN, choice, 131_070), 3)).toEqual([65_535, 65_534, 1]);
  });

  it('goes on where it stood when the set is written again, and lets newcomers in at that point', () => {
    const before = setOf(WEIGHTED_ROUND_ROBIN, weighing(3, 2));
    const fresh = picks(WEIGHTED_ROUND_ROBIN, setOf(WEIGHTED_ROUND_ROBIN, weighing(3, 2)), 10);
    picks(WEIGHTED_ROUND_ROBIN, before, 7);
    const again = setOf(WEIGHTED_ROUND_ROBIN, weighing(3, 2), before);
    expect(picks(WEIGHTED_ROUND_ROBIN, again, 3)).toEqual(fresh.slice(7));
    const joined = setOf(WEIGHTED_ROUND_ROBIN, weighing(3, 2, 4), before);
    expect(tally(picks(WEIGHTED_ROUND_ROBIN, joined, 90), 3)).toEqual([30, 20, 40]);
  });

  it('M12: nobody is picked when all are drained', () => {
    expect(pick(WEIGHTED_ROUND_ROBIN, setOf(WEIGHTED_ROUND_ROBIN, weighing(0, 0)))).toBe(-1);
  });
});

describe('random', () => {
  it('follows the weights, and its seed alone', () => {
    const [a, b] = [new Random(42), new Random(42)];
    const choice = setOf(a, weighing(1, 0, 3, 6));
    const drawn = picks(a, choice, 20_000);
    expect(drawn).toEqual(picks(b, choice, 20_000));
    const shares = tally(drawn, 4).map((count) => Math.round(count / 200) / 100);
    expect(shares).toEqual([0.1, 0, 0.3, 0.6]);
  });

  it('M12: nobody is drawn when all are drained', () => {
    const random = new Random(1);
    expect([pick(random, setOf(random, weighing(0))), pick(random, setOf(random, []))]).toEqual([-1, -1]);
  });
});

describe('Maglev', () => {
  const PLACES = 4093;
  const places = (choice: Choice, count = PLACES) =>
    Array.from({ length: count }, (_, hash) => pick(MAGLEV, choice, hash));

  it('gives each of 10 endpoints its share to 1 %, and follows weights', () => {
    for (const share of tally(places(setOf(MAGLEV, equal(10))), 10)) {
      expect(Math.abs(share - PLACES / 10)).toBeLessThan(PLACES / 1000);
    }
    const shares = tally(places(setOf(MAGLEV, weighing(1, 2, 0, 5))), 4);
    expect(shares.map((share) => Math.round((share * 80) / PLACES) / 10)).toEqual([1, 2, 0, 5]);
  });

  it('depends on the set alone: not on what was before, nor on the steps it was made in', () => {
    const before = setOf(MAGLEV, equal(9));
    const again = setOf(MAGLEV, equal(10), before);
    const stepped = { ...again, words: new Int32Array(again.words.length) };
    let steps = 0;
    for (const _ of fill(stepped)) steps++;
    expect(steps).toBeGreaterThan(3);
    expect(stepped.words.subarray(stepped.at)).toEqual(again.words.subarray(again.at));
    expect(again.words.subarray(again.at)).toEqual(setOf(MAGLEV, equal(10)).words.subarray(again.at));
  });

  it('moves few clients when one of 10 endpoints leaves: its own, and at most 3 % of the others', () => {
    const all = setOf(MAGLEV, equal(10));
    for (let gone = 0; gone < 10; gone++) {
      const rest = setOf(
        MAGLEV,
        equal(10).filter((_, i) => i !== gone),
      );
      let moved = 0;
      for (let hash = 0; hash < PLACES; hash++) {
        const [was, is] = [pick(MAGLEV, all, hash), pick(MAGLEV, rest, hash)];
        if (was !== gone && was !== (is < gone ? is : is + 1)) moved++;
      }
      expect(moved).toBeLessThan(PLACES * 0.03);
    }
  });

  it('has a place for each of very many, and two bytes per place', () => {
    const many = setOf(MAGLEV, equal(3000));
    expect(new Set(places(many, 65_521)).size).toBe(3000);
    expect(MAGLEV.size(40)).toBe(1 + 2047);
    expect(MAGLEV.size(60_000)).toBe(1 + 32_761);
  });

  it('M12: nobody has a place when all are drained', () => {
    expect(pick(MAGLEV, setOf(MAGLEV, weighing(0, 0)), 77)).toBe(-1);
  });
});

describe('least connections', () => {
  const open = (choice: Choice): number => {
    const index = pick(LEAST_CONNECTIONS, choice);
    if (index >= 0) beginAt(choice, index);
    return index;
  };

  it('picks who has the fewest flows for its weight, whatever comes and goes', () => {
    const event = fc.record({ end: fc.boolean(), at: fc.nat() });
    fc.assert(
      fc.property(weights, fc.array(event, { maxLength: 200 }), (all, events) => {
        const choice = setOf(LEAST_CONNECTIONS, weighing(...all));
        const living: number[] = [];
        for (const { end, at } of events) {
          if (end && living.length > 0) {
            endAt(choice, living.splice(at % living.length, 1)[0]!, 1);
            continue;
          }
          const counts = tally(living, all.length);
          const load = (i: number) => (counts[i]! + 1) / all[i]!;
          const index = open(choice);
          expect(load(index)).toBe(Math.min(...all.map((_, i) => load(i))));
          living.push(index);
        }
        expect(all.map((_, i) => flowsAt(choice, i))).toEqual(tally(living, all.length));
      }),
    );
  });

  it('takes turns among equals, also when every flow ends before the next begins', () => {
    const choice = setOf(LEAST_CONNECTIONS, equal(3));
    const served = Array.from({ length: 6 }, () => {
      const index = open(choice);
      endAt(choice, index, 1);
      return index;
    });
    expect(served).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it('S30: a change keeps the counts of those who stay; who returns begins anew', () => {
    const before = setOf(LEAST_CONNECTIONS, equal(3));
    for (let i = 0; i < 6; i++) open(before);
    const without = setOf(LEAST_CONNECTIONS, [equal(3)[0]!, equal(3)[2]!], before);
    expect([0, 1].map((i) => flowsAt(without, i))).toEqual([2, 2]);
    const back = { ...setOf(LEAST_CONNECTIONS, equal(3)) };
    LEAST_CONNECTIONS.build(back, without, 9);
    endAt(back, 1, 8); // a flow from before it left
    expect([0, 1, 2].map((i) => flowsAt(back, i))).toEqual([2, 0, 2]);
    endAt(back, 0, 1);
    expect([0, 1, 2].map((i) => flowsAt(back, i))).toEqual([1, 0, 2]);
  });

  it('M12: a drained endpoint is never picked, and its flows still count', () => {
    const choice = setOf(LEAST_CONNECTIONS, weighing(0, 1));
    beginAt(choice, 0);
    expect([open(choice), open(choice)]).toEqual([1, 1]);
    endAt(choice, 0, 1);
    expect(flowsAt(choice, 0)).toBe(0);
  });
});
