import { describe, expect, it } from 'vitest';
import { ARP_FRAME_BYTES, ARP_REPLY, ARP_REQUEST, Arp, isEthernetArp, writeArp } from '../../src/wire/arp.ts';
import {
  EtherType,
  isBroadcast,
  isReservedGroup,
  isValidSource,
  writeEthernet,
} from '../../src/wire/ethernet.ts';
import { isIcmpError } from '../../src/wire/icmp.ts';
import { decrementTtl, Ipv4, setTos, writeIpv4 } from '../../src/wire/ipv4.ts';
import { Ipv6, setTrafficClass, trafficClass } from '../../src/wire/ipv6.ts';
import { Tcp, TcpFlag } from '../../src/wire/tcp.ts';
import { Udp } from '../../src/wire/udp.ts';
import { VXLAN_FLAGS, VXLAN_RESERVED_FLAGS, writeVxlan } from '../../src/wire/vxlan.ts';
import { macOf } from '../fabric.ts';
import { arp, ethernet, hex, internetChecksum, ip4, ip6, ipv4, ipv6, tcp, toHex, udp } from '../frames.ts';

const viewOf = (bytes: ArrayLike<number>) => new DataView(Uint8Array.from(bytes).buffer);
const written = (length: number, write: (view: DataView) => void) => {
  const view = new DataView(new ArrayBuffer(length + 4));
  write(view);
  expect(view.getUint16(0)).toBe(0);
  expect(view.getUint16(length + 2)).toBe(0);
  return toHex(new Uint8Array(view.buffer, 2, length));
};
const word = (text: string) => viewOf(ip4(text)).getInt32(0);

describe('Ethernet', () => {
  it('B1: which sources are valid', () => {
    const valid = (text: string) => isValidSource(macOf(text).hi, macOf(text).lo);
    for (const text of ['02:00:00:00:00:01', 'fe:ff:ff:ff:ff:ff', '00:00:00:00:00:01', '00:01:00:00:00:00']) {
      expect(valid(text), text).toBe(true);
    }
    for (const text of [
      '00:00:00:00:00:00',
      '01:00:00:00:00:01',
      '03:00:00:00:00:01',
      'ff:ff:ff:ff:ff:ff',
      '33:33:00:00:00:01',
    ]) {
      expect(valid(text), text).toBe(false);
    }
  });

  it('B22: the sixteen reserved groups and no other', () => {
    const reserved = (text: string) => isReservedGroup(macOf(text).hi, macOf(text).lo);
    for (let i = 0; i < 16; i++) expect(reserved(`01:80:c2:00:00:0${i.toString(16)}`)).toBe(true);
    for (const text of [
      '01:80:c2:00:00:10',
      '01:80:c2:00:01:00',
      '01:80:c3:00:00:00',
      '01:00:5e:00:00:01',
      '00:80:c2:00:00:00',
    ]) {
      expect(reserved(text), text).toBe(false);
    }
  });

  it('B16: broadcast is all ones', () => {
    expect(isBroadcast(0xffff, -1)).toBe(true);
    expect(isBroadcast(0xffff, -2)).toBe(false);
    expect(isBroadcast(0xfffe, -1)).toBe(false);
  });

  it('B19: a header is written whole', () => {
    const [dst, src] = [macOf('ff:fe:fd:fc:fb:fa'), macOf('82:81:80:01:02:03')];
    expect(
      written(14, (view) => writeEthernet(view, 2, dst.hi, dst.lo, src.hi, src.lo, EtherType.IPV6)),
    ).toBe(toHex(ethernet({ dst: 'ff:fe:fd:fc:fb:fa', src: '82:81:80:01:02:03', type: 0x86dd })));
  });
});

describe('ARP', () => {
  const sender = { senderMac: '82:00:00:00:00:0a', senderIp: '203.0.113.9' };
  it.each([
    ['request', ARP_REQUEST],
    ['reply', ARP_REPLY],
  ] as const)('A16: a %s is written as RFC 826 lays it out', (op, operation) => {
    const targetMac = 'fe:ff:00:00:00:0b';
    const [s, t] = [macOf(sender.senderMac), macOf(targetMac)];
    const bytes = written(ARP_FRAME_BYTES, (view) =>
      writeArp(
        view,
        2,
        operation,
        t.hi,
        t.lo,
        s.hi,
        s.lo,
        word(sender.senderIp),
        t.hi,
        t.lo,
        word('255.0.0.1'),
      ),
    );
    expect(bytes).toBe(toHex(arp({ op, ...sender, targetMac, targetIp: '255.0.0.1', dst: targetMac })));
  });

  it('A1: only hrd 1, pro 0x0800, hln 6, pln 4, op 1 or 2', () => {
    const frame = arp({ op: 'request', ...sender, targetIp: '10.0.0.1' });
    const is = (at: number, value: number) =>
      isEthernetArp(viewOf(frame.slice().fill(value, at, at + 1)), 14);
    expect(isEthernetArp(viewOf(frame), 14)).toBe(true);
    expect(is(21, 2)).toBe(true);
    for (const [at, value] of [
      [14, 1],
      [15, 6],
      [16, 9],
      [17, 6],
      [18, 8],
      [19, 16],
      [20, 1],
      [21, 0],
      [21, 3],
      [21, 255],
    ] as const) {
      expect(is(at, value), `${at}=${value}`).toBe(false);
    }
  });

  it('A11: the offsets are those of a real frame', () => {
    const view = viewOf(
      arp({ op: 'reply', ...sender, targetMac: '02:00:00:00:00:0b', targetIp: '10.1.2.3' }),
    );
    expect(view.getUint16(14 + Arp.OPERATION)).toBe(2);
    expect(view.getInt32(14 + Arp.SENDER_IP)).toBe(word('203.0.113.9'));
    expect(view.getInt32(14 + Arp.TARGET_IP)).toBe(word('10.1.2.3'));
    expect(view.getUint16(14 + Arp.SENDER_MAC)).toBe(0x8200);
    expect(view.getUint16(14 + Arp.TARGET_MAC)).toBe(0x0200);
  });
});

describe('VXLAN', () => {
  it.each([1, 42, 0x800000, 0xffffff])('V1, V2: VNI %i', (vni) => {
    expect(written(8, (view) => writeVxlan(view, 2, vni))).toBe(
      `08000000${vni.toString(16).padStart(6, '0')}00`,
    );
  });

  it('V1, V23: flag and reserved bits divide the first word', () => {
    expect(VXLAN_FLAGS).toBe(0x08000000);
    expect(VXLAN_FLAGS & VXLAN_RESERVED_FLAGS).toBe(0);
    expect(VXLAN_FLAGS | VXLAN_RESERVED_FLAGS).toBe(-1);
  });
});

describe('IPv4', () => {
  it('N8, N43: a header is written with a right checksum', () => {
    const bytes = written(20, (view) => writeIpv4(view, 2, 1450, 17, word('203.0.113.9'), word('255.1.2.3')));
    expect(bytes).toBe(
      toHex(
        Uint8Array.from(
          ipv4({ from: '203.0.113.9', to: '255.1.2.3', protocol: 17 }, new Array(1430).fill(0)).slice(0, 20),
        ),
      ),
    );
  });

  it('N7: every TTL above zero goes down by one with a right checksum', () => {
    for (let ttl = 1; ttl < 256; ttl++) {
      const packet = ipv4({ from: '10.0.0.1', to: '10.0.0.2', protocol: 6, ttl, id: ttl * 257 }, []);
      const view = viewOf(packet);
      decrementTtl(view, 0);
      expect(view.getUint8(Ipv4.TTL)).toBe(ttl - 1);
      expect(view.getUint8(Ipv4.PROTOCOL)).toBe(6);
      expect(internetChecksum(new Uint8Array(view.buffer))).toBe(0);
    }
  });

  it('V12: TOS is set with a right checksum and nothing else changes', () => {
    for (let tos = 0; tos < 256; tos++) {
      const view = viewOf(ipv4({ from: '10.0.0.1', to: '10.0.0.2', protocol: 6, tos: 255 - tos }, []));
      setTos(view, 0, tos);
      expect(toHex(new Uint8Array(view.buffer))).toBe(
        toHex(Uint8Array.from(ipv4({ from: '10.0.0.1', to: '10.0.0.2', protocol: 6, tos }, []))),
      );
    }
  });

  it('N3: the offsets are those of real packets', () => {
    const view = viewOf(
      tcp({
        from: '1.2.3.4',
        to: '5.6.7.8',
        sport: 0x1122,
        dport: 0x3344,
        seq: 0x55667788,
        ack: 0x99aabbcc,
        flags: 'SA',
      }),
    );
    expect(view.getInt32(Ipv4.SOURCE)).toBe(0x01020304);
    expect(view.getInt32(Ipv4.DESTINATION)).toBe(0x05060708);
    expect(view.getUint16(Ipv4.TOTAL_LENGTH)).toBe(40);
    expect(view.getUint16(Ipv4.FRAGMENT)).toBe(0x4000);
    expect([view.getUint16(20 + Tcp.SOURCE_PORT), view.getUint16(20 + Tcp.DESTINATION_PORT)]).toEqual([
      0x1122, 0x3344,
    ]);
    expect(view.getUint32(20 + Tcp.SEQUENCE)).toBe(0x55667788);
    expect(view.getUint32(20 + Tcp.ACKNOWLEDGMENT)).toBe(0x99aabbcc);
    expect(view.getUint8(20 + Tcp.FLAGS)).toBe(TcpFlag.SYN | TcpFlag.ACK);
    expect(view.getUint16(20 + Tcp.WINDOW)).toBe(0xfaf0);
    const datagram = viewOf(udp({ from: '1.2.3.4', to: '5.6.7.8', sport: 1, dport: 2, payload: [] }));
    expect(
      [Udp.SOURCE_PORT, Udp.DESTINATION_PORT, Udp.LENGTH].map((at) => datagram.getUint16(20 + at)),
    ).toEqual([1, 2, 8]);
    expect(
      internetChecksum([
        ...ip4('1.2.3.4'),
        ...ip4('5.6.7.8'),
        0,
        17,
        0,
        8,
        ...new Uint8Array(datagram.buffer, 20),
      ]),
    ).toBe(0);
    expect(datagram.getUint16(20 + Udp.CHECKSUM)).not.toBe(0);
  });
});

describe('IPv6', () => {
  it('V12: the traffic class is read and written between version and flow label', () => {
    const bytes = ipv6({ from: 'fd00::1', to: 'fd00::2', protocol: 17, trafficClass: 0x5a }, []);
    bytes[1] = bytes[1]! | 0x0f;
    const view = viewOf(bytes);
    expect(trafficClass(view, 0)).toBe(0x5a);
    for (let value = 0; value < 256; value++) {
      setTrafficClass(view, 0, value);
      expect(trafficClass(view, 0)).toBe(value);
      expect(view.getUint8(0) >>> 4).toBe(6);
      expect(view.getUint8(1) & 15).toBe(15);
    }
  });

  it('N3: the offsets are those of a real packet', () => {
    const view = viewOf(ipv6({ from: 'fd00::1', to: 'fd00::2', protocol: 58, hopLimit: 255 }, [1, 2, 3]));
    expect([
      view.getUint16(Ipv6.PAYLOAD_LENGTH),
      view.getUint8(Ipv6.NEXT_HEADER),
      view.getUint8(Ipv6.HOP_LIMIT),
    ]).toEqual([3, 58, 255]);
    expect([...new Uint8Array(view.buffer, Ipv6.SOURCE, 16)]).toEqual(ip6('fd00::1'));
    expect([...new Uint8Array(view.buffer, Ipv6.DESTINATION, 16)]).toEqual(ip6('fd00::2'));
  });
});

describe('ICMP', () => {
  it('N9: which types are errors', () => {
    const errors = Array.from({ length: 256 }, (_, type) => type).filter(isIcmpError);
    expect(errors).toEqual([3, 4, 5, 11, 12]);
    expect(hex('0b00')[0]).toBe(11);
  });
});
