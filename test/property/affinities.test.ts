/** Affinities against a map in order of last use, at size; `test/unit/affinity.test.ts` has the small ones. */
import { describe, expect, it } from 'vitest';
import { Affinities } from '../../src/service/affinity.ts';
import { Random } from '../random.ts';

const OPERATIONS = 150_000;
const SEED = Number(process.env.TWILL_PROPERTY_SEED ?? 20_261);
const CAPACITY = 1000;
const DAY = 86_400_000;
/** Backend n: five words that name it. */
const BACKENDS = Int32Array.from(Array.from({ length: 16 }, (_, n) => [0, 0, 0xffff, n, 8000 + n]).flat());

interface Remembered {
  readonly network: number;
  readonly service: number;
  readonly client: readonly number[];
  backend: number;
  stamp: number;
  hits: number;
}

describe('the affinity table, long', () => {
  it('S26, S27, S28: is what a map is that forgets the least recently used', () => {
    const random = new Random(SEED);
    const table = new Affinities(CAPACITY, SEED);
    const model = new Map<string, Remembered>();
    let [now, forgotten] = [0, 0];
    const draw = () => {
      const [network, service, n] = [random.below(3), random.below(20), random.below(50)];
      const client = n % 4 === 0 ? [0x20010db8, 0, 0, n] : [0, 0, 0xffff, n];
      return { network, service, client, key: `${network} ${service} ${client}` };
    };
    const find = (network: number, service: number, [w0, w1, w2, w3]: readonly number[]) =>
      table.find(network, service, w0!, w1!, w2!, w3!);
    for (let i = 1; i <= OPERATIONS; i++) {
      const kind = random.weighted({ remember: 900, ask: 300, forget: 1, sweep: 5, wait: 50 });
      const { network, service, client, key } = draw();
      const known = model.get(key);
      if (kind === 'wait') now += random.pick([1, 1000, 60_000]);
      else if (kind === 'ask') {
        const row = find(network, service, client);
        expect(row >= 0).toBe(known !== undefined);
        if (known) expect([table.backend[row * 5 + 3], table.hits[row]]).toEqual([known.backend, known.hits]);
      } else if (kind === 'remember') {
        const backend = random.below(16);
        const tuple = Int32Array.of(
          network << 8,
          0,
          client[3]!,
          0,
          client[0]!,
          client[1]!,
          client[2]!,
          0,
          0,
          0,
        );
        table.remember(tuple, service, BACKENDS, backend * 5, backend, now | 0);
        model.delete(key);
        if (model.size === CAPACITY) model.delete(model.keys().next().value!);
        model.set(key, { network, service, client, backend, stamp: now, hits: (known?.hits ?? 0) + 1 });
      } else if (kind === 'forget') {
        // an endpoint left its service
        const gone = random.below(16);
        const isKept = (row: number) => table.key(row, 1) !== service || table.backend[row * 5 + 3] !== gone;
        table.forget(isKept);
        for (const [other, row] of model) {
          if (row.service !== service || row.backend !== gone) continue;
          model.delete(other);
          forgotten++;
        }
      } else {
        table.sweep(now | 0, CAPACITY);
        for (const [other, { stamp }] of model) if (now - stamp > DAY) model.delete(other);
      }
      if (table.count !== model.size) expect(table.count).toBe(model.size);
    }
    let used = 0;
    for (let row = 0; row < table.extent; row++) if (table.isUsed(row)) used++;
    expect([used, table.count]).toEqual([model.size, model.size]);
    for (const { network, service, client, backend, stamp } of model.values()) {
      const row = find(network, service, client);
      expect([table.backend[row * 5 + 3], table.stamp[row]]).toEqual([backend, stamp | 0]);
    }
    expect(model.size).toBeGreaterThan(CAPACITY / 2);
    expect(forgotten).toBeGreaterThan(100);
  }, 60_000);
});
