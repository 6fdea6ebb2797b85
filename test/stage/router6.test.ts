/** The gateway in IPv6: routing, echo, errors, sizes (N7–N10, N34, N39). */
import { describe, expect, it } from 'vitest';
import { Gso } from '../../src/card/layout.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { MACS, peer, port, type Sent } from '../fabric.ts';
import { address6, dual, dualNetwork, dualPort, IPS6, names } from '../fabric6.ts';
import { ethernet, ipv6, toHex } from '../frames.ts';
import { advertisement, checksumIsRight6, echo6, hex6, icmp6, readIpv6, tcp6, udp6 } from '../frames6.ts';

const OUTSIDE = '2001:db8::1';
const routed = (packet: ArrayLike<number>, dst: string = MACS.gateway): Uint8Array =>
  ethernet({ src: MACS.a, dst, type: 0x86dd }, packet);
const bridged = (packet: ArrayLike<number>, dst: string = MACS.b): Uint8Array =>
  ethernet({ src: MACS.a, dst, type: 0x86dd }, packet);
const datagram = (to: string, more: object = {}): number[] =>
  udp6({ from: IPS6.a, to, sport: 1000, dport: 2000, ...more });
/** The error a test expects, checked as far as every error is the same. */
const errorOf = (sent: readonly Sent[]) => {
  expect(names(sent)).toEqual(['a']);
  const view = readIpv6(sent[0]!.frame);
  expect(view).toMatchObject({ dst: MACS.a, src: MACS.gateway, to: hex6(IPS6.a), hopLimit: 64 });
  expect(checksumIsRight6(view.packet)).toBe(true);
  return {
    ...view,
    quoted: toHex(view.body.subarray(8)),
    rest: new DataView(view.body.buffer, view.body.byteOffset).getUint32(4),
  };
};

describe('routing', () => {
  it('N7: between the subnets of a network, one hop further, from the gateway MAC', () => {
    const fabric = dual({
      op: 'port',
      port: dualPort('b', { addresses: [address6('fd00:78::12')] }),
    });
    const packet = datagram('fd00:78::12');
    const sent = fabric.from('a', routed(packet));
    expect(names(sent)).toEqual(['b']);
    const view = readIpv6(sent[0]!.frame);
    expect(view).toMatchObject({ dst: MACS.b, src: MACS.gateway, hopLimit: 63 });
    expect(toHex(view.packet.subarray(8))).toBe(toHex(Uint8Array.from(packet.slice(8))));
  });

  it('A14, N7: through a tunnel from the router MAC', () => {
    const fabric = dual();
    fabric.fromPeer('p', advertisement({ src: MACS.far, from: IPS6.far, target: IPS6.far }));
    const sent = fabric.from('a', routed(datagram(IPS6.far)));
    expect(names(sent)).toEqual(['p']);
    expect(readIpv6(sent[0]!.frame)).toMatchObject({ dst: MACS.far, src: MACS.router, hopLimit: 63 });
  });

  it('N7: bridged, the hop limit stays', () => {
    expect(readIpv6(dual().from('a', bridged(datagram(IPS6.b)))[0]!.frame).hopLimit).toBe(64);
  });

  for (const hopLimit of [1, 0]) {
    it(`N7: arriving with hop limit ${hopLimit}, it is answered "time exceeded", quoted whole`, () => {
      const fabric = dual();
      const packet = datagram(IPS6.b, { hopLimit });
      const error = errorOf(fabric.from('a', routed(packet)));
      expect(error).toMatchObject({ icmp: '3/0', from: hex6(IPS6.gateway), rest: 0 });
      expect(error.quoted).toBe(toHex(Uint8Array.from(packet)));
      expect(fabric.drops()).toEqual({ TTL_EXPIRED: 1 });
    });
  }

  it('N8: no route is said so', () => {
    const fabric = dual();
    expect(errorOf(fabric.from('a', routed(datagram(OUTSIDE))))).toMatchObject({ icmp: '1/0' });
    expect(errorOf(fabric.wait(1000).concat(fabric.from('a', routed(datagram('fd00:77::')))))).toMatchObject({
      icmp: '1/0',
    });
    expect(fabric.drops()).toEqual({ NO_ROUTE: 2 });
  });

  it('N8: link-local addresses and groups go no further', () => {
    const fabric = dual();
    expect(errorOf(fabric.from('a', routed(datagram('fe80::12'))))).toMatchObject({ icmp: '1/2' });
    const fromLink = udp6({ from: 'fe80::11', to: IPS6.b, sport: 1, dport: 2 });
    const sent = fabric.from('a', routed(fromLink));
    expect(readIpv6(sent[0]!.frame)).toMatchObject({
      icmp: '1/2',
      to: hex6('fe80::11'),
      from: hex6(IPS6.gateway),
    });
    expect(fabric.from('a', routed(datagram('ff0e::1')))).toEqual([]);
    expect(fabric.drops()).toEqual({ NO_ROUTE: 3 });
  });

  it('N8: an address that would be an IPv4 one in the tables is no address', () => {
    const fabric = dual();
    for (const packet of [
      datagram('::ffff:a4d:c'),
      udp6({ from: '::ffff:a4d:b', to: IPS6.b, sport: 1, dport: 2 }),
    ]) {
      expect(fabric.from('a', routed(packet))).toEqual([]);
      expect(names(fabric.from('a', bridged(packet)))).toEqual(['b']);
    }
    expect(fabric.drops()).toEqual({ BAD_IP_HEADER: 2 });
  });

  it('N8: echo to every gateway address is answered', () => {
    const fabric = dual();
    for (const gateway of [IPS6.gateway, IPS6.gateway2]) {
      const sent = fabric.from('a', routed(echo6(IPS6.a, gateway, 1)));
      expect(names(sent)).toEqual(['a']);
      const view = readIpv6(sent[0]!.frame);
      expect(view).toMatchObject({
        icmp: '129/0',
        from: hex6(gateway),
        to: hex6(IPS6.a),
        hopLimit: 64,
        src: MACS.gateway,
      });
      expect(checksumIsRight6(view.packet)).toBe(true);
      expect(toHex(view.body.subarray(4))).toBe('123400010102' + '0304');
    }
    expect(fabric.drops()).toEqual({});
  });

  it('N8: the gateway refuses what else it is sent: a reset, a port unreachable', () => {
    const fabric = dual();
    const syn = tcp6({ from: IPS6.a, to: IPS6.gateway, sport: 5, dport: 22, seq: 77 });
    const [reset] = fabric.from('a', routed(syn));
    expect(readIpv6(reset!.frame)).toMatchObject({
      from: hex6(IPS6.gateway),
      sport: 22,
      dport: 5,
      flags: 'RA',
      ack: 78,
    });
    expect(checksumIsRight6(readIpv6(reset!.frame).packet)).toBe(true);
    expect(errorOf(fabric.from('a', routed(datagram(IPS6.gateway))))).toMatchObject({ icmp: '1/4' });
    expect(fabric.drops()).toEqual({ GATEWAY_UNHANDLED: 2 });
  });
});

describe('errors', () => {
  const silent: [string, number[]][] = [
    ['an ICMPv6 error', icmp6(IPS6.a, OUTSIDE, [1, 0, 0, 0, 0, 0, 0, 0, 1, 2])],
    ['an error of an unknown type', icmp6(IPS6.a, OUTSIDE, [99, 0, 0, 0, 0, 0, 0, 0])],
    ['a packet from ::', udp6({ from: '::', to: OUTSIDE, sport: 1, dport: 2 })],
    ['a packet from ::1', udp6({ from: '::1', to: OUTSIDE, sport: 1, dport: 2 })],
    ['a packet from a group', udp6({ from: 'ff02::1', to: OUTSIDE, sport: 1, dport: 2 })],
    [
      'a later fragment',
      ipv6({ from: IPS6.a, to: OUTSIDE, protocol: 44 }, [17, 0, 0, 8, 0, 0, 0, 1, ...Array(16).fill(1)]),
    ],
  ];
  for (const [name, packet] of silent) {
    it(`N9: none about ${name}`, () => {
      const fabric = dual();
      expect(fabric.from('a', routed(packet))).toEqual([]);
      expect(fabric.drops()).toEqual({ NO_ROUTE: 1 });
    });
  }

  it('N9: one about a first fragment, and about an echo request', () => {
    const first = ipv6({ from: IPS6.a, to: OUTSIDE, protocol: 44 }, [
      17,
      0,
      0,
      1,
      0,
      0,
      0,
      1,
      ...Array(16).fill(1),
    ]);
    for (const packet of [first, echo6(IPS6.a, OUTSIDE)]) {
      expect(errorOf(dual().from('a', routed(packet)))).toMatchObject({ icmp: '1/0' });
    }
  });

  it('N9: quotes as much as fits 1280 bytes', () => {
    const error = errorOf(dual().from('a', routed(datagram(OUTSIDE, { payload: Array(1300).fill(7) }))));
    expect(error.packet.length).toBe(1280);
  });

  it('N10: one a second per destination, whatever word of the address differs', () => {
    const fabric = dual();
    const first = fabric.from('a', routed(datagram(OUTSIDE)));
    const again = fabric.from('a', routed(datagram(OUTSIDE)));
    const other = fabric.from(
      'a',
      routed(udp6({ from: 'fd00:77:0:0:1::11', to: OUTSIDE, sport: 1, dport: 2 })),
    );
    expect([first.length, again.length, other.length]).toEqual([1, 0, 1]);
    fabric.advance(1000);
    expect(fabric.from('a', routed(datagram(OUTSIDE))).length).toBe(1);
  });
});

describe('sizes', () => {
  const narrow = (pathMtu: number): Op => ({ op: 'peer', peer: peer('p', { pathMtu }) });
  const far = advertisement({ src: MACS.far, from: IPS6.far, target: IPS6.far });

  for (const [how, dst, hopLimit] of [
    ['bridged', MACS.far, 64],
    ['routed', MACS.gateway, 64],
  ] as const) {
    it(`N34, V17: ${how}, a packet too big for the path is answered with the size that fits, as its sender knows it`, () => {
      const fabric = dual(narrow(1400));
      fabric.fromPeer('p', far);
      const packet = datagram(IPS6.far, { payload: Array(1353).fill(1), hopLimit });
      const error = errorOf(fabric.from('a', bridged(packet, dst)));
      expect(error).toMatchObject({ icmp: '2/0', rest: 1400, from: hex6(IPS6.gateway) });
      expect(error.quoted).toBe(toHex(Uint8Array.from(packet.slice(0, 1232))));
      expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
      expect(
        names(fabric.from('a', bridged(datagram(IPS6.far, { payload: Array(1352).fill(1) }), dst))),
      ).toEqual(['p']);
    });
  }

  it('N34: never less than 1280 is asked for', () => {
    const fabric = dual({ op: 'port', port: dualPort('b', { mtu: 1000 }) });
    const error = errorOf(fabric.from('a', bridged(datagram(IPS6.b, { payload: Array(1100).fill(1) }))));
    expect(error.rest).toBe(1280);
  });

  it('N34: a super-frame is judged by its segments, and quoted up to where its checksum is its own', () => {
    const fabric = dual(narrow(1400));
    fabric.fromPeer('p', far);
    const segment = tcp6({
      from: IPS6.a,
      to: IPS6.far,
      sport: 1,
      dport: 2,
      flags: 'A',
      payload: Array(4000).fill(1),
    });
    const offload = { csumStart: 54, csumOffset: 16, gsoType: Gso.TCPV6 };
    expect(names(fabric.from('a', bridged(segment, MACS.far), { ...offload, gsoSize: 1340 }))).toEqual(['p']);
    const error = errorOf(fabric.from('a', bridged(segment, MACS.far), { ...offload, gsoSize: 1341 }));
    expect(error).toMatchObject({ icmp: '2/0', rest: 1400 });
    expect(error.body.length).toBe(8 + 48);
  });
});

describe('extension headers', () => {
  /** `count` destination-options headers in front of an echo request to the gateway. */
  const behind = (count: number, next = 60): number[] => {
    const plain = echo6(IPS6.a, IPS6.gateway);
    const headers = Array.from({ length: count }, (_, n) => [
      n + 1 < count ? next : 58,
      0,
      1,
      4,
      0,
      0,
      0,
      0,
    ]).flat();
    return ipv6({ from: IPS6.a, to: IPS6.gateway, protocol: count > 0 ? next : 58 }, [
      ...headers,
      ...plain.slice(40),
    ]);
  };

  it('N39: up to eight are looked behind', () => {
    const fabric = dual();
    for (const count of [0, 1, 2, 8]) {
      const [sent] = fabric.from('a', routed(behind(count)));
      const { packet } = readIpv6(sent!.frame);
      expect(packet[40 + count * 8]).toBe(129);
      expect(packet.length).toBe(52 + count * 8);
    }
    expect(fabric.drops()).toEqual({});
  });

  it('N39: nine, or a chain cut off, are routed and bridged like any packet', () => {
    const cut = ipv6({ from: IPS6.a, to: IPS6.b, protocol: 0 }, [17, 9, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    const nine = behind(9);
    const fabric = dual({ op: 'port', port: port('b', { addresses: [address6(IPS6.b)] }) });
    for (const packet of [cut, [...nine.slice(0, 24), ...cut.slice(24, 40), ...nine.slice(40)]]) {
      expect(names(fabric.from('a', routed(packet)))).toEqual(['b']);
      expect(names(fabric.from('a', bridged(packet)))).toEqual(['b']);
    }
    expect(fabric.drops()).toEqual({});
  });

  it('N37, N39: an atomic fragment is an ordinary packet, a true one is a fragment', () => {
    const fabric = dual();
    const echo = echo6(IPS6.a, IPS6.gateway);
    const inFragment = (word: number): number[] =>
      ipv6({ from: IPS6.a, to: IPS6.gateway, protocol: 44 }, [
        58,
        0,
        word >> 8,
        word & 255,
        0,
        0,
        0,
        9,
        ...echo.slice(40),
      ]);
    expect(fabric.from('a', routed(inFragment(0))).length).toBe(1);
    expect(fabric.drops()).toEqual({});
    fabric.from('a', routed(inFragment(1)));
    expect(fabric.drops()).toEqual({ GATEWAY_UNHANDLED: 1 });
  });
});

describe('the way out', () => {
  const host: Op = { op: 'port', port: dualPort('c', { isHost: true, antiSpoof: 'mac' }) };

  it('N8: what is neither on-link nor a service goes to the host port, routed', () => {
    const fabric = dual(host);
    const [sent] = fabric.from('a', routed(datagram(OUTSIDE)));
    expect(sent!.to).toBe('c');
    expect(readIpv6(sent!.frame)).toMatchObject({
      dst: MACS.c,
      src: MACS.gateway,
      to: hex6(OUTSIDE),
      hopLimit: 63,
    });
  });

  it('N8: loopback and the unspecified address are nowhere', () => {
    const fabric = dual(host);
    for (const to of ['::', '::1'])
      expect(errorOf(fabric.wait(1000).concat(fabric.from('a', routed(datagram(to)))))).toMatchObject({
        icmp: '1/0',
      });
  });

  it('N33: nothing leaves an internal network', () => {
    const fabric = dual(host, { op: 'network', network: dualNetwork({ internal: true }) });
    expect(errorOf(fabric.from('a', routed(datagram(OUTSIDE))))).toMatchObject({ icmp: '1/0' });
  });

  it('A4: what the host sends to nowhere does not come back to it, but an answer does, wherever it came from', () => {
    const fabric = dual(host);
    const packet = udp6({ from: '2001:db8::9', to: OUTSIDE, sport: 1, dport: 2 });
    const sent = fabric.from('c', ethernet({ src: MACS.c, dst: MACS.gateway, type: 0x86dd }, packet));
    expect(names(sent)).toEqual(['c']);
    expect(readIpv6(sent[0]!.frame)).toMatchObject({
      icmp: '1/0',
      to: hex6('2001:db8::9'),
      from: hex6(IPS6.gateway),
    });
  });
});
