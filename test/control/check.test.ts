import { describe, expect, it } from 'vitest';
import { checkSet } from '../../src/control/check.ts';
import { gatewayMac, routerMac } from '../../src/control/identity.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { besideSlices, blue, host, network, peer, port, resources, service, slice } from './fixture.ts';

/** "path: message" of the errors and warnings of a set with a Host. */
function check(...documents: readonly object[]): { errors: string[]; warnings: string[] } {
  const { problems, warnings } = checkSet(resources(host(), ...documents));
  const line = ({ path, message }: { path: string; message: string }) => `${path}: ${message}`;
  return { errors: problems.map(line), warnings: besideSlices(warnings).map(line) };
}
const errors = (...documents: readonly object[]) => check(...documents).errors;
const at = (line: number, column: number) => `f:${line}:${column}`;

/** Column at which item i of the fixture's one-line List starts. */
const columnOf = (i: number, items: readonly object[]) =>
  `{"kind":"List","items":[`.length +
  1 +
  items.slice(0, i).reduce((sum, item) => sum + JSON.stringify(item).length + 1, 0);

describe('sets', () => {
  it('needs exactly one Host', () => {
    expect(checkSet(resources(blue())).problems.map(formatProblem)).toEqual([
      'f: no Host; exactly one document of kind Host must say who this daemon is',
    ]);
    const two = { ...host('192.0.2.3'), metadata: { name: 'beta' } };
    expect(errors(two)).toEqual([`kind: a second Host; Host alpha is at ${at(1, 25)}, keep one`]);
  });

  it('M3: two files defining one object are an error naming both', () => {
    const document = (file: string) => ({
      file,
      text: `apiVersion: twill/v1alpha1\nkind: Port\nmetadata: {name: web}\nspec: {network: blue, netns: web}`,
    });
    const { resources: all } = parseSources([
      { file: 'h', text: [host(), blue()].map((d) => JSON.stringify(d)).join('\n---\n') },
      document('one.yaml'),
      document('two.yaml'),
    ]);
    expect(checkSet(all).problems.map(formatProblem)).toEqual([
      'two.yaml:3:18: metadata.name: Port web is already defined at one.yaml:1:1; definitions are not merged, keep one',
    ]);
  });

  it('M3: one name in two namespaces, or of two kinds, is two objects', () => {
    expect(
      errors(
        service('s', {}),
        service('s', {}, { namespace: 'other' }),
        blue(),
        port('blue', { network: 'blue', netns: 'web' }),
      ),
    ).toEqual([]);
  });

  it('limits: 8192 configured MACs per network, 8192 configured addresses in all', () => {
    const entry = (i: number) => ({ mac: `02:00:00:00:${hex(i >> 8)}:${hex(i & 255)}` });
    const hex = (byte: number) => byte.toString(16).padStart(2, '0');
    const peers = (n: number, withIp: boolean) =>
      Array.from({ length: 2 }, (_, p) =>
        peer(`p${p}`, {
          addresses: [`192.0.2.${p + 2}`],
          static: Array.from({ length: n / 2 }, (_, i) => ({
            ...entry(p * 5000 + i),
            ...(withIp && { ip: `10.77.${p * 32 + (i >> 8)}.${i & 255}` }),
          })),
        }),
      );
    const wide = blue({ subnets: [{ cidr: '10.77.0.0/16', gateway: '10.77.255.1' }] });
    expect(errors(wide, ...peers(8190, false))).toEqual([]);
    expect(errors(wide, ...peers(8192, false))).toEqual([
      'spec.static[4094].mac: more than 8192 MACs of gateway, ports and static entries in network blue',
    ]);
    const red = network('red', { vxlan: { vni: 43 }, subnets: [{ cidr: '10.77.0.0/16' }] });
    expect(errors(wide, red, ...peers(6000, true))).toEqual([
      expect.stringMatching(
        /^spec\.static\[\d+\]\.ip: more than 8192 addresses of gateways, ports and static/,
      ),
    ]);
  });

  it('limits: 1022 ports, 1024 peers, 256 networks', () => {
    const many = <T>(n: number, make: (i: number) => T) => Array.from({ length: n }, (_, i) => make(i));
    const ports = many(1023, (i) => port(`p${i}`, { network: 'blue', netns: 'web', interface: `e${i}` }));
    expect(errors(blue(), ...ports)).toEqual(['metadata.name: more than 1022 ports']);
    const peers = many(1025, (i) => peer(`p${i}`, { addresses: [`198.18.${i >> 8}.${i & 255}`] }));
    expect(errors(blue(), ...peers)).toEqual(['metadata.name: more than 1024 peers']);
    const networks = many(257, (i) => network(`n${i}`, { vxlan: { vni: i + 1 } }));
    expect(errors(...networks)).toEqual(['metadata.name: more than 256 networks']);
  });
});

describe('networks', () => {
  it('(UDP port, VNI) is unique', () => {
    const documents = [host(), blue(), network('green', { vxlan: { vni: 42 } })];
    expect(errors(...documents.slice(1))).toEqual([
      `spec.vxlan.vni: 42 on UDP port 4789 is network blue's (${at(1, columnOf(1, documents))}); use another`,
    ]);
    expect(errors(blue(), network('green', { vxlan: { vni: 42, port: 8472 } }))).toEqual([]);
  });

  it('networks on one UDP port agree on what its sockets do', () => {
    const other = {
      vni: 43,
      ttl: 10,
      df: 'unset',
      checksum: 'off',
      zeroChecksum6: true,
      sourcePorts: [50000, 50100],
    };
    expect(errors(blue(), network('green', { vxlan: other }))).toEqual([
      'spec.vxlan.sourcePorts: [50000, 50100] differs from [49152, 65535] of network blue, and both use UDP port 4789; write the same, or use another port',
      'spec.vxlan.checksum: off differs from auto of network blue, and both use UDP port 4789; write the same, or use another port',
      'spec.vxlan.df: unset differs from set of network blue, and both use UDP port 4789; write the same, or use another port',
      'spec.vxlan.ttl: 10 differs from 64 of network blue, and both use UDP port 4789; write the same, or use another port',
      'spec.vxlan.zeroChecksum6: true differs from false of network blue, and both use UDP port 4789; write the same, or use another port',
    ]);
    expect(errors(blue(), network('green', { vxlan: { ...other, port: 4790 } }))).toEqual([]);
  });

  it('M14: subnets are disjoint inside a network, and may repeat in another', () => {
    expect(errors(blue({ subnets: [{ cidr: '10.0.0.0/8' }, { cidr: '10.77.0.0/24' }] }))).toEqual([
      'spec.subnets[1].cidr: 10.77.0.0/24 overlaps 10.0.0.0/8 of subnets[0]; use disjoint ones',
    ]);
    expect(
      errors(blue(), network('red', { vxlan: { vni: 43 }, subnets: [{ cidr: '10.77.0.0/24' }] })),
    ).toEqual([]);
  });

  it.each([
    ['10.78.0.1', '10.78.0.1 is outside 10.77.0.0/24; use an address inside, or leave it out'],
    ['10.77.0.0', '10.77.0.0 is the network address of 10.77.0.0/24; use another, or leave it out'],
    ['10.77.0.255', '10.77.0.255 is the broadcast address of 10.77.0.0/24; use another, or leave it out'],
  ])('the gateway %s is refused', (gateway, message) => {
    expect(errors(blue({ subnets: [{ cidr: '10.77.0.0/24', gateway }] }))).toEqual([
      `spec.subnets[0].gateway: ${message}`,
    ]);
  });

  it.each([
    ['fe80::/64', 'link-local', 'fd00:77::/64'],
    ['ff02::/16', 'multicast', 'fd00:77::/64'],
    ['169.254.0.0/16', 'link-local', '10.77.0.0/24'],
    ['127.0.0.0/8', 'loopback', '10.77.0.0/24'],
  ])('the subnet %s is refused', (cidr, kind, better) => {
    expect(errors(blue({ subnets: [{ cidr }] }))).toContain(
      `spec.subnets[0].cidr: ${cidr} is ${kind}, which nobody routes; use one such as ${better}`,
    );
  });

  it('V15: an MTU too small for the families is an error with IPv6, a warning below 576', () => {
    expect(errors(blue({ mtu: 1279, subnets: [{ cidr: 'fd00::/64' }] }))).toEqual([
      'spec.mtu: 1279 is too small for IPv6; use at least 1280, or auto',
    ]);
    expect(check(blue({ mtu: 575 }))).toEqual({
      errors: [],
      warnings: ['spec.mtu: 575 is below 576, which every IPv4 host accepts; use at least that, or auto'],
    });
  });
});

describe('peers', () => {
  it.each([
    [['192.0.2.1'], "spec.addresses[0]: 192.0.2.1 is this host's own address; give the other host's"],
    [[], 'spec.addresses: empty; give the underlay address of the other host'],
    [
      ['192.0.2.8', '192.0.2.9'],
      'spec.addresses[1]: 192.0.2.9 is a second IPv4 address; give at most one per family',
    ],
    [
      ['2001:db8::2'],
      "spec.addresses: no IPv4 address, and this host has only IPv4 underlay; give one, or set the Host's other family",
    ],
  ])('addresses %j are refused', (addresses, message) => {
    expect(errors(blue(), peer('beta', { addresses }))).toEqual([message]);
  });

  it('addresses differ among peers', () => {
    const documents = [
      host(),
      peer('b', { addresses: ['192.0.2.2'] }),
      peer('c', { addresses: ['192.0.2.2'] }),
    ];
    expect(errors(...documents.slice(1))).toEqual([
      `spec.addresses[0]: 192.0.2.2 is peer b's (${at(1, columnOf(1, documents))}); addresses must differ`,
    ]);
  });

  it('name networks that exist', () => {
    const addresses = ['192.0.2.2'];
    const mac = '02:00:00:00:00:09';
    expect(
      errors(blue(), peer('b', { addresses, networks: ['bleu', 'x'], static: [{ network: 'y', mac }] })),
    ).toEqual([
      'spec.networks[0]: no network "bleu"; did you mean blue?',
      'spec.networks[1]: no network "x"; defined: blue',
      'spec.static[0].network: no network "y"; defined: blue',
    ]);
    expect(
      errors(blue(), peer('b', { addresses, networks: [], static: [{ network: 'blue', mac }] })),
    ).toEqual(['spec.static[0].network: this peer is not in network blue; add it to spec.networks']);
  });

  it('B7: a static MAC has one place per network', () => {
    const mac = '02:00:00:00:00:09';
    const entry = (name: string, address: string, macs: string[]) =>
      peer(name, { addresses: [address], static: macs.map((m) => ({ mac: m })) });
    expect(
      errors(blue(), port('web', { network: 'blue', netns: 'web', mac }), entry('b', '192.0.2.2', [mac])),
    ).toEqual([`spec.static[0].mac: ${mac} is the MAC of port web; a MAC has one place per network`]);
    expect(errors(blue(), entry('b', '192.0.2.2', [mac]), entry('c', '192.0.2.3', [mac]))).toEqual([
      `spec.static[0].mac: ${mac} is at peer b; a MAC has one place per network`,
    ]);
    const gateway = gatewayMac('blue', 42);
    expect(errors(blue(), entry('b', '192.0.2.2', [gateway]))).toEqual([
      `spec.static[0].mac: ${gateway} is the gateway MAC of network blue; a MAC has one place per network`,
    ]);
  });
});

describe('ports', () => {
  const web = (spec: object) => port('web', { network: 'blue', netns: 'web', ...spec });

  it.each([
    [{ network: 'bleu' }, 'spec.network: no network "bleu"; did you mean blue?'],
    [
      { addresses: ['10.78.0.1'] },
      'spec.addresses[0]: 10.78.0.1 is in no subnet of network blue; its subnets: 10.77.0.0/24',
    ],
    [
      { addresses: ['10.77.0.1'] },
      'spec.addresses[0]: 10.77.0.1 is the gateway of 10.77.0.0/24; use another address',
    ],
    [
      { addresses: ['10.77.0.0'] },
      'spec.addresses[0]: 10.77.0.0 is the network address of 10.77.0.0/24; use another address',
    ],
    [
      { addresses: ['10.77.0.255'] },
      'spec.addresses[0]: 10.77.0.255 is the broadcast address of 10.77.0.0/24; use another address',
    ],
    [
      { addresses: ['10.77.0.9/16'] },
      'spec.addresses[0]: prefix length 16 reaches beyond subnet 10.77.0.0/24; use /24, or none',
    ],
    [{ addresses: ['10.77.0.9', '10.77.0.9/24'] }, 'spec.addresses[1]: 10.77.0.9 is listed twice; keep one'],
    [
      { mac: gatewayMac('blue', 42) },
      `spec.mac: ${gatewayMac('blue', 42)} is the gateway MAC of network blue; use another`,
    ],
    [
      { mac: routerMac('blue', 42, '192.0.2.1') },
      `spec.mac: ${routerMac('blue', 42, '192.0.2.1')} is this host's router MAC in network blue; use another`,
    ],
  ])('%j is refused', (spec, message) => {
    expect(errors(blue(), web(spec))).toEqual([message]);
  });

  it('MAC, address and interface are unique where they must be', () => {
    const spec = { mac: '02:00:00:00:00:01', addresses: ['10.77.0.9'], netns: 'a' };
    const documents = [host(), blue(), web(spec), port('db', { network: 'blue', ...spec })];
    const place = at(1, columnOf(2, documents));
    expect(errors(...documents.slice(1))).toEqual([
      `spec.interface: eth0 in /run/netns/a is port web's (${place}); use another name or netns`,
      `spec.mac: 02:00:00:00:00:01 is port web's (${place}); MACs differ within a network`,
      `spec.addresses[0]: 10.77.0.9 is port web's (${place}); addresses differ within a network`,
    ]);
  });

  it('B17: the same MAC and address may exist in another network', () => {
    const spec = { mac: '02:00:00:00:00:01', addresses: ['10.77.0.9'] };
    const red = network('red', { vxlan: { vni: 43 }, subnets: [{ cidr: '10.77.0.0/24' }] });
    expect(
      errors(blue(), red, web({ ...spec, netns: 'a' }), port('db', { ...spec, network: 'red', netns: 'b' })),
    ).toEqual([]);
  });

  it('MTU is at most the network’s', () => {
    expect(errors(blue({ mtu: 1400 }), web({ mtu: 1401 }))).toEqual([
      'spec.mtu: 1401 is above 1400, the MTU of network blue; use at most that',
    ]);
  });
});

describe('the host’s own ports', () => {
  const own = (name: string, spec: object = {}) =>
    port(name, { network: 'blue', addresses: ['10.77.0.2'], ...spec });
  const green = (cidr: string, more: object = {}) =>
    network('green', { vxlan: { vni: 43 }, subnets: [{ cidr }], ...more });

  it('one per network, and the second is told where the first is', () => {
    for (const named of [{ interface: 'x' }, {}]) {
      const second = own('other', { addresses: ['10.77.0.3'], ...named });
      const documents = [host(), blue(), own('node'), second];
      expect(errors(...documents.slice(1))).toEqual([
        `spec.network: port node (${at(1, columnOf(2, documents))}) is network blue's port of the host already, and one is all; give this one a netns`,
      ]);
    }
  });

  it('two of different networks with one name are told so', () => {
    const other = own('other', { network: 'green', interface: 'tw-blue', addresses: ['10.78.0.2'] });
    expect(errors(blue(), green('10.78.0.0/24'), own('node'), other)).toEqual([
      expect.stringContaining("spec.interface: tw-blue in the daemon's own namespace is port node's"),
    ]);
  });

  it('has a name that can stand in a rule', () => {
    expect(errors(blue(), own('node', { interface: 'a"*' }))).toEqual([
      'spec.interface: "a"*" would not be one word to nft; use letters, digits, "-", "_", "." and "@", such as tw-blue',
    ]);
  });

  it('has an address of its own', () => {
    expect(errors(blue(), own('node', { addresses: [] }))).toEqual([
      'spec.addresses: missing; a port of the host needs an address of its own in 10.77.0.0/24',
    ]);
    expect(errors(blue({ subnets: [] }), own('node', { addresses: [] }))).toEqual([]);
  });

  it('M14: in two networks only where the host can tell their subnets apart', () => {
    const other = own('far', { network: 'green', addresses: ['10.77.0.130'] });
    const documents = [host(), blue(), green('10.77.0.128/25'), own('node'), other];
    expect(errors(...documents.slice(1))).toEqual([
      'spec.network: subnet 10.77.0.128/25 of network green overlaps network blue, where the host has port node ' +
        `(${at(1, columnOf(3, documents))}); it could not tell them apart: give one a netns`,
    ]);
    const apart = own('far', { network: 'green', addresses: ['10.78.0.2'] });
    expect(errors(blue(), green('10.78.0.0/24'), own('node'), apart)).toEqual([]);
  });

  it('M14: the underlay lies in no subnet where the host has a port', () => {
    const wrong = (address: string) => [
      `spec.network: the underlay's ${address} lies inside subnet 192.0.2.0/24, and the host would send VXLAN into the network itself; use another subnet, or give this port a netns`,
    ];
    const over = (cidr: string) => blue({ subnets: [{ cidr }] });
    const node = own('node', { addresses: ['192.0.2.99'] });
    expect(errors(over('192.0.2.0/24'), node)).toEqual(wrong('192.0.2.1'));
    const far = peer('beta', { addresses: ['198.51.100.2'] });
    const beside = own('node', { addresses: ['198.51.100.99'] });
    expect(errors(over('198.51.100.0/24'), beside, far)).toHaveLength(1);
    // The pods' own: it is theirs to tell apart.
    expect(errors(over('192.0.2.0/24'), own('pod', { netns: 'pod', addresses: ['192.0.2.99'] }))).toEqual([]);
  });

  it('N33: an internal network is not masqueraded', () => {
    const spec = { internal: true, nat: { masquerade: true } };
    expect(errors(blue(spec), own('node'))).toEqual([
      'spec.nat.masquerade: nothing leaves an internal network; remove it, or internal: true',
    ]);
  });

  it('N30: masquerading without a way out is a warning', () => {
    const { warnings } = check(blue({ nat: { masquerade: true } }));
    expect(warnings).toEqual([
      "spec.nat.masquerade: without effect: no Port without netns, which is a network's way out, is in network blue",
    ]);
    expect(check(blue({ nat: { masquerade: true } }), own('node')).warnings).toEqual([]);
  });
});

describe('services', () => {
  const ports = [{ port: 80 }];

  it('N6: a virtual address inside a subnet is an error', () => {
    expect(errors(blue(), service('s', { clusterIP: '10.77.0.80', ports }))).toEqual([
      'spec.clusterIP: 10.77.0.80 lies inside subnet 10.77.0.0/24 of network blue; use one outside every subnet',
    ]);
    expect(errors(blue(), service('s', { clusterIPs: ['fd00::1', '10.77.0.80'], ports }))[0]).toMatch(
      /^spec.clusterIPs\[1\]: /,
    );
  });

  it('M9: a Service without ports is a warning, as nobody finds it', () => {
    expect(
      check(service('s', { clusterIP: '10.96.0.1' }), service('t', { clusterIP: 'None' })).warnings,
    ).toEqual(['spec.ports: missing; nobody finds a Service without ports, add those it has']);
  });

  it('S19: node ports without a port of the host are a warning, at the first Service that has one', () => {
    const open = (name: string, n: number) =>
      service(name, {
        type: 'NodePort',
        clusterIP: `10.96.0.${n}`,
        ports: [{ port: 80, nodePort: 30_000 + n }],
      });
    const pods = port('pod', { network: 'blue', netns: 'pod', addresses: ['10.77.0.11'] });
    expect(
      check(blue(), pods, service('s', { clusterIP: '10.96.0.9', ports }), open('a', 1), open('b', 2)),
    ).toEqual({
      errors: [],
      warnings: [
        'spec.ports[0]: pods alone find node ports: no Port is the host’s own, which is one without netns',
      ],
    });
    const own = port('node', { network: 'blue', addresses: ['10.77.0.2'] });
    expect(check(blue(), pods, own, open('a', 1)).warnings).toEqual([]);
  });

  it('M10: one address, protocol and port in two Services is a warning at the younger', () => {
    const spec = { clusterIP: '10.96.0.1', ports };
    const older = { creationTimestamp: '2024-01-01T00:00:00Z' };
    const younger = { creationTimestamp: '2025-01-01T00:00:00Z' };
    const documents = [host(), service('a', spec, younger), service('b', spec, older)];
    expect(check(...documents.slice(1))).toEqual({
      errors: [],
      warnings: [
        `spec.ports[0].port: 10.96.0.1:80/TCP belongs to Service default/b (${at(1, columnOf(2, documents))}), which is older; Service default/a is not found there`,
      ],
    });
    expect(
      check(service('a', spec), service('b', { ...spec, ports: [{ port: 80, protocol: 'UDP' }] })).warnings,
    ).toEqual([]);
  });

  it.each([
    ['no creationTimestamp', {}],
    ['one creationTimestamp', { creationTimestamp: '2024-01-01T00:00:00Z' }],
    ['one that is no time', { creationTimestamp: 'yesterday' }],
  ])(
    'M10: of two Services with one address and %s the first by name has it, in any order',
    (_what, metadata) => {
      const [shop, web] = ['shop', 'web'].map((name) =>
        service(name, { clusterIP: '10.96.0.1', ports }, metadata),
      );
      for (const documents of [
        [host(), shop!, web!],
        [host(), web!, shop!],
      ]) {
        const { problems, warnings: all } = checkSet(resources(...documents));
        const warnings = besideSlices(all);
        expect(problems).toEqual([]);
        const place = at(1, columnOf(documents.indexOf(shop!), documents));
        const why = 'comes first by name, as neither has an older creationTimestamp';
        expect(warnings.map(({ message }) => message)).toEqual([
          `10.96.0.1:80/TCP belongs to Service default/shop (${place}), which ${why}; Service default/web is not found there`,
        ]);
        expect(warnings[0]!.column).toBeGreaterThan(columnOf(documents.indexOf(web!), documents));
      }
    },
  );

  it('M11: a slice without label or with many endpoints is a warning, above 1000 an error', () => {
    const endpoints = (n: number) =>
      Array.from({ length: n }, (_, i) => ({ addresses: [`10.1.${i >> 8}.${i & 255}`] }));
    const lost = { ...slice('x', 's', { endpoints: endpoints(101) }), metadata: { name: 'x' } };
    expect(check(lost).warnings).toEqual([
      'metadata: no label kubernetes.io/service-name, so no Service uses this slice; add it',
      'endpoints: 101 endpoints; slices of at most 100 change faster',
    ]);
    expect(() => resources(slice('x', 's', { endpoints: endpoints(1001) }))).toThrow(
      'endpoints: 1001 endpoints; a slice holds at most 1000, use several slices',
    );
  });

  it('S8: unusable endpoint addresses are refused one by one', () => {
    const addresses = ['10.0.0.1', '127.0.0.1', '169.254.0.1', '224.0.0.1', '0.0.0.0', 'fd00::1', 'web'];
    const endpoints = addresses.map((a) => ({ addresses: [a] }));
    expect(check(service('s', { clusterIP: '10.96.0.1', ports }), slice('x', 's', { endpoints }))).toEqual({
      errors: [],
      warnings: [
        'endpoints[1].addresses[0]: "127.0.0.1" is not usable as an endpoint (loopback address); this endpoint is skipped',
        'endpoints[2].addresses[0]: "169.254.0.1" is not usable as an endpoint (link-local address); this endpoint is skipped',
        'endpoints[3].addresses[0]: "224.0.0.1" is not usable as an endpoint (multicast address); this endpoint is skipped',
        'endpoints[4].addresses[0]: "0.0.0.0" is not usable as an endpoint (unspecified address); this endpoint is skipped',
        'endpoints[5].addresses[0]: "fd00::1" is not an IPv4 address; this endpoint is skipped',
        'endpoints[6].addresses[0]: "web" is not an IP address; this endpoint is skipped',
      ],
    });
  });

  it('S5: a slice port without name is skipped, with a warning', () => {
    expect(
      check(
        service('s', { clusterIP: '10.96.0.1', ports }),
        slice('x', 's', { ports: [{ port: 80 }, { name: 'a' }] }),
      ).warnings,
    ).toEqual([
      'ports[0]: a port without name is skipped; write name: "" for a Service port without name',
      'ports[1]: a port without number is skipped; add port',
    ]);
  });
});
