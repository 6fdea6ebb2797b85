import { describe, expect, it } from 'vitest';
import type { ServiceConfig } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { AffinityRow } from '../../src/dataplane/messages.ts';
import { address4, Fabric, IPS, MACS, service } from '../fabric.ts';
import { address6, dual, IPS6 } from '../fabric6.ts';
import { ethernet, tcp, udp } from '../frames.ts';
import { tcp6 } from '../frames6.ts';

const VIP = '10.96.0.10';
const TIMEOUT = 10_800_000;
const backends = (...ips: string[]) => ips.map((ip) => ({ address: address4(ip), port: 8080 }));
const sticky = (overrides: Partial<ServiceConfig> = {}) =>
  service({ affinity: TIMEOUT, backends: backends(IPS.b, IPS.c), ...overrides });
const apply = (fabric: Fabric, ...services: ServiceConfig[]) =>
  fabric.dataplane.apply(services.map((s) => ({ op: 'service', service: s })));
const start = (...services: ServiceConfig[]) => {
  const fabric = new Fabric();
  apply(fabric, ...services);
  return fabric;
};

let port = 1024;
/** A new connection of `from` through port a. @returns the port or peer its SYN left by. */
const open = (fabric: Fabric, from: string = IPS.a, to = VIP, dport = 80, sport = ++port): string =>
  fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, tcp({ from, to, sport, dport })))[0]!.to;
const affinities = (fabric: Fabric) => dump(fabric.dataplane, 'affinities') as AffinityRow[];
const other = (backend: string) => (backend === 'b' ? 'c' : 'b');

describe('ClientIP affinity', () => {
  it('S26: 15 connections of one client reach one backend, whatever their source port', () => {
    const fabric = start(sticky());
    expect(new Set(Array.from({ length: 15 }, () => open(fabric))).size).toBe(1);
    expect(affinities(fabric)).toMatchObject([
      { client: IPS.a, backend: `${IPS.b}:8080`, hits: 15, expires: 10_800 },
    ]);
  });

  it('S26: clients are told apart', () => {
    const fabric = start(sticky());
    const chosen = Array.from({ length: 20 }, (_, i) => open(fabric, `10.77.0.${100 + i}`));
    expect(chosen.filter((to) => to === 'b')).toHaveLength(10);
    expect(Array.from({ length: 20 }, (_, i) => open(fabric, `10.77.0.${100 + i}`))).toEqual(chosen);
  });

  it('S26: Services are told apart, and ports of one Service', () => {
    const fabric = start(
      sticky(),
      sticky({ id: 1, name: 'default/shop:admin', port: 81, backends: backends(IPS.c, IPS.far) }),
    );
    expect(open(fabric)).toBe('b');
    expect(open(fabric, IPS.a, VIP, 81)).toBe('c');
    expect(affinities(fabric)).toHaveLength(2);
  });

  it('S26, N3: the same address in another network is another client', () => {
    const fabric = start(sticky({ backends: backends('10.77.0.200', '10.77.0.201') }));
    const rowsBefore = affinities(fabric).length;
    open(fabric);
    fabric.from(
      'r',
      ethernet({ src: MACS.r, dst: MACS.redGateway }, tcp({ from: IPS.a, to: VIP, sport: 1, dport: 80 })),
    );
    expect([rowsBefore, affinities(fabric).length]).toEqual([0, 2]);
  });

  it('S26: it ends with its timeout, to the millisecond', () => {
    const fabric = start(sticky({ affinity: 5000 }));
    const first = open(fabric);
    fabric.advance(4999);
    expect(open(fabric)).toBe(first);
    fabric.advance(5000);
    expect(open(fabric)).toBe(other(first));
  });

  it.each([1000, 86_400_000])('S26: a timeout of %i ms', (affinity) => {
    const fabric = start(sticky({ affinity }));
    const first = open(fabric);
    fabric.advance(affinity - 1);
    expect(open(fabric)).toBe(first);
    fabric.advance(affinity);
    expect(affinities(fabric)).toEqual([]);
    expect(open(fabric)).toBe(other(first));
  });

  it('S27: every new flow refreshes it', () => {
    const fabric = start(sticky({ affinity: 5000 }));
    const first = open(fabric);
    for (let i = 0; i < 10; i++) {
      fabric.advance(4000);
      expect(open(fabric)).toBe(first);
    }
  });

  it('S27: absolute, it ends with the timeout of its first choice, however often it is followed', () => {
    const fabric = start(sticky({ affinity: 5000, affinityMode: 'absolute' }));
    const first = open(fabric);
    fabric.advance(4000);
    expect(open(fabric)).toBe(first);
    expect(affinities(fabric)).toMatchObject([{ hits: 2, expires: 1 }]);
    fabric.advance(999);
    expect(open(fabric)).toBe(first);
    fabric.advance(1);
    expect(affinities(fabric)).toEqual([]);
    const second = open(fabric);
    expect(second).toBe(other(first));
    fabric.advance(4999);
    expect(open(fabric)).toBe(second);
  });

  it('S27: absolute, it begins anew where its endpoint left', () => {
    const fabric = start(sticky({ affinity: 5000, affinityMode: 'absolute' }));
    const first = open(fabric);
    const rest = backends(first === 'b' ? IPS.c : IPS.b);
    fabric.advance(3000);
    apply(fabric, sticky({ affinity: 5000, affinityMode: 'absolute', backends: rest }));
    expect(open(fabric)).toBe(other(first));
    apply(fabric, sticky({ affinity: 5000, affinityMode: 'absolute' }));
    fabric.advance(4999);
    expect(open(fabric)).toBe(other(first));
    fabric.advance(1);
    expect(affinities(fabric)).toEqual([]);
  });

  it('S27: packets of a flow do not refresh it', () => {
    const fabric = start(
      sticky({ affinity: 5000 }),
      sticky({ id: 1, name: 'default/shop:udp', protocol: 17, affinity: 5000 }),
    );
    const ask = (sport: number) =>
      fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from: IPS.a, to: VIP, sport, dport: 80 })),
      )[0]!.to;
    const first = ask(7);
    for (let i = 0; i < 6; i++) {
      fabric.advance(1000);
      expect(ask(7)).toBe(first);
    }
    expect(ask(8)).toBe(other(first));
    expect(ask(7)).toBe(first);
  });

  it('S27: nor does a retransmitted SYN', () => {
    const fabric = start(sticky({ affinity: 5000 }));
    const first = open(fabric, IPS.a, VIP, 80, 7);
    for (let i = 0; i < 5; i++) {
      fabric.advance(1000);
      open(fabric, IPS.a, VIP, 80, 7);
    }
    expect(open(fabric)).toBe(other(first));
  });

  it('S27: with its endpoint it goes at once, and the client is remembered elsewhere', () => {
    const fabric = start(sticky());
    expect(open(fabric)).toBe('b');
    apply(fabric, sticky({ backends: backends(IPS.c) }));
    expect(affinities(fabric)).toEqual([]);
    expect([open(fabric), open(fabric)]).toEqual(['c', 'c']);
    apply(fabric, sticky());
    expect([open(fabric), open(fabric)]).toEqual(['c', 'c']);
  });

  it('S27: an endpoint that left and came back is no longer remembered', () => {
    const fabric = start(sticky({ backends: backends(IPS.c, IPS.b) }));
    apply(fabric, sticky());
    expect(open(fabric)).toBe('b');
    apply(fabric, sticky({ backends: [] }));
    apply(fabric, sticky());
    expect(affinities(fabric)).toEqual([]);
  });

  it('S27: an endpoint whose port changed is chosen anew', () => {
    const fabric = start(sticky());
    const first = open(fabric);
    apply(fabric, sticky({ backends: [IPS.b, IPS.c].map((ip) => ({ address: address4(ip), port: 9090 })) }));
    open(fabric);
    expect(affinities(fabric)[0]!.backend).toMatch(/:9090$/);
    expect(['b', 'c']).toContain(first);
  });

  it('S27: other endpoints may come and go', () => {
    const fabric = start(sticky());
    open(fabric);
    expect(open(fabric, IPS.c)).toBe('c');
    apply(fabric, sticky({ backends: backends(IPS.b, IPS.c, IPS.far, '10.77.0.99') }));
    expect([open(fabric), open(fabric, IPS.c)]).toEqual(['b', 'c']);
  });

  it('S29: None → ClientIP → None takes effect on the next new flow', () => {
    const fabric = start(sticky({ affinity: 0 }));
    const spread = () => new Set(Array.from({ length: 8 }, () => open(fabric))).size;
    expect(spread()).toBe(2);
    expect(affinities(fabric)).toEqual([]);
    apply(fabric, sticky());
    expect(spread()).toBe(1);
    apply(fabric, sticky({ affinity: 0 }));
    expect(affinities(fabric)).toEqual([]);
    expect(spread()).toBe(2);
  });

  it('S26: a shorter timeout counts from the last new flow', () => {
    const fabric = start(sticky());
    const first = open(fabric);
    fabric.advance(6000);
    apply(fabric, sticky({ affinity: 5000 }));
    expect(open(fabric)).toBe(other(first));
  });

  it('S30: affinity never moves a living flow', () => {
    const fabric = start(sticky({ affinity: 1000 }));
    const first = open(fabric, IPS.a, VIP, 80, 7);
    fabric.advance(2000);
    expect(open(fabric)).toBe(other(first));
    expect(open(fabric, IPS.a, VIP, 80, 7)).toBe(first);
  });

  it('S27: a removed Service forgets its clients; the next owner of its id starts afresh', () => {
    const fabric = start(sticky());
    open(fabric);
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(affinities(fabric)).toEqual([]);
    apply(fabric, sticky({ name: 'other/new:http', backends: backends(IPS.c, IPS.b) }));
    expect(open(fabric)).toBe('c');
  });

  it('S31, S27: a UDP client with affinity to an endpoint that left is re-homed', () => {
    const fabric = start(sticky({ protocol: 17 }));
    const ask = () =>
      fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from: IPS.a, to: VIP, sport: 9, dport: 80 })),
      )[0]!.to;
    expect(ask()).toBe('b');
    apply(fabric, sticky({ protocol: 17, backends: backends(IPS.c) }));
    expect(ask()).toBe('c');
  });

  it('S26: clients of IPv6 are told apart by all of their address', () => {
    const vip = 'fd00:96::10';
    const fabric = dual({
      op: 'service',
      service: sticky({
        vip: address6(vip),
        backends: [IPS6.b, IPS6.c].map((ip) => ({ address: address6(ip), port: 8080 })),
      }),
    });
    let sport = 1;
    const open6 = (from: string) =>
      fabric.from(
        'a',
        ethernet(
          { src: MACS.a, dst: MACS.gateway, type: 0x86dd },
          tcp6({ from, to: vip, sport: sport++, dport: 80 }),
        ),
      )[0]!.to;
    const clients = ['fd00:77::11', 'fd00:77:0:0:1::11', 'fd00:77:0:0:0:1:0:11', 'fd00:78::11'];
    const chosen = clients.map(open6);
    expect(chosen).toEqual(['b', 'c', 'b', 'c']);
    expect(clients.map(open6)).toEqual(chosen);
    expect(affinities(fabric)).toHaveLength(4);
  });

  it('S27: an endpoint keeps its clients when its place among the others changes', () => {
    const fabric = start(sticky({ backends: backends(IPS.b, IPS.c) }));
    open(fabric);
    expect(open(fabric, IPS.other)).toBe('c');
    apply(fabric, sticky({ backends: backends(IPS.a, IPS.b, IPS.c) }));
    expect(open(fabric, IPS.other)).toBe('c');
    apply(fabric, sticky({ backends: backends(IPS.c) }));
    expect(open(fabric, IPS.other)).toBe('c');
  });
});
