import { describe, expect, it } from 'vitest';
import type { Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { address4, Fabric, IPS, MACS, macOf, peer, type Sent, service } from '../fabric.ts';
import {
  checksumsAreRight,
  echoRequest,
  ethernet,
  icmp,
  readIpv4,
  type TcpFields,
  tcp,
  udp,
} from '../frames.ts';

const VIP = '10.96.0.10';
const backends = (...ips: string[]) => ips.map((ip) => ({ address: address4(ip), port: 8080 }));
const toVip = (fabric: Fabric, packet: ArrayLike<number>, from: 'a' | 'b' | 'c' = 'a') =>
  fabric.from(from, ethernet({ src: MACS[from], dst: MACS.gateway }, packet));
const open = (fabric: Fabric, sport: number, fields: Partial<TcpFields> = {}) =>
  toVip(fabric, tcp({ from: IPS.a, to: VIP, sport, dport: 80, ...fields }));
const ask = (fabric: Fabric, sport: number, fields: { to?: string; dport?: number } = {}) =>
  toVip(fabric, udp({ from: IPS.a, to: VIP, sport, dport: 80, ...fields }));
const answerFrom = (fabric: Fabric, name: 'b' | 'c', dport: number, sport = 8080) =>
  fabric.from(
    name,
    ethernet({ src: MACS[name], dst: MACS.a }, udp({ from: IPS[name], to: IPS.a, sport, dport })),
  );
const flows = (fabric: Fabric) => dump(fabric.dataplane, 'flows') as FlowRow[];
const apply = (fabric: Fabric, ...services: ServiceConfig[]) =>
  fabric.dataplane.apply(services.map((s) => ({ op: 'service', service: s })));
const udpService = (overrides: Partial<ServiceConfig> = {}) =>
  service({ protocol: 17, name: 'default/dns:udp', backends: backends(IPS.b, IPS.c), ...overrides });
const names = (sent: Sent[]) => sent.map((s) => s.to);

/** A fabric where far is configured behind p, with the standing Service over b, c and far. */
function standing(...ips: string[]): Fabric {
  const fabric = new Fabric();
  fabric.dataplane.apply([
    {
      op: 'peer',
      peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] }),
    },
    {
      op: 'service',
      service: service({ backends: backends(...(ips.length > 0 ? ips : [IPS.b, IPS.c, IPS.far])) }),
    },
  ]);
  return fabric;
}

describe('verdicts', () => {
  it('S15, S16: without an endpoint TCP is refused by a reset from VIP:port at once', () => {
    const fabric = new Fabric();
    apply(fabric, service({ backends: [] }));
    const sent = open(fabric, 4000, { seq: 0x11223344 });
    expect(names(sent)).toEqual(['a']);
    const out = readIpv4(sent[0]!.frame);
    expect(out).toMatchObject({
      from: VIP,
      to: IPS.a,
      sport: 80,
      dport: 4000,
      flags: 'RA',
      seq: 0,
      ack: 0x11223345,
    });
    expect(out).toMatchObject({ src: MACS.gateway, dst: MACS.a });
    expect(checksumsAreRight(out.packet)).toBe(true);
    expect(fabric.drops()).toEqual({ NO_ENDPOINT: 1 });
  });

  it('S16: resets are not rate limited, ICMP is', () => {
    const fabric = new Fabric();
    apply(fabric, service({ backends: [] }), udpService({ id: 1, backends: [] }));
    for (let i = 0; i < 200; i++) expect(open(fabric, 4000 + i)).toHaveLength(1);
    expect([ask(fabric, 1), ask(fabric, 2)].map((sent) => sent.length)).toEqual([1, 0]);
  });

  it('S15, S16: without an endpoint UDP is refused by ICMP 3/3 from the gateway', () => {
    const fabric = new Fabric();
    apply(fabric, udpService({ backends: [] }));
    const [error] = ask(fabric, 4000);
    const out = readIpv4(error!.frame);
    expect(out).toMatchObject({ icmp: '3/3', from: IPS.gateway, to: IPS.a });
    expect(checksumsAreRight(out.packet)).toBe(true);
    const quoted = readIpv4(Uint8Array.from([...new Uint8Array(14), ...out.body.subarray(8)]));
    expect(quoted).toMatchObject({ from: IPS.a, to: VIP, sport: 4000, dport: 80 });
  });

  it('S15: an undefined port of a ClusterIP is refused, for TCP, UDP and with the other protocol of a defined one', () => {
    const fabric = standing();
    expect(readIpv4(open(fabric, 1, { dport: 81 })[0]!.frame)).toMatchObject({
      flags: 'RA',
      from: VIP,
      sport: 81,
    });
    expect(readIpv4(ask(fabric, 1)[0]!.frame).icmp).toBe('3/3');
    expect(fabric.drops()).toEqual({ NO_SUCH_SERVICE_PORT: 2 });
  });

  it('S15: a ping to a ClusterIP is refused, not answered', () => {
    const fabric = standing();
    const [error] = toVip(fabric, echoRequest(IPS.a, VIP));
    expect(readIpv4(error!.frame)).toMatchObject({ icmp: '3/3', from: IPS.gateway });
    expect(fabric.drops()).toEqual({ UNSUPPORTED_TO_SERVICE: 1 });
  });

  it('S15, N9: an ICMP error to a ClusterIP is dropped without an answer', () => {
    const fabric = standing();
    expect(toVip(fabric, icmp(IPS.a, VIP, [3, 3, 0, 0, 0, 0, 0, 0, 0x45]))).toEqual([]);
  });

  it('S15: an address that is no ClusterIP is the router’s business', () => {
    const fabric = standing();
    expect(readIpv4(open(fabric, 1, { to: '10.96.0.77' })[0]!.frame).icmp).toBe('3/0');
  });

  it('S15: established flows survive the loss of all endpoints; new ones are refused', () => {
    const fabric = standing(IPS.b);
    open(fabric, 1);
    apply(fabric, service({ backends: [] }));
    expect(names(open(fabric, 1, { flags: 'S' }))).toEqual(['b']);
    expect(readIpv4(open(fabric, 2)[0]!.frame).flags).toBe('RA');
  });

  it('S15: a Service that gets its first endpoint works at once', () => {
    const fabric = new Fabric();
    apply(fabric, service({ backends: [] }));
    open(fabric, 1);
    apply(fabric, service({ backends: backends(IPS.b) }));
    expect(names(open(fabric, 1))).toEqual(['b']);
  });

  it('S15, M7: with its last port a ClusterIP disappears; before that its other ports stay', () => {
    const fabric = standing(IPS.b);
    apply(fabric, service({ id: 1, name: 'default/shop:admin', port: 8443, backends: backends(IPS.c) }));
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(readIpv4(open(fabric, 1)[0]!.frame).flags).toBe('RA');
    expect(names(open(fabric, 2, { dport: 8443 }))).toEqual(['c']);
    fabric.dataplane.apply([{ op: 'remove-service', id: 1 }]);
    expect(readIpv4(open(fabric, 3)[0]!.frame).icmp).toBe('3/0');
  });

  it('S17: one address may serve the same port over TCP and UDP', () => {
    const fabric = standing(IPS.b);
    apply(fabric, udpService({ id: 1, backends: backends(IPS.c) }));
    expect([names(open(fabric, 1)), names(ask(fabric, 1))]).toEqual([['b'], ['c']]);
    fabric.dataplane.apply([{ op: 'remove-service', id: 1 }]);
    expect(names(open(fabric, 2))).toEqual(['b']);
    expect(readIpv4(ask(fabric, 2)[0]!.frame).icmp).toBe('3/3');
  });
});

describe('translation', () => {
  it('S20, S23: the backend sees the client, the client sees the VIP, numbers are unchanged', () => {
    const fabric = standing();
    for (const [sport, to] of [
      [1, 'b'],
      [2, 'c'],
      [3, 'p'],
    ] as const) {
      const [sent] = open(fabric, sport, { seq: 0xfffffffe, payload: [9] });
      expect(sent!.to).toBe(to);
      expect(readIpv4(sent!.frame)).toMatchObject({ from: IPS.a, sport, dport: 8080, seq: 0xfffffffe });
    }
    const reply = tcp({
      from: IPS.far,
      to: IPS.a,
      sport: 8080,
      dport: 3,
      flags: 'SA',
      seq: 7,
      ack: 0xffffffff,
    });
    const [back] = fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, reply));
    expect(back!.to).toBe('a');
    expect(readIpv4(back!.frame)).toMatchObject({
      from: VIP,
      sport: 80,
      to: IPS.a,
      dport: 3,
      seq: 7,
      ack: 0xffffffff,
    });
    expect(checksumsAreRight(readIpv4(back!.frame).packet)).toBe(true);
  });

  it('S20: a client of another subnet of the network is served too', () => {
    const fabric = new Fabric();
    apply(fabric, service({ backends: backends(IPS.b) }));
    const from = '10.78.0.9';
    expect(readIpv4(toVip(fabric, tcp({ from, to: VIP, sport: 1, dport: 80 }))[0]!.frame)).toMatchObject({
      from,
      to: IPS.b,
    });
  });

  it('A13, S20: the first packet waits for a backend’s MAC and is delivered in order', () => {
    const fabric = new Fabric();
    apply(fabric, udpService({ backends: backends(IPS.far) }));
    const first = ask(fabric, 1);
    expect(first.every((s) => s.frame[12] === 8 && s.frame[13] === 6)).toBe(true);
    ask(fabric, 1);
    const mac = [0x02, 0, 0, 0, 1, 1];
    const reply = ethernet({ src: MACS.far, dst: MACS.router, type: 0x0806 }, [
      0,
      1,
      8,
      0,
      6,
      4,
      0,
      2,
      ...mac,
      10,
      77,
      0,
      21,
      2,
      0x77,
      0,
      0,
      0x0a,
      1,
      0,
      0,
      0,
      0,
    ]);
    const sent = fabric.fromPeer('p', reply);
    expect(
      sent.map((s) => [s.to, readIpv4(s.frame).to, readIpv4(s.frame).dst, readIpv4(s.frame).src]),
    ).toEqual([
      ['p', IPS.far, MACS.far, MACS.router],
      ['p', IPS.far, MACS.far, MACS.router],
    ]);
  });
});

describe('choice', () => {
  const count = (fabric: Fabric, n: number, first: number) => {
    const uses: Record<string, number> = {};
    for (let i = 0; i < n; i++) for (const { to } of open(fabric, first + i)) uses[to] = (uses[to] ?? 0) + 1;
    return uses;
  };

  it.each([1, 7, 40])('S24: %i · n new flows give each backend exactly as many', (k) => {
    expect(count(standing(), 3 * k, 1000)).toEqual({ b: k, c: k, p: k });
  });

  it('S24: in the order of the endpoints', () => {
    const fabric = standing();
    expect([1, 2, 3, 4].map((sport) => open(fabric, sport)[0]!.to)).toEqual(['b', 'c', 'p', 'b']);
  });

  it('S24: exactly so after every change of the endpoints', () => {
    const fabric = standing();
    count(fabric, 4, 1000);
    apply(fabric, service({ backends: backends(IPS.b, IPS.c) }));
    expect(count(fabric, 20, 2000)).toEqual({ b: 10, c: 10 });
    apply(fabric, service({ backends: backends(IPS.b, IPS.c, IPS.far) }));
    expect(count(fabric, 30, 3000)).toEqual({ b: 10, c: 10, p: 10 });
    apply(fabric, service({ backends: backends(IPS.c) }));
    expect(count(fabric, 5, 4000)).toEqual({ c: 5 });
  });

  it('S24: a change keeps the index, modulo the number of endpoints', () => {
    const fabric = standing();
    count(fabric, 2, 1000);
    apply(fabric, service({ backends: backends(IPS.b, IPS.c) }));
    expect(open(fabric, 1)[0]!.to).toBe('b');
    apply(fabric, service({ backends: backends(IPS.b, IPS.c, IPS.far) }));
    expect(open(fabric, 2)[0]!.to).toBe('c');
  });

  it('S24: refused flows and later packets do not advance the index', () => {
    const fabric = standing();
    expect(open(fabric, 1)[0]!.to).toBe('b');
    open(fabric, 2, { flags: 'A' });
    open(fabric, 3, { dport: 81 });
    open(fabric, 1);
    expect(open(fabric, 4)[0]!.to).toBe('c');
  });

  it('S24: Services do not share an index', () => {
    const fabric = standing();
    apply(fabric, service({ id: 1, name: 'default/two:http', vip: address4('10.96.0.11') }));
    open(fabric, 1);
    expect(open(fabric, 2, { to: '10.96.0.11' })[0]!.to).toBe('b');
  });

  it('S25, S24: thousands of Services, each with its own answer', () => {
    const fabric = new Fabric();
    const all = Array.from({ length: 3000 }, (_, id) =>
      service({
        id,
        name: `default/s${id}:http`,
        vip: address4(`10.97.${id >> 8}.${id & 255}`),
        port: 80 + (id % 7),
        backends: [{ address: address4(id % 2 === 0 ? IPS.b : IPS.c), port: 1000 + id }],
      }),
    );
    apply(fabric, ...all);
    for (const id of [0, 1, 255, 256, 1023, 1024, 2047, 2999]) {
      const [sent] = open(fabric, 10_000 + id, { to: `10.97.${id >> 8}.${id & 255}`, dport: 80 + (id % 7) });
      expect([sent!.to, readIpv4(sent!.frame).dport]).toEqual([id % 2 === 0 ? 'b' : 'c', 1000 + id]);
    }
    fabric.dataplane.apply(
      all.filter(({ id }) => id % 3 === 0).map(({ id }) => ({ op: 'remove-service', id })),
    );
    expect(readIpv4(open(fabric, 1, { to: '10.97.0.0', dport: 80 })[0]!.frame).icmp).toBe('3/0');
    expect(names(open(fabric, 2, { to: '10.97.0.1', dport: 81 }))).toEqual(['c']);
  });
});

describe('change while flows live', () => {
  it('S30: a removed endpoint keeps its TCP flows, in both directions', () => {
    const fabric = standing(IPS.b, IPS.c);
    open(fabric, 1);
    apply(fabric, service({ backends: backends(IPS.c) }));
    expect(names(open(fabric, 1))).toEqual(['b']);
    const [back] = fabric.from(
      'b',
      ethernet(
        { src: MACS.b, dst: MACS.a },
        tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: 1, flags: 'SA' }),
      ),
    );
    expect(readIpv4(back!.frame)).toMatchObject({ from: VIP, sport: 80 });
  });

  it('S30: a removed TCP Service keeps its flows; its row says so', () => {
    const fabric = standing(IPS.b);
    open(fabric, 1);
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(names(open(fabric, 1))).toEqual(['b']);
    expect(flows(fabric)).toMatchObject([
      { service: '(removed)', vip: `${VIP}:80`, backend: `${IPS.b}:8080` },
    ]);
    apply(fabric, service({ name: 'other/new:http', vip: address4('10.96.0.99') }));
    expect(flows(fabric)).toMatchObject([{ service: '(removed)' }]);
  });

  it('S30, M7: a change of one Service leaves the flows of the others alone', () => {
    const fabric = new Fabric();
    apply(
      fabric,
      udpService({ id: 0 }),
      udpService({ id: 1, name: 'default/two:udp', vip: address4('10.96.0.11'), port: 90 }),
    );
    ask(fabric, 1);
    ask(fabric, 2, { to: '10.96.0.11', dport: 90 });
    const untouched = flows(fabric).filter((row) => row.service === 'default/two:udp');
    apply(fabric, udpService({ id: 0, backends: backends(IPS.c) }));
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(flows(fabric)).toEqual(untouched);
    expect(untouched).toHaveLength(1);
  });

  it('S31: a UDP flow to an endpoint that left is deleted; the client’s next packet goes elsewhere', () => {
    const fabric = new Fabric();
    apply(fabric, udpService());
    expect(names(ask(fabric, 53))).toEqual(['b']);
    answerFrom(fabric, 'b', 53);
    apply(fabric, udpService({ backends: backends(IPS.c) }));
    expect(flows(fabric)).toEqual([]);
    expect(names(ask(fabric, 53))).toEqual(['c']);
    expect(readIpv4(answerFrom(fabric, 'c', 53)[0]!.frame)).toMatchObject({ from: VIP, sport: 80 });
  });

  it('S31: flows to endpoints that stay are kept', () => {
    const fabric = new Fabric();
    apply(fabric, udpService());
    ask(fabric, 53);
    ask(fabric, 54);
    apply(fabric, udpService({ backends: backends(IPS.c, IPS.far) }));
    expect(flows(fabric).map((row) => row.backend)).toEqual([`${IPS.c}:8080`]);
  });

  it('S32: without any endpoint the flows stay', () => {
    const fabric = new Fabric();
    apply(fabric, udpService());
    ask(fabric, 53);
    apply(fabric, udpService({ backends: [] }));
    expect(flows(fabric)).toHaveLength(1);
    expect(names(ask(fabric, 53))).toEqual(['b']);
    apply(fabric, udpService({ backends: backends(IPS.c) }));
    expect(names(ask(fabric, 53))).toEqual(['c']);
  });

  it('S32: TCP flows are untouched', () => {
    const fabric = standing(IPS.b);
    open(fabric, 1);
    apply(fabric, service({ backends: backends(IPS.c) }));
    expect(flows(fabric)).toHaveLength(1);
  });

  it('S33: a removed UDP Service loses its flows', () => {
    const fabric = new Fabric();
    apply(fabric, udpService());
    ask(fabric, 53);
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(flows(fabric)).toEqual([]);
    expect(readIpv4(ask(fabric, 53)[0]!.frame).icmp).toBe('3/0');
    expect(readIpv4(answerFrom(fabric, 'b', 53)[0]!.frame).from).toBe(IPS.b);
  });

  it('S33: a removed port of a UDP Service loses its flows, also when the id lives on with another port', () => {
    const fabric = new Fabric();
    apply(fabric, udpService());
    ask(fabric, 53);
    apply(fabric, udpService({ port: 81 }));
    expect(readIpv4(ask(fabric, 53)[0]!.frame).icmp).toBe('3/3');
    expect(flows(fabric)).toEqual([]);
  });

  it('S33: a changed ClusterIP loses the UDP flows of the old one', () => {
    const fabric = new Fabric();
    apply(fabric, udpService());
    ask(fabric, 53);
    apply(fabric, udpService({ vip: address4('10.96.0.11') }));
    expect(flows(fabric)).toEqual([]);
    expect(names(ask(fabric, 53, { to: '10.96.0.11' }))).toHaveLength(1);
  });

  it('S31, S33: by every frontend and by the node port, those that left lose their UDP flows, the others keep theirs', () => {
    const fabric = new Fabric();
    const [external, node] = ['203.0.113.1', '192.0.2.1'];
    const underlayAddresses = [address4(node)];
    fabric.dataplane.apply([
      {
        op: 'host',
        host: { underlayAddresses, vxlanPorts: [4789], maxFlows: 64, nodeAddresses: underlayAddresses },
      },
    ]);
    const frontends = [
      { kind: 'clusterIP', address: address4(VIP), port: 80 },
      { kind: 'externalIP', address: address4(external), port: 80 },
    ] as const;
    const reachable = udpService({ frontends, nodePort: 30_080, backends: backends(IPS.b) });
    apply(fabric, reachable);
    const everywhere = () => {
      ask(fabric, 1);
      ask(fabric, 2, { to: external });
      ask(fabric, 3, { to: node, dport: 30_080 });
      return flows(fabric)
        .map(({ vip }) => vip)
        .sort();
    };
    expect(everywhere()).toEqual(['10.96.0.10:80', '192.0.2.1:30080', '203.0.113.1:80']);
    apply(fabric, { ...reachable, nodePort: 30_081 });
    expect(flows(fabric)).toHaveLength(2);
    apply(fabric, { ...reachable, frontends: frontends.slice(1), nodePort: 30_080 });
    expect(flows(fabric).map(({ vip }) => vip)).toEqual(['203.0.113.1:80']);
    apply(fabric, reachable);
    everywhere();
    apply(fabric, { ...reachable, backends: backends(IPS.c) });
    expect(flows(fabric)).toEqual([]);
  });

  it('S31: an endpoint of either set serves, and so does one that is in neither', () => {
    const fabric = new Fabric();
    apply(fabric, udpService({ backends: backends(IPS.b) }));
    ask(fabric, 1);
    const stays = [
      udpService({ backends: backends(IPS.c), local: backends(IPS.b), externalLocal: true }),
      udpService({ backends: backends(IPS.c), serving: [address4(IPS.b), address4(IPS.c)] }),
    ];
    for (const config of stays) {
      apply(fabric, config);
      expect(flows(fabric)).toHaveLength(1);
    }
    apply(fabric, udpService({ backends: backends(IPS.c) }));
    expect(flows(fabric)).toEqual([]);
  });

  it('S33: a changed target port moves the new packets of a client with a fixed port', () => {
    const fabric = new Fabric();
    apply(fabric, udpService({ backends: backends(IPS.b) }));
    ask(fabric, 53);
    apply(fabric, udpService({ backends: [{ address: address4(IPS.b), port: 5300 }] }));
    expect(readIpv4(ask(fabric, 53)[0]!.frame)).toMatchObject({ to: IPS.b, dport: 5300 });
  });
});

describe('a large transaction', () => {
  const many = (count: number, from = 100): ServiceConfig[] =>
    Array.from({ length: count }, (_, i) =>
      service({
        id: from + i,
        name: `default/s${i}:p`,
        vip: address4(`10.97.${i >> 8}.${i & 255}`),
        backends: backends(IPS.b, IPS.c),
      }),
    );
  const ops = (configs: readonly ServiceConfig[]): Op[] =>
    configs.map((config) => ({ op: 'service', service: config }));

  it('S25, M7: goes in steps between which packets pass, and every service is old or new, never half', () => {
    const fabric = standing(IPS.b);
    let steps = 0;
    let isReached = false;
    const changes = ops([...many(3000), service({ backends: backends(IPS.c) })]);
    for (const _ of fabric.dataplane.steps(changes)) {
      const sent = open(fabric, 5000 + steps++);
      const to = names(sent)[0]!;
      expect(['b', 'c']).toContain(to);
      if (isReached) expect(to).toBe('c');
      isReached = to === 'c';
    }
    expect(steps).toBeGreaterThan(20);
    expect(names(open(fabric, 4999))).toEqual(['c']);
    expect(fabric.dataplane.pipeline.services.count).toBe(3001);
  });

  it('S31: stale flows go within the transaction, a bounded number of rows per step', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([
      { op: 'host', host: { underlayAddresses: [], vxlanPorts: [4789], maxFlows: 40_000 } },
      { op: 'service', service: udpService({ backends: backends(IPS.b) }) },
      {
        op: 'service',
        service: udpService({ id: 1, vip: address4('10.96.0.11'), backends: backends(IPS.b) }),
      },
    ]);
    for (let i = 0; i < 3000; i++) ask(fabric, 1000 + i, { to: i % 3 === 0 ? '10.96.0.11' : VIP });
    expect(flows(fabric).length).toBe(3000);
    let most = 0;
    let last = fabric.dataplane.pipeline.flows.count;
    const change = ops([udpService({ backends: backends(IPS.c) })]);
    for (const _ of fabric.dataplane.steps(change)) {
      const { count } = fabric.dataplane.pipeline.flows;
      most = Math.max(most, last - count);
      last = count;
    }
    expect(most).toBeLessThan(600);
    expect(new Set(flows(fabric).map((row) => row.vip))).toEqual(new Set(['10.96.0.11:80']));
    expect(flows(fabric).length).toBe(1000);
  });
});
