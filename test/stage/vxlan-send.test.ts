import { describe, expect, it } from 'vitest';
import { Gso, TX_SOCKETS } from '../../src/card/layout.ts';
import { address4, Fabric, IPS, MACS, network, PEER_ADDRESSES, peer, port, red } from '../fabric.ts';
import { arp, echoRequest, ethernet, ipv4, ipv6, partialSum, readIpv4, tcp, toHex, udp } from '../frames.ts';

/** A fabric that knows the station `far` behind peer p. */
function acquainted(fabric = new Fabric()): Fabric {
  fabric.fromPeer('p', arp({ op: 'request', senderMac: MACS.far, senderIp: IPS.far, targetIp: IPS.far }));
  fabric.take();
  return fabric;
}

const toFar = (packet: ArrayLike<number>, type = 0x0800) =>
  ethernet({ src: MACS.a, dst: MACS.far, type }, packet);
const flow = (sport: number, dport = 80) => toFar(udp({ from: IPS.a, to: IPS.far, sport, dport }));
const socketOf = (fabric: Fabric, frame: Uint8Array): number =>
  fabric.from('a', frame)[0]!.raw.entropy! % TX_SOCKETS;

describe('the VXLAN header', () => {
  it('V1, V2: I flag, VNI in 24 bits, and zeros, in front of the untouched frame', () => {
    const fabric = acquainted();
    const frame = flow(1);
    const [sent] = fabric.from('a', frame);
    expect(toHex(sent!.raw.bytes)).toBe(`0800000000002a00${toHex(frame)}`);
  });

  it.each([1, 4096, 0x800000, 0xffffff])('V2: VNI %i', (vni) => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'network', network: network({ vni }) }]);
    const sent = fabric.from(
      'a',
      arp({ op: 'request', senderMac: MACS.a, senderIp: IPS.a, targetIp: IPS.far }),
    );
    const datagrams = sent.filter(({ to }) => to === 'p' || to === 'q');
    expect(datagrams.map((s) => s.vni)).toEqual([vni, vni]);
    for (const { raw } of datagrams) {
      expect(toHex(raw.bytes.subarray(0, 8))).toBe(`08000000${vni.toString(16).padStart(6, '0')}00`);
    }
    const back = fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, [1, 2, 3]), { vni });
    expect(back.map((s) => s.to)).toEqual(['a']);
  });

  it('V1: a header is written once and alike for every copy of a flood', () => {
    const fabric = new Fabric();
    const frame = ethernet(
      { src: MACS.a, dst: 'ff:ff:ff:ff:ff:ff' },
      udp({ from: IPS.a, to: '255.255.255.255', sport: 1, dport: 2 }),
    );
    const sent = fabric.from('a', frame);
    expect(sent.map((s) => s.to).sort()).toEqual(['b', 'c', 'p', 'q']);
    for (const { to, frame: bytes, raw } of sent) {
      expect(toHex(bytes), to).toBe(toHex(frame));
      if (to === 'p' || to === 'q') expect(toHex(raw.bytes.subarray(0, 8))).toBe('0800000000002a00');
    }
  });

  it('V3: the destination is the peer address and the UDP port of that membership', () => {
    const fabric = new Fabric();
    const address = address4(PEER_ADDRESSES.p);
    fabric.dataplane.apply([
      { op: 'peer', peer: peer('p', { memberships: [{ network: 0, remote: 7, address, port: 8472 }] }) },
    ]);
    acquainted(fabric);
    const [sent] = fabric.from('a', flow(1));
    expect(sent!.raw).toMatchObject({ remote: address, port: 8472, device: 900 });
  });

  it('V3: another network may use another underlay device and port at the same time', () => {
    const fabric = new Fabric();
    const address = address4(PEER_ADDRESSES.p);
    fabric.dataplane.apply([
      { op: 'network', network: red({ underlay4: 901 }) },
      {
        op: 'peer',
        peer: peer('p', {
          memberships: [
            { network: 0, remote: 0, address, port: 4789 },
            { network: 1, remote: 1, address, port: 8472 },
          ],
        }),
      },
    ]);
    const broadcast = (src: string) => ethernet({ src, dst: 'ff:ff:ff:ff:ff:ff', type: 0x88b5 }, [1]);
    const blue = fabric.from('a', broadcast(MACS.a)).filter((s) => s.to === 'p');
    expect(blue.map((s) => [s.vni, s.raw.port, s.raw.device])).toEqual([[42, 4789, 900]]);
    const [other] = fabric.from('r', broadcast(MACS.r));
    expect(other!.raw).toMatchObject({ device: 901, port: 8472 });
    expect(other!.raw.bytes[6]).toBe(43);
  });

  it('V8: every frame is carried byte for byte, short and odd ones included', () => {
    const fabric = acquainted();
    for (const frame of [
      toFar([], 0x88b5),
      toFar([0xff], 0x0003),
      toFar(
        Array.from({ length: 1450 }, (_, i) => i & 255),
        0x88b5,
      ),
      toFar([...udp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2 }), 9, 9, 9], 0x0800),
    ]) {
      const sent = fabric.from('a', frame);
      expect(sent.map((s) => s.to)).toEqual(['p']);
      expect(toHex(sent[0]!.frame)).toBe(toHex(frame));
    }
  });
});

describe('the source port', () => {
  it('V4: 256 flows use at least 8 of the sockets, none of them most of the time', () => {
    const fabric = acquainted();
    const uses = new Array<number>(TX_SOCKETS).fill(0);
    for (let i = 0; i < 256; i++) uses[socketOf(fabric, flow(40_000 + i))]!++;
    expect(uses.filter((n) => n > 0).length).toBeGreaterThanOrEqual(8);
    expect(Math.max(...uses)).toBeLessThan(64);
  });

  it('V4: flows that differ only in their addresses spread too', () => {
    const fabric = acquainted();
    const used = new Set<number>();
    for (let i = 1; i < 200; i++) {
      used.add(socketOf(fabric, toFar(udp({ from: `10.77.0.${i}`, to: IPS.far, sport: 1, dport: 2 }))));
    }
    expect(used.size).toBeGreaterThanOrEqual(8);
  });

  it('V4: one flow keeps one port whatever its packets carry', () => {
    const fabric = acquainted();
    const ends = { from: IPS.a, to: IPS.far, sport: 5, dport: 6 };
    const ports = [
      toFar(tcp({ ...ends, seq: 1 })),
      toFar(tcp({ ...ends, seq: 99, flags: 'A', payload: [1, 2, 3] })),
      toFar(tcp({ ...ends, flags: 'FA', ttl: 3 })),
    ].map((frame) => socketOf(fabric, frame));
    expect(new Set(ports).size).toBe(1);
  });

  it('V4: all fragments of a datagram hash alike, by addresses and protocol', () => {
    const fabric = acquainted();
    for (const to of ['10.77.0.21', '10.77.0.22', '10.77.0.23', '10.77.0.24', '10.77.0.25']) {
      const part = (fragment: number, body: number[]) =>
        socketOf(fabric, toFar(ipv4({ from: IPS.a, to, protocol: 17, id: 9, fragment }, body)));
      const ports = [
        part(0x2000, [1, 2, 3, 4, 0, 24, 0, 0]),
        part(0x2001, [9, 9, 9, 9, 9, 9, 9, 9]),
        part(0x0002, [7, 7, 7, 7, 7, 7, 7, 7]),
      ];
      expect(new Set(ports).size).toBe(1);
    }
  });

  it('V4: frames that are not IP hash their addresses and type', () => {
    const fabric = acquainted();
    const used = new Set<number>();
    for (let i = 0; i < 64; i++) {
      const frame = ethernet({ src: `02:00:00:00:03:${i.toString(16)}`, dst: MACS.far, type: 0x88b5 }, [i]);
      used.add(socketOf(fabric, frame));
    }
    expect(used.size).toBeGreaterThanOrEqual(8);
    const same = [[1], [2, 2], []].map((body) => socketOf(fabric, toFar(body, 0x88b5)));
    expect(new Set(same).size).toBe(1);
  });

  it('V4: IPv6 flows spread by address and port', () => {
    const fabric = acquainted();
    const used = new Set<number>();
    for (let i = 0; i < 128; i++) {
      const datagram = [0, i, 0, 80, 0, 8, 0xab, 0xcd];
      used.add(
        socketOf(fabric, toFar(ipv6({ from: 'fd00::1', to: 'fd00::2', protocol: 17 }, datagram), 0x86dd)),
      );
    }
    expect(used.size).toBeGreaterThanOrEqual(8);
  });
});

describe('outer headers', () => {
  const outerTos = (fabric: Fabric, tos: number) =>
    fabric.from('a', toFar(udp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2, tos })))[0]!.raw.tos;
  const outerTos6 = (fabric: Fabric, trafficClass: number) =>
    fabric.from(
      'a',
      toFar(ipv6({ from: 'fd00::1', to: 'fd00::2', protocol: 59, trafficClass }, []), 0x86dd),
    )[0]!.raw.tos;

  it.each([0, 1, 2, 3])('V7, V12: inner ECN %i goes out as it is, DSCP 0', (ecn) => {
    const fabric = acquainted();
    expect(outerTos(fabric, 0xb8 | ecn)).toBe(ecn);
    expect(outerTos6(fabric, 0xb8 | ecn)).toBe(ecn);
  });

  it.each([0, 1, 2, 3])('V7: a configured DSCP joins inner ECN %i', (ecn) => {
    const fabric = acquainted();
    fabric.dataplane.apply([{ op: 'network', network: network({ dscp: 46 }) }]);
    acquainted(fabric);
    expect(outerTos(fabric, 0x20 | ecn)).toBe(0xb8 | ecn);
    expect(outerTos6(fabric, 0x20 | ecn)).toBe(0xb8 | ecn);
  });

  it('V7: DSCP may be inherited', () => {
    const fabric = acquainted();
    fabric.dataplane.apply([{ op: 'network', network: network({ dscp: -1 }) }]);
    acquainted(fabric);
    for (const tos of [0, 0x28, 0xb9, 0xff]) {
      expect(outerTos(fabric, tos)).toBe(tos);
      expect(outerTos6(fabric, tos)).toBe(tos);
    }
  });

  it('V11: frames that are not IP go out with ECN 0 and the configured DSCP', () => {
    const fabric = acquainted();
    expect(fabric.from('a', toFar([0xff, 0xff, 0xff], 0x88b5))[0]!.raw.tos).toBe(0);
    fabric.dataplane.apply([{ op: 'network', network: network({ dscp: 10 }) }]);
    acquainted(fabric);
    expect(fabric.from('a', toFar([0xff, 0xff, 0xff], 0x88b5))[0]!.raw.tos).toBe(40);
    fabric.dataplane.apply([{ op: 'network', network: network({ dscp: -1 }) }]);
    acquainted(fabric);
    expect(fabric.from('a', toFar([0xff, 0xff, 0xff], 0x88b5))[0]!.raw.tos).toBe(0);
  });

  it('V10: offload metadata reach the card with the datagram, to be finished there', () => {
    const fabric = acquainted();
    const packet = tcp({
      from: IPS.a,
      to: IPS.far,
      sport: 1,
      dport: 2,
      flags: 'A',
      payload: new Array(4000).fill(7),
    });
    const frame = toFar(packet);
    const sum = partialSum(IPS.a, IPS.far, 6, 4020);
    frame.set([sum >>> 8, sum & 255], 14 + 20 + 16);
    const [sent] = fabric.from('a', frame, {
      csumStart: 34,
      csumOffset: 16,
      gsoType: Gso.TCPV4,
      gsoSize: 1398,
    });
    expect(sent!.to).toBe('p');
    expect(sent!.raw).toMatchObject({ csumStart: 34, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1398 });
    expect(toHex(sent!.frame)).toBe(toHex(frame));
  });
});

describe('inner VLAN tags', () => {
  const tagged = (src: string, dst: string) =>
    ethernet({ src, dst, type: 0x8100 }, [0, 5, 0x08, 0x00, 1, 2, 3, 4]);

  it('V9: by default a tagged frame enters no tunnel', () => {
    const fabric = acquainted();
    expect(fabric.from('a', tagged(MACS.a, MACS.far))).toEqual([]);
    expect(fabric.drops()).toEqual({ INNER_VLAN: 1 });
  });

  it('V9: a tagged broadcast still reaches local ports', () => {
    const fabric = acquainted();
    const sent = fabric.from('a', tagged(MACS.a, 'ff:ff:ff:ff:ff:ff'));
    expect(sent.map((s) => s.to).sort()).toEqual(['b', 'c']);
  });

  it('V9: with innerVlan pass the tag is carried', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'network', network: network({ innerVlan: 'pass' }) }]);
    acquainted(fabric);
    const frame = tagged(MACS.a, MACS.far);
    const [sent] = fabric.from('a', frame);
    expect(toHex(sent!.frame)).toBe(toHex(frame));
  });
});

describe('sizes', () => {
  const sized = (bytes: number, fragment = 0x4000) =>
    toFar(
      udp({ from: IPS.a, to: IPS.far, sport: 4, dport: 5, fragment, payload: new Array(bytes - 28).fill(1) }),
    );

  it('V15: a packet of exactly the overlay MTU enters the tunnel, one byte more does not', () => {
    const fabric = acquainted();
    expect(fabric.from('a', sized(1450)).map((s) => s.to)).toEqual(['p']);
    const [answer] = fabric.from('a', sized(1451));
    expect(answer!.to).toBe('a');
    expect(readIpv4(answer!.frame).icmp).toBe('3/4');
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
  });

  it('V17: a smaller path towards one peer is answered with that size, and only there', () => {
    const fabric = acquainted();
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { pathMtu: 1300 }) }]);
    expect(fabric.from('a', sized(1300)).map((s) => s.to)).toEqual(['p']);
    const [answer] = fabric.from('a', sized(1301));
    const error = readIpv4(answer!.frame);
    expect(answer!.to).toBe('a');
    expect(error).toMatchObject({
      icmp: '3/4',
      from: IPS.gateway,
      to: IPS.a,
      dst: MACS.a,
      src: MACS.gateway,
    });
    expect([...error.body.subarray(4, 8)]).toEqual([0, 0, 1300 >> 8, 1300 & 255]);
    fabric.fromPeer(
      'q',
      arp({ op: 'request', senderMac: MACS.other, senderIp: IPS.other, targetIp: IPS.other }),
    );
    const toOther = ethernet({ src: MACS.a, dst: MACS.other }, sized(1450).subarray(14));
    expect(fabric.from('a', toOther).map((s) => s.to)).toEqual(['q']);
  });

  it('V17: a bridged packet without DF that does not fit is dropped in silence', () => {
    const fabric = acquainted();
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { pathMtu: 1300 }) }]);
    expect(fabric.from('a', sized(1301, 0))).toEqual([]);
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
  });

  it('V17: a path that recovers is used in full again', () => {
    const fabric = acquainted();
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { pathMtu: 1300 }) }]);
    fabric.from('a', sized(1400));
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { pathMtu: 0 }) }]);
    expect(fabric.from('a', sized(1450)).map((s) => s.to)).toEqual(['p']);
  });

  it('V17: a super-frame is judged by its segments', () => {
    const fabric = acquainted();
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { pathMtu: 1300 }) }]);
    const frame = toFar(
      tcp({ from: IPS.a, to: IPS.far, sport: 1, dport: 2, flags: 'A', payload: new Array(9000).fill(7) }),
    );
    const offload = { csumStart: 34, csumOffset: 16, gsoType: Gso.TCPV4 };
    expect(fabric.from('a', frame, { ...offload, gsoSize: 1260 }).map((s) => s.to)).toEqual(['p']);
    const [answer] = fabric.from('a', frame, { ...offload, gsoSize: 1261 });
    expect(readIpv4(answer!.frame)).toMatchObject({ icmp: '3/4', to: IPS.a });
  });

  it('V18: a live MTU change applies to the next frame and forgets nothing', () => {
    const fabric = acquainted();
    fabric.dataplane.apply([{ op: 'network', network: network({ mtu: 1430 }) }]);
    expect(readIpv4(fabric.from('a', sized(1431))[0]!.frame).icmp).toBe('3/4');
    expect(fabric.from('a', sized(1430)).map((s) => s.to)).toEqual(['p']);
    fabric.dataplane.apply([{ op: 'network', network: network({ mtu: 8950 }) }]);
    expect(fabric.from('a', sized(8950)).map((s) => s.to)).toEqual(['p']);
  });

  it('B20: a port of a smaller MTU than the network gets no longer frames', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'port', port: port('b', { mtu: 1400 }) }]);
    fabric.wait(4000);
    const toB = (bytes: number) =>
      ethernet(
        { src: MACS.a, dst: MACS.b },
        udp({ from: IPS.a, to: IPS.b, sport: 1, dport: 2, payload: new Array(bytes - 28).fill(0) }),
      );
    expect(fabric.from('a', toB(1400)).map((s) => s.to)).toEqual(['b']);
    const [answer] = fabric.from('a', toB(1401));
    expect(answer!.to).toBe('a');
    expect([...readIpv4(answer!.frame).body.subarray(6, 8)]).toEqual([1400 >> 8, 1400 & 255]);
  });
});

describe('replication', () => {
  const broadcast = ethernet({ src: MACS.a, dst: 'ff:ff:ff:ff:ff:ff', type: 0x88b5 }, [1, 2, 3]);
  const unknown = ethernet(
    { src: MACS.a, dst: '02:00:00:00:09:09' },
    udp({ from: IPS.a, to: '10.77.0.99', sport: 1, dport: 2 }),
  );

  it('V30: one copy per flood peer, whatever number of addresses it has', () => {
    const fabric = new Fabric();
    const addresses = [address4(PEER_ADDRESSES.p), address4('192.0.2.12'), address4('192.0.2.13')];
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { addresses }) }]);
    expect(
      fabric
        .from('a', broadcast)
        .map((s) => s.to)
        .sort(),
    ).toEqual(['b', 'c', 'p', 'q']);
    expect(
      fabric
        .from('a', unknown)
        .map((s) => s.to)
        .sort(),
    ).toEqual(['b', 'c', 'p', 'q']);
  });

  it('V30: a peer that is no flood member gets known unicast only', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { flood: false }) }]);
    expect(
      fabric
        .from('a', broadcast)
        .map((s) => s.to)
        .sort(),
    ).toEqual(['b', 'c', 'q']);
    acquainted(fabric);
    expect(fabric.from('a', flow(1)).map((s) => s.to)).toEqual(['p']);
  });

  it('V30: a peer that cannot be reached costs the others nothing', () => {
    const fabric = new Fabric();
    fabric.status.set('p', 1);
    expect(
      fabric
        .from('a', broadcast)
        .map((s) => s.to)
        .sort(),
    ).toEqual(['b', 'c', 'q']);
    expect(fabric.drops()).toEqual({});
  });

  it('V31: what came from a tunnel goes into none: flooded, unknown or known behind another peer', () => {
    const fabric = acquainted();
    fabric.fromPeer(
      'q',
      ethernet({ src: MACS.other, dst: MACS.a }, udp({ from: IPS.other, to: IPS.a, sport: 1, dport: 2 })),
    );
    const from = { src: MACS.far, type: 0x88b5 };
    const flooded = fabric.fromPeer('p', ethernet({ ...from, dst: 'ff:ff:ff:ff:ff:ff' }, [1]));
    expect(flooded.map((s) => s.to).sort()).toEqual(['a', 'b', 'c']);
    const stray = fabric.fromPeer('p', ethernet({ ...from, dst: '02:00:00:00:09:09' }, [1]));
    expect(stray.map((s) => s.to).sort()).toEqual(['a', 'b', 'c']);
    expect(fabric.fromPeer('p', ethernet({ ...from, dst: MACS.other }, [1]))).toEqual([]);
    expect(fabric.drops()).toEqual({ REFLECTION: 1 });
  });

  it('V32: unknownUnicast drop keeps unknown unicast off every wire and leaves broadcast alone', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'network', network: network({ unknownUnicast: 'drop' }) }]);
    expect(fabric.from('a', unknown)).toEqual([]);
    expect(fabric.drops()).toEqual({ POLICY_FLOOD: 1 });
    expect(fabric.from('a', broadcast)).toHaveLength(4);
  });

  it('V32: with nobody to flood to the frame is dropped by name', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'remove-peer', id: peer('p').id }]);
    expect(fabric.from('r', ethernet({ src: MACS.r, dst: MACS.far }, [1]))).toEqual([]);
    expect(fabric.drops()).toEqual({ NO_RECEIVER: 1 });
  });

  it('V33: N frames to an unknown address arrive exactly N times at every member', () => {
    const fabric = new Fabric();
    fabric.status.set('q', 2);
    const counts: Record<string, number> = {};
    for (let i = 0; i < 50; i++) {
      for (const { to } of fabric.from('a', unknown)) counts[to] = (counts[to] ?? 0) + 1;
    }
    expect(counts).toEqual({ b: 50, c: 50, p: 50 });
  });

  it('B17, V30: a flood stays in its network and with the peers of that network', () => {
    const fabric = new Fabric();
    const sent = fabric.from(
      'r',
      ethernet({ src: MACS.r, dst: 'ff:ff:ff:ff:ff:ff' }, echoRequest(IPS.a, '10.77.0.255')),
    );
    expect(sent.map((s) => [s.to, s.vni])).toEqual([['p', 43]]);
  });
});
