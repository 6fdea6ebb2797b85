/** M15 under everything at once: random frames, garbage, floods, services, failing devices, changing fabric. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SLOTS, TxStatus } from '../../src/card/layout.ts';
import type { MemoryFrame } from '../../src/card/memory-card.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { COUNTER_FIELDS, Counter, LOCATIONS } from '../../src/telemetry/counters.ts';
import { Drop } from '../../src/telemetry/drop.ts';
import {
  address4,
  Fabric,
  IPS,
  MACS,
  network,
  type PeerName,
  type PortName,
  peer,
  port,
  service,
} from '../fabric.ts';
import { arp, echoRequest, ethernet, hex, icmp, ipv4, ipv6, tcp, udp, vxlan } from '../frames.ts';

const VIP = '10.96.0.10';
const SILENT = '10.77.0.99';
const mac = fc.constantFrom(
  ...Object.values(MACS),
  ...[
    'ff:ff:ff:ff:ff:ff',
    '01:00:5e:00:00:01',
    '01:80:c2:00:00:00',
    '00:00:00:00:00:00',
    '06:00:00:00:00:01',
  ],
);
const ip = fc.constantFrom(
  ...Object.values(IPS),
  VIP,
  SILENT,
  '10.77.0.255',
  '10.78.0.1',
  '0.0.0.0',
  '192.0.2.2',
  '224.0.0.1',
);
const tcpPort = fc.constantFrom(67, 68, 80, 81, 4789, 8080, 40_000, 40_001);

const packet = fc.oneof(
  fc
    .record({
      from: ip,
      to: ip,
      sport: tcpPort,
      dport: tcpPort,
      flags: fc.constantFrom('S', 'SA', 'A', 'FA', 'R', 'RA', ''),
    })
    .map(tcp),
  fc
    .record({
      from: ip,
      to: ip,
      sport: tcpPort,
      dport: tcpPort,
      ttl: fc.constantFrom(0, 1, 2, 64),
      fragment: fc.constantFrom(0x4000, 0, 0x2000, 0x2001, 1),
    })
    .map(udp),
  fc
    .record({ size: fc.integer({ min: 1380, max: 1460 }), to: ip, fragment: fc.constantFrom(0, 0x4000) })
    .map(({ size, to, fragment }) =>
      udp({ from: IPS.a, to, sport: 1, dport: 80, fragment, payload: Array<number>(size).fill(1) }),
    ),
  fc.tuple(ip, ip).map(([a, b]) => echoRequest(a, b)),
  fc
    .tuple(ip, ip, fc.constantFrom(3, 4, 5, 11, 12))
    .map(([a, b, type]) => icmp(a, b, [type, 1, 0, 0, 0, 0, 0, 0, ...echoRequest(b, a)])),
  fc
    .tuple(ip, ip, fc.uint8Array({ maxLength: 12 }))
    .map(([from, to, body]) => ipv4({ from, to, protocol: 6 }, body)),
);

const frame: fc.Arbitrary<Uint8Array> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(mac, mac, packet).map(([src, dst, body]) => ethernet({ src, dst }, body)),
  },
  // What ordinary pods send: to the gateway, or straight to each other.
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.constantFrom('a', 'b', 'c', 'far', 'other'),
        fc.constantFrom(MACS.gateway, MACS.router, MACS.a, MACS.b),
        packet,
      )
      .map(([name, dst, body]) => ethernet({ src: MACS[name as 'a'], dst }, body)),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({
        op: fc.constantFrom('request' as const, 'reply' as const),
        senderMac: mac,
        senderIp: ip,
        targetMac: mac,
        targetIp: ip,
      })
      .map(arp),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(mac, mac, fc.uint8Array({ maxLength: 60 }))
      .map(([src, dst, body]) => ethernet({ src, dst, type: 0x86dd }, body)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(mac, mac, fc.uint8Array({ maxLength: 30 }))
      .map(([src, dst, body]) =>
        ethernet({ src, dst, type: 0x86dd }, ipv6({ from: 'fe80::1', to: 'ff02::1', protocol: 58 }, body)),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(mac, mac, fc.uint8Array({ maxLength: 8 }))
      .map(([src, dst, body]) => ethernet({ src, dst, type: 0x8100 }, body)),
  },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 100 }) },
);

type Step =
  | {
      readonly kind: 'port';
      readonly name: PortName;
      readonly bytes: Uint8Array;
      readonly offload: Partial<MemoryFrame>;
    }
  | {
      readonly kind: 'peer';
      readonly source: PeerName | string;
      readonly vni: number;
      readonly bytes: Uint8Array;
      readonly tos: number;
    }
  | { readonly kind: 'garbage'; readonly device: number; readonly bytes: Uint8Array }
  | { readonly kind: 'burst'; readonly bytes: Uint8Array; readonly times: number }
  | { readonly kind: 'time'; readonly ms: number }
  | { readonly kind: 'status'; readonly name: string; readonly status: TxStatus }
  | { readonly kind: 'apply'; readonly ops: readonly Op[] };

const offload: fc.Arbitrary<Partial<MemoryFrame>> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.constant({ csumStart: 34, csumOffset: 16 }) },
  { weight: 1, arbitrary: fc.constant({ csumStart: 34, csumOffset: 16, gsoType: 1, gsoSize: 1000 }) },
  { weight: 1, arbitrary: fc.constantFrom({ fault: 1 }, { fault: 2 }) },
);
const changes: readonly (readonly Op[])[] = [
  [{ op: 'service', service: service() }],
  [{ op: 'service', service: service({ backends: [] }) }],
  [
    {
      op: 'service',
      service: service({
        protocol: 17,
        affinity: 10_000,
        backends: [{ address: address4(SILENT), port: 80 }],
      }),
    },
  ],
  [{ op: 'remove-service', id: 0 }],
  [{ op: 'network', network: network({ maxEntries: 10 }) }],
  [{ op: 'network', network: network({ broadcast: 'drop', unknownUnicast: 'drop', arpSuppression: false }) }],
  [{ op: 'network', network: network() }],
  [{ op: 'port', port: port('a', { antiSpoof: 'strict' }) }],
  [{ op: 'port', port: port('a') }],
  [{ op: 'port', port: port('c', { mtu: 600 }) }],
  [{ op: 'peer', peer: peer('p', { pathMtu: 1280 }) }],
  [{ op: 'peer', peer: peer('q', { flood: false }) }],
];

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('port' as const),
      name: fc.constantFrom<PortName>('a', 'b', 'c', 'r'),
      bytes: frame,
      offload,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('peer' as const),
      source: fc.constantFrom('p', 'q', '192.0.2.1', '192.0.2.99'),
      vni: fc.constantFrom(42, 42, 42, 43, 44),
      bytes: frame,
      tos: fc.integer({ min: 0, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('garbage' as const),
      device: fc.constantFrom(10, 11, 900, 800),
      bytes: fc.uint8Array({ maxLength: 200 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('burst' as const),
      bytes: frame,
      times: fc.integer({ min: 2, max: 300 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('time' as const),
      ms: fc.constantFrom(1, 100, 1000, 3000, 50_000, 400_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('status' as const),
      name: fc.constantFrom('a', 'b', 'c', 'p', 'q', 'r'),
      status: fc.constantFrom(
        TxStatus.SENT,
        TxStatus.SENT,
        TxStatus.BUSY,
        TxStatus.GONE,
        TxStatus.TOO_BIG,
        TxStatus.INVALID,
        TxStatus.ERROR,
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('apply' as const), ops: fc.constantFrom(...changes) }),
  },
);

/** Every settle in here ends with the fabric's own balance check: per location, and slots. */
function run(fabric: Fabric, one: Step): void {
  switch (one.kind) {
    case 'port':
      fabric.from(one.name, one.bytes, one.offload);
      break;
    case 'peer':
      fabric.fromPeer(one.source, one.bytes, { vni: one.vni, tos: one.tos });
      break;
    case 'garbage':
      fabric.card.receive({ device: one.device, bytes: one.bytes, remote: address4('192.0.2.2') });
      fabric.settle();
      break;
    case 'burst':
      for (let i = 0; i < one.times; i++) fabric.card.receive({ device: 10 + (i % 3), bytes: one.bytes });
      fabric.settle();
      break;
    case 'time':
      fabric.advance(one.ms);
      break;
    case 'status':
      fabric.status.set(one.name, one.status);
      break;
    case 'apply':
      fabric.dataplane.apply(one.ops);
      fabric.settle();
      break;
  }
}

/** The end of a datagram to a service, whose beginning never comes. */
const servedUdp: Step = { kind: 'apply', ops: [{ op: 'service', service: service({ protocol: 17 }) }] };
const lonelyFragment: Step = {
  kind: 'port',
  name: 'a',
  bytes: ethernet(
    { src: MACS.a, dst: MACS.gateway },
    ipv4({ from: IPS.a, to: VIP, protocol: 17, fragment: 1 }, [1, 2, 3, 4, 5, 6, 7, 8]),
  ),
  offload: {},
};

it('M15: whatever arrives, received = forwarded + consumed + dropped + held, and no slot is lost', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
      const fabric = new Fabric();
      for (const one of steps) run(fabric, one);
      // At rest: nobody waits any longer, so every frame has ended. Fragments wait longest, for 30 s (N37).
      fabric.wait(31_000);
      let held = 0;
      for (let at = 0; at < LOCATIONS; at++)
        held += fabric.counters.values[at * COUNTER_FIELDS + Counter.HELD]!;
      expect(held).toBe(0);
      expect(new Set(fabric.card.memory.free).size, 'no slot is free twice').toBe(SLOTS);
    }),
    { numRuns: 60, examples: [[[servedUdp, lonelyFragment]]] },
  );
}, 120_000);

it('M15: a frame is counted once at its source and once per copy at its destinations', () => {
  const fabric = new Fabric();
  const before = ['b', 'c', 'p', 'q'].map((name) => fabric.count(name, Counter.TX));
  const bytes = ethernet({ src: MACS.a, dst: 'ff:ff:ff:ff:ff:ff', type: 0x88b5 }, [1, 2, 3]);
  fabric.from('a', bytes);
  expect(fabric.count('a', Counter.RX)).toBe(1);
  expect(fabric.count('a', Counter.RX_BYTES)).toBe(17);
  expect(fabric.count('a', Counter.FORWARDED)).toBe(1);
  expect(['b', 'c', 'p', 'q'].map((name, i) => fabric.count(name, Counter.TX) - before[i]!)).toEqual([
    1, 1, 1, 1,
  ]);
});

it('M15: an answered frame is consumed or dropped, and its answer counts as the gateway’s', () => {
  const fabric = new Fabric();
  const before = fabric.count('a', Counter.TX);
  fabric.from('a', arp({ op: 'request', senderMac: MACS.a, senderIp: IPS.a, targetIp: IPS.gateway }));
  expect(fabric.count('a', Counter.CONSUMED)).toBe(1);
  expect(fabric.count('a', Counter.FORWARDED)).toBe(0);
  expect(fabric.count('a', Counter.TX)).toBe(before + 1);
});

it('M15: a stranger’s datagram counts at the underlay, a peer’s at the peer', () => {
  const fabric = new Fabric();
  fabric.fromUnderlay('192.0.2.99', vxlan({ vni: 42 }, hex('00'.repeat(20))));
  const { values, drops } = fabric.counters;
  expect(values[COUNTER_FIELDS + Counter.RX]).toBe(1);
  expect(drops[Drop.COUNT + Drop.UNKNOWN_PEER]).toBe(1);
  fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.b, type: 0x88b5 }));
  expect(fabric.count('p', Counter.RX)).toBe(1);
  expect(fabric.count('p', Counter.FORWARDED)).toBe(1);
});
