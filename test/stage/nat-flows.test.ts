import { describe, expect, it } from 'vitest';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { Global } from '../../src/telemetry/counters.ts';
import { address4, Fabric, IPS, MACS, macOf, network, peer, type Sent, service } from '../fabric.ts';
import { arp, checksumsAreRight, echoRequest, ethernet, readIpv4, tcp, udp } from '../frames.ts';

const VIP = '10.96.0.10';
const backends = (...ips: string[]) => ips.map((ip) => ({ address: address4(ip), port: 8080 }));
const tcpService = service({ backends: backends(IPS.b) });
const udpService = service({ id: 1, name: 'default/shop:udp', protocol: 17, backends: backends(IPS.b) });

function standing(): Fabric {
  const fabric = new Fabric();
  fabric.dataplane.apply([
    { op: 'service', service: tcpService },
    { op: 'service', service: udpService },
  ]);
  return fabric;
}

const flows = (fabric: Fabric) => dump(fabric.dataplane, 'flows') as FlowRow[];
const question = (sport: number, from: string = IPS.a) =>
  ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from, to: VIP, sport, dport: 80 }));
const answer = (dport: number, to: string = IPS.a) =>
  ethernet({ src: MACS.b, dst: MACS.a }, udp({ from: IPS.b, to, sport: 8080, dport }));
const open = (sport: number) =>
  ethernet({ src: MACS.a, dst: MACS.gateway }, tcp({ from: IPS.a, to: VIP, sport, dport: 80 }));
/** Virtual time in the steps of a daemon that has nothing to do. */
const turns = (fabric: Fabric, ms: number) => {
  for (let left = ms; left > 0; left -= 100) fabric.advance(100);
};
const limit = (fabric: Fabric, maxFlows: number) =>
  fabric.dataplane.apply([
    { op: 'host', host: { underlayAddresses: [address4('192.0.2.1')], vxlanPorts: [4789], maxFlows } },
  ]);

describe('the flow key', () => {
  it('N3: networks with equal addresses never share a flow', () => {
    const fabric = new Fabric();
    const mac = macOf(MACS.far);
    fabric.dataplane.apply([
      {
        op: 'peer',
        peer: peer('p', { static: [0, 1].map((id) => ({ network: id, mac, address: address4(IPS.far) })) }),
      },
      { op: 'service', service: service({ backends: backends(IPS.far) }) },
    ]);
    const syn = tcp({ from: IPS.a, to: VIP, sport: 4000, dport: 80 });
    const blue = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, syn));
    const red = fabric.from('r', ethernet({ src: MACS.r, dst: MACS.redGateway }, syn));
    expect([...blue, ...red].map((s) => [s.to, s.vni])).toEqual([
      ['p', 42],
      ['p', 43],
    ]);
    expect(
      flows(fabric)
        .map((row) => row.network)
        .sort(),
    ).toEqual(['blue', 'red']);
    const reply = ethernet(
      { src: MACS.far, dst: MACS.r },
      tcp({ from: IPS.far, to: IPS.a, sport: 8080, dport: 4000, flags: 'SA' }),
    );
    const [back] = fabric.fromPeer('p', reply, { vni: 43 });
    expect([back!.to, readIpv4(back!.frame).from]).toEqual(['r', VIP]);
    expect(
      flows(fabric)
        .map((row) => `${row.network} ${row.state}`)
        .sort(),
    ).toEqual(['blue syn-sent', 'red syn-recv']);
  });

  it('N3: protocols with equal ports are different flows', () => {
    const fabric = standing();
    fabric.from('a', question(5));
    fabric.from('a', open(5));
    expect(
      flows(fabric)
        .map((row) => row.protocol)
        .sort(),
    ).toEqual(['tcp', 'udp']);
  });

  it('N3: either tuple finds the one flow', () => {
    const fabric = standing();
    fabric.from('a', question(5));
    fabric.from('b', answer(5));
    fabric.from('a', question(5));
    expect(flows(fabric)).toMatchObject([{ packets: 2, replyPackets: 1, state: 'replied' }]);
  });

  it('N4: many first packets of one tuple in one burst give one flow and one backend', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'service', service: { ...udpService, backends: backends(IPS.b, IPS.c) } }]);
    for (let i = 0; i < 20; i++) fabric.card.receive({ device: 10, bytes: question(7) });
    const sent = fabric.settle();
    expect(new Set(sent.map((s) => s.to))).toEqual(new Set(['b']));
    expect(sent).toHaveLength(20);
    expect(flows(fabric)).toHaveLength(1);
    expect(fabric.from('a', question(8)).map((s) => s.to)).toEqual(['c']);
  });

  it('N4: two Services with the same backend keep a client’s equal ports apart', () => {
    const fabric = standing();
    fabric.dataplane.apply([
      {
        op: 'service',
        service: { ...udpService, id: 2, name: 'default/twin:udp', vip: address4('10.96.0.11') },
      },
    ]);
    fabric.from('a', question(9));
    const twin = ethernet(
      { src: MACS.a, dst: MACS.gateway },
      udp({ from: IPS.a, to: '10.96.0.11', sport: 9, dport: 80 }),
    );
    const [sent] = fabric.from('a', twin);
    const { from, sport } = readIpv4(sent!.frame);
    expect([from, sent!.to]).toEqual([IPS.a, 'b']);
    expect(sport).not.toBe(9);
    expect(readIpv4(fabric.from('b', answer(9))[0]!.frame)).toMatchObject({ from: VIP, dport: 9 });
    expect(readIpv4(fabric.from('b', answer(sport))[0]!.frame)).toMatchObject({
      from: '10.96.0.11',
      dport: 9,
    });
  });

  it('N4, N26: a datagram sent directly, by a port that is in use towards a service, keeps its own answers', () => {
    const fabric = standing();
    fabric.from('a', question(9));
    const direct = ethernet(
      { src: MACS.a, dst: MACS.b },
      udp({ from: IPS.a, to: IPS.b, sport: 9, dport: 8080 }),
    );
    const [sent] = fabric.from('a', direct);
    const { sport, packet } = readIpv4(sent!.frame);
    expect(sport).not.toBe(9);
    expect(checksumsAreRight(packet)).toBe(true);
    expect(readIpv4(fabric.from('a', direct)[0]!.frame).sport).toBe(sport);
    expect(readIpv4(fabric.from('b', answer(sport))[0]!.frame)).toMatchObject({
      src: MACS.b,
      from: IPS.b,
      sport: 8080,
      dport: 9,
    });
    expect(readIpv4(fabric.from('b', answer(9))[0]!.frame)).toMatchObject({ from: VIP, dport: 9 });
    expect(flows(fabric)).toMatchObject([{ service: 'default/shop:udp' }, { service: '(direct)' }]);
  });
});

describe('what is tracked', () => {
  it('N5: plain bridged and routed traffic makes no flow and is never invalid', () => {
    const fabric = standing();
    const to = (dst: string, packet: number[]) => fabric.from('a', ethernet({ src: MACS.a, dst }, packet));
    expect(to(MACS.b, tcp({ from: IPS.a, to: IPS.b, sport: 1, dport: 2, flags: 'FA' }))).toHaveLength(1);
    expect(to(MACS.b, tcp({ from: IPS.a, to: IPS.b, sport: 1, dport: 2, flags: '' }))).toHaveLength(1);
    expect(to(MACS.gateway, udp({ from: IPS.a, to: IPS.b, sport: 1, dport: 2 }))).toHaveLength(1);
    expect(to(MACS.b, echoRequest(IPS.a, IPS.b))).toHaveLength(1);
    expect(flows(fabric)).toEqual([]);
    expect(fabric.drops()).toEqual({});
  });

  it('N5: an existing flow wins over a change of endpoints', () => {
    const fabric = standing();
    fabric.from('a', open(4000));
    fabric.dataplane.apply([{ op: 'service', service: { ...tcpService, backends: backends(IPS.c) } }]);
    expect(fabric.from('a', open(4000)).map((s) => s.to)).toEqual(['b']);
    expect(fabric.from('a', open(4001)).map((s) => s.to)).toEqual(['c']);
  });

  it('N6: a packet to a VIP that is not addressed to the gateway is not translated', () => {
    const fabric = standing();
    const [sent] = fabric.from(
      'a',
      ethernet({ src: MACS.a, dst: MACS.b }, tcp({ from: IPS.a, to: VIP, sport: 1, dport: 80 })),
    );
    expect([sent!.to, readIpv4(sent!.frame).to, readIpv4(sent!.frame).ttl]).toEqual(['b', VIP, 64]);
    expect(flows(fabric)).toEqual([]);
    fabric.from('a', open(1));
    const [later] = fabric.from(
      'a',
      ethernet({ src: MACS.a, dst: MACS.b }, tcp({ from: IPS.a, to: VIP, sport: 1, dport: 80 })),
    );
    expect(readIpv4(later!.frame).to).toBe(VIP);
  });

  it('N2: a reply is undone whether it is bridged, routed or came through a tunnel', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'service', service: service({ backends: backends(IPS.b, IPS.far) }) }]);
    fabric.fromPeer('p', arp({ op: 'request', senderMac: MACS.far, senderIp: IPS.far, targetIp: IPS.far }));
    const synAck = (from: string, dport: number) => tcp({ from, to: IPS.a, sport: 8080, dport, flags: 'SA' });
    const expectVip = (sent: Sent[]) =>
      expect(sent.map((s) => [s.to, readIpv4(s.frame).from, readIpv4(s.frame).sport])).toEqual([
        ['a', VIP, 80],
      ]);
    expect(fabric.from('a', open(1)).map((s) => s.to)).toEqual(['b']);
    expect(fabric.from('a', open(2)).map((s) => s.to)).toEqual(['p']);
    const bridged = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, synAck(IPS.b, 1)));
    expectVip(bridged);
    expect(readIpv4(bridged[0]!.frame).ttl).toBe(64);
    const routed = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.gateway }, synAck(IPS.b, 1)));
    expectVip(routed);
    expect(readIpv4(routed[0]!.frame).ttl).toBe(63);
    expectVip(fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, synAck(IPS.far, 2))));
  });

  it('N2: other traffic of the backend is left alone', () => {
    const fabric = standing();
    fabric.from('a', open(1));
    const other = ethernet(
      { src: MACS.b, dst: MACS.a },
      tcp({ from: IPS.b, to: IPS.a, sport: 8081, dport: 1, flags: 'SA' }),
    );
    expect(readIpv4(fabric.from('b', other)[0]!.frame)).toMatchObject({ from: IPS.b, sport: 8081 });
  });
});

describe('timers of UDP flows', () => {
  it('N20: 30 s unreplied, 120 s replied, to the millisecond', () => {
    const fabric = standing();
    fabric.from('a', question(1));
    fabric.from('a', question(2));
    fabric.from('b', answer(2));
    fabric.advance(29_999);
    expect(flows(fabric)).toHaveLength(2);
    fabric.advance(1);
    expect(flows(fabric).map((row) => row.client)).toEqual([`${IPS.a}:2`]);
    fabric.advance(120_000 - 30_000 - 1);
    expect(flows(fabric)).toHaveLength(1);
    fabric.advance(1);
    expect(flows(fabric)).toEqual([]);
  });

  it('N19: packets of either direction refresh', () => {
    const fabric = standing();
    fabric.from('a', question(1));
    fabric.advance(20_000);
    fabric.from('a', question(1));
    fabric.advance(20_000);
    expect(flows(fabric)).toMatchObject([{ state: 'unreplied', expires: 10 }]);
    fabric.from('b', answer(1));
    fabric.advance(119_000);
    fabric.from('b', answer(1));
    expect(flows(fabric)).toMatchObject([{ state: 'replied', expires: 120 }]);
  });

  it('N20: from the moment it expires a flow is absent, swept or not', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'service', service: { ...udpService, backends: backends(IPS.b, IPS.c) } }]);
    expect(fabric.from('a', question(1)).map((s) => s.to)).toEqual(['b']);
    fabric.card.now += 30_000;
    expect(fabric.from('a', question(1)).map((s) => s.to)).toEqual(['c']);
    expect(flows(fabric)).toHaveLength(1);
    fabric.card.now += 30_000;
    expect(readIpv4(fabric.from('b', answer(1))[0]!.frame).from).toBe(IPS.b);
  });

  it('N20: a clock that wraps expires nothing early', () => {
    const fabric = standing();
    fabric.card.now = 0x7fffffff - 5000;
    fabric.from('a', question(1));
    fabric.card.now = (fabric.card.now + 10_000) | 0;
    fabric.settle();
    expect(flows(fabric)).toMatchObject([{ expires: 20 }]);
    fabric.card.now = (fabric.card.now + 20_000) | 0;
    fabric.settle();
    expect(flows(fabric)).toEqual([]);
  });

  it('N20: expired flows are physically gone soon, also without traffic', () => {
    const fabric = standing();
    for (let i = 0; i < 200; i++) fabric.from('a', question(1000 + i));
    fabric.advance(30_000);
    turns(fabric, 10_000);
    expect(fabric.dataplane.pipeline.flows.count).toBe(0);
  });
});

describe('the limit', () => {
  /** 100 places: `udp` unreplied, `syn` unreplied TCP, `closing` TCP, the rest replied UDP. */
  function full({ udp: unreplied = 0, syn = 0, closing = 0 }): Fabric {
    const fabric = standing();
    limit(fabric, 100);
    let sport = 20_000;
    for (let i = 0; i < closing; i++) {
      const port = ++sport;
      const segment = (flags: string, fields = {}) =>
        tcp({ from: IPS.a, to: VIP, sport: port, dport: 80, flags, ...fields });
      fabric.from('a', open(port));
      fabric.from(
        'b',
        ethernet(
          { src: MACS.b, dst: MACS.a },
          tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: port, flags: 'SA' }),
        ),
      );
      fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, segment('A')));
      fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, segment('FA')));
    }
    for (let i = 0; i < syn; i++) fabric.from('a', open(++sport));
    for (let i = 0; i < unreplied; i++) fabric.from('a', question(++sport));
    for (let i = closing + syn + unreplied; i < 100; i++) {
      fabric.from('a', question(++sport));
      fabric.from('b', answer(sport));
    }
    expect(flows(fabric)).toHaveLength(100);
    return fabric;
  }
  const states = (fabric: Fabric) => {
    const count: Record<string, number> = {};
    for (const { state } of flows(fabric)) count[state] = (count[state] ?? 0) + 1;
    return count;
  };

  it('N22: with limit 100 the 101st attempt leaves exactly 100, oldest gone first', () => {
    const fabric = full({ udp: 100 });
    expect(fabric.from('a', question(1))).toHaveLength(1);
    expect(flows(fabric)).toHaveLength(100);
    const clients = flows(fabric).map((row) => row.client);
    expect(clients).toContain(`${IPS.a}:1`);
    expect(clients).not.toContain(`${IPS.a}:20001`);
    expect(clients).toContain(`${IPS.a}:20002`);
  });

  it('N22: a flood of SYNs that somebody answers costs neither established connections nor new ones', () => {
    const fabric = standing();
    limit(fabric, 100);
    const segment = (sport: number, flags: string, fields = {}) =>
      fabric.from(
        'a',
        ethernet(
          { src: MACS.a, dst: MACS.gateway },
          tcp({ from: IPS.a, to: VIP, sport, dport: 80, flags, ...fields }),
        ),
      );
    const accept = (dport: number) =>
      fabric.from(
        'b',
        ethernet(
          { src: MACS.b, dst: MACS.a },
          tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport, flags: 'SA', seq: 5000, ack: 1001 }),
        ),
      );
    const connect = (sport: number) => {
      segment(sport, 'S');
      accept(sport);
      return segment(sport, 'A', { seq: 1001, ack: 5001 });
    };
    for (let i = 1; i <= 50; i++) connect(i);
    for (let i = 1; i <= 500; i++) {
      expect(segment(20_000 + i, 'S')).toHaveLength(1);
      accept(20_000 + i);
      if (i % 100 === 0) expect(connect(100 + i)).toHaveLength(1);
    }
    expect(states(fabric)).toEqual({ established: 55, 'syn-recv': 45 });
    expect(flows(fabric)).toHaveLength(100);
    expect(fabric.drops()).toEqual({});
  });

  it('N22: a refreshed flow is no longer the oldest', () => {
    const fabric = full({ udp: 100 });
    fabric.advance(1000);
    fabric.from('a', question(20_001));
    fabric.from('a', question(1));
    const clients = flows(fabric).map((row) => row.client);
    expect(clients).toContain(`${IPS.a}:20001`);
    expect(clients).not.toContain(`${IPS.a}:20002`);
  });

  it('N22: unreplied UDP goes first, then unreplied TCP, then closing TCP; replied and established never', () => {
    const fabric = full({ udp: 2, syn: 2, closing: 2 });
    const established = (sport: number) => {
      fabric.from('a', question(sport));
      fabric.from('b', answer(sport));
    };
    const seen = [states(fabric)];
    for (let i = 1; i <= 6; i++) {
      established(i);
      seen.push(states(fabric));
    }
    expect(seen).toEqual([
      { 'fin-wait': 2, 'syn-sent': 2, unreplied: 2, replied: 94 },
      { 'fin-wait': 2, 'syn-sent': 2, unreplied: 1, replied: 95 },
      { 'fin-wait': 2, 'syn-sent': 2, replied: 96 },
      { 'fin-wait': 2, 'syn-sent': 1, replied: 97 },
      { 'fin-wait': 2, replied: 98 },
      { 'fin-wait': 1, replied: 99 },
      { replied: 100 },
    ]);
    expect(fabric.dataplane.pipeline.flows.evicted).toBe(6);
  });

  it('N22: with nothing to evict the new packet is dropped, counted and answered by ICMP 3/13', () => {
    const fabric = full({});
    const before = flows(fabric).map((row) => row.client);
    const [error] = fabric.from('a', question(1));
    expect([error!.to, readIpv4(error!.frame).icmp, readIpv4(error!.frame).from]).toEqual([
      'a',
      '3/13',
      IPS.gateway,
    ]);
    expect(
      readIpv4(Uint8Array.from([...new Uint8Array(14), ...readIpv4(error!.frame).body.subarray(8)])),
    ).toMatchObject({ to: VIP, dport: 80, sport: 1 });
    expect(fabric.from('a', question(2))).toEqual([]);
    expect(fabric.drops()).toEqual({ FLOW_TABLE_FULL: 2 });
    expect(flows(fabric).map((row) => row.client)).toEqual(before);
    expect(fabric.from('a', question(20_001))).toHaveLength(1);
  });

  it('N23: growing the table keeps every flow, its state, timer and counters', () => {
    const fabric = full({ udp: 20, syn: 20, closing: 20 });
    fabric.advance(1500);
    const before = flows(fabric);
    limit(fabric, 1000);
    expect(flows(fabric).sort(byClient)).toEqual(before.sort(byClient));
    expect(fabric.from('b', answer(20_050)).map((s) => readIpv4(s.frame).from)).toEqual([VIP]);
    for (let i = 1; i <= 100; i++) fabric.from('a', question(i));
    expect(flows(fabric)).toHaveLength(200);
    expect(fabric.drops()).toEqual({});
  });

  it('N23, N22: the eviction order survives a change of size', () => {
    const fabric = full({ udp: 100 });
    fabric.advance(1000);
    fabric.from('a', question(20_001));
    limit(fabric, 101);
    fabric.from('a', question(1));
    fabric.from('a', question(2));
    const clients = flows(fabric).map((row) => row.client);
    expect(clients).toContain(`${IPS.a}:20001`);
    expect(clients).not.toContain(`${IPS.a}:20002`);
  });

  it('N23: shrinking below what lives flushes nothing', () => {
    const fabric = full({});
    limit(fabric, 10);
    expect(flows(fabric)).toHaveLength(100);
    expect(readIpv4(fabric.from('b', answer(20_050))[0]!.frame).from).toBe(VIP);
    fabric.from('a', question(1));
    expect(flows(fabric)).toHaveLength(100);
  });

  it('N24: listing, metric and table agree during churn, and a dump holds nothing twice', () => {
    const fabric = standing();
    limit(fabric, 64);
    for (let round = 0; round < 30; round++) {
      for (let i = 0; i < 10; i++)
        fabric.card.receive({ device: 10, bytes: question(1000 + ((round * 7 + i * 13) % 97)) });
      fabric.settle();
      if (round % 3 === 0) fabric.from('b', answer(1000 + ((round * 7) % 97)));
      fabric.advance(round % 5 === 0 ? 9000 : 100);
      const rows = flows(fabric);
      expect(new Set(rows.map((row) => row.client)).size).toBe(rows.length);
      expect(flows(fabric)).toHaveLength(fabric.dataplane.pipeline.flows.count);
      fabric.advance(100);
      expect(fabric.counters.globals[Global.FLOWS]).toBe(flows(fabric).length);
    }
  });
});

describe('networks that go', () => {
  it('N3: removing a network removes its flows only', () => {
    const fabric = standing();
    fabric.from('a', question(1));
    fabric.from(
      'r',
      ethernet({ src: MACS.r, dst: MACS.redGateway }, udp({ from: IPS.a, to: VIP, sport: 1, dport: 80 })),
    );
    expect(flows(fabric)).toHaveLength(2);
    fabric.dataplane.apply([
      { op: 'remove-port', id: 5 },
      { op: 'remove-network', id: 1 },
    ]);
    expect(flows(fabric).map((row) => row.network)).toEqual(['blue']);
    fabric.dataplane.apply([{ op: 'network', network: network({ ageing: 60_000 }) }]);
    expect(flows(fabric)).toHaveLength(1);
  });
});

const byClient = (a: FlowRow, b: FlowRow) => a.client.localeCompare(b.client);
