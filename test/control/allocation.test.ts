/** What Services are given that leave it open: `control/allocation/`, through the book that asks for it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressAt,
  addressRange,
  firstPlace,
  freePlace,
  NODE_PORTS,
} from '../../src/control/allocation/range.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { ServiceBook } from '../../src/control/services.ts';
import { NOWHERE, type Surroundings } from '../../src/control/surroundings.ts';
import type { Resource } from '../../src/control/types.ts';
import { contains, formatWords, parseAddress, parseCidr } from '../../src/wire/address.ts';
import { besideSlices, resources, service } from './fixture.ts';

const cluster = (...cidrs: string[]): Surroundings => ({ ...NOWHERE, serviceCIDRs: cidrs.map(parseCidr) });
const WIDE = cluster('10.96.0.0/16');

/** A daemon's Services, and what is applied to them. */
class Cluster {
  readonly book = new ServiceBook();
  readonly running = new Map<string, Resource>();
  constructor(public surroundings: Surroundings) {}

  apply(after: readonly Resource[], gone: readonly string[] = [], recheck = false) {
    const changes = [
      ...after.map((each) => ({ before: this.running.get(each.name), after: each })),
      ...gone.map((name) => ({ before: this.running.get(name), after: undefined })),
    ];
    const staged = this.book.stage(changes, this.surroundings, recheck);
    if (staged.problems.length === 0) {
      staged.commit();
      for (const name of gone) this.running.delete(name);
      for (const each of after) this.running.set(each.name, each);
    }
    return {
      problems: staged.problems.map(formatProblem),
      warnings: besideSlices(staged.warnings).map(formatProblem),
      given: staged.given,
    };
  }

  addresses(name: string): string[] {
    return this.book.get('default', name)!.spec.addresses.map(({ words }) => formatWords(words));
  }

  nodePorts(name: string): number[] {
    return this.book.get('default', name)!.spec.ports.map(({ nodePort }) => nodePort);
  }

  /** Of every Service, in one line each. */
  all(): string[] {
    return [...this.running.keys()]
      .map((name) => `${name} ${this.addresses(name)} ${this.nodePorts(name)}`)
      .sort();
  }
}

const open = (name: string, more: object = {}) =>
  resources(service(name, { ports: [{ port: 80 }], ...more }))[0]!;
const started = (surroundings: Surroundings, ...services: Resource[]): Cluster => {
  const one = new Cluster(surroundings);
  expect(one.apply(services).problems).toEqual([]);
  return one;
};

describe('S38: ranges', () => {
  it.each([
    ['10.96.0.0/12', 1_048_574, 256],
    ['10.96.0.0/16', 65_534, 256],
    ['10.96.0.0/20', 4094, 256],
    ['10.96.0.0/22', 1022, 64],
    ['10.96.0.0/24', 254, 16],
    ['10.96.0.0/27', 30, 16],
    ['10.96.0.0/28', 14, 0],
    ['10.96.0.0/30', 2, 0],
    ['10.96.0.0/31', 0, 0],
    ['10.96.0.0/32', 0, 0],
    ['fd00::/112', 65_535, 256],
    ['fd00::/64', 2 ** 32 - 1, 256],
  ])('S38: of %s %d addresses, the first %d for people', (text, size, reserved) => {
    expect(addressRange(parseCidr(text))).toMatchObject({ size, reserved });
  });

  it('S38: node ports 30000–32767, the first 86 for people', () => {
    expect(NODE_PORTS).toMatchObject({ size: 2768, reserved: 86 });
  });

  it('S38: neither the network’s address nor the broadcast address; IPv6 has none', () => {
    const text = (cidr: string, at: (size: number) => number) => {
      const range = addressRange(parseCidr(cidr));
      return formatWords(addressAt(range, at(range.size)));
    };
    expect(text('10.96.0.0/24', () => 0)).toBe('10.96.0.1');
    expect(text('10.96.0.0/24', (size) => size - 1)).toBe('10.96.0.254');
    expect(text('fd00::/112', (size) => size - 1)).toBe('fd00::ffff');
    expect(text('fd00::/96', (size) => size - 1)).toBe('fd00::ffff:ffff');
  });

  it('S38: the upper part first, around; then the lower one; each place once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(2 ** 32 - 1), (size, seed) => {
        const range = { text: '', size, reserved: size > 16 ? 16 : 0 };
        const taken: number[] = [];
        for (let place = 0; place >= 0; ) {
          place = freePlace(range, seed, (each) => !taken.includes(each));
          if (place >= 0) taken.push(place);
        }
        expect(taken[0]).toBe(firstPlace(range, seed));
        expect(new Set(taken).size).toBe(size);
        expect(taken.slice(0, size - range.reserved).every((place) => place >= range.reserved)).toBe(true);
      }),
    );
  });
});

describe('S38: ClusterIPs', () => {
  it.each([[{}], [{ clusterIP: '' }], [{ clusterIPs: [] }]])(
    'S38: a Service with %j gets one of the upper part',
    (spec) => {
      const one = started(WIDE, open('shop', spec));
      const [address] = one.addresses('shop');
      const { words } = parseAddress(address!);
      expect(contains(parseCidr('10.96.0.0/16'), words) && (words[3] & 0xffff) > 256).toBe(true);
      expect(one.apply([open('shop', spec)]).given).toEqual([]);
    },
  );

  it('S38: none for headless, external and foreign Services', () => {
    const label = { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } };
    const [foreign] = resources(service('c', { ports: [{ port: 80 }] }, label));
    const others = [open('a', { clusterIP: 'None' }), open('b', { type: 'ExternalName' }), foreign!];
    const one = started(WIDE, open('shop'), ...others);
    expect(['a', 'b', 'c'].map((name) => one.addresses(name))).toEqual([[], [], []]);
  });

  it('S38: the same on every host, in whatever order the files come', () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}$/), { minLength: 2, maxLength: 14 });
    const place = fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined });
    fc.assert(
      fc.property(
        names,
        fc.array(place, { minLength: 14, maxLength: 14 }),
        fc.infiniteStream(fc.nat(99)),
        (list, explicit, dice) => {
          const documents = list.map((name, i) => {
            const clusterIP = explicit.indexOf(explicit[i]) === i ? explicit[i] : undefined;
            return open(name, { type: 'NodePort', ...(clusterIP && { clusterIP: `10.96.0.${clusterIP}` }) });
          });
          const shuffled = documents
            .map((each) => ({ each, at: dice.next().value as number }))
            .sort((a, b) => a.at - b.at)
            .map(({ each }) => each);
          // A range so small that nearly nobody has a place of one's own.
          const small = cluster('10.96.0.0/27');
          expect(started(small, ...shuffled).all()).toEqual(started(small, ...documents).all());
        },
      ),
      { numRuns: 100 },
    );
  });

  it('S38: what a live Service was given never moves, whatever comes, goes or is applied again', () => {
    const step = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
      action: fc.constantFrom('apply', 'apply', 'delete', 'pin'),
      type: fc.constantFrom('ClusterIP', 'NodePort'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(13), (steps, pinned) => {
        const one = new Cluster(cluster('10.96.0.0/28'));
        const last = new Map<string, string>();
        for (const { name, action, type } of steps) {
          const before = new Map([...one.running.keys()].map((each) => [each, one.addresses(each)]));
          const ports = new Map([...one.running.keys()].map((each) => [each, one.nodePorts(each)]));
          if (action === 'delete') {
            if (one.running.has(name)) one.apply([], [name]);
          } else {
            one.apply([
              open(name, { type, ...(action === 'pin' && { clusterIP: `10.96.0.${pinned + 1}` }) }),
            ]);
          }
          for (const [each, addresses] of before) {
            if (!one.running.has(each) || each === name) continue;
            expect([one.addresses(each), one.nodePorts(each)]).toEqual([addresses, ports.get(each)]);
          }
          if (action === 'apply' && last.get(name) === action && one.running.has(name)) {
            expect(one.addresses(name)).toEqual(before.get(name));
          }
          last.set(name, action);
          const all = [...one.running.keys()].flatMap((each) => one.addresses(each));
          const written = [...one.running.values()].filter(
            ({ document }) => (document as { spec: { clusterIP?: string } }).spec.clusterIP,
          );
          // Only what is written may be the same in two Services (M10).
          expect(all.length - new Set(all).size).toBeLessThanOrEqual(Math.max(0, written.length - 1));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('S38: applied again with other ports it keeps its address, and its node port where the port stays', () => {
    const one = started(WIDE, open('shop', { type: 'NodePort' }));
    const [address, nodePort] = [one.addresses('shop'), one.nodePorts('shop')[0]];
    const ports = [
      { name: 'b', port: 81 },
      { name: 'a', port: 80 },
    ];
    one.apply([open('shop', { type: 'NodePort', ports })]);
    expect(one.addresses('shop')).toEqual(address);
    expect(one.nodePorts('shop')[1]).toBe(nodePort);
    expect(one.nodePorts('shop')[0]).not.toBe(nodePort);
  });

  it('S38: what is written comes before what is given at once; behind it nobody else is asked about', () => {
    const [own] = started(WIDE, open('shop')).addresses('shop');
    const one = new Cluster(WIDE);
    const { warnings } = one.apply([open('shop'), open('other', { clusterIP: own })]);
    const [given] = one.addresses('shop');
    expect(parseAddress(given!).words[3] - parseAddress(own!).words[3]).toBe(1);
    expect(warnings).toEqual([`f:1:95: spec: its own place, ${own}, is taken: given ${given}`]);
  });

  it('S38: what was given is not to be written elsewhere: refused with its place, until it is written', () => {
    const one = started(WIDE, open('shop'));
    const [own] = one.addresses('shop');
    const other = open('other', { clusterIP: own });
    expect(one.apply([other]).problems).toEqual([
      `f:1:131: spec.clusterIP: ${own} was given to Service default/shop, which has none written; write another here, or first another there`,
    ]);
    expect(one.apply([other, open('shop')]).problems).toHaveLength(1);
    expect(one.addresses('shop')).toEqual([own]);
    expect(one.apply([other, open('shop', { clusterIP: '10.96.0.9' })]).problems).toEqual([]);
    expect([one.addresses('other'), one.addresses('shop')]).toEqual([[own], ['10.96.0.9']]);
  });

  it('S38: writing down what it was given changes nothing', () => {
    const one = started(WIDE, open('shop', { type: 'NodePort' }));
    const [clusterIP] = one.addresses('shop');
    const [nodePort] = one.nodePorts('shop');
    const pinned = open('shop', { type: 'NodePort', clusterIP, ports: [{ port: 80, nodePort }] });
    const changes = [{ before: one.running.get('shop'), after: pinned }];
    const { problems, batch } = one.book.stage(changes, WIDE, false);
    expect([problems, batch.count, batch.removed.length]).toEqual([[], 0, 0]);
  });

  it('S38: who is behind another that was given its place is told what to write', () => {
    const small = cluster('10.96.0.0/30');
    const one = new Cluster(small);
    const { warnings } = one.apply([open('a'), open('b')]);
    expect(new Set([...one.addresses('a'), ...one.addresses('b')]).size).toBe(2);
    const first = started(small, open('a')).addresses('a')[0]!;
    const isBehind = started(small, open('b')).addresses('b')[0] === first;
    expect(warnings).toHaveLength(isBehind ? 1 : 0);
    const three = new Cluster(cluster('10.96.0.0/29'));
    const told = three.apply(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => open(name))).warnings.join('\n');
    expect(told).toMatch(/is taken: given 10\.96\.0\.\d behind Service default\/[a-f]; .* write it/);
  });

  it('S38: a range used up is an error of every object that gets nothing, with its place', () => {
    const small = cluster('10.96.0.0/30');
    const yaml = ['a', 'b', 'c', 'd']
      .map(
        (name) => `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {ports: [{port: 80}]}\n`,
      )
      .join('---\n');
    const { resources: parsed } = parseSources([{ file: 's.yaml', text: yaml }]);
    const { problems } = new Cluster(small).apply(parsed);
    const message = 'spec: no address is left in 10.96.0.0/30; add a network to the serviceCIDRs';
    expect(problems).toEqual([`s.yaml:14:7: ${message}`, `s.yaml:19:7: ${message}`]);
    const more = cluster('10.96.0.0/30', '10.97.0.0/30');
    const one = started(more, ...parsed);
    expect(one.all().filter((line) => line.includes('10.97.'))).toHaveLength(2);
  });

  it('S38: without a network of services nothing is given, and said what to do', () => {
    const one = new Cluster(NOWHERE);
    const { warnings, given } = one.apply([open('shop', { type: 'NodePort' })]);
    expect([given, one.all()]).toEqual([[], ['shop  0']]);
    expect(warnings).toEqual([
      'f:1:95: spec: has no IPv4 ClusterIP, and no IPv4 network is known to give it one from; write clusterIP, or serviceCIDRs of the Host',
    ]);
    one.surroundings = WIDE;
    expect(one.apply([], [], true).given).toMatchObject([{ name: 'shop' }]);
    expect(one.addresses('shop')).toEqual(started(WIDE, open('shop')).addresses('shop'));
  });

  it('S38: another network of services moves those whose own is gone, and says so', () => {
    const one = started(WIDE, open('shop'), open('web', { clusterIP: '10.96.0.7' }));
    const [own] = one.addresses('shop');
    one.surroundings = cluster('10.96.0.0/16', '10.98.0.0/16');
    expect(one.apply([], [], true)).toEqual({ problems: [], warnings: [], given: [] });
    one.surroundings = cluster('10.98.0.0/16');
    const { warnings, given } = one.apply([open('web', { clusterIP: '10.98.0.7' })], [], true);
    expect(warnings.join()).toContain(`spec: ${own}, which it was given, is in no service network now`);
    expect(given).toMatchObject([{ name: 'shop', clusterIPs: one.addresses('shop') }]);
    expect(one.addresses('shop')[0]).not.toBe(own);
  });

  it('N6, S38: no address of a Network’s subnet is given', () => {
    const subnets = [{ network: 'blue', cidr: parseCidr('10.96.0.0/25') }];
    const one = new Cluster({ ...cluster('10.96.0.0/24'), subnets });
    one.apply(Array.from({ length: 60 }, (_, i) => open(`s${i}`)));
    for (const name of one.running.keys()) {
      expect(Number(one.addresses(name)[0]!.split('.')[3])).toBeGreaterThan(127);
    }
  });
});

describe('S38: dual stack', () => {
  const BOTH = cluster('10.96.0.0/16', 'fd00:96::/112');
  const families = (surroundings: Surroundings, spec: object) =>
    started(surroundings, open('shop', spec))
      .addresses('shop')
      .map((text) => (text.includes(':') ? 6 : 4));
  it.each([
    [BOTH, {}, [4]],
    [BOTH, { ipFamilies: ['IPv6'] }, [6]],
    [BOTH, { ipFamilyPolicy: 'PreferDualStack' }, [4, 6]],
    [BOTH, { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6'] }, [6, 4]],
    [BOTH, { ipFamilies: ['IPv6', 'IPv4'], ipFamilyPolicy: 'PreferDualStack' }, [6, 4]],
    [BOTH, { ipFamilyPolicy: 'PreferDualStack', clusterIP: '10.96.0.7' }, [4, 6]],
    [BOTH, { ipFamilyPolicy: 'SingleStack', clusterIP: '10.96.0.7' }, [4]],
    [WIDE, { ipFamilyPolicy: 'PreferDualStack' }, [4]],
    [WIDE, { ipFamilyPolicy: 'RequireDualStack' }, [4]],
    [cluster('fd00:96::/112'), {}, [6]],
  ])('S38: families of %j with %j: %j', (surroundings, spec, expected) => {
    expect(families(surroundings, spec)).toEqual(expected);
  });

  it('S38: a family demanded without a network is told', () => {
    const { warnings } = new Cluster(WIDE).apply([open('a', { ipFamilyPolicy: 'RequireDualStack' })]);
    expect(warnings.join()).toContain('has no IPv6 ClusterIP, and no IPv6 network is known');
  });

  it('S3, S38: external addresses count as soon as their family has a ClusterIP', () => {
    const externalIPs = ['203.0.113.1', '2001:db8::1'];
    const addresses = started(WIDE, open('shop', { externalIPs })).addresses('shop');
    expect(addresses.slice(1)).toEqual(['203.0.113.1']);
  });
});

describe('S38: node ports', () => {
  const given = (spec: object) => {
    const one = started(WIDE, open('shop', spec));
    return {
      nodePorts: one.nodePorts('shop'),
      check: one.book.get('default', 'shop')!.spec.healthCheckNodePort,
    };
  };
  const inUpperPart = (port: number) => port >= 30_086 && port <= 32_767;

  it('S38: types NodePort and LoadBalancer get those they do not write; ClusterIP none', () => {
    const { nodePorts } = given({
      type: 'NodePort',
      ports: [
        { name: 'a', port: 1 },
        { name: 'b', port: 2, nodePort: 30_001 },
      ],
    });
    expect([inUpperPart(nodePorts[0]!), nodePorts[1]]).toEqual([true, 30_001]);
    expect(inUpperPart(given({ type: 'LoadBalancer' }).nodePorts[0]!)).toBe(true);
    expect(given({ type: 'ClusterIP' }).nodePorts).toEqual([0]);
  });

  it('S38: allocateLoadBalancerNodePorts: false leaves a load balancer without', () => {
    const spec = { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false };
    expect(given(spec).nodePorts).toEqual([0]);
    expect(inUpperPart(given({ ...spec, type: 'NodePort' }).nodePorts[0]!)).toBe(true);
  });

  it('S38: protocols of one port share its node port', () => {
    const ports = [
      { name: 'tcp', port: 53 },
      { name: 'udp', port: 53, protocol: 'UDP' },
      { name: 'web', port: 80, nodePort: 31_000 },
      { name: 'quic', port: 80, protocol: 'UDP' },
    ];
    const { nodePorts } = given({ type: 'NodePort', ports });
    expect([nodePorts[0] === nodePorts[1], ...nodePorts.slice(2)]).toEqual([true, 31_000, 31_000]);
  });

  it('S34, S38: a health check node port only for type LoadBalancer with externalTrafficPolicy Local', () => {
    const { nodePorts, check } = given({ type: 'LoadBalancer', externalTrafficPolicy: 'Local' });
    expect([inUpperPart(check), check !== nodePorts[0]]).toEqual([true, true]);
    const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 30_002 };
    expect(given(spec).check).toBe(30_002);
    expect(given({ type: 'LoadBalancer' }).check).toBe(0);
    expect(given({ type: 'NodePort', externalTrafficPolicy: 'Local' }).check).toBe(0);
  });

  it('S38: no two are the same, written ones included, up to the last; then it is an error', () => {
    const one = new Cluster(WIDE);
    const list = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `p${i}`, port: i + 1 }));
    expect(one.apply([open('a', { type: 'NodePort', ports: list(2768) })]).problems).toEqual([]);
    expect(new Set(one.nodePorts('a')).size).toBe(2768);
    expect(one.apply([open('b', { type: 'NodePort' })]).problems).toEqual([
      'f:1:102: spec.ports[0]: no node port is left of 30000–32767; write one outside of them',
    ]);
  });
});

it('S38: a JSON list is given what the same as YAML is, and a plain neighbour stays plain', () => {
  const plainSpec = { type: 'NodePort', clusterIP: '10.96.0.9', ports: [{ port: 80, nodePort: 30_080 }] };
  const items = [
    service('plain', plainSpec),
    service('a', { ports: [{ port: 80 }] }),
    service('b', { ...plainSpec, clusterIP: '10.96.0.10', ports: [{ port: 80 }] }),
    service('c', {
      ...plainSpec,
      clusterIP: '10.96.0.11',
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
    }),
  ];
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const read = (each: string) => parseSources([{ file: 'f', text: each }]).resources;
  const [json, yaml] = [read(text), read(`#\n${text}`)];
  expect(json.map(({ isPlain }) => isPlain === true)).toEqual([true, false, false, false]);
  expect(yaml.some(({ isPlain }) => isPlain)).toBe(false);
  expect(started(WIDE, ...json).all()).toEqual(started(WIDE, ...yaml).all());
});
