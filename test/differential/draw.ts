/** Whom and what a stray frame is about, drawn anew for each. */
import { ethernet } from '../frames.ts';
import type { Random } from '../random.ts';
import type { Outgoing } from './connection.ts';
import { framed } from './packets.ts';
import { clusterIPs } from './spec.ts';
import {
  type Addresses,
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY_MAC,
  gatewayOf,
  isOnOneLink,
  isPod,
  NODE_MAC,
  OUTSIDERS,
  STATIONS,
  type Station,
  station,
} from './world.ts';

export type Stray = Omit<Outgoing, 'label'>;
/** By label: weight, and the frame. */
export type Kinds = Readonly<Record<string, readonly [number, (draw: Draw) => Stray]>>;

/** Pods that ask services. */
export const CLIENTS = ['a', 'b', 'c'] as const;
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
/** A known ClusterIP that has no port 81, and no address of anything. */
export const VIP: Addresses = clusterIPs(0);
export const UNDEFINED_PORT = 81;
export const NOWHERE: Addresses = ['10.11.12.13', 'fd00:11:0:0:0:0:0:13'];

export class Draw {
  readonly random: Random;
  readonly family: Family;
  /** Somebody with a TAP, anybody and his neighbour, somebody of the other subnet, a client, somebody outside. */
  readonly pod: Station;
  readonly from: Station;
  readonly to: Station;
  readonly beyond: Station;
  readonly client: Station;
  readonly outsider: Station;
  /** Of the sender; no other stray has had it lately. */
  readonly port: number;

  constructor(random: Random, port: number) {
    this.random = random;
    this.port = port;
    this.family = random.pick(FAMILIES);
    this.pod = random.pick(STATIONS.filter(({ place }) => isPod(place)));
    const from = random.chance(80) ? this.pod : random.pick(STATIONS);
    this.from = from;
    this.to = random.pick(STATIONS.filter((other) => other !== from && isOnOneLink(other.ip, from.ip)));
    this.beyond = random.pick(STATIONS.filter((other) => !isOnOneLink(other.ip, this.pod.ip)));
    this.client = station(random.pick(CLIENTS));
    this.outsider = random.pick(OUTSIDERS);
  }

  address(of: Station): string {
    return addressOf(of, this.family);
  }

  /** Of `pod`, or of another. */
  get gateway(): string {
    return this.gatewayFor(this.pod);
  }

  gatewayFor(of: Station): string {
    return gatewayOf(of, this.family);
  }

  /** Source and destination of a packet to an undefined port. */
  ends(from: Station, to: string): { from: string; to: string; sport: number; dport: number } {
    return { from: this.address(from), to, sport: this.port, dport: UNDEFINED_PORT };
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.random.below(256));
  }

  send(source: Station, frame: Uint8Array): Stray {
    return { place: source.place, frame };
  }

  /** From `from` to `to`. */
  bridged(packet: readonly number[], dst = this.to.mac): Stray {
    return this.send(this.from, framed(this.from.mac, dst, packet));
  }

  /** From a station to its gateway. */
  routed(packet: readonly number[], source = this.pod): Stray {
    return this.send(source, framed(source.mac, GATEWAY_MAC, packet));
  }

  /** From `outsider` by the router beyond. */
  inward(packet: readonly number[]): Stray {
    return this.send(this.outsider, framed(this.outsider.mac, NODE_MAC, packet));
  }

  /** Anything at all. */
  raw(type: number, dst: string, src = this.from.mac, length = 46 + this.random.below(60)): Stray {
    return this.send(this.from, ethernet({ src, dst, type }, this.bytes(length)));
  }
}
