import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Explanation } from '../../src/control/protocol.ts';
import type { FateRow, FlowRow } from '../../src/dataplane/messages.ts';
import { FakeDaemon } from './harness.ts';

const daemon = new FakeDaemon();
beforeAll(() => daemon.listen());
afterAll(() => daemon.close());
beforeEach(() => {
  daemon.seen.length = 0;
});

const FLOW: FlowRow = {
  network: 'blue',
  protocol: 'tcp',
  client: '10.77.0.11:40000',
  service: 'default/shop:http',
  generation: 3,
  vip: '10.96.0.10:80',
  backend: '10.77.0.12:8080',
  snat: null,
  why: 'roundRobin 1/3',
  state: 'established',
  age: 125,
  expires: 86_400,
  drain: null,
  packets: 12,
  bytes: 1234,
  replyPackets: 10,
  replyBytes: 3_400_000,
};
const origin = (line: number) => ({ file: 'shop.yaml', line, column: 3 });
const candidate = (address: string, why: string, more: object = {}) => ({
  address,
  slice: 'default/shop-1',
  origin: origin(20),
  ready: true,
  serving: true,
  terminating: false,
  node: 'alpha',
  weight: 1,
  eligible: true,
  chosen: false,
  why,
  ...more,
});
const EXPLANATION: Explanation = {
  flow: FLOW,
  network: 'blue',
  protocol: 'tcp',
  client: FLOW.client,
  to: FLOW.vip,
  outcome: 'accept',
  reason: 'goes to 10.77.0.12:8080, chosen by roundRobin 1/3',
  service: {
    name: 'default/shop',
    port: 'http',
    frontend: 'clusterIP',
    origin: origin(1),
    metadataGeneration: 7,
    generation: 5,
    algorithm: 'roundRobin',
    set: 'cluster',
    since: { came: ['10.77.0.15:8080'], left: ['10.77.0.16:8080', '10.77.0.17:8080'] },
  },
  backend: '10.77.0.12:8080',
  candidates: [
    candidate('10.77.0.12:8080', 'chosen: roundRobin 1/3', { chosen: true }),
    candidate('10.77.0.13:8080', 'could be chosen'),
    candidate('10.77.0.14:8080', 'no: not ready', { ready: false, eligible: false }),
  ],
};

describe('explain asks for', () => {
  it.each([
    [
      ['tcp', '10.0.0.5:4321', '10.96.0.10:80'],
      { protocol: 'tcp', client: '10.0.0.5:4321', to: '10.96.0.10:80' },
    ],
    [['UDP 10.0.0.5 -> 10.96.0.10:53'], { protocol: 'udp', client: '10.0.0.5', to: '10.96.0.10:53' }],
    [['10.0.0.5:4321→10.96.0.10:80'], { client: '10.0.0.5:4321', to: '10.96.0.10:80' }],
    [
      ['tcp', '[fd00::5]:1', '[fd00:96::1]:80'],
      { protocol: 'tcp', client: '[fd00::5]:1', to: '[fd00:96::1]:80' },
    ],
    [['10.0.0.5:4321'], { client: '10.0.0.5:4321' }],
    // a line of `get flows`, plain and wide
    [
      '10.0.0.5:4321 shop:http 10.77.0.12:8080 established 59s 1.23k 3.40M'.split(' '),
      { client: '10.0.0.5:4321', to: '10.77.0.12:8080' },
    ],
  ])('%j', async (words, expected) => {
    daemon.answer = () => ({ body: EXPLANATION });
    const { code, stderr } = await daemon.twill('explain', ...words, '--network', 'blue');
    expect([code, stderr]).toEqual([0, '']);
    expect(daemon.seen).toMatchObject([{ method: 'POST', path: '/v1/explain' }]);
    expect(daemon.seen[0]!.body).toEqual({ ...expected, network: 'blue' });
  });

  it.each([
    [['tpc', '10.0.0.5:1'], '"tpc" is neither a protocol nor an address'],
    [['tcp'], 'which flow?'],
    [['tcp', '10.0.0.5:99999'], '"10.0.0.5:99999" is neither a protocol nor an address'],
    [['tcp', '10.0.0.5:1', '10.96.0:80'], '10.96.0'],
  ])('nothing of %j: wrong usage', async (words, message) => {
    const { code, stdout, stderr } = await daemon.twill('explain', ...words);
    expect([code, stdout, daemon.seen]).toEqual([2, '', []]);
    expect(stderr).toContain(message);
  });
});

describe('explain prints', () => {
  it('a living flow: verdict, service, generation, slice, candidates, within 80 columns', async () => {
    daemon.answer = () => ({ body: EXPLANATION });
    const { stdout } = await daemon.twill('explain', 'tcp', FLOW.client, FLOW.vip);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(stdout).toContain('tcp 10.77.0.11:40000 → 10.96.0.10:80 in blue: established, begun 2m ago');
    expect(stdout).toContain('default/shop, port http, by its clusterIP (shop.yaml:1)');
    expect(stdout).toContain('metadata.generation 7, change 5; the flow found it as of 3');
    expect(stdout).toContain('since then  came 10.77.0.15:8080; left 10.77.0.16:8080, 10.77.0.17:8080');
    expect(stdout).toContain('default/shop-1 (shop.yaml:20)');
    expect(stdout).toMatch(/10\.77\.0\.13:8080 .*could be chosen/);
    expect(stdout).toMatch(/10\.77\.0\.14:8080 .*not ready .*no: not ready/);
  });

  it.each([
    [{ came: [], left: [] }, 'the same endpoints'],
    [{ came: [], left: ['10.77.0.16:8080'] }, 'left 10.77.0.16:8080'],
    [null, 'more changed than is remembered; candidates are those of now'],
  ])('what has changed since an older flow began: %j', async (since, text) => {
    const service = { ...EXPLANATION.service!, since };
    daemon.answer = () => ({ body: { ...EXPLANATION, service } });
    const { stdout } = await daemon.twill('explain', 'tcp', FLOW.client, FLOW.vip);
    expect(stdout).toContain(`\n  since then  ${text}\n`);
    daemon.answer = () => ({ body: { ...EXPLANATION, service: { ...service, generation: 3 } } });
    expect((await daemon.twill('explain', 'tcp', FLOW.client, FLOW.vip)).stdout).not.toContain('since then');
  });

  it('says plainly when there is no such flow', async () => {
    daemon.answer = () => ({
      body: {
        ...EXPLANATION,
        flow: null,
        service: null,
        candidates: [],
        outcome: 'pass',
        reason: 'routed as it is',
      },
    });
    const { code, stdout } = await daemon.twill('explain', 'tcp', FLOW.client, FLOW.vip);
    expect(code).toBe(0);
    expect(stdout).toBe(
      'no such flow; of the first packet of a new one would now become:\n' +
        'tcp 10.77.0.11:40000 → 10.96.0.10:80 in blue\n  verdict     routed as it is\n',
    );
  });

  it('all of it as JSON', async () => {
    daemon.answer = () => ({ body: EXPLANATION });
    const { stdout } = await daemon.twill('explain', FLOW.client, '-o', 'json');
    expect(JSON.parse(stdout)).toEqual(EXPLANATION);
  });

  it('what the daemon refuses to guess', async () => {
    daemon.answer = () => ({ status: 422, body: { errors: ['several flows fit'] } });
    const { code, stderr } = await daemon.twill('explain', FLOW.client);
    expect([code, stderr]).toEqual([1, 'twill: several flows fit\n']);
  });
});

describe('apply --dry-run', () => {
  const fate = (client: string, what: FateRow['fate']): FateRow => ({
    ...FLOW,
    client,
    fate: what,
    because: 'why',
  });
  const flows = [
    ...Array.from({ length: 30 }, (_, i) => fate(`10.77.0.11:${i + 1}`, 'kept')),
    fate('10.77.0.11:77', 'reset'),
  ];
  const changes = [{ kind: 'Service', namespace: 'default', name: 'shop', action: 'configured' }];
  const body = { changes, warnings: [], flows, fates: { kept: 30, drained: 0, reset: 1, removed: 0 } };
  const dryRun = async (...more: string[]) => {
    daemon.answer = () => ({ body });
    return (await daemon.twill('apply', '--dry-run', '-f', 'package.json', ...more)).stdout;
  };

  it('counts the flows a change concerns and names some, the most concerned first', async () => {
    const lines = (await dryRun()).trimEnd().split('\n');
    expect(lines.slice(0, 2)).toEqual([
      'service/shop configured (dry run)',
      'living flows: 1 reset, 30 kept (dry run)',
    ]);
    expect(lines[3]).toMatch(/^reset +10\.77\.0\.11:77 /);
    expect(lines).toHaveLength(3 + 20 + 1);
    expect(lines.at(-1)).toBe('… and 11 more: -o wide, or -o json');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  });

  it('names them all, and why, where that is asked for', async () => {
    expect((await dryRun('-o', 'wide')).trimEnd().split('\n')).toHaveLength(3 + 31);
    expect(JSON.parse(await dryRun('-o', 'json'))).toEqual(body);
  });

  it('says when it concerns none', async () => {
    daemon.answer = () => ({
      body: { ...body, flows: [], fates: { kept: 0, drained: 0, reset: 0, removed: 0 } },
    });
    const { stdout } = await daemon.twill('apply', '--dry-run', '-f', 'package.json');
    expect(stdout).toBe('service/shop configured (dry run)\nliving flows: none concerned (dry run)\n');
  });
});
