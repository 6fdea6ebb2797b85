import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { GET_KINDS, type GetKind } from '../../src/control/protocol.ts';
import { renderTable } from '../../src/program/table.ts';
import { FakeDaemon, twill } from './harness.ts';

const daemon = new FakeDaemon();
beforeAll(() => daemon.listen());
afterAll(() => daemon.close());
beforeEach(() => {
  daemon.seen.length = 0;
});

/** As long as each can be: what a table has to cope with. */
const LONG = 'n'.repeat(63);
const resource = (kind: string, spec: unknown, status: unknown, more: object = {}): object => ({
  apiVersion: 'x/v1',
  kind,
  metadata: { name: LONG, namespace: LONG, labels: { 'kubernetes.io/service-name': LONG } },
  spec,
  status,
  ...more,
});

const ITEMS: Readonly<Record<GetKind, object>> = {
  hosts: resource('Host', { underlay: { address: 'fd00:1234:5678:9abc:def0:1234:5678:9abc' } }, undefined),
  networks: resource(
    'Network',
    {
      vxlan: { vni: 16_777_215 },
      subnets: [
        { cidr: '10.77.0.0/24', gateway: '10.77.0.1' },
        { cidr: '10.78.0.0/24', gateway: '10.78.0.1' },
      ],
    },
    { mtu: 65_000, ports: 1000, peers: 1000, macs: 100_000 },
  ),
  ports: resource(
    'Port',
    { network: LONG, netns: LONG, addresses: ['10.77.0.11/24', '10.77.0.12/24'] },
    { state: 'up', mac: '02:00:00:00:00:01', mtu: 1450, rxFrames: 9e12, txFrames: 9e12, dropped: 9e12 },
  ),
  peers: resource(
    'Peer',
    { addresses: ['192.0.2.1', '198.51.100.1'] },
    { networks: [LONG, LONG], macs: 9e6, lastHeard: 9e6, reachable: 'unknown', rtt: 1234.5, pathMtu: 1500 },
  ),
  services: resource(
    'Service',
    {
      type: 'LoadBalancer',
      clusterIPs: ['10.96.0.10', 'fd00:96::1234:5678'],
      externalIPs: ['203.0.113.1', '203.0.113.2'],
      ports: Array.from({ length: 9 }, (_, i) => ({ port: 60_000 + i, nodePort: 30_000 + i })),
    },
    {
      endpoints: 1000,
      flows: 1_000_000,
      loadBalancer: { ingress: [{ ip: '203.0.113.3' }, { hostname: LONG }] },
    },
  ),
  endpointslices: resource('EndpointSlice', undefined, undefined, {
    ports: [{ port: 8080 }],
    endpoints: Array.from({ length: 20 }, (_, i) => ({ addresses: [`10.77.0.${i}`] })),
  }),
  nodes: resource(
    'Node',
    { podCIDRs: ['10.244.0.0/24', 'fd00:244::/64'] },
    { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] },
  ),
  servicecidrs: resource('ServiceCIDR', { cidrs: ['10.96.0.0/12', 'fd00:96::/108'] }, undefined),
  fdb: {
    network: LONG,
    mac: '02:00:00:00:00:01',
    port: null,
    peer: LONG,
    type: 'learned',
    age: 299,
    moves: 3,
  },
  neighbors: {
    network: LONG,
    ip: '10.77.0.11',
    mac: '02:00:00:00:00:01',
    source: 'learned',
    state: 'incomplete',
    age: 12,
  },
  flows: {
    network: LONG,
    protocol: 'tcp',
    client: '255.255.255.255:65535',
    service: `${LONG}/${LONG}:http`,
    vip: '255.255.255.255:65535',
    backend: '255.255.255.255:65535',
    generation: 12_345,
    snat: '255.255.255.255:65535',
    why: 'roundRobin 1000/1000 local',
    age: 9e6,
    drain: 30,
    state: 'established',
    expires: 86_400,
    packets: 9e12,
    bytes: 9e15,
    replyPackets: 9e12,
    replyBytes: 9e15,
  },
  affinities: {
    service: `${LONG}/${LONG}:http`,
    client: '255.255.255.255',
    backend: '255.255.255.255:65535',
    expires: 86_400,
    hits: 9e9,
  },
  drops: {
    reason: 'UNSUPPORTED_TO_SERVICE',
    from: LONG,
    count: 9e12,
    last: 9e6,
    text: 'protocol '.repeat(9),
  },
};

describe.each(GET_KINDS)('get %s', (kind) => {
  it('fits a terminal with the longest values; wide or without a terminal nothing is left out', async () => {
    daemon.answer = () => ({ body: { items: [ITEMS[kind]] } });
    const { code, stdout, stderr } = await daemon.twill('get', kind);
    expect([code, stderr]).toEqual([0, '']);
    expect(daemon.seen).toEqual([{ method: 'GET', path: `/v1/${kind}`, body: undefined }]);
    const lines = stdout.split('\n');
    expect(lines.filter((line) => [...line].length > 80)).toEqual([]);
    expect(lines).toHaveLength(3);
    const wide = await daemon.twill('get', kind, '-o', 'wide');
    expect(wide.stdout).not.toContain('…');
    const piped = await twill(['get', kind, '--socket', daemon.socket], {}, Number.POSITIVE_INFINITY);
    expect([piped.code, piped.stdout.includes('…')]).toEqual([0, false]);
    const [titles = ''] = piped.stdout.split('\n');
    expect(titles.split(/ +/)).toEqual(lines[0]!.split(/ +/));
  });

  it('survives a resource that says almost nothing', async () => {
    const bare = { metadata: { name: 'x' } };
    daemon.answer = () => ({
      body: { items: ['fdb', 'flows'].includes(kind) ? [ITEMS[kind]] : [{ ...ITEMS[kind], ...bare }] },
    });
    expect((await daemon.twill('get', kind)).code).toBe(0);
  });

  it('is {"items": […]} in JSON and YAML', async () => {
    daemon.answer = () => ({ body: { items: [ITEMS[kind]] } });
    const expected = JSON.parse(JSON.stringify({ items: [ITEMS[kind]] })) as unknown;
    expect(JSON.parse((await daemon.twill('get', kind, '-o', 'json')).stdout)).toEqual(expected);
    expect(parse((await daemon.twill('get', kind, '-o', 'yaml')).stdout)).toEqual(expected);
  });

  it('nothing there is no failure, and no table', async () => {
    daemon.answer = () => ({ body: { items: [] } });
    expect(await daemon.twill('get', kind)).toEqual({ code: 0, stdout: '', stderr: `no ${kind}\n` });
    expect((await daemon.twill('get', kind, '-o', 'json')).stdout).toBe('{\n  "items": []\n}\n');
  });
});

describe('kind names', () => {
  it.each([
    ['network', 'networks'],
    ['Networks', 'networks'],
    ['net', 'networks'],
    ['po', 'ports'],
    ['svc', 'services'],
    ['Service', 'services'],
    ['eps', 'endpointslices'],
    ['no', 'nodes'],
    ['EndpointSlice', 'endpointslices'],
    ['neigh', 'neighbors'],
    ['flow', 'flows'],
    ['drop', 'drops'],
    ['affinity', 'affinities'],
  ])('%s means %s', async (name, kind) => {
    daemon.answer = () => ({ body: { items: [] } });
    await daemon.twill('get', name);
    expect(daemon.seen.map(({ path }) => path)).toEqual([`/v1/${kind}`]);
  });
});

describe('get by name', () => {
  const network = (name: string): object => ({
    kind: 'Network',
    metadata: { name },
    spec: { vxlan: { vni: 1 } },
  });
  const service = (namespace: string): object => ({
    kind: 'Service',
    metadata: { name: 'shop', namespace },
    spec: {},
  });

  it('shows that one, as NAME or KIND/NAME', async () => {
    daemon.answer = () => ({ body: { items: [network('blue'), network('red')] } });
    for (const args of [['network', 'red'], ['network/red']]) {
      const { stdout } = await daemon.twill('get', ...args, '-o', 'json');
      expect(JSON.parse(stdout)).toEqual({ items: [network('red')] });
    }
  });

  it('fails when there is none', async () => {
    daemon.answer = () => ({ body: { items: [network('blue')] } });
    expect(await daemon.twill('get', 'network', 'green', '-o', 'json')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'twill: networks "green" not found\n',
    });
  });

  it('tells Services of different namespaces apart', async () => {
    daemon.answer = () => ({ body: { items: [service('default'), service('prod')] } });
    const both = await daemon.twill('get', 'svc', 'shop', '-o', 'json');
    expect((JSON.parse(both.stdout) as { items: unknown[] }).items).toHaveLength(2);
    const one = await daemon.twill('get', 'svc', 'shop', '-n', 'prod', '-o', 'json');
    expect(JSON.parse(one.stdout)).toEqual({ items: [service('prod')] });
    const none = await daemon.twill('get', 'svc', 'shop', '-n', 'test');
    expect([none.code, none.stderr]).toEqual([1, 'twill: services "shop" not found in namespace "test"\n']);
  });

  it('tells of a Service where it is found, and, wide, how it chooses', async () => {
    const shop = {
      kind: 'Service',
      metadata: { name: 'shop', namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        clusterIP: '10.96.0.10',
        clusterIPs: ['10.96.0.10'],
        externalTrafficPolicy: 'Local',
        ports: [
          { port: 80, nodePort: 30_080 },
          { port: 53, protocol: 'UDP' },
        ],
      },
      status: {
        loadBalancer: { ingress: [{ ip: '203.0.113.3' }] },
        endpoints: 2,
        flows: 7,
        algorithm: 'maglev',
        onEndpointRemoved: 'reset',
      },
    };
    daemon.answer = () => ({ body: { items: [shop] } });
    const cells = async (...more: string[]) =>
      (await daemon.twill('get', 'svc', ...more)).stdout.split('\n')[1]!.split(/ {2,}/);
    const usual = 'default shop LoadBalancer 10.96.0.10 203.0.113.3'.split(' ');
    expect(await cells('-o', 'wide')).toEqual([
      ...usual,
      ...['80:30080/TCP,53/UDP', '2', '7', '-', 'None', 'Cluster', 'Local', 'maglev', 'reset'],
    ]);
  });

  it('shows the rows of live state that mention it', async () => {
    const row = (mac: string, port: string): object => ({
      ...ITEMS.fdb,
      network: 'blue',
      mac,
      port,
      peer: null,
    });
    daemon.answer = () => ({
      body: { items: [row('02:00:00:00:00:01', 'a1'), row('02:00:00:00:00:02', 'a2')] },
    });
    for (const name of ['a2', '02:00:00:00:00:02']) {
      const { stdout } = await daemon.twill('get', 'fdb', name, '-o', 'json');
      expect((JSON.parse(stdout) as { items: { port: string }[] }).items.map(({ port }) => port)).toEqual([
        'a2',
      ]);
    }
    expect((await daemon.twill('get', 'fdb', 'a3')).code).toBe(1);
  });
});

describe('a table', () => {
  const columns = [
    { title: 'NAME', value: (row: { name: string; count: number }) => row.name },
    { title: 'COUNT', right: true, value: (row: { count: number }) => String(row.count) },
  ];

  it('aligns text left and figures right, with no blank at the end', () => {
    const rows = [
      { name: 'one', count: 7 },
      { name: 'twenty', count: 123_456 },
    ];
    expect(renderTable(columns, rows, 80)).toBe('NAME     COUNT\none          7\ntwenty  123456\n');
  });

  it('shortens the widest text, never a figure', () => {
    const text = renderTable(columns, [{ name: 'abcdefghijklmnop', count: 123 }], 16);
    expect(text).toBe('NAME       COUNT\nabcdefgh…    123\n');
  });

  it('lets no value move the cursor', () => {
    expect(renderTable(columns, [{ name: 'a\x1b[2Jb\n', count: 1 }], 80)).toContain('a?[2Jb?');
  });
});
