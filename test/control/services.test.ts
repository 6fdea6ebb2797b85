import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatProblem } from '../../src/control/problem.ts';
import { type Replacement, ServiceBook } from '../../src/control/services.ts';
import { NOWHERE } from '../../src/control/surroundings.ts';
import type { Resource } from '../../src/control/types.ts';
import type { ServiceConfig } from '../../src/dataplane/config.ts';
import { formatWords, parseCidr } from '../../src/wire/address.ts';
import { besideSlices, resources, service, servicesIn, servicesOf, slice } from './fixture.ts';

/** "name vip:port/protocol → backends" per compiled service. */
function compiled(...documents: readonly object[]): string[] {
  return servicesOf(...documents).map(({ name, vip, port, protocol, backends }) => {
    const list = backends.map((backend) => `${formatWords(backend.address)}:${backend.port}`).join(' ');
    return `${name} ${formatWords(vip)}:${port}/${protocol} ${list}`.trim();
  });
}

const spec = { clusterIP: '10.96.0.1', ports: [{ port: 80, targetPort: 9999 }] };
const ready = (...addresses: string[]) => ({ endpoints: addresses.map((a) => ({ addresses: [a] })) });
const backends = (...documents: readonly object[]) =>
  compiled(service('s', spec), ...documents)[0]!.split('/6 ')[1] ?? '';

describe('S2: Services that are not programmed', () => {
  it.each([
    ['service-proxy-name label', spec, { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } }],
    ['headless label', spec, { labels: { 'service.kubernetes.io/headless': '' } }],
    ['ExternalName', { ...spec, type: 'ExternalName', externalName: 'x.example' }, {}],
    ['clusterIP None', { ...spec, clusterIP: 'None' }, {}],
    ['clusterIP empty', { ...spec, clusterIP: '' }, {}],
    ['no clusterIP', { ports: spec.ports }, {}],
    ['clusterIP absurd', { ...spec, clusterIP: '127.0.0.1' }, {}],
    ['clusterIP not the first of clusterIPs', { ...spec, clusterIPs: ['10.96.0.2', '10.96.0.1'] }, {}],
    ['clusterIP, and None first of clusterIPs', { ...spec, clusterIPs: ['None'] }, {}],
  ])('S2: %s', (_title, given, metadata) => {
    expect(compiled(service('s', given, metadata))).toEqual([]);
  });
});

describe('services', () => {
  it('S3: one entry per port and family', () => {
    const ports = [
      { name: 'a', port: 80 },
      { name: 'b', port: 53, protocol: 'UDP' },
      { name: 'c', port: 9, protocol: 'SCTP' },
    ];
    expect(
      compiled(service('s', { clusterIP: 'fd00::1', clusterIPs: ['fd00::1', '10.96.0.1'], ports })),
    ).toEqual([
      'default/s:a fd00::1:80/6',
      'default/s:a 10.96.0.1:80/6',
      'default/s:b fd00::1:53/17',
      'default/s:b 10.96.0.1:53/17',
      'default/s:c fd00::1:9/132',
      'default/s:c 10.96.0.1:9/132',
    ]);
  });

  it('S5: slices belong by label within their namespace; only addresses[0] counts; FQDN is ignored', () => {
    expect(
      backends(
        slice('s-1', 's', { endpoints: [{ addresses: ['10.0.0.1', '10.0.0.9'] }] }),
        slice('s-2', 'other', ready('10.0.0.2')),
        {
          ...slice('s-3', 's', ready('10.0.0.3')),
          metadata: { name: 's-3', namespace: 'x', labels: { 'kubernetes.io/service-name': 's' } },
        },
        slice('s-4', 's', { addressType: 'FQDN', ...ready('web.example') }),
        slice('s-5', 's', { addressType: 'IPv6', ...ready('fd00::1') }),
      ),
    ).toBe('10.0.0.1:8080');
  });

  it('S5: a slice port without name or number is skipped', () => {
    expect(
      backends(
        slice('s-1', 's', {
          ports: [{ port: 1 }, { name: '' }, { name: '', port: 0 }],
          ...ready('10.0.0.1'),
        }),
      ),
    ).toBe('');
  });

  it('S7: one ip:port in several slices counts once, a non-terminating instance first', () => {
    const endpoint = (conditions: object) => ({ endpoints: [{ addresses: ['10.0.0.1'], conditions }] });
    const ending = slice('s-1', 's', endpoint({ ready: false, serving: true, terminating: true }));
    const well = slice('s-2', 's', endpoint({}));
    expect(backends(ending, well)).toBe('10.0.0.1:8080');
    const unready = slice('s-2', 's', endpoint({ ready: false, serving: false }));
    expect(backends(ending, unready)).toBe('');
    expect(backends(unready, ending)).toBe('');
  });

  it('S8: the endpoint port is the slice port of the same name and protocol, never targetPort', () => {
    const ports = [
      { name: '', port: 8080 },
      { name: '', port: 53, protocol: 'UDP' },
      { name: 'other', port: 9 },
    ];
    expect(backends(slice('s-1', 's', { ports, ...ready('10.0.0.1') }))).toBe('10.0.0.1:8080');
  });

  it('S8: refused addresses drop out, the rest stays', () => {
    expect(backends(slice('s-1', 's', ready('127.0.0.1', '10.0.0.1', '224.0.0.1', 'x')))).toBe(
      '10.0.0.1:8080',
    );
  });

  it('S12: ready endpoints, else those that serve while terminating', () => {
    const one = (address: string, conditions: object) => ({ addresses: [address], conditions });
    const ending = one('10.0.0.2', { ready: false, serving: true, terminating: true });
    const dead = one('10.0.0.3', { ready: false, serving: false, terminating: true });
    const starting = one('10.0.0.4', { ready: false, serving: true, terminating: false });
    expect(backends(slice('a', 's', { endpoints: [one('10.0.0.1', {}), ending, dead, starting] }))).toBe(
      '10.0.0.1:8080',
    );
    expect(backends(slice('a', 's', { endpoints: [ending, dead, starting] }))).toBe('10.0.0.2:8080');
    expect(backends(slice('a', 's', { endpoints: [dead, starting] }))).toBe('');
  });

  it('S24: backends are ordered by address, then port, as numbers', () => {
    const list = [slice('a', 's', ready('200.0.0.1', '10.0.0.10')), slice('b', 's', ready('10.0.0.9'))];
    const low = slice('c', 's', { ports: [{ name: '', port: 80 }], ...ready('10.0.0.10') });
    expect(backends(...list, low)).toBe('10.0.0.9:8080 10.0.0.10:80 10.0.0.10:8080 200.0.0.1:8080');
  });

  it('S26: affinity is in milliseconds', () => {
    const [sticky] = servicesOf(service('s', { ...spec, sessionAffinity: 'ClientIP' }));
    expect(sticky).toMatchObject({ affinity: 10_800_000 });
  });

  it('M10: the older Service has the address, then the first by name; removing it activates the other', () => {
    const a = service('a', spec, { creationTimestamp: '2025-01-01T00:00:00Z' });
    const b = service('b', spec, { creationTimestamp: '2024-01-01T00:00:00Z' });
    expect(compiled(a, b)).toEqual(['default/b:80 10.96.0.1:80/6']);
    expect(compiled(a)).toEqual(['default/a:80 10.96.0.1:80/6']);
    expect(compiled(service('d', spec), service('c', spec))).toEqual(['default/c:80 10.96.0.1:80/6']);
  });

  it('S31: addresses that serve and get no new flows are told apart; none is more than no endpoint', () => {
    const one = (address: string, ready: boolean, serving: boolean) => ({
      addresses: [address],
      conditions: { ready, serving, terminating: !ready },
    });
    const endpoints = [
      one('10.0.0.2', false, true),
      one('10.0.0.1', true, true),
      one('10.0.0.3', false, false),
    ];
    const [both] = servicesOf(service('s', spec), slice('a', 's', { endpoints }));
    expect(both!.backends.map((b) => formatWords(b.address))).toEqual(['10.0.0.1']);
    expect(both!.serving!.map(formatWords)).toEqual(['10.0.0.2']);
  });
});

describe('a change of services', () => {
  const subnets = [{ network: 'blue', cidr: parseCidr('10.77.0.0/24') }];
  const around = { ...NOWHERE, nodeName: 'here', subnets };
  const nameOf = (r: Resource) => `${r.kind} ${r.namespace}/${r.name}`;

  /** A running book, its set, and what a dataplane would hold after every batch. */
  class Running {
    readonly book = new ServiceBook();
    readonly table = new Map<number, ServiceConfig>();
    private set = new Map<string, Resource>();

    /** Goes to exactly these documents. @returns what the dataplane was told */
    become(...documents: readonly object[]) {
      const { changes, next } = this.towards(documents);
      const staged = this.book.stage(changes, around, false);
      const set = servicesIn(staged.batch);
      const removed = [...staged.batch.removed];
      for (const config of set) this.table.set(config.id, config);
      for (const id of removed) if (!this.table.delete(id)) throw new Error(`${id} is not there`);
      staged.commit();
      this.set = next;
      return {
        set: set.map((s) => s.name),
        removed,
        warnings: besideSlices(staged.warnings).map(formatProblem),
      };
    }

    /** The same, but refused in the end. */
    stage(...documents: readonly object[]) {
      return this.book.stage(this.towards(documents).changes, around, false);
    }

    get meaning(): Omit<ServiceConfig, 'id'>[] {
      const all = [...this.table.values()].map(({ id: _, ...rest }) => rest);
      return all.sort((a, b) => (`${a.name} ${a.protocol}` < `${b.name} ${b.protocol}` ? -1 : 1));
    }

    private towards(documents: readonly object[]) {
      const next = new Map(resources(...documents).map((r) => [nameOf(r), r]));
      const changes: Replacement[] = [];
      for (const [key, after] of next) changes.push({ before: this.set.get(key), after });
      for (const [key, before] of this.set) if (!next.has(key)) changes.push({ before, after: undefined });
      return { changes, next };
    }
  }

  const documents = fc
    .uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd'),
        vip: fc.constantFrom('10.96.0.1', '10.96.0.2', 'fd00::1', ''),
        externalIPs: fc.constantFrom([], ['203.0.113.1'], ['203.0.113.1', '2001:db8::1']),
        policy: fc.constantFrom('Cluster', 'Local'),
        ports: fc.uniqueArray(
          fc.record({
            port: fc.constantFrom(53, 80),
            protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
            isOpen: fc.boolean(),
          }),
          { selector: (p) => `${p.port} ${p.protocol}`, minLength: 1 },
        ),
        age: fc.constantFrom(undefined, '2024-01-01T00:00:00Z', '2025-01-01T00:00:00Z'),
        affinity: fc.boolean(),
        withService: fc.boolean(),
        slices: fc.array(
          fc.array(
            fc.record({
              address: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '127.0.0.1'),
              ready: fc.boolean(),
              serving: fc.boolean(),
              terminating: fc.boolean(),
              nodeName: fc.constantFrom('here', 'there', undefined),
            }),
            { maxLength: 4 },
          ),
          { maxLength: 3 },
        ),
      }),
      { selector: (s) => s.name },
    )
    .map((services) =>
      services.flatMap(({ name, vip, ports, age, affinity, withService, slices, externalIPs, policy }) => {
        const named = ports.map(({ port, protocol, isOpen }) => ({
          port,
          protocol,
          name: `p${port}${protocol}`,
          nodePort: isOpen ? 30_000 + port : 0,
        }));
        const policies = { externalIPs, internalTrafficPolicy: policy, externalTrafficPolicy: policy };
        const sessionAffinity = affinity ? 'ClientIP' : 'None';
        const metadata = age === undefined ? {} : { creationTimestamp: age };
        return [
          ...(withService
            ? [service(name, { clusterIP: vip, ports: named, sessionAffinity, ...policies }, metadata)]
            : []),
          ...slices.map((endpoints, i) =>
            slice(`${name}-${i}`, name, {
              ports: named,
              addressType: vip.includes(':') ? 'IPv6' : 'IPv4',
              endpoints: endpoints.map(({ address, nodeName, ...conditions }) => ({
                addresses: [vip.includes(':') ? `fd00::${address}` : address],
                conditions,
                nodeName,
              })),
            }),
          ),
        ];
      }),
    );

  it('M5, M10: after any history the dataplane holds exactly what the last set means', () => {
    fc.assert(
      fc.property(fc.array(documents, { minLength: 1, maxLength: 6 }), (history) => {
        const running = new Running();
        for (const set of history) {
          running.become(...set);
          const fresh = new Running();
          fresh.become(...set);
          expect(running.meaning).toEqual(fresh.meaning);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('M4: what was staged and refused leaves no trace', () => {
    fc.assert(
      fc.property(documents, documents, documents, (first, refused, next) => {
        const [disturbed, calm] = [new Running(), new Running()];
        disturbed.become(...first);
        calm.become(...first);
        disturbed.stage(...refused);
        expect(disturbed.become(...next)).toEqual(calm.become(...next));
        expect([...disturbed.table.keys()]).toEqual([...calm.table.keys()]);
      }),
      { numRuns: 100 },
    );
  });

  it('M7: nothing is told between equal sets, and of changed endpoints only their service', () => {
    const running = new Running();
    const set = (address: string) => [
      service('s', spec),
      service('t', { ...spec, clusterIP: '10.96.0.2' }),
      slice('s-1', 's', ready(address)),
      slice('t-1', 't', ready('10.0.0.9')),
    ];
    expect(running.become(...set('10.0.0.1')).set).toEqual(['default/s:80', 'default/t:80']);
    expect(running.become(...set('10.0.0.1'))).toEqual({ set: [], removed: [], warnings: [] });
    expect(running.become(...set('10.0.0.2'))).toEqual({ set: ['default/s:80'], removed: [], warnings: [] });
  });

  it('ids stay with their port and rest for one change when they are freed', () => {
    const running = new Running();
    const named = (name: string, vip: string) => service(name, { ...spec, clusterIP: vip });
    const idOf = (name: string) =>
      [...running.table.values()].find((s) => s.name === `default/${name}:80`)!.id;
    const [a, b, c] = [named('a', '10.96.0.1'), named('b', '10.96.0.2'), named('c', '10.96.0.3')];
    running.become(a, b);
    expect([idOf('a'), idOf('b')]).toEqual([0, 1]);
    expect(running.become(b, c).removed).toEqual([0]);
    expect([idOf('b'), idOf('c')]).toEqual([1, 2]);
    running.become(a, b, c);
    expect(idOf('a')).toBe(0);
  });

  it('S15: a Service without a slice is told, when it comes and when its last slice goes', () => {
    const book = new ServiceBook();
    const told = (...changes: Replacement[]) => {
      const staged = book.stage(changes, around, false);
      staged.commit();
      return staged.warnings.map(formatProblem);
    };
    const [shop, web, part, none] = resources(
      service('shop', spec),
      service('web', { ...spec, clusterIP: '10.96.0.2' }),
      slice('shop-1', 'shop', ready('10.0.0.1')),
      service('none', { ...spec, clusterIP: 'None' }),
    );
    const refused = (name: string) =>
      expect.stringMatching(
        new RegExp(
          `^f:1:\\d+: metadata.name: no EndpointSlice names Service default/${name}: its clients are refused until one does$`,
        ),
      );
    const come = (after?: Resource) => ({ before: undefined, after });
    expect(told(come(shop), come(part), come(web), come(none))).toEqual([refused('web')]);
    expect(told({ before: web, after: web })).toEqual([]);
    expect(told({ before: part, after: undefined })).toEqual([refused('shop')]);
    const many = resources(
      ...Array.from({ length: 25 }, (_, i) => service(`s${i}`, { ...spec, clusterIP: `10.96.1.${i}` })),
    );
    const lines = told(...many.map(come));
    expect(lines).toHaveLength(20);
    expect(lines.at(-1)).toContain('its clients (and those of 5 more Services) are refused');
  });

  it('M10: a change says what follows for others that want the address', () => {
    const running = new Running();
    const old = service('z', spec, { creationTimestamp: '2024-01-01T00:00:00Z' });
    running.become(service('a', spec), service('other', { ...spec, clusterIP: '10.96.0.9' }));
    const { set, removed, warnings } = running.become(
      service('a', spec),
      service('other', { ...spec, clusterIP: '10.96.0.9' }),
      old,
    );
    expect([set, removed]).toEqual([['default/z:80'], [0]]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/10\.96\.0\.1:80\/TCP belongs to Service default\/z .*, which is older/);
  });

  it('a subnet that comes judges the services that run', () => {
    const running = new Running();
    running.become(service('s', { ...spec, clusterIP: '10.88.0.5' }));
    const wider = [...subnets, { network: 'red', cidr: parseCidr('10.88.0.0/16') }];
    expect(
      running.book.stage([], { ...around, subnets: wider }, true).problems.map(({ message }) => message),
    ).toEqual(['10.88.0.5 lies inside subnet 10.88.0.0/16 of network red; use one outside every subnet']);
  });

  it('S5, S11: another node, zone or default compiles every service again, and nothing else does', () => {
    const running = new Running();
    const external = { ...spec, externalTrafficPolicy: 'Local', externalIPs: ['203.0.113.1'] };
    const endpoints = [{ addresses: ['10.0.0.1'], nodeName: 'there' }];
    running.become(service('s', external), slice('s-1', 's', { endpoints }));
    const localAfter = (surroundings: object) => {
      const staged = running.book.stage([], { ...around, ...surroundings }, true);
      return servicesIn(staged.batch).map(({ local }) => local!.length);
    };
    expect(localAfter({})).toEqual([]);
    expect(localAfter({ nodeName: 'there' })).toEqual([1]);
    expect(localAfter({ zone: 'b' })).toEqual([]);
    const proxy = { ...NOWHERE.proxy, algorithm: 'random' as const };
    expect(localAfter({ proxy })).toEqual([0]);
  });

  it('M10: each address and node port goes to the older Service; what is not contested stays', () => {
    const running = new Running();
    const make = (name: string, clusterIP: string, year: number) =>
      service(
        name,
        { clusterIP, externalIPs: ['203.0.113.1'], ports: [{ port: 80, nodePort: 30_080 }] },
        { creationTimestamp: `${year}-01-01T00:00:00Z` },
      );
    const young = make('young', '10.96.0.1', 2025);
    const old = make('old', '10.96.0.2', 2024);
    const { warnings } = running.become(young, old);
    expect(warnings.map((w) => w.replace(/^f:\d+:\d+: | \(.*?\)/g, ''))).toEqual([
      'spec.ports[0].port: 203.0.113.1:80/TCP belongs to Service default/old, which is older; Service default/young is not found there',
      'spec.ports[0].nodePort: node port 30080/TCP belongs to Service default/old, which is older; Service default/young is not found there',
    ]);
    const [whole, rest] = running.meaning;
    expect([whole!.frontends!.length, whole!.nodePort]).toEqual([2, 30_080]);
    expect([rest!.frontends, rest!.nodePort, formatWords(rest!.vip)]).toEqual([
      undefined,
      undefined,
      '10.96.0.1',
    ]);
    running.become(young);
    expect(running.meaning[0]).toMatchObject({ nodePort: 30_080, frontends: [{}, { kind: 'externalIP' }] });
  });

  it('S34, S36: counts ready endpoints of this node, and services that have none here', () => {
    const running = new Running();
    const balanced = {
      ...spec,
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      internalTrafficPolicy: 'Local',
      healthCheckNodePort: 31_000,
      ports: [{ port: 80, nodePort: 30_080 }],
    };
    const at = (nodeName: string, conditions = {}) => ({ addresses: ['10.0.0.1'], nodeName, conditions });
    const checks = () =>
      running.book.healthChecks().map(({ port, localEndpoints }) => [port, localEndpoints]);
    running.become(service('s', balanced), slice('s-1', 's', { endpoints: [at('here')] }));
    expect([checks(), running.book.withoutLocalEndpoints]).toEqual([
      [[31_000, 1]],
      { internal: 0, external: 0 },
    ]);
    running.become(service('s', balanced), slice('s-1', 's', { endpoints: [at('there')] }));
    expect([checks(), running.book.withoutLocalEndpoints]).toEqual([
      [[31_000, 0]],
      { internal: 1, external: 1 },
    ]);
    running.become(service('s', { ...balanced, externalTrafficPolicy: 'Cluster' }));
    expect([checks(), running.book.withoutLocalEndpoints]).toEqual([[], { internal: 0, external: 0 }]);
    // Another proxy's, whose port it is too.
    running.become(
      service('s', balanced, { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } }),
      slice('s-1', 's', { endpoints: [at('here')] }),
    );
    expect(checks()).toEqual([]);
  });
});
