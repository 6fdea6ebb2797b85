import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Address, ServiceConfig } from '../../src/dataplane/config.ts';
import { RecordWriter } from '../../src/service/record.ts';
import { Services } from '../../src/service/services.ts';
import { address4 } from '../fabric.ts';

const make = (id: number, vip: number, port: number, protocol: number, backends = 2): ServiceConfig => ({
  id,
  name: `default/s${id}:p`,
  vip: address4(`10.96.${vip >> 8}.${vip & 255}`),
  port,
  protocol,
  affinity: id * 1000,
  backends: Array.from({ length: backends }, (_, i) => ({
    address: address4(`10.77.0.${i + 1}`),
    port: 8000 + (id % 1000),
  })),
});
const find = (
  { frontends }: Services,
  { vip, protocol, port }: Pick<ServiceConfig, 'vip' | 'protocol' | 'port'>,
) => {
  const row = frontends.find(vip[0], vip[1], vip[2], vip[3], protocol, port);
  return row < 0 ? -1 : frontends.owner[row]!;
};
const isVip4 = (services: Services, address: number) =>
  services.frontends.hasClusterIP(0, 0, 0xffff, address);

describe('the service table', () => {
  it('S15, S17, S25: behaves like a map from (VIP, protocol, port), and knows every VIP', () => {
    const one = fc.record({
      id: fc.nat(30),
      vip: fc.nat(12),
      port: fc.constantFrom(53, 80, 443),
      protocol: fc.constantFrom(6, 17),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 80 }), (steps) => {
        const services = new Services(5);
        const model = new Map<number, ServiceConfig>();
        for (const { id, vip, port, protocol, remove } of steps) {
          const config = make(id, vip, port, protocol);
          const isTaken = [...model.values()].some(
            (m) => m.id !== id && m.vip[3] === config.vip[3] && m.port === port && m.protocol === protocol,
          );
          if (remove) {
            services.remove(id);
            model.delete(id);
          } else if (!isTaken) {
            services.set(config);
            model.set(id, config);
          }
          expect(services.count).toBe(model.size);
        }
        for (let vip = 0; vip <= 12; vip++) {
          for (const protocol of [6, 17]) {
            for (const port of [53, 80, 443]) {
              const wanted = make(0, vip, port, protocol);
              const owner = [...model.values()].find(
                (m) => m.vip[3] === wanted.vip[3] && m.port === port && m.protocol === protocol,
              );
              expect(find(services, wanted)).toBe(owner?.id ?? -1);
            }
          }
          const address = make(0, vip, 1, 6).vip[3];
          expect(isVip4(services, address)).toBe([...model.values()].some((m) => m.vip[3] === address));
        }
      }),
    );
  });

  it('S25: grows to any id and keeps what it has', () => {
    const services = new Services(5);
    const all = [0, 1, 1023, 1024, 5000, 100_000].map((id, i) => make(id, i, 80, 6));
    for (const config of all) services.set(config);
    for (const config of all) {
      expect(find(services, config)).toBe(config.id);
      expect(services.affinity[config.id]).toBe(config.affinity);
      expect(services.hasEndpoint(config.id, ...config.backends[0]!.address, config.backends[0]!.port)).toBe(
        true,
      );
    }
    expect(services.count).toBe(all.length);
  });

  it('S25: many VIPs, all found again after half of them left', () => {
    const services = new Services(5);
    const all = Array.from({ length: 4000 }, (_, i) => make(i, i, 80, 6));
    for (const config of all) services.set(config);
    for (const { id } of all) if (id % 2 === 0) services.remove(id);
    expect(all.map((config) => find(services, config))).toEqual(
      all.map(({ id }) => (id % 2 === 0 ? -1 : id)),
    );
    expect(all.every(({ id, vip }) => isVip4(services, vip[3]) === (id % 2 === 1))).toBe(true);
  });

  it('S26, S31: the owner of an id changes with its removal, not with its configuration', () => {
    const services = new Services(5);
    services.set(make(3, 1, 80, 6));
    const first = services.generation[3]!;
    services.set(make(3, 1, 80, 6, 5));
    expect(services.generation[3]).toBe(first);
    services.remove(3);
    services.set(make(3, 1, 80, 6));
    expect(services.generation[3]).not.toBe(first);
  });

  it('S31, S33: a backend is its address and its port', () => {
    const services = new Services(5);
    services.set(make(3, 1, 80, 6));
    const has = (ip: string, port: number) => services.hasEndpoint(3, ...address4(ip), port);
    expect([
      has('10.77.0.1', 8003),
      has('10.77.0.2', 8003),
      has('10.77.0.1', 8004),
      has('10.77.0.3', 8003),
    ]).toEqual([true, true, false, false]);
    expect(services.hasEndpoint(3, 1, 0, 0xffff, address4('10.77.0.1')[3], 8003)).toBe(false);
  });

  it('S9: an IPv6 VIP is found and is no IPv4 one', () => {
    const services = new Services(5);
    const config: ServiceConfig = { ...make(1, 1, 80, 6), vip: [0xfd000096 | 0, 0, 0, 0x22] };
    services.set(config);
    expect(find(services, config)).toBe(1);
    expect(isVip4(services, 0x22)).toBe(false);
    services.remove(1);
    expect(find(services, config)).toBe(-1);
  });

  it('S15: removing what is not there changes nothing', () => {
    const services = new Services(5);
    services.remove(7);
    services.remove(1_000_000);
    expect(services.count).toBe(0);
    expect(services.generation[7]).toBe(0);
  });

  it('S25: grows in steps between which everything stays found', () => {
    const services = new Services(5);
    const all = Array.from({ length: 1000 }, (_, i) => make(i, i, 80, 6));
    for (const config of all) services.set(config);
    let steps = 0;
    for (const _ of services.grow(100_000, 0)) {
      steps++;
      expect(find(services, all[steps % 1000]!)).toBe(steps % 1000);
    }
    expect(services.capacity).toBe(131_072);
    expect(all.map((config) => find(services, config))).toEqual(all.map(({ id }) => id));
    expect(all.every(({ vip }) => isVip4(services, vip[3]))).toBe(true);
    expect(services.name(999)).toBe('default/s999:p');
  });

  it('M10: an address taken over is never nobody’s, and its old owner goes in peace', () => {
    const services = new Services(5);
    services.set(make(1, 1, 80, 6));
    services.set({ ...make(2, 1, 80, 6), name: 'default/heir:p' });
    expect(find(services, make(0, 1, 80, 6))).toBe(2);
    services.remove(1);
    expect(find(services, make(0, 1, 80, 6))).toBe(2);
    expect(isVip4(services, make(0, 1, 80, 6).vip[3])).toBe(true);
    services.set(make(1, 5, 80, 6));
    services.remove(2);
    expect([find(services, make(0, 1, 80, 6)), find(services, make(0, 5, 80, 6))]).toEqual([-1, 1]);
    expect(isVip4(services, make(0, 1, 80, 6).vip[3])).toBe(false);
    expect(services.count).toBe(1);
  });

  it('S31, S32: an address serves as backend, as serving address without another port, or when nobody serves', () => {
    const addresses = fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { maxLength: 4 });
    const ports = fc.constantFrom(80, 81);
    const word = (n: number) => address4(`10.77.0.${n}`);
    fc.assert(
      fc.property(addresses, fc.option(addresses, { nil: undefined }), ports, (ready, serving, port) => {
        const backends = ready.map((n) => ({ address: word(n), port }));
        const services = new Services(5);
        services.set({ ...make(3, 1, 80, 17), backends, ...(serving && { serving: serving.map(word) }) });
        const alive = serving ?? ready;
        for (let n = 1; n <= 4; n++) {
          for (const asked of [80, 81]) {
            const isBackend = ready.includes(n) && asked === port;
            const stays = alive.length === 0 || isBackend || (alive.includes(n) && !ready.includes(n));
            expect(services.serves(3, ...word(n), asked)).toBe(stays);
            expect(services.hasEndpoint(3, ...word(n), asked)).toBe(isBackend);
          }
        }
      }),
    );
  });

  it('a record carries names in any script', () => {
    const services = new Services(5);
    const names = ['default/a:80', 'ünï/cödé:日本', 'x'.repeat(300)];
    const writer = new RecordWriter();
    names.forEach((name, id) => {
      writer.add({ ...make(id, id, 80, 6), name });
    });
    const { records, count } = writer.finish();
    for (let i = 0, at = 0; i < count; i++) at = services.put(records, at);
    expect(names.map((_, id) => services.name(id))).toEqual(names);
  });

  it('S17, M10: any number of frontends and node ports of both families, taken over, found, and given back', () => {
    const ADDRESSES: readonly Address[] = [
      address4('10.96.0.1'),
      address4('203.0.113.1'),
      [0xfd000096 | 0, 0, 0, 1],
      [0x20010db8, 0, 0, 1],
    ];
    const KINDS = ['clusterIP', 'externalIP', 'loadBalancer'] as const;
    const frontend = fc.record({
      kind: fc.nat(2),
      address: fc.nat(1),
      port: fc.constantFrom(53, 80),
    });
    const step = fc.record({
      id: fc.nat(6),
      is6: fc.boolean(),
      protocol: fc.constantFrom(6, 17),
      nodePort: fc.constantFrom(0, 30_000, 30_001),
      frontends: fc.array(frontend, { maxLength: 4 }),
      remove: fc.boolean(),
    });
    const addressOf = (is6: boolean, index: number) => ADDRESSES[(is6 ? 2 : 0) + index]!;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const services = new Services(5);
        /** "address protocol port" and "protocol node port family" → owner and kind. */
        const found = new Map<string, readonly [number, number]>();
        const forget = (id: number) => {
          for (const [key, [owner]] of found) if (owner === id) found.delete(key);
        };
        for (const { id, is6, protocol, nodePort, frontends, remove } of steps) {
          forget(id);
          if (remove) {
            services.remove(id);
            continue;
          }
          services.set({
            ...make(id, 0, 80, protocol),
            vip: addressOf(is6, 0),
            nodePort,
            frontends: frontends.map(({ kind, address, port }) => ({
              kind: KINDS[kind]!,
              address: addressOf(is6, address),
              port,
            })),
          });
          if (nodePort !== 0) found.set(`${protocol} ${nodePort} ${is6}`, [id, 3]);
          for (const { kind, address, port } of frontends) {
            const key = `${addressOf(is6, address)} ${protocol} ${port}`;
            if (found.get(key)?.[0] !== id) found.set(key, [id, kind]);
          }
        }
        for (const protocol of [6, 17]) {
          for (const is6 of [false, true]) {
            for (const port of [30_000, 30_001]) {
              const owner = found.get(`${protocol} ${port} ${is6}`)?.[0] ?? -1;
              expect(services.nodePorts.find(is6, protocol, port)).toBe(owner);
            }
          }
          for (const address of ADDRESSES) {
            for (const port of [53, 80]) {
              const row = services.frontends.find(...address, protocol, port);
              const [owner, kind] = found.get(`${address} ${protocol} ${port}`) ?? [-1, -1];
              expect(row < 0 ? -1 : services.frontends.owner[row]).toBe(owner);
              if (row >= 0) expect(services.frontends.kind[row]).toBe(kind);
            }
          }
        }
        for (const address of ADDRESSES) {
          const kinds = [...found]
            .filter(([key]) => key.startsWith(`${address} `))
            .map(([, [, kind]]) => kind);
          expect(services.frontends.has(...address)).toBe(kinds.length > 0);
          expect(services.frontends.hasClusterIP(...address)).toBe(kinds.includes(0));
        }
      }),
    );
  });

  it('S25: frontends grow in steps, while everything stays found', () => {
    const services = new Services(5);
    const frontends = (id: number) =>
      Array.from({ length: 4 }, (_, i) => ({
        kind: i === 0 ? ('clusterIP' as const) : ('externalIP' as const),
        address: address4(`10.${96 + i}.${id >> 8}.${id & 255}`),
        port: 80,
      }));
    const all = Array.from({ length: 250 }, (_, id) => ({
      ...make(id, id, 80, 6),
      frontends: frontends(id),
    }));
    for (const config of all) services.set(config);
    let steps = 0;
    for (const _ of services.grow(250, 5000)) {
      steps++;
      expect(find(services, all[steps % 250]!)).toBe(steps % 250);
    }
    expect(services.frontends.capacity).toBe(8192);
    for (const { id, frontends } of all) {
      for (const { address, port } of frontends)
        expect(find(services, { vip: address, port, protocol: 6 })).toBe(id);
    }
    for (const { id } of all) services.remove(id);
    expect(services.frontends.has(...all[7]!.frontends[2]!.address)).toBe(false);
    expect(services.count).toBe(0);
  });
});
