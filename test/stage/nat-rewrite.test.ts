import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { Gso } from '../../src/card/layout.ts';
import { address4, Fabric, IPS, MACS, type Sent, service } from '../fabric.ts';
import { checksumsAreRight, ethernet, ip4, ipv4, partialSum, readIpv4, tcp, toHex, udp } from '../frames.ts';

const VIP = '10.96.0.10';
const DEVICES: Record<string, string> = { a: MACS.a, b: MACS.b };

let fabric: Fabric;
let port = 1024;
beforeAll(() => {
  fabric = new Fabric();
  const backends = [{ address: address4(IPS.b), port: 8080 }];
  fabric.dataplane.apply([
    { op: 'service', service: service({ backends }) },
    { op: 'service', service: service({ id: 1, name: 'default/shop:udp', protocol: 17, backends }) },
    {
      op: 'service',
      service: service({
        id: 2,
        name: 'default/self:tcp',
        vip: address4('10.96.0.20'),
        backends: [{ address: address4(IPS.a), port: 8080 }],
      }),
    },
    {
      op: 'service',
      service: service({
        id: 3,
        name: 'default/self:udp',
        vip: address4('10.96.0.20'),
        protocol: 17,
        backends: [{ address: address4(IPS.a), port: 8080 }],
      }),
    },
  ]);
});

const toVip = (packet: ArrayLike<number>, offload = {}): Sent =>
  fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, packet), offload)[0]!;
const back = (packet: ArrayLike<number>, offload = {}): Sent =>
  fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, packet), offload)[0]!;
const ends = (sport: number) => ({ from: IPS.a, to: VIP, sport, dport: 80 });
const replyEnds = (dport: number) => ({ from: IPS.b, to: IPS.a, sport: 8080, dport });

describe('complete checksums', () => {
  it('N40, N43: whatever a packet carries, both directions leave with right sums and nothing else changed', () => {
    const payload = fc.uint8Array({ minLength: 0, maxLength: 70 });
    fc.assert(
      fc.property(payload, fc.boolean(), fc.nat(0xffffffff), (bytes, isTcp, seq) => {
        const sport = ++port;
        const make = (e: ReturnType<typeof ends>, flags: string) =>
          isTcp
            ? tcp({ ...e, flags, seq, ack: (seq + 1) >>> 0, payload: bytes })
            : udp({ ...e, payload: bytes });
        const out = readIpv4(toVip(make(ends(sport), 'S')).frame);
        expect(out).toMatchObject({ from: IPS.a, to: IPS.b, sport, dport: 8080, ttl: 63 });
        expect(checksumsAreRight(out.packet)).toBe(true);
        const undone = readIpv4(back(make(replyEnds(sport), 'SA')).frame);
        expect(undone).toMatchObject({
          from: VIP,
          to: IPS.a,
          sport: 80,
          dport: sport,
          ttl: 64,
          seq: isTcp ? seq : 0,
        });
        expect(checksumsAreRight(undone.packet)).toBe(true);
        const header = isTcp ? 20 : 8;
        expect(toHex(out.body.subarray(header))).toBe(toHex(bytes));
        expect(toHex(undone.body.subarray(header))).toBe(toHex(bytes));
      }),
      { numRuns: 150 },
    );
  });

  it('N40: a wrong sum stays equally wrong', () => {
    for (const wrong of [1, 0x1234, 0x8000]) {
      const sport = ++port;
      const right = tcp({ ...ends(sport), payload: [1, 2, 3] });
      const bad = [...right];
      const field = ((right[36]! << 8) | right[37]!) ^ wrong;
      bad.splice(36, 2, field >>> 8, field & 255);
      const goodOut = readIpv4(toVip(right).frame).body;
      const badOut = readIpv4(toVip(bad).frame).body;
      const sum = (body: Uint8Array) => (body[16]! << 8) | body[17]!;
      // Both travelled the same delta: in one's complement the error is what it was.
      const error = (a: number, b: number) => (a - b + 0xffff) % 0xffff;
      expect(error(sum(badOut), sum(goodOut))).toBe(error(field, (right[36]! << 8) | right[37]!));
      expect(sum(badOut)).not.toBe(sum(goodOut));
    }
  });

  it('N40: a wrong IPv4 header sum is not repaired either, where a reply is bridged', () => {
    const sport = ++port;
    toVip(udp(ends(sport)));
    const packet = udp(replyEnds(sport));
    packet[10] = packet[10]! ^ 0x5a;
    const out = readIpv4(back(packet).frame);
    expect([out.from, checksumsAreRight(out.packet)]).toEqual([VIP, false]);
  });

  it('N41: a UDP sum of 0 stays 0 in both directions', () => {
    const sport = ++port;
    const none = (packet: number[]) => packet.with(26, 0).with(27, 0);
    expect([...readIpv4(toVip(none(udp(ends(sport)))).frame).body.subarray(6, 8)]).toEqual([0, 0]);
    expect([...readIpv4(back(none(udp(replyEnds(sport)))).frame).body.subarray(6, 8)]).toEqual([0, 0]);
  });

  it('N41: a computed 0 is sent as ffff; a TCP sum of 0 is just a sum', () => {
    const sport = ++port;
    // Choose the payload so that the sum after translation is zero.
    const bare = udp({ from: IPS.a, to: IPS.b, sport, dport: 8080, payload: [0, 0] });
    const out = readIpv4(toVip(udp({ ...ends(sport), payload: bare.slice(26, 28) })).frame);
    expect([...out.body.subarray(6, 8)]).toEqual([0xff, 0xff]);
    expect(checksumsAreRight(out.packet)).toBe(true);

    const port2 = ++port;
    const segment = tcp({ from: IPS.a, to: IPS.b, sport: port2, dport: 8080, payload: [0, 0] });
    const out2 = readIpv4(toVip(tcp({ ...ends(port2), payload: segment.slice(36, 38) })).frame);
    expect(checksumsAreRight(out2.packet)).toBe(true);
    expect([...out2.body.subarray(16, 18)]).toEqual([0, 0]);
  });

  it('N44: Ethernet padding is neither summed nor touched', () => {
    const sport = ++port;
    const frame = Uint8Array.from([...udp({ ...ends(sport), payload: [7] }), 0xde, 0xad, 0xbe, 0xef, 1]);
    const sent = toVip(frame);
    expect(checksumsAreRight(readIpv4(sent.frame).packet)).toBe(true);
    expect(toHex(sent.frame.subarray(-5))).toBe('deadbeef01');
  });

  it('N39: IP options are kept in front of the ports', () => {
    const plain = tcp(ends(++port));
    const packet = [
      0x46,
      ...plain.slice(1, 3),
      44,
      ...plain.slice(4, 10),
      0,
      0,
      ...plain.slice(12, 20),
      1,
      1,
      1,
      0,
      ...plain.slice(20),
    ];
    let sum = 0;
    for (let i = 0; i < 24; i += 2) sum += (packet[i]! << 8) | packet[i + 1]!;
    sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
    packet.splice(10, 2, sum >>> 8, sum & 255);
    const { frame } = toVip(packet);
    const out = frame.subarray(14);
    expect(checksumsAreRight(out)).toBe(true);
    expect([...out.subarray(16, 24)]).toEqual([...ip4(IPS.b), 1, 1, 1, 0]);
    expect((out[26]! << 8) | out[27]!).toBe(8080);
  });
});

describe('partial checksums', () => {
  const offloadOf = (isTcp: boolean) => ({ csumStart: 34, csumOffset: isTcp ? 16 : 6 });

  it.each([
    ['TCP', true, 0],
    ['TCP', true, 999],
    ['UDP', false, 12],
  ] as const)('N42: a partial %s sum follows the addresses, never the ports', (_, isTcp, size) => {
    const sport = ++port;
    const payload = new Array(size).fill(3);
    const at = isTcp ? 36 : 26;
    const length = size + (isTcp ? 20 : 8);
    const partial = (packet: number[], from: string, to: string) => {
      const sum = partialSum(from, to, isTcp ? 6 : 17, length);
      return packet.with(at, sum >>> 8).with(at + 1, sum & 255);
    };
    const make = (e: ReturnType<typeof ends>, flags: string) =>
      isTcp ? tcp({ ...e, flags, payload }) : udp({ ...e, payload });
    const out = toVip(partial(make(ends(sport), 'S'), IPS.a, VIP), offloadOf(isTcp));
    const field = (sent: Sent) => (sent.frame[14 + at]! << 8) | sent.frame[15 + at]!;
    expect(field(out)).toBe(partialSum(IPS.a, IPS.b, isTcp ? 6 : 17, length));
    expect(out.raw).toMatchObject(offloadOf(isTcp));
    const undone = back(partial(make(replyEnds(sport), 'SA'), IPS.b, IPS.a), offloadOf(isTcp));
    expect(field(undone)).toBe(partialSum(VIP, IPS.a, isTcp ? 6 : 17, length));
  });

  it('N42: a partial UDP sum of 0 is a sum like any other', () => {
    // With source, destination and length that add up to a multiple of 0xffff the field reads 0xffff or 0.
    const sport = ++port;
    const packet = udp({ ...ends(sport), payload: [] })
      .with(26, 0)
      .with(27, 0);
    const out = toVip(packet, offloadOf(false));
    expect((out.frame[40]! << 8) | out.frame[41]!).not.toBe(0);
  });

  it('N42: one rewrite covers a whole super-frame, offload metadata unchanged', () => {
    const sport = ++port;
    const payload = new Array(5000).fill(1);
    toVip(tcp(ends(sport)));
    const sum = partialSum(IPS.a, VIP, 6, 5020);
    const packet = tcp({ ...ends(sport), flags: 'S', payload })
      .with(36, sum >>> 8)
      .with(37, sum & 255);
    const offload = { csumStart: 34, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1398 };
    const out = toVip(packet, offload);
    expect(out.raw).toMatchObject(offload);
    expect((out.frame[50]! << 8) | out.frame[51]!).toBe(partialSum(IPS.a, IPS.b, 6, 5020));
  });
});

describe('hairpin', () => {
  it.each(['TCP', 'UDP'])(
    'N31: a %s client that is its own backend talks to the gateway address, and never sees it',
    (name) => {
      const sport = ++port;
      const isTcp = name === 'TCP';
      const SELF = '10.96.0.20';
      const request = { from: IPS.a, to: SELF, sport, dport: 80, payload: [1, 2, 3] };
      const there = fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, isTcp ? tcp(request) : udp(request)),
      );
      expect(there.map((s) => s.to)).toEqual(['a']);
      const arrived = readIpv4(there[0]!.frame);
      expect(arrived).toMatchObject({
        from: IPS.gateway,
        to: IPS.a,
        sport,
        dport: 8080,
        dst: MACS.a,
        src: MACS.gateway,
      });
      expect(checksumsAreRight(arrived.packet)).toBe(true);
      const reply = { from: IPS.a, to: IPS.gateway, sport: 8080, dport: sport, flags: 'SA', payload: [4, 5] };
      const { flags: _flags, ...datagram } = reply;
      const here = fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, isTcp ? tcp(reply) : udp(datagram)),
      );
      expect(here.map((s) => s.to)).toEqual(['a']);
      const undone = readIpv4(here[0]!.frame);
      expect(undone).toMatchObject({ from: SELF, to: IPS.a, sport: 80, dport: sport, dst: MACS.a });
      expect(checksumsAreRight(undone.packet)).toBe(true);
    },
  );

  it('N31: another client of the same backend keeps its own address', () => {
    const sport = ++port;
    const packet = tcp({ from: IPS.b, to: '10.96.0.20', sport, dport: 80 });
    const [sent] = fabric.from('b', ethernet({ src: DEVICES.b!, dst: MACS.gateway }, packet));
    expect([sent!.to, readIpv4(sent!.frame).from]).toEqual(['a', IPS.b]);
  });

  it('N31: a datagram to oneself that does not fit is quoted as it was sent', () => {
    const sport = ++port;
    const packet = udp({ from: IPS.a, to: '10.96.0.20', sport, dport: 80, payload: new Array(1500).fill(1) });
    const [error] = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, packet));
    const { icmp, body } = readIpv4(error!.frame);
    expect(icmp).toBe('3/4');
    expect(readIpv4(Uint8Array.from([...new Uint8Array(14), ...body.subarray(8)]))).toMatchObject({
      from: IPS.a,
      to: '10.96.0.20',
      sport,
      dport: 80,
    });
  });
});

describe('what cannot be translated', () => {
  it('N36, S15: fragments of other protocols to a VIP are dropped by name; fragments for others pass', () => {
    const before = fabric.drops().FRAGMENT_TO_SERVICE ?? 0;
    const part = ipv4({ from: IPS.a, to: VIP, protocol: 47, fragment: 0x2000 }, [1, 2, 3, 4, 5, 6, 7, 8]);
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, part))).toEqual([]);
    expect(fabric.drops().FRAGMENT_TO_SERVICE).toBe(before + 1);
    const other = udp({ from: IPS.a, to: IPS.c, sport: 1, dport: 2, fragment: 0x2000 });
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, other)).map((s) => s.to)).toEqual([
      'c',
    ]);
    expect(
      fabric.from('a', ethernet({ src: MACS.a, dst: MACS.c }, other)).map((s) => toHex(s.frame.subarray(14))),
    ).toEqual([toHex(Uint8Array.from(other))]);
  });

  it('B21, N39: a TCP header cut short is bridged, but dropped when it addresses a VIP', () => {
    const whole = tcp(ends(++port));
    const cut = (to: string) => {
      const packet = tcp({ from: IPS.a, to, sport: 1, dport: 80 }).slice(0, 32);
      const sum = tcp({ from: IPS.a, to, sport: 1, dport: 80, payload: [] }).slice(10, 12);
      packet.splice(2, 2, 0, 32);
      const field = ((sum[0]! << 8) | sum[1]!) + 8;
      return packet.with(10, (field >>> 8) & 255).with(11, field & 255);
    };
    expect(whole).toHaveLength(40);
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, cut(VIP)))).toEqual([]);
    expect(fabric.drops().BAD_IP_HEADER).toBe(1);
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.b }, cut(IPS.b)))).toHaveLength(1);
  });
});
