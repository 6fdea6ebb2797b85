/** Endpoints that cannot be reached from the client's network: who takes their flows, and what that costs. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { EndpointSet } from '../../src/service/services.ts';
import { address4, Fabric, IPS, MACS, macOf, network, port, service } from '../fabric.ts';
import { ethernet, readIpv4, tcp } from '../frames.ts';

const VIP = '10.96.0.10';
const shop = (ips: string[], weight = 1): Op => ({
  op: 'service',
  service: service({ backends: ips.map((ip) => ({ address: address4(ip), port: 8080, weight })) }),
});
/** Addresses of no network here. */
const away = (count: number) => Array.from({ length: count }, (_, i) => `172.16.${i >> 8}.${i & 255}`);
let sport = 1000;
const open = (fabric: Fabric) => {
  const syn = tcp({ from: IPS.a, to: VIP, sport: ++sport, dport: 80 });
  return fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, syn));
};
/** How often it was asked whether an endpoint can be reached. */
const asked = (fabric: Fabric) => vi.spyOn(fabric.dataplane.pipeline.nat, 'isReachable').mock;

describe('endpoints out of reach', () => {
  it('S25: the first SYN to a thousand of them finds out, the others know', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([shop(away(1000))]);
    const { calls } = asked(fabric);
    expect(readIpv4(open(fabric)[0]!.frame).icmp).toBe('3/0');
    expect(calls.length).toBe(1000);
    for (let i = 0; i < 100; i++) open(fabric);
    expect(calls.length - 1000).toBe(100 * 16);
    expect(fabric.drops()).toEqual({ NO_ROUTE: 101 });
  });

  it('S25: neither does the only one that can be reached cost a walk', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([shop([...away(700), IPS.b, ...away(300).map((ip) => ip.replace('172', '192'))])]);
    const { calls } = asked(fabric);
    for (let i = 0; i < 1500; i++) expect(open(fabric).map(({ to }) => to)).toEqual(['b']);
    expect(calls.length).toBeLessThan(2 * 1001 + 1500 * 17);
  });

  it('S25, M7: what changes is asked again: the service, the network, the host port', () => {
    const far = away(40);
    const fabric = new Fabric();
    const reached = () => open(fabric).map(({ to, frame }) => `${to} ${readIpv4(frame).to}`)[0];
    const apply = (...ops: Op[]) => fabric.dataplane.apply(ops);
    apply(shop(far));
    const refused = `a ${IPS.a}`;
    expect(reached()).toBe(refused);
    fabric.wait(1000); // N10
    apply(shop([...far.slice(0, 39), IPS.b]));
    expect(reached()).toBe(`b ${IPS.b}`);
    apply(shop(far));
    expect(reached()).toBe(refused);
    apply({ op: 'port', port: port('c', { isHost: true }) });
    expect(reached()).toMatch(/^c 172\.16\.0\./);
    fabric.wait(1000);
    apply({ op: 'port', port: port('c') });
    expect(reached()).toBe(refused);
    const { subnets } = network();
    const wide = { address: address4('172.16.0.0'), prefix: 112, gateway: address4('172.16.255.1') };
    apply({ op: 'network', network: network({ subnets: [...subnets, wide] }) });
    apply({ op: 'port', port: port('b', { mac: macOf(MACS.b), addresses: far.map(address4) }) });
    expect(reached()).toMatch(/^b 172\.16\.0\./);
  });

  it('S25: remembered or not, it is the next one that can be reached and weighs something', () => {
    const fabric = new Fabric();
    const { pipeline } = fabric.dataplane;
    const runs = fc.array(
      fc.tuple(fc.integer({ min: 1, max: 60 }), fc.constantFrom('near', 'far', 'light')),
      {
        minLength: 1,
        maxLength: 8,
      },
    );
    fc.assert(
      fc.property(runs, fc.array(fc.nat(), { maxLength: 40 }), (made, picks) => {
        const kinds = made.flatMap(([count, kind]) => new Array<string>(count).fill(kind));
        const backends = kinds.map((kind, i) => ({
          address: address4(`${kind === 'far' ? '172.16' : '10.77'}.0.${i & 255}`),
          port: 8000 + i,
          weight: kind === 'light' ? 0 : 1,
        }));
        fabric.dataplane.apply([{ op: 'service', service: service({ backends }) }]);
        const size = kinds.length;
        for (const pick of picks) {
          const picked = pick % size;
          const steps = kinds.findIndex((_, i) => kinds[(picked + i) % size] === 'near');
          const expected = steps < 0 ? -1 : (picked + steps) % size;
          expect(pipeline.reach.find(0, EndpointSet.CLUSTER, 0, picked)).toBe(expected);
        }
      }),
      { numRuns: 300 },
    );
  });
});
