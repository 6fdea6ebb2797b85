/**
 * One host: what happens to a living connection when its endpoint leaves, and what can be asked about it.
 *
 *   blue   client 10.77.0.11   one 10.77.0.12   two 10.77.0.13
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApplyResponse, Explanation } from '../../src/control/protocol.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { type Daemon, type TestLab, testLab } from '../lab/lab.ts';
import {
  apply,
  host,
  items,
  network,
  port,
  SERVER,
  Servers,
  SKIP,
  service,
  slice,
  until,
  who,
  yaml,
} from './kit.ts';

const CLIENT = '10.77.0.11';
const ONE = '10.77.0.12';
const TWO = '10.77.0.13';
const SHOP = '10.96.0.10';
const HASHED = '10.96.0.11';

/** Connects and says how the connection ended, and after how many ms. */
const HOLD = `
const started = require('node:net').connect(Number(process.argv[2]), process.argv[1], () => console.log('connected'));
let code = 'FIN';
started.on('error', (error) => { code = error.code; });
started.on('close', () => console.log('ended ' + code));
`;

const annotated = (name: string, address: string, annotations: Record<string, string>) => {
  const document = service(name, address) as { metadata: object };
  return { ...document, metadata: { ...document.metadata, annotations } };
};

describe.skipIf(SKIP)('the choice of endpoints', () => {
  let lab: TestLab;
  let daemon: Daemon;
  const ns: Record<string, string> = {};

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['alpha', 'client', 'one', 'two']) ns[name] = await lab.namespace(name);
    const documents = [
      host('alpha', '127.0.0.1'),
      network('blue', 42),
      port('client', 'blue', ns.client!, CLIENT),
      port('one', 'blue', ns.one!, ONE),
      port('two', 'blue', ns.two!, TWO),
      annotated('shop', SHOP, { 'twill/on-endpoint-removed': 'reset' }),
      slice('shop', ONE),
      annotated('hashed', HASHED, { 'twill/algorithm': 'maglev' }),
      slice('hashed', ONE, TWO),
    ];
    const servers = new Servers(lab);
    [daemon] = await Promise.all([
      lab.daemonWith(ns.alpha!, 'alpha', yaml(...documents)),
      servers.start({ one: ns.one!, two: ns.two! }),
    ]);
  });
  afterAll(async () => lab?.dispose());

  const living = async () =>
    (await items<FlowRow>(lab, daemon, 'flows')).find(
      (row) => row.vip === `${SHOP}:80` && row.state === 'established',
    );
  const json = async <T>(...words: string[]): Promise<T> => {
    const { code, stdout, stderr } = await lab.twill(daemon, ...words, '-o', 'json');
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as T;
  };

  it('S30, M12: a living connection is told, foretold, explained, and reset with its endpoint', async () => {
    const argv = [process.execPath, '-e', HOLD, SHOP, '80'];
    const held = lab.start(ns.client!, 'held', argv);
    await held.waitFor((text) => text.includes('connected'));
    const flow = (await until(living, (row) => row !== undefined))!;
    expect(flow).toMatchObject({
      service: 'default/shop:tcp',
      backend: `${ONE}:${SERVER}`,
      why: 'roundRobin 1/1',
      snat: null,
    });

    const explanation = await json<Explanation>('explain', 'tcp', flow.client, `${SHOP}:80`);
    expect(explanation).toMatchObject({
      flow: { state: 'established' },
      service: { name: 'default/shop', port: 'tcp', frontend: 'clusterIP' },
      candidates: [{ address: `${ONE}:${SERVER}`, slice: 'default/shop-1', chosen: true }],
    });
    expect(explanation.service!.origin.line).toBeGreaterThan(0);

    const next = lab.file('next.yaml', yaml(slice('shop', TWO)));
    const dry = await json<ApplyResponse>('apply', '--dry-run', '-f', next);
    expect(dry.fates).toEqual({ kept: 0, drained: 0, reset: 1, removed: 0 });
    expect(dry.flows).toMatchObject([{ client: flow.client, fate: 'reset' }]);
    expect(held.output()).not.toContain('ended');

    await apply(lab, daemon, 'next.yaml', yaml(slice('shop', TWO)));
    await held.waitFor((text) => text.includes('ended'), 2000);
    expect(held.output()).toContain('ended ECONNRESET');
    expect(await who(lab, ns.client!, SHOP, 2, 80)).toMatchObject({ names: { two: 2 } });
  });

  it('explains what would become of a new connection, and why others would not serve it', async () => {
    const explanation = await json<Explanation>('explain', `tcp ${CLIENT} -> ${SHOP}:80`);
    expect(explanation).toMatchObject({
      flow: null,
      network: 'blue',
      outcome: 'accept',
      backend: `${TWO}:${SERVER}`,
    });
    const { code, stdout } = await lab.twill(daemon, 'explain', 'udp', CLIENT, `${SHOP}:81`);
    expect([code, stdout]).toEqual([0, expect.stringContaining('NO_SUCH_SERVICE_PORT')]);
    const none = await lab.twill(daemon, 'explain', '10.77.0.99:1');
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('no such flow')]);
  });

  it('M12: Maglev spreads connections over the endpoints', async () => {
    const { names } = await who(lab, ns.client!, HASHED, 30, 80);
    expect(Object.keys(names).sort()).toEqual(['one', 'two']);
  });
});
