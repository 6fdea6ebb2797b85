/** Neighbours against a Map, and their queues against arrays. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CardMemory, cardOffsets } from '../../src/card/layout.ts';
import { NeighborSource, NeighborState, Neighbors } from '../../src/neigh/neighbors.ts';
import { Packets } from '../../src/packet/packets.ts';
import { Counters } from '../../src/telemetry/counters.ts';

const packets = new Packets(new CardMemory(new ArrayBuffer(cardOffsets().at(-1)!)), new Counters());
const words = (address: number) => [0, 0, 0xffff, address] as const;
const address = fc.integer({ min: 1, max: 6 });
const net = fc.integer({ min: 0, max: 1 });
const mac = fc.integer({ min: 1, max: 4 });
const configured = fc.constantFrom(NeighborSource.PEER, NeighborSource.PORT);

describe('Neighbors', () => {
  it('A10, A11: hold the binding of the strongest source, the latest among equals', () => {
    const step = fc.oneof(
      fc.record({ op: fc.constant('hear' as const), net, address, mac, mayCreate: fc.boolean() }),
      fc.record({ op: fc.constant('configure' as const), net, address, mac, source: configured }),
      fc.record({ op: fc.constant('remove' as const), net, address, mac, source: configured }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const neighbors = new Neighbors(packets, 1);
        const model = new Map<string, { mac: number; source: NeighborSource }>();
        let conflicts = 0;
        let now = 0;
        for (const one of steps) {
          now += 100;
          const key = `${one.net} ${one.address}`;
          const old = model.get(key);
          if (one.op === 'hear') {
            neighbors.learn4(one.net, one.address, 0x0200, one.mac, now, one.mayCreate);
            if (old === undefined ? one.mayCreate : old.source === NeighborSource.LEARNED)
              model.set(key, { mac: one.mac, source: NeighborSource.LEARNED });
            else if (old !== undefined && old.mac !== one.mac) conflicts++;
          } else if (one.op === 'configure') {
            neighbors.setPermanent(one.net, words(one.address), 0x0200, one.mac, one.source);
            if (old === undefined || old.source <= one.source)
              model.set(key, { mac: one.mac, source: one.source });
          } else {
            neighbors.removePermanent(one.net, words(one.address), 0x0200, one.mac, one.source);
            if (old?.source === one.source && old.mac === one.mac) model.delete(key);
          }
          for (let n = 0; n <= 1; n++) {
            for (let a = 1; a <= 6; a++) {
              const row = neighbors.find4(n, a);
              const expected = model.get(`${n} ${a}`);
              if (expected === undefined) {
                expect(row).toBe(-1);
                continue;
              }
              expect([neighbors.lo[row], neighbors.source[row]]).toEqual([expected.mac, expected.source]);
              expect([neighbors.network(row), neighbors.address(row, 3)]).toEqual([n, a]);
              const isLearned = expected.source === NeighborSource.LEARNED;
              expect(neighbors.state[row]).toBe(
                isLearned ? NeighborState.REACHABLE : NeighborState.PERMANENT,
              );
            }
          }
          expect(neighbors.conflicts).toBe(conflicts);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('A13: queues keep order, hold 64 each and 256 in all', () => {
    const step = fc.tuple(
      fc.constantFrom('hold', 'hold', 'hold', 'take', 'many'),
      fc.integer({ min: 0, max: 5 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const neighbors = new Neighbors(packets, 1);
        const rows = Array.from({ length: 6 }, (_, n) => neighbors.startAsking(0, 0, 0, 0xffff, n + 1, 0));
        const model: number[][] = rows.map(() => []);
        const free = Array.from({ length: 1024 }, (_, n) => 1023 - n);
        const hold = (at: number): void => {
          const slot = free.pop()!;
          const evicted = neighbors.hold(rows[at]!, slot);
          const total = model.reduce((sum, queue) => sum + queue.length, 0);
          if (model[at]!.length >= 64) expect(evicted).toBe(model[at]!.shift());
          else if (total >= 256) {
            expect(evicted).toBe(slot);
            free.push(slot);
            return;
          } else expect(evicted).toBe(-1);
          if (evicted >= 0) free.push(evicted);
          model[at]!.push(slot);
        };
        for (const [what, at] of steps) {
          if (what === 'take') {
            const slot = neighbors.takeHeld(rows[at]!);
            expect(slot).toBe(model[at]!.shift() ?? -1);
            if (slot >= 0) free.push(slot);
          } else for (let i = 0; i < (what === 'many' ? 70 : 1); i++) hold(at);
        }
        rows.forEach((row, at) => {
          for (const slot of model[at]!) expect(neighbors.takeHeld(row)).toBe(slot);
          expect(neighbors.takeHeld(row)).toBe(-1);
        });
      }),
      { numRuns: 100 },
    );
  });

  it('A13: the row asked longest ago is asked first', () => {
    const neighbors = new Neighbors(packets, 1);
    const [a, b] = [
      neighbors.startAsking(0, 0, 0, 0xffff, 1, 0),
      neighbors.startAsking(0, 0, 0, 0xffff, 2, 5),
    ];
    expect(neighbors.oldestAsking()).toBe(a);
    neighbors.askedAgain(a, 10);
    expect(neighbors.oldestAsking()).toBe(b);
    neighbors.learn4(0, 2, 0x0200, 1, 11, false);
    expect(neighbors.oldestAsking()).toBe(a);
    neighbors.erase(a);
    expect(neighbors.oldestAsking()).toBe(-1);
  });

  it('A11: configured bindings leave room for learned ones, and the other way round', () => {
    const neighbors = new Neighbors(packets, 1);
    for (let n = 0; n < 9000; n++) neighbors.learn4(0, n, 0x0200, n, n, true);
    for (let n = 0; n < 8192; n++) neighbors.setPermanent(1, words(n), 0x0200, n, NeighborSource.PORT);
    expect(() => neighbors.setPermanent(1, words(9000), 0x0200, 1, NeighborSource.PORT)).toThrow(RangeError);
    expect(neighbors.find4(0, 807)).toBe(-1);
    expect(neighbors.find4(0, 808)).toBeGreaterThanOrEqual(0);
    expect(neighbors.find4(0, 8999)).toBeGreaterThanOrEqual(0);
  });
});
