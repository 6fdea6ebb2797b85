/** What is too big, of services: datagrams in fragments, and who tells clients outside. b is narrow, c the host's port. */
import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { address4, IPS, MACS, type Sent, service } from '../fabric.ts';
import { address6, dual, dualNetwork, dualPort, IPS6 } from '../fabric6.ts';
import { checksumsAreRight, ethernet, internetChecksum, ipv4, readIpv4, toHex, u16, udp } from '../frames.ts';
import { hex6, readIpv6, udp6 } from '../frames6.ts';
import { data, initiate, sctp } from '../sctp.ts';

const VIP = '10.96.0.10';
const VIP6 = 'fd00:96::10';
const PUBLIC = '203.0.113.5';
const PUBLIC6 = '2001:db8::5';
const CLIENT = '198.51.100.7';
const CLIENT6 = '2001:db8:9::7';
const NARROW = 1280;

const serve = (id: number, vip: string, protocol: number, backend: string, overrides = {}): Op => {
  const address = vip.includes(':') ? address6 : address4;
  const backends = backend === '' ? [] : [{ address: address(backend), port: 8080 }];
  return {
    op: 'service',
    service: service({
      id,
      name: `default/${id}`,
      vip: address(vip),
      port: 80,
      protocol,
      backends,
      ...overrides,
    }),
  };
};
const open = (vip: string) => {
  const address = vip.includes(':') ? address6 : address4;
  return { frontends: [{ address: address(vip), port: 80, kind: 'external' as const }] };
};
const fabricOf = (...more: Op[]) => dual({ op: 'port', port: dualPort('b', { mtu: NARROW }) }, ...more);
const bytes = (length: number) => Array.from({ length }, (_, i) => (i * 7) & 255);
const toGateway = (packet: ArrayLike<number>, src: string = MACS.a, type = 0x0800) =>
  ethernet({ src, dst: MACS.gateway, type }, packet);

/** The fragments of a packet, of at most `size` bytes of payload each. */
function cut(packet: number[], size: number, flags: number): number[][] {
  const [from, to] = [packet.slice(12, 16).join('.'), packet.slice(16, 20).join('.')];
  const body = packet.slice(20);
  return Array.from({ length: Math.ceil(body.length / size) }, (_, i) => {
    const more = (i + 1) * size < body.length ? 0x2000 : 0;
    const fields = { from, to, protocol: packet[9]!, id: 0x77, fragment: flags | more | ((i * size) >> 3) };
    return ipv4(fields, body.slice(i * size, (i + 1) * size));
  });
}
function cut6(packet: number[], size: number): number[][] {
  const body = packet.slice(40);
  return Array.from({ length: Math.ceil(body.length / size) }, (_, i) => {
    const piece = body.slice(i * size, (i + 1) * size);
    const word = (i * size) | ((i + 1) * size < body.length ? 1 : 0);
    const header = packet.slice(0, 40);
    header.splice(4, 3, ...u16(piece.length + 8), 44);
    return [...header, packet[6]!, 0, ...u16(word), 0, 0, 0, 7, ...piece];
  });
}
const packetOf = (sent: Sent) => readIpv4(sent.frame).packet;
const quotedBy = (sent: Sent) => readIpv4(sent.frame).body.subarray(8);

describe('a datagram in fragments through a service to where they do not fit', () => {
  const udpTo = (to: string, length: number) =>
    udp({ from: IPS.a, to, sport: 4000, dport: 80, payload: bytes(length) });

  it('N34, N36, N38: without DF each is cut, and what arrives is whole', () => {
    const fabric = fabricOf(serve(0, VIP, 17, IPS.b));
    const sent = cut(udpTo(VIP, 4000), 1424, 0).flatMap((packet) => fabric.from('a', toGateway(packet)));
    expect(sent.map(({ to }) => to)).toEqual(['b', 'b', 'b', 'b', 'b']);
    expect(sent.map((one) => packetOf(one).length)).toEqual([1276, 188, 1276, 188, 1180]);
    const parts = sent.map(packetOf);
    const body: number[] = [];
    for (const [i, part] of parts.entries()) {
      const word = (part[6]! << 8) | part[7]!;
      expect([(word & 0x1fff) << 3, (word & 0x2000) !== 0]).toEqual([body.length, i < parts.length - 1]);
      expect([part[4], part[5]]).toEqual([0, 0x77]);
      expect(internetChecksum(part.subarray(0, 20))).toBe(0);
      body.push(...part.subarray(20));
    }
    const whole = Uint8Array.from(ipv4({ from: IPS.a, to: IPS.b, protocol: 17 }, body));
    expect(checksumsAreRight(whole)).toBe(true);
    expect(toHex(whole.subarray(28))).toBe(toHex(Uint8Array.from(bytes(4000))));
    expect(fabric.drops()).toEqual({});
  });

  it('N34: an answer that is bridged is cut too: to its client it comes from beyond the gateway', () => {
    const fabric = dual({ op: 'port', port: dualPort('a', { mtu: NARROW }) }, serve(0, VIP, 17, IPS.b));
    fabric.from('a', toGateway(udpTo(VIP, 4)));
    const answer = udp({
      from: IPS.b,
      to: IPS.a,
      sport: 8080,
      dport: 4000,
      fragment: 0,
      payload: bytes(1400),
    });
    const sent = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, answer));
    expect(sent.map(({ to, frame }) => [to, readIpv4(frame).from, readIpv4(frame).src])).toEqual([
      ['a', VIP, MACS.b],
      ['a', VIP, MACS.b],
    ]);
  });

  it('N34: with DF its sender is told once, in its own terms', () => {
    const fabric = fabricOf(serve(0, VIP, 17, IPS.b));
    const parts = cut(udpTo(VIP, 2000), 1424, 0x4000);
    const sent = parts.flatMap((packet) => fabric.from('a', toGateway(packet)));
    const [error, ...rest] = sent.filter(({ to }) => to === 'a');
    expect(rest).toEqual([]);
    expect(readIpv4(error!.frame)).toMatchObject({ icmp: '3/4', from: IPS.gateway, to: IPS.a });
    expect([...readIpv4(error!.frame).body.subarray(6, 8)]).toEqual(u16(NARROW));
    expect(checksumsAreRight(packetOf(error!))).toBe(true);
    expect(toHex(quotedBy(error!))).toBe(toHex(Uint8Array.from(parts[0]!).subarray(0, 548)));
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
  });

  it('N34: in IPv6 its sender is told', () => {
    const fabric = fabricOf(serve(0, VIP6, 17, IPS6.b));
    const packet = udp6({ from: IPS6.a, to: VIP6, sport: 4000, dport: 80, payload: bytes(2000) });
    const parts = cut6(packet, 1400);
    const sent = parts.flatMap((part) => fabric.from('a', toGateway(part, MACS.a, 0x86dd)));
    const [error, ...rest] = sent.filter(({ to }) => to === 'a');
    expect(rest).toEqual([]);
    const read = readIpv6(error!.frame);
    expect(read).toMatchObject({ icmp: '2/0', from: hex6(IPS6.gateway), to: hex6(IPS6.a) });
    expect(toHex(read.body.subarray(8))).toBe(toHex(Uint8Array.from(parts[0]!).subarray(0, 1232)));
    expect(fabric.drops()).toEqual({ TOO_BIG: 1 });
  });

  it('N34, N48: of SCTP no sum is quoted that covers what is not there', () => {
    const fabric = fabricOf(serve(0, VIP, 132, IPS.b));
    const ends = { from: IPS.a, to: VIP, sport: 4000, dport: 80 };
    fabric.from('a', toGateway(sctp({ ...ends, tag: 0, chunks: [initiate('INIT', 1)] })));
    const back = { from: IPS.b, to: IPS.a, sport: 8080, dport: 4000, tag: 1 };
    fabric.from(
      'b',
      ethernet({ src: MACS.b, dst: MACS.a }, sctp({ ...back, chunks: [initiate('INIT ACK', 2)] })),
    );
    const parts = cut(sctp({ ...ends, tag: 2, chunks: [data(bytes(2000))] }), 1424, 0x4000);
    const [error] = parts.flatMap((part) => fabric.from('a', toGateway(part))).filter(({ to }) => to === 'a');
    expect(readIpv4(error!.frame).icmp).toBe('3/4');
    expect(toHex(quotedBy(error!))).toBe(toHex(Uint8Array.from(parts[0]!).subarray(0, 28)));
  });
});

describe('an ICMP error to a client outside', () => {
  const host: Op = { op: 'port', port: dualPort('c', { isHost: true }) };
  const ask = (length: number, fields = {}) =>
    udp({ from: CLIENT, to: PUBLIC, sport: 4000, dport: 80, payload: bytes(length), ...fields });

  it.each(['too big', 'refused', 'expired'])('N34, N47: %s: from the address it used', (what) => {
    const backend = what === 'refused' ? '' : IPS.b;
    const fabric = fabricOf(host, serve(0, VIP, 17, backend, open(PUBLIC)));
    const packet = ask(1300, what === 'expired' ? { ttl: 1 } : {});
    const [error, ...rest] = fabric.from('c', toGateway(packet, MACS.c));
    expect([error!.to, rest.length]).toEqual(['c', 0]);
    const icmp = { 'too big': '3/4', refused: '3/3', expired: '11/0' }[what];
    expect(readIpv4(error!.frame)).toMatchObject({ icmp, from: PUBLIC, to: CLIENT });
    expect(checksumsAreRight(packetOf(error!))).toBe(true);
    expect(toHex(quotedBy(error!))).toBe(toHex(Uint8Array.from(packet).subarray(0, 548)));
  });

  it.each(['too big', 'refused'])('N34, N47: %s, in IPv6', (what) => {
    const backend = what === 'refused' ? '' : IPS6.b;
    const fabric = fabricOf(host, serve(0, VIP6, 17, backend, open(PUBLIC6)));
    const packet = udp6({ from: CLIENT6, to: PUBLIC6, sport: 4000, dport: 80, payload: bytes(1300) });
    const [error] = fabric.from('c', toGateway(packet, MACS.c, 0x86dd));
    const read = readIpv6(error!.frame);
    const icmp = what === 'refused' ? '1/4' : '2/0';
    expect(read).toMatchObject({ icmp, from: hex6(PUBLIC6), to: hex6(CLIENT6) });
    expect(toHex(read.body.subarray(8))).toBe(toHex(Uint8Array.from(packet).subarray(0, 1232)));
  });

  it('N34: about a pod’s address, from the gateway; so to the host itself', () => {
    const fabric = fabricOf(host, serve(0, VIP, 17, IPS.b, open(PUBLIC)));
    const [direct] = fabric.from('c', toGateway(ask(1300, { to: IPS.b }), MACS.c));
    expect(readIpv4(direct!.frame)).toMatchObject({ icmp: '3/4', from: IPS.gateway, to: CLIENT });
    const [own] = fabric.from('c', toGateway(ask(1300, { from: IPS.c }), MACS.c));
    expect(readIpv4(own!.frame)).toMatchObject({ icmp: '3/4', from: IPS.gateway, to: IPS.c });
  });

  it('N34: about a node port, from the address the host sent it to, which the host knows as its own', () => {
    const subnets = [
      { address: address4('10.77.0.0'), prefix: 120, gateway: address4(IPS.gateway) },
      { address: address4('10.78.0.0'), prefix: 120, gateway: address4('10.78.0.1') },
    ];
    const fabric = fabricOf(
      { op: 'network', network: dualNetwork({ subnets }) },
      host,
      serve(0, VIP, 17, IPS.b, { nodePort: 30_080 }),
    );
    const [error] = fabric.from('c', toGateway(ask(1300, { to: IPS.gateway, dport: 30_080 }), MACS.c));
    expect(readIpv4(error!.frame)).toMatchObject({ icmp: '3/4', from: IPS.gateway, to: CLIENT });
  });
});
