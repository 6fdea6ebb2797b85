import type { PeerConfig, PortConfig } from '../dataplane/config.ts';
import { FIRST_PEER, LOCATIONS } from '../telemetry/counters.ts';
import { isIpv4, NETWORKS, type Networks } from './networks.ts';

export const enum AntiSpoof {
  OFF = 0,
  MAC = 1,
  STRICT = 2,
}

export const isPeer = (location: number): boolean => location >= FIRST_PEER;

/**
 * The ends of the fabric: ports and peers in one numbering (telemetry/counters.ts), one column per fact.
 * A port belongs to one network; a peer to several, each with its own row of the card's remotes.
 */
export class Locations {
  readonly names: string[] = new Array<string>(LOCATIONS).fill('');
  /** Ports: network id, −1 = no such port. */
  readonly network = new Int32Array(LOCATIONS).fill(-1);
  /** Ports: card device. */
  readonly device = new Int32Array(LOCATIONS).fill(-1);
  readonly macHi = new Int32Array(LOCATIONS);
  readonly macLo = new Int32Array(LOCATIONS);
  /** Ports: link MTU. Peers: inner path MTU, 0 = the network's. */
  readonly mtu = new Int32Array(LOCATIONS);
  readonly antiSpoof = new Uint8Array(LOCATIONS);
  /** Ports: their IPv4 addresses. */
  readonly addresses4: Int32Array[] = Array.from({ length: LOCATIONS }, () => new Int32Array(0));
  /** Ports: their IPv6 addresses, 4 words each. */
  readonly addresses6: Int32Array[] = Array.from({ length: LOCATIONS }, () => new Int32Array(0));
  /** Peers: row of remotes by [(peer − FIRST_PEER) × NETWORKS + network], −1 = not a member. */
  readonly remote = new Int32Array((LOCATIONS - FIRST_PEER) * NETWORKS).fill(-1);
  /** Peers: is that remote IPv6? */
  readonly remoteIs6 = new Uint8Array((LOCATIONS - FIRST_PEER) * NETWORKS);
  /** Flood members of each network: ports, and peers (V30). */
  readonly floodPorts: Int32Array[] = Array.from({ length: NETWORKS }, () => new Int32Array(0));
  readonly floodPeers: Int32Array[] = Array.from({ length: NETWORKS }, () => new Int32Array(0));

  setPort(config: PortConfig): void {
    this.removePort(config.id);
    const { id } = config;
    this.names[id] = config.name;
    this.network[id] = config.network;
    this.device[id] = config.device;
    this.macHi[id] = config.mac.hi;
    this.macLo[id] = config.mac.lo;
    this.mtu[id] = config.mtu;
    this.antiSpoof[id] = { off: AntiSpoof.OFF, mac: AntiSpoof.MAC, strict: AntiSpoof.STRICT }[
      config.antiSpoof
    ];
    this.addresses4[id] = Int32Array.from(config.addresses.filter(isIpv4).map((a) => a[3]));
    this.addresses6[id] = Int32Array.from(config.addresses.filter((a) => !isIpv4(a)).flat());
    this.floodPorts[config.network] = with_(this.floodPorts[config.network]!, id);
  }

  removePort(id: number): void {
    const network = this.network[id]!;
    if (network < 0) return;
    this.floodPorts[network] = without(this.floodPorts[network]!, id);
    this.network[id] = -1;
    this.device[id] = -1;
    this.names[id] = '';
    this.addresses4[id] = new Int32Array(0);
    this.addresses6[id] = new Int32Array(0);
  }

  setPeer(config: PeerConfig): void {
    this.removePeer(config.id);
    const { id } = config;
    this.names[id] = config.name;
    this.mtu[id] = config.pathMtu;
    for (const member of config.memberships) {
      const at = (id - FIRST_PEER) * NETWORKS + member.network;
      this.remote[at] = member.remote;
      this.remoteIs6[at] = isIpv4(member.address) ? 0 : 1;
      if (config.flood) this.floodPeers[member.network] = with_(this.floodPeers[member.network]!, id);
    }
  }

  removePeer(id: number): void {
    const first = (id - FIRST_PEER) * NETWORKS;
    for (let network = 0; network < NETWORKS; network++) {
      if (this.remote[first + network] === -1) continue;
      this.remote[first + network] = -1;
      this.floodPeers[network] = without(this.floodPeers[network]!, id);
    }
    this.names[id] = '';
  }

  /** Smallest MTU of all ports, and of all peers with a path MTU of their own. */
  smallestMtu(): number {
    return this.names.reduce((least, name, id) => {
      const mtu = this.mtu[id]!;
      return name === '' || mtu === 0 ? least : Math.min(least, mtu);
    }, 65_535);
  }

  /** Copies the largest flood of any network takes. */
  largestFlood(): number {
    let most = 1;
    for (let network = 0; network < NETWORKS; network++) {
      most = Math.max(most, this.floodPorts[network]!.length + this.floodPeers[network]!.length);
    }
    return most;
  }

  /** Row of the card's remotes for a peer in a network, −1 when it is no member. */
  remoteOf(peer: number, network: number): number {
    return this.remote[(peer - FIRST_PEER) * NETWORKS + network]!;
  }

  /** Underlay device by which a network's datagrams reach a peer, −1 = none. */
  deviceTo(peer: number, network: number, networks: Networks): number {
    const is6 = this.remoteIs6[(peer - FIRST_PEER) * NETWORKS + network] === 1;
    return (is6 ? networks.underlay6 : networks.underlay4)[network]!;
  }

  /** Does an IPv4 address belong to the port? */
  ownsAddress4(port: number, address: number): boolean {
    return this.addresses4[port]!.includes(address);
  }

  /** Does the IPv6 address in the four words belong to the port? */
  ownsAddress6(port: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const words = this.addresses6[port]!;
    for (let i = 0; i < words.length; i += 4) {
      if (words[i] === w0 && words[i + 1] === w1 && words[i + 2] === w2 && words[i + 3] === w3) return true;
    }
    return false;
  }
}

const with_ = (list: Int32Array, id: number): Int32Array => Int32Array.of(...list, id).sort();
const without = (list: Int32Array, id: number): Int32Array => list.filter((other) => other !== id);
