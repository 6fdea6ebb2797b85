/** As whom a client appears at an endpoint, and how the answers come back; c is the host's own port. */
import { describe, expect, it } from 'vitest';
import type { HostConfig, Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { address4, Fabric, IPS, MACS, macOf, peer, port, type Sent, service } from '../fabric.ts';
import { address6, dual, dualNetwork, dualOps, dualPort, IPS6 } from '../fabric6.ts';
import { checksumsAreRight, ethernet, readIpv4, type TcpFields, tcp, udp } from '../frames.ts';
import { checksumIsRight6, hex6, readIpv6, udp6 } from '../frames6.ts';

const VIP = '10.96.0.10';
const NODE = '192.0.2.1';
const NODE_PORT = 30_080;
const EXTERNAL = '203.0.113.1';
const OUTSIDE = '198.51.100.9';
/** An address behind the host port. */
const AWAY = '198.51.100.77';

const endpoints = (...ips: string[]) => ips.map((ip) => ({ address: address4(ip), port: 8080 }));
const shop = (overrides: Partial<ServiceConfig> = {}): Op => ({
  op: 'service',
  service: service({
    frontends: [
      { kind: 'clusterIP', address: address4(VIP), port: 80 },
      { kind: 'externalIP', address: address4(EXTERNAL), port: 80 },
    ],
    nodePort: NODE_PORT,
    backends: endpoints(IPS.b),
    ...overrides,
  }),
});
const host = (overrides: Partial<HostConfig> = {}): Op => ({
  op: 'host',
  host: {
    underlayAddresses: [address4(NODE)],
    vxlanPorts: [4789],
    maxFlows: 8192,
    nodeAddresses: [address4(NODE)],
    ...overrides,
  },
});
const hostPort: Op = { op: 'port', port: dualPort('c', { isHost: true }) };
const farStation: Op = {
  op: 'peer',
  peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] }),
};
const fabricWith = (...ops: Op[]): Fabric => {
  const fabric = dual(host(), hostPort, farStation);
  fabric.dataplane.apply(ops);
  return fabric;
};

const SENDERS = {
  pod: { port: 'a', from: IPS.a },
  host: { port: 'c', from: IPS.c },
  node: { port: 'c', from: NODE },
  outside: { port: 'c', from: OUTSIDE },
} as const;
type Sender = keyof typeof SENDERS;
const open = (fabric: Fabric, sender: Sender, to: string, fields: Partial<TcpFields> = {}): Sent[] => {
  const { port, from } = SENDERS[sender];
  const dport = to === NODE ? NODE_PORT : 80;
  return fabric.from(
    port,
    ethernet({ src: MACS[port], dst: MACS.gateway }, tcp({ from, to, sport: 4000, dport, ...fields })),
  );
};
/** Address and port the endpoint sees. */
const seen = ([sent]: Sent[]) => {
  const view = readIpv4(sent!.frame);
  expect(checksumsAreRight(view.packet)).toBe(true);
  return view;
};
/** b answers whoever it saw, at that station's MAC. */
const answer = (fabric: Fabric, to: string, dport: number, dst: string, fields: Partial<TcpFields> = {}) =>
  fabric.from(
    'b',
    ethernet(
      { src: MACS.b, dst },
      tcp({ from: IPS.b, to, sport: 8080, dport, flags: 'SA', seq: 7, ack: 1001, ...fields }),
    ),
  );

const service6 = (backend: string): Op =>
  shop({
    id: 6,
    name: 'default/six:http',
    protocol: 17,
    vip: address6('fd00:96::10'),
    nodePort: 0,
    frontends: [{ kind: 'clusterIP', address: address6('fd00:96::10'), port: 80 }],
    backends: [{ address: address6(backend), port: 8080 }],
  });
const ask6 = (fabric: Fabric): Sent[] =>
  fabric.from(
    'a',
    ethernet(
      { src: MACS.a, dst: MACS.gateway, type: 0x86dd },
      udp6({ from: IPS6.a, to: 'fd00:96::10', sport: 4000, dport: 80 }),
    ),
  );

describe('who is seen', () => {
  it.each([
    ['pod', VIP, IPS.a, 'S20'],
    ['host', VIP, IPS.c, 'S21 b'],
    ['node', VIP, NODE, 'S21 b'],
    ['outside', VIP, IPS.c, 'S21 b'],
    ['pod', NODE, IPS.c, 'S21 c'],
    ['host', NODE, IPS.c, 'S21 c'],
    ['outside', NODE, IPS.c, 'S21 c'],
    ['pod', EXTERNAL, IPS.c, 'S21 c'],
    ['outside', EXTERNAL, IPS.c, 'S21 c'],
  ] as const)('eTP=Cluster: %s → %s is seen as %s (%s)', (sender, to, as, _rule) => {
    expect(seen(open(fabricWith(shop()), sender, to)).from).toBe(as);
  });

  it.each([
    ['pod', IPS.a],
    ['host', IPS.c],
    ['node', IPS.c],
    ['outside', OUTSIDE],
  ] as const)('S21 d: eTP=Local: %s is seen as %s', (sender, as) => {
    const fabric = fabricWith(shop({ externalLocal: true, local: endpoints(IPS.b) }));
    for (const to of [NODE, EXTERNAL]) expect(seen(open(fabric, sender, to)).from).toBe(as);
  });

  it('S21 b: masqueradeAll hides pods too, from the next flow on', () => {
    const fabric = fabricWith(shop());
    expect(seen(open(fabric, 'pod', VIP)).from).toBe(IPS.a);
    fabric.dataplane.apply([host({ masqueradeAll: true })]);
    expect(seen(open(fabric, 'pod', VIP)).from).toBe(IPS.a);
    expect(seen(open(fabric, 'pod', VIP, { sport: 2 })).from).toBe(IPS.c);
  });

  it('S21 b: with localDetect clusterCIDR a pod’s address is a pod wherever it comes from', () => {
    const clusterCIDRs = [{ address: address4('198.51.100.0'), prefix: 120 }];
    const fabric = fabricWith(host({ clusterCIDRs }), shop());
    expect(seen(open(fabric, 'outside', VIP)).from).toBe(IPS.c);
    fabric.dataplane.apply([host({ clusterCIDRs, localDetect: 'clusterCIDR' })]);
    expect(seen(open(fabric, 'outside', VIP, { sport: 2 })).from).toBe(OUTSIDE);
  });

  it('S21: without a host port everybody is seen as himself', () => {
    const fabric = dual(host({ masqueradeAll: true }), shop());
    for (const to of [VIP, NODE, EXTERNAL]) expect(seen(open(fabric, 'pod', to)).from).toBe(IPS.a);
  });

  it('N31: an endpoint that asks itself sees the gateway, at every frontend', () => {
    const fabric = fabricWith(shop({ backends: endpoints(IPS.a) }));
    for (const to of [VIP, NODE, EXTERNAL]) {
      const sent = open(fabric, 'pod', to);
      expect([sent[0]!.to, seen(sent).from]).toEqual(['a', IPS.gateway]);
    }
  });

  it('S21, N25: an endpoint behind the host port sees the gateway when the host would not take the packet else', () => {
    const own = fabricWith(shop({ backends: endpoints(IPS.c) }));
    expect(seen(open(own, 'pod', VIP)).from).toBe(IPS.a);
    expect(seen(open(own, 'pod', NODE)).from).toBe(IPS.gateway);
    expect(seen(open(own, 'host', VIP)).from).toBe(IPS.gateway);
    const away = fabricWith(shop({ backends: endpoints(AWAY) }));
    for (const sender of ['host', 'outside'] as const) {
      const sent = open(away, sender, VIP);
      expect([sent[0]!.to, seen(sent).from, seen(sent).to]).toEqual(['c', IPS.gateway, AWAY]);
    }
    expect(seen(open(away, 'pod', VIP))).toMatchObject({ from: IPS.a, to: AWAY });
  });
});

describe('answers', () => {
  it('S21, S23: the outside client of a node port is answered by it, routed, with all sums right', () => {
    const fabric = fabricWith(shop());
    const there = seen(open(fabric, 'outside', NODE));
    const [back] = answer(fabric, IPS.c, there.sport, MACS.c);
    expect(back!.to).toBe('c');
    expect(seen([back!])).toMatchObject({
      from: NODE,
      sport: NODE_PORT,
      to: OUTSIDE,
      dport: 4000,
      ttl: 63,
      src: MACS.gateway,
      seq: 7,
    });
    expect(fabric.drops()).toEqual({});
  });

  it('S21, S23: a pod’s flow to a node port comes back to the pod, not to the host it appeared as', () => {
    const fabric = fabricWith(shop());
    const there = seen(open(fabric, 'pod', NODE));
    const sent = answer(fabric, IPS.c, there.sport, MACS.c);
    expect(sent.map(({ to }) => to)).toEqual(['a']);
    expect(seen(sent)).toMatchObject({ from: NODE, sport: NODE_PORT, to: IPS.a, dport: 4000, dst: MACS.a });
  });

  it('S21, A14: so does the answer of an endpoint on another host', () => {
    const fabric = fabricWith(shop({ backends: endpoints(IPS.far) }));
    for (const sender of ['pod', 'outside'] as const) {
      const there = open(fabric, sender, NODE);
      expect(there[0]!.to).toBe('p');
      const reply = tcp({
        from: IPS.far,
        to: IPS.c,
        sport: 8080,
        dport: seen(there).sport,
        flags: 'SA',
        seq: 7,
        ack: 1001,
      });
      const back = fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.c }, reply));
      const { port, from } = SENDERS[sender];
      expect(back.map(({ to }) => to)).toEqual([port]);
      expect(seen(back)).toMatchObject({ from: NODE, to: from, dport: 4000, ttl: 63 });
    }
  });

  it('N7: an answer whose TTL is spent goes no further, and its sender is told', () => {
    const fabric = fabricWith(shop());
    const there = seen(open(fabric, 'pod', NODE));
    const [error] = answer(fabric, IPS.c, there.sport, MACS.c, { ttl: 1 });
    expect([error!.to, readIpv4(error!.frame).icmp]).toEqual(['b', '11/0']);
    expect(fabric.drops()).toEqual({ TTL_EXPIRED: 1 });
  });

  it.each([0, 1])(
    'N7: TTL %i to the gateway’s own address goes no further when that is a service’s',
    (ttl) => {
      const fabric = fabricWith(shop({ protocol: 17 }));
      const fields = { from: IPS.a, to: IPS.gateway, sport: 4000, dport: NODE_PORT, ttl };
      const [error, ...more] = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, udp(fields)));
      expect([error!.to, readIpv4(error!.frame).icmp, more]).toEqual(['a', '11/0', []]);
      const asked = readIpv4(Uint8Array.from([...new Uint8Array(14), ...error!.frame.subarray(42)]));
      expect(asked).toMatchObject({ from: IPS.a, to: IPS.gateway, dport: NODE_PORT, ttl });
      expect(fabric.drops()).toEqual({ TTL_EXPIRED: 1 });
    },
  );

  it('N7, N31: so it is with a hairpin’s answer, and in IPv6', () => {
    const fabric = fabricWith(
      shop({ protocol: 17, backends: endpoints(IPS.a) }),
      shop({
        id: 6,
        name: 'default/six',
        protocol: 17,
        vip: address6('fd00:96::10'),
        frontends: [{ kind: 'clusterIP', address: address6('fd00:96::10'), port: 80 }],
        backends: [{ address: address6(IPS6.b), port: 8080 }],
      }),
    );
    const ask = (packet: number[], type = 0x800) =>
      fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway, type }, packet));
    const there = readIpv4(ask(udp({ from: IPS.a, to: VIP, sport: 4000, dport: 80 }))[0]!.frame);
    const back = udp({ from: IPS.a, to: IPS.gateway, sport: 8080, dport: there.sport, ttl: 1 });
    expect(ask(back).map(({ frame }) => readIpv4(frame).icmp)).toEqual(['11/0']);
    const six = udp6({ from: IPS6.a, to: IPS6.gateway, sport: 4000, dport: NODE_PORT });
    six[7] = 1;
    const [error, ...more] = ask(six, 0x86dd);
    expect([error!.to, error!.frame[54], error!.frame[55], more]).toEqual(['a', 3, 0, []]);
    expect(fabric.drops()).toEqual({ TTL_EXPIRED: 2 });
  });

  it('S23: an answer through the host port finds its way back to the pod and to the host', () => {
    const fabric = fabricWith(shop({ backends: endpoints(AWAY) }));
    for (const [sender, to] of [
      ['pod', IPS.a],
      ['host', IPS.gateway],
    ] as const) {
      const there = seen(open(fabric, sender, VIP));
      const reply = tcp({
        from: AWAY,
        to,
        sport: 8080,
        dport: there.sport,
        flags: 'SA',
        seq: 7,
        ack: 1001,
      });
      const back = fabric.from('c', ethernet({ src: MACS.c, dst: MACS.gateway }, reply));
      const { port, from } = SENDERS[sender];
      expect(back.map((sent) => sent.to)).toEqual([port]);
      expect(seen(back)).toMatchObject({ from: VIP, sport: 80, to: from, dport: 4000 });
    }
    expect(fabric.drops()).toEqual({});
  });

  it('S21, N31: in IPv6 too', () => {
    const reply = (from: string, to: string, dport: number) => udp6({ from, to, sport: 8080, dport });
    const masked = fabricWith(host({ masqueradeAll: true }), service6(IPS6.b));
    const there = readIpv6(ask6(masked)[0]!.frame);
    expect(there.from).toBe(hex6(IPS6.c));
    const [back] = masked.from(
      'b',
      ethernet({ src: MACS.b, dst: MACS.c, type: 0x86dd }, reply(IPS6.b, IPS6.c, there.sport)),
    );
    expect(back!.to).toBe('a');
    const view = readIpv6(back!.frame);
    expect(view).toMatchObject({ from: hex6('fd00:96::10'), to: hex6(IPS6.a), sport: 80, dport: 4000 });
    expect(view.hopLimit).toBe(63);
    expect(checksumIsRight6(view.packet)).toBe(true);

    const hairpin = fabricWith(service6(IPS6.a));
    const mirrored = readIpv6(ask6(hairpin)[0]!.frame);
    expect(mirrored.from).toBe(hex6(IPS6.gateway));
    const [own] = hairpin.from(
      'a',
      ethernet({ src: MACS.a, dst: MACS.gateway, type: 0x86dd }, reply(IPS6.a, IPS6.gateway, mirrored.sport)),
    );
    expect(readIpv6(own!.frame)).toMatchObject({ from: hex6('fd00:96::10'), dport: 4000 });

    const away = fabricWith(host({ masqueradeAll: true }), service6('2001:db8::77'));
    const [out] = ask6(away);
    expect([out!.to, readIpv6(out!.frame).from]).toEqual(['c', hex6(IPS6.gateway)]);
    expect(checksumIsRight6(readIpv6(own!.frame).packet)).toBe(true);
  });

  it('N40: an answer that is to be routed on must have a right header checksum', () => {
    const fabric = fabricWith(shop());
    const there = seen(open(fabric, 'pod', NODE));
    const packet = tcp({
      from: IPS.b,
      to: IPS.c,
      sport: 8080,
      dport: there.sport,
      flags: 'SA',
      seq: 7,
      ack: 1001,
    });
    const frame = (bytes: number[]) => ethernet({ src: MACS.b, dst: MACS.c }, bytes);
    expect(fabric.from('b', frame(packet.with(10, packet[10]! ^ 1)))).toEqual([]);
    expect(fabric.drops()).toEqual({ BAD_IP_HEADER: 1 });
    expect(fabric.from('b', frame(packet)).map(({ to }) => to)).toEqual(['a']);
  });

  it('N6, A4: what reaches the host’s address and belongs to no flow is the host’s', () => {
    const fabric = fabricWith(shop());
    const there = seen(open(fabric, 'pod', NODE));
    const sent = answer(fabric, IPS.c, there.sport + 1, MACS.c);
    expect(sent.map(({ to }) => to)).toEqual(['c']);
    expect(readIpv4(sent[0]!.frame)).toMatchObject({ from: IPS.b, to: IPS.c, ttl: 64 });
  });
});

describe('source ports', () => {
  const portsOf = (fabric: Fabric, count: number, sender: Sender = 'outside') =>
    Array.from({ length: count }, (_, i) => seen(open(fabric, sender, NODE, { sport: 1000 + i })).sport);

  it('N26: they are drawn from 61000–65535, each once', () => {
    const ports = portsOf(fabricWith(shop()), 500);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(61_000);
    expect(new Set(ports).size).toBe(500);
    const steps = ports.slice(1).map((port, i) => port - ports[i]!);
    expect(new Set(steps).size).toBeGreaterThan(400);
  });

  it('N26: another start draws others', () => {
    const started = (seed: number) => new Fabric(dualOps(host(), hostPort, shop()), seed);
    expect(portsOf(started(1), 10)).toEqual(portsOf(started(1), 10));
    expect(portsOf(started(1), 10)).not.toEqual(portsOf(started(2), 10));
  });

  it('N26: natRandom: false keeps the client’s own port where it is free', () => {
    const fabric = fabricWith(host({ natRandom: false }), shop());
    expect(seen(open(fabric, 'outside', NODE, { sport: 777 })).sport).toBe(777);
    const taken = seen(open(fabric, 'pod', NODE, { sport: 777 })).sport;
    expect(taken).toBeGreaterThanOrEqual(61_000);
  });

  it('N26: one port serves several endpoints, since their tuples differ', () => {
    const fabric = fabricWith(
      host({ natPorts: [61_000, 61_000] }),
      shop({ backends: endpoints(IPS.a, IPS.b) }),
    );
    expect(portsOf(fabric, 2)).toEqual([61_000, 61_000]);
  });

  it('N28: the last port is found; then new flows are refused, and room is room again', () => {
    const fabric = fabricWith(host({ natPorts: [61_000, 61_009] }), shop({ protocol: 17 }));
    const ask = (sport: number) =>
      fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from: IPS.a, to: NODE, sport, dport: NODE_PORT })),
      );
    const ports = Array.from({ length: 10 }, (_, i) => readIpv4(ask(i + 1)[0]!.frame).sport);
    expect(ports.sort()).toEqual(Array.from({ length: 10 }, (_, i) => 61_000 + i));
    const [refusal] = ask(11);
    expect([refusal!.to, readIpv4(refusal!.frame).icmp]).toEqual(['a', '3/13']);
    expect(fabric.drops()).toEqual({ FLOW_CLASH: 1 });
    expect(readIpv4(ask(5)[0]!.frame).to).toBe(IPS.b);
    fabric.wait(300_000);
    expect(readIpv4(ask(11)[0]!.frame).to).toBe(IPS.b);
  });

  it('N22: a table full of flows that must stay refuses the next by ICMP 3/13', () => {
    const fabric = fabricWith(host({ maxFlows: 1 }), shop());
    open(fabric, 'pod', VIP);
    answer(fabric, IPS.a, 4000, MACS.a);
    open(fabric, 'pod', VIP, { flags: 'A', seq: 1001, ack: 8 });
    const [refusal] = open(fabric, 'pod', VIP, { sport: 2 });
    expect([refusal!.to, readIpv4(refusal!.frame).icmp]).toEqual(['a', '3/13']);
    expect(fabric.drops()).toEqual({ FLOW_TABLE_FULL: 1 });
  });
});

describe('one way or the other', () => {
  it('N4: the same frames, in bursts, by the fast path and without it', () => {
    const fabric = fabricWith(shop());
    const there = seen(open(fabric, 'pod', NODE));
    answer(fabric, IPS.c, there.sport, MACS.c);
    const data = { flags: 'A', seq: 1001, ack: 8 };
    const packet = tcp({ from: IPS.a, to: NODE, sport: 4000, dport: NODE_PORT, ...data });
    for (let i = 0; i < 8; i++)
      fabric.card.receive({ device: 10, bytes: ethernet({ src: MACS.a, dst: MACS.gateway }, packet) });
    const sent = fabric.settle();
    expect(sent.map(({ to }) => to)).toEqual(Array(8).fill('b'));
    for (const one of sent) expect(seen([one])).toMatchObject({ from: IPS.c, sport: there.sport });
  });
});

describe('an address that goes', () => {
  const moved = (...ips: string[]): Op => ({
    op: 'port',
    port: port('c', { isHost: true, addresses: ips.map(address4) }),
  });
  const ask = (fabric: Fabric, to: string, sport: number) =>
    fabric.from(
      'a',
      ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from: IPS.a, to, sport, dport: 80 })),
    );
  const flows = (fabric: Fabric) => fabric.dataplane.pipeline.flows.count;

  it('N29: takes the flows behind it along, and no others; their clients are told', () => {
    const fabric = fabricWith(shop());
    for (const sender of ['outside', 'pod', 'host'] as const) open(fabric, sender, NODE, { sport: 1 });
    open(fabric, 'pod', VIP, { sport: 2 }); // seen as itself
    expect(flows(fabric)).toBe(4);
    fabric.dataplane.apply([moved('10.77.0.99')]);
    expect(flows(fabric)).toBe(1);
    const [reset] = open(fabric, 'pod', NODE, { sport: 1, flags: 'A', seq: 1001, ack: 8 });
    expect([reset!.to, readIpv4(reset!.frame).flags]).toEqual(['a', 'R']);
    expect(seen(open(fabric, 'outside', NODE, { sport: 1 })).from).toBe('10.77.0.99');
    expect(seen(open(fabric, 'pod', VIP, { sport: 2 })).from).toBe(IPS.a);
  });

  it('N29: and lets them stay while the host port has it at all', () => {
    const fabric = fabricWith(shop());
    const there = seen(open(fabric, 'outside', NODE));
    fabric.dataplane.apply([moved('10.77.0.99', IPS.c)]);
    fabric.dataplane.apply([{ op: 'remove-port', id: 4 }, moved(IPS.c, '10.77.0.99')]);
    expect(seen(open(fabric, 'outside', NODE)).sport).toBe(there.sport);
  });

  it.each([
    ['leaves', { op: 'remove-port', id: 4 }],
    ['is no longer the host’s', { op: 'port', port: port('c') }],
    ['has IPv6 only', { op: 'port', port: port('c', { isHost: true, addresses: [address6(IPS6.c)] }) }],
  ] as const)('N29: the host port %s', (_what, op) => {
    const fabric = fabricWith(shop(), hostPort, host({ masqueradeAll: true }));
    fabric.dataplane.apply([
      {
        op: 'service',
        service: service({ id: 1, name: 'default/dns:', protocol: 17, backends: endpoints(IPS.b) }),
      },
    ]);
    open(fabric, 'pod', NODE);
    expect(readIpv4(ask(fabric, VIP, 3)[0]!.frame).from).toBe(IPS.c);
    expect(flows(fabric)).toBe(2);
    fabric.dataplane.apply([op]);
    expect(flows(fabric)).toBe(0);
    // The next datagram begins anew, as whom it may now.
    expect(readIpv4(ask(fabric, VIP, 3)[0]!.frame)).toMatchObject({ from: IPS.a, to: IPS.b });
  });

  it('N29: of the gateway, for a client that is its own endpoint', () => {
    const fabric = fabricWith(shop({ backends: endpoints(IPS.a) }));
    expect(seen(open(fabric, 'pod', VIP)).from).toBe(IPS.gateway);
    const [first, ...others] = dualNetwork().subnets;
    const next = { ...first!, gateway: address4('10.77.0.254') };
    fabric.dataplane.apply([{ op: 'network', network: dualNetwork({ subnets: [next, ...others] }) }]);
    expect(flows(fabric)).toBe(0);
    expect(seen(open(fabric, 'pod', VIP)).from).toBe('10.77.0.254');
  });

  it('N29: IPv6 flows go with IPv6 addresses only', () => {
    const both = host({ masqueradeAll: true });
    const fabric = fabricWith(both, shop(), service6(IPS6.b));
    open(fabric, 'pod', VIP);
    ask6(fabric);
    expect(flows(fabric)).toBe(2);
    fabric.dataplane.apply([moved(IPS.c)]);
    expect(flows(fabric)).toBe(1);
    expect(seen(open(fabric, 'pod', VIP)).from).toBe(IPS.c);
    expect(flows(fabric)).toBe(1);
  });
});

describe('mappings', () => {
  it('N27: belong to one destination each: another gets a port of its own, a stranger meets none', () => {
    const fabric = fabricWith(shop());
    const ports = [NODE, EXTERNAL].map((to) => seen(open(fabric, 'outside', to, { sport: 5000 })).sport);
    expect(new Set(ports).size).toBe(2);
    const uninvited = tcp({
      from: IPS.a,
      to: IPS.c,
      sport: 8080,
      dport: ports[0]!,
      flags: 'SA',
      seq: 7,
      ack: 1001,
    });
    const [sent] = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.c }, uninvited));
    expect(readIpv4(sent!.frame)).toMatchObject({ from: IPS.a, to: IPS.c, dport: ports[0] });
  });
});
