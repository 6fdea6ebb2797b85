/** A port in the daemon's own namespace: the network's way out (c), the host's way in. */
import { describe, expect, it } from 'vitest';
import type { NetworkConfig, Op } from '../../src/dataplane/config.ts';
import { address4, Fabric, IPS, MACS, macOf, network, peer, port, service } from '../fabric.ts';
import { Twins, UNDERLAY } from '../fastpath/twins.ts';
import { arp, checksumsAreRight, echoRequest, ethernet, readIpv4, tcp, udp } from '../frames.ts';

const OUTSIDE = '198.51.100.7';
const host = (): Op => ({ op: 'port', port: port('c', { isHost: true, antiSpoof: 'mac' }) });
const withHost = (overrides: Partial<NetworkConfig> = {}): Op[] => [
  ...Fabric.standing(),
  { op: 'network', network: network(overrides) },
  host(),
];
const out = { from: IPS.a, to: OUTSIDE, sport: 1, dport: 2 };
const fromA = (packet: number[]) => ethernet({ src: MACS.a, dst: MACS.gateway }, packet);
const fromHost = (packet: number[], dst = MACS.gateway) => ethernet({ src: MACS.c, dst }, packet);
const fromFar = (packet: number[], dst = MACS.router) => ethernet({ src: MACS.far, dst }, packet);

describe('the way out', () => {
  it('N8: what is neither on-link nor a service goes to the host port, routed', () => {
    const fabric = new Fabric(withHost());
    for (const packet of [udp(out), tcp({ ...out, flags: 'S' }), echoRequest(IPS.a, OUTSIDE, 64)]) {
      const [sent] = fabric.from('a', fromA(packet));
      expect(sent!.to).toBe('c');
      const read = readIpv4(sent!.frame);
      expect(read).toMatchObject({ src: MACS.gateway, dst: MACS.c, from: IPS.a, to: OUTSIDE, ttl: 63 });
      expect(checksumsAreRight(read.packet)).toBe(true);
    }
    expect(fabric.drops()).toEqual({});
  });

  it.each(['0.0.0.1', '127.0.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255', '10.77.0.0', '10.77.0.255'])(
    'N8: %s is nowhere, host port or not',
    (to) => {
      const fabric = new Fabric(withHost());
      expect(fabric.from('a', fromA(udp({ ...out, to }))).filter((sent) => sent.to === 'c')).toEqual([]);
      expect(fabric.drops()).toEqual({ NO_ROUTE: 1 });
    },
  );

  it('N33: nothing leaves an internal network, and its pods are told', () => {
    const fabric = new Fabric(withHost({ internal: true }));
    const sent = fabric.from('a', fromA(udp(out)));
    expect(sent.map(({ to, frame }) => [to, readIpv4(frame).icmp])).toEqual([['a', '3/0']]);
    const [reply] = fabric.from('a', fromA(udp({ ...out, to: IPS.c })));
    expect(reply!.to).toBe('c');
  });

  it('N8: a removed host port is no way out any more, a new one is again', () => {
    const fabric = new Fabric(withHost());
    fabric.dataplane.apply([{ op: 'remove-port', id: port('c').id }]);
    const refused = fabric.from('a', fromA(udp(out)));
    expect(refused.map(({ frame }) => readIpv4(frame).icmp)).toEqual(['3/0']);
    fabric.dataplane.apply([host()]);
    expect(fabric.from('a', fromA(udp(out))).map(({ to }) => to)).toContain('c');
  });

  it('N11: the host port of one network serves no other', () => {
    const fabric = new Fabric(withHost());
    const packet = ethernet({ src: MACS.r, dst: MACS.redGateway }, udp(out));
    expect(fabric.from('r', packet).map(({ to, frame }) => [to, readIpv4(frame).icmp])).toEqual([
      ['r', '3/0'],
    ]);
  });

  it('A4: what the host itself sends to nowhere does not come back to it', () => {
    const fabric = new Fabric(withHost());
    // a pod's packet just before must not show it the way
    fabric.from('a', fromA(udp(out)));
    const sent = fabric.from('c', fromHost(udp({ ...out, from: '203.0.113.9' })));
    expect(sent.map(({ to, frame }) => [to, readIpv4(frame).icmp, readIpv4(frame).to])).toEqual([
      ['c', '3/0', '203.0.113.9'],
    ]);
  });

  it('A4, A14: each host is the way out of its own pods alone', () => {
    const fabric = new Fabric(withHost());
    const sent = fabric.fromPeer('p', fromFar(udp({ ...out, from: IPS.far })));
    expect(sent.filter(({ to }) => to === 'c')).toEqual([]);
    expect(fabric.drops()).toMatchObject({ NO_ROUTE: 1 });
    expect(
      fabric.fromPeer('p', fromFar(udp({ ...out, from: IPS.far }), MACS.gateway)).map(({ to }) => to),
    ).toEqual([]);
  });
});

describe('the way in', () => {
  it('A4: the host’s question for the gateway is answered to it, and its own address is asked of it', () => {
    const fabric = new Fabric(withHost());
    const [answer] = fabric.from(
      'c',
      arp({ op: 'request', senderMac: MACS.c, senderIp: IPS.c, targetIp: IPS.gateway }),
    );
    expect(answer!.to).toBe('c');
    const asked = fabric.from(
      'a',
      arp({ op: 'request', senderMac: MACS.a, senderIp: IPS.a, targetIp: IPS.c }),
    );
    expect(asked.map(({ to }) => to)).toContain('c');
  });

  it('B24: it speaks for whoever the host routes, with its own MAC only', () => {
    const fabric = new Fabric(withHost());
    const packet = udp({ ...out, from: OUTSIDE, to: IPS.b });
    expect(fabric.from('c', fromHost(packet, MACS.b)).map(({ to }) => to)).toEqual(['b']);
    expect(fabric.from('c', ethernet({ src: MACS.a, dst: MACS.b }, packet))).toEqual([]);
    expect(fabric.drops()).toEqual({ SPOOF_MAC: 1 });
  });

  it.each([
    ['B25: the gateway’s address', { senderIp: IPS.gateway }],
    ['B25: another port’s address', { senderIp: IPS.b }],
  ])('%s is not its to claim', (_, claim) => {
    const fabric = new Fabric(withHost());
    fabric.from('c', arp({ op: 'request', senderMac: MACS.c, targetIp: IPS.a, ...claim }));
    expect(fabric.drops()).toEqual({ SPOOF_GATEWAY: 1 });
  });

  it('B27: nor are the gateway’s MACs', () => {
    const fabric = new Fabric(withHost());
    for (const src of [MACS.gateway, MACS.router])
      fabric.from('c', ethernet({ src, dst: MACS.b }, udp({ ...out, from: IPS.c, to: IPS.b })));
    expect(fabric.drops()).toEqual({ SPOOF_GATEWAY: 2 });
  });

  it('N7, N9: a client of the host’s is told by the gateway what became of its packet', () => {
    const fabric = new Fabric(withHost());
    const [error] = fabric.from('c', fromHost(udp({ ...out, from: OUTSIDE, to: IPS.b, ttl: 1 })));
    expect(error!.to).toBe('c');
    expect(readIpv4(error!.frame)).toMatchObject({ icmp: '11/0', from: IPS.gateway, to: OUTSIDE });
  });

  it('S20: the host reaches a service; the backend sees the host port’s address', () => {
    const fabric = new Fabric([...withHost(), { op: 'service', service: service() }]);
    const call = { from: IPS.c, to: '10.96.0.10', sport: 5000, dport: 80 };
    const [asked] = fabric.from('c', fromHost(tcp({ ...call, flags: 'S' })));
    expect(asked!.to).toBe('b');
    expect(readIpv4(asked!.frame)).toMatchObject({ from: IPS.c, to: IPS.b, dport: 8080 });
    const reply = { from: IPS.b, to: IPS.c, sport: 8080, dport: 5000 };
    const [answered] = fabric.from(
      'b',
      ethernet({ src: MACS.b, dst: MACS.c }, tcp({ ...reply, flags: 'SA', ack: 1 })),
    );
    expect(readIpv4(answered!.frame)).toMatchObject({ from: '10.96.0.10', sport: 80, to: IPS.c });
  });
});

describe('on the fast path', () => {
  const twins = () =>
    new Twins([
      ...withHost(),
      {
        op: 'peer',
        peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] }),
      },
    ]);
  const [A, C] = [10, 12];

  it('N8: what leaves does so without a decision', () => {
    const both = twins();
    const frame = { device: A, bytes: fromA(udp(out)) };
    both.burst([frame]);
    const { sent, head } = both.burst([frame, frame]);
    expect(head).toBe(2);
    expect(sent.every((line) => line.startsWith(`${C} `))).toBe(true);
    both.compareTables();
  });

  it('A4: what may not leave takes the stages, also in one burst with what may', () => {
    const both = twins();
    const leaving = { device: A, bytes: fromA(udp(out)) };
    const bouncing = { device: C, bytes: fromHost(udp({ ...out, from: '203.0.113.9' })) };
    const passing = {
      device: UNDERLAY,
      bytes: Uint8Array.from([8, 0, 0, 0, 0, 0, 42, 0, ...fromFar(udp({ ...out, from: IPS.far }))]),
      remote: address4('192.0.2.2'),
    };
    for (let i = 0; i < 3; i++) {
      const { sent } = both.burst([leaving, bouncing, leaving, passing, leaving]);
      expect(
        sent.filter((line) => line.startsWith(`${C} `) && line.includes('0a4d000bc6336407')),
      ).toHaveLength(3);
    }
  });
});
