/** One row per drop reason: real frames in a real state, and exactly that reason comes out. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Fault, Gso, TxStatus } from '../../src/card/layout.ts';
import type { HostConfig, Op } from '../../src/dataplane/config.ts';
import { DROP_REASONS, Drop } from '../../src/telemetry/drop.ts';
import { address4, Fabric, IPS, MACS, network, port, service } from '../fabric.ts';
import { address6, dualNetwork, IPS6 } from '../fabric6.ts';
import { arp, echoRequest, ethernet, icmp, ipv4, tcp, udp, vxlan } from '../frames.ts';
import { solicitation, udp6 } from '../frames6.ts';

interface Row {
  readonly reason: keyof typeof Drop;
  /** On top of the standing fabric. */
  readonly ops?: readonly Op[];
  readonly count?: number;
  provoke(fabric: Fabric): void;
}

const STRANGER = '06:00:00:00:00:01';
const plain = (dst: string = MACS.b, src: string = MACS.a) => ethernet({ src, dst, type: 0x88b5 }, [1, 2, 3]);
const routed = (payload: ArrayLike<number>) => ethernet({ src: MACS.a, dst: MACS.gateway }, payload);
const blue = (overrides: Parameters<typeof network>[0]): Op => ({
  op: 'network',
  network: network(overrides),
});
const guardedA: Op = { op: 'port', port: port('a', { antiSpoof: 'strict' }) };
/** The host's own port, at which whoever is outside comes in. */
const hostC: Op = { op: 'port', port: port('c', { isHost: true }) };
const outside = (to: string) =>
  ethernet({ src: MACS.c, dst: MACS.gateway }, tcp({ from: '198.51.100.9', to, sport: 1, dport: 80 }));
const host = (overrides: Partial<HostConfig>): Op => ({
  op: 'host',
  host: {
    underlayAddresses: [address4('192.0.2.1')],
    vxlanPorts: [4789],
    maxFlows: 1024,
    ...overrides,
  },
});
const VIP = '10.96.0.10';
const shop = (overrides: Parameters<typeof service>[0] = {}): Op => ({
  op: 'service',
  service: service(overrides),
});
const local = { backends: [{ address: address4(IPS.b), port: 8080 }] };
const syn = (to = VIP, dport = 80, sport = 40_000) => routed(tcp({ from: IPS.a, to, sport, dport }));
const from = (fabric: Fabric, fields: { flags: string; sport?: number; ack?: number }) =>
  fabric.from(
    'a',
    routed(tcp({ from: IPS.a, to: VIP, sport: 40_000, dport: 80, seq: 1001, ack: 1, ...fields })),
  );
/** A fragment that is not the last, the `index`th of such a length, to a service. */
const piece = (length: number, index = 1) =>
  routed(ipv4({ from: IPS.a, to: VIP, protocol: 17, fragment: 0x2000 | (index + 3) }, Array(length).fill(1)));
const refusing = (status: TxStatus) => (fabric: Fabric) => {
  fabric.status.set('b', status);
  fabric.from('a', plain());
};

const ROWS: readonly Row[] = [
  { reason: 'SHORT_FRAME', provoke: (f) => f.from('a', plain().subarray(0, 13)) },
  { reason: 'BAD_VNET_HEADER', provoke: (f) => f.from('a', plain(), { fault: Fault.VNET }) },
  { reason: 'TRUNCATED', provoke: (f) => f.from('a', plain(), { fault: Fault.TRUNCATED }) },
  {
    reason: 'TRUNCATED',
    provoke: (f) => {
      const bytes = vxlan({ vni: 42 }, plain(MACS.b, MACS.far));
      f.card.receive({ device: 900, bytes, remote: address4('192.0.2.2'), fault: Fault.TRUNCATED });
      f.settle();
    },
  },
  { reason: 'BAD_SOURCE_MAC', provoke: (f) => f.from('a', plain(MACS.b, '01:00:00:00:00:01')) },
  { reason: 'RESERVED_DESTINATION', provoke: (f) => f.from('a', plain('01:80:c2:00:00:0e')) },
  { reason: 'STATIC_MOVE', provoke: (f) => f.from('a', plain(MACS.b, MACS.c)) },
  { reason: 'LOOP', provoke: (f) => f.fromPeer('p', plain(MACS.b, MACS.a)) },
  { reason: 'SPOOF_MAC', ops: [guardedA], provoke: (f) => f.from('a', plain(MACS.b, STRANGER)) },
  {
    reason: 'SPOOF_IP',
    ops: [guardedA],
    provoke: (f) => f.from('a', ethernet({ src: MACS.a, dst: MACS.b }, echoRequest('10.77.0.77', IPS.b))),
  },
  {
    reason: 'SPOOF_ARP',
    ops: [guardedA],
    provoke: (f) =>
      f.from('a', arp({ op: 'request', senderMac: MACS.a, senderIp: '10.77.0.77', targetIp: IPS.b })),
  },
  { reason: 'SPOOF_GATEWAY', provoke: (f) => f.from('a', plain(MACS.b, MACS.gateway)) },
  {
    reason: 'ROGUE_SERVER',
    ops: [guardedA],
    provoke: (f) =>
      f.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.b }, udp({ from: IPS.a, to: IPS.b, sport: 67, dport: 68 })),
      ),
  },
  {
    reason: 'UNDERLAY_ACCESS',
    ops: [guardedA],
    provoke: (f) => f.from('a', routed(udp({ from: IPS.a, to: '192.0.2.2', sport: 67, dport: 4789 }))),
  },
  { reason: 'GATEWAY_FROM_TUNNEL', provoke: (f) => f.fromPeer('p', plain(MACS.gateway, MACS.far)) },
  {
    reason: 'REFLECTION',
    provoke: (f) => {
      f.from('a', plain(MACS.b, STRANGER));
      f.from('a', plain(STRANGER));
    },
  },
  {
    reason: 'REFLECTION',
    provoke: (f) => {
      f.fromPeer('q', plain(MACS.b, MACS.other));
      f.fromPeer('p', plain(MACS.other, MACS.far));
    },
  },
  {
    reason: 'POLICY_FLOOD',
    ops: [blue({ unknownUnicast: 'drop' })],
    provoke: (f) => f.from('a', plain(STRANGER)),
  },
  {
    reason: 'NO_RECEIVER',
    ops: [{ op: 'remove-peer', id: 1024 }],
    provoke: (f) => f.from('r', plain('ff:ff:ff:ff:ff:ff')),
  },
  {
    reason: 'TOO_BIG',
    provoke: (f) => f.from('a', ethernet({ src: MACS.a, dst: MACS.b, type: 0x88b5 }, Array(1451).fill(0))),
  },
  {
    reason: 'TUNNEL_SHORT',
    provoke: (f) => f.fromUnderlay('192.0.2.2', vxlan({ vni: 42 }, plain().subarray(0, 13))),
  },
  {
    reason: 'TUNNEL_FLAGS',
    provoke: (f) => f.fromUnderlay('192.0.2.2', vxlan({ vni: 42, flags: 0 }, plain())),
  },
  {
    reason: 'TUNNEL_RESERVED',
    ops: [blue({ reservedBits: 'strict' })],
    provoke: (f) => f.fromUnderlay('192.0.2.2', vxlan({ vni: 42, reserved: 1 }, plain(MACS.b, MACS.far))),
  },
  { reason: 'UNKNOWN_VNI', provoke: (f) => f.fromPeer('p', plain(MACS.b, MACS.far), { vni: 4200 }) },
  { reason: 'UNKNOWN_PEER', provoke: (f) => f.fromPeer('192.0.2.99', plain(MACS.b, MACS.far)) },
  {
    reason: 'INNER_VLAN',
    provoke: (f) => f.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.b, type: 0x8100 }, [0, 7, 8, 0])),
  },
  {
    reason: 'INNER_VLAN',
    provoke: (f) => {
      f.fromPeer('p', plain(MACS.a, MACS.far));
      f.from('a', ethernet({ src: MACS.a, dst: MACS.far, type: 0x8100 }, [0, 7, 8, 0]));
    },
  },
  {
    reason: 'ECN',
    provoke: (f) =>
      f.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.b }, echoRequest(IPS.far, IPS.b)), { tos: 3 }),
  },
  {
    reason: 'BAD_OFFLOAD',
    provoke: (f) => {
      const packet = tcp({ from: IPS.far, to: IPS.b, sport: 1, dport: 2, payload: Array(3000).fill(1) });
      // The checksum field as a sender leaves it to its card: 10.77.0.21 + 10.77.0.12 + 6 + 3020, folded.
      packet.splice(36, 2, 0x20, 0x8d);
      f.fromPeer('p', Uint8Array.from([...ethernet({ src: MACS.far, dst: MACS.b }, packet), 0]));
    },
  },
  { reason: 'GATEWAY_UNHANDLED', provoke: (f) => f.from('a', plain(MACS.gateway)) },
  {
    reason: 'GATEWAY_UNHANDLED',
    provoke: (f) => f.from('a', routed(udp({ from: IPS.a, to: IPS.gateway, sport: 1, dport: 2 }))),
  },
  { reason: 'BAD_IP_HEADER', provoke: (f) => f.from('a', routed([0x45, 0, 0, 20])) },
  {
    reason: 'BAD_IP_HEADER',
    ops: [shop(local)],
    provoke: (f) => f.from('a', routed(ipv4({ from: IPS.a, to: VIP, protocol: 6 }, [0, 1, 0, 80]))),
  },
  { reason: 'TTL_EXPIRED', provoke: (f) => f.from('a', routed(echoRequest(IPS.a, IPS.b, 1))) },
  { reason: 'NO_ROUTE', provoke: (f) => f.from('a', routed(echoRequest(IPS.a, '203.0.113.1'))) },
  {
    reason: 'NEIGHBOR_PENDING_FULL',
    provoke: (f) => {
      for (let i = 0; i < 65; i++) f.from('a', routed(echoRequest(IPS.a, '10.77.0.99')));
    },
  },
  {
    reason: 'NEIGHBOR_FAILED',
    provoke: (f) => {
      f.from('a', routed(echoRequest(IPS.a, '10.77.0.99')));
      f.wait(3000);
    },
  },
  {
    reason: 'FRAGMENT_TO_SERVICE',
    ops: [shop(local)],
    provoke: (f) =>
      f.from('a', routed(ipv4({ from: IPS.a, to: VIP, protocol: 47, fragment: 0x2000 }, [1, 2]))),
  },
  {
    reason: 'UNSUPPORTED_TO_SERVICE',
    ops: [shop(local)],
    provoke: (f) => f.from('a', routed(echoRequest(IPS.a, VIP))),
  },
  { reason: 'NO_ENDPOINT', ops: [shop({ backends: [] })], provoke: (f) => f.from('a', syn()) },
  { reason: 'NO_SUCH_SERVICE_PORT', ops: [shop(local)], provoke: (f) => f.from('a', syn(VIP, 81)) },
  {
    reason: 'NO_LOCAL_ENDPOINT',
    ops: [shop({ ...local, internalLocal: true, local: [] })],
    provoke: (f) => f.from('a', syn()),
  },
  {
    reason: 'SOURCE_RANGE',
    ops: [
      hostC,
      shop({
        ...local,
        frontends: [{ address: address4('203.0.113.5'), port: 80, kind: 'loadBalancer' }],
        ranges: [{ address: address4('192.0.2.0'), prefix: 120 }],
      }),
    ],
    provoke: (f) => f.from('c', outside('203.0.113.5')),
  },
  {
    reason: 'UNALLOCATED_VIP',
    ops: [
      host({ serviceCIDRs: [{ address: address4('10.96.0.0'), prefix: 112 }], unallocatedVIP: 'drop' }),
      shop(local),
    ],
    provoke: (f) => f.from('a', syn('10.96.0.11')),
  },
  { reason: 'FLOW_INVALID', ops: [shop(local)], provoke: (f) => from(f, { flags: 'A' }) },
  {
    reason: 'FLOW_CLASH',
    ops: [host({ masqueradeAll: true, natPorts: [61_000, 61_000] }), hostC, shop(local)],
    provoke: (f) => {
      f.from('a', syn(VIP, 80, 1));
      f.from('a', syn(VIP, 80, 2));
    },
  },
  {
    reason: 'FLOW_TABLE_FULL',
    ops: [host({ maxFlows: 1 }), shop(local)],
    provoke: (f) => {
      f.from('a', syn());
      const reply = { from: IPS.b, to: IPS.a, sport: 8080, dport: 40_000, flags: 'SA', seq: 1, ack: 1001 };
      f.from('b', ethernet({ src: MACS.b, dst: MACS.a }, tcp(reply)));
      from(f, { flags: 'A', ack: 2 });
      f.from('a', syn(VIP, 80, 40_001));
    },
  },
  {
    // Every buffer is taken but the one the question came in.
    reason: 'NO_BUFFER',
    provoke: (f) => {
      const { packets } = f.dataplane.pipeline;
      const taken = Array.from({ length: 1023 }, () => packets.allocate());
      f.card.receive({
        device: 10,
        bytes: arp({ op: 'request', senderMac: MACS.a, senderIp: IPS.a, targetIp: IPS.gateway }),
      });
      f.dataplane.turn();
      for (const slot of taken) packets.release(slot);
      f.settle();
    },
  },
  { reason: 'TX_BUSY', provoke: refusing(TxStatus.BUSY) },
  { reason: 'TX_GONE', provoke: refusing(TxStatus.GONE) },
  {
    reason: 'TX_GONE',
    provoke: (f) => {
      f.card.receive({ device: 800, bytes: plain() });
      f.settle();
    },
  },
  { reason: 'TX_TOO_BIG', provoke: refusing(TxStatus.TOO_BIG) },
  { reason: 'TX_ERROR', provoke: refusing(TxStatus.ERROR) },
  { reason: 'TX_ERROR', provoke: refusing(TxStatus.INVALID) },
  {
    reason: 'PRIORITY_TAG',
    ops: [guardedA],
    provoke: (f) => f.from('a', ethernet({ src: MACS.a, dst: MACS.b, type: 0x8100 }, [0, 0, 8, 6, 0, 1])),
  },
  {
    reason: 'OUT_OF_WINDOW',
    ops: [shop(local)],
    provoke: (f) => {
      f.from('a', syn());
      const reset = { from: IPS.b, to: IPS.a, sport: 8080, dport: 40_000, flags: 'RA', ack: 77 };
      f.from('b', ethernet({ src: MACS.b, dst: MACS.a }, tcp(reset)));
    },
  },
  {
    reason: 'FLOW_ENDED',
    ops: [shop({ ...local, onEndpointRemoved: 'reset' })],
    provoke: (f) => {
      f.from('a', syn());
      f.dataplane.apply([{ op: 'remove-service', id: 0 }]);
      f.settle();
      from(f, { flags: 'A' });
    },
  },
  {
    reason: 'BAD_ICMP',
    ops: [shop(local)],
    provoke: (f) => {
      f.from('a', syn());
      const error = icmp(IPS.a, IPS.b, [3, 3, 0, 0, 0, 0, 0, 0, ...echoRequest(IPS.b, IPS.a)]);
      f.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.b }, icmp(IPS.a, IPS.b, [3, 3, 0, 0, 0, 0, 0, 0, ...error])),
      );
    },
  },
  { reason: 'FRAGMENT_INVALID', ops: [shop(local)], provoke: (f) => f.from('a', piece(9)) },
  {
    reason: 'FRAGMENT_LIMIT',
    ops: [shop(local)],
    count: 64,
    provoke: (f) => {
      for (let i = 0; i < 64; i++) f.from('a', piece(8, i));
    },
  },
  {
    reason: 'FRAGMENT_TIMEOUT',
    ops: [shop(local)],
    provoke: (f) => {
      f.from('a', piece(8));
      f.wait(31_000);
    },
  },
  {
    reason: 'UNRELATED_ERROR',
    ops: [shop(local)],
    provoke: (f) =>
      f.from('a', routed(icmp(IPS.a, VIP, [3, 3, 0, 0, 0, 0, 0, 0, ...echoRequest(VIP, IPS.a)]))),
  },
  {
    reason: 'NO_CHECKSUM',
    ops: [
      { op: 'network', network: dualNetwork() },
      shop({
        protocol: 17,
        vip: address6('fd00:96::10'),
        backends: [{ address: address6(IPS6.b), port: 53 }],
      }),
    ],
    provoke: (f) => {
      const bare = udp6({ from: IPS6.a, to: 'fd00:96::10', sport: 1, dport: 80 });
      bare.splice(46, 2, 0, 0);
      f.from('a', ethernet({ src: MACS.a, dst: MACS.gateway, type: 0x86dd }, bare));
    },
  },
  {
    reason: 'BAD_ND',
    provoke: (f) =>
      f.from('a', solicitation({ src: MACS.a, from: 'fe80::a', target: 'fe80::b', hopLimit: 64 })),
  },
];

describe('drop reasons', () => {
  for (const { reason, ops = [], count = 1, provoke } of ROWS) {
    it(`${reason} is produced, and nothing else`, () => {
      const fabric = new Fabric([...Fabric.standing(), ...ops]);
      provoke(fabric);
      expect(fabric.drops()).toEqual({ [reason]: count });
    });
  }

  it('a dropped frame teaches the neighbour table nothing either', () => {
    const fabric = new Fabric([...Fabric.standing(), guardedA]);
    const before = fabric.dataplane.pipeline.neighbors.extent;
    fabric.from('a', arp({ op: 'request', senderMac: MACS.a, senderIp: '10.77.0.77', targetIp: IPS.b }));
    expect(fabric.dataplane.pipeline.neighbors.extent).toBe(before);
  });

  it('a flood of which one copy left is forwarded, not dropped', () => {
    const fabric = new Fabric();
    for (const name of ['b', 'p', 'q']) fabric.status.set(name, TxStatus.BUSY);
    expect(fabric.from('a', plain('ff:ff:ff:ff:ff:ff')).map(({ to }) => to)).toEqual(['c']);
    expect(fabric.drops()).toEqual({});
    fabric.status.set('c', TxStatus.GONE);
    expect(fabric.from('a', plain('ff:ff:ff:ff:ff:ff'))).toEqual([]);
    expect(Object.values(fabric.drops())).toEqual([1]);
  });

  it('every reason has a row, and the list names every reason', () => {
    expect(DROP_REASONS.length).toBe(Drop.COUNT);
    const listed = DROP_REASONS.map(({ name }) => name).filter((name) => name !== 'NONE');
    const provoked = new Set<string>(ROWS.map(({ reason }) => reason));
    expect(listed.filter((name) => !provoked.has(name))).toEqual([]);
    const source = readFileSync(new URL('../../src/telemetry/drop.ts', import.meta.url), 'utf8');
    const members = /enum Drop \{(.*?)\}/s.exec(source)![1]!.match(/[A-Z_]+/g)!;
    expect(members).toEqual([...DROP_REASONS.map(({ name }) => name), 'COUNT']);
    for (const { name, text } of DROP_REASONS) expect(text.length, name).toBeGreaterThan(5);
  });

  it('super-frames are judged like frames: a forwarded one is counted once', () => {
    const fabric = new Fabric();
    const packet = tcp({
      from: IPS.a,
      to: IPS.b,
      sport: 1,
      dport: 2,
      flags: 'A',
      payload: Array(20_000).fill(1),
    });
    const offload = { csumStart: 34, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1400 };
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.b }, packet), offload).length).toBe(1);
    expect(fabric.drops()).toEqual({});
  });
});
