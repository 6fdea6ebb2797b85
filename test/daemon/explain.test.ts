import { describe, expect, it } from 'vitest';
import { explain } from '../../src/daemon/explain.ts';
import { Manager } from '../../src/daemon/manager.ts';
import type { FlowAnswer, FlowRow, ServicePortRow } from '../../src/dataplane/messages.ts';
import { FakeDataplane, FakeKernel, fakeHost, HOST, network, port, silent, source } from './fakes.ts';

const SERVICE = `apiVersion: v1
kind: Service
metadata: {name: shop, generation: 7}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
`;
const SLICE = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
  - addresses: [10.77.0.11]
  - addresses: [10.77.0.12]
  - addresses: [10.77.0.13]
    conditions: {ready: false, serving: false}
  - addresses: [10.77.0.14]
    conditions: {ready: false, serving: true, terminating: true}
  - addresses: [10.77.0.15]
    hints: {forZones: [{name: east}]}
  - addresses: [192.168.7.7]
`;
const DRAINED = SLICE.replace('shop-1,', 'shop-2, annotations: {service.cilium.io/weight: "0"},').replace(
  /endpoints:.*/s,
  'endpoints: [{addresses: [10.77.0.16]}, {addresses: [10.77.0.11]}]\n',
);

const PORT: ServicePortRow = {
  name: 'default/shop:http',
  protocol: 'tcp',
  generation: 4,
  algorithm: 'roundRobin',
  frontend: 'clusterIP',
  set: 'cluster',
  endpoints: [
    { address: '10.77.0.11:8080', weight: 1, reachable: true },
    { address: '10.77.0.12:8080', weight: 1, reachable: true },
    { address: '10.77.0.16:8080', weight: 0, reachable: true },
    { address: '192.168.7.7:8080', weight: 1, reachable: false },
  ],
  since: { came: [], left: [] },
};
const FLOW = { network: 'blue', protocol: 'tcp', client: '10.77.0.9:4000', vip: '10.96.0.10:80' };
const row = (more: Partial<FlowRow>): FlowRow => ({ ...FLOW, ...more }) as FlowRow;
const ASKED = { client: '10.77.0.9:4000', protocol: 'tcp', to: '10.96.0.10:80' };

async function setUp(answer: Partial<FlowAnswer>, ...documents: string[]) {
  const dataplane = new FakeDataplane(new FakeKernel());
  const manager = new Manager({ kernel: dataplane.kernel, dataplane, host: fakeHost(), log: silent });
  await manager.load([
    source('f.yaml', HOST, network(), port('web', '10.77.0.11'), SERVICE, SLICE, DRAINED, ...documents),
  ]);
  dataplane.answer = { flows: [], service: null, outlook: null, ...answer };
  return (request: Parameters<typeof explain>[2]) => explain(manager, dataplane, request);
}

describe('an explanation', () => {
  it('says of every endpoint of every slice why it is a candidate, or none, with its place', async () => {
    const flow = row({ backend: '10.77.0.12:8080', why: 'roundRobin 2/4', service: PORT.name });
    const ask = await setUp({ flows: [flow], service: PORT });
    const explanation = await ask(ASKED);
    expect(explanation).toMatchObject({
      flow,
      outcome: 'accept',
      reason: 'goes to 10.77.0.12:8080, chosen by roundRobin 2/4',
      backend: '10.77.0.12:8080',
      service: { name: 'default/shop', port: 'http', metadataGeneration: 7, generation: 4 },
    });
    const table = explanation.candidates.map(({ address, eligible, chosen, why }) => [
      address,
      eligible,
      chosen,
      why,
    ]);
    expect(table).toEqual([
      ['10.77.0.11:8080', true, false, 'could be chosen'],
      ['10.77.0.12:8080', true, true, 'chosen: roundRobin 2/4'],
      ['10.77.0.13:8080', false, false, 'no: not ready'],
      ['10.77.0.14:8080', false, false, 'no: terminating, others are ready'],
      ['10.77.0.15:8080', false, false, 'no: for zone east'],
      ['192.168.7.7:8080', false, false, 'no: not in the client’s network'],
      ['10.77.0.16:8080', false, false, 'no: weight 0'],
      ['10.77.0.11:8080', false, false, 'listed before'],
    ]);
    expect(explanation.service!.origin.file).toBe('f.yaml');
    const [first, second] = explanation.candidates;
    expect(second!.origin.line).toBe(first!.origin.line + 1);
    expect(first!.slice).toBe('default/shop-1');
  });

  it('of an older flow says who came later, and who was there then', async () => {
    const since = { came: ['10.77.0.11:8080'], left: ['10.77.0.13:8080', '10.77.0.99:8080'] };
    const flow = row({
      backend: '10.77.0.12:8080',
      why: 'roundRobin 1/4',
      service: PORT.name,
      generation: 2,
    });
    const ask = await setUp({ flows: [flow], service: { ...PORT, since } });
    const { service, candidates } = await ask(ASKED);
    expect(service!.since).toEqual(since);
    expect(candidates.slice(0, 4).map(({ eligible, why }) => [eligible, why])).toEqual([
      [false, 'no: came later'],
      [true, 'chosen: roundRobin 1/4'],
      [false, 'no: not ready; was there then'],
      [false, 'no: terminating, others are ready'],
    ]);
  });

  it('of policy Local names the nodes that would be needed', async () => {
    const ask = await setUp({
      service: { ...PORT, set: 'local', endpoints: [] },
      outlook: { outcome: 'drop', reason: 'NO_LOCAL_ENDPOINT', backend: null, why: '' },
    });
    const { flow, reason, candidates } = await ask(ASKED);
    expect([flow, reason]).toEqual([
      null,
      expect.stringMatching(/^dropped, NO_LOCAL_ENDPOINT: policy Local/),
    ]);
    expect(candidates.every(({ why }) => why.startsWith('no: policy Local') || why === 'listed before')).toBe(
      true,
    );
  });

  it.each([
    [
      { outcome: 'pass', reason: null, backend: null, why: '' },
      'no service’s address and port; routed as it is',
    ],
    [{ outcome: 'accept', reason: null, backend: null, why: '' }, 'goes to an endpoint that chance or'],
    [
      { outcome: 'reject', reason: 'NO_ENDPOINT', backend: null, why: '' },
      'refused, NO_ENDPOINT: the service has no',
    ],
  ] as const)('of the first packet of a new flow: %j', async (outlook, expected) => {
    const ask = await setUp({ outlook });
    expect((await ask(ASKED)).reason).toContain(expected);
  });

  it('of a flow whose Service has gone', async () => {
    const ask = await setUp({ flows: [row({ service: '(removed)', backend: '10.77.0.12:8080' })] });
    expect(await ask(ASKED)).toMatchObject({
      service: null,
      candidates: [],
      reason: expect.stringContaining('gone'),
    });
  });
});

describe('what is not explained', () => {
  const red = network('red', 43, 4790);
  it.each([
    ['several flows', { flows: [row({ backend: 'x' }), row({ backend: 'y' })] }, ASKED, 'several flows fit'],
    ['a flow that is not there', {}, { client: '10.77.0.9:4000' }, 'no such flow'],
    ['an address that is none', {}, { client: '10.77.0' }, '"10.77.0" is not an IP'],
    ['another protocol', {}, { ...ASKED, protocol: 'tpc' }, 'unknown protocol "tpc"; known: icmp, tcp'],
    ['two families', {}, { ...ASKED, to: '[fd00::1]:80' }, 'of two address families'],
    ['a network that is none', {}, { ...ASKED, network: 'green' }, 'no network "green"; there are: blue'],
    ['an address two networks have', {}, ASKED, 'may be in any of blue, red; add --network NAME'],
  ])('%s', async (_, answer, request, message) => {
    const ask = await setUp(answer, red);
    await expect(ask(request)).rejects.toThrow(message);
  });

  it('but of an address two networks have when it is said which', async () => {
    const ask = await setUp({ outlook: { outcome: 'pass', reason: null, backend: null, why: '' } }, red);
    expect((await ask({ ...ASKED, network: 'red' })).network).toBe('red');
  });
});
