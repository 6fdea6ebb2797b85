/** What becomes of new flows, by who asks, where and under which policy; both families. */
import { describe, expect, it } from 'vitest';
import type { FrontendConfig, HostConfig, Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { address4, type Fabric, IPS, MACS, type Sent, service } from '../fabric.ts';
import { address6, dual, dualPort, IPS6 } from '../fabric6.ts';
import { checksumsAreRight, echoRequest, ethernet, readIpv4, tcp, udp } from '../frames.ts';
import { checksumIsRight6, echo6, hex6, readIpv6, tcp6, udp6 } from '../frames6.ts';

/** Everything that differs between the families. c is the host's own port. */
const FAMILIES = {
  4: {
    type: 0x0800,
    address: address4,
    ips: IPS,
    clusterIP: '10.96.0.10',
    externalIP: '203.0.113.1',
    loadBalancer: '203.0.113.2',
    node: '192.0.2.1',
    outside: '198.51.100.9',
    unallocated: '10.96.0.77',
    nowhere: '203.0.113.99',
    serviceCIDR: { address: address4('10.96.0.0'), prefix: 112 },
    near: { address: address4('198.51.100.0'), prefix: 120 },
    ofNodes: { address: address4('192.0.2.0'), prefix: 120 },
    tcp,
    udp,
    echo: (from: string, to: string) => echoRequest(from, to),
    refusal: '3/3',
    isRight: (frame: Uint8Array) => checksumsAreRight(readIpv4(frame).packet),
    read: readIpv4,
    text: (ip: string) => ip,
  },
  6: {
    type: 0x86dd,
    address: address6,
    ips: IPS6,
    clusterIP: 'fd00:96::10',
    externalIP: '2001:db8::1',
    loadBalancer: '2001:db8::2',
    node: '2001:db8:1::1',
    outside: '2001:db8:9::9',
    unallocated: 'fd00:96::77',
    nowhere: '2001:db8::99',
    serviceCIDR: { address: address6('fd00:96::'), prefix: 112 },
    near: { address: address6('2001:db8:9::'), prefix: 64 },
    ofNodes: { address: address6('2001:db8:1::'), prefix: 64 },
    tcp: tcp6,
    udp: udp6,
    echo: (from: string, to: string) => echo6(from, to),
    refusal: '1/4',
    isRight: (frame: Uint8Array) => checksumIsRight6(readIpv6(frame).packet),
    read: readIpv6,
    text: hex6,
  },
} as const;

const NODE_PORT = 30_080;

describe.each([4, 6] as const)('IPv%i', (version) => {
  const family = FAMILIES[version];
  const { ips, clusterIP, externalIP, loadBalancer, node, outside } = family;
  const endpoint = (name: 'a' | 'b' | 'c' | 'far') => ({ address: family.address(ips[name]), port: 8080 });
  const frontend = (kind: FrontendConfig['kind'], address: string): FrontendConfig => ({
    kind,
    address: family.address(address),
    port: 80,
  });
  /** A service at every kind of frontend; b is its one endpoint. */
  const shop = (overrides: Partial<ServiceConfig> = {}): Op => ({
    op: 'service',
    service: service({
      vip: family.address(clusterIP),
      frontends: [
        frontend('clusterIP', clusterIP),
        frontend('externalIP', externalIP),
        frontend('loadBalancer', loadBalancer),
      ],
      nodePort: NODE_PORT,
      backends: [endpoint('b')],
      ...overrides,
    }),
  });
  const host = (overrides: Partial<HostConfig> = {}): Op => ({
    op: 'host',
    host: {
      underlayAddresses: [address4('192.0.2.1')],
      vxlanPorts: [4789],
      maxFlows: 1024,
      nodeAddresses: [family.address(node)],
      ...overrides,
    },
  });
  const hostPort: Op = { op: 'port', port: dualPort('c', { isHost: true }) };
  const fabricWith = (...ops: Op[]): Fabric => {
    const fabric = dual(host(), hostPort);
    fabric.dataplane.apply(ops);
    return fabric;
  };

  type Sender = 'pod' | 'host' | 'outside' | 'node';
  const SENDERS: Record<Sender, { port: 'a' | 'c'; from: string }> = {
    pod: { port: 'a', from: ips.a },
    host: { port: 'c', from: ips.c },
    /** The host again, by the address it has outside. */
    node: { port: 'c', from: node },
    outside: { port: 'c', from: outside },
  };
  interface Ask {
    sender?: Sender;
    to: string;
    dport?: number;
    sport?: number;
    flags?: string;
    protocol?: 'tcp' | 'udp' | 'ping';
  }
  const send = (
    fabric: Fabric,
    { sender = 'pod', to, dport, sport = 4000, flags, protocol }: Ask,
  ): Sent[] => {
    const { port, from } = SENDERS[sender];
    const fields = { from, to, sport, dport: dport ?? (to === node ? NODE_PORT : 80) };
    const packet =
      protocol === 'ping'
        ? family.echo(from, to)
        : protocol === 'udp'
          ? family.udp(fields)
          : family.tcp({ ...fields, flags: flags ?? 'S' });
    return fabric.from(port, ethernet({ src: MACS[port], dst: MACS.gateway, type: family.type }, packet));
  };
  /** "refused", "dropped", or who gets it. */
  const outcome = (fabric: Fabric, ask: Ask): string => {
    const sent = send(fabric, ask);
    if (sent.length === 0) return 'dropped';
    expect(sent).toHaveLength(1);
    const view = family.read(sent[0]!.frame);
    expect(family.isRight(sent[0]!.frame)).toBe(true);
    const isReset = view.flags.includes('R') && view.from === family.text(ask.to);
    if (isReset || view.icmp === family.refusal) return 'refused';
    return sent[0]!.to;
  };
  const EXTERNAL = [externalIP, loadBalancer, node];
  const ALL = [clusterIP, ...EXTERNAL];

  it('S17: one endpoint answers at every frontend, to whoever asks', () => {
    const fabric = fabricWith(shop());
    for (const to of ALL) {
      for (const sender of ['pod', 'host', 'node', 'outside'] as const)
        expect([to, sender, outcome(fabric, { to, sender })]).toEqual([to, sender, 'b']);
    }
    expect(fabric.drops()).toEqual({});
  });

  it('S17: TCP and UDP are told apart at every frontend', () => {
    const fabric = fabricWith(
      shop(),
      shop({ id: 1, name: 'default/shop:udp', protocol: 17, backends: [endpoint('a')] }),
    );
    for (const to of ALL) {
      expect(outcome(fabric, { to, sender: 'outside' })).toBe('b');
      expect(outcome(fabric, { to, sender: 'outside', protocol: 'udp' })).toBe('a');
    }
  });

  it('S17: a frontend comes before a node port', () => {
    const fabric = fabricWith(
      shop(),
      shop({
        id: 1,
        name: 'default/own:http',
        nodePort: 0,
        frontends: [{ ...frontend('externalIP', node), port: NODE_PORT }],
        backends: [endpoint('c')],
      }),
    );
    expect(outcome(fabric, { to: node })).toBe('c');
  });

  it('S15, S16: without any usable endpoint every frontend refuses', () => {
    const fabric = fabricWith(
      shop({ backends: [], local: [], internalLocal: true, externalLocal: true }),
      shop({ id: 1, name: 'default/shop:udp', protocol: 17, backends: [] }),
    );
    for (const to of ALL) {
      for (const sender of ['pod', 'host', 'outside'] as const)
        expect([to, sender, outcome(fabric, { to, sender })]).toEqual([to, sender, 'refused']);
      fabric.wait(1100); // N10
      expect(outcome(fabric, { to, protocol: 'udp' })).toBe('refused');
    }
    expect(Object.keys(fabric.drops())).toEqual(['NO_ENDPOINT']);
  });

  it('S15: iTP=Local with endpoints elsewhere only: the ClusterIP is silent, the others go by eTP', () => {
    const fabric = fabricWith(shop({ internalLocal: true, local: [] }));
    for (const sender of ['pod', 'host', 'outside'] as const)
      expect(outcome(fabric, { to: clusterIP, sender })).toBe('dropped');
    expect(fabric.drops()).toEqual({ NO_LOCAL_ENDPOINT: 3 });
    for (const to of EXTERNAL) expect(outcome(fabric, { to, sender: 'outside' })).toBe('b');
  });

  it('S15, S22: eTP=Local with endpoints elsewhere only: outside clients are dropped, pods and host are served', () => {
    const fabric = fabricWith(shop({ externalLocal: true, local: [] }));
    for (const to of EXTERNAL) {
      expect(outcome(fabric, { to, sender: 'outside' })).toBe('dropped');
      for (const sender of ['pod', 'host', 'node'] as const)
        expect(outcome(fabric, { to, sender })).toBe('b');
    }
    expect(fabric.drops()).toEqual({ NO_LOCAL_ENDPOINT: 3 });
    expect(outcome(fabric, { to: clusterIP, sender: 'outside' })).toBe('b');
  });

  it('S13: policy Local sends to the local set, the other policy to the cluster set', () => {
    const sets = { backends: [endpoint('b')], local: [endpoint('a')] };
    const internal = fabricWith(shop({ ...sets, internalLocal: true }));
    expect(outcome(internal, { to: clusterIP, sender: 'host' })).toBe('a');
    expect(outcome(internal, { to: externalIP, sender: 'outside' })).toBe('b');
    const external = fabricWith(shop({ ...sets, externalLocal: true }));
    expect(outcome(external, { to: clusterIP, sender: 'outside' })).toBe('b');
    expect(outcome(external, { to: node, sender: 'outside' })).toBe('a');
    expect(outcome(external, { to: node, sender: 'host' })).toBe('b');
  });

  it('S15: load balancer addresses are for their source ranges; node port and externalIP are for all', () => {
    const fabric = fabricWith(shop({ ranges: [family.ofNodes] }));
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside' })).toBe('dropped');
    expect(outcome(fabric, { to: loadBalancer, sender: 'pod' })).toBe('dropped');
    expect(fabric.drops()).toEqual({ SOURCE_RANGE: 2 });
    for (const to of [clusterIP, externalIP, node])
      expect(outcome(fabric, { to, sender: 'outside' })).toBe('b');
    fabric.dataplane.apply([shop({ ranges: [family.ofNodes, family.near] })]);
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside', sport: 2 })).toBe('b');
    fabric.dataplane.apply([shop({ ranges: [] })]);
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside', sport: 3 })).toBe('dropped');
    fabric.dataplane.apply([shop()]);
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside', sport: 3 })).toBe('b');
  });

  it('S15, N5: ranges and policies are for new flows', () => {
    const fabric = fabricWith(shop());
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside' })).toBe('b');
    fabric.dataplane.apply([shop({ ranges: [], externalLocal: true, local: [] })]);
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside' })).toBe('b');
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside', sport: 5 })).toBe('dropped');
  });

  it('S18: an address among the ranges is allowed like any source, the balancer’s own too', () => {
    const fabric = fabricWith(shop({ ranges: [{ address: family.address(loadBalancer), prefix: 128 }] }));
    const packet = family.tcp({ from: loadBalancer, to: loadBalancer, sport: 1, dport: 80 });
    const sent = fabric.from('c', ethernet({ src: MACS.c, dst: MACS.gateway, type: family.type }, packet));
    expect(sent.map(({ to }) => to)).toEqual(['b']);
    expect(outcome(fabric, { to: loadBalancer, sender: 'outside' })).toBe('dropped');
  });

  it('S15: an undefined port of a ClusterIP is refused whatever the protocol; elsewhere it falls through', () => {
    const fabric = fabricWith(shop());
    for (const protocol of ['tcp', 'udp', 'ping'] as const) {
      expect(outcome(fabric, { to: clusterIP, dport: 81, protocol })).toBe('refused');
      fabric.wait(1100);
    }
    expect(fabric.drops()).toEqual({ NO_SUCH_SERVICE_PORT: 2, UNSUPPORTED_TO_SERVICE: 1 });
    for (const to of EXTERNAL) {
      expect(outcome(fabric, { to, dport: 81 })).toBe('c'); // the way out
      expect(outcome(fabric, { to, protocol: 'ping' })).toBe('c');
    }
  });

  it('S15: an address of a ServiceCIDR that nobody has is silent, or the router’s business', () => {
    const { unallocated, nowhere } = family;
    const closed = { serviceCIDRs: [family.serviceCIDR], unallocatedVIP: 'drop' as const };
    const fabric = fabricWith(host(closed), shop());
    for (const protocol of ['tcp', 'udp', 'ping'] as const)
      expect(outcome(fabric, { to: unallocated, protocol })).toBe('dropped');
    expect(fabric.drops()).toEqual({ UNALLOCATED_VIP: 3 });
    expect(outcome(fabric, { to: nowhere })).toBe('c');
    fabric.dataplane.apply([host({ ...closed, unallocatedVIP: 'pass' })]);
    expect(outcome(fabric, { to: unallocated })).toBe('c');
  });

  it('S15: so it is before there is any Service', () => {
    const fabric = fabricWith(host({ serviceCIDRs: [family.serviceCIDR], unallocatedVIP: 'drop' }));
    for (let i = 0; i < 3; i++) expect(outcome(fabric, { to: family.unallocated })).toBe('dropped');
    expect(fabric.drops()).toEqual({ UNALLOCATED_VIP: 3 });
  });

  it('S15: an address in a ServiceCIDR that a Service has as externalIP is no unallocated one', () => {
    const { unallocated } = family;
    const fabric = fabricWith(
      host({ serviceCIDRs: [family.serviceCIDR], unallocatedVIP: 'drop' }),
      shop({ frontends: [frontend('externalIP', unallocated)] }),
    );
    expect(outcome(fabric, { to: unallocated })).toBe('b');
  });

  it('S19: node ports answer at the node’s addresses alone, and follow them', () => {
    const fabric = fabricWith(shop());
    expect(outcome(fabric, { to: externalIP, dport: NODE_PORT })).not.toBe('b');
    expect(outcome(fabric, { to: family.nowhere, dport: NODE_PORT })).not.toBe('b');
    fabric.dataplane.apply([host({ nodeAddresses: [family.address(family.nowhere)] })]);
    expect(outcome(fabric, { to: family.nowhere, dport: NODE_PORT })).toBe('b');
    expect(outcome(fabric, { to: node, sport: 2 })).not.toBe('b');
  });

  it('S17: what the host’s kernel sends to a node port by the gateway’s address is for it', () => {
    const fabric = fabricWith(shop());
    expect(outcome(fabric, { to: ips.gateway, dport: NODE_PORT, sender: 'outside' })).toBe('b');
    expect(outcome(fabric, { to: ips.gateway, dport: NODE_PORT + 1, sender: 'outside' })).toBe('refused');
  });

  it('S15, S17: a Service that loses a frontend is no longer found there, at its others it is', () => {
    const fabric = fabricWith(shop());
    fabric.dataplane.apply([shop({ frontends: [frontend('clusterIP', clusterIP)], nodePort: 0 })]);
    expect(outcome(fabric, { to: clusterIP })).toBe('b');
    for (const to of EXTERNAL) expect(outcome(fabric, { to, sender: 'pod' })).not.toBe('b');
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(outcome(fabric, { to: clusterIP, sport: 2 })).toBe('c');
  });

  it('M10, S17: frontends and node ports move from one Service to another within one change', () => {
    const fabric = fabricWith(shop());
    fabric.dataplane.apply([
      shop({ id: 1, name: 'default/heir:http', backends: [endpoint('a')] }),
      { op: 'remove-service', id: 0 },
    ]);
    for (const to of ALL) expect(outcome(fabric, { to, sender: 'outside' })).toBe('a');
  });

  it('M12: an endpoint of weight 0 takes no new flow, keeps what it has, and alone it is none', () => {
    const drained = { ...endpoint('b'), weight: 0 };
    const fabric = fabricWith(shop({ affinity: 10_000 }));
    expect(outcome(fabric, { to: clusterIP, sport: 1 })).toBe('b');
    fabric.dataplane.apply([shop({ affinity: 10_000, backends: [drained, endpoint('c')] })]);
    expect(outcome(fabric, { to: clusterIP, sport: 1 })).toBe('b');
    for (let sport = 2; sport < 8; sport++) expect(outcome(fabric, { to: clusterIP, sport })).toBe('c');
    fabric.dataplane.apply([shop({ backends: [drained] })]);
    expect(outcome(fabric, { to: clusterIP, sport: 9 })).toBe('refused');
  });

  it('S26: affinity holds over all frontends of a service port', () => {
    const fabric = fabricWith(
      shop({
        affinity: 10_000,
        backends: [endpoint('a'), endpoint('b'), endpoint('c')],
        nodePort: NODE_PORT,
      }),
    );
    const first = outcome(fabric, { to: clusterIP, sender: 'outside' });
    for (const to of EXTERNAL) expect(outcome(fabric, { to, sender: 'outside', sport: 7 })).toBe(first);
  });

  it('S27: it is consulted within the set in use, and overwritten by what is chosen there', () => {
    const fabric = fabricWith(
      shop({ affinity: 10_000, externalLocal: true, backends: [endpoint('b')], local: [endpoint('a')] }),
    );
    expect(outcome(fabric, { to: clusterIP, sender: 'outside' })).toBe('b');
    expect(outcome(fabric, { to: node, sender: 'outside' })).toBe('a');
    const { affinities } = fabric.dataplane.pipeline;
    expect([affinities.count, affinities.backend[3]]).toEqual([1, family.address(ips.a)[3]]);
  });
});
