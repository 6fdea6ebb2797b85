/** The two ends of a client's talk with a service: who they are, whom each takes the other for, and what they send. */
import {
  datagram,
  framed,
  inTwo,
  L4,
  type Ends as Numbers,
  quotable,
  segment,
  UNREACHABLE_CODES,
  unreachable,
  view,
} from './packets.ts';
import type { Target } from './services.ts';
import {
  addressOf,
  GATEWAY_MAC,
  HOST_PORT,
  isOnOneLink,
  NODE_MAC,
  OUTSIDE,
  type Station,
  stationAt,
} from './world.ts';

export type End = 'client' | 'server';

/** Bytes of the first fragment. */
const FIRST_PART = 1392;

export class Ends {
  readonly target: Target;
  readonly client: Station;
  /** The client's. */
  readonly port: number;
  /** Set by the first delivery. */
  backend: Station | undefined;
  /** Whom the backend sees: the client, the gateway or the host in its place. */
  #peer = { ip: '', port: 0 };
  #delivered: Uint8Array | undefined;

  constructor(client: Station, port: number, target: Target) {
    this.client = client;
    this.port = port;
    this.target = target;
  }

  /** What reached the backend of the frame just sent. @returns the endpoint a new flow was given to */
  arrived(to: string, frame: Uint8Array): string | undefined {
    const seen = view(frame);
    if (seen === undefined || seen.dport !== this.target.port.targetPort) return undefined;
    const at = stationAt(seen.to);
    if (at?.place !== to) return undefined;
    if (seen.l4 === L4[seen.family]) this.#delivered = frame; // an error must quote the ports
    if (this.backend !== undefined) return undefined;
    this.backend = at;
    this.#peer = { ip: seen.from, port: seen.sport };
    return at.name;
  }

  /** Who asked whom by what, and as whom it appeared. */
  get about(): string {
    const { family, kind, set } = this.target;
    const from = this.client.place === OUTSIDE ? 'outside' : 'a pod';
    const { ip } = this.#peer;
    const isHost = HOST_PORT.addresses.includes(ip);
    const as = ip === addressOf(this.client, family) ? 'itself' : isHost ? 'the host' : 'the gateway';
    return `IPv${family} ${kind} (${set}) from ${from} as ${as}`;
  }

  placeOf(end: End): string {
    return end === 'client' ? this.client.place : this.backend!.place;
  }

  segment(end: End, fields: { flags: string; seq: number; ack: number; payload: Uint8Array }): Uint8Array {
    return this.#frame(end, segment({ ...this.#numbers(end), ...fields }));
  }

  datagram(end: End, payload: Uint8Array): Uint8Array {
    return this.#frame(end, datagram({ ...this.#numbers(end), payload }));
  }

  /** A datagram in two fragments. */
  fragments(end: End, payload: Uint8Array): Uint8Array[] {
    const whole = datagram({ ...this.#numbers(end), payload });
    return inTwo(whole, FIRST_PART).map((packet) => this.#frame(end, packet));
  }

  /** The end cannot take what it was sent last. @param which of the reasons */
  complaint(end: End, which: number): Uint8Array {
    const { from, to, sport, dport } = this.#numbers(end);
    const protocol = this.target.port.protocol === 'TCP' ? 6 : 17;
    const quoted =
      end === 'server'
        ? view(this.#delivered!)!.packet
        : quotable({ from: to, to: from, sport: dport, dport: sport }, protocol);
    const codes = UNREACHABLE_CODES[this.target.family];
    return this.#frame(end, unreachable(from, to, codes[which % codes.length]!, quoted));
  }

  /** Addresses and ports of what an end sends. */
  #numbers(end: End): Numbers {
    const { at, port, family } = this.target;
    const from = addressOf(end === 'client' ? this.client : this.backend!, family);
    return end === 'client'
      ? { from, to: at.address, sport: this.port, dport: at.port }
      : { from, to: this.#peer.ip, sport: port.targetPort, dport: this.#peer.port };
  }

  #frame(end: End, packet: readonly number[]): Uint8Array {
    if (end === 'server') return framed(this.backend!.mac, this.#wayBack(this.backend!), packet);
    return framed(this.client.mac, this.client.place === OUTSIDE ? NODE_MAC : GATEWAY_MAC, packet);
  }

  /** The MAC a backend sends its answers to. */
  #wayBack(backend: Station): string {
    const { ip } = this.#peer;
    const peer = stationAt(ip);
    if (peer?.place === OUTSIDE || !isOnOneLink(ip, addressOf(backend, this.target.family)))
      return GATEWAY_MAC;
    if (peer) return peer.mac;
    return HOST_PORT.addresses.includes(ip) ? HOST_PORT.mac : GATEWAY_MAC;
  }
}
