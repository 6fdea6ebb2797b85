import { describe, expect, it } from 'vitest';
import { countAstray } from '../../bench/churn.ts';

const trip = (port: number, from: number, to: number) => ({ port, from: BigInt(from), to: BigInt(to) });
const epoch = (port: number, from: number, until: number) => ({
  port,
  from: BigInt(from),
  until: BigInt(until),
});

describe('datagrams beside changes', () => {
  // from 0 at port 1; changed to 2 between 100 and 110, back to 1 between 200 and 210
  const epochs = [epoch(1, 0, 110), epoch(2, 100, 210), epoch(1, 200, 1000)];

  it('are astray where no endpoint was from their sending to their arrival', () => {
    expect(countAstray([trip(1, 120, 150)], epochs)).toBe(1);
    expect(countAstray([trip(2, 10, 50)], epochs)).toBe(1);
    expect(countAstray([trip(2, 220, 230), trip(2, 10, 50), trip(1, 130, 140)], epochs)).toBe(3);
  });

  it('are not while a change is under way, nor when it falls into their trip', () => {
    const trips = [
      trip(1, 20, 50),
      trip(1, 105, 108),
      trip(2, 105, 108),
      trip(2, 90, 120),
      trip(1, 150, 205),
    ];
    expect(countAstray(trips, epochs)).toBe(0);
    expect(countAstray([trip(1, 300, 301), trip(2, 150, 160)], epochs)).toBe(0);
  });
});
