/** Services in IPv6: translation, replies, refusals, and what cannot be translated (N2, N31, N39–N42, S15, S16). */
import { describe, expect, it } from 'vitest';
import { Gso } from '../../src/card/layout.ts';
import type { Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { MACS, macOf, peer, type Sent, service } from '../fabric.ts';
import { address6, dual, dualNetwork, dualPort, IPS6, names } from '../fabric6.ts';
import { ethernet, hex, ipv6, toHex } from '../frames.ts';
import { checksumIsRight6, echo6, hex6, partialSum6, readIpv6, tcp6, udp6 } from '../frames6.ts';

const VIP = 'fd00:96::10';
const shop = (protocol: number, overrides: Partial<ServiceConfig> = {}): Op => ({
  op: 'service',
  service: service({
    id: protocol,
    name: `default/shop:${protocol}`,
    protocol,
    vip: address6(VIP),
    backends: [{ address: address6(IPS6.b), port: 8080 }],
    ...overrides,
  }),
});
const withServices = (...more: Op[]) => dual(shop(6), shop(17), ...more);
const routed = (packet: ArrayLike<number>): Uint8Array =>
  ethernet({ src: MACS.a, dst: MACS.gateway, type: 0x86dd }, packet);
const fromB = (packet: ArrayLike<number>): Uint8Array =>
  ethernet({ src: MACS.b, dst: MACS.a, type: 0x86dd }, packet);
const ask = { from: IPS6.a, to: VIP, sport: 40_000, dport: 80 };
const answer = { from: IPS6.b, to: IPS6.a, sport: 8080, dport: 40_000 };
const only = (sent: readonly Sent[], to: string) => {
  expect(names(sent)).toEqual([to]);
  const view = readIpv6(sent[0]!.frame);
  expect(checksumIsRight6(view.packet)).toBe(true);
  return view;
};

describe('translation', () => {
  it('K13, N40: a SYN is translated to its backend and routed once', () => {
    const net = { address: address6('fd00:1::'), prefix: 64, gateway: address6('fd00:1::1') };
    const far = { address: address6('fd00:2::'), prefix: 64, gateway: address6('fd00:2::1') };
    const station = { network: 0, mac: macOf(MACS.far), address: address6('fd00:2::9') };
    const fabric = dual(
      { op: 'network', network: dualNetwork({ subnets: [net, far] }) },
      { op: 'port', port: dualPort('a', { addresses: [address6('fd00:1::7')] }) },
      { op: 'peer', peer: peer('p', { static: [station] }) },
      shop(6, { vip: address6('fd00:96::22'), backends: [{ address: station.address, port: 8080 }] }),
    );
    const before =
      '6000000000140640fd000001000000000000000000000007fd0000960000000000000000000000229c40005011223344000000005002faf0d9390000';
    const after =
      '600000000014063ffd000001000000000000000000000007fd0000020000000000000000000000099c401f9011223344000000005002faf0baa60000';
    const sent = fabric.from('a', routed(hex(before)));
    expect(names(sent)).toEqual(['p']);
    expect(toHex(readIpv6(sent[0]!.frame).packet)).toBe(after);
  });

  it.each(['TCP', 'UDP'])('N2: a %s answer, bridged, gets the service’s address back', (name) => {
    const fabric = withServices();
    const isTcp = name === 'TCP';
    const there = only(fabric.from('a', routed(isTcp ? tcp6(ask) : udp6(ask))), 'b');
    expect(there).toMatchObject({
      from: hex6(IPS6.a),
      to: hex6(IPS6.b),
      dport: 8080,
      hopLimit: 63,
      src: MACS.gateway,
    });
    const reply = isTcp ? tcp6({ ...answer, flags: 'SA', seq: 9, ack: 1001 }) : udp6(answer);
    const back = only(fabric.from('b', fromB(reply)), 'a');
    expect(back).toMatchObject({ from: hex6(VIP), to: hex6(IPS6.a), sport: 80, dport: 40_000, hopLimit: 64 });
  });

  it('N42: a partial checksum follows the addresses alone, for a whole super-frame', () => {
    const fabric = withServices();
    const packet = tcp6({ ...ask, payload: new Array(4000).fill(1) });
    const sum = partialSum6(IPS6.a, VIP, 6, 4020);
    packet.splice(56, 2, sum >>> 8, sum & 255);
    const offload = { csumStart: 54, csumOffset: 16, gsoType: Gso.TCPV6, gsoSize: 1380 };
    const [sent] = fabric.from('a', routed(packet), offload);
    expect(sent!.raw).toMatchObject(offload);
    expect((sent!.frame[70]! << 8) | sent!.frame[71]!).toBe(partialSum6(IPS6.a, IPS6.b, 6, 4020));
  });

  it('N31: a client that is its own backend talks to the gateway, and never sees it', () => {
    const self = { address: address6(IPS6.a), port: 8080 };
    const fabric = dual(shop(17, { backends: [self] }));
    const there = only(fabric.from('a', routed(udp6(ask))), 'a');
    expect(there).toMatchObject({ from: hex6(IPS6.gateway), to: hex6(IPS6.a), dport: 8080 });
    const reply = udp6({ from: IPS6.a, to: IPS6.gateway, sport: 8080, dport: there.sport });
    const back = only(fabric.from('a', routed(reply)), 'a');
    expect(back).toMatchObject({ from: hex6(VIP), to: hex6(IPS6.a), sport: 80, dport: 40_000 });
  });

  it('N39: ports behind extension headers are found and rewritten', () => {
    const fabric = withServices();
    const datagram = udp6(ask);
    const options = [17, 0, 1, 4, 0, 0, 0, 0];
    const packet = ipv6({ from: IPS6.a, to: VIP, protocol: 60 }, [...options, ...datagram.slice(40)]);
    const sent = fabric.from('a', routed(packet));
    expect(names(sent)).toEqual(['b']);
    const view = readIpv6(sent[0]!.frame);
    expect(view).toMatchObject({ to: hex6(IPS6.b), protocol: 60 });
    const expected = udp6({ ...ask, to: IPS6.b, dport: 8080 }).slice(40);
    expect(toHex(view.packet.subarray(48))).toBe(toHex(Uint8Array.from(expected)));
  });
});

describe('refusals', () => {
  it('S15, S16: without endpoint: a reset from the service, a port unreachable from the gateway', () => {
    const fabric = dual(shop(6, { backends: [] }), shop(17, { backends: [] }));
    const reset = only(fabric.from('a', routed(tcp6({ ...ask, seq: 7 }))), 'a');
    expect(reset).toMatchObject({
      from: hex6(VIP),
      to: hex6(IPS6.a),
      sport: 80,
      dport: 40_000,
      flags: 'RA',
      ack: 8,
    });
    const error = only(fabric.from('a', routed(udp6(ask))), 'a');
    expect(error).toMatchObject({ icmp: '1/4', from: hex6(IPS6.gateway), to: hex6(IPS6.a) });
    expect(toHex(error.body.subarray(8))).toBe(toHex(Uint8Array.from(udp6(ask))));
    expect(fabric.drops()).toEqual({ NO_ENDPOINT: 2 });
  });

  it('S15, S16: an undefined port, or ping', () => {
    const fabric = withServices();
    expect(only(fabric.from('a', routed(tcp6({ ...ask, dport: 81 }))), 'a')).toMatchObject({
      flags: 'RA',
      sport: 81,
    });
    expect(only(fabric.from('a', routed(echo6(IPS6.a, VIP))), 'a')).toMatchObject({ icmp: '1/4' });
    expect(fabric.drops()).toEqual({ NO_SUCH_SERVICE_PORT: 1, UNSUPPORTED_TO_SERVICE: 1 });
  });

  it('N41: a datagram without a checksum, which IPv6 does not allow, is dropped, with a flow or without', () => {
    const fabric = withServices();
    const bare = udp6(ask);
    bare.splice(46, 2, 0, 0);
    expect(fabric.from('a', routed(bare))).toEqual([]);
    expect(fabric.drops()).toEqual({ NO_CHECKSUM: 1 });
    expect(fabric.dataplane.pipeline.flows.count).toBe(0);
    only(fabric.from('a', routed(udp6(ask))), 'b');
    expect(fabric.from('a', routed(bare))).toEqual([]);
    expect(fabric.drops()).toEqual({ NO_CHECKSUM: 2 });
  });

  it('N39: a chain of headers cut off, or longer than eight, is dropped when it is for a service', () => {
    const fabric = withServices();
    const nine = Array.from({ length: 9 }, (_, n) => [n < 8 ? 60 : 17, 0, 1, 4, 0, 0, 0, 0]).flat();
    for (const body of [
      [17, 9, 0, 0, 0, 0, 0, 0],
      [...nine, ...udp6(ask).slice(40)],
    ]) {
      expect(fabric.from('a', routed(ipv6({ from: IPS6.a, to: VIP, protocol: 60 }, body)))).toEqual([]);
    }
    expect(fabric.drops()).toEqual({ BAD_IP_HEADER: 2 });
  });
});
