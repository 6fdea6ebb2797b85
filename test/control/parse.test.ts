import { describe, expect, it } from 'vitest';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import type { Kind, ResourceOf } from '../../src/control/types.ts';
import { parseAddress } from '../../src/wire/address.ts';
import { blue, judge, peer, port, resources, service, slice } from './fixture.ts';

const head = (kind: string) => `apiVersion: twill/v1alpha1\nkind: ${kind}\nmetadata: {name: x}\nspec:\n`;

/** Each text has exactly this error. */
const BAD: readonly (readonly [string, string, string])[] = [
  [
    'unknown key',
    `${head('Network')}  vxlan: {vni: 42, prt: 1}`,
    'f:5:20: spec.vxlan.prt: unknown key; did you mean port?',
  ],
  [
    'key of a feature that does not exist',
    `${head('Network')}  vxlan: {vni: 42}\n  ipam: {type: none}`,
    'f:6:3: spec.ipam: unknown key; known here: subnets, mtu, vxlan, bridge, nat, internal',
  ],
  [
    'number out of range',
    `${head('Network')}  vxlan:\n    vni: 16777216`,
    'f:6:10: spec.vxlan.vni: 16777216 is not allowed; use a whole number from 1 to 16777215',
  ],
  [
    'VNI 0 (V2)',
    `${head('Network')}  vxlan: {vni: 0}`,
    'f:5:16: spec.vxlan.vni: 0 is not allowed; use a whole number from 1 to 16777215',
  ],
  [
    'missing key',
    `${head('Network')}  vxlan: {port: 4789}`,
    'f:5:10: spec.vxlan.vni: missing; add a whole number from 1 to 16777215',
  ],
  [
    'null counts as missing',
    `${head('Network')}  vxlan:\n    vni:`,
    'f:6:5: spec.vxlan.vni: missing; add a whole number from 1 to 16777215',
  ],
  [
    'missing mapping',
    `${head('Host')}  conntrack: {max: 16}`,
    'f:5:3: spec.underlay: missing; add a mapping such as {address: …}',
  ],
  [
    'wrong word',
    `${head('Network')}  vxlan: {vni: 1}\n  bridge: {unknownUnicast: flod}`,
    'f:6:28: spec.bridge.unknownUnicast: "flod" is not allowed; did you mean flood? (flood or drop)',
  ],
  [
    'ageing 0 (B4)',
    `${head('Network')}  vxlan: {vni: 1}\n  bridge: {ageing: 0}`,
    'f:6:20: spec.bridge.ageing: 0 could mean never or at once; write never, or a duration from 1s',
  ],
  [
    'duration without unit (M6)',
    `${head('Network')}  vxlan: {vni: 1}\n  bridge: {ageing: 300}`,
    'f:6:20: spec.bridge.ageing: 300 has no unit; write 300s or a duration from 1s to 1000000s such as 300s or 5m, or never',
  ],
  [
    'duration that is none in any unit',
    `${head('Host')}  underlay: {address: 192.0.2.1}\n  fragments: {timeout: 0}`,
    'f:6:24: spec.fragments.timeout: 0 is not allowed; use a duration from 1s to 1000000s such as 300s or 5m',
  ],
  [
    'table bound (B10)',
    `${head('Network')}  vxlan: {vni: 1}\n  bridge: {maxEntries: 9}`,
    'f:6:24: spec.bridge.maxEntries: 9 is not allowed; use a whole number from 10 to 1000000',
  ],
  [
    'MTU above 9216 (V15)',
    `${head('Network')}  vxlan: {vni: 1}\n  mtu: 9217`,
    'f:6:8: spec.mtu: 9217 is not allowed; use a whole number from 68 to 9216, or auto',
  ],
  [
    'host bits',
    `${head('Network')}  vxlan: {vni: 1}\n  subnets: [{cidr: 10.77.0.5/24}]`,
    'f:6:20: spec.subnets[0].cidr: "10.77.0.5/24" has host bits set; the network is 10.77.0.0/24',
  ],
  [
    'list expected of texts',
    `${head('Peer')}  addresses: 192.0.2.2`,
    'f:5:14: spec.addresses: "192.0.2.2" is not allowed; use a list such as [192.0.2.2]',
  ],
  [
    'name that YAML takes for a number',
    `${head('Host').replace('name: x', 'name: 7')}  underlay: {address: 192.0.2.1}`,
    'f:3:18: metadata.name: 7 is a number, and text is wanted; put it in quotes: "7"',
  ],
  [
    'label that YAML takes for a boolean',
    `${head('Host').replace('name: x', 'name: x, labels: {a: true}')}  underlay: {address: 192.0.2.1}`,
    'f:3:33: metadata.labels.a: true is a boolean, and text is wanted; put it in quotes: "true"',
  ],
  [
    'list expected',
    `${head('Network')}  vxlan: {vni: 1}\n  subnets: 10.77.0.0/24`,
    'f:6:12: spec.subnets: "10.77.0.0/24" is not allowed; use a list such as [{cidr: …}]',
  ],
  [
    'reversed port range',
    `${head('Network')}  vxlan: {vni: 1, sourcePorts: [6000, 5000]}`,
    'f:5:32: spec.vxlan.sourcePorts: [6000, 5000] is reversed; write [5000, 6000]',
  ],
  [
    'narrow port range (V4)',
    `${head('Network')}  vxlan: {vni: 1, sourcePorts: [5000, 5007]}`,
    'f:5:32: spec.vxlan.sourcePorts: [5000, 5007] holds 8 ports; give at least 16',
  ],
  [
    'bad address',
    `${head('Peer')}  addresses: [192.0.2.256]`,
    'f:5:15: spec.addresses[0]: "192.0.2.256" is not an IPv4 address',
  ],
  [
    'multicast underlay',
    `${head('Host')}  underlay: {address: 224.0.0.1}`,
    'f:5:23: spec.underlay.address: "224.0.0.1" is a multicast address; use a unicast one such as 192.0.2.1',
  ],
  [
    'families swapped',
    `${head('Host')}  underlay: {address: 192.0.2.1, address6: 192.0.2.2}`,
    'f:5:44: spec.underlay.address6: "192.0.2.2" is not an IPv6 address; give it as address',
  ],
  [
    'conntrack below the minimum',
    `${head('Host')}  underlay: {address: 192.0.2.1}\n  conntrack: {max: 8}`,
    'f:6:20: spec.conntrack.max: 8 is not allowed; use a whole number from 16 to 16777216',
  ],
  [
    'interface name (C2)',
    `${head('Port')}  network: blue\n  interface: eth0:1`,
    'f:6:14: spec.interface: "eth0:1" is not allowed; use an interface name of 1 to 15 bytes without "/", ":" and blanks, such as eth0',
  ],
  [
    'interface name the kernel would count up',
    `${head('Port')}  network: blue\n  interface: eth%d`,
    'f:6:14: spec.interface: "eth%d" contains "%", which makes a name a pattern; write it out, such as eth0',
  ],
  [
    'long interface name (C2)',
    `${head('Port')}  network: blue\n  interface: abcdefghijklmnop`,
    'f:6:14: spec.interface: "abcdefghijklmnop" has 16 bytes; an interface name has at most 15',
  ],
  [
    'relative netns path',
    `${head('Port')}  network: blue\n  netns: run/web`,
    'f:6:10: spec.netns: "run/web" is neither a name nor an absolute path; start it with /',
  ],
  [
    'multicast MAC',
    `${head('Port')}  network: blue\n  mac: 03:00:00:00:00:01`,
    'f:6:8: spec.mac: "03:00:00:00:00:01" is a multicast address; the first byte must be even',
  ],
  [
    'zero MAC',
    `${head('Port')}  network: blue\n  mac: 00:00:00:00:00:00`,
    'f:6:8: spec.mac: "00:00:00:00:00:00" is the zero address; use one such as 02:00:00:00:00:01',
  ],
  [
    'unknown kind',
    'apiVersion: twill/v1alpha1\nkind: Prot',
    'f:2:7: kind: unknown kind "Prot"; did you mean Port?',
  ],
  [
    'wrong version',
    'apiVersion: twill/v1\nkind: Port',
    'f:1:13: apiVersion: "twill/v1" has no kind Port here; write twill/v1alpha1',
  ],
  [
    'wrong group',
    'apiVersion: v1\nkind: Network',
    'f:1:13: apiVersion: "v1" has no kind Network here; write twill/v1alpha1',
  ],
  [
    'old EndpointSlice',
    'apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice',
    'f:1:13: apiVersion: "discovery.k8s.io/v1beta1" has no kind EndpointSlice here; write discovery.k8s.io/v1',
  ],
  ['no apiVersion', 'kind: Service', 'f:1:1: apiVersion: missing; write v1'],
  [
    'no kind',
    'apiVersion: v1',
    'f:1:1: kind: missing; one of Host, Network, Peer, Port, Service, EndpointSlice, Node, ServiceCIDR',
  ],
  [
    'no name',
    'apiVersion: v1\nkind: Service\nmetadata: {}\nspec: {}',
    'f:3:11: metadata.name: missing; add a name',
  ],
  [
    'not a mapping',
    '- 1',
    'f:1:1: is not a resource; a resource is a mapping with apiVersion, kind, metadata and spec',
  ],
  [
    'a key twice',
    'apiVersion: v1\nkind: Service\nkind: Service',
    'f:3:1: this key occurs twice in one mapping; keep one',
  ],
  [
    'Service port',
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 70000}]}',
    'f:4:23: spec.ports[0].port: 70000 is not allowed; use a whole number from 1 to 65535',
  ],
  [
    'Service ports without names (M9)',
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{name: a, port: 1}, {port: 2}]}',
    'f:4:36: spec.ports[1].name: missing; a Service with several ports needs a name for each',
  ],
  [
    'Service port names twice (M9)',
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{name: a, port: 1}, {name: a, port: 2}]}',
    'f:4:43: spec.ports[1].name: "a" is the name of ports[0] too; names must differ',
  ],
  [
    'Service ports twice (M9)',
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{name: a, port: 1}, {name: b, port: 1}]}',
    'f:4:52: spec.ports[1].port: 1/TCP is ports[0] too; remove one',
  ],
  [
    'affinity timeout (S26)',
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}',
    'f:4:59: spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is not allowed; use a whole number from 1 to 86400',
  ],
];

describe('M3: errors say file, line, column, path, what is wrong and what would be right', () => {
  it.each(BAD)('%s', (_title, text, message) => {
    expect(parseSources([{ file: 'f', text }]).problems.map(formatProblem)).toEqual([message]);
  });

  it('a syntax error has its place and does not hide the other documents', () => {
    const { problems, resources } = parseSources([
      { file: 'f', text: `a: [\n---\n${head('Port')}  network: blue\n` },
    ]);
    expect(problems).toMatchObject([{ file: 'f', line: 2, column: 1 }]);
    expect(problems[0]!.message).toMatch(/^not valid YAML: /);
    expect(resources.map((r) => r.name)).toEqual(['x']);
  });

  it('all errors of all documents and files come at once, in order', () => {
    const first = `${head('Network')}  vxlan: {vni: 0, ttl: 0}\n  mtu: 1\n---\n${head('Port')}  mac: x\n`;
    const { problems } = parseSources([
      { file: 'a', text: first },
      { file: 'b', text: 'kind: Port' },
    ]);
    expect(problems.map(({ file, line, column, path }) => `${file}:${line}:${column} ${path}`)).toEqual([
      'a:5:16 spec.vxlan.vni',
      'a:5:24 spec.vxlan.ttl',
      'a:6:8 spec.mtu',
      'a:12:3 spec.network',
      'a:12:8 spec.mac',
      'b:1:1 apiVersion',
    ]);
  });
});

describe('reading', () => {
  it('M1: several documents, JSON, List and typed lists', () => {
    const one = JSON.stringify(blue(), null, '\t');
    const list = JSON.stringify({
      apiVersion: 'v1',
      kind: 'ServiceList',
      items: [service('s', {}), service('t', {})],
    });
    const { resources, problems } = parseSources([
      { file: 'one.json', text: one },
      { file: 'list.json', text: list },
      { file: 'empty.yaml', text: '# nothing\n---\n---\n' },
    ]);
    expect(problems).toEqual([]);
    expect(resources.map((r) => `${r.kind} ${r.name}`)).toEqual(['Network blue', 'Service s', 'Service t']);
    expect(resources[2]!.origin).toMatchObject({ file: 'list.json', line: 1 });
  });

  it('M1: other kinds are listed and skipped, with a hint at a mistyped one', () => {
    const { warnings, resources } = judgeAll(
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n---\napiVersion: v1\nkind: Servise',
    );
    expect(resources).toEqual([]);
    expect(warnings).toEqual([
      'f:2:7: kind: v1 ConfigMap "cm" is not used here: skipped',
      'f:6:7: kind: v1 Servise is not used here: skipped; did you mean Service?',
    ]);
  });

  it('M1: unknown fields of Kubernetes objects are told with their place and are no error', () => {
    const told = judgeAll(
      'apiVersion: v1\nkind: Service\nmetadata: {name: s, label: {a: b}}\nspec:\n  clusterIP: 10.96.0.1\n' +
        '  slector: {app: s}\n  ports: [{port: 1, nodePrt: 2}]\nstatus: {loadBalancer: {x: 1, y: 2}}\n',
    );
    expect(told.resources).toHaveLength(1);
    expect(told.warnings).toEqual([
      'f:3:21: metadata.label: "label" is no field of a v1 Service: ignored; did you mean labels?',
      'f:6:3: spec.slector: "slector" is no field of a v1 Service: ignored; did you mean selector?',
      'f:7:21: spec.ports[0].nodePrt: "nodePrt" is no field of a v1 Service: ignored; did you mean nodePort?',
      'f:8:25: 2 more unknown fields are ignored',
    ]);
    const mistyped = judgeAll(JSON.stringify(service('s', { clusterIP: '10.96.0.1', ports: [{ prt: 80 }] })));
    expect(mistyped.resources).toEqual([]);
    expect(mistyped.warnings).toEqual([
      'f:1:103: spec.ports[0].prt: "prt" is no field of a v1 Service: ignored; did you mean port?',
    ]);
  });

  it('M1: of many objects with unknown fields some are told, the rest is counted', () => {
    const items = Array.from({ length: 100 }, (_, i) =>
      service(`s${i}`, { clusterIP: '10.96.0.1', ports: [], extra: 1 }),
    );
    const { warnings } = judgeAll(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    expect(warnings).toHaveLength(21);
    expect(warnings.at(-1)).toBe('f: … and 80 more about unknown fields');
  });

  const any = { x: [{ y: 1 }] };
  const metadata = {
    ...{ name: 'x', namespace: 'default', labels: {}, annotations: {}, uid: 'u', resourceVersion: '1' },
    ...{ generation: 1, creationTimestamp: '2025-01-01T00:00:00Z', managedFields: any, ownerReferences: any },
    ...{ generateName: 'x-', finalizers: ['f'], selfLink: '/', deletionGracePeriodSeconds: 0 },
  };
  const port = { name: 'a', protocol: 'TCP', port: 1, appProtocol: 'http' };
  it.each([
    [
      'Service',
      {
        ...{ apiVersion: 'v1', kind: 'Service', metadata },
        spec: {
          ...{ type: 'LoadBalancer', clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], externalIPs: [] },
          ...{
            selector: any,
            publishNotReadyAddresses: true,
            loadBalancerClass: 'x',
            loadBalancerIP: '1.2.3.4',
          },
          ...{ ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack', allocateLoadBalancerNodePorts: false },
          ...{ internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', healthCheckNodePort: 0 },
          ...{ sessionAffinity: 'None', sessionAffinityConfig: { clientIP: { timeoutSeconds: 1 } } },
          ...{ loadBalancerSourceRanges: [], externalName: '', trafficDistribution: 'PreferClose' },
          ports: [{ ...port, targetPort: 'http', nodePort: 0 }],
        },
        status: {
          conditions: [any],
          loadBalancer: {
            ingress: [{ ip: '1.2.3.4', ipMode: 'VIP', ports: [{ port: 1, protocol: 'TCP' }] }],
          },
        },
      },
    ],
    [
      'EndpointSlice',
      {
        ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4', ports: [port] },
        metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'x' } },
        endpoints: [
          {
            ...{ addresses: ['10.0.0.1'], nodeName: 'n', zone: 'z', hostname: 'h', targetRef: any },
            ...{ conditions: { ready: true, serving: true, terminating: false }, deprecatedTopology: {} },
            hints: { forZones: [{ name: 'z' }], forNodes: [{ name: 'n' }] },
          },
        ],
      },
    ],
    [
      'Endpoints',
      {
        ...{ apiVersion: 'v1', kind: 'Endpoints', metadata },
        subsets: [
          { addresses: [{ ip: '10.0.0.1', hostname: 'h', nodeName: 'n', targetRef: any }], ports: [port] },
        ],
      },
    ],
    [
      'Node',
      {
        ...{ apiVersion: 'v1', kind: 'Node', metadata },
        spec: {
          ...{ podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24'], providerID: 'p', unschedulable: true },
          taints: [{ key: 'k', value: 'v', effect: 'NoSchedule', timeAdded: '' }],
        },
        status: {
          ...{ capacity: any, allocatable: any, conditions: [any], daemonEndpoints: any, nodeInfo: any },
          ...{ images: [any], volumesInUse: [], volumesAttached: [], runtimeHandlers: [any], features: any },
          ...{
            phase: 'Running',
            declaredFeatures: ['x'],
            addresses: [{ type: 'InternalIP', address: '192.0.2.9' }],
          },
        },
      },
    ],
    [
      'ServiceCIDR',
      {
        ...{ apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata },
        ...{ spec: { cidrs: ['10.96.0.0/16'] }, status: { conditions: [any] } },
      },
    ],
  ])('M1: no field that a %s of the API has is told, used or not', (_kind, document) => {
    const found = judgeAll(JSON.stringify(document));
    expect([found.resources.length, found.warnings]).toEqual([1, []]);
    // One more, wherever there are fields, is told: the table is asked there.
    const places: string[] = [];
    const visit = (value: unknown, path: string) => {
      if (value === any || typeof value !== 'object' || value === null) return;
      if (!Array.isArray(value)) places.push(path);
      for (const [key, inner] of Object.entries(value)) visit(inner, `${path}.${key}`);
    };
    visit(document, '');
    const free = /labels|annotations|deprecatedTopology/;
    for (const place of places.filter((each) => !free.test(each))) {
      const copy = JSON.parse(JSON.stringify(document)) as object;
      let at = copy as Record<string, unknown>;
      for (const step of place.split('.').slice(1)) at = at[step] as Record<string, unknown>;
      at.unheardOf = 1;
      expect(judgeAll(JSON.stringify(copy)).warnings.join(), place).toContain('"unheardOf" is no field of a');
    }
  });

  it('S9: leading zeros are decimal, with a warning', () => {
    const text = `${head('Peer')}  addresses: [192.000.2.010]`;
    const { resources, warnings } = judgeAll(text);
    expect(resources[0]!.spec).toMatchObject({ addresses: ['192.0.2.10'] });
    expect(warnings).toEqual([
      'f:5:15: spec.addresses[0]: "192.000.2.010" is read as 192.0.2.10; leading zeros may mean octal elsewhere, write 192.0.2.10',
    ]);
  });

  it('B4: ageing takes units and never, and warns below ten seconds', () => {
    const ageing = (text: string) => {
      const [network] = resources(blue({ bridge: { ageing: text } }));
      return network!.kind === 'Network' && network!.spec.bridge.ageing;
    };
    expect(['300s', '5m', '1h', '1000ms', 'never'].map(ageing)).toEqual([300, 300, 3600, 1, 0]);
    const { warnings } = judge(`${head('Network')}  vxlan: {vni: 1}\n  bridge: {ageing: 5s}`);
    expect(warnings).toEqual([
      'f:6:20: spec.bridge.ageing: 5s is below 10s, the least 802.1D allows; stations will be flooded for often',
    ]);
  });

  it('aliases and anchors are followed, an expansion bomb is an error', () => {
    const { resources } = judgeAll(`${head('Peer')}  addresses: &a [192.0.2.2]\n  static: []\n`);
    expect(resources).toHaveLength(1);
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 0; i < 8; i++) {
      const from = String.fromCharCode(97 + i);
      const to = String.fromCharCode(98 + i);
      bomb.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(', ')}]`);
    }
    const { problems } = parseSources([{ file: 'f', text: bomb.join('\n') }]);
    expect(problems[0]!.message).toMatch(/^cannot be expanded: /);
  });
});

describe('defaults', () => {
  const spec = <K extends Kind>(document: object) => resources(document)[0]!.spec as ResourceOf<K>['spec'];

  it('Network', () => {
    expect(spec<'Network'>(blue())).toEqual({
      subnets: [{ cidr: '10.77.0.0/24', gateway: '10.77.0.1' }],
      mtu: 'auto',
      vxlan: {
        vni: 42,
        port: 4789,
        sourcePorts: [49152, 65535],
        checksum: 'auto',
        df: 'set',
        ttl: 64,
        tos: 0,
        innerVlan: 'drop',
        reservedBits: 'ignore',
        zeroChecksum6: false,
      },
      bridge: {
        ageing: 300,
        maxEntries: 8192,
        unknownUnicast: 'flood',
        broadcast: 'flood',
        multicast: 'flood',
        arpSuppression: true,
        reserved: 'drop',
      },
      nat: { masquerade: false, except: [] },
      internal: false,
    });
  });

  it('Peer: in every network, also when written as "*"', () => {
    const expected = { addresses: ['192.0.2.2'], flood: true, static: [] };
    expect(spec<'Peer'>(peer('b', { addresses: ['192.0.2.2'] }))).toEqual(expected);
    expect(spec<'Peer'>(peer('b', { addresses: ['192.0.2.2'], networks: '*' }))).toEqual(expected);
  });

  it('Port: eth0, computed MAC, strict with addresses, else mac', () => {
    expect(
      spec<'Port'>(
        port('web', { network: 'blue', netns: 'web', addresses: ['10.77.0.11', '10.77.0.12/24'] }),
      ),
    ).toEqual({
      network: 'blue',
      netns: '/run/netns/web',
      interface: 'eth0',
      mac: expect.stringMatching(/^[\da-f][26ae](:[\da-f]{2}){5}$/),
      addresses: [
        { address: '10.77.0.11', prefix: 0 },
        { address: '10.77.0.12', prefix: 24 },
      ],
      defaultRoute: true,
      antiSpoof: 'strict',
    });
    const own = { netns: null, interface: 'tw-blue', antiSpoof: 'mac' };
    const addresses = ['10.77.0.2'];
    expect(spec<'Port'>(port('node', { network: 'blue', addresses }))).toMatchObject(own);
  });

  it('the host’s own port is named after its network, in 15 bytes', () => {
    const name = (network: string) => spec<'Port'>(port('node', { network })).interface;
    expect(name('twelve-bytes')).toBe('tw-twelve-bytes');
    expect(name('thirteen-byte')).toMatch(/^tw-thirtee-[\da-f]{4}$/);
    expect(name('thirteen-bits')).not.toBe(name('thirteen-byte'));
    expect(spec<'Port'>(port('node', { network: 'blue', interface: 'x0' })).interface).toBe('x0');
  });

  it('M8: addresses and MACs become canonical', () => {
    const given = {
      network: 'blue',
      mac: '02-AB-00-00-00-01',
      addresses: ['FD00:0::1'],
      netns: '/var/run/netns/w',
    };
    expect(spec<'Port'>(port('web', given))).toMatchObject({
      mac: '02:ab:00:00:00:01',
      addresses: [{ address: 'fd00::1', prefix: 0 }],
      netns: '/run/netns/w',
    });
  });

  it('M9: Service protocol TCP, no affinity; S26: ClientIP lasts 10800 s', () => {
    const ports = [{ port: 80 }];
    expect(spec<'Service'>(service('s', { clusterIP: '10.96.0.1', ports }))).toEqual({
      addresses: [{ kind: 'clusterIP', words: parseAddress('10.96.0.1').words }],
      ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 0 }],
      affinity: 0,
      internalLocal: false,
      externalLocal: false,
      sourceRanges: [],
      healthCheckNodePort: 0,
    });
    expect(spec<'Service'>(service('s', { sessionAffinity: 'ClientIP' }))).toMatchObject({
      affinity: 10_800,
    });
  });

  it('S6: absent conditions mean ready, serving, not terminating', () => {
    const document = slice('s-1', 's', {
      endpoints: [
        { addresses: ['10.0.0.1'], conditions: { ready: null } },
        { addresses: ['10.0.0.2'], conditions: { ready: false } },
      ],
    });
    expect(spec<'EndpointSlice'>(document).endpoints).toEqual([
      { address: '10.0.0.1', ready: true, serving: true, terminating: false },
      { address: '10.0.0.2', ready: false, serving: true, terminating: false },
    ]);
  });
});

function judgeAll(text: string) {
  const { resources, warnings } = parseSources([{ file: 'f', text }]);
  return { resources, warnings: warnings.map(formatProblem) };
}

describe('documents no person wrote', () => {
  const lines = (text: string) => parseSources([{ file: 'f', text }]).problems.map(formatProblem);
  const deep: [string, string][] = [
    ['lists', '['.repeat(20_000)],
    ['closed lists', '['.repeat(5000) + ']'.repeat(5000)],
    ['mappings', `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`],
    ['blocks', Array.from({ length: 1000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
    ['items', '- '.repeat(3000)],
  ];
  for (const [what, text] of deep) {
    it(`nested ${what} are one problem`, () => {
      expect(lines(text)).toEqual([expect.stringMatching(/^f:1:1: is nested more than 100 levels deep$/)]);
    });
  }

  it('at most 20 problems of one file are told', () => {
    const found = lines(Array.from({ length: 30 }, () => 'kind: Pot\n').join('---\n'));
    expect(found).toHaveLength(21);
    expect(found.at(-1)).toBe('f: … and 10 more');
  });
});
