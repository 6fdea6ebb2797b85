/** Flows whose client appears as another address or port (S21, N26, N31), with and without the fast path. */
import { describe, expect, it } from 'vitest';
import type { MemoryFrame } from '../../src/card/memory-card.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { address4, IPS, MACS, macOf, PEER_ADDRESSES, peer, service } from '../fabric.ts';
import { address6, dualOps, dualPort, IPS6 } from '../fabric6.ts';
import { ethernet, type TcpFields, tcp, udp, vxlan } from '../frames.ts';
import { tcp6, udp6 } from '../frames6.ts';
import { Twins, UNDERLAY } from './twins.ts';

type Who = 'a' | 'b' | 'c' | 'far';
const DEVICES = { a: 10, b: 11, c: 12, far: UNDERLAY };

interface Ends {
  from: string;
  to: string;
  sport: number;
  dport: number;
}

const FAMILIES = {
  IPv4: { type: 0x0800, ips: IPS, address: address4, udp, tcp, vip: '10.96.0.10', outside: '198.51.100.7' },
  IPv6: {
    type: 0x86dd,
    ips: IPS6,
    address: address6,
    udp: udp6,
    tcp: tcp6,
    vip: 'fd00:96::10',
    outside: '2001:db8::7',
  },
} as const;

describe.each(['IPv4', 'IPv6'] as const)('%s', (name) => {
  const { type, ips, address, vip, outside, ...make } = FAMILIES[name];

  function frame(who: Who, dst: string, packet: number[]): MemoryFrame {
    const bytes = ethernet({ src: MACS[who], dst, type }, packet);
    if (who !== 'far') return { device: DEVICES[who], bytes };
    return { device: UNDERLAY, bytes: vxlan({ vni: 42 }, bytes), remote: address4(PEER_ADDRESSES.p) };
  }

  /** c is the host's port; the service has one endpoint. */
  function twins(endpoint: Who, masqueradeAll: boolean): Twins {
    const backends = [{ address: address(ips[endpoint]), port: 8080 }];
    const host = {
      underlayAddresses: [address4('192.0.2.1')],
      vxlanPorts: [4789],
      maxFlows: 64,
      masqueradeAll,
      natRandom: false,
    };
    const far = { network: 0, mac: macOf(MACS.far), address: address(ips.far) };
    return new Twins(
      dualOps(
        { op: 'port', port: dualPort('c', { isHost: true, antiSpoof: 'off' }) },
        { op: 'peer', peer: peer('p', { static: [far] }) },
        { op: 'host', host },
        ...[6, 17].map((protocol): Op => {
          const vips = { vip: address(vip), backends };
          return {
            op: 'service',
            service: service({ id: protocol, name: `default/${protocol}`, protocol, ...vips }),
          };
        }),
      ),
    );
  }

  /** All of `frames` takes the fast path, and leaves. */
  function repeats(two: Twins, ...frames: MemoryFrame[]): void {
    const { head, sent } = two.burst([...frames, ...frames]);
    expect([head, sent.length]).toEqual([frames.length * 2, frames.length * 2]);
  }

  const cases: [string, { client: Who; endpoint: Who; source?: string; seen: string; dst: string }][] = [
    [
      'N31: an endpoint that calls itself',
      { client: 'b', endpoint: 'b', seen: ips.gateway, dst: MACS.gateway },
    ],
    ['S21: a pod, seen as this host', { client: 'a', endpoint: 'b', seen: ips.c, dst: MACS.c }],
    ['S21: the same, answered by the router', { client: 'a', endpoint: 'b', seen: ips.c, dst: MACS.gateway }],
    ['S21: to an endpoint of another host', { client: 'a', endpoint: 'far', seen: ips.c, dst: MACS.c }],
    ['S21: from outside', { client: 'c', endpoint: 'b', source: outside, seen: ips.c, dst: MACS.c }],
  ];

  it.each(cases)('%s, datagrams and segments both ways', (_, { client, endpoint, source, seen, dst }) => {
    const two = twins(endpoint, seen === ips.c);
    const ask: Ends = { from: source ?? ips[client], to: vip, sport: 5000, dport: 80 };
    const answer: Ends = { from: ips[endpoint], to: seen, sport: 8080, dport: 5000 };
    const toVip = frame(client, MACS.gateway, make.udp(ask));
    const back = frame(endpoint, dst, make.udp(answer));
    for (const one of [toVip, back]) two.burst([one]);
    repeats(two, toVip, back);
    const says = (fields: Partial<TcpFields>) => frame(client, MACS.gateway, make.tcp({ ...ask, ...fields }));
    const hears = (fields: Partial<TcpFields>) => frame(endpoint, dst, make.tcp({ ...answer, ...fields }));
    two.burst([says({ flags: 'S', seq: 1 })]);
    two.burst([hears({ flags: 'SA', seq: 9, ack: 2 })]);
    two.burst([says({ flags: 'A', seq: 2, ack: 10 })]);
    two.advance(1000);
    repeats(two, says({ flags: 'A', seq: 2, ack: 10 }), hears({ flags: 'A', seq: 10, ack: 2 }));
    two.advance(7_400_000); // N21: it would be over if its idle time were that of others
    repeats(two, says({ flags: 'A', seq: 2, ack: 10 }));
    two.compareTables();
  });

  it('N7: what has no hop left is not turned towards its client', () => {
    const two = twins('b', true);
    const ttl = name === 'IPv4' ? { ttl: 1 } : { hopLimit: 1 };
    const answer = { from: ips.b, to: ips.c, sport: 8080, dport: 5000 };
    const back = frame('b', MACS.c, make.udp(answer));
    for (const one of [
      frame('a', MACS.gateway, make.udp({ from: ips.a, to: vip, sport: 5000, dport: 80 })),
      back,
    ])
      two.burst([one]);
    expect(two.burst([back, frame('b', MACS.c, make.udp({ ...answer, ...ttl }))]).head).toBe(1);
  });

  it.each([
    ['bridged', MACS.b],
    ['routed', MACS.gateway],
  ])('N26: a direct flow with another port, %s', (_, dst) => {
    const two = twins('b', false);
    const ends = { from: ips.a, to: ips.b, sport: 5000, dport: 8080 };
    two.burst([frame('a', MACS.gateway, make.udp({ ...ends, to: vip, dport: 80 }))]);
    const direct = frame('a', dst, make.udp(ends));
    const [sent] = two.burst([direct]).sent;
    const l4 = (name === 'IPv4' ? 34 : 54) * 2;
    const port = Number.parseInt(
      sent!
        .split(' ')
        .at(-1)!
        .slice(l4, l4 + 4),
      16,
    );
    expect(port).not.toBe(5000);
    const back = frame('b', MACS.a, make.udp({ from: ips.b, to: ips.a, sport: 8080, dport: port }));
    two.burst([back]);
    repeats(two, direct, back);
    two.compareTables();
  });
});
