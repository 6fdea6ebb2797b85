/** One client's TCP connection or UDP exchange with a service: what its two ends would send next, and what they would not. */
import type { Random } from '../random.ts';
import { type End, Ends } from './ends.ts';
import { corrupted, withoutChecksum } from './packets.ts';
import type { Target } from './services.ts';
import { isPod, type Station } from './world.ts';

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
/** Of the uplink, the widest: what fits it is no fragment's any more once a kernel has collected it. */
const LINK_MTU = 1500;

type Phase = 'fresh' | 'syn' | 'syn-ack' | 'open' | 'closing' | 'closed';

export class Connection extends Ends {
  readonly #random: Random;
  #phase: Phase = 'fresh';
  readonly #next = { client: 0, server: 0 };
  #isRefused = false;
  #last: Outgoing | undefined;
  #frames = 0;
  isOver = false;

  constructor(random: Random, client: Station, port: number, target: Target) {
    super(client, port, target);
    this.#random = random;
    this.#next.client = random.below(0xffffffff);
    this.#next.server = random.below(0xffffffff);
  }

  next(): Outgoing {
    if (++this.#frames > MOST_FRAMES) this.isOver = true;
    return this.target.port.protocol === 'TCP' ? this.#nextTcp() : this.#nextUdp();
  }

  /** Nothing came of the first packet. */
  get isUnanswered(): boolean {
    return this.#frames > 0 && this.backend === undefined;
  }

  #nextUdp(): Outgoing {
    const random = this.#random;
    if (!this.backend) return this.#datagram('client', 'udp');
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
    if (kind === 'answer') return this.#datagram('server', 'udp reply');
    if (kind === 'again' && this.#last) return this.#last;
    if (kind === 'icmp') return this.#complaint('server');
    if (kind === 'icmpBack') return this.#complaint('client');
    if (kind === 'bad') return this.#datagram('client', 'bad checksum', corrupted);
    if (kind === 'zero' && this.target.family === 4) return this.#datagram('client', 'udp', withoutChecksum);
    // what the kernel collects for a tunnel leaves it as one frame, which is no peer's business
    if (kind === 'large' && isPod(this.backend.place))
      return this.#large(random.chance(50) ? 'server' : 'client');
    if (kind === 'end') this.isOver = true;
    return this.#datagram('client', 'udp');
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
    if (!this.backend || (kind === 'again' && this.#last)) return this.#last!;
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
        return this.#complaint('server');
      case 'icmpBack':
        return this.#complaint('client');
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
  #segment(from: End, flags: string, length = 0): Outgoing {
    const outgoing = this.#odd(from, flags, 0, length);
    const used = length + (/[SF]/.test(flags) ? 1 : 0);
    this.#next[from] = (this.#next[from] + used) >>> 0;
    return this.#remember(outgoing);
  }

  /** A segment that does not. @param off how far its sequence number is from the right one */
  #odd(from: End, flags: string, off: number, length: number, label = `tcp ${flags}`): Outgoing {
    const seq = (this.#next[from] + off) >>> 0;
    const ack = flags.includes('A') ? this.#next[from === 'client' ? 'server' : 'client'] : 0;
    const payload = new Uint8Array(length).fill(seq & 255);
    return { label, place: this.placeOf(from), frame: this.segment(from, { flags, seq, ack, payload }) };
  }

  #datagram(from: End, label: string, spoilt = (frame: Uint8Array) => frame): Outgoing {
    const payload = new Uint8Array(this.#random.below(300)).fill(this.#frames);
    return this.#remember({ label, place: this.placeOf(from), frame: spoilt(this.datagram(from, payload)) });
  }

  /** A datagram in two fragments, in either order. */
  #large(from: End): Outgoing {
    const payload = new Uint8Array(LINK_MTU + this.#random.below(1000)).fill(this.#frames);
    const [frame, ...more] = this.fragments(from, payload);
    const [one, two] = this.#random.chance(30) ? [more[0]!, frame!] : [frame!, more[0]!];
    return { label: 'large datagram', place: this.placeOf(from), frame: one, more: [two] };
  }

  #complaint(from: End): Outgoing {
    const frame = this.complaint(from, this.#random.below(3));
    return { label: 'icmp error', place: this.placeOf(from), frame };
  }

  #remember(outgoing: Outgoing): Outgoing {
    this.#last = outgoing;
    return outgoing;
  }
}
