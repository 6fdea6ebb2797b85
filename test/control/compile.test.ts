import { describe, expect, it } from 'vitest';
import { DEVICES } from '../../src/card/layout.ts';
import { compile } from '../../src/control/compile.ts';
import { assignIds } from '../../src/control/ids.ts';
import { mtuWarnings } from '../../src/control/mtu.ts';
import type { Facts, Generation } from '../../src/control/types.ts';
import { formatMac, formatWords } from '../../src/wire/address.ts';
import { blue, ETHERNET, host, network, peer, port, resources } from './fixture.ts';

const beta = peer('beta', { addresses: ['192.0.2.2'] });
const generation = (...documents: readonly object[]) =>
  compile(resources(host(), ...documents), ETHERNET, null);
const mac = ({ hi, lo }: { hi: number; lo: number }) => formatMac(hi, lo);
const links = (mtus: Record<string, number>): Facts => ({
  mtuTowards(address) {
    const mtu = mtus[address];
    if (mtu === undefined) throw new Error('ENETUNREACH');
    return mtu;
  },
});

describe('V15: MTU', () => {
  const mtu = (facts: Facts, documents: readonly object[]) =>
    compile(resources(...documents), facts, null).networks[0]!.mtu;
  const tagged = { vxlan: { vni: 42, innerVlan: 'pass' } };
  const dual = host('192.0.2.1', { address6: '2001:db8::1' });
  const v6 = peer('six', { addresses: ['2001:db8::6'] });

  it.each([
    [1500, [host(), blue(), beta], 1450],
    [1500, [host(), blue(tagged), beta], 1446],
    [1500, [dual, blue(), v6], 1430],
    [1500, [dual, blue(tagged), v6], 1426],
    [9000, [host(), blue(), beta], 8950],
    [9000, [dual, blue(tagged), v6], 8926],
    [65536, [host(), blue(), beta], 9216],
    [1500, [host(), blue({ mtu: 1300 }), beta], 1300],
    [65536, [host('127.0.0.1'), blue()], 1450],
  ])('V15: link %i, case %#', (link, documents, expected) => {
    expect(mtu({ mtuTowards: () => link }, documents)).toBe(expected);
  });

  it('V15: the smaller of both families, and of all peers of the network', () => {
    expect(mtu(ETHERNET, [dual, blue(), beta, v6])).toBe(1430);
    const gamma = peer('gamma', { addresses: ['192.0.2.3'] });
    const facts = links({ '192.0.2.2': 9000, '192.0.2.3': 1400 });
    expect(mtu(facts, [host(), blue(), beta, gamma])).toBe(1350);
    expect(
      mtu(facts, [host(), blue(), beta, peer('gamma', { addresses: ['192.0.2.3'], networks: [] })]),
    ).toBe(8950);
  });

  it('V15: without peers the link of the underlay address, or 1500', () => {
    expect(mtu(links({ '192.0.2.1': 9000 }), [host(), blue()])).toBe(8950);
    expect(mtu(links({}), [host(), blue()])).toBe(1450);
  });

  it('V15: an underlay too narrow for IPv6 is a warning', () => {
    const narrow = links({ '192.0.2.1': 1300 });
    const six = blue({ subnets: [{ cidr: 'fd00::/64' }] });
    expect(mtuWarnings(resources(host(), six), narrow).map((w) => `${w.path}: ${w.message}`)).toEqual([
      'spec.subnets: the underlay carries 1250, and IPv6 needs 1280; use a wider underlay, or no IPv6',
    ]);
    expect(mtuWarnings(resources(host(), blue()), narrow)).toEqual([]);
  });

  it('V15: an explicit MTU above the computed one, and a peer without route, are warnings', () => {
    const set = resources(host(), blue({ mtu: 1500 }), beta);
    expect(mtuWarnings(set, ETHERNET).map((w) => `${w.path}: ${w.message}`)).toEqual([
      'spec.mtu: 1500 is above 1450, what the underlay carries; larger packets are lost, use auto',
    ]);
    expect(mtuWarnings(resources(host(), blue(), beta), links({})).map((w) => w.message)).toEqual([
      'no route to 192.0.2.2; nothing reaches this peer until there is one',
    ]);
  });
});

describe('MACs', () => {
  it('A4: the gateway MAC is the same on all hosts; A14: the router MAC is not', () => {
    const on = (address: string) => compile(resources(host(address), blue()), ETHERNET, null).networks[0]!;
    const [alpha, other] = [on('192.0.2.1'), on('192.0.2.2')];
    expect(mac(alpha.gatewayMac)).toBe('de:46:ed:e3:ca:49');
    expect(alpha.gatewayMac).toEqual(other.gatewayMac);
    expect(mac(alpha.routerMac)).not.toBe(mac(other.routerMac));
    for (const { hi } of [alpha.gatewayMac, alpha.routerMac, other.routerMac]) expect(hi & 0x300).toBe(0x200);
  });

  it('a port keeps its computed MAC wherever it is', () => {
    const { ports } = generation(blue(), port('a1', { network: 'blue' }));
    expect(mac(ports[0]!.config.mac)).toBe('a2:ed:17:d3:1e:41');
    expect(ports[0]!.tap.mac).toBe('a2:ed:17:d3:1e:41');
  });
});

describe('ports', () => {
  const dual = blue({
    subnets: [{ cidr: '10.77.0.0/24', gateway: '10.77.0.254' }, { cidr: 'fd00:77::/64' }],
  });

  it('take prefix and gateway from their subnets, one gateway per family', () => {
    const spec = { network: 'blue', netns: 'a', addresses: ['10.77.0.11', '10.77.0.12/32', 'fd00:77::b'] };
    expect(generation(dual, port('web', spec)).ports[0]!.tap).toEqual({
      netns: '/run/netns/a',
      name: 'eth0',
      mac: expect.any(String),
      mtu: 1450,
      addresses: [
        { address: '10.77.0.11', prefix: 24 },
        { address: '10.77.0.12', prefix: 32 },
        { address: 'fd00:77::b', prefix: 64 },
      ],
      gateways: ['10.77.0.254', 'fd00:77::1'],
    });
    expect(generation(dual, port('web', { ...spec, defaultRoute: false })).ports[0]!.tap.gateways).toEqual(
      [],
    );
  });

  it('N33: neither an internal network nor the host’s own port brings a default route', () => {
    const spec = { network: 'blue', netns: 'a', addresses: ['10.77.0.11'] };
    const [pod] = generation(blue({ internal: true }), port('web', spec)).ports;
    expect(pod!.tap.gateways).toEqual([]);
    expect(pod!.config).not.toHaveProperty('isHost');
    const own = port('node', { network: 'blue', addresses: ['10.77.0.2'] });
    const { ports, networks } = generation(blue(), own);
    expect(ports[0]!.tap).toMatchObject({ netns: null, name: 'tw-blue', gateways: [] });
    expect(ports[0]!.config.isHost).toBe(true);
    expect(networks[0]).not.toHaveProperty('internal');
    expect(generation(blue({ internal: true })).networks[0]!.internal).toBe(true);
  });

  it('have their own MTU up to the network’s', () => {
    const mtu = (mtu: number) => generation(dual, port('web', { network: 'blue', mtu })).ports[0]!;
    expect([mtu(1400).tap.mtu, mtu(1400).config.mtu, mtu(1500).tap.mtu]).toEqual([1400, 1400, 1450]);
  });
});

describe('underlays and peers', () => {
  it('one device per address and UDP port, shared by networks', () => {
    const dual = host('192.0.2.1', { address6: '2001:db8::1' });
    const red = network('red', { vxlan: { vni: 43 } });
    const odd = network('odd', {
      vxlan: { vni: 42, port: 8472, checksum: 'off', df: 'unset', tos: 'inherit' },
    });
    const g = compile(resources(dual, blue(), red, odd), ETHERNET, null);
    expect(g.underlays.map(({ options: o }) => `${o.address} ${o.port} ${o.checksum} ${o.df}`)).toEqual([
      '192.0.2.1 4789 true true',
      '192.0.2.1 8472 false false',
      '2001:db8::1 4789 true true',
      '2001:db8::1 8472 true false',
    ]);
    expect(g.networks.map((n) => [n.name, n.underlay4, n.underlay6, n.dscp])).toEqual([
      ['blue', 0, 2, 0],
      ['odd', 1, 3, -1],
      ['red', 0, 2, 0],
    ]);
    expect(g.host.vxlanPorts).toEqual([4789, 8472]);
    expect(g.host.underlayAddresses.map(formatWords)).toEqual(['192.0.2.1', '2001:db8::1']);
  });

  it('a peer is a member of its networks, with one row per UDP port', () => {
    const odd = network('odd', { vxlan: { vni: 42, port: 8472 } });
    const g = generation(
      blue(),
      odd,
      beta,
      peer('gamma', { addresses: ['192.0.2.3'], port: 9999, networks: ['blue'] }),
    );
    expect(
      g.peers.map((p) => [p.id, p.name, p.memberships.map((m) => [m.network, m.remote, m.port])]),
    ).toEqual([
      [
        1024,
        'beta',
        [
          [0, 0, 4789],
          [1, 1, 8472],
        ],
      ],
      [1025, 'gamma', [[0, 2, 9999]]],
    ]);
    expect(g.remotes.map((r) => `${r.row} ${formatWords(r.address)} ${r.port}`)).toEqual([
      '0 192.0.2.2 4789',
      '1 192.0.2.2 8472',
      '2 192.0.2.3 9999',
    ]);
    expect(g.host.vxlanPorts).toEqual([4789, 8472, 9999]);
  });

  it('static entries without network are in every network, their address where it belongs', () => {
    const red = network('red', { vxlan: { vni: 43 }, subnets: [{ cidr: '10.78.0.0/24' }] });
    const entry = { mac: '02:00:00:00:00:09', ip: '10.78.0.9' };
    const g = generation(blue(), red, peer('beta', { addresses: ['192.0.2.2'], static: [entry] }));
    expect(
      g.peers[0]!.static.map((e) => [e.network, mac(e.mac), e.address && formatWords(e.address)]),
    ).toEqual([
      [0, entry.mac, null],
      [1, entry.mac, '10.78.0.9'],
    ]);
  });
});

describe('ids', () => {
  const web = (name: string) => port(name, { network: 'blue', interface: name });
  const ids = (g: Generation) => Object.fromEntries(g.ports.map((p) => [p.config.name, p.config.id]));
  const devices = (g: Generation) => [...g.underlays, ...g.ports.map((p) => p.config)].map((d) => d.device);

  it('M5: do not depend on the order of documents', () => {
    const documents = [host(), blue(), beta, web('a'), web('b')];
    expect(compile(resources(...documents.toReversed()), ETHERNET, null)).toEqual(
      compile(resources(...documents), ETHERNET, null),
    );
  });

  it('M7: the same set is the same generation; ids stay with their object and rest when freed', () => {
    let running: Generation | null = null;
    const step = (...names: string[]): Generation => {
      running = compile(resources(host(), blue(), ...names.map(web)), ETHERNET, running);
      return running;
    };
    const first = step('a', 'b');
    expect(ids(first)).toEqual({ a: 2, b: 3 });
    expect(step('a', 'b')).toEqual(first);
    expect(ids(step('b', 'c'))).toEqual({ b: 3, c: 4 });
    expect(ids(step('b', 'c', 'd'))).toEqual({ b: 3, c: 4, d: 2 });
  });

  it('M4: what is compiled and not put into effect leaves no trace', () => {
    const set = (...names: string[]) => resources(host(), blue(), ...names.map(web));
    const running = compile(set('a', 'b'), ETHERNET, null);
    compile(set('c'), ETHERNET, running);
    expect(ids(compile(set('a', 'b', 'c'), ETHERNET, running))).toEqual({ a: 2, b: 3, c: 4 });
  });

  it('devices of TAPs and underlays are distinct, also from those being replaced', () => {
    const before = generation(blue(), web('a'), web('b'));
    const changed = port('a', { network: 'blue', interface: 'a', mac: '02:00:00:00:00:01' });
    const after = compile(resources(host('192.0.2.9'), blue(), changed, web('b')), ETHERNET, before);
    expect(new Set(devices(before)).size).toBe(3);
    expect(new Set([...devices(before), ...devices(after)]).size).toBe(5);
    expect(ids(after)).toEqual(ids(before));
    expect(Math.max(...devices(after))).toBeLessThan(DEVICES);
  });

  it('a full table reuses ids that are just freed, and says when it overflows', () => {
    const running = new Map([
      ['a', 0],
      ['b', 1],
    ]);
    expect(assignIds('things', ['b', 'c'], running, 0, 2)).toEqual(
      new Map([
        ['b', 1],
        ['c', 0],
      ]),
    );
    expect(() => assignIds('things', ['a', 'b', 'c'], running, 0, 2)).toThrow('too many things: at most 2');
  });
});
