import { describe, expect, it } from 'vitest';
import { address4, Fabric, IPS, MACS, peer, type Sent, service } from '../fabric.ts';
import {
  arp,
  checksumsAreRight,
  echoRequest,
  ethernet,
  icmp,
  internetChecksum,
  ipv4,
  readIpv4,
  tcp,
  toHex,
  udp,
} from '../frames.ts';

const VIP = '10.96.0.10';
const routed = (fabric: Fabric, packet: ArrayLike<number>) =>
  fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, packet));
const bridged = (fabric: Fabric, packet: ArrayLike<number>, dst: string = MACS.b) =>
  fabric.from('a', ethernet({ src: MACS.a, dst }, packet));
const toB = { from: IPS.a, to: IPS.b, sport: 1, dport: 2 };
/** The packet an ICMP error quotes, as if it were a frame. */
const quoted = (sent: Sent) =>
  Uint8Array.from([...new Uint8Array(14), ...readIpv4(sent.frame).body.subarray(8)]);
const meet = (fabric: Fabric) =>
  fabric.fromPeer('p', arp({ op: 'request', senderMac: MACS.far, senderIp: IPS.far, targetIp: IPS.far }));

describe('the gateway', () => {
  it('N7: routed packets lose one hop and keep a right checksum; the gateway MAC delivers them', () => {
    const fabric = new Fabric();
    for (const ttl of [2, 64, 255]) {
      const [sent] = routed(fabric, udp({ ...toB, ttl }));
      const out = readIpv4(sent!.frame);
      expect(out).toMatchObject({ ttl: ttl - 1, dst: MACS.b, src: MACS.gateway });
      expect(checksumsAreRight(out.packet)).toBe(true);
    }
  });

  it('N7, A14: into a tunnel the router MAC is the source', () => {
    const fabric = new Fabric();
    meet(fabric);
    const [sent] = routed(fabric, udp({ ...toB, to: IPS.far }));
    expect(readIpv4(sent!.frame)).toMatchObject({ ttl: 63, dst: MACS.far, src: MACS.router });
  });

  it('N40: what has a wrong header checksum is nobody’s to route, and bridged as it is', () => {
    const fabric = new Fabric();
    const wrong = (packet: number[]) => packet.with(10, packet[10]! ^ 1);
    const options = ipv4({ from: IPS.a, to: IPS.b, protocol: 17 }, [1, 1, 1, 0, 0, 1, 0, 2, 0, 8, 0, 0]);
    options.splice(0, 1, 0x46);
    options.splice(10, 2, 0, 0);
    const sum = internetChecksum(options.slice(0, 24));
    options.splice(10, 2, sum >> 8, sum & 255);
    // To a station, once and when it is known; to the gateway itself; with its last hop; with options.
    const packets = [udp(toB), echoRequest(IPS.a, IPS.gateway), udp({ ...toB, ttl: 1 }), options];
    expect(packets.map((packet) => routed(fabric, packet).length)).toEqual([1, 1, 1, 1]);
    for (const packet of packets) expect(routed(fabric, wrong(packet))).toEqual([]);
    expect(fabric.drops()).toEqual({ TTL_EXPIRED: 1, BAD_IP_HEADER: 4 });
    for (const packet of packets) {
      const [sent] = bridged(fabric, wrong(packet));
      expect(toHex(readIpv4(sent!.frame).packet)).toBe(toHex(Uint8Array.from(wrong(packet))));
    }
  });

  it('N7: bridged packets keep their hop count, even 1 and 0', () => {
    const fabric = new Fabric();
    for (const ttl of [0, 1, 64])
      expect(readIpv4(bridged(fabric, udp({ ...toB, ttl }))[0]!.frame).ttl).toBe(ttl);
  });

  it.each([0, 1])('N7: TTL %i at the gateway is answered by 11/0 and dropped', (ttl) => {
    const fabric = new Fabric();
    const [error] = routed(fabric, udp({ ...toB, ttl }));
    expect(error!.to).toBe('a');
    expect(readIpv4(error!.frame)).toMatchObject({
      icmp: '11/0',
      from: IPS.gateway,
      to: IPS.a,
      src: MACS.gateway,
      dst: MACS.a,
    });
    expect(readIpv4(quoted(error!))).toMatchObject({ to: IPS.b, ttl });
    expect(fabric.drops()).toEqual({ TTL_EXPIRED: 1 });
  });

  it('N7: an expired packet to a VIP makes no flow', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'service', service: service() }]);
    expect(
      readIpv4(routed(fabric, tcp({ from: IPS.a, to: VIP, sport: 1, dport: 80, ttl: 1 }))[0]!.frame).icmp,
    ).toBe('11/0');
    expect(fabric.dataplane.pipeline.flows.count).toBe(0);
  });

  it('N8: no redirects: a packet routed back to its own segment is only routed', () => {
    const fabric = new Fabric();
    expect(routed(fabric, udp(toB)).map((s) => s.to)).toEqual(['b']);
  });

  it.each(['8.8.8.8', '10.79.0.1', '10.77.0.0', '10.77.0.255'])('N8: no route to %s: ICMP 3/0', (to) => {
    const fabric = new Fabric();
    const sent = routed(fabric, udp({ ...toB, to }));
    expect(sent.map((s) => [s.to, readIpv4(s.frame).icmp])).toEqual([['a', '3/0']]);
    expect(fabric.drops()).toEqual({ NO_ROUTE: 1 });
  });

  it('N8: echo to every gateway address is answered, with what was sent', () => {
    const fabric = new Fabric();
    for (const gateway of [IPS.gateway, '10.78.0.1']) {
      const [reply] = routed(fabric, echoRequest(IPS.a, gateway, 1));
      const out = readIpv4(reply!.frame);
      expect(out).toMatchObject({
        icmp: '0/0',
        from: gateway,
        to: IPS.a,
        src: MACS.gateway,
        dst: MACS.a,
        ttl: 64,
      });
      expect(checksumsAreRight(out.packet)).toBe(true);
      expect(toHex(out.body.subarray(4))).toBe('12340001' + '01020304');
    }
  });

  it('N8: the gateway refuses connections and datagrams of its own', () => {
    const fabric = new Fabric();
    expect(readIpv4(routed(fabric, tcp({ ...toB, to: IPS.gateway }))[0]!.frame)).toMatchObject({
      flags: 'RA',
      from: IPS.gateway,
      sport: 2,
    });
    expect(readIpv4(routed(fabric, udp({ ...toB, to: IPS.gateway }))[0]!.frame).icmp).toBe('3/3');
  });

  it('N11: the gateway of one network does not route to another', () => {
    const fabric = new Fabric();
    const packet = udp({ from: IPS.a, to: '10.78.0.9', sport: 1, dport: 2 });
    const sent = fabric.from('r', ethernet({ src: MACS.r, dst: MACS.redGateway }, packet));
    expect(sent.map((s) => [s.to, readIpv4(s.frame).icmp])).toEqual([['r', '3/0']]);
  });
});

describe('whom errors are sent to', () => {
  const expired = (packet: ArrayLike<number>, dst: string = MACS.gateway) => {
    const fabric = new Fabric();
    const sent = fabric.from('a', ethernet({ src: MACS.a, dst }, packet));
    return sent.filter((s) => s.to === 'a');
  };

  it.each([3, 4, 5, 11, 12])('N9: no error about ICMP error type %i', (type) => {
    expect(expired(icmp(IPS.a, IPS.b, [type, 0, 0, 0, 0, 0, 0, 0, 0x45], 1))).toEqual([]);
  });

  it('N9: but about an echo', () => {
    expect(expired(echoRequest(IPS.a, IPS.b, 1))).toHaveLength(1);
  });

  it.each(['0.0.0.0', '127.0.0.1', '224.0.0.5', '255.255.255.255'])('N9: no error to source %s', (from) => {
    expect(expired(udp({ from, to: IPS.b, sport: 1, dport: 2, ttl: 1 }))).toEqual([]);
  });

  it.each(['224.0.0.5', '255.255.255.255', '239.1.2.3'])('N9: no error about a packet to %s', (to) => {
    expect(expired(udp({ from: IPS.a, to, sport: 1, dport: 2, ttl: 1 }))).toEqual([]);
  });

  it('N9: about the first fragment, not about later ones', () => {
    expect(expired(udp({ ...toB, ttl: 1, fragment: 0x2000 }))).toHaveLength(1);
    expect(expired(udp({ ...toB, ttl: 1, fragment: 0x2001 }))).toEqual([]);
    expect(expired(udp({ ...toB, ttl: 1, fragment: 0x0010 }))).toEqual([]);
  });

  it('N9: a source that is no address of the network gets none', () => {
    expect(expired(udp({ from: '8.8.8.8', to: IPS.b, sport: 1, dport: 2, ttl: 1 }))).toEqual([]);
  });

  it('N9: an error stays within 576 bytes and quotes header and 8 bytes at least', () => {
    const long = expired(udp({ ...toB, ttl: 1, payload: new Array(1000).fill(1) }));
    expect(readIpv4(long[0]!.frame).packet).toHaveLength(576);
    expect(checksumsAreRight(readIpv4(long[0]!.frame).packet)).toBe(true);
    const short = expired(udp({ ...toB, ttl: 1, payload: [] }));
    expect(readIpv4(short[0]!.frame).packet).toHaveLength(20 + 8 + 28);
  });

  it('N10: one error per second and destination', () => {
    const fabric = new Fabric();
    const send = () => routed(fabric, udp({ ...toB, ttl: 1 })).length;
    expect([send(), send(), send()]).toEqual([1, 0, 0]);
    fabric.advance(999);
    expect(send()).toBe(0);
    fabric.advance(1);
    expect(send()).toBe(1);
  });

  it('N10: frag-needed is not limited per destination, but in total: 50 at once, 1000 per second', () => {
    const fabric = new Fabric();
    const big = udp({ ...toB, payload: new Array(1500).fill(1) });
    const burst = () => {
      for (let i = 0; i < 60; i++)
        fabric.card.receive({ device: 10, bytes: ethernet({ src: MACS.a, dst: MACS.b }, big) });
      return fabric.settle().length;
    };
    expect(burst()).toBe(50);
    expect(burst()).toBe(0);
    fabric.advance(7);
    expect(burst()).toBe(7);
    fabric.advance(1000);
    expect(burst()).toBe(50);
  });

  it('N10: the total holds for errors to many destinations', () => {
    const fabric = new Fabric();
    for (let i = 0; i < 60; i++) {
      const packet = udp({ ...toB, from: `10.77.0.${100 + i}`, ttl: 1 });
      fabric.card.receive({ device: 10, bytes: ethernet({ src: MACS.a, dst: MACS.gateway }, packet) });
    }
    expect(fabric.settle()).toHaveLength(50);
  });
});

describe('packets that are too big', () => {
  const payload = new Array(1400).fill(0x5a);
  const narrow = () => {
    const fabric = new Fabric();
    meet(fabric);
    fabric.dataplane.apply([
      { op: 'peer', peer: peer('p', { pathMtu: 1300 }) },
      {
        op: 'service',
        service: service({ protocol: 17, backends: [{ address: address4(IPS.far), port: 5300 }] }),
      },
      {
        op: 'service',
        service: service({
          id: 1,
          name: 'default/shop:tcp',
          backends: [{ address: address4(IPS.far), port: 8080 }],
        }),
      },
    ]);
    return fabric;
  };
  const sumIsRight = (packet: Uint8Array) => internetChecksum(packet.subarray(0, 20)) === 0;

  it('N34: bridged with DF: 3/4 with the next-hop MTU, from the gateway, quoting the packet', () => {
    const fabric = narrow();
    const packet = udp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2, payload });
    const [error] = bridged(fabric, packet, MACS.far);
    const out = readIpv4(error!.frame);
    expect([error!.to, out.icmp, out.from, out.to, out.src, out.dst]).toEqual([
      'a',
      '3/4',
      IPS.gateway,
      IPS.a,
      MACS.gateway,
      MACS.a,
    ]);
    expect([...out.body.subarray(4, 8)]).toEqual([0, 0, 1300 >> 8, 1300 & 255]);
    expect(toHex(out.body.subarray(8))).toBe(toHex(Uint8Array.from(packet).subarray(0, out.body.length - 8)));
    expect(checksumsAreRight(out.packet)).toBe(true);
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
  });

  it('N34: routed with DF: the same', () => {
    const fabric = narrow();
    const [error] = routed(fabric, udp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2, payload }));
    expect(readIpv4(error!.frame)).toMatchObject({
      icmp: '3/4',
      from: IPS.gateway,
      to: IPS.a,
      src: MACS.gateway,
      dst: MACS.a,
    });
    expect(readIpv4(quoted(error!))).toMatchObject({ from: IPS.a, to: IPS.far, sport: 1, dport: 2 });
  });

  it('N34: bridged without DF: dropped in silence', () => {
    const fabric = narrow();
    expect(
      bridged(fabric, udp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2, fragment: 0, payload }), MACS.far),
    ).toEqual([]);
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
  });

  it.each(['UDP', 'TCP'])(
    'N34: through a ClusterIP the quoted %s packet is the one its sender sent',
    (name) => {
      const fabric = narrow();
      const ends = { from: IPS.a, to: VIP, sport: 40_000, dport: 80, payload };
      const packet = name === 'UDP' ? udp(ends) : tcp(ends);
      const [error] = routed(fabric, packet);
      expect(error!.to).toBe('a');
      const out = readIpv4(error!.frame);
      expect(out).toMatchObject({ icmp: '3/4', from: IPS.gateway, to: IPS.a });
      expect(checksumsAreRight(out.packet)).toBe(true);
      const embedded = readIpv4(quoted(error!));
      expect(embedded).toMatchObject({ from: IPS.a, to: VIP, sport: 40_000, dport: 80 });
      expect(sumIsRight(out.body.subarray(8))).toBe(true);
      expect(toHex(out.body.subarray(28))).toBe(
        toHex(Uint8Array.from(packet).subarray(20, 20 + out.body.length - 28)),
      );
    },
  );

  it('N34: of an offloaded packet only what is surely true is quoted', () => {
    const fabric = narrow();
    const [error] = fabric.from(
      'a',
      ethernet(
        { src: MACS.a, dst: MACS.far },
        udp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2, payload }),
      ),
      { csumStart: 34, csumOffset: 6 },
    );
    expect(readIpv4(error!.frame).body).toHaveLength(8 + 28);
  });

  it('N34: a packet too big for a local port, from a tunnel, is answered into the tunnel by the router MAC', () => {
    const fabric = narrow();
    const packet = udp({ from: IPS.far, to: IPS.a, sport: 1, dport: 2, payload: new Array(1430).fill(1) });
    const [error] = fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, packet));
    expect(error!.to).toBe('p');
    expect(readIpv4(error!.frame)).toMatchObject({
      icmp: '3/4',
      from: IPS.gateway,
      to: IPS.far,
      src: MACS.router,
      dst: MACS.far,
    });
  });

  it('N34: a flood that fits somewhere is not answered', () => {
    const fabric = narrow();
    const packet = udp({ from: IPS.a, to: '10.77.0.99', sport: 1, dport: 2, payload });
    const sent = bridged(fabric, packet, '02:00:00:00:09:09');
    expect(sent.map((s) => s.to).sort()).toEqual(['b', 'c', 'q']);
  });

  it('N34, A13: a packet that waited for its neighbour is quoted as its sender knows it, also after its flow was replaced', () => {
    const fabric = new Fabric();
    const one = (id: number, vip: string) =>
      service({
        id,
        name: `default/${id}:udp`,
        vip: address4(vip),
        protocol: 17,
        backends: [{ address: address4(IPS.far), port: 5300 }],
      });
    fabric.dataplane.apply([{ op: 'service', service: one(0, VIP) }]);
    routed(fabric, udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 }));
    fabric.dataplane.apply([
      { op: 'remove-service', id: 0 },
      { op: 'service', service: one(1, '10.96.0.11') },
    ]);
    routed(fabric, udp({ from: IPS.c, to: '10.96.0.11', sport: 8, dport: 80 }));
    const errors = fabric.wait(5000).filter((s) => s.to === 'a' && readIpv4(s.frame).icmp === '3/1');
    const about = errors.map((s) => readIpv4(quoted(s))).map(({ from, to }) => `${from} ${to}`);
    expect(about).not.toContain(`${IPS.a} 10.96.0.11`);
  });
});

describe('fragments', () => {
  it('N35: fragments that need no translation pass untouched, bridged or routed, in any order', () => {
    const fabric = new Fabric();
    for (const fragment of [0x0020, 0x2010, 0x2000, 0x2010]) {
      const packet = ipv4(
        { from: IPS.a, to: IPS.b, protocol: 17, id: 77, fragment },
        new Array(16).fill(fragment & 255),
      );
      expect(toHex(bridged(fabric, packet)[0]!.frame.subarray(14))).toBe(toHex(Uint8Array.from(packet)));
      const [sent] = routed(fabric, packet);
      expect(readIpv4(sent!.frame).ttl).toBe(63);
      expect(toHex(sent!.frame.subarray(34))).toBe(toHex(Uint8Array.from(packet).subarray(20)));
    }
  });
});
