/** The forwarding database against a Map that does it the slow way. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fdb, FdbKind, Learned } from '../../src/bridge/fdb.ts';

const MAX = 10;
const AGEING = 1000;
const LOCATIONS = [2, 3, 4, 1024];

interface Entry {
  location: number;
  kind: FdbKind;
  stamp: number;
  moves: number;
  /** Order of refresh: the smallest is the oldest. */
  order: number;
}

/** B2–B10 in the plainest words. */
class Model {
  readonly entries = new Map<number, Entry>();
  private order = 0;

  learned(location?: number): number[] {
    return [...this.entries]
      .filter(([, e]) => e.kind === FdbKind.LEARNED && (location === undefined || e.location === location))
      .sort(([, a], [, b]) => a.order - b.order)
      .map(([mac]) => mac);
  }

  private expired(entry: Entry, now: number): boolean {
    return entry.kind === FdbKind.LEARNED && ((now - entry.stamp) | 0) >= AGEING;
  }

  locate(mac: number, now: number): number {
    const entry = this.entries.get(mac);
    return entry === undefined || this.expired(entry, now) ? -1 : entry.location;
  }

  learn(mac: number, location: number, now: number): Learned {
    const old = this.entries.get(mac);
    if (old !== undefined && old.location === location) {
      if (old.kind === FdbKind.LEARNED && old.stamp !== now) {
        old.stamp = now;
        old.order = ++this.order;
      }
      return Learned.KNOWN;
    }
    if (old?.kind === FdbKind.STATIC) return Learned.STATIC_ELSEWHERE;
    if (old?.kind === FdbKind.LOCAL) return Learned.LOCAL_ELSEWHERE;
    if (old !== undefined) {
      const wasExpired = this.expired(old, now);
      const moves = old.moves + (wasExpired ? 0 : 1);
      this.entries.set(mac, { ...old, location, stamp: now, moves, order: ++this.order });
      return wasExpired ? Learned.NEW : Learned.MOVED;
    }
    if (this.learned().length >= MAX) {
      const most = Math.max(...LOCATIONS.map((at) => this.learned(at).length));
      const mine = this.learned(location).length;
      const owner = mine === most ? location : LOCATIONS.find((at) => this.learned(at).length === most)!;
      if (owner !== location && most < 2) return Learned.REFUSED;
      this.entries.delete(this.learned(owner)[0]!);
    }
    this.entries.set(mac, { location, kind: FdbKind.LEARNED, stamp: now, moves: 0, order: ++this.order });
    return Learned.NEW;
  }

  setStatic(mac: number, location: number, kind: FdbKind): void {
    this.entries.set(mac, { location, kind, stamp: 0, moves: 0, order: 0 });
  }

  removeStatic(mac: number, location: number): void {
    const entry = this.entries.get(mac);
    if (entry !== undefined && entry.kind !== FdbKind.LEARNED && entry.location === location)
      this.entries.delete(mac);
  }

  flush(location: number): void {
    for (const [mac, entry] of this.entries) if (entry.location === location) this.entries.delete(mac);
  }

  sweep(now: number): void {
    for (const [mac, entry] of this.entries) if (this.expired(entry, now)) this.entries.delete(mac);
  }
}

const mac = fc.integer({ min: 1, max: 24 });
const location = fc.constantFrom(...LOCATIONS);
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ op: fc.constant('learn' as const), mac, location }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('pass' as const),
      ms: fc.constantFrom(1, 10, 400, 999, 1000, 5000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('static' as const),
      mac,
      location,
      kind: fc.constantFrom(FdbKind.STATIC, FdbKind.LOCAL),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unstatic' as const), mac, location }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('flush' as const), location }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('resize' as const) }) },
);
const HI = 0x0200;

describe('Fdb', () => {
  for (const [name, start] of [
    ['from 0', 0],
    ['while the clock wraps', 0x7fffffff - 3000],
  ] as const) {
    it(`B3, B5, B6, B7, B9, B10: does what the model does, ${name}`, () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
          let fdb = new Fdb(MAX, AGEING, 0x5eed);
          const model = new Model();
          let now = start | 0;
          for (const one of steps) {
            if (one.op === 'pass') now = (now + one.ms) | 0;
            else if (one.op === 'learn')
              expect(fdb.learn(HI, one.mac, one.location, now)).toBe(model.learn(one.mac, one.location, now));
            else if (one.op === 'static') {
              fdb.setStatic(HI, one.mac, one.location, one.kind);
              model.setStatic(one.mac, one.location, one.kind);
            } else if (one.op === 'unstatic') {
              fdb.removeStatic(HI, one.mac, one.location);
              model.removeStatic(one.mac, one.location);
            } else if (one.op === 'flush') {
              fdb.flush(one.location);
              model.flush(one.location);
            } else if (one.op === 'sweep') {
              fdb.sweep(now, fdb.extent);
              model.sweep(now);
            } else {
              // The same size again: nothing but expired entries and the move counters may be lost.
              fdb = fdb.resized(MAX, AGEING, now);
              model.sweep(now);
              for (const entry of model.entries.values()) entry.moves = 0;
            }
            for (let n = 1; n <= 24; n++) expect(fdb.locate(HI, n, now)).toBe(model.locate(n, now));
            expect(fdb.learned).toBe(model.learned().length);
            for (const at of LOCATIONS) expect(fdb.count(at)).toBe(model.learned(at).length);
            const live: string[] = [];
            for (const { lo, location, kind, moves } of fdb.entries(now))
              live.push([lo, location, kind, moves].join());
            const expected = [...model.entries]
              .filter(([n]) => model.locate(n, now) >= 0)
              .map(([n, e]) => [n, e.location, e.kind, e.moves].join());
            expect(live.sort()).toEqual(expected.sort());
          }
        }),
        { numRuns: 150 },
      );
    });
  }

  it('B10: however one location floods, nobody else loses the last entry, and the flood is learned', () => {
    const quiet = fc.array(fc.tuple(fc.constantFrom(3, 4, 1024), fc.integer({ min: 1, max: 50 })), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(quiet, fc.integer({ min: 1, max: 60 }), (stations, flood) => {
        const fdb = new Fdb(MAX, 0, 1);
        for (const [at, n] of stations) fdb.learn(HI, n, at, 1);
        const before = LOCATIONS.map((at) => fdb.count(at));
        for (let n = 0; n < flood; n++) fdb.learn(HI, 1000 + n, 2, 2);
        LOCATIONS.forEach((at, i) => {
          if (at !== 2 && before[i]! > 0) expect(fdb.count(at)).toBeGreaterThan(0);
        });
        expect(fdb.count(2)).toBeGreaterThan(0);
        expect(fdb.learned).toBeLessThanOrEqual(MAX);
        expect(fdb.locate(HI, 1000 + flood - 1, 3)).toBe(2);
      }),
    );
  });

  it('B10: full of single entries, a newcomer is not learned and nobody is evicted', () => {
    const fdb = new Fdb(MAX, 0, 1);
    for (let n = 0; n < MAX; n++) fdb.learn(HI, n + 1, 10 + n, 1);
    expect(fdb.learn(HI, 99, 50, 1)).toBe(Learned.REFUSED);
    for (let n = 0; n < MAX; n++) expect(fdb.locate(HI, n + 1, 1)).toBe(10 + n);
    expect(fdb.evictions).toBe(0);
  });

  it('B7: static entries have room of their own, and an end', () => {
    const fdb = new Fdb(MAX, 0, 1);
    for (let n = 0; n < MAX; n++) fdb.learn(HI, n + 1, 2, 1);
    for (let n = 0; n < Fdb.MAX_STATIC; n++) fdb.setStatic(HI + 1, n, 3, FdbKind.STATIC);
    expect(() => fdb.setStatic(HI + 1, -1, 3, FdbKind.STATIC)).toThrow(RangeError);
    expect(fdb.learned).toBe(MAX);
    expect(fdb.locate(HI + 1, 8191, 1)).toBe(3);
  });

  it('B10: a smaller table keeps what fits, fairly', () => {
    const fdb = new Fdb(100, 0, 1);
    for (let n = 0; n < 60; n++) fdb.learn(HI, n, 2, n);
    fdb.learn(HI, 900, 3, 5);
    fdb.setStatic(HI, 901, 4, FdbKind.LOCAL);
    const small = fdb.resized(10, 0, 100);
    expect(small.learned).toBe(10);
    expect(small.locate(HI, 900, 100)).toBe(3);
    expect(small.locate(HI, 901, 100)).toBe(4);
    expect(small.locate(HI, 59, 100)).toBe(2);
    expect(small.locate(HI, 0, 100)).toBe(-1);
  });
});
