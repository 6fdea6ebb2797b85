/**
 * Which endpoints a service port has: the cases kube-proxy's own tests assert (pkg/proxy/topology_test.go,
 * endpointslicecache_test.go, serviceport_test.go), told in Twill's terms.
 */
import { describe, expect, it } from 'vitest';
import { ServiceBook } from '../../src/control/services.ts';
import { NOWHERE, type Surroundings } from '../../src/control/surroundings.ts';
import type { ServiceConfig } from '../../src/dataplane/config.ts';
import { formatWords, parseAddress } from '../../src/wire/address.ts';
import { resources, service, servicesIn, slice } from './fixture.ts';

const HERE: Surroundings = { ...NOWHERE, nodeName: 'here', zone: 'a' };

const compile = (documents: readonly object[], surroundings = HERE): ServiceConfig[] =>
  servicesIn(
    new ServiceBook().stage(
      resources(...documents).map((after) => ({ before: undefined, after })),
      surroundings,
      false,
    ).batch,
  );

interface Given {
  /** What kind of endpoint, one per letter: see `endpoint`. */
  readonly zones?: readonly string[];
  readonly nodes?: readonly string[];
  readonly local?: boolean;
  readonly conditions?: object;
}

/** The i-th endpoint, 10.0.0.i. */
const endpoint = (i: number, { zones, nodes, local, conditions }: Given) => ({
  addresses: [`10.0.0.${i}`],
  nodeName: local ? 'here' : 'there',
  conditions: conditions ?? { ready: true },
  ...((zones || nodes) && {
    hints: {
      forZones: zones?.map((name) => ({ name })),
      forNodes: nodes?.map((name) => ({ name })),
    },
  }),
});

const ending = { ready: false, serving: true, terminating: true };
const ended = { ready: false, serving: false, terminating: true };
const unready = { ready: false, serving: false };

/** Last bytes of the addresses of both sets, and whether there is any usable endpoint. */
function sets(policies: object, endpoints: readonly Given[], surroundings = HERE) {
  const spec = { clusterIP: '10.96.0.1', ports: [{ port: 80 }], ...policies };
  const given = endpoints.map((each, i) => endpoint(i + 1, each));
  const [port] = compile([service('s', spec), slice('s-1', 's', { endpoints: given })], surroundings);
  const last = (list: readonly { address: readonly number[] }[]) =>
    list.map(({ address }) => address[3]! & 255);
  const { backends, local, usable } = port!;
  return {
    cluster: last(backends),
    local: local && last(local),
    usable: usable ?? backends.length + (local?.length ?? 0) > 0,
  };
}

const nodePort = { ports: [{ port: 80, nodePort: 30_080 }] };
const external = { ...nodePort, externalTrafficPolicy: 'Local' };
const internal = { internalTrafficPolicy: 'Local' };
const zoned = (...zones: string[]): Given[] => zones.map((zone) => ({ zones: [zone] }));

describe('the sets of a service port', () => {
  it.each([
    ['hints for this zone are followed', {}, zoned('a', 'b', 'c', 'a'), [1, 4], undefined],
    [
      'an endpoint for several zones is for each of them',
      {},
      [{ zones: ['b', 'a'] }, { zones: ['c'] }],
      [1],
      undefined,
    ],
    ['one endpoint without hints: none are followed', {}, [...zoned('a', 'b'), {}], [1, 2, 3], undefined],
    ['no endpoint for this zone: none are followed', {}, zoned('b', 'c'), [1, 2], undefined],
    [
      'hints of endpoints that are not ready do not count',
      {},
      [...zoned('a', 'b'), { conditions: unready }],
      [1],
      undefined,
    ],
    [
      'only unready endpoints in this zone: none are followed',
      {},
      [{ zones: ['a'], conditions: unready }, ...zoned('b', 'c')],
      [2, 3],
      undefined,
    ],
    [
      'hints for this node come before those for its zone',
      {},
      [
        { nodes: ['here'], zones: ['a'] },
        { nodes: ['there'], zones: ['a'] },
      ],
      [1],
      undefined,
    ],
    [
      'no endpoint for this node: those for its zone',
      {},
      [
        { nodes: ['x'], zones: ['a'] },
        { nodes: ['y'], zones: ['b'] },
      ],
      [1],
      undefined,
    ],
    [
      'eTP Local: the local set ignores hints',
      external,
      [{ zones: ['a'], local: true }, { zones: ['b'], local: true }, ...zoned('b', 'a')],
      [1, 4],
      [1, 2],
    ],
    [
      'iTP Local: the local set ignores hints',
      { ...nodePort, ...internal },
      [{ zones: ['a'], local: true }, { zones: ['b'], local: true }, ...zoned('b', 'a')],
      [1, 4],
      [1, 2],
    ],
  ] satisfies [string, object, Given[], number[], number[] | undefined][])(
    'S11: %s',
    (_what, policies, endpoints, cluster, local) => {
      expect(sets(policies, endpoints)).toEqual({ cluster, local, usable: true });
    },
  );

  it('S11: without a zone of this node, or a hint of none, zones are not followed', () => {
    const nowhere = { ...HERE, zone: '' };
    expect(sets({}, zoned('a', 'b'), nowhere).cluster).toEqual([1, 2]);
    expect(sets({}, zoned('', 'b'), nowhere).cluster).toEqual([1, 2]);
  });

  it.each([
    ['Cluster and nothing outside', {}, [1, 2], undefined],
    ['iTP Local and nothing outside', internal, [], [1]],
    ['iTP Local and a node port', { ...internal, ...nodePort }, [1, 2], [1]],
    ['eTP Local and nothing outside', { externalTrafficPolicy: 'Local' }, [1, 2], undefined],
    ['eTP Local and a node port', external, [1, 2], [1]],
    [
      'eTP Local and an external IP',
      { externalTrafficPolicy: 'Local', externalIPs: ['203.0.113.1'] },
      [1, 2],
      [1],
    ],
    ['both Local, with a node port', { ...internal, ...external }, [1, 2], [1]],
  ] as const)('S10: %s', (_what, policies, cluster, local) => {
    const found = sets(policies, [{ local: true }, {}]);
    expect([found.cluster, found.local]).toEqual([cluster, local]);
  });

  it.each([
    ['all ready', [{ local: true }, {}], [1, 2], [1], true],
    ['ready before terminating, set by set', [{ local: true, conditions: ending }, {}], [2], [1], true],
    [
      'terminating where none is ready',
      [{ local: true, conditions: ending }, { conditions: ending }],
      [1, 2],
      [1],
      true,
    ],
    [
      'those that serve no more get nothing',
      [{ local: true, conditions: ended }, { conditions: ending }],
      [2],
      [],
      true,
    ],
    ['only remote ones', [{}, {}], [1, 2], [], true],
    ['none that can be used', [{ local: true, conditions: unready }, { conditions: ended }], [], [], false],
    ['serving and not ready is not enough', [{ conditions: { ready: false, serving: true } }], [], [], false],
    ['none at all', [], [], [], false],
  ] satisfies [string, Given[], number[], number[], boolean][])(
    'S12, S13, S14: %s',
    (_what, endpoints, cluster, local, usable) => {
      expect(sets(external, endpoints)).toEqual({ cluster, local, usable });
    },
  );

  it('S14: endpoints on other nodes only are known to be there', () => {
    expect(sets(internal, [{}, {}])).toEqual({ cluster: [], local: [], usable: true });
  });

  it('S5: without the name of this node, and without a node, nothing is local', () => {
    expect(sets(external, [{ local: true }], { ...HERE, nodeName: '' }).local).toEqual([]);
    const anonymous = { addresses: ['10.0.0.1'] };
    const spec = { clusterIP: '10.96.0.1', ...external };
    const [port] = compile([service('s', spec), slice('s-1', 's', { endpoints: [anonymous] })]);
    expect(port!.local).toEqual([]);
  });

  it('S7: an endpoint in two slices is local if one of them says so', () => {
    const spec = { clusterIP: '10.96.0.1', ...external };
    const there = slice('s-1', 's', { endpoints: [endpoint(1, {})] });
    const here = slice('s-2', 's', { endpoints: [endpoint(1, { local: true })] });
    for (const documents of [
      [there, here],
      [here, there],
    ]) {
      const [port] = compile([service('s', spec), ...documents]);
      expect([port!.backends.length, port!.local!.length]).toEqual([1, 1]);
    }
  });

  it('S31: an address that serves and is in the local set only is no other', () => {
    const spec = { clusterIP: '10.96.0.1', ...external };
    const endpoints = [
      endpoint(1, { local: true, conditions: ending }),
      endpoint(2, {}),
      endpoint(3, { conditions: ending }),
    ];
    const [port] = compile([service('s', spec), slice('s-1', 's', { endpoints })]);
    expect(port!.serving!.map(formatWords)).toEqual(['10.0.0.3']);
  });
});

describe('a dual-stack service', () => {
  const spec = {
    clusterIPs: ['10.96.0.1', 'fd00:96::1'],
    externalIPs: ['203.0.113.1', '2001:db8::1', '203.0.113.1'],
    loadBalancerSourceRanges: [' 198.51.100.7/24 ', '2001:db8:1::/48'],
    ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
    type: 'LoadBalancer',
  };
  const status = {
    loadBalancer: {
      ingress: [
        { ip: '203.0.113.2' },
        { ip: '203.0.113.3', ipMode: 'Proxy' },
        { ip: '203.0.113.4', ipMode: 'VIP' },
        { hostname: 'lb.example' },
        { ip: '2001:db8::2' },
      ],
    },
  };
  const documents = [
    { ...service('s', spec), status },
    slice('v4', 's', { ports: [{ name: 'http', port: 8080 }], endpoints: [{ addresses: ['10.0.0.1'] }] }),
    slice('v6', 's', {
      addressType: 'IPv6',
      ports: [{ name: 'http', port: 8081 }],
      endpoints: [{ addresses: ['fd00:1::1'] }, { addresses: ['fe80::1'] }, { addresses: ['10.0.0.9'] }],
    }),
  ];
  const both = (surroundings = HERE) =>
    compile(documents, surroundings).sort((a, b) => b.vip[2]! - a.vip[2]!);
  const where = ({ frontends }: ServiceConfig) =>
    frontends!.map((f) => `${f.kind} ${formatWords(f.address)}`);

  it('S3, S4, S9: has a service port per family, each with what is of its family', () => {
    const [v4, v6] = both();
    expect(where(v4!)).toEqual([
      'clusterIP 10.96.0.1',
      'externalIP 203.0.113.1',
      'loadBalancer 203.0.113.2',
      'loadBalancer 203.0.113.4',
    ]);
    expect(where(v6!)).toEqual([
      'clusterIP fd00:96::1',
      'externalIP 2001:db8::1',
      'loadBalancer 2001:db8::2',
    ]);
    expect([v4!.nodePort, v6!.nodePort]).toEqual([30_080, 30_080]);
  });

  it('S5, S8: takes endpoints from the slices of the family, and refuses what is none of it', () => {
    const ends = ({ backends }: ServiceConfig) => backends.map((b) => `${formatWords(b.address)} ${b.port}`);
    expect(both().map(ends)).toEqual([['10.0.0.1 8080'], ['fd00:1::1 8081']]);
  });

  it('S3: source ranges lose blanks and host bits, and count for their family', () => {
    const [v4, v6] = both();
    expect(v4!.ranges).toEqual([{ address: parseAddress('198.51.100.0').words, prefix: 120 }]);
    expect(v6!.ranges).toEqual([{ address: parseAddress('2001:db8:1::').words, prefix: 48 }]);
    const [only4] = compile([
      { ...service('s', { ...spec, loadBalancerSourceRanges: ['fd00::/8'] }), status },
    ]);
    expect(only4!.ranges).toBeUndefined();
  });

  it('S18: a node inside the ranges makes the load balancer’s addresses allowed sources', () => {
    const [v4] = both({ ...HERE, nodeAddresses: [parseAddress('198.51.100.9').words] });
    expect(v4!.ranges!.map(({ address, prefix }) => `${formatWords(address)} ${prefix}`)).toEqual([
      '198.51.100.0 120',
      '203.0.113.2 128',
      '203.0.113.4 128',
    ]);
  });
});

describe('what Twill adds', () => {
  const shop = { clusterIP: '10.96.0.1', ports: [{ port: 80 }] };
  const ends = { endpoints: [{ addresses: ['10.0.0.1'] }] };
  const noted = (annotations: object) => service('s', shop, { annotations });

  it('M12: the weight of a slice is that of its endpoints', () => {
    const heavy = slice('a', 's', ends);
    const weighted = {
      ...heavy,
      metadata: { ...heavy.metadata, annotations: { 'service.cilium.io/weight': '0' } },
    };
    const [port] = compile([service('s', shop), weighted]);
    expect(port!.backends[0]!.weight).toBe(0);
    expect(compile([service('s', shop), heavy])[0]!.backends[0]!.weight).toBeUndefined();
  });

  it('M12: annotations choose the algorithm and what happens to flows; the Host says what is usual', () => {
    const proxy = { algorithm: 'maglev', onEndpointRemoved: 'drain', drain: 5 } as const;
    const [usual] = compile([service('s', shop)], { ...HERE, proxy });
    expect(usual).toMatchObject({ algorithm: 'maglev', onEndpointRemoved: 'drain', drain: 5000 });
    const own = noted({
      'twill/algorithm': 'random',
      'twill/on-endpoint-removed': 'reset',
      'twill/drain': '7s',
    });
    expect(compile([own], { ...HERE, proxy })[0]).toMatchObject({
      algorithm: 'random',
      onEndpointRemoved: 'reset',
    });
    const drained = noted({ 'twill/drain': '1500ms' });
    expect(compile([drained], { ...HERE, proxy })[0]!.drain).toBe(1500);
  });

  it.each([
    ['absolute', 'absolute'],
    ['sliding', undefined],
    ['fixed', undefined],
  ])('M12: affinity mode %s is %s', (mode, compiled) => {
    const [port] = compile([noted({ 'twill/affinity-mode': mode })]);
    expect(port!.affinityMode).toBe(compiled);
  });
});
