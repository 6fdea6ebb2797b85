import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile } from '../../src/control/compile.ts';
import { actionOf, diff } from '../../src/control/diff.ts';
import type { Generation, Plan } from '../../src/control/types.ts';
import { blue, ETHERNET, host, network, peer, port, resources, slice } from './fixture.ts';

type Step = readonly object[];
const compiled = (documents: Step, running: Generation | null) =>
  compile(resources(...documents), ETHERNET, running);

/** Sets in which anything may come, go and change. */
const sets: fc.Arbitrary<object[]> = fc
  .record({
    address: fc.constantFrom('192.0.2.1', '192.0.2.9'),
    networks: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('n0', 'n1', 'n2'),
        port: fc.constantFrom(4789, 8472),
        mtu: fc.constantFrom('auto', 1300),
      }),
      { selector: (n) => n.name, minLength: 1 },
    ),
    peers: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom(2, 3, 4),
        flood: fc.boolean(),
        port: fc.option(fc.constant(9999), { nil: undefined }),
      }),
      { selector: (p) => p.name },
    ),
    ports: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd'),
        network: fc.nat(2),
        mac: fc.constantFrom(undefined, '02:00:00:00:00:01'),
        mtu: fc.constantFrom(undefined, 1200),
        antiSpoof: fc.constantFrom('strict', 'off'),
      }),
      { selector: (p) => p.name },
    ),
  })
  .map(({ address, networks, peers, ports }) => [
    host(address),
    ...networks.map(({ name, port, mtu }, i) => network(name, { vxlan: { vni: 40 + i, port }, mtu })),
    ...peers.map(({ name, flood, port }) =>
      peer(`p${name}`, { addresses: [`192.0.2.${name}`], flood, port }),
    ),
    ...ports.map(({ name, network, ...spec }) =>
      port(name, { network: networks[network % networks.length]!.name, interface: name, ...spec }),
    ),
  ]);

/** What an executor holds: devices, rows, and tables by id. Refuses steps that make no sense. */
class Model {
  readonly devices = new Map<number, unknown>();
  readonly tables = new Map<string, Map<number, unknown>>();
  host: unknown;

  run(plan: Plan): void {
    const opened = [
      ...plan.openUnderlays,
      ...plan.createPorts.map((p) => ({ device: p.config.device, options: p.tap })),
    ];
    for (const { device, options } of opened) {
      if (this.devices.has(device)) throw new Error(`device ${device} is in use`);
      this.devices.set(device, options);
    }
    for (const { config, tap } of plan.setMtu) this.devices.set(config.device, tap);
    for (const op of plan.ops) {
      if (op.op === 'host') this.host = op.host;
      else if ('id' in op) {
        if (!this.table(op.op.slice('remove-'.length)).delete(op.id))
          throw new Error(`${op.op} ${op.id}: not there`);
      } else {
        const value = Object.values(op).find((v) => typeof v === 'object') as { id: number };
        this.table(op.op).set(value.id, value);
      }
    }
    for (const { config } of plan.removePorts) this.close(config.device);
    for (const { device } of plan.closeUnderlays) this.close(device);
  }

  expectIs(generation: Generation): void {
    const { underlays, ports, networks, peers } = generation;
    const entries = [...underlays, ...ports.map((p) => ({ device: p.config.device, options: p.tap }))];
    expect(this.devices).toEqual(new Map(entries.map((e) => [e.device, e.options])));
    expect(this.host).toEqual(generation.host);
    const tables = { network: networks, peer: peers, port: ports.map((p) => p.config) };
    for (const [name, values] of Object.entries(tables)) {
      expect(this.table(name)).toEqual(new Map((values as { id: number }[]).map((v) => [v.id, v])));
    }
  }

  private close(device: number): void {
    if (!this.devices.delete(device)) throw new Error(`device ${device} is not open`);
  }

  private table(name: string): Map<number, unknown> {
    const table = this.tables.get(name) ?? new Map();
    this.tables.set(name, table);
    return table;
  }
}

const isEmpty = (plan: Plan): boolean => Object.values(plan).every((steps) => steps.length === 0);

describe('diff', () => {
  it('M7: nothing is done between equal sets', () => {
    fc.assert(
      fc.property(sets, (documents) => {
        const first = compiled(documents, null);
        expect(isEmpty(diff(first, first))).toBe(true);
        expect(isEmpty(diff(first, compiled(documents, first)))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('M5: plans of any history end in exactly what the last set means', () => {
    fc.assert(
      fc.property(fc.array(sets, { minLength: 1, maxLength: 5 }), (history) => {
        const model = new Model();
        let running: Generation | null = null;
        for (const documents of history) {
          const next = compiled(documents, running);
          model.run(diff(running, next));
          model.expectIs(next);
          running = next;
        }
      }),
      { numRuns: 150 },
    );
  });

  const web = (spec: object = {}) =>
    port('web', { network: 'blue', netns: 'web', addresses: ['10.77.0.11'], ...spec });
  const base = [host(), blue(), peer('beta', { addresses: ['192.0.2.2'] }), web()];
  const planOf = (before: Step, after: Step) => {
    const running = compiled(before, null);
    return diff(running, compiled(after, running));
  };

  it('from nothing: host, networks, peers, ports', () => {
    const plan = diff(null, compiled(base, null));
    expect(plan.ops.map((op) => op.op)).toEqual(['host', 'network', 'peer', 'port']);
    expect([plan.openUnderlays.length, plan.createPorts.length]).toEqual([1, 1]);
  });

  it('to nothing: ports, peers, networks', () => {
    const plan = planOf(base, [host()]);
    expect(plan.ops.map((op) => op.op)).toEqual(['remove-port', 'remove-peer', 'remove-network', 'host']);
    expect([plan.closeUnderlays.length, plan.removePorts.length]).toEqual([1, 1]);
  });

  it('V18: a changed MTU only resizes', () => {
    const plan = planOf(base, [host(), blue({ mtu: 1400 }), base[2]!, web()]);
    expect(plan.setMtu.map(({ tap }) => tap.mtu)).toEqual([1400]);
    expect(plan.ops.map((op) => op.op)).toEqual(['network', 'port']);
    expect([...plan.createPorts, ...plan.removePorts, ...plan.openUnderlays]).toEqual([]);
  });

  it.each([
    ['MAC', { mac: '02:00:00:00:00:01' }],
    ['addresses', { addresses: ['10.77.0.12'] }],
    ['netns', { netns: 'other' }],
    ['interface', { interface: 'eth1' }],
    ['gateway', { defaultRoute: false }],
  ])('a changed %s makes the TAP anew under the same id', (_what, spec) => {
    const plan = planOf(base, [...base.slice(0, 3), web(spec)]);
    expect([plan.createPorts.length, plan.removePorts.length, plan.setMtu.length]).toEqual([1, 1, 0]);
    expect(plan.createPorts[0]!.config.id).toBe(plan.removePorts[0]!.config.id);
    expect(plan.createPorts[0]!.config.device).not.toBe(plan.removePorts[0]!.config.device);
    expect(plan.ops.map((op) => op.op)).toEqual(['remove-port', 'port']);
  });

  it('M7: a changed policy of a port touches no device', () => {
    const plan = planOf(base, [...base.slice(0, 3), web({ antiSpoof: 'off' })]);
    expect(plan.ops.map((op) => op.op)).toEqual(['port']);
    expect([...plan.createPorts, ...plan.removePorts, ...plan.setMtu]).toEqual([]);
  });
});

describe('actionOf', () => {
  it('says created, configured, unchanged, deleted', () => {
    const [a, same, changed] = resources(
      port('a', { network: 'blue' }),
      port('a', { network: 'blue', defaultRoute: true }),
      port('a', { network: 'blue', antiSpoof: 'off' }),
    );
    expect([actionOf(undefined, a), actionOf(a, same), actionOf(a, changed), actionOf(a, undefined)]).toEqual(
      ['created', 'unchanged', 'configured', 'deleted'],
    );
  });

  it('sees labels, and endpoints that can not be used', () => {
    const of = (rest: object, labels = {}) =>
      resources({ ...slice('s-1', 's', rest), metadata: { name: 's-1', labels } })[0]!;
    const [one, other] = ['127.0.0.1', '127.0.0.2'].map((a) => ({ endpoints: [{ addresses: [a] }] }));
    expect(actionOf(of(one!), of(one!))).toBe('unchanged');
    expect(actionOf(of(one!), of(other!))).toBe('configured');
    expect(actionOf(of(one!), of(one!, { a: 'b' }))).toBe('configured');
  });
});
