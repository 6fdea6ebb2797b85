/** What happens in a run, step by step; it reacts to what was delivered, as stations do. */
import { readIpv4 } from '../frames.ts';
import { Random } from '../random.ts';
import { Connection, type Outgoing } from './connection.ts';
import { CLIENTS, type Mode, ServiceSet } from './services.ts';
import { Strays } from './strays.ts';
import { type Change, type Delivery, station, stationAt } from './world.ts';

export type Step =
  | ({ readonly kind: 'frame' } & Outgoing)
  | { readonly kind: 'change'; readonly change: Change }
  /** Time passes for Twill, whose clock stands still otherwise: it may complain again (N10). */
  | { readonly kind: 'wait'; readonly ms: number };

const MOST_OPEN = 16;

export class Traffic {
  readonly #random: Random;
  readonly #services: ServiceSet;
  readonly #strays: Strays;
  readonly #changes: Change[];
  #connections: Connection[] = [];
  readonly #lost = new WeakSet<Connection>();
  #current: Connection | undefined;
  #port = 10_000;

  constructor(seed: number, mode: Mode) {
    this.#random = new Random(seed);
    this.#services = new ServiceSet(this.#random, mode);
    this.#strays = new Strays(this.#random);
    this.#changes = this.#services.first();
  }

  next(): Step {
    this.#current = undefined;
    this.#connections = this.#connections.filter(({ isOver }) => !isOver);
    const change = this.#changes.shift();
    if (change) return { kind: 'change', change };
    const kind = this.#random.weighted({ connection: 640, open: 60, stray: 300, change: 7, wait: 4 });
    if (kind === 'wait') return { kind: 'wait', ms: 1100 };
    if (kind === 'change') {
      const next = this.#services.change();
      for (const connection of this.#connections) {
        const { backend, target } = connection;
        if (backend && !this.#services.serves(target, backend.name)) this.#lost.add(connection);
      }
      return { kind: 'change', change: next };
    }
    if (kind === 'stray') return { kind: 'frame', ...this.#strays.next() };
    const connection = kind === 'open' ? this.#open() : this.#pick();
    if (!connection) return { kind: 'frame', ...this.#strays.next() };
    this.#current = connection;
    return { kind: 'frame', ...connection.next() };
  }

  /** Number of the connection the last step belongs to; 0 = none. */
  get conversation(): number {
    return this.#current?.port ?? 0;
  }

  /** Whether the frame belongs to a UDP flow whose endpoint has left its service. */
  get isStale(): boolean {
    const current = this.#current;
    return current?.target.port.protocol === 'UDP' && this.#hasLost(current);
  }

  /** What both worlds delivered of the frame of the last step. @param isTainted they have parted ways over it */
  observe(deliveries: readonly Delivery[], isTainted: boolean): void {
    const connection = this.#current;
    if (!connection) return;
    for (const { to, frame } of deliveries) {
      if (frame[12] !== 8 || frame[13] !== 0 || (frame[23] !== 6 && frame[23] !== 17)) continue;
      const { target, client } = connection;
      const isMoved = isTainted && this.isStale;
      const endpoint = connection.arrived(to, frame);
      if (endpoint !== undefined) this.#services.chosen(target, client.name, endpoint);
      const next = isMoved ? stationAt(readIpv4(frame).to) : undefined;
      if (
        next &&
        this.#services.serves(target, next.name) &&
        readIpv4(frame).dport === target.port.targetPort
      )
        this.#changes.push(this.#services.caughtUp(target, client.name, next.name));
    }
    if (isTainted || connection.isUnanswered) connection.isOver = true;
  }

  #open(): Connection | undefined {
    const client = station(this.#random.pick(CLIENTS));
    const target = this.#services.target(client.name, this.#random.chance(60) ? 'TCP' : 'UDP');
    if (!target) return undefined;
    // A port is never used twice by one client: what either world still knows of an older flow must not matter.
    this.#port = this.#port >= 65_535 ? 10_000 : this.#port + 1;
    const connection = new Connection(this.#random, client, this.#port, target);
    this.#connections.push(connection);
    if (this.#connections.length > MOST_OPEN) this.#connections.shift();
    return connection;
  }

  #pick(): Connection | undefined {
    if (this.#connections.length === 0) return undefined;
    const connection = this.#random.pick(this.#connections);
    // A flow that Twill alone moves would be remembered by Twill alone.
    const { target } = connection;
    const isUdp = target.port.protocol === 'UDP';
    if (!isUdp || !this.#hasLost(connection) || !this.#services.isAffine(target)) return connection;
    connection.isOver = true;
    return undefined;
  }

  /** Its endpoint is not one of the service any more, or was not for a while. */
  #hasLost(connection: Connection): boolean {
    return this.#lost.has(connection);
  }
}
