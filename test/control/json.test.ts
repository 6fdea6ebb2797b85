/** JSON read fast means what it means as YAML: the two readers against each other. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonCursor, Keys } from '../../src/control/json.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import type { Resource } from '../../src/control/types.ts';
import { service, slice } from './fixture.ts';

/** All there is to know of a resource. */
const meaning = (resource: Resource) => {
  const { kind, name, namespace, labels, annotations, document } = resource;
  const { spec } = resource;
  const content = resource.kind === 'EndpointSlice' ? resource.spec : undefined;
  return {
    ...{ kind, name, namespace, labels, annotations, document },
    spec: content
      ? { service: content.service, addressType: content.addressType, ports: content.ports }
      : spec,
    endpoints: content?.endpoints,
    words: content && [...content.words],
    nodes: content?.nodes,
    hints: content?.hints,
    weight: content?.weight,
  };
};

function read(text: string) {
  const { resources, problems, warnings } = parseSources([{ file: 'f', text }]);
  return {
    resources: resources.map(meaning),
    places: resources.map(({ origin }) => `${origin.line}:${origin.column}`),
    problems: problems.map(formatProblem),
    warnings: warnings.map(formatProblem),
    plain: resources.filter((r) => r.isPlain).length,
  };
}

/** The same text where only the YAML reader takes it: behind a blank comment on its first line. */
function readAsYaml(text: string) {
  const lower = (line: string) => line.replace(/\bf:(\d+):/g, (_, n) => `f:${Number(n) - 1}:`);
  const found = read(`#\n${text}`);
  return {
    ...found,
    places: found.places.map((place) => place.replace(/^\d+/, (n) => String(Number(n) - 1))),
    problems: found.problems.map(lower),
    warnings: found.warnings.map(lower),
  };
}

const oddly = <T>(usual: fc.Arbitrary<T>, ...odd: unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: usual, weight: 40 }, { arbitrary: fc.constantFrom(...odd), weight: 1 });
const rarely = (value: unknown) => oddly(fc.constant(undefined), value);
const labels = (known: string) =>
  fc.dictionary(
    fc.constantFrom('app', known, 'ünï', '__proto__', 'service.kubernetes.io/headless'),
    oddly(fc.constantFrom('s', 't'), '', 1, null, 'é"'),
    {
      maxKeys: 3,
    },
  );
const metadata = (label: string) =>
  oddly(
    fc.record(
      {
        name: oddly(fc.constantFrom('a', 'b-1'), '', 5, null, 'nämé', 'q"uote'),
        namespace: oddly(fc.constantFrom('default', 'x'), '', null),
        labels: oddly(labels(label), null, []),
        annotations: oddly(
          fc.dictionary(fc.constantFrom('n', 'twil', 'twist/algorithm'), fc.string(), { maxKeys: 2 }),
          null,
          'x',
          { 'twill/algorithm': 'random' },
          { 'twill/drain': 'soon' },
          { 'service.cilium.io/weight': '7' },
          { 'service.cilium.io/weight': 'x' },
        ),
        creationTimestamp: fc.constantFrom(null, '2024-01-01T00:00:00Z'),
        managedFields: fc.constantFrom(null, [1, {}], { a: { b: 'é' } }),
        extra: rarely([1, {}]),
      },
      { requiredKeys: ['name'] },
    ),
    null,
    [],
  );
const port = fc.record(
  {
    name: oddly(fc.constantFrom('a', 'b', 'c'), '', null, 7),
    protocol: oddly(fc.constantFrom('TCP', 'UDP'), 'SCTP', 'tcp', null),
    port: oddly(fc.integer({ min: 1, max: 65_535 }), 0, 65_536, -1, '80', null, 1.5, 1e2),
    targetPort: fc.constantFrom(8080, 'http'),
    nodePort: oddly(fc.constantFrom(0, 30_000, 32_767), 29_999, 32_768, '30000', null, -1),
    appProtocol: fc.constant('http'),
    zone: rarely('a'),
  },
  { requiredKeys: ['name', 'port'] },
);
const slicePort = oddly(
  port.map((all) => ({ ...all, targetPort: undefined, nodePort: undefined })),
  { name: 'a', port: 80, targetPort: 8080 },
  { name: 'a', port: 80, nodePort: 30_000 },
);
const ip = oddly(
  fc.constantFrom('10.0.0.1', '10.0.0.2', '192.168.255.254'),
  '10.0.0.01',
  '127.0.0.1',
  '0.0.0.0',
  '256.0.0.1',
  '10.0.0',
  '10.0.0.1.5',
  'fd00::1',
  'None',
  '',
  null,
  5,
);
const services = fc.record({
  apiVersion: oddly(fc.constant('v1'), 'v2', null),
  kind: oddly(fc.constant('Service'), 'Servce', 'EndpointSlice', null),
  metadata: metadata('heedless'),
  spec: oddly(
    fc.record(
      {
        type: oddly(fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer'), 'ExternalName', 'Odd', null),
        internalTrafficPolicy: oddly(fc.constantFrom('Cluster', 'Local'), 'local', null),
        externalTrafficPolicy: oddly(fc.constantFrom('Cluster', 'Local'), '', null),
        ipFamilies: oddly(fc.constant(['IPv4']), ['IPv4', 'IPv6'], ['IPv6'], [], ['ipv4'], null, 'IPv4'),
        ipFamilyPolicy: oddly(fc.constant('SingleStack'), 'PreferDualStack', 'RequireDualStack', 'x', null),
        allocateLoadBalancerNodePorts: oddly(fc.boolean(), null, 'no'),
        slector: rarely({ app: 'x' }),
        healthCheckNodePort: rarely(31_000),
        loadBalancerSourceRanges: rarely([' 10.0.0.0/8', 'x']),
        clusterIP: ip,
        clusterIPs: oddly(
          fc.constant(undefined),
          null,
          'x',
          [],
          ['10.0.0.1'],
          ['10.0.0.1', '10.0.0.2'],
          ['fd00::1'],
        ),
        ports: oddly(fc.array(port, { minLength: 1, maxLength: 2 }), [], null, {}),
        sessionAffinity: oddly(fc.constant('None'), 'ClientIP', 'x'),
        sessionAffinityConfig: rarely({ clientIP: { timeoutSeconds: 5 } }),
        externalIPs: rarely(['010.0.0.1']),
        selector: fc.constant({ app: 'x' }),
      },
      { requiredKeys: ['clusterIP', 'ports'] },
    ),
    null,
    undefined,
  ),
  status: oddly(
    fc.constant({ loadBalancer: {} }),
    null,
    { loadBalancer: null },
    { loadBalancer: { ingress: [{ ip: '203.0.113.1' }, { hostname: 'x' }] } },
  ),
});
const slices = fc.record(
  {
    apiVersion: fc.constant('discovery.k8s.io/v1'),
    kind: fc.constant('EndpointSlice'),
    addressType: oddly(fc.constant('IPv4'), 'IPv6', 'FQDN', null),
    metadata: metadata('kubernetes.io/service-name'),
    ports: oddly(fc.array(slicePort, { maxLength: 2 }), null, 3),
    endpoints: oddly(
      fc.array(
        fc.record(
          {
            addresses: oddly(fc.tuple(ip), [], null, ['10.0.0.1', '10.0.0.02']),
            conditions: oddly(
              fc.record(
                {
                  ready: oddly(fc.boolean(), null, 'true'),
                  serving: oddly(fc.boolean(), null),
                  terminating: fc.boolean(),
                  reddy: rarely(true),
                },
                { requiredKeys: [] },
              ),
              null,
            ),
            nodeName: oddly(fc.constantFrom('node-1', 'node-2'), null, 4, ''),
            zone: fc.constant('a'),
            hints: rarely({ forZones: [{ name: 'a' }] }),
            targetRef: fc.constant({ kind: 'Pod', name: 'x' }),
          },
          { requiredKeys: ['addresses'] },
        ),
        { maxLength: 4 },
      ),
      null,
    ),
    spec: rarely({}),
    status: rarely({}),
  },
  { requiredKeys: ['apiVersion', 'kind', 'addressType', 'metadata', 'endpoints'] },
);

describe('JSON', () => {
  it('M1, M3, S38: Services and slices, usual and odd, mean and are told what they are as YAML', () => {
    let plain = 0;
    let all = 0;
    fc.assert(
      fc.property(
        fc.array(fc.oneof(services, slices), { minLength: 1, maxLength: 4 }),
        fc.constantFrom(0, 2, 4),
        fc.boolean(),
        (items, indent, isList) => {
          const value = isList ? { apiVersion: 'v1', items, kind: 'List' } : items[0];
          const text = JSON.stringify(value, null, indent);
          const { plain: fast, ...asJson } = read(text);
          const { plain: _, ...asYaml } = readAsYaml(text);
          expect(asJson).toEqual(asYaml);
          plain += fast;
          all += asJson.resources.length;
        },
      ),
      { numRuns: 600 },
    );
    expect(plain).toBeGreaterThan(all / 20); // one in seven, by the draws above
  });

  it('what kubectl prints is read the fast way', () => {
    const spec = {
      allocateLoadBalancerNodePorts: true,
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1'],
      externalTrafficPolicy: 'Cluster',
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'a', nodePort: 30_080, port: 80, protocol: 'TCP', targetPort: 8080 }],
      selector: { app: 's' },
      sessionAffinity: 'None',
      type: 'NodePort',
    };
    const endpoints = [
      {
        addresses: ['10.0.0.1'],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: 'node-1',
        targetRef: { kind: 'Pod', name: 's-0', namespace: 'n', uid: 'x' },
        zone: 'a',
      },
    ];
    const metadata = {
      namespace: 'n',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
      creationTimestamp: '2025-01-01T00:00:00Z',
    };
    const items = [
      { ...service('s', spec, metadata), status: { loadBalancer: {} } },
      slice('s-1', 's', { endpoints }),
    ];
    const { plain, resources } = read(JSON.stringify({ apiVersion: 'v1', items, kind: 'List' }, null, 4));
    expect([plain, resources.length]).toEqual([2, 2]);
  });

  it.each([
    [
      'a key twice',
      '{"kind": "Service", "kind": "Service"}',
      'f:1:21: this key occurs twice in one mapping; keep one',
    ],
    [
      'a key twice in a part that is not used',
      '{"kind": "x", "y": {"a": 1, "a": 2}}',
      'f:1:29: this key occurs twice',
    ],
    ['a comma too many', '{"kind": "Service",, }', 'f:1:'],
    ['more behind it', '{"kind": "Service"} x', 'f:1:'],
    ['an end too early', '{"kind": "Service"', 'f:1:'],
  ])('M3: %s is told with its place', (_what, text, message) => {
    expect(read(text).problems.join('\n')).toContain(message);
  });

  it('M3: positions count characters, not bytes', () => {
    const text =
      '{"kind": "Host", "apiVersion": "twill/v1alpha1",\n "metadata": {"name": "ü", "nome": 1}, "spec": 5}';
    expect(read(text).problems).toEqual(readAsYaml(text).problems);
  });

  it('two keys with one hash are two keys', () => {
    const accepts = (text: string) => {
      const cursor = new JsonCursor(Buffer.from(text), new Keys([]));
      cursor.skip();
      return !cursor.failed;
    };
    expect(accepts('{"Aa":1,"BB":2}')).toBe(true);
    expect(accepts('{"Aa":1,"BB":2,"Aa":3}')).toBe(false);
  });

  it('a value ends where JSON.parse says, or is not taken', () => {
    const cursor = (text: string) => new JsonCursor(Buffer.from(text), new Keys([]));
    const accepts = (text: string) => {
      const at = cursor(text);
      at.blanks();
      at.skip();
      at.blanks();
      return !at.failed && at.at === Buffer.byteLength(text);
    };
    const isJson = (text: string) => {
      try {
        JSON.parse(text);
        return true;
      } catch {
        return false;
      }
    };
    const pieces = fc.array(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"a"',
        '"b"',
        '"',
        '\\',
        'true',
        'null',
        '-',
        '0',
        '1',
        '.5',
        'e+3',
        ' ',
        '\n',
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          pieces.map((p) => p.join('')),
        ),
        fc.nat(),
        fc.constantFrom('', ',', '}', '"', '0', '\\'),
        (text, at, change) => {
          const place = at % (text.length + 1);
          for (const given of [text, text.slice(0, place) + change + text.slice(place + 1)]) {
            if (accepts(given)) expect(isJson(given), given).toBe(true);
            else if (isJson(given) && !given.includes('\\')) {
              // Only a key written twice, or with escapes, is JSON and not taken.
              expect(countKeys(JSON.parse(given)), given).toBeLessThan((given.match(/"\s*:/g) ?? []).length);
            }
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum: number, item) => sum + countKeys(item), own);
}
