import type { Flows } from '../conntrack/flows.ts';
import { Word } from '../conntrack/tuple.ts';
import type { Affinities } from '../service/affinity.ts';
import { BACKEND_WORDS, Field, mainFrontendAt } from '../service/record.ts';
import type { Services } from '../service/services.ts';
import { uint8 } from '../table/memory.ts';
import { Protocol } from '../wire/ipv4.ts';

/** What is known of a service that changed. */
const enum Mark {
  /** It is or was a UDP service. */
  UDP = 1,
  /** It left its address or is gone. */
  LEFT = 2,
  /** It had affinities. */
  STICKY = 4,
}

/** Rows looked at between two turns: about 100 µs. */
const ROWS_PER_STEP = 8192;
/** What removing a row costs, in rows looked at. */
const REMOVAL = 16;

/**
 * What a change of services leaves behind: UDP flows to endpoints that left (S31–S33) and affinities to them (S27).
 * Changes are marked while a transaction is applied and cleaned up once it is live, by one pass over flows and one
 * over affinities, whatever the number of changed services. Each pass goes in steps, between which packets may pass.
 */
export class Stale {
  /** [service id] */
  private marks = uint8(0);
  /** All marks there are. */
  private any = 0;

  constructor(
    private readonly flows: Flows,
    private readonly services: Services,
    private readonly affinities: Affinities,
  ) {}

  /** Makes room for the ids the table has room for. Before the first mark of a transaction. */
  begin(): void {
    if (this.marks.length < this.services.capacity) this.marks = uint8(this.services.capacity);
  }

  /** Before the record at `at` is put. A service that comes leaves nothing behind. */
  setting(records: Int32Array, at: number): void {
    const { services } = this;
    const id = records[at + Field.ID]!;
    if (!services.has(id)) return;
    const before = services.key(id, 4);
    const protocol = records[at + Field.PORT]! >>> 16;
    const vip = mainFrontendAt(records, at);
    let isMoved = before !== ((protocol << 16) | (records[vip + 4]! & 0xffff));
    for (let i = 0; i < 4; i++) isMoved ||= services.key(id, i) !== records[vip + i];
    const isUdp = before >>> 16 === Protocol.UDP || protocol === Protocol.UDP;
    const isSticky = services.affinity[id] !== 0;
    this.mark(id, (isUdp ? Mark.UDP : 0) | (isMoved ? Mark.LEFT : 0) | (isSticky ? Mark.STICKY : 0));
  }

  /** Before a service is removed. */
  removing(id: number): void {
    const { services } = this;
    if (!services.has(id)) return;
    const isUdp = services.key(id, 4) >>> 16 === Protocol.UDP;
    this.mark(id, Mark.LEFT | (isUdp ? Mark.UDP : 0) | (services.affinity[id] === 0 ? 0 : Mark.STICKY));
  }

  /** Cleans up, a step per `next()`. @param clock says what time each step has */
  *forget(clock: { readonly now: number }): Generator<void> {
    if ((this.any & Mark.UDP) !== 0) {
      for (let row = 0; row < this.flows.extent; yield) row = this.dropFlows(row, clock.now);
    }
    if ((this.any & Mark.STICKY) !== 0) {
      const isKept = (row: number): boolean => this.isKept(row);
      for (let row = 0; row < this.affinities.extent; row += ROWS_PER_STEP / REMOVAL, yield) {
        this.affinities.forget(isKept, row, row + ROWS_PER_STEP / REMOVAL);
      }
    }
    this.marks.fill(0);
    this.any = 0;
  }

  private mark(id: number, mark: number): void {
    this.marks[id]! |= mark;
    this.any |= mark;
  }

  private isKept(row: number): boolean {
    const { services, affinities } = this;
    const id = affinities.key(row, 1);
    if ((this.marks[id]! & Mark.STICKY) === 0) return true;
    if (services.affinity[id] === 0) return false;
    const { backend } = affinities;
    const at = row * BACKEND_WORDS;
    return services.hasBackend(
      id,
      backend[at]!,
      backend[at + 1]!,
      backend[at + 2]!,
      backend[at + 3]!,
      backend[at + 4]!,
    );
  }

  /** @returns the row to go on with. */
  private dropFlows(from: number, now: number): number {
    const { flows, marks } = this;
    let row = from;
    for (let budget = ROWS_PER_STEP; budget > 0 && row < flows.extent; row++, budget--) {
      const mark = marks[flows.service[row]!]!;
      if ((mark & Mark.UDP) === 0 || !flows.isLive(row, now)) continue;
      if ((flows.word(row * 2, Word.SCOPE) & 0xff) !== Protocol.UDP) continue;
      if ((mark & Mark.LEFT) === 0 && this.isServed(row)) continue;
      flows.remove(row);
      budget -= REMOVAL;
    }
    return row;
  }

  private isServed(row: number): boolean {
    const { flows, services } = this;
    const id = flows.service[row]!;
    const reply = row * 2 + 1;
    const high = Word.SOURCE_HIGH;
    return (
      flows.generation[row] === services.generation[id] &&
      services.serves(
        id,
        flows.word(reply, high),
        flows.word(reply, high + 1),
        flows.word(reply, high + 2),
        flows.word(reply, Word.SOURCE),
        flows.word(reply, Word.PORTS) >>> 16,
      )
    );
  }
}
