/**
 * A file of 1 GiB, byte for byte, by every path a connection can take:
 *
 *   alpha ══ veth ══ beta
 *     a1, a2           b1, and a service of each of a2 and b1
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Daemon, type TestLab, testLab } from '../lab/lab.ts';
import {
  host,
  items,
  network,
  peer,
  port,
  put,
  rate,
  SERVER,
  Servers,
  SKIP,
  service,
  slice,
  yaml,
} from './kit.ts';

const [A1, A2, B1] = ['10.77.0.11', '10.77.0.12', '10.77.0.13'];
const [NEAR, FAR] = ['10.96.0.10', '10.96.0.11'];
const GIB = 1 << 30;

describe.skipIf(SKIP)('1 GiB', () => {
  let lab: TestLab;
  let daemons: Daemon[];
  const ns: Record<string, string> = {};

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['alpha', 'beta', 'a1', 'a2', 'b1']) ns[name] = await lab.namespace(name);
    await lab.wire(
      { namespace: ns.alpha!, name: 'uplink', address: '192.0.2.1/24' },
      { namespace: ns.beta!, name: 'uplink', address: '192.0.2.2/24' },
    );
    const services = [service('near', NEAR), slice('near', A2), service('far', FAR), slice('far', B1)];
    const both = [network('blue', 42), ...services];
    const alpha = [host('alpha', '192.0.2.1'), peer('beta', '192.0.2.2')];
    const pods = [port('a1', 'blue', ns.a1!, A1), port('a2', 'blue', ns.a2!, A2)];
    const beta = [host('beta', '192.0.2.2'), peer('alpha', '192.0.2.1'), port('b1', 'blue', ns.b1!, B1)];
    [daemons] = await Promise.all([
      Promise.all([
        lab.daemonWith(ns.alpha!, 'alpha', yaml(...both, ...alpha, ...pods)),
        lab.daemonWith(ns.beta!, 'beta', yaml(...both, ...beta)),
      ]),
      new Servers(lab).start({ a2: ns.a2!, b1: ns.b1! }),
    ]);
  });
  afterAll(async () => lab?.dispose());

  const LIMIT = 60_000;
  for (const [path, to, at] of [
    ['B19: on one host', A2, SERVER],
    ['B19, V10: across hosts', B1, SERVER],
    ['N42: through a ClusterIP, backend on the same host', NEAR, 80],
    ['N42, N43: through a ClusterIP, backend on the other host', FAR, 80],
  ] as const) {
    it(
      path,
      async () => {
        const transfer = await put(lab, ns.a1!, to, GIB, { at, timeout: LIMIT });
        expect(transfer.bytes).toBe(GIB);
        expect(transfer.received).toBe(transfer.sent);
        console.log(`1 GiB ${path}: ${rate(transfer)}`);
      },
      LIMIT,
    );
  }

  it('M15: nothing of it was dropped for its offload or for an error', async () => {
    const found = await Promise.all(daemons.map((daemon) => items<{ reason: string }>(lab, daemon, 'drops')));
    const reasons = new Set(found.flat().map(({ reason }) => reason));
    for (const bad of ['BAD_OFFLOAD', 'TX_ERROR', 'TRUNCATED', 'TOO_BIG', 'TX_TOO_BIG'])
      expect(reasons).not.toContain(bad);
  });
});
