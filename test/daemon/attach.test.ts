import { BlockList } from 'node:net';
import { describe, expect, it } from 'vitest';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { attachment, lowestFree } from '../../src/daemon/attach.ts';
import { HOST, network, port, source } from './fakes.ts';

const used = (...addresses: string[]): BlockList => {
  const list = new BlockList();
  for (const address of addresses) list.addAddress(address, address.includes(':') ? 'ipv6' : 'ipv4');
  return list;
};

describe('the lowest free address', () => {
  const cases: [cidr: string, taken: string[], free: string | null][] = [
    ['10.77.0.0/24', [], '10.77.0.1'],
    ['10.77.0.0/24', ['10.77.0.1', '10.77.0.3'], '10.77.0.2'],
    ['10.77.0.252/30', ['10.77.0.253'], '10.77.0.254'],
    ['10.77.0.252/30', ['10.77.0.253', '10.77.0.254'], null],
    ['255.255.255.0/24', [], '255.255.255.1'],
    ['fd00:42::/64', ['fd00:42::1'], 'fd00:42::2'],
    ['fd00::/126', ['fd00::1', 'fd00::2', 'fd00::3'], null],
  ];
  for (const [cidr, taken, free] of cases) {
    it(`of ${cidr} without ${taken.join(', ') || 'any'} is ${free}`, () => {
      expect(lowestFree(cidr, used(...taken))).toBe(free);
    });
  }
});

describe('the document', () => {
  const { resources } = parseSources([source('f', HOST, network(), port('web', '10.77.0.2', 'web'))]);
  const specOf = (request: Parameters<typeof attachment>[0]) =>
    JSON.parse(attachment(request, resources, ['10.77.0.3']).source.text) as {
      metadata: unknown;
      spec: unknown;
    };

  it('takes its name from the process where the namespace has none', () => {
    expect(specOf({ netns: '/proc/4711/ns/net', network: 'blue' })).toMatchObject({
      metadata: { name: 'pid-4711' },
    });
  });

  it('leaves the default route out when asked to', () => {
    expect(specOf({ netns: 'db', network: 'blue', defaultRoute: false })).toMatchObject({
      spec: { defaultRoute: false },
    });
    expect(specOf({ netns: 'db', network: 'blue' })).not.toHaveProperty('spec.defaultRoute');
  });

  it('has an address of each family the network has, of its first subnet', () => {
    const subnets = ['10.77.0.0/24', 'fd00:77::/64', '10.78.0.0/24', 'fd00:78::/64'].map((cidr) => ({
      cidr,
    }));
    const both = {
      apiVersion: 'twill/v1alpha1',
      kind: 'Network',
      metadata: { name: 'blue' },
      spec: { vxlan: { vni: 42 }, subnets },
    };
    const { resources } = parseSources([source('f', HOST, JSON.stringify(both))]);
    const specIn = (more: object) =>
      JSON.parse(attachment({ netns: 'db', network: 'blue', ...more }, resources, []).source.text) as unknown;
    expect(specIn({})).toMatchObject({ spec: { addresses: ['10.77.0.2', 'fd00:77::2'] } });
    expect(specIn({ address: '10.77.0.9' })).toMatchObject({ spec: { addresses: ['10.77.0.9'] } });
  });

  it('has no lines: what is wrong with it names the port', () => {
    const { source } = attachment({ netns: 'db', network: 'blue', address: '10.9.9.9x' }, resources, []);
    expect(parseSources([source]).problems.map(formatProblem)).toEqual([
      expect.stringMatching(/^port db: spec\.addresses\[0\]: /),
    ]);
  });

  it('has a name, an interface and an address nobody uses', () => {
    expect(specOf({ netns: 'db', network: 'blue' })).toMatchObject({
      metadata: { name: 'db' },
      spec: { network: 'blue', netns: 'db', interface: 'eth0', addresses: ['10.77.0.4'] },
    });
  });

  it('has an address no endpoint has, however the slice is written', () => {
    const slice = (endpoints: object[]): string =>
      JSON.stringify({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 's-1', labels: { 'kubernetes.io/service-name': 's' } },
        addressType: 'IPv4',
        ports: [{ name: '', port: 80 }],
        endpoints,
      });
    const near = { addresses: ['10.77.0.2'] };
    for (const more of [[], [{ addresses: ['127.0.0.1'] }]]) {
      const { resources } = parseSources([
        source('f', HOST, network()),
        { file: 's', text: slice([near, ...more]) },
      ]);
      const attached = attachment({ netns: 'db', network: 'blue' }, resources, []);
      expect(JSON.parse(attached.source.text)).toMatchObject({ spec: { addresses: ['10.77.0.3'] } });
    }
  });

  it('of a second interface leaves the default route alone', () => {
    const spec = { netns: '/var/run/netns/web', defaultRoute: false, addresses: ['10.77.0.9'] };
    const request = { netns: '/var/run/netns/web', network: 'blue', name: 'web2', address: '10.77.0.9' };
    expect(specOf(request)).toMatchObject({ metadata: { name: 'web2' }, spec });
  });

  it('takes no name that is taken', () => {
    expect(() => specOf({ netns: 'web', network: 'blue' })).toThrow('port web exists already');
  });
});
