/**
 * A switch on an in-memory card with a small standing fabric, for stage tests: frames in, frames out, by name.
 *
 *   network blue (id 0, VNI 42, 10.77.0.0/24 and 10.78.0.0/24, MTU 1450)   ports a, b, c   peers p, q
 *   network red  (id 1, VNI 43, 10.77.0.0/24)                               port r          peer p
 */
import { expect } from 'vitest';
import { Control, TxStatus } from '../src/card/layout.ts';
import { MemoryCard, type MemoryFrame } from '../src/card/memory-card.ts';
import type {
  Address,
  Mac,
  NetworkConfig,
  Op,
  PeerConfig,
  PortConfig,
  ServiceConfig,
} from '../src/dataplane/config.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { COUNTER_FIELDS, Counter, Counters, FIRST_PEER, LOCATIONS } from '../src/telemetry/counters.ts';
import { DROP_REASONS, Drop } from '../src/telemetry/drop.ts';
import { vxlan } from './frames.ts';

export const address4 = (text: string): Address => {
  const [a, b, c, d] = text.split('.').map(Number) as [number, number, number, number];
  return [0, 0, 0xffff, (a << 24) | (b << 16) | (c << 8) | d];
};

export const macOf = (text: string): Mac => {
  const n = text.split(':').map((part) => Number.parseInt(part, 16)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return { hi: (n[0] << 8) | n[1], lo: (n[2] << 24) | (n[3] << 16) | (n[4] << 8) | n[5] };
};

export const MACS = {
  gateway: '02:77:00:00:00:01',
  router: '02:77:00:00:0a:01',
  a: '02:00:00:00:00:0a',
  b: '02:00:00:00:00:0b',
  c: '02:00:00:00:00:0c',
  r: '02:00:00:00:00:0a',
  /** A station behind peer p. */
  far: '02:00:00:00:01:01',
  /** A station behind peer q. */
  other: '02:00:00:00:02:01',
  redGateway: '02:77:00:00:00:02',
  redRouter: '02:77:00:00:0a:02',
};

export const IPS = {
  a: '10.77.0.11',
  b: '10.77.0.12',
  c: '10.77.0.13',
  far: '10.77.0.21',
  other: '10.77.0.22',
  gateway: '10.77.0.1',
};
export const PEER_ADDRESSES = { p: '192.0.2.2', q: '192.0.2.3' };

const UNDERLAY_DEVICE = 900;
const PORT_NAMES = ['a', 'b', 'c', 'r'] as const;
export type PortName = (typeof PORT_NAMES)[number];
export type PeerName = 'p' | 'q';
const locationOf = (name: string): number =>
  name === 'p' ? FIRST_PEER : name === 'q' ? FIRST_PEER + 1 : 2 + PORT_NAMES.indexOf(name as PortName);
const deviceOf = (name: PortName): number => 10 + PORT_NAMES.indexOf(name);

export const network = (overrides: Partial<NetworkConfig> = {}): NetworkConfig => ({
  id: 0,
  name: 'blue',
  vni: 42,
  underlay4: UNDERLAY_DEVICE,
  underlay6: -1,
  mtu: 1450,
  subnets: [
    { address: address4('10.77.0.0'), prefix: 120, gateway: address4(IPS.gateway) },
    { address: address4('10.78.0.0'), prefix: 120, gateway: address4('10.78.0.1') },
  ],
  gatewayMac: macOf(MACS.gateway),
  routerMac: macOf(MACS.router),
  ageing: 300_000,
  maxEntries: 8192,
  unknownUnicast: 'flood',
  broadcast: 'flood',
  multicast: 'flood',
  arpSuppression: true,
  reserved: 'drop',
  innerVlan: 'drop',
  reservedBits: 'ignore',
  dscp: 0,
  ...overrides,
});

export const red = (overrides: Partial<NetworkConfig> = {}): NetworkConfig =>
  network({
    id: 1,
    name: 'red',
    vni: 43,
    subnets: [{ address: address4('10.77.0.0'), prefix: 120, gateway: address4(IPS.gateway) }],
    gatewayMac: macOf(MACS.redGateway),
    routerMac: macOf(MACS.redRouter),
    ...overrides,
  });

export const port = (name: PortName, overrides: Partial<PortConfig> = {}): PortConfig => ({
  id: locationOf(name),
  name,
  network: name === 'r' ? 1 : 0,
  device: deviceOf(name),
  mac: macOf(MACS[name]),
  addresses: [address4(name === 'r' ? IPS.a : IPS[name])],
  antiSpoof: 'off',
  mtu: 1450,
  ...overrides,
});

export const peer = (name: PeerName, overrides: Partial<PeerConfig> = {}): PeerConfig => {
  const address = address4(PEER_ADDRESSES[name]);
  const remote = name === 'p' ? 0 : 2;
  return {
    id: locationOf(name),
    name,
    addresses: [address],
    memberships: [
      { network: 0, remote, address, port: 4789 },
      ...(name === 'p' ? [{ network: 1, remote: remote + 1, address, port: 4789 }] : []),
    ],
    flood: true,
    static: [],
    pathMtu: 0,
    ...overrides,
  };
};

export const service = (overrides: Partial<ServiceConfig> = {}): ServiceConfig => ({
  id: 0,
  name: 'default/shop:http',
  vip: address4('10.96.0.10'),
  port: 80,
  protocol: 6,
  affinity: 0,
  backends: [
    { address: address4(IPS.b), port: 8080 },
    { address: address4(IPS.far), port: 8080 },
  ],
  ...overrides,
});

export interface Sent {
  /** Port name, or peer name for datagrams. */
  to: string;
  /** The Ethernet frame: for datagrams, what is behind the VXLAN header. */
  frame: Uint8Array;
  /** VNI of a datagram. */
  vni?: number;
  raw: MemoryFrame;
}

/** A switch with its card; every send is recorded until `take` is called. */
export class Fabric {
  readonly card = new MemoryCard();
  readonly counters = new Counters();
  readonly dataplane: Dataplane;
  /** What the card answers to sends on a port or peer, by name. */
  readonly status = new Map<string, TxStatus>();
  private sent: Sent[] = [];

  constructor(ops: readonly Op[] = Fabric.standing(), seed = 0x5eed) {
    this.dataplane = new Dataplane(this.card, this.counters, seed, 1024);
    this.card.onSend = (raw) => {
      const sent = this.name(raw);
      const status = this.status.get(sent.to) ?? TxStatus.SENT;
      if (status === TxStatus.SENT) this.sent.push(sent);
      return status;
    };
    this.dataplane.apply(ops);
    // Announcements of the ports (A15) are over before a test begins.
    for (let i = 0; i < 40; i++) this.advance(100);
    this.take();
  }

  /** The operations that make the fabric of the file comment. */
  static standing(): Op[] {
    return [
      {
        op: 'host',
        host: { underlayAddresses: [address4('192.0.2.1')], vxlanPorts: [4789], maxFlows: 1024 },
      },
      { op: 'network', network: network() },
      { op: 'network', network: red() },
      { op: 'peer', peer: peer('p') },
      { op: 'peer', peer: peer('q') },
      ...PORT_NAMES.map((name): Op => ({ op: 'port', port: port(name) })),
    ];
  }

  /** Receives one frame from a port and runs until the switch is idle. @returns what was sent. */
  from(name: PortName, bytes: Uint8Array, offload: Partial<MemoryFrame> = {}): Sent[] {
    this.card.receive({ device: deviceOf(name), bytes, ...offload });
    return this.settle();
  }

  /** Receives one frame through a tunnel. */
  fromPeer(name: PeerName | string, frame: Uint8Array, options: { vni?: number; tos?: number } = {}): Sent[] {
    return this.fromUnderlay(
      PEER_ADDRESSES[name as PeerName] ?? name,
      vxlan({ vni: options.vni ?? 42 }, frame),
      options.tos,
    );
  }

  /** Receives one raw datagram from an underlay address. */
  fromUnderlay(source: string, datagram: Uint8Array, tos = 0, device = UNDERLAY_DEVICE): Sent[] {
    this.card.receive({ device, bytes: datagram, remote: address4(source), tos });
    return this.settle();
  }

  /** Runs turns until nothing is pending. */
  settle(): Sent[] {
    do this.dataplane.turn();
    while (this.card.pending > 0);
    this.dataplane.turn();
    this.checkBalance();
    return this.take();
  }

  /** Moves virtual time by `ms` and runs a turn. @returns what was sent. */
  advance(ms: number): Sent[] {
    this.card.now = (this.card.now + ms) | 0;
    return this.settle();
  }

  /** Moves virtual time in steps of at most a second, as a running daemon would see it. */
  wait(ms: number): Sent[] {
    const out: Sent[] = [];
    for (let left = ms; left > 0; left -= 1000) out.push(...this.advance(Math.min(left, 1000)));
    return out;
  }

  take(): Sent[] {
    const { sent } = this;
    this.sent = [];
    return sent;
  }

  /** Names and counts of all drops so far. */
  drops(): Record<string, number> {
    const out: Record<string, number> = {};
    for (let location = 0; location < LOCATIONS; location++) {
      for (let reason = 0; reason < Drop.COUNT; reason++) {
        const count = this.counters.drops[location * Drop.COUNT + reason]!;
        if (count > 0) out[DROP_REASONS[reason]!.name] = (out[DROP_REASONS[reason]!.name] ?? 0) + count;
      }
    }
    return out;
  }

  count(name: string, counter: Counter): number {
    return this.counters.values[locationOf(name) * COUNTER_FIELDS + counter]!;
  }

  /** M15: received = forwarded + consumed + dropped + held, for every location; and no slot is lost. */
  checkBalance(): void {
    const { values, drops } = this.counters;
    // Read once: a test runner looks up an imported enum at every use.
    const [fields, reasons] = [COUNTER_FIELDS, Drop.COUNT];
    const [rx, forwarded, consumed, waiting] = [
      Counter.RX,
      Counter.FORWARDED,
      Counter.CONSUMED,
      Counter.HELD,
    ];
    let held = 0;
    for (let location = 0; location < LOCATIONS; location++) {
      const row = location * fields;
      let ended = values[row + forwarded]! + values[row + consumed]! + values[row + waiting]!;
      for (let at = location * reasons, end = at + reasons; at < end; at++) ended += drops[at]!;
      held += values[row + waiting]!;
      if (ended !== values[row + rx]!) {
        expect.fail(`M15: location ${location} received ${values[row + rx]} but ended ${ended}`);
      }
    }
    expect(this.card.memory.control[Control.FREE_COUNT]! + held, 'slots are conserved').toBe(1024);
  }

  private name(raw: MemoryFrame): Sent {
    if (raw.device !== UNDERLAY_DEVICE) {
      const to = PORT_NAMES.find((name) => deviceOf(name) === raw.device) ?? `device ${raw.device}`;
      return { to, frame: raw.bytes, raw };
    }
    const peerName = (['p', 'q'] as const).find(
      (name) => address4(PEER_ADDRESSES[name])[3] === raw.remote![3],
    );
    const view = new DataView(raw.bytes.buffer, raw.bytes.byteOffset);
    return {
      to: peerName ?? 'unknown peer',
      frame: raw.bytes.subarray(8),
      vni: view.getUint32(4) >>> 8,
      raw,
    };
  }
}
