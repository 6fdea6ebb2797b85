import type { Admit } from '../bridge/admit.ts';
import type { Bridge } from '../bridge/bridge.ts';
import { DEVICES } from '../card/layout.ts';
import { AntiSpoof, isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Fit } from '../gateway/fit.ts';
import type { PeerAddresses } from '../overlay/peers.ts';
import type { Vnis } from '../overlay/vnis.ts';
import type { Packets } from '../packet/packets.ts';
import type { Epochs } from '../table/epochs.ts';
import { Hasher } from '../table/hash.ts';
import { GATEWAY } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType, GROUP_BIT } from '../wire/ethernet.ts';
import { Ipv4 } from '../wire/ipv4.ts';

/** Words of a row: one cache line. */
export const PATH_WORDS = 16;

/** Words 0–5 are the key: see `Paths`. */
export const enum Path {
  EPOCH = 6,
  NETWORK = 7,
  FROM = 8,
  /** Where a bridged frame leaves; GATEWAY = addressed to the router, the next hop decides. */
  TO = 9,
  /** Largest packet the egress takes. */
  MTU = 10,
  /** Egress device, for a peer its underlay device. */
  DEVICE = 11,
  /** For a peer, its row of the card's remotes. */
  REMOTE = 12,
  /** FDB rows of both MACs; −1 where the destination is the router. */
  SOURCE_ROW = 13,
  TARGET_ROW = 14,
  /** `now` when the path was last found alive. */
  SEEN = 15,
}

/** What a card device is to the fast path. */
export const enum Role {
  NONE = 0,
  PORT = 1,
  TUNNEL = 2,
}

const WAYS = 4;
/** 131072 paths, 8 MiB of which only what is used is ever backed by memory. */
const SETS = 1 << 15;

/**
 * Paths: what the tables say of an IP frame by where it comes from and its MAC addresses, remembered. A row exists
 * only if such frames are admitted, change nothing but the stamp of their source, and have one way to go.
 *
 *   key 0   from a port: destination MAC 0–1 as on the wire, device      from a tunnel: VNI 16–23, reserved, MAC 0–1
 *       1   destination MAC 2–5        2   source MAC 0–3        3   source MAC 4–5, EtherType
 *       4   port that must use its own addresses: the IPv4 source (the IPv6 source is asked for by itself); other
 *           ports: 0; tunnel: `outerSource`
 *       5   port: 0; tunnel: VNI 0–15 as on the wire, device
 *
 * Valid while the epoch of its network stands; what ages is asked again in every millisecond. Sets of four rows, the
 * victim of a full one follows from the hash: whoever floods it with MACs makes frames slower, never wrong.
 */
export class Paths {
  readonly rows = new Int32Array(SETS * WAYS * PATH_WORDS);
  /** `Role` of each card device, and which bits of the IPv4 source belong to the key of its frames. */
  readonly roles = new Uint8Array(DEVICES);
  readonly sourceMask = new Int32Array(DEVICES);
  /** Of underlay devices: 1 = IPv6. */
  private readonly isOver6 = new Uint8Array(DEVICES);
  /** The last IPv6 underlay address, and the peer that has it; 0 = none. */
  private readonly outer = new Int32Array(5);
  /** Of ports: network << 8, as in the key of a flow. */
  readonly scope = new Int32Array(DEVICES);
  private readonly hasher: Hasher;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly bridge: Bridge,
    private readonly admit: Admit,
    private readonly fit: Fit,
    private readonly vnis: Vnis,
    private readonly peers: PeerAddresses,
    private readonly portOfDevice: Int32Array,
    private readonly epochs: Epochs,
    seed: number,
  ) {
    this.hasher = new Hasher(seed);
  }

  /** To be called when networks, ports or peers changed, after the epochs. */
  configure(): void {
    const { locations, networks, portOfDevice, vnis } = this;
    this.outer.fill(0);
    this.isOver6.fill(0);
    for (let network = 0; network < networks.names.length; network++) {
      if (networks.names[network] !== '' && networks.underlay6[network]! >= 0)
        this.isOver6[networks.underlay6[network]!] = 1;
    }
    for (let device = 0; device < DEVICES; device++) {
      const port = portOfDevice[device]!;
      if (port >= 0) this.roles[device] = Role.PORT;
      else this.roles[device] = vnis.isUnderlay(device) ? Role.TUNNEL : Role.NONE;
      const isStrict = port >= 0 && locations.antiSpoof[port] === AntiSpoof.STRICT;
      this.sourceMask[device] = isStrict ? -1 : 0;
      this.scope[device] = port >= 0 ? locations.network[port]! << 8 : 0;
    }
  }

  /**
   * Where a datagram came from, as one word: its IPv4 underlay address, or the location of the peer with its IPv6 one.
   * 0 = nobody the fast path knows.
   */
  outerSource(slot: number, device: number): number {
    const { remote0, remote1, remote2, remote3 } = this.packets.memory;
    const { outer } = this;
    const w3 = remote3[slot]!;
    const is4 = remote2[slot] === 0xffff && (remote0[slot]! | remote1[slot]!) === 0;
    if (this.isOver6[device] === 0) return is4 ? w3 : 0;
    if (
      outer[3] !== w3 ||
      outer[2] !== remote2[slot] ||
      outer[1] !== remote1[slot] ||
      outer[0] !== remote0[slot]
    ) {
      outer[0] = remote0[slot]!;
      outer[1] = remote1[slot]!;
      outer[2] = remote2[slot]!;
      outer[3] = w3;
      outer[4] = Math.max(0, this.peers.find(outer[0]!, outer[1]!, outer[2]!, w3));
    }
    return outer[4]!;
  }

  /**
   * The path of the frame at `at`; it must be renewed unless seen at `now`.
   * @returns the offset of its row, or −1: the tables have no such answer.
   */
  find(
    k0: number,
    k1: number,
    k2: number,
    k3: number,
    k4: number,
    k5: number,
    at: number,
    device: number,
    now: number,
  ): number {
    const { rows } = this;
    const hash = this.hasher.of6(k0, k1, k2, k3, k4, k5);
    const set = (hash & (SETS - 1)) * (WAYS * PATH_WORDS);
    let row = set;
    for (let way = 0; way < WAYS; way++, row += PATH_WORDS) {
      if (
        rows[row + 2] === k2 &&
        rows[row + 1] === k1 &&
        rows[row] === k0 &&
        rows[row + 3] === k3 &&
        rows[row + 4] === k4 &&
        rows[row + 5] === k5
      ) {
        if (rows[row + Path.EPOCH] === this.epochs.of[rows[row + Path.NETWORK]!]) return row;
        return this.derive(row, at, device, k4, now) ? row : -1;
      }
    }
    row = this.victim(set, hash);
    if (!this.derive(row, at, device, k4, now)) return -1;
    rows[row] = k0;
    rows[row + 1] = k1;
    rows[row + 2] = k2;
    rows[row + 3] = k3;
    rows[row + 4] = k4;
    rows[row + 5] = k5;
    return row;
  }

  /** Refreshes the source of a path, whose frame is admitted (B2). @returns false when its destination has aged (B5). */
  renew(row: number, now: number): boolean {
    const { rows } = this;
    const fdb = this.bridge.fdbs[rows[row + Path.NETWORK]!]!;
    fdb.touch(rows[row + Path.SOURCE_ROW]!, now);
    const target = rows[row + Path.TARGET_ROW]!;
    if (target >= 0 && fdb.isExpired(target, now)) return false;
    rows[row + Path.SEEN] = now;
    return true;
  }

  /** Forgets everything. */
  clear(): void {
    this.rows.fill(0);
  }

  /** A row of a set that holds nothing valid, else one the hash picks. */
  private victim(set: number, hash: number): number {
    const { rows, epochs } = this;
    for (let way = 0; way < WAYS; way++) {
      const row = set + way * PATH_WORDS;
      if (rows[row + Path.EPOCH] !== epochs.of[rows[row + Path.NETWORK]!]) return row;
    }
    return set + (hash >>> 30) * PATH_WORDS;
  }

  /** Asks the tables that the stages ask, and writes what they say behind the key. @returns false: no such answer. */
  private derive(row: number, at: number, device: number, k4: number, now: number): boolean {
    const { rows, networks, locations, bridge, packets } = this;
    const { view } = packets;
    const type = view.getUint16(at + 12);
    if (type !== EtherType.IPV4 && type !== EtherType.IPV6) return false;
    let from = this.portOfDevice[device]!;
    let network: number;
    if (from >= 0) {
      network = locations.network[from]!;
      const isStrict = locations.antiSpoof[from] === AntiSpoof.STRICT && type === EtherType.IPV4;
      if (isStrict && !locations.ownsAddress4(from, view.getInt32(at + 14 + Ipv4.SOURCE))) return false; // B24
    } else {
      if (view.getUint8(at - 1) !== 0) return false; // V23: counted, if not refused
      network = this.vnis.find(device, view.getInt32(at - 4) >>> 8); // V21
      from = this.isOver6[device] === 1 ? k4 : this.peers.find(0, 0, 0xffff, k4);
      if (network < 0 || from < 0 || locations.remoteOf(from, network) < 0) return false; // V22
    }
    const dstHi = view.getUint16(at);
    const dstLo = view.getInt32(at + 2);
    const srcHi = view.getUint16(at + 6);
    const srcLo = view.getInt32(at + 8);
    if ((dstHi & GROUP_BIT) !== 0) return false;
    if (this.admit.judgeMacs(network, from, srcHi, srcLo, dstHi, dstLo) !== Drop.NONE) return false;
    const fdb = bridge.fdbs[network]!;
    const source = fdb.find(srcHi, srcLo);
    if (source < 0 || fdb.location[source] !== from) return false; // to be learned first
    let target = -1;
    let to = GATEWAY;
    if (!networks.isRouterMac(network, dstHi, dstLo)) {
      target = fdb.find(dstHi, dstLo);
      if (target < 0 || fdb.isExpired(target, now)) return false;
      to = fdb.location[target]!;
      if (to <= GATEWAY || to === from || (isPeer(from) && isPeer(to))) return false; // B15, V31
    }
    rows[row + Path.EPOCH] = 0;
    rows[row + Path.NETWORK] = network;
    rows[row + Path.FROM] = from;
    rows[row + Path.TO] = to;
    rows[row + Path.SOURCE_ROW] = source;
    rows[row + Path.TARGET_ROW] = target;
    if (to !== GATEWAY && !this.writeEgress(row, network, to)) return false;
    rows[row + Path.EPOCH] = this.epochs.of[network]!;
    rows[row + Path.SEEN] = ~now;
    return true;
  }

  private writeEgress(row: number, network: number, to: number): boolean {
    const { rows, networks, locations } = this;
    rows[row + Path.MTU] = this.fit.limit(network, to);
    if (!isPeer(to)) {
      rows[row + Path.DEVICE] = locations.device[to]!;
      return locations.device[to]! >= 0;
    }
    const remote = locations.remoteOf(to, network);
    rows[row + Path.REMOTE] = remote;
    rows[row + Path.DEVICE] = locations.deviceTo(to, network, networks);
    return remote >= 0 && rows[row + Path.DEVICE]! >= 0;
  }
}
