/** What a pod may send (B24–B27). */
import { describe, expect, it } from 'vitest';
import type { Op, PortConfig } from '../../src/dataplane/config.ts';
import { address4, Fabric, IPS, MACS, PEER_ADDRESSES, port, type Sent } from '../fabric.ts';
import { address6 } from '../fabric6.ts';
import { arp, echoRequest, ethernet, ipv4, ipv6, udp } from '../frames.ts';
import { udp6 } from '../frames6.ts';

const names = (sent: readonly Sent[]): string[] => sent.map(({ to }) => to).sort();
type Mode = PortConfig['antiSpoof'];
const OWN6 = 'fd00:77::11';
const guarded = (mode: Mode, ...ops: Op[]): Fabric =>
  new Fabric([
    ...Fabric.standing(),
    { op: 'port', port: port('a', { antiSpoof: mode, addresses: [address4(IPS.a), address6(OWN6)] }) },
    ...ops,
  ]);
const eth = (payload: ArrayLike<number>, type = 0x0800, src = MACS.a, dst = MACS.b): Uint8Array =>
  ethernet({ src, dst, type }, payload);
const MODES = ['strict', 'mac', 'off'] as const;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';

/** Frame, and what becomes of it under strict, mac and off. */
type Row = readonly [string, Uint8Array, readonly [string, string, string]];
const PASS = 'pass';
const check = (rule: string, rows: readonly Row[]): void => {
  for (const [name, bytes, verdicts] of rows) {
    MODES.forEach((mode, i) => {
      it(`${rule}: ${mode}: ${name} → ${verdicts[i]}`, () => {
        const fabric = guarded(mode);
        const sent = fabric.from('a', bytes);
        if (verdicts[i] === PASS) {
          expect(fabric.drops()).toEqual({});
          expect(names(sent)).toContain('b');
        } else {
          expect(sent).toEqual([]);
          expect(fabric.drops()).toEqual({ [verdicts[i]!]: 1 });
        }
      });
    });
  }
};

const every = (verdict: string) => [verdict, verdict, verdict] as const;
const claim = (senderIp: string, more: { senderMac?: string; src?: string; op?: 'reply' } = {}): Uint8Array =>
  arp({
    op: more.op ?? 'request',
    senderMac: more.senderMac ?? MACS.a,
    senderIp,
    targetIp: '10.77.0.99',
    targetMac: MACS.b,
    src: more.src ?? MACS.a,
    dst: BROADCAST,
  });

describe('own addresses', () => {
  check('B24: a pod sends as itself', [
    ['its own IPv4 address', eth(echoRequest(IPS.a, IPS.b)), every(PASS)],
    ['another MAC', eth([1, 2, 3], 0x88b5, '06:00:00:00:00:99'), ['SPOOF_MAC', 'SPOOF_MAC', PASS]],
    ['a foreign IPv4 address', eth(echoRequest('10.77.0.77', IPS.b)), ['SPOOF_IP', PASS, PASS]],
    ['another port’s IPv4 address', eth(echoRequest(IPS.c, IPS.b)), ['SPOOF_IP', PASS, PASS]],
    [
      'a foreign address in a fragment',
      eth(ipv4({ from: '10.77.0.77', to: IPS.b, protocol: 17, fragment: 0x2001 }, [1, 2, 3, 4, 5, 6, 7, 8])),
      ['SPOOF_IP', PASS, PASS],
    ],
    ['IPv4 0.0.0.0', eth(echoRequest('0.0.0.0', IPS.b)), ['SPOOF_IP', PASS, PASS]],
    [
      'a DHCP question from 0.0.0.0',
      eth(udp({ from: '0.0.0.0', to: '255.255.255.255', sport: 68, dport: 67 }), 0x0800, MACS.a, BROADCAST),
      every(PASS),
    ],
    [
      'UDP 67 → 67 from 0.0.0.0',
      eth(udp({ from: '0.0.0.0', to: '255.255.255.255', sport: 67, dport: 67 }), 0x0800, MACS.a, BROADCAST),
      ['SPOOF_IP', PASS, PASS],
    ],
    [
      'its own IPv6 address',
      eth(ipv6({ from: OWN6, to: 'fd00:77::12', protocol: 59 }, []), 0x86dd),
      every(PASS),
    ],
    [
      'a foreign IPv6 address',
      eth(ipv6({ from: 'fd00:77::99', to: 'fd00:77::12', protocol: 59 }, []), 0x86dd),
      ['SPOOF_IP', PASS, PASS],
    ],
    [
      'any link-local address',
      eth(ipv6({ from: 'febf::1', to: 'fd00:77::12', protocol: 59 }, []), 0x86dd),
      every(PASS),
    ],
    [
      'fec0::1, which is not link-local',
      eth(ipv6({ from: 'fec0::1', to: 'fd00:77::12', protocol: 59 }, []), 0x86dd),
      ['SPOOF_IP', PASS, PASS],
    ],
    ['IPv6 ::', eth(ipv6({ from: '::', to: 'ff02::1:ff00:11', protocol: 59 }, []), 0x86dd), every(PASS)],
    [
      '::1',
      eth(ipv6({ from: '::1', to: 'fd00:77::12', protocol: 59 }, []), 0x86dd),
      ['SPOOF_IP', PASS, PASS],
    ],
    ['an ARP question in its own name', claim(IPS.a), every(PASS)],
    ['an ARP probe', claim('0.0.0.0'), every(PASS)],
    ['an ARP sender that is nobody’s', claim('10.77.0.77'), ['SPOOF_ARP', PASS, PASS]],
    [
      'an ARP sender MAC unlike the frame’s',
      claim(IPS.a, { senderMac: '06:00:00:00:00:99' }),
      ['SPOOF_ARP', 'SPOOF_ARP', PASS],
    ],
    [
      'a probe with a MAC unlike the frame’s',
      claim('0.0.0.0', { senderMac: '06:00:00:00:00:99' }),
      ['SPOOF_ARP', 'SPOOF_ARP', PASS],
    ],
    ['an ARP reply with a foreign address', claim('10.77.0.77', { op: 'reply' }), ['SPOOF_ARP', PASS, PASS]],
    ['an unknown type', eth([1], 0x88b5), every(PASS)],
    ['IPv4 too broken to have a source', eth([0x45, 0, 0], 0x0800), every(PASS)],
  ]);

  it('B24: a port with several addresses may use each', () => {
    const fabric = guarded('strict', {
      op: 'port',
      port: port('a', { antiSpoof: 'strict', addresses: [address4(IPS.a), address4('10.77.0.111')] }),
    });
    expect(names(fabric.from('a', eth(echoRequest('10.77.0.111', IPS.b))))).toEqual(['b']);
    expect(names(fabric.from('a', eth(echoRequest(IPS.a, IPS.b))))).toEqual(['b']);
  });

  it('B24: only the guarded port is guarded', () => {
    const fabric = guarded('strict');
    expect(
      names(fabric.from('c', eth(echoRequest('10.77.0.77', IPS.b), 0x0800, '06:00:00:00:00:07'))),
    ).toEqual(['b']);
    expect(fabric.drops()).toEqual({});
  });
});

describe('what belongs to others', () => {
  const server = udp({ from: IPS.a, to: IPS.b, sport: 67, dport: 68 });
  const server6 = ipv6({ from: OWN6, to: 'fd00:77::12', protocol: 17 }, [2, 0x23, 2, 0x22, 0, 8, 0, 0]);
  const advertisement = ipv6(
    { from: 'fe80::1', to: 'ff02::1', protocol: 58, hopLimit: 255 },
    [134, 0, 0, 0, 0, 0, 0, 0],
  );
  check('B25: a pod is neither gateway nor server', [
    ['ARP for the gateway address', claim(IPS.gateway), ['SPOOF_GATEWAY', 'SPOOF_GATEWAY', PASS]],
    ['ARP for the second subnet’s gateway', claim('10.78.0.1'), ['SPOOF_GATEWAY', 'SPOOF_GATEWAY', PASS]],
    [
      'an ARP reply for the gateway address',
      claim(IPS.gateway, { op: 'reply' }),
      ['SPOOF_GATEWAY', 'SPOOF_GATEWAY', PASS],
    ],
    ['ARP for another port’s address', claim(IPS.b), ['SPOOF_ARP', 'SPOOF_GATEWAY', PASS]],
    ['a DHCP server reply', eth(server), ['ROGUE_SERVER', 'ROGUE_SERVER', PASS]],
    ['a DHCPv6 server reply', eth(server6, 0x86dd), ['ROGUE_SERVER', 'ROGUE_SERVER', PASS]],
    [
      'a router advertisement',
      eth(advertisement, 0x86dd, MACS.a, '33:33:00:00:00:01'),
      ['ROGUE_SERVER', 'ROGUE_SERVER', PASS],
    ],
    [
      'a DHCP server reply in fragments',
      eth(ipv4({ from: IPS.a, to: IPS.b, protocol: 17, fragment: 0x2000 }, [0, 67, 0, 68, 0, 16, 0, 0])),
      ['ROGUE_SERVER', 'ROGUE_SERVER', PASS],
    ],
    [
      'a fragment that starts like one but is the second',
      eth(ipv4({ from: IPS.a, to: IPS.b, protocol: 17, fragment: 0x2001 }, [0, 67, 0, 68, 0, 16, 0, 0])),
      every(PASS),
    ],
    ['a DHCP client question', eth(udp({ from: IPS.a, to: IPS.b, sport: 68, dport: 67 })), every(PASS)],
  ]);

  const vxlanTo = (to: string, dport = 4789, fragment = 0x4000): Uint8Array =>
    eth(udp({ from: IPS.a, to, sport: 5000, dport, fragment }));
  check('B26: a pod has no tunnel of its own', [
    ['VXLAN to this host', vxlanTo('192.0.2.1'), every('UNDERLAY_ACCESS')],
    ['VXLAN to a peer', vxlanTo(PEER_ADDRESSES.q), every('UNDERLAY_ACCESS')],
    ['VXLAN to a peer, in fragments', vxlanTo(PEER_ADDRESSES.q, 4789, 0x2000), every('UNDERLAY_ACCESS')],
    ['VXLAN to somebody else', vxlanTo('192.0.2.77'), every(PASS)],
    ['another port of a peer', vxlanTo(PEER_ADDRESSES.q, 8472), every(PASS)],
  ]);

  it('B26: nor one to an IPv6 underlay address, whole or in fragments', () => {
    const host = { underlayAddresses: [address6('fd00:9::1')], vxlanPorts: [4789], maxFlows: 1024 };
    const fabric = guarded('mac', { op: 'host', host });
    const datagram = udp6({ from: OWN6, to: 'fd00:9::1', sport: 5000, dport: 4789 });
    const fragment = ipv6({ from: OWN6, to: 'fd00:9::1', protocol: 44 }, [
      ...[17, 0, 0, 1, 0, 0, 0, 7],
      ...datagram.slice(40),
    ]);
    for (const packet of [datagram, fragment]) expect(fabric.from('a', eth(packet, 0x86dd))).toEqual([]);
    expect(fabric.drops()).toEqual({ UNDERLAY_ACCESS: 2 });
    expect(
      names(fabric.from('a', eth(udp6({ from: OWN6, to: 'fd00:9::2', sport: 1, dport: 4789 }), 0x86dd))),
    ).toEqual(['b']);
  });

  it('B26: ports and addresses follow the configuration', () => {
    const host = { underlayAddresses: [address4('192.0.2.50')], vxlanPorts: [8472], maxFlows: 1024 };
    const fabric = guarded('mac', { op: 'host', host }, { op: 'remove-peer', id: 1025 });
    expect(fabric.from('a', vxlanTo('192.0.2.50', 8472))).toEqual([]);
    expect(fabric.drops()).toEqual({ UNDERLAY_ACCESS: 1 });
    for (const bytes of [
      vxlanTo('192.0.2.50', 4789),
      vxlanTo('192.0.2.1', 8472),
      vxlanTo(PEER_ADDRESSES.q, 8472),
    ]) {
      expect(names(fabric.from('a', bytes))).toEqual(['b']);
    }
  });
});

describe('the gateway’s own addresses', () => {
  for (const mac of [MACS.gateway, MACS.router]) {
    check('B27: the gateway’s MACs', [
      [`source ${mac} from a port`, eth([1], 0x88b5, mac), every('SPOOF_GATEWAY')],
      [`unknown protocol to ${mac}`, eth([1], 0x88b5, MACS.a, mac), every('GATEWAY_UNHANDLED')],
    ]);
  }

  it('B27: frames to the gateway are neither flooded nor tunnelled, even when unanswerable', () => {
    const fabric = new Fabric();
    for (const dst of [MACS.gateway, MACS.router]) {
      for (const type of [0x0800, 0x86dd, 0x0806, 0x8100, 0x88b5]) {
        expect(fabric.from('a', eth([1, 2, 3, 4], type, MACS.a, dst))).toEqual([]);
      }
    }
    expect(fabric.drops()).toEqual({ GATEWAY_UNHANDLED: 6, BAD_IP_HEADER: 4 });
  });

  it('B27: a frame to the gateway MAC from a tunnel is dropped, one to the router MAC is taken', () => {
    const fabric = new Fabric();
    const echo = echoRequest(IPS.far, IPS.gateway);
    expect(fabric.fromPeer('p', eth(echo, 0x0800, MACS.far, MACS.gateway))).toEqual([]);
    expect(fabric.drops()).toEqual({ GATEWAY_FROM_TUNNEL: 1 });
    expect(names(fabric.fromPeer('p', eth(echo, 0x0800, MACS.far, MACS.router)))).toEqual(['p']);
  });

  it('B27: what the daemon sends is never learned', () => {
    const fabric = new Fabric();
    fabric.from('a', eth(echoRequest(IPS.a, '10.77.0.99'), 0x0800, MACS.a, MACS.gateway));
    fabric.wait(4000);
    fabric.from('a', eth(echoRequest(IPS.a, IPS.gateway), 0x0800, MACS.a, MACS.gateway));
    expect(fabric.dataplane.pipeline.bridge.fdbs[0]!.learned).toBe(0);
  });

  it('B17, B27: the gateway MAC of one network is an ordinary address in another', () => {
    const fabric = new Fabric();
    expect(names(fabric.from('a', eth([1], 0x88b5, MACS.a, MACS.redGateway)))).toEqual(['b', 'c', 'p', 'q']);
  });
});
