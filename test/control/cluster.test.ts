/** What Host, Node and ServiceCIDR say of this host and its cluster. */
import { describe, expect, it } from 'vitest';
import { checkSet } from '../../src/control/check.ts';
import { compile } from '../../src/control/compile.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { surroundingsOf } from '../../src/control/surroundings.ts';
import type { Facts, ResourceOf } from '../../src/control/types.ts';
import { formatWords } from '../../src/wire/address.ts';
import { besideSlices, blue, ETHERNET, host, judge, port, resources, service, slice } from './fixture.ts';

const node = (name: string, rest: object = {}, labels: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels },
  ...rest,
});
const serviceCIDR = (...cidrs: string[]) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name: 'kubernetes' },
  spec: { cidrs },
});
const hostWith = (more: object) => {
  const document = host();
  return { ...document, spec: { ...document.spec, ...more } };
};
const configOf = (documents: readonly object[], facts: Facts = ETHERNET) =>
  compile(resources(...documents), facts, null).host;
const cidrs = (list: readonly { address: readonly number[]; prefix: number }[] | undefined) =>
  list!.map(({ address, prefix }) => `${formatWords(address as [number, number, number, number])} ${prefix}`);
const errors = (...documents: readonly object[]) =>
  checkSet(resources(...documents)).problems.map(({ path, message }) => `${path}: ${message}`);

describe('the host', () => {
  it('N20, N22, N26, N37: has the defaults of the tables', () => {
    const config = configOf([host()]);
    expect(config).toMatchObject({
      clusterCIDRs: [],
      serviceCIDRs: [],
      unallocatedVIP: 'pass',
      localDetect: 'ports',
      masqueradeAll: false,
      tcpLiberal: false,
      natPorts: [61_000, 65_535],
      natRandom: true,
      fragments: { maxBytes: 4_194_304, timeout: 30_000 },
    });
    expect(config.timeouts).toEqual({
      tcpSynSent: 120_000,
      tcpSynRecv: 60_000,
      tcpEstablished: 86_400_000,
      tcpFinWait: 120_000,
      tcpCloseWait: 3_600_000,
      tcpLastAck: 30_000,
      tcpTimeWait: 120_000,
      tcpClose: 10_000,
      tcpUnacknowledged: 300_000,
      udpUnreplied: 30_000,
      udpReplied: 120_000,
      sctpClosed: 10_000,
      sctpCookieWait: 3000,
      sctpCookieEchoed: 3000,
      sctpEstablished: 210_000,
      sctpShutdown: 3000,
    });
  });

  const withConntrack = (conntrack: string) =>
    judge(
      `apiVersion: twill/v1alpha1\nkind: Host\nmetadata: {name: h}\nspec: {underlay: {address: 192.0.2.1}, conntrack: {${conntrack}}}\n`,
    );

  it.each([
    ['tcpLoose: true', 'tcpLoose', 'nf_conntrack_tcp_loose'],
    ['tcpLoose: false', 'tcpLoose', 'nf_conntrack_tcp_loose'],
    ['timeouts: {icmp: 60s}', 'timeouts.icmp', 'nf_conntrack_icmp_timeout'],
    ['timeouts: {other: 600s}', 'timeouts.other', 'nf_conntrack_generic_timeout'],
  ])('N16, N20: %s is the kernel’s, and whoever says it is told', (said, field, sysctl) => {
    expect(withConntrack('tcpLiberal: false, timeouts: {}')).toEqual({ errors: [], warnings: [] });
    const { errors, warnings } = withConntrack(said);
    expect(errors).toEqual([]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^f:4:\d+: /);
    expect(warnings[0]).toContain(`: spec.conntrack.${field}: has no effect: `);
    expect(warnings[0]).toContain(`net.netfilter.${sysctl}`);
  });

  it('N20: the dataplane is told of no idle time it has no use for', () => {
    const { timeouts } = configOf([hostWith({ conntrack: { timeouts: { icmp: '60s', other: '600s' } } })]);
    expect(timeouts).toEqual(configOf([host()]).timeouts);
  });

  it('M6: reads durations and sizes with their units', () => {
    const config = configOf([
      hostWith({
        conntrack: { timeouts: { udpReplied: '5m' } },
        fragments: { maxBytes: '1Mi', timeout: '2s' },
        nat: { ports: [50_000, 50_000], random: false },
      }),
    ]);
    expect([config.timeouts!.udpReplied, config.fragments, config.natPorts, config.natRandom]).toEqual([
      300_000,
      { maxBytes: 1_048_576, timeout: 2000 },
      [50_000, 50_000],
      false,
    ]);
  });

  it.each([
    ['nodePortAddresses: [127.0.0.0/8]', 'is loopback, where NodePorts never answer'],
    ['nodePortAddresses: all', 'use primary, or a list of networks'],
    ['proxy: {algorithm: roundrobin}', 'did you mean roundRobin?'],
    ['proxy: {onEndpointRemoved: kill}', 'use keep, drain or reset'],
    ['proxy: {drain: 30}', 'has no unit'],
    ['conntrack: {timeouts: {udp: 30s}}', 'conntrack.timeouts'],
    ['conntrack: {timeouts: {icmp: 0s}}', 'a duration from 1s'],
    ['nat: {ports: [5, 4]}', 'is reversed'],
    ['fragments: {maxBytes: 4MB}', 'use a size from'],
  ])('M3: %s is refused with what would be right', (line, message) => {
    const text = `apiVersion: twill/v1alpha1\nkind: Host\nmetadata: {name: alpha}\nspec:\n  underlay: {address: 192.0.2.1}\n  ${line}\n`;
    const lines = judge(text).errors;
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^f:6:\d+: /);
    expect(lines[0]).toContain(message);
  });

  it('S19: node ports answer on the primary address, or on those in the networks named; never on loopback', () => {
    const addresses = (documents: readonly object[], own: readonly string[] = []) =>
      configOf(documents, { ...ETHERNET, hostAddresses: () => own }).nodeAddresses!.map(formatWords);
    expect(addresses([host()])).toEqual(['192.0.2.1']);
    expect(addresses([host('127.0.0.1')])).toEqual([]);
    expect(addresses([host('192.0.2.1', { address6: '2001:db8::1' })])).toEqual(['192.0.2.1', '2001:db8::1']);
    const status = {
      addresses: [
        { type: 'Hostname', address: 'alpha' },
        { type: 'ExternalIP', address: '198.51.100.1' },
        { type: 'InternalIP', address: '10.1.1.1' },
        { type: 'InternalIP', address: '10.1.1.2' },
      ],
    };
    expect(addresses([host(), node('alpha', { status }), node('beta')])).toEqual(['10.1.1.1']);
    const own = ['127.0.0.1', '10.1.1.1', '10.1.2.1', '2001:db8::1', 'fe80::1'];
    expect(addresses([hostWith({ nodePortAddresses: ['10.1.0.0/16', '::/0'] })], own)).toEqual([
      '10.1.1.1',
      '10.1.2.1',
      '2001:db8::1',
    ]);
  });

  it('S11: its zone is its own, else that of its Node', () => {
    const zone = (...documents: object[]) => surroundingsOf(resources(...documents)).zone;
    const label = { 'topology.kubernetes.io/zone': 'b' };
    expect(
      zone(host(), node('alpha', {}, label), node('beta', {}, { 'topology.kubernetes.io/zone': 'c' })),
    ).toBe('b');
    expect(zone(hostWith({ zone: 'a' }), node('alpha', {}, label))).toBe('a');
    expect(zone(hostWith({ nodeName: 'beta' }), node('alpha', {}, label))).toBe('');
  });

  it('M1: networks of Node and ServiceCIDR objects win over the Host’s', () => {
    const told = hostWith({ clusterCIDRs: ['10.1.0.0/16'], serviceCIDRs: ['10.2.0.0/16'] });
    const alone = configOf([told]);
    expect([cidrs(alone.clusterCIDRs), cidrs(alone.serviceCIDRs)]).toEqual([
      ['10.1.0.0 112'],
      ['10.2.0.0 112'],
    ]);
    expect(alone.unallocatedVIP).toBe('drop');
    const pods = (podCIDRs: string[]) => ({ spec: { podCIDR: podCIDRs[0], podCIDRs } });
    const known = configOf([
      told,
      node('alpha', pods(['10.3.0.0/24', 'fd00::/64'])),
      node('beta', pods(['10.3.1.0/24'])),
      serviceCIDR('10.4.0.0/16'),
    ]);
    expect(cidrs(known.clusterCIDRs)).toEqual(['10.3.0.0 120', '10.3.1.0 120', 'fd00:: 64']);
    expect(cidrs(known.serviceCIDRs)).toEqual(['10.4.0.0 112']);
  });

  it('M3: networks of pods, of services and the underlay do not overlap', () => {
    expect(errors(hostWith({ clusterCIDRs: ['10.0.0.0/8'], serviceCIDRs: ['10.96.0.0/12'] }))).toEqual([
      'spec.serviceCIDRs: 10.96.0.0/12 overlaps 10.0.0.0/8, where pods live; ClusterIPs need a network of their own',
    ]);
    expect(errors(hostWith({ clusterCIDRs: ['192.0.2.0/24'] }))[0]).toContain(
      '192.0.2.1 lies inside 192.0.2.0/24',
    );
  });

  it('M9: a ClusterIP comes from a known service network of its family', () => {
    const told = hostWith({ serviceCIDRs: ['10.96.0.0/12'] });
    expect(errors(told, service('s', { clusterIPs: ['10.95.0.1', 'fd00::1'] }))).toEqual([
      'spec.clusterIPs[0]: 10.95.0.1 lies outside the service networks; use one of 10.96.0.0/12',
    ]);
    expect(errors(told, service('s', { clusterIP: '10.96.0.1' }))).toEqual([]);
  });

  it('S35: knows that its Node is about to go', () => {
    const spec = (document: object) => {
      const [resource] = resources(document);
      return resource!.kind === 'Node' && resource!.spec.isLeaving;
    };
    expect(spec(node('a'))).toBe(false);
    expect(
      spec(node('a', { spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'x' }] } })),
    ).toBe(true);
    const leaving = node('a');
    expect(spec({ ...leaving, metadata: { name: 'a', deletionTimestamp: '2026-01-01T00:00:00Z' } })).toBe(
      true,
    );
  });
});

describe('bad input is told with its place, and the rest goes live', () => {
  const twill = { ...service('shop', { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] }) };
  const ends = { ports: [{ name: 'http', port: 8080 }], endpoints: [{ addresses: ['10.0.0.1'] }] };
  const own = port('node', { network: 'blue', addresses: ['10.77.0.2'] });
  const lines = (...documents: object[]) => {
    const {
      resources: all,
      problems,
      warnings,
    } = parseSources([
      {
        file: 'f',
        text: JSON.stringify({ kind: 'List', items: [host(), blue(), own, ...documents] }, null, 1),
      },
    ]);
    const checked = checkSet(all);
    return {
      errors: [...problems, ...checked.problems].map(formatProblem),
      warnings: besideSlices([...warnings, ...checked.warnings]).map(formatProblem),
    };
  };
  const told = (...documents: object[]) => {
    const { errors: wrong, warnings } = lines(...documents);
    expect(wrong).toEqual([]);
    for (const line of warnings) expect(line).toMatch(/^f:\d+:\d+: /);
    return warnings.map((line) => line.replace(/^f:\d+:\d+: /, ''));
  };

  it('S5: a slice of a Service nobody knows', () => {
    expect(told(slice('x-1', 'x', ends))).toEqual([
      'metadata.labels: there is no Service default/x; this slice waits for it',
    ]);
  });

  it('S8: ports that no slice has', () => {
    const other = slice('shop-1', 'shop', { ...ends, ports: [{ name: 'web', port: 8080 }] });
    expect(told(twill, other)).toEqual([
      'spec.ports[0]: no IPv4 EndpointSlice of this Service has a port named "http" over TCP, so it has no endpoint; names must be the same',
    ]);
    expect(told(twill, slice('shop-1', 'shop', ends))).toEqual([]);
  });

  it('S2, S38: what has no network to be given an address from, and nothing that has all it needs', () => {
    const ports = [{ port: 80 }];
    expect(told(service('bare', { ports }))).toEqual([
      'spec: has no IPv4 ClusterIP, and no IPv4 network is known to give it one from; write clusterIP, or serviceCIDRs of the Host',
    ]);
    expect(told(service('open', { type: 'NodePort', clusterIP: '10.96.0.2', ports }))).toEqual([]);
    const other = { 'service.kubernetes.io/service-proxy-name': 'x' };
    const silent = [
      service('none', { type: 'NodePort', clusterIP: 'None', ports }),
      service('name', { type: 'ExternalName', externalName: 'example.com', ports }),
      service('theirs', { ports }, { labels: other }),
      service('inside', {
        type: 'LoadBalancer',
        clusterIP: '10.96.0.4',
        ports: [{ port: 81, protocol: 'UDP' }],
      }),
    ];
    expect(told(...silent)).toEqual([]);
    expect(lines(service('odd', { type: 'Nodeport', ports })).errors).toEqual([
      expect.stringContaining('spec.type: "Nodeport" is not allowed; did you mean NodePort?'),
    ]);
  });

  it('S3: a ClusterIP that is not the first of ClusterIPs, as an API server refuses it; the rest goes live', () => {
    const balanced = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 };
    const two = { ...balanced, clusterIP: '10.96.0.2', clusterIPs: ['10.96.0.3'], ports: [{ port: 80 }] };
    expect(told(service('two', two), twill)).toEqual([
      'spec.clusterIP: "10.96.0.2" is not the first of clusterIPs, which is "10.96.0.3"; the Service is left out until they are the same',
    ]);
    expect(lines(service('odd', { clusterIP: 'none' })).errors).toEqual([
      expect.stringMatching(/: spec\.clusterIP: "none" is not an IP address; did you mean None\?$/),
    ]);
    const { given } = checkSet(resources(host(), service('two', two), twill));
    expect(given).toEqual([]);
    const [left, live] = resources(service('two', two), twill) as ResourceOf<'Service'>[];
    expect([left!.spec.addresses, left!.spec.healthCheckNodePort]).toEqual([[], 0]);
    expect(live!.spec.addresses).toHaveLength(1);
    const ports = [{ port: 81 }];
    for (const same of [{ clusterIP: '2001:DB8::0:1', clusterIPs: ['2001:db8::1'] }, { clusterIP: '' }]) {
      expect(told(service('same', { clusterIPs: ['10.96.0.9'], ports, ...same }))).toEqual([]);
    }
  });

  it('S3: addresses that are none, or of a family the Service has not', () => {
    const odd = service('odd', {
      clusterIP: '224.0.0.1',
      clusterIPs: ['224.0.0.1', '10.96.0.9'],
      externalIPs: ['10.0.0.256', '127.0.0.1', '2001:db8::1', '10.77.0.9'],
      ports: [{ port: 80, nodePort: 80 }],
    });
    expect(told(odd)).toEqual([
      'spec.clusterIPs[0]: "224.0.0.1" is not usable as an address of a Service (multicast address); not programmed',
      'spec.externalIPs[0]: "10.0.0.256" is not an IPv4 address; not programmed',
      'spec.externalIPs[1]: "127.0.0.1" is not usable as an address of a Service (loopback address); not programmed',
      'spec.externalIPs[2]: "2001:db8::1" is not programmed: the Service has no IPv6 ClusterIP',
      'spec.ports[0].nodePort: 80 is outside 30000–32767, where node ports usually are',
      'spec.externalIPs[3]: 10.77.0.9 lies inside subnet 10.77.0.0/24 of network blue, where no service is found; not programmed',
    ]);
  });

  it('M12: annotations that say nothing known', () => {
    const annotations = {
      'twill/algorithm': 'maglef',
      'twill/drian': '5s',
      'twill/drain': 'soon',
      other: 'x',
    };
    const found = told(service('s', { clusterIP: '10.96.0.1', ports: [{ port: 80 }] }, { annotations }));
    expect(found).toHaveLength(3);
    expect(found[0]).toMatch(/^metadata.annotations.twill\/algorithm: "maglef" .*maglev.*default is used$/);
    expect(found[1]).toContain('did you mean twill/drain?');
    expect(found[2]).toContain('a duration from 1s');
    const weighty = slice('a', 's', ends);
    const weighted = {
      ...weighty,
      metadata: { ...weighty.metadata, annotations: { 'service.cilium.io/weight': '-1' } },
    };
    expect(
      told(service('s', { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] }), weighted),
    ).toEqual([
      'metadata.annotations.service.cilium.io/weight: "-1" is no weight, and 1 is used; write a whole number from 0 to 65535',
    ]);
  });

  it('M9: one node port twice in a Service is an error', () => {
    const ports = [
      { name: 'a', port: 80, nodePort: 30_080 },
      { name: 'b', port: 81, nodePort: 30_080 },
    ];
    expect(lines(service('s', { clusterIP: '10.96.0.1', ports })).errors).toEqual([
      expect.stringContaining('spec.ports[1].nodePort: 30080/TCP is ports[0] too; remove one'),
    ]);
  });
});

describe('v1 Endpoints', () => {
  const endpoints = (subsets: unknown, labels: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'shop', namespace: 'prod', labels },
    subsets,
  });

  it('M1: become the slice NAME-legacy, ready addresses and others', () => {
    const [slice] = resources(
      endpoints([
        {
          addresses: [{ ip: '10.0.0.1', nodeName: 'alpha' }],
          notReadyAddresses: [{ ip: '10.0.0.2' }],
          ports: [{ port: 8080 }],
        },
        { addresses: [{ ip: '10.0.0.3' }], ports: [{ port: 8080 }] },
      ]),
    );
    expect([slice!.kind, slice!.namespace, slice!.name]).toEqual(['EndpointSlice', 'prod', 'shop-legacy']);
    expect(slice!.spec).toMatchObject({
      service: 'shop',
      addressType: 'IPv4',
      ports: [{ name: '', protocol: 'TCP', port: 8080 }],
      endpoints: [
        { address: '10.0.0.1', ready: true, nodeName: 'alpha' },
        { address: '10.0.0.2', ready: false, serving: false },
        { address: '10.0.0.3', ready: true },
      ],
    });
  });

  it('M1: are left alone when somebody else mirrors them, and empty ones are empty slices', () => {
    expect(resources(endpoints([], { 'endpointslice.kubernetes.io/skip-mirror': 'true' }))).toEqual([]);
    expect(resources(endpoints(null))[0]!.spec).toMatchObject({ endpoints: [], ports: [] });
  });

  it('M3: subsets of other ports, and addresses that are none, are told with their place', () => {
    const text = [
      'apiVersion: v1',
      'kind: Endpoints',
      'metadata: {name: shop}',
      'subsets:',
      '- addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.300}]',
      '  ports: [{port: 80}]',
      '- addresses: [{ip: 10.0.0.2}]',
      '  ports: [{port: 81}]',
    ].join('\n');
    const { errors: wrong, warnings } = judge(text, [
      host(),
      service('shop', { clusterIP: '10.96.0.1', ports: [{ port: 80 }] }),
    ]);
    expect(wrong).toEqual([]);
    expect(warnings).toEqual([
      expect.stringMatching(/^f:7:3: subsets\[1\]: its ports differ from those of subsets\[0\]/),
      expect.stringMatching(/^f:5:1: endpoints\[1\]\.addresses\[0\]: "10\.0\.0\.300" is not an IPv4 address/),
    ]);
  });
});
