/** ICMP errors about packets of translated flows. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Address, Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { address4, Fabric, IPS, MACS, network, port, type Sent, service } from '../fabric.ts';
import { address6, dual, dualNetwork, dualPort, IPS6 } from '../fabric6.ts';
import {
  checksumsAreRight,
  echoRequest,
  ethernet,
  hex,
  icmp,
  ipv4,
  readIpv4,
  tcp,
  toHex,
  udp,
} from '../frames.ts';
import { checksumIsRight6, icmp6, readIpv6, udp6 } from '../frames6.ts';

const VIP = '10.96.0.10';
/** A router that is no station of the fabric. */
const ROUTER = '192.0.2.254';

const subnet = (cidr: string, prefix: number, gateway: string) => ({
  address: address4(cidr),
  prefix: 96 + prefix,
  gateway: address4(gateway),
});
/** Client at port a, backend at port b. */
function pair(
  ranges: ReturnType<typeof subnet>[],
  client: string,
  backend: string,
  config: Partial<ServiceConfig>,
) {
  const fabric = new Fabric();
  const at = (name: 'a' | 'b', ip: string): Op => ({
    op: 'port',
    port: port(name, { addresses: [address4(ip)] }),
  });
  fabric.dataplane.apply([
    { op: 'network', network: network({ subnets: ranges }) },
    ...[at('a', client), at('b', backend)],
    { op: 'service', service: service(config) },
  ]);
  fabric.wait(4000);
  return fabric;
}
const toGateway = (src: string, packet: ArrayLike<number>) => ethernet({ src, dst: MACS.gateway }, packet);
const packetOf = (sent: Sent[]) => sent.map(({ to, frame }) => [to, toHex(readIpv4(frame).packet)]);

describe('known answers', () => {
  const twenty = () => {
    const ranges = [subnet('192.168.0.0', 16, '192.168.0.1')];
    const backends = [{ address: address4('192.168.10.20'), port: 2 }];
    const vip = address4('192.168.20.20');
    const fabric = pair(ranges, '192.168.20.10', '192.168.10.20', { vip, port: 2, protocol: 17, backends });
    const ends = { from: '192.168.20.10', to: '192.168.20.20', sport: 1, dport: 2 };
    expect(fabric.from('a', toGateway(MACS.a, udp(ends)))).toHaveLength(1);
    return fabric;
  };

  it('K2, N46: frag-needed towards the backend, routed once', () => {
    const error =
      '45000038011f0000ff011140c0a81401c0a814140304f778000005784500001c000040000a11c762c0a81414c0a8140a0002000100080000';
    const out =
      '45000038011f0000fe011c40c0a81401c0a80a140304f778000005784500001c000040000a11d162c0a80a14c0a8140a0002000100080000';
    expect(packetOf(twenty().from('a', toGateway(MACS.a, hex(error))))).toEqual([['b', out]]);
  });

  it('K3, N47: towards the client its source becomes the service’s address', () => {
    const error =
      '45000038011f0000ff01114ac0a81401c0a8140a0304f778000005784500001c000040000a11d162c0a8140ac0a80a140001000200080000';
    const out =
      '45000038011f0000ff011137c0a81414c0a8140a0304f778000005784500001c000040000a11c762c0a8140ac0a814140001000200080000';
    const frame = ethernet({ src: MACS.b, dst: MACS.a }, hex(error));
    expect(packetOf(twenty().from('b', frame))).toEqual([['a', out]]);
  });

  it('K7, N48: eight bytes of a TCP header are enough', () => {
    const ranges = [subnet('10.244.0.0', 16, '10.244.1.1')];
    const backends = [{ address: address4('10.244.2.9'), port: 8080 }];
    const fabric = pair(ranges, '10.244.1.7', '10.244.2.9', { vip: address4('10.96.12.34'), backends });
    const syn = '4500002812344000400606200af401070a600c229c40005011223344000000005002faf0b17e0000';
    expect(fabric.from('a', toGateway(MACS.a, hex(syn)))).toHaveLength(1);
    const error =
      '45000038000700004001abc5c00002fe0af401070b00f4c80000000045000028123440003d0612a50af401070af402099c401f9011223344';
    const out =
      '4500003800070000400158420a600c220af401070b0014090000000045000028123440003d0609200af401070a600c229c40005011223344';
    expect(packetOf(fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, hex(error))))).toEqual([
      ['a', out],
    ]);
  });

  it('K10, N46: packet-too-big of ICMPv6', () => {
    const fabric = new Fabric();
    const at = (name: 'a' | 'b', address: Address): Op => ({
      op: 'port',
      port: dualPort(name, { addresses: [address] }),
    });
    const range = (text: string) => ({ address: address6(text), prefix: 64, gateway: address6(`${text}1`) });
    fabric.dataplane.apply([
      { op: 'network', network: dualNetwork({ subnets: [range('fd00:1::'), range('fd00:2::')] }) },
      at('a', address6('fd00:1::7')),
      at('b', address6('fd00:2::9')),
      {
        op: 'service',
        service: service({
          protocol: 17,
          vip: address6('fd00:96::22'),
          port: 53,
          frontends: [{ kind: 'clusterIP', address: address6('fd00:96::22'), port: 53 }],
          backends: [{ address: address6('fd00:2::9'), port: 5300 }],
        }),
      },
    ]);
    fabric.wait(4000);
    const ask = udp6({ from: 'fd00:1::7', to: 'fd00:96::22', sport: 5353, dport: 53 });
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway, type: 0x86dd }, ask))).toHaveLength(1);
    const error =
      '6000000000403a40fd00ffff000000000000000000000001fd00000100000000000000000000000702008cd500000578600000000010113efd000001000000000000000000000007fd00000200000000000000000000000914e914b400104a876162636465666768';
    const out =
      '6000000000403a40fd000096000000000000000000000022fd00000100000000000000000000000702008c1e00000578600000000010113efd000001000000000000000000000007fd00009600000000000000000000002214e9003500105e596162636465666768';
    const sent = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a, type: 0x86dd }, hex(error)));
    expect(sent.map(({ to, frame }) => [to, toHex(frame.subarray(14))])).toEqual([['a', out]]);
  });
});

/** a talks to the service, b serves it. */
function shop(protocol: 6 | 17, backend: string = IPS.b): Fabric {
  const fabric = dual();
  const backends = [{ address: address4(backend), port: 8080 }];
  fabric.dataplane.apply([{ op: 'service', service: service({ protocol, backends }) }]);
  return fabric;
}
const flows = (fabric: Fabric) => dump(fabric.dataplane, 'flows') as FlowRow[];
const UNREACHABLE_PORT = [3, 3, 0, 0, 0, 0, 0, 0];
/** The packet an ICMP error quotes, as a frame. */
const quotedIn = (frame: Uint8Array) =>
  readIpv4(Uint8Array.from([...new Uint8Array(14), ...readIpv4(frame).body.subarray(8)]));

describe('errors about translated packets', () => {
  it('N46, N47: whatever is quoted of whatever was sent, both directions, all sums', () => {
    const payload = fc.uint8Array({ maxLength: 40 });
    const type = fc.constantFrom([3, 3], [3, 4], [4, 0], [11, 0], [12, 0]);
    let sport = 1024;
    const udpShop = shop(17);
    const tcpShop = shop(6);
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.boolean(),
        payload,
        type,
        fc.nat(60),
        (isTcp, isReply, bytes, [t, code], cut) => {
          const fabric = isTcp ? tcpShop : udpShop;
          sport++;
          const make = (ends: { from: string; to: string; sport: number; dport: number }, flags: string) =>
            isTcp
              ? tcp({ ...ends, flags, seq: 1000, ack: 1001, payload: flags === 'S' ? [] : bytes })
              : udp({ ...ends, payload: bytes });
          let [seen] = fabric.from(
            'a',
            toGateway(MACS.a, make({ from: IPS.a, to: VIP, sport, dport: 80 }, 'S')),
          );
          let original = make({ from: IPS.a, to: VIP, sport, dport: 80 }, 'S');
          if (isReply) {
            original = make({ from: IPS.b, to: IPS.a, sport: 8080, dport: sport }, 'SA');
            [seen] = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, original));
          }
          const before = flows(fabric);
          const quoted = readIpv4(seen!.frame).packet;
          const about = quoted.subarray(0, Math.min(quoted.length, 28 + cut));
          const error = icmp(ROUTER, isReply ? VIP : IPS.a, [t!, code!, 0, 0, 0, 0, 5, 120, ...about]);
          const [sent] = isReply
            ? fabric.from('c', toGateway(MACS.c, error))
            : fabric.from('c', ethernet({ src: MACS.c, dst: MACS.a }, error));
          expect(sent!.to).toBe(isReply ? 'b' : 'a');
          const out = readIpv4(sent!.frame);
          expect(checksumsAreRight(out.packet)).toBe(true);
          expect([out.from, out.to]).toEqual(isReply ? [ROUTER, IPS.b] : [VIP, IPS.a]);
          expect(out.icmp).toBe(`${t}/${code}`);
          // But for the TTL and its checksum the sender finds its own packet, as far as it was quoted.
          const found = [...out.body.subarray(8)];
          const expected = [...original.slice(0, found.length)];
          // Nor can half a checksum be made right.
          for (const at of isTcp && found.length === 37 ? [8, 10, 11, 36] : [8, 10, 11])
            found[at] = expected[at] = 0;
          expect(found).toEqual(expected);
          expect(flows(fabric)).toEqual(before);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('N17: they refresh no flow', () => {
    const fabric = shop(17);
    const [sent] = fabric.from('a', toGateway(MACS.a, udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 })));
    fabric.advance(20_000);
    const error = icmp(IPS.b, IPS.a, [...UNREACHABLE_PORT, ...readIpv4(sent!.frame).packet]);
    expect(fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, error))).toHaveLength(1);
    expect(flows(fabric)).toMatchObject([{ state: 'unreplied', expires: 10, replyPackets: 0 }]);
  });

  it('N31, N46: of a pod that reaches itself, which answers the gateway', () => {
    const fabric = shop(17, IPS.a);
    const ask = udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 });
    const [own] = fabric.from('a', toGateway(MACS.a, ask));
    expect(readIpv4(own!.frame).from).toBe(IPS.gateway);
    const error = icmp(IPS.a, IPS.gateway, [...UNREACHABLE_PORT, ...readIpv4(own!.frame).packet]);
    const [back] = fabric.from('a', toGateway(MACS.a, error));
    expect(back!.to).toBe('a');
    expect(readIpv4(back!.frame)).toMatchObject({ from: VIP, to: IPS.a, icmp: '3/3' });
    expect(checksumsAreRight(readIpv4(back!.frame).packet)).toBe(true);
    expect(quotedIn(back!.frame)).toMatchObject({ from: IPS.a, to: VIP, sport: 7, dport: 80 });
  });

  it('N46, S21: to a client that appears under the host’s address', () => {
    const fabric = shop(17);
    fabric.dataplane.apply([
      { op: 'port', port: dualPort('c', { isHost: true }) },
      { op: 'host', host: { underlayAddresses: [], vxlanPorts: [4789], maxFlows: 64, masqueradeAll: true } },
    ]);
    const ask = udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 });
    const [masked] = fabric.from('a', toGateway(MACS.a, ask));
    expect(readIpv4(masked!.frame).from).toBe(IPS.c);
    const error = icmp(IPS.b, IPS.c, [...UNREACHABLE_PORT, ...readIpv4(masked!.frame).packet]);
    const [back] = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.c }, error));
    expect(back!.to).toBe('a');
    expect(readIpv4(back!.frame)).toMatchObject({ from: VIP, to: IPS.a, icmp: '3/3', ttl: 63 });
    expect(checksumsAreRight(readIpv4(back!.frame).packet)).toBe(true);
    expect(quotedIn(back!.frame)).toMatchObject({ from: IPS.a, to: VIP, sport: 7, dport: 80 });
  });

  it('N46: IPv6, towards the backend', () => {
    const fabric = dual({
      op: 'service',
      service: service({
        protocol: 17,
        vip: address6('fd00:96::10'),
        frontends: [{ kind: 'clusterIP', address: address6('fd00:96::10'), port: 80 }],
        backends: [{ address: address6(IPS6.b), port: 8080 }],
      }),
    });
    const six = (src: string, dst: string, packet: number[]) => ethernet({ src, dst, type: 0x86dd }, packet);
    fabric.from(
      'a',
      six(MACS.a, MACS.gateway, udp6({ from: IPS6.a, to: 'fd00:96::10', sport: 4000, dport: 80 })),
    );
    const answer = udp6({ from: IPS6.b, to: IPS6.a, sport: 8080, dport: 4000 });
    const [seen] = fabric.from('b', six(MACS.b, MACS.a, answer));
    const quoted = seen!.frame.subarray(14);
    const error = icmp6(IPS6.a, 'fd00:96::10', [1, 4, 0, 0, 0, 0, 0, 0, ...quoted]);
    const [sent] = fabric.from('a', six(MACS.a, MACS.gateway, error));
    expect(sent!.to).toBe('b');
    const out = readIpv6(sent!.frame);
    expect(checksumIsRight6(out.packet)).toBe(true);
    expect(toHex(out.packet.subarray(24, 40))).toBe(toHex(sent!.frame.subarray(38, 54)));
    expect(toHex(out.packet.subarray(48))).toBe(toHex(Uint8Array.from(answer)));
  });
});

describe('errors that are nobody’s', () => {
  it('N45: about plain traffic they pass unchanged, whatever their checksum', () => {
    const fabric = shop(17);
    fabric.from('a', toGateway(MACS.a, udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 })));
    const plain = udp({ from: IPS.a, to: IPS.b, sport: 8, dport: 80 });
    const right = icmp(IPS.b, IPS.a, [...UNREACHABLE_PORT, ...plain]);
    const wrong = [...right];
    wrong[22]! ^= 1;
    for (const error of [right, wrong]) {
      const [sent] = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, error));
      expect(toHex(readIpv4(sent!.frame).packet)).toBe(toHex(Uint8Array.from(error)));
    }
    expect(fabric.drops()).toEqual({});
  });

  it('N45: to a service address about no flow they are dropped', () => {
    const fabric = shop(17);
    const never = udp({ from: VIP, to: IPS.a, sport: 80, dport: 7 });
    const error = icmp(IPS.a, VIP, [...UNREACHABLE_PORT, ...never]);
    expect(fabric.from('a', toGateway(MACS.a, error))).toEqual([]);
    expect(fabric.drops()).toEqual({ UNRELATED_ERROR: 1 });
  });

  it('N45: what IPv6 quotes by IPv4-mapped addresses is no flow of IPv4', () => {
    const fabric = shop(17);
    fabric.from('a', toGateway(MACS.a, udp({ from: IPS.a, to: VIP, sport: 4000, dport: 80 })));
    const quoted = udp6({ from: '::ffff:a4d:b', to: '::ffff:a4d:c', sport: 4000, dport: 8080 });
    const error = icmp6(IPS6.b, IPS6.a, [1, 4, 0, 0, 0, 0, 0, 0, ...quoted]);
    const [sent] = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a, type: 0x86dd }, error));
    expect(toHex(readIpv6(sent!.frame).packet)).toBe(toHex(Uint8Array.from(error)));
  });

  it('N49: a wrong checksum, and an error about an error, are dropped', () => {
    const fabric = shop(17);
    const [sent] = fabric.from('a', toGateway(MACS.a, udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 })));
    const error = icmp(IPS.b, IPS.a, [...UNREACHABLE_PORT, ...readIpv4(sent!.frame).packet]);
    const wrong = [...error];
    wrong[22]! ^= 1;
    expect(fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, wrong))).toEqual([]);
    const aboutError = icmp(IPS.b, IPS.a, [...UNREACHABLE_PORT, ...error]);
    expect(fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, aboutError))).toEqual([]);
    expect(fabric.drops()).toEqual({ BAD_ICMP: 2 });
    const aboutEcho = icmp(IPS.b, IPS.a, [...UNREACHABLE_PORT, ...echoRequest(IPS.a, IPS.b)]);
    expect(fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, aboutEcho))).toHaveLength(1);
  });

  it('N48: about a later fragment they cannot be told whose they are, and are dropped', () => {
    const fabric = shop(17);
    fabric.from('a', toGateway(MACS.a, udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 })));
    const later = ipv4({ from: IPS.a, to: IPS.b, protocol: 17, fragment: 100 }, [0, 7, 31, 144, 0, 12, 0, 0]);
    const error = icmp(IPS.b, IPS.a, [...UNREACHABLE_PORT, ...later]);
    expect(fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, error))).toEqual([]);
    expect(fabric.drops()).toEqual({ BAD_ICMP: 1 });
  });

  it.each(['bridged', 'routed'] as const)('N45: between addresses without a flow they pass, %s', (way) => {
    const fabric = shop(17);
    fabric.from('a', toGateway(MACS.a, udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 })));
    const later = ipv4({ from: IPS.a, to: IPS.c, protocol: 17, fragment: 100 }, [0, 7, 31, 144, 0, 12, 0, 0]);
    const error = icmp(IPS.c, IPS.a, [...UNREACHABLE_PORT, ...later]);
    const aboutError = icmp(IPS.a, IPS.c, [...UNREACHABLE_PORT, ...error]);
    const [gateway, ttl] = way === 'routed' ? [MACS.gateway, 63] : [null, 64];
    const sent = [
      ...fabric.from('c', ethernet({ src: MACS.c, dst: gateway ?? MACS.a }, error)),
      ...fabric.from('a', ethernet({ src: MACS.a, dst: gateway ?? MACS.c }, aboutError)),
    ];
    expect(sent.map(({ to }) => to)).toEqual(['a', 'c']);
    const bodies = sent.map(({ frame }) => readIpv4(frame));
    expect(bodies.map(({ body }) => toHex(body))).toEqual(
      [error, aboutError].map((packet) => toHex(Uint8Array.from(packet.slice(20)))),
    );
    expect(bodies.map((view) => view.ttl)).toEqual([ttl, ttl]);
    // To the service's address they are about nothing there is, whatever they quote.
    const toVip = icmp(IPS.a, VIP, [...UNREACHABLE_PORT, ...later]);
    expect(fabric.from('a', toGateway(MACS.a, toVip))).toEqual([]);
    expect(fabric.drops()).toEqual({ UNRELATED_ERROR: 1 });
  });

  it('N45, N48: the same in IPv6', () => {
    const vip = address6('fd00:96::22');
    const fabric = dual({
      op: 'service',
      service: service({
        protocol: 17,
        vip,
        frontends: [{ kind: 'clusterIP', address: vip, port: 53 }],
        backends: [{ address: address6(IPS6.b), port: 5300 }],
      }),
    });
    const six = (src: string, dst: string, packet: number[]) => ethernet({ src, dst, type: 0x86dd }, packet);
    const ask = udp6({ from: IPS6.a, to: 'fd00:96::22', sport: 7, dport: 53 });
    expect(fabric.from('a', six(MACS.a, MACS.gateway, ask))).toHaveLength(1);
    /** The last 8 bytes of a datagram, behind a fragment header. */
    const later = (from: string, to: string) => {
      const head = udp6({ from, to, sport: 7, dport: 8 }).slice(0, 40);
      head.splice(4, 3, 0, 16, 44);
      return [...head, 17, 0, 0x05, 0x70, 0, 0, 0, 9, ...new Array<number>(8).fill(0)];
    };
    const about = (from: string, to: string) => icmp6(from, to, [1, 4, 0, 0, 0, 0, 0, 0, ...later(to, from)]);
    expect(fabric.from('c', six(MACS.c, MACS.a, about(IPS6.c, IPS6.a)))).toHaveLength(1);
    expect(fabric.from('b', six(MACS.b, MACS.a, about(IPS6.b, IPS6.a)))).toEqual([]);
    expect(fabric.drops()).toEqual({ BAD_ICMP: 1 });
  });

  it('N45: what is cut short or no packet is nobody’s, and harms nobody', () => {
    const fabric = shop(17);
    const [sent] = fabric.from('a', toGateway(MACS.a, udp({ from: IPS.a, to: VIP, sport: 7, dport: 80 })));
    const whole = [...readIpv4(sent!.frame).packet];
    fc.assert(
      fc.property(fc.nat(27), fc.uint8Array({ maxLength: 30 }), fc.boolean(), (cut, noise, isNoise) => {
        const quoted = isNoise
          ? [...noise].map((byte, i) => (i === 0 ? byte & 0x7f : byte))
          : whole.slice(0, cut);
        if (isNoise && quoted.length >= 20 && quoted[0]! >>> 4 === 4) quoted[0] = 0x34;
        const error = icmp(IPS.b, IPS.a, [...UNREACHABLE_PORT, ...quoted]);
        const [out] = fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, error));
        expect(toHex(readIpv4(out!.frame).packet)).toBe(toHex(Uint8Array.from(error)));
      }),
      { numRuns: 200 },
    );
  });
});
