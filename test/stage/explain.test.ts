import { describe, expect, it } from 'vitest';
import type { Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { answerRows } from '../../src/dataplane/explain.ts';
import type { FateRow, FlowAnswer, FlowQuestion } from '../../src/dataplane/messages.ts';
import { previewRows } from '../../src/dataplane/preview.ts';
import { RecordWriter } from '../../src/service/record.ts';
import { address4, Fabric, IPS, MACS, port, service } from '../fabric.ts';
import { ethernet, tcp, udp } from '../frames.ts';

const VIP = '10.96.0.10';
const backends = (...ips: string[]) => ips.map((ip) => ({ address: address4(ip), port: 8080 }));
const put = (fabric: Fabric, ...services: ServiceConfig[]) =>
  fabric.dataplane.apply(services.map((config): Op => ({ op: 'service', service: config })));
const connect = (fabric: Fabric, sport: number) =>
  fabric.from(
    'a',
    ethernet({ src: MACS.a, dst: MACS.gateway }, tcp({ from: IPS.a, to: VIP, sport, dport: 80 })),
  );
const ask = (fabric: Fabric, sport: number) =>
  fabric.from(
    'a',
    ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from: IPS.a, to: VIP, sport, dport: 80 })),
  );

function explain(fabric: Fabric, question: Partial<FlowQuestion> = {}): FlowAnswer {
  const all: FlowQuestion = {
    networks: [0],
    protocol: 6,
    client: address4(IPS.a),
    clientPort: 4000,
    to: address4(VIP),
    toPort: 80,
    ...question,
  };
  return [...answerRows(fabric.dataplane, all)].find((answer) => answer !== null)!;
}

describe('what is asked about a flow', () => {
  it('a living one is found by either end it talks to, or by its client alone', () => {
    const fabric = new Fabric();
    put(fabric, service({ backends: backends(IPS.b, IPS.c) }));
    connect(fabric, 4000);
    const backend = { to: address4(IPS.b), toPort: 8080 };
    const questions = [{}, backend, { to: null, toPort: 0 }, { protocol: 0 }, { networks: [1, 0] }];
    for (const question of questions) {
      const { flows, service: found, outlook } = explain(fabric, question);
      expect(flows).toMatchObject([{ backend: `${IPS.b}:8080`, why: 'roundRobin 1/2', generation: 1 }]);
      expect(found).toMatchObject({ name: 'default/shop:http', set: 'cluster', frontend: 'clusterIP' });
      expect(found!.endpoints.map(({ address }) => address)).toEqual([`${IPS.b}:8080`, `${IPS.c}:8080`]);
      expect(outlook).toBe(null);
    }
    expect(explain(fabric, { networks: [1] }).flows).toEqual([]);
    expect(explain(fabric, { protocol: 17 }).flows).toEqual([]);
  });

  it('of one that does not exist: who would take it now; the question itself takes nobody’s turn', () => {
    const fabric = new Fabric();
    put(fabric, service({ backends: backends(IPS.b, IPS.c) }));
    for (let i = 0; i < 3; i++) {
      expect(explain(fabric).outlook).toEqual({
        outcome: 'accept',
        reason: null,
        backend: `${IPS.b}:8080`,
        why: 'roundRobin 1/2',
      });
    }
    expect(connect(fabric, 4000).map(({ to }) => to)).toEqual(['b']);
    expect(fabric.dataplane.pipeline.flows.count).toBe(1);
  });

  it('what would be refused, dropped, or is none of a service', () => {
    const fabric = new Fabric();
    put(fabric, service({ backends: [] }));
    expect(explain(fabric).outlook).toMatchObject({ outcome: 'reject', reason: 'NO_ENDPOINT' });
    expect(explain(fabric).service).toMatchObject({ name: 'default/shop:http', endpoints: [] });
    expect(explain(fabric, { toPort: 81 }).outlook).toMatchObject({ reason: 'NO_SUCH_SERVICE_PORT' });
    expect(explain(fabric, { to: address4(IPS.b) }).outlook).toMatchObject({ outcome: 'pass' });
    put(fabric, service({ backends: backends('192.168.9.9') }));
    expect(explain(fabric).outlook).toMatchObject({ outcome: 'reject', reason: 'NO_ROUTE' });
    expect(explain(fabric, { to: null, toPort: 0 })).toEqual({ flows: [], service: null, outlook: null });
  });

  it('chance is not foretold, affinity is', () => {
    const fabric = new Fabric();
    const config = { backends: backends(IPS.b, IPS.c), algorithm: 'random' } as const;
    put(fabric, service(config));
    expect(explain(fabric).outlook).toMatchObject({ outcome: 'accept', backend: null });
    put(fabric, service({ ...config, affinity: 60_000 }));
    const [sent] = connect(fabric, 4000);
    const host = sent!.to === 'b' ? IPS.b : IPS.c;
    expect(explain(fabric, { clientPort: 4001 }).outlook).toMatchObject({ backend: `${host}:8080` });
    expect(explain(fabric, { clientPort: 4001 }).outlook!.why).toMatch(/^affinity /);
  });

  it('of a flow whose service has gone that much is said', () => {
    const fabric = new Fabric();
    put(fabric, service({ backends: backends(IPS.b) }));
    connect(fabric, 4000);
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(explain(fabric)).toMatchObject({ flows: [{ service: '(removed)' }], service: null });
  });
});

describe('of a flow older than its service', () => {
  const since = (fabric: Fabric, clientPort = 4000) => explain(fabric, { clientPort }).service!.since;
  const text = (...ips: string[]) => ips.map((ip) => `${ip}:8080`);

  it('says who has come and who has left since', () => {
    const fabric = new Fabric();
    put(fabric, service({ backends: backends(IPS.b, IPS.c) }));
    connect(fabric, 4000);
    expect(since(fabric)).toEqual({ came: [], left: [] });
    put(fabric, service({ backends: backends(IPS.b, IPS.c, IPS.far) }));
    connect(fabric, 4001);
    put(fabric, service({ backends: backends(IPS.b, IPS.far, '10.77.0.30') }));
    put(fabric, service({ backends: backends(IPS.far, '10.77.0.30') }));
    put(fabric, service({ backends: backends(IPS.b, IPS.far) }));
    expect(since(fabric)).toEqual({ came: text(IPS.far), left: text(IPS.c) });
    expect(since(fabric, 4001)).toEqual({ came: [], left: text(IPS.c) });
    expect(explain(fabric, { clientPort: 5000 }).service!.since).toEqual({ came: [], left: [] });
  });

  it('goes by its own set of its own service', () => {
    const fabric = new Fabric();
    const local = { internalLocal: true, backends: backends(IPS.b, IPS.c) };
    const other = { id: 1, name: 'default/other:', vip: address4('10.96.0.11') };
    put(fabric, service({ ...local, local: backends(IPS.b) }), service({ ...other, backends: [] }));
    connect(fabric, 4000);
    put(fabric, service({ ...local, backends: backends(IPS.b), local: backends(IPS.b) }));
    put(fabric, service({ ...other, backends: backends(IPS.c) }));
    expect(since(fabric)).toEqual({ came: [], left: [] });
    put(fabric, service({ ...local, backends: backends(IPS.b), local: backends(IPS.c) }));
    expect(since(fabric)).toEqual({ came: text(IPS.c), left: text(IPS.b) });
  });

  it('says so when more has changed than is remembered', () => {
    const fabric = new Fabric();
    put(fabric, service({ backends: backends(IPS.b) }));
    connect(fabric, 4000);
    for (let i = 0; i < 2048; i++) put(fabric, service({ backends: backends(i % 2 === 0 ? IPS.c : IPS.b) }));
    expect(since(fabric)).toEqual({ came: [], left: [] });
    connect(fabric, 4001);
    put(fabric, service({ backends: backends(IPS.c) }));
    expect(since(fabric)).toBe(null);
    expect(since(fabric, 4001)).toEqual({ came: text(IPS.c), left: text(IPS.b) });
  });
});

describe('what a change would mean to living flows', () => {
  /** Without `services`, service 0 goes. */
  function preview(fabric: Fabric, services: ServiceConfig[], ops: Op[] = []): FateRow[] {
    const writer = new RecordWriter();
    for (const config of services) writer.add(config);
    if (services.length === 0) writer.remove(0);
    return [...previewRows(fabric.dataplane, writer.finish(), ops)].filter((row) => row !== null);
  }
  const fates = (rows: FateRow[]) => rows.map(({ client, fate }) => `${client.split(':')[1]} ${fate}`);

  it.each(['keep', 'drain', 'reset'] as const)(
    'S30: TCP of an endpoint that would leave, by its policy: %s',
    (policy) => {
      const fabric = new Fabric();
      put(fabric, service({ backends: backends(IPS.b, IPS.c) }));
      for (const sport of [1, 2, 3]) connect(fabric, sport);
      const next = service({ backends: backends(IPS.c), onEndpointRemoved: policy, drain: 30_000 });
      const word = { keep: 'kept', drain: 'drained', reset: 'reset' }[policy];
      expect(fates(preview(fabric, [next]))).toEqual([`1 ${word}`, `3 ${word}`]);
      expect(fates(preview(fabric, [service({ backends: backends(IPS.b, IPS.c, IPS.far) })]))).toEqual([]);
      // Nothing happened.
      expect(fabric.settle()).toEqual([]);
      expect(connect(fabric, 4).map(({ to }) => to)).toEqual(['c']);
    },
  );

  it('S31, S33: UDP that would go elsewhere; a Service, a frontend, a network that would go', () => {
    const fabric = new Fabric();
    const dns = { id: 1, protocol: 17, name: 'default/dns:udp', onEndpointRemoved: 'reset' } as const;
    put(fabric, service({ backends: backends(IPS.b) }), service({ ...dns, backends: backends(IPS.b) }));
    connect(fabric, 1);
    ask(fabric, 2);
    expect(fates(preview(fabric, [service({ ...dns, backends: backends(IPS.c) })]))).toEqual(['2 removed']);
    expect(fates(preview(fabric, [service({ backends: backends(IPS.b), port: 81 })]))).toEqual(['1 kept']);
    expect(fates(preview(fabric, []))).toEqual(['1 kept']);
    expect(fates(preview(fabric, [], [{ op: 'remove-network', id: 0 }]))).toEqual(['1 removed', '2 removed']);
  });

  it('N29: those behind an address that would go', () => {
    const fabric = new Fabric();
    const hostPort = port('c', { isHost: true });
    const host: Op = {
      op: 'host',
      host: { underlayAddresses: [], vxlanPorts: [], maxFlows: 99, masqueradeAll: true },
    };
    fabric.dataplane.apply([{ op: 'port', port: hostPort }, host]);
    const shop = service({ backends: backends(IPS.b) });
    put(fabric, shop);
    connect(fabric, 1);
    expect(fates(preview(fabric, [shop], [{ op: 'remove-port', id: hostPort.id }]))).toEqual(['1 removed']);
    expect(fates(preview(fabric, [shop], [{ op: 'port', port: { ...hostPort, mtu: 1400 } }]))).toEqual([]);
    const moved = { ...hostPort, addresses: [address4('10.77.0.99')] };
    const rows = preview(fabric, [shop], [{ op: 'port', port: moved }]);
    expect(rows).toMatchObject([{ client: `${IPS.a}:1`, because: expect.stringContaining('address') }]);
    expect(fabric.dataplane.pipeline.flows.count).toBe(1);
  });
});
