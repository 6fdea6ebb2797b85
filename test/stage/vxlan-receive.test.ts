import { describe, expect, it } from 'vitest';
import { Fault, Gso } from '../../src/card/layout.ts';
import { Global } from '../../src/telemetry/counters.ts';
import { address4, Fabric, IPS, MACS, network, PEER_ADDRESSES, peer, port } from '../fabric.ts';
import { arp, ethernet, ipv6, partialSum, readIpv4, tcp, toHex, udp, vxlan } from '../frames.ts';

const toA = (packet: ArrayLike<number>, type = 0x0800) =>
  ethernet({ src: MACS.far, dst: MACS.a, type }, packet);
const plain = toA(udp({ from: IPS.far, to: IPS.a, sport: 1, dport: 2 }));
const blue = (fabric: Fabric) =>
  fabric.dataplane.pipeline.bridge.fdbs[0]!.locate(0x0200, 0x00000101, fabric.dataplane.now);
const P = peer('p').id;
const Q = peer('q').id;

describe('what is accepted', () => {
  it('V8: the inner frame is delivered byte for byte', () => {
    const fabric = new Fabric();
    for (const frame of [
      plain,
      toA([], 0x88b5),
      toA([1, 2, 3], 0x0003),
      toA([...plain.subarray(14), 5, 5], 0x0800),
    ]) {
      const sent = fabric.fromPeer('p', frame);
      expect(sent.map((s) => [s.to, toHex(s.frame)])).toEqual([['a', toHex(frame)]]);
    }
  });

  it('V19: 22 bytes are the least; 21 are dropped', () => {
    const fabric = new Fabric();
    const shortest = vxlan({ vni: 42 }, toA([], 0x88b5));
    expect(shortest).toHaveLength(22);
    expect(fabric.fromUnderlay(PEER_ADDRESSES.p, shortest)).toHaveLength(1);
    for (const length of [0, 1, 7, 8, 21]) {
      expect(fabric.fromUnderlay(PEER_ADDRESSES.p, shortest.subarray(0, length))).toEqual([]);
    }
    expect(fabric.drops()).toEqual({ TUNNEL_SHORT: 5 });
  });

  it('V19: a datagram the card marks truncated is dropped', () => {
    const fabric = new Fabric();
    fabric.card.receive({
      device: 900,
      bytes: vxlan({ vni: 42 }, plain),
      remote: address4(PEER_ADDRESSES.p),
      fault: Fault.TRUNCATED,
    });
    expect(fabric.settle()).toEqual([]);
    expect(fabric.drops()).toEqual({ TRUNCATED: 1 });
  });

  it('V20: without the I flag nothing passes, whatever else is set', () => {
    const fabric = new Fabric();
    for (const flags of [0, 0xf7ffffff, 0x00080000]) {
      expect(fabric.fromUnderlay(PEER_ADDRESSES.p, vxlan({ vni: 42, flags }, plain))).toEqual([]);
    }
    expect(fabric.drops()).toEqual({ TUNNEL_FLAGS: 3 });
  });

  it('V21: an unknown VNI is dropped, its neighbours in number included', () => {
    const fabric = new Fabric();
    for (const vni of [0, 41, 44, 0x2a00, 0xffffff]) {
      expect(fabric.fromPeer('p', plain, { vni })).toEqual([]);
    }
    expect(fabric.drops()).toEqual({ UNKNOWN_VNI: 5 });
  });

  it('V21: a VNI configured on another port does not match', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'network', network: network({ underlay4: 901 }) }]);
    const datagram = vxlan({ vni: 42 }, plain);
    expect(fabric.fromUnderlay(PEER_ADDRESSES.p, datagram, 0, 900)).toEqual([]);
    expect(fabric.drops()).toEqual({ UNKNOWN_VNI: 1 });
    expect(fabric.fromUnderlay(PEER_ADDRESSES.p, datagram, 0, 901).map((s) => s.to)).toEqual(['a']);
  });

  it('V22: a stranger and this host itself are no peers, and teach nothing', () => {
    const fabric = new Fabric();
    for (const source of ['192.0.2.1', '192.0.2.99', '198.51.100.1']) {
      expect(fabric.fromPeer(source, plain)).toEqual([]);
    }
    expect(fabric.drops()).toEqual({ UNKNOWN_PEER: 3 });
    expect(blue(fabric)).toBe(-1);
  });

  it('V22: a peer of one network is a stranger to another', () => {
    const fabric = new Fabric();
    expect(fabric.fromPeer('q', ethernet({ src: MACS.far, dst: MACS.r }, [1]), { vni: 43 })).toEqual([]);
    expect(fabric.drops()).toEqual({ UNKNOWN_PEER: 1 });
    expect(fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.r }, [1]), { vni: 43 })).toHaveLength(1);
  });

  it('V22: a refused datagram cannot move a known station', () => {
    const fabric = new Fabric();
    fabric.fromPeer('p', plain);
    fabric.fromPeer('192.0.2.99', plain);
    fabric.fromUnderlay(PEER_ADDRESSES.q, vxlan({ vni: 42, flags: 0 }, plain));
    expect(blue(fabric)).toBe(P);
  });

  it('V22: every address of a peer is that peer', () => {
    const fabric = new Fabric();
    const addresses = [address4(PEER_ADDRESSES.p), address4('192.0.2.12')];
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { addresses }) }]);
    expect(fabric.fromPeer('192.0.2.12', plain).map((s) => s.to)).toEqual(['a']);
    expect(blue(fabric)).toBe(P);
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.far }, [1])).map((s) => s.to)).toEqual(['p']);
  });

  it.each([
    ['first flag byte', { flags: 0x88000000 }],
    ['GBP word', { flags: 0x0840_1234 }],
    ['last byte', { reserved: 1 }],
  ])('V23: reserved bits in the %s are ignored but counted; strict drops them', (_, header) => {
    const fabric = new Fabric();
    const datagram = vxlan({ vni: 42, ...header }, plain);
    expect(fabric.fromUnderlay(PEER_ADDRESSES.p, datagram)).toHaveLength(1);
    expect(fabric.counters.globals[Global.RESERVED_BITS_SEEN]).toBe(1);
    fabric.dataplane.apply([{ op: 'network', network: network({ reservedBits: 'strict' }) }]);
    expect(fabric.fromUnderlay(PEER_ADDRESSES.p, datagram)).toEqual([]);
    expect(fabric.drops()).toEqual({ TUNNEL_RESERVED: 1 });
  });

  it('V23: strict takes a clean header', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'network', network: network({ reservedBits: 'strict' }) }]);
    expect(fabric.fromPeer('p', plain)).toHaveLength(1);
    expect(fabric.counters.globals[Global.RESERVED_BITS_SEEN]).toBe(0);
  });

  it('V9: a tagged inner frame is dropped by default and passes with innerVlan pass', () => {
    const fabric = new Fabric();
    const tagged = toA([0, 7, 8, 0, 1, 2], 0x8100);
    const double = toA([0, 7, 0x81, 0, 0, 8, 8, 0], 0x88a8);
    expect(fabric.fromPeer('p', tagged)).toEqual([]);
    expect(fabric.fromPeer('p', double)).toEqual([]);
    expect(fabric.drops()).toEqual({ INNER_VLAN: 2 });
    expect(blue(fabric)).toBe(-1);
    fabric.dataplane.apply([{ op: 'network', network: network({ innerVlan: 'pass' }) }]);
    expect(fabric.fromPeer('p', tagged).map((s) => toHex(s.frame))).toEqual([toHex(tagged)]);
  });

  it('V29: nothing that is refused is answered', () => {
    const fabric = new Fabric();
    const syn = toA(tcp({ from: IPS.far, to: IPS.a, sport: 1, dport: 2 }));
    const sent = [
      ...fabric.fromPeer('192.0.2.99', syn),
      ...fabric.fromPeer('p', syn, { vni: 4711 }),
      ...fabric.fromUnderlay(PEER_ADDRESSES.p, vxlan({ vni: 42, flags: 0 }, syn)),
      ...fabric.fromUnderlay(PEER_ADDRESSES.p, new Uint8Array(3)),
      ...fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.gateway }, syn.subarray(14))),
    ];
    expect(sent).toEqual([]);
  });
});

describe('learning from tunnels', () => {
  it('V28, B6: a station follows its last sender from peer to peer and to a port', () => {
    const fabric = new Fabric();
    fabric.fromPeer('p', plain);
    expect(blue(fabric)).toBe(P);
    fabric.fromPeer('q', plain);
    expect(blue(fabric)).toBe(Q);
    fabric.from('b', ethernet({ src: MACS.far, dst: MACS.a }, [1]));
    expect(blue(fabric)).toBe(3);
    expect(fabric.counters.globals[Global.MAC_MOVES]).toBe(2);
  });

  it('V28: a peer keeps its stations when its address changes', () => {
    const fabric = new Fabric();
    fabric.fromPeer('p', plain);
    const address = address4('192.0.2.3');
    fabric.dataplane.apply([
      { op: 'remove-peer', id: Q },
      {
        op: 'peer',
        peer: peer('p', {
          addresses: [address],
          memberships: [{ network: 0, remote: 0, address, port: 4789 }],
        }),
      },
    ]);
    const [sent] = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.far }, [1]));
    expect(sent!.raw.remote).toEqual(address);
    expect(fabric.fromPeer('192.0.2.2', plain)).toEqual([]);
  });

  it('V28: a removed peer loses its stations at once; the next frame is flooded to the rest', () => {
    const fabric = new Fabric();
    fabric.fromPeer('p', plain);
    fabric.dataplane.apply([{ op: 'remove-peer', id: P }]);
    expect(blue(fabric)).toBe(-1);
    const sent = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.far }, [1]));
    expect(sent.map((s) => s.to).sort()).toEqual(['b', 'c', 'q']);
  });

  it('V28: a peer that leaves one network keeps its stations of the other', () => {
    const fabric = new Fabric();
    fabric.fromPeer('p', plain);
    fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.r }, [1]), { vni: 43 });
    const [first] = peer('p').memberships;
    fabric.dataplane.apply([{ op: 'peer', peer: peer('p', { memberships: [first!] }) }]);
    expect(blue(fabric)).toBe(P);
    expect(fabric.dataplane.pipeline.bridge.fdbs[1]!.locate(0x0200, 0x101, fabric.dataplane.now)).toBe(-1);
  });

  it('B8: the address of a local port or of this router from a tunnel is a loop', () => {
    const fabric = new Fabric();
    for (const src of [MACS.b, MACS.gateway, MACS.router]) {
      expect(fabric.fromPeer('p', ethernet({ src, dst: MACS.a }, [1]))).toEqual([]);
    }
    expect(fabric.drops()).toEqual({ LOOP: 3 });
  });

  it('V22, A3: ARP for or from the gateway address does not cross tunnels', () => {
    const fabric = new Fabric();
    const sender = { senderMac: MACS.far, senderIp: IPS.far };
    expect(fabric.fromPeer('p', arp({ op: 'request', ...sender, targetIp: IPS.gateway }))).toEqual([]);
    expect(
      fabric.fromPeer(
        'p',
        arp({ op: 'request', senderMac: MACS.far, senderIp: IPS.gateway, targetIp: IPS.a }),
      ),
    ).toEqual([]);
    expect(fabric.drops()).toEqual({ GATEWAY_FROM_TUNNEL: 1, SPOOF_GATEWAY: 1 });
  });
});

describe('a kernel peer’s unfinished frames', () => {
  const MSS = 1450 - 40;
  const superFrame = (payload: number, mutate: (frame: Uint8Array) => void = () => {}) => {
    const frame = toA(
      tcp({
        from: IPS.far,
        to: IPS.a,
        sport: 80,
        dport: 4000,
        flags: 'A',
        payload: new Array(payload).fill(0x55),
      }),
    );
    const sum = partialSum(IPS.far, IPS.a, 6, payload + 20);
    frame.set([sum >>> 8, sum & 255], 50);
    mutate(frame);
    return frame;
  };

  it('V26: a datagram above the MTU without a marker is a super-frame with a partial checksum', () => {
    const fabric = new Fabric();
    const frame = superFrame(40_000);
    const [sent] = fabric.fromPeer('p', frame);
    expect(sent!.to).toBe('a');
    expect(sent!.raw).toMatchObject({ gsoType: Gso.TCPV4, gsoSize: MSS, csumStart: 34, csumOffset: 16 });
    expect(toHex(sent!.frame)).toBe(toHex(frame));
  });

  it('V26: TCP options count towards the segment size', () => {
    const fabric = new Fabric();
    const segment = [...tcp({ from: IPS.far, to: IPS.a, sport: 80, dport: 4000, flags: 'A' }).slice(20)];
    segment[12] = 0x80;
    segment.push(...new Array(12).fill(1), ...new Array(5000).fill(2));
    const packet = [
      ...tcp({
        from: IPS.far,
        to: IPS.a,
        sport: 80,
        dport: 4000,
        payload: new Array(segment.length - 20).fill(0),
      }).slice(0, 20),
      ...segment,
    ];
    const sum = partialSum(IPS.far, IPS.a, 6, segment.length);
    packet.splice(36, 2, sum >>> 8, sum & 255);
    const [sent] = fabric.fromPeer('p', toA(packet));
    expect(sent!.raw).toMatchObject({ gsoType: Gso.TCPV4, gsoSize: MSS - 12 });
  });

  it('V26: over IPv6 alike', () => {
    const fabric = new Fabric();
    const length = 20 + 6000;
    const segment = [
      0,
      80,
      0x0f,
      0xa0,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      1,
      0x50,
      0x10,
      1,
      0,
      0,
      0,
      0,
      0,
      ...new Array(6000).fill(3),
    ];
    const packet = ipv6({ from: 'fd00::2', to: 'fd00::1', protocol: 6 }, segment);
    let sum = length + 6;
    for (let i = 8; i < 40; i += 2) sum += (packet[i]! << 8) | packet[i + 1]!;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    packet.splice(40 + 16, 2, sum >>> 8, sum & 255);
    const [sent] = fabric.fromPeer('p', toA(packet, 0x86dd));
    expect(sent!.raw).toMatchObject({
      gsoType: Gso.TCPV6,
      gsoSize: 1450 - 60,
      csumStart: 54,
      csumOffset: 16,
    });
  });

  it.each([
    ['bytes behind the packet', (frame: Uint8Array) => Uint8Array.from([...frame, 0])],
    ['a TCP header shorter than TCP', (frame: Uint8Array) => frame.with(46, 0x40)],
  ])('V26: %s makes an oversized frame no super-frame', (_, mutate) => {
    const fabric = new Fabric();
    expect(fabric.fromPeer('p', mutate(superFrame(5000)))).toEqual([]);
    expect(fabric.drops()).toEqual({ BAD_OFFLOAD: 1 });
  });

  it('V16, V26: with a complete checksum it is one large packet, whose sender is told what fits', () => {
    const fabric = new Fabric();
    const frame = superFrame(1460);
    const sent = fabric.fromPeer('p', frame.with(50, frame[50]! ^ 1));
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
    expect(sent.map(({ to }) => to)).toEqual(['p']);
    expect(readIpv4(sent[0]!.frame).icmp).toBe('3/4');
  });

  it('V26, B20: one that fits the overlay but not its port is cut for the port', () => {
    const small = port('a', { mtu: 1300 });
    const fabric = new Fabric([...Fabric.standing(), { op: 'port', port: small }]);
    const [fits] = fabric.fromPeer('p', superFrame(1260));
    expect(fits!.raw).toMatchObject({ gsoType: 0, gsoSize: 0, csumStart: 34 });
    const frame = superFrame(1261);
    const [sent] = fabric.fromPeer('p', frame);
    expect(sent!.raw).toMatchObject({ gsoType: Gso.TCPV4, gsoSize: 1260, csumStart: 34, csumOffset: 16 });
    expect(toHex(sent!.frame)).toBe(toHex(frame));
    // complete: one packet, whose sender must learn the size
    fabric.fromPeer('p', frame.with(50, frame[50]! ^ 1));
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
  });

  it('V26: small TCP and UDP frames with a partial checksum are marked so', () => {
    const fabric = new Fabric();
    const [small] = fabric.fromPeer('p', superFrame(10));
    expect(small!.raw).toMatchObject({ gsoType: 0, gsoSize: 0, csumStart: 34, csumOffset: 16 });
    const datagram = toA(udp({ from: IPS.far, to: IPS.a, sport: 1, dport: 2 }));
    const sum = partialSum(IPS.far, IPS.a, 17, 12);
    datagram.set([sum >>> 8, sum & 255], 40);
    const [sent] = fabric.fromPeer('p', datagram);
    expect(sent!.raw).toMatchObject({ gsoType: 0, csumStart: 34, csumOffset: 6 });
  });

  it('V26: complete checksums are left complete, wrong ones wrong', () => {
    const fabric = new Fabric();
    const frame = toA(
      tcp({ from: IPS.far, to: IPS.a, sport: 80, dport: 4000, flags: 'A', payload: [1, 2, 3] }),
    );
    expect(fabric.fromPeer('p', frame)[0]!.raw).toMatchObject({ csumStart: 0, gsoType: 0 });
    frame[50]! ^= 0x40;
    const [sent] = fabric.fromPeer('p', frame);
    expect(sent!.raw).toMatchObject({ csumStart: 0, gsoType: 0 });
    expect(toHex(sent!.frame)).toBe(toHex(frame));
  });

  it('V26, N44: Ethernet padding behind a small packet is not part of its sum', () => {
    const fabric = new Fabric();
    const frame = Uint8Array.from([...superFrame(1), 0, 0, 0, 0, 0]);
    expect(fabric.fromPeer('p', frame)[0]!.raw).toMatchObject({ csumStart: 34, csumOffset: 16 });
  });

  it('V12, V26: a congestion mark reaches a super-frame’s header', () => {
    const fabric = new Fabric();
    const frame = superFrame(40_000);
    frame[15] = 2;
    const [sent] = fabric.fromPeer('p', frame, { tos: 3 });
    expect(readIpv4(sent!.frame).tos).toBe(3);
    expect(sent!.raw.gsoSize).toBe(MSS);
  });
});
