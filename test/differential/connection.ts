/** One client's TCP connection or UDP exchange with a service: what its two ends would send next, and what they would not. */
import { ethernet, icmp, ip4, ipv4, readIpv4, tcp, udp } from '../frames.ts';
import type { Random } from '../random.ts';
import type { Target } from './services.ts';
import { GATEWAY_MAC, isOnOneLink, isPod, MTU, type Station, stationAt } from './world.ts';

export interface Outgoing {
  /** What it is, for reports and for `differences.ts`. */
  readonly label: string;
  readonly place: string;
  readonly frame: Uint8Array;
  /** Frames that follow at once: further fragments. */
  readonly more?: readonly Uint8Array[];
}

/** Far outside of any window of 64240 bytes. */
const FAR_AWAY = 0x20000000;
const MOST_FRAMES = 60;
/** Bytes of the first fragment. */
const FIRST_PART = 1400;

type Phase = 'fresh' | 'syn' | 'syn-ack' | 'open' | 'closing' | 'closed';

export class Connection {
  readonly target: Target;
  readonly client: Station;
  /** The client's. */
  readonly port: number;
  readonly #random: Random;
  /** Set by the first delivery. */
  #backend: Station | undefined;
  /** Whom the backend sees: the client, or the gateway in its place. */
  #peer = { ip: '', port: 0 };
  #phase: Phase = 'fresh';
  readonly #ends = { client: { sequence: 0 }, server: { sequence: 0 } };
  #isRefused = false;
  #last: Outgoing | undefined;
  #delivered: Uint8Array | undefined;
  #frames = 0;
  isOver = false;

  constructor(random: Random, client: Station, port: number, target: Target) {
    this.#random = random;
    this.client = client;
    this.port = port;
    this.target = target;
    this.#ends.client.sequence = random.below(0xffffffff);
    this.#ends.server.sequence = random.below(0xffffffff);
  }

  get backend(): Station | undefined {
    return this.#backend;
  }

  next(): Outgoing {
    if (++this.#frames > MOST_FRAMES) this.isOver = true;
    return this.target.port.protocol === 'TCP' ? this.#nextTcp() : this.#nextUdp();
  }

  /** What reached the backend of the frame just sent. @returns the endpoint a new flow was given to */
  arrived(to: string, frame: Uint8Array): string | undefined {
    const { from, to: ip, sport, dport } = readIpv4(frame);
    const at = stationAt(ip);
    const { targetPort } = this.target.port;
    if (at?.place !== to || dport !== targetPort || sport === this.target.port.port) return undefined;
    this.#delivered = frame;
    if (this.#backend !== undefined) return undefined;
    this.#backend = at;
    this.#peer = { ip: from, port: sport };
    return at.name;
  }

  /** Nothing came of the first packet. */
  get isUnanswered(): boolean {
    return this.#frames > 0 && this.#backend === undefined;
  }

  #nextUdp(): Outgoing {
    const random = this.#random;
    if (!this.#backend) return this.#keep('udp', this.#fromClient(this.#datagram()));
    const kind = random.weighted({
      ask: 40,
      answer: 40,
      again: 10,
      icmp: 5,
      icmpBack: 3,
      bad: 3,
      zero: 3,
      large: 3,
      end: 6,
    });
    if (kind === 'answer') return this.#keep('udp reply', this.#fromServer(this.#datagram(true)), true);
    if (kind === 'again' && this.#last) return this.#last;
    if (kind === 'icmp') return this.#complaint();
    if (kind === 'icmpBack') return this.#complaintOfClient();
    if (kind === 'bad') return this.#keep('bad checksum', corrupted(this.#fromClient(this.#datagram())));
    if (kind === 'zero') return this.#keep('udp', withoutChecksum(this.#fromClient(this.#datagram())));
    // what the kernel collects for a tunnel leaves it as one frame, which is no peer's business
    if (kind === 'large' && isPod(this.#backend.place)) return this.#large(random.chance(50));
    if (kind === 'end') this.isOver = true;
    return this.#keep('udp', this.#fromClient(this.#datagram()));
  }

  #nextTcp(): Outgoing {
    switch (this.#phase) {
      case 'fresh':
        this.#phase = 'syn';
        return this.#segment('client', 'S');
      case 'syn':
        return this.#afterSyn();
      case 'syn-ack':
        if (this.#random.chance(15) && this.#last) return this.#last;
        this.#phase = 'open';
        return this.#segment('client', 'A');
      case 'open':
        return this.#open();
      case 'closing':
        return this.#closing();
      case 'closed':
        return this.#closed();
    }
  }

  #afterSyn(): Outgoing {
    const kind = this.#random.weighted({ synAck: 70, again: 12, early: 6, refuse: 10, stray: 6 });
    if (!this.#backend || (kind === 'again' && this.#last)) return this.#last!;
    if (kind === 'early') return this.#odd('client', 'A', 0, 10);
    if (kind === 'stray') return this.#odd('server', 'A', 0, 0);
    if (kind === 'refuse') {
      this.#phase = 'closed';
      this.#isRefused = true;
      return this.#segment('server', 'RA');
    }
    this.#phase = 'syn-ack';
    return this.#segment('server', 'SA');
  }

  #open(): Outgoing {
    const random = this.#random;
    const from = random.chance(50) ? 'client' : 'server';
    const kind = random.weighted({
      ...{
        data: 50,
        ack: 10,
        again: 10,
        fin: 10,
        reset: 2,
        inexact: 2,
        wild: 3,
        wildReset: 2,
        syn: 2,
        synAck: 1,
      },
      ...{ nothing: 4, xmas: 1, bad: 3, icmp: 4, icmpBack: 2, options: 2 },
    });
    switch (kind) {
      case 'data':
        return this.#segment(from, 'PA', 1 + random.below(400));
      case 'ack':
        return this.#segment(from, 'A');
      case 'fin':
        this.#phase = 'closing';
        return this.#segment(from, 'FA');
      case 'reset':
        this.#phase = 'closed';
        return this.#segment(from, 'RA');
      case 'inexact':
        return this.#odd(from, 'R', 100, 0, 'inexact reset');
      case 'wild':
        return this.#odd(from, 'PA', FAR_AWAY, 20, 'out of window');
      case 'wildReset':
        return this.#odd(from, 'R', FAR_AWAY, 0, 'out of window');
      case 'syn':
        this.isOver = true;
        return this.#odd('client', 'S', 50_000, 0, 'syn again');
      case 'synAck':
        this.isOver = true;
        return this.#odd('server', 'SA', 0, 0, 'syn-ack again');
      case 'nothing':
        return this.#odd(from, '', 0, 0, 'no flags');
      case 'xmas':
        return this.#odd(from, 'SF', 0, 0, 'odd flags');
      case 'bad':
        return {
          ...this.#odd('client', 'PA', 0, 20),
          frame: corrupted(this.#odd('client', 'PA', 0, 20).frame),
          label: 'bad checksum',
        };
      case 'icmp':
        return this.#complaint();
      case 'icmpBack':
        return this.#complaintOfClient();
      case 'options':
        return this.#segment(from, 'PA', 600);
      case 'again':
        return this.#last ?? this.#segment(from, 'A');
    }
  }

  #closing(): Outgoing {
    const from = this.#random.chance(50) ? 'client' : 'server';
    const kind = this.#random.weighted({ ack: 40, fin: 30, again: 15, reset: 10 });
    if (kind === 'again' && this.#last) return this.#last;
    if (kind === 'reset') {
      this.#phase = 'closed';
      return this.#segment(from, 'RA');
    }
    if (kind === 'fin') this.#phase = 'closed';
    return this.#segment(from, kind === 'fin' ? 'FA' : 'A');
  }

  #closed(): Outgoing {
    const from = this.#random.chance(50) ? 'client' : 'server';
    if (this.#random.chance(20)) this.isOver = true;
    if (this.#isRefused) return this.#odd(from, from === 'client' ? 'A' : 'RA', 0, 0, 'after refusal');
    if (this.#random.chance(20) && this.#last) return this.#last;
    return this.#segment(from, 'A');
  }

  /** A segment that moves the connection on. */
  #segment(from: 'client' | 'server', flags: string, length = 0): Outgoing {
    const outgoing = this.#odd(from, flags, 0, length);
    const used = length + (/[SF]/.test(flags) ? 1 : 0);
    this.#ends[from].sequence = (this.#ends[from].sequence + used) >>> 0;
    return this.#remember(outgoing);
  }

  /** A segment that does not. @param off how far its sequence number is from the right one */
  #odd(
    from: 'client' | 'server',
    flags: string,
    off: number,
    length: number,
    label = `tcp ${flags}`,
  ): Outgoing {
    const [own, other] =
      from === 'client' ? (['client', 'server'] as const) : (['server', 'client'] as const);
    const seq = (this.#ends[own].sequence + off) >>> 0;
    const ack = flags.includes('A') ? this.#ends[other].sequence : 0;
    const payload = new Uint8Array(length).fill(seq & 255);
    const { ip } = this.client;
    const packet =
      from === 'client'
        ? tcp({
            from: ip,
            to: this.target.spec.clusterIP,
            sport: this.port,
            dport: this.target.port.port,
            flags,
            seq,
            ack,
            payload,
          })
        : tcp({
            from: this.#backend!.ip,
            to: this.#peer.ip,
            sport: this.target.port.targetPort,
            dport: this.#peer.port,
            flags,
            seq,
            ack,
            payload,
          });
    const isReply = from === 'server';
    const frame = isReply ? this.#fromServer(packet) : this.#fromClient(packet);
    return { label, place: isReply ? this.#backend!.place : this.client.place, frame };
  }

  /** A datagram in two fragments, in either order. */
  #large(isReply: boolean): Outgoing {
    const whole = this.#datagram(isReply, MTU + this.#random.below(1000));
    const fragments = [part(whole, 0, FIRST_PART), part(whole, FIRST_PART)].map((packet) =>
      isReply ? this.#fromServer(packet) : this.#fromClient(packet),
    );
    if (this.#random.chance(30)) fragments.reverse();
    const place = isReply ? this.#backend!.place : this.client.place;
    return { label: 'large datagram', place, frame: fragments[0]!, more: fragments.slice(1) };
  }

  #datagram(isReply = false, length = this.#random.below(300)): number[] {
    const payload = new Uint8Array(length).fill(this.#frames);
    const { ip } = this.client;
    return isReply
      ? udp({
          from: this.#backend!.ip,
          to: this.#peer.ip,
          sport: this.target.port.targetPort,
          dport: this.#peer.port,
          payload,
        })
      : udp({
          from: ip,
          to: this.target.spec.clusterIP,
          sport: this.port,
          dport: this.target.port.port,
          payload,
        });
  }

  /** The backend cannot take what it was sent last. */
  #complaint(): Outgoing {
    const { packet } = readIpv4(this.#delivered!);
    const body = [3, this.#random.pick([1, 3, 13]), 0, 0, 0, 0, 0, 0, ...packet.subarray(0, 28)];
    const frame = this.#fromServer(icmp(this.#backend!.ip, this.#peer.ip, body));
    return { label: 'icmp error', place: this.#backend!.place, frame };
  }

  /** The client cannot take an answer. */
  #complaintOfClient(): Outgoing {
    const { clusterIP } = this.target.spec;
    const protocol = this.target.port.protocol === 'TCP' ? 6 : 17;
    const quoted = [
      ...[0x45, 0, 0, 40, 0, 0, 0x40, 0, 60, protocol, 0, 0, ...ip4(clusterIP), ...ip4(this.client.ip)],
      ...[0, this.target.port.port, this.port >> 8, this.port & 255, 0, 0, 0, 0],
    ];
    const frame = this.#fromClient(icmp(this.client.ip, clusterIP, [3, 3, 0, 0, 0, 0, 0, 0, ...quoted]));
    return { label: 'icmp error', place: this.client.place, frame };
  }

  #fromClient(packet: readonly number[]): Uint8Array {
    return ethernet({ src: this.client.mac, dst: GATEWAY_MAC }, packet);
  }

  #fromServer(packet: readonly number[]): Uint8Array {
    const backend = this.#backend!;
    const peer = stationAt(this.#peer.ip);
    const isDirect = peer !== undefined && isOnOneLink(peer.ip, backend.ip);
    return ethernet({ src: backend.mac, dst: isDirect ? peer.mac : GATEWAY_MAC }, packet);
  }

  #keep(label: string, frame: Uint8Array, isReply = false): Outgoing {
    return this.#remember({ label, place: isReply ? this.#backend!.place : this.client.place, frame });
  }

  #remember(outgoing: Outgoing): Outgoing {
    this.#last = outgoing;
    return outgoing;
  }
}

/** The part of an IPv4 packet's payload from one byte to another as a fragment. */
function part(packet: readonly number[], from: number, to = packet.length - 20): number[] {
  const view = new DataView(Uint8Array.from(packet).buffer);
  const address = (at: number): string => packet.slice(at, at + 4).join('.');
  const isLast = to === packet.length - 20;
  const fragment = (isLast ? 0 : 0x2000) | (from >> 3);
  const fields = {
    from: address(12),
    to: address(16),
    protocol: packet[9]!,
    id: view.getUint16(22),
    fragment,
  };
  return ipv4(fields, packet.slice(20 + from, 20 + to));
}

/** Another TCP or UDP checksum than the right one. */
function corrupted(frame: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(frame);
  copy[frame[23] === 6 ? 50 : 40]! ^= 0x55;
  return copy;
}

function withoutChecksum(frame: Uint8Array): Uint8Array {
  return Uint8Array.from(frame).fill(0, 40, 42);
}
