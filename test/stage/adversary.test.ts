/** What crafted frames, full tables and awkward moments must not do. */
import { describe, expect, it } from 'vitest';
import { MemoryCard } from '../../src/card/memory-card.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { Counters } from '../../src/telemetry/counters.ts';
import { address4, Fabric, IPS, MACS, macOf, network, peer, port, type Sent, service } from '../fabric.ts';
import { arp, ethernet, ipv6, readIpv4, tcp, udp } from '../frames.ts';
import { advertisement } from '../frames6.ts';

const guarded = (): Fabric =>
  new Fabric([...Fabric.standing(), { op: 'port', port: port('a', { antiSpoof: 'strict' }) }]);
const toB = (payload: ArrayLike<number>, type: number) =>
  ethernet({ src: MACS.a, dst: MACS.b, type }, payload);

describe('what a guarded port hides', () => {
  it('B24, B25: ARP of a hardware type the guard does not read', () => {
    const fabric = guarded();
    const lie = arp({
      op: 'reply',
      senderMac: MACS.a,
      senderIp: IPS.gateway,
      targetMac: MACS.b,
      targetIp: IPS.b,
    });
    lie[15] = 6;
    expect(fabric.from('a', lie)).toEqual([]);
    expect(fabric.drops()).toEqual({ SPOOF_ARP: 1 });
  });

  it('B25: a router advertisement behind extension headers', () => {
    for (const chain of [0, 1, 3, 8, 9]) {
      const fabric = guarded();
      const headers = Array.from({ length: chain }, (_, n) => [
        n + 1 < chain ? 60 : 58,
        0,
        1,
        4,
        0,
        0,
        0,
        0,
      ]).flat();
      const packet = ipv6({ from: 'fe80::bad', to: 'ff02::1', protocol: chain > 0 ? 60 : 58 }, [
        ...headers,
        ...[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0],
      ]);
      expect(fabric.from('a', toB(packet, 0x86dd))).toEqual([]);
      expect(fabric.drops()).toEqual({ ROGUE_SERVER: 1 });
    }
  });

  it('B25: a neighbour advertisement for an address of somebody else', () => {
    const fabric = guarded();
    const advert = (target: string) => advertisement({ src: MACS.a, from: 'fe80::a', target });
    expect(fabric.from('a', advert('fd00::7'))).toEqual([]);
    expect(fabric.drops()).toEqual({ SPOOF_ARP: 1 });
    expect(fabric.from('a', advert('fe80::a')).map(({ to }) => to)).toContain('b');
  });
});

describe('what ARP may teach', () => {
  it.each(['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '00:00:00:00:00:00', MACS.gateway, MACS.router])(
    'A11: not that an address is at %s',
    (senderMac) => {
      const fabric = new Fabric();
      fabric.fromPeer(
        'p',
        arp({ op: 'request', senderMac, senderIp: '10.77.0.99', targetIp: IPS.a, src: MACS.far }),
      );
      const { neighbors } = fabric.dataplane.pipeline;
      expect(neighbors.find4(0, address4('10.77.0.99')[3])).toBe(-1);
    },
  );
});

describe('time', () => {
  it('A15, B5: everything periodic works on a host that has been up for 30 days', () => {
    const card = new MemoryCard();
    card.now = (30 * 86_400_000) | 0;
    let sent = 0;
    card.onSend = () => {
      sent++;
      return 0;
    };
    const dataplane = new Dataplane(card, new Counters(), 1, 16);
    dataplane.apply(Fabric.standing());
    for (let i = 0; i < 40; i++) {
      card.now = (card.now + 100) | 0;
      dataplane.turn();
    }
    // Four addresses, three announcements each, to the members of their network.
    expect(sent).toBe(3 * (3 * 5 + 1 * 2));
  });

  it('B4, B5: entries that never aged do so from the change on', () => {
    const fabric = new Fabric([...Fabric.standing(), { op: 'network', network: network({ ageing: 0 }) }]);
    const known = ethernet({ src: MACS.b, dst: '06:00:00:00:00:01', type: 0x88b5 }, []);
    fabric.from('c', ethernet({ src: '06:00:00:00:00:01', dst: MACS.b, type: 0x88b5 }, []));
    fabric.card.now = (fabric.card.now + 26 * 86_400_000) | 0;
    fabric.dataplane.apply([{ op: 'network', network: network({ ageing: 300_000 }) }]);
    expect(fabric.from('b', known).map(({ to }) => to)).toEqual(['c']);
    fabric.wait(301_000);
    expect(fabric.from('b', known).length).toBeGreaterThan(1);
  });
});

describe('many at once', () => {
  it('A15: every address of 200 new ports is announced three times', () => {
    const ops: Op[] = [{ op: 'network', network: network({ subnets: [] }) }];
    for (let n = 0; n < 200; n++) {
      const mac = { hi: 0x0600, lo: n };
      ops.push({
        op: 'port',
        port: port('a', {
          id: 100 + n,
          name: `n${n}`,
          device: 100 + n,
          mac,
          addresses: [address4(`10.77.1.${n}`)],
        }),
      });
    }
    const fabric = new Fabric(Fabric.standing());
    fabric.dataplane.apply(ops);
    const heard = new Map<number, number>();
    for (let i = 0; i < 200; i++) {
      for (const { to, frame } of fabric.advance(20)) {
        if (to === 'c') heard.set(frame[31]!, (heard.get(frame[31]!) ?? 0) + 1);
      }
    }
    expect([...heard.values()]).toEqual(new Array(200).fill(3));
    expect(fabric.drops()).toEqual({});
  });
});

describe('refused packets leave nothing behind', () => {
  const vip = '10.96.0.10';
  const syn = (src = MACS.a, dst = MACS.gateway) =>
    ethernet({ src, dst }, tcp({ from: IPS.a, to: vip, sport: 1, dport: 80 }));

  it('N4: no flow and no affinity for a backend outside the client’s network', () => {
    const fabric = new Fabric();
    const backends = [{ address: address4('192.168.1.1'), port: 1 }];
    fabric.dataplane.apply([{ op: 'service', service: service({ affinity: 10_000, backends }) }]);
    fabric.from('a', syn());
    expect(fabric.drops()).toEqual({ NO_ROUTE: 1 });
    const { flows, affinities } = fabric.dataplane.pipeline;
    expect([flows.count, affinities.count]).toEqual([0, 0]);
  });

  it('N6: a peer cannot open flows here', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'service', service: service() }]);
    fabric.fromPeer('p', syn(MACS.far, MACS.router));
    expect(fabric.dataplane.pipeline.flows.count).toBe(0);
    expect(fabric.drops()).toEqual({ NO_ROUTE: 1 });
  });

  it('N22: a lowered limit holds for new flows', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([
      {
        op: 'service',
        service: service({ protocol: 17, backends: [{ address: address4(IPS.b), port: 53 }] }),
      },
    ]);
    const host = { underlayAddresses: [], vxlanPorts: [4789], maxFlows: 16 };
    fabric.dataplane.apply([{ op: 'host', host }]);
    for (let sport = 1; sport < 100; sport++) {
      fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from: IPS.a, to: vip, sport, dport: 80 })),
      );
    }
    expect(fabric.dataplane.pipeline.flows.count).toBe(16);
  });

  it('S27: affinities go with their network', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'service', service: service({ affinity: 10_000 }) }]);
    fabric.from('a', syn());
    expect(fabric.dataplane.pipeline.affinities.count).toBe(1);
    fabric.dataplane.apply([2, 3, 4].map((id): Op => ({ op: 'remove-port', id })));
    fabric.dataplane.apply([{ op: 'remove-network', id: 0 }]);
    expect(fabric.dataplane.pipeline.affinities.count).toBe(0);
  });
});

describe('packets too big, told in the words of their sender', () => {
  const client: Op = { op: 'port', port: port('a', { mtu: 1000 }) };
  const big = new Array(1100).fill(1);

  it('N34: a reply of a flow is quoted as the backend sent it', () => {
    const fabric = new Fabric([...Fabric.standing(), client]);
    fabric.dataplane.apply([
      {
        op: 'service',
        service: service({ protocol: 17, backends: [{ address: address4(IPS.b), port: 53 }] }),
      },
    ]);
    fabric.from(
      'a',
      ethernet(
        { src: MACS.a, dst: MACS.gateway },
        udp({ from: IPS.a, to: '10.96.0.10', sport: 5, dport: 80 }),
      ),
    );
    const reply = ethernet(
      { src: MACS.b, dst: MACS.a },
      udp({ from: IPS.b, to: IPS.a, sport: 53, dport: 5, payload: big }),
    );
    const sent = fabric.from('b', reply);
    expect(sent.map(({ to }) => to)).toEqual(['b']);
    const error = readIpv4(sent[0]!.frame);
    expect(error.icmp).toBe('3/4');
    expect([...error.body.subarray(8, 8 + 28)]).toEqual([...reply.subarray(14, 14 + 28)]);
  });

  it('N34: a routed packet is quoted with the TTL it was sent with', () => {
    const fabric = new Fabric([...Fabric.standing(), { op: 'port', port: port('b', { mtu: 1000 }) }]);
    const packet = udp({ from: IPS.a, to: IPS.b, sport: 1, dport: 2, payload: big });
    const error = readIpv4(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, packet))[0]!.frame);
    expect([...error.body.subarray(8, 8 + 28)]).toEqual(packet.slice(0, 28));
  });
});

describe('configuration', () => {
  it('A10: an address moves from a port to a peer in one transaction', () => {
    const fabric = new Fabric();
    const far = { network: 0, mac: macOf(MACS.far), address: address4(IPS.c) };
    fabric.dataplane.apply([
      { op: 'peer', peer: peer('p', { static: [far] }) },
      { op: 'port', port: port('c', { addresses: [] }) },
    ]);
    const { neighbors } = fabric.dataplane.pipeline;
    const row = neighbors.find4(0, address4(IPS.c)[3]);
    expect([neighbors.hi[row], neighbors.lo[row]]).toEqual([macOf(MACS.far).hi, macOf(MACS.far).lo]);
  });

  it('S29: an affinity does not outlive its switching off', () => {
    const fabric = new Fabric();
    const shop = (affinity: number): Op => ({ op: 'service', service: service({ affinity }) });
    fabric.dataplane.apply([shop(10_000)]);
    const syn = tcp({ from: IPS.a, to: '10.96.0.10', sport: 1, dport: 80 });
    fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, syn));
    fabric.dataplane.apply([shop(0)]);
    expect(fabric.dataplane.pipeline.affinities.count).toBe(0);
  });

  it('S31: a UDP flow stays with an endpoint that drains, and leaves one that is gone', () => {
    const fabric = new Fabric();
    const udpService = (backends: string[], serving: string[]): Op => ({
      op: 'service',
      service: service({
        protocol: 17,
        backends: backends.map((ip) => ({ address: address4(ip), port: 53 })),
        serving: serving.map(address4),
      }),
    });
    const ask = () =>
      readIpv4(
        fabric.from(
          'a',
          ethernet(
            { src: MACS.a, dst: MACS.gateway },
            udp({ from: IPS.a, to: '10.96.0.10', sport: 5, dport: 80 }),
          ),
        )[0]!.frame,
      ).to;
    fabric.dataplane.apply([udpService([IPS.b], [IPS.b])]);
    expect(ask()).toBe(IPS.b);
    fabric.dataplane.apply([udpService([IPS.c], [IPS.b, IPS.c])]);
    expect(ask()).toBe(IPS.b);
    fabric.dataplane.apply([udpService([IPS.c], [IPS.c])]);
    expect(ask()).toBe(IPS.c);
  });
});

describe('one client port towards two services with the same backend', () => {
  const second = '10.96.0.11';
  const third = '10.96.0.12';
  const only = { backends: [{ address: address4(IPS.b), port: 8080 }] };
  const both = {
    affinity: 10_000,
    backends: [
      { address: address4(IPS.b), port: 8080 },
      { address: address4(IPS.c), port: 8080 },
    ],
  };
  const fabricWith = (overrides: object): Fabric => {
    const fabric = new Fabric();
    fabric.dataplane.apply([
      { op: 'service', service: service(only) },
      { op: 'service', service: service({ id: 1, vip: address4(second), ...overrides }) },
      { op: 'service', service: service({ id: 2, vip: address4(third), ...only }) },
    ]);
    return fabric;
  };
  const send = (fabric: Fabric, to: string, flags: string, sport: number, seq = 1000) =>
    fabric.from(
      'a',
      ethernet(
        { src: MACS.a, dst: MACS.gateway },
        tcp({ from: IPS.a, to, sport, dport: 80, flags, seq, ack: 501 }),
      ),
    );
  const refuse = (fabric: Fabric, sport: number) =>
    fabric.from(
      'b',
      ethernet(
        { src: MACS.b, dst: MACS.a },
        tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: sport, flags: 'RA', seq: 0, ack: 1001 }),
      ),
    );

  const portOf = ([sent]: Sent[]) => readIpv4(sent!.frame).sport;

  it('N4, N15: a connection that is over makes room for the next; until then it gets another port', () => {
    const fabric = fabricWith(only);
    expect(portOf(send(fabric, '10.96.0.10', 'S', 5))).toBe(5);
    expect(portOf(send(fabric, second, 'S', 5))).not.toBe(5);
    refuse(fabric, 5);
    expect(portOf(send(fabric, third, 'S', 5, 9000))).toBe(5);
    expect(fabric.drops()).toEqual({});
  });

  it('S26: a clash moves no affinity', () => {
    const fabric = fabricWith(both);
    expect(send(fabric, second, 'S', 6).map(({ to }) => to)).toEqual(['b']);
    send(fabric, '10.96.0.10', 'S', 7);
    expect(send(fabric, second, 'S', 7).map(({ to }) => to)).toEqual(['b']);
    expect(send(fabric, second, 'S', 8).map(({ to }) => to)).toEqual(['b']);
  });
});
