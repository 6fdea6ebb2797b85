/** What happens in a run, step by step; it reacts to what was delivered, as stations do. */
import { Random } from '../random.ts';
import { Connection, type Outgoing } from './connection.ts';
import { CLIENTS } from './draw.ts';
import { view } from './packets.ts';
import { ServiceSet } from './services.ts';
import type { Change } from './spec.ts';
import { Strays } from './strays.ts';
import {
  type Delivery,
  hasHost,
  type Mode,
  OUTSIDE,
  OUTSIDERS,
  type Station,
  station,
  stationAt,
} from './world.ts';

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
  readonly #clients: readonly Station[];
  #connections: Connection[] = [];
  readonly #lost = new WeakSet<Connection>();
  #current: Connection | undefined;
  /** Flows by what they prove. */
  readonly flows = new Map<string, number>();
  #port = 10_000;
  /** Ports that two clients have had. */
  readonly #twice = new Set<number>();

  constructor(seed: number, mode: Mode) {
    this.#random = new Random(seed);
    this.#services = new ServiceSet(this.#random, mode);
    this.#strays = new Strays(this.#random, mode);
    this.#clients = [...CLIENTS.map(station), ...(hasHost(mode) ? OUTSIDERS : [])];
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

  /** Whether another client has the connection's port too. */
  get isShared(): boolean {
    return this.#current !== undefined && this.#twice.has(this.#current.port);
  }

  /** What both worlds delivered of the frame of the last step. @param isTainted they have parted ways over it */
  observe(deliveries: readonly Delivery[], isTainted: boolean): void {
    const connection = this.#current;
    if (!connection) return;
    for (const { to, frame } of deliveries) {
      const seen = view(frame);
      if (seen === undefined || (seen.protocol !== 6 && seen.protocol !== 17)) continue;
      const { target, client } = connection;
      const isMoved = isTainted && (this.isStale || target.kind === 'gatewayPort');
      const endpoint = connection.arrived(to, frame);
      if (endpoint !== undefined) {
        const { about } = connection;
        this.flows.set(about, (this.flows.get(about) ?? 0) + 1);
        if (!isMoved) this.#services.chosen(target, client.name, endpoint);
      }
      const next = isMoved ? stationAt(seen.to) : undefined;
      if (next && this.#services.mayChoose(target, next.name) && seen.dport === target.port.targetPort)
        this.#changes.push(this.#services.caughtUp(target, client.name, next.name));
    }
    if (isTainted || connection.isUnanswered) connection.isOver = true;
  }

  #open(): Connection | undefined {
    const client = this.#random.pick(this.#clients);
    const target = this.#services.target(client, this.#random.chance(60) ? 'TCP' : 'UDP');
    if (!target) return undefined;
    const connection = new Connection(this.#random, client, this.#portFor(client), target);
    this.#connections.push(connection);
    if (this.#connections.length > MOST_OPEN) this.#connections.shift();
    return connection;
  }

  /**
   * A port is never used twice by one client: what either world still knows of an older flow must not matter. Clients
   * outside often have one another's, which meet where both appear as the host.
   */
  #portFor(client: Station): number {
    const other = this.#connections.at(-1);
    const isOther =
      other && other.client !== client && [other.client, client].every((c) => c.place === OUTSIDE);
    if (isOther && !this.#twice.has(other.port)) {
      this.#twice.add(other.port);
      return other.port;
    }
    this.#port = this.#port >= 60_000 ? 10_000 : this.#port + 1;
    return this.#port;
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
