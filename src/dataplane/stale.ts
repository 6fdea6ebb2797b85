import type { Flows } from '../conntrack/flows.ts';
import { TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import type { Affinities } from '../service/affinity.ts';
import { NO_SERVICE } from '../service/open.ts';
import { BACKEND_WORDS, Field } from '../service/record.ts';
import type { Services } from '../service/services.ts';
import type { Judge } from '../service/verdict.ts';
import { uint8 } from '../table/memory.ts';
import { Protocol } from '../wire/ipv4.ts';

/** What is known of a service that changed. */
const enum Mark {
  /** It is or was a UDP service. */
  UDP = 1,
  /** It had affinities. */
  STICKY = 2,
}

/** Rows looked at between two turns: about 100 µs. */
const ROWS_PER_STEP = 8192;
/** What judging a row costs, and removing one, in rows looked at. */
const JUDGEMENT = 8;
const REMOVAL = 16;

/**
 * What a change of services leaves behind: UDP flows to endpoints, frontends and node ports that left (S31–S33), and
 * affinities to endpoints (S27). Changes are marked while a transaction is applied and cleaned up once it is live, by
 * one pass over flows and one over affinities, whatever the number of changed services. Each pass goes in steps,
 * between which packets may pass.
 */
export class Stale {
  /** [service id] */
  private marks = uint8(0);
  /** All marks there are. */
  private any = 0;
  private readonly tuple = new Int32Array(TUPLE_WORDS);

  constructor(
    private readonly flows: Flows,
    private readonly services: Services,
    private readonly affinities: Affinities,
    private readonly judge: Judge,
  ) {}

  /** Makes room for the ids the table has room for. Before the first mark of a transaction. */
  begin(): void {
    if (this.marks.length < this.services.capacity) this.marks = uint8(this.services.capacity);
  }

  /** Before the record at `at` is put. A service that comes leaves nothing behind. */
  setting(records: Int32Array, at: number): void {
    const id = records[at + Field.ID]!;
    if (!this.services.has(id)) return;
    this.removing(id);
    if (records[at + Field.PORT]! >>> 16 === Protocol.UDP) this.mark(id, Mark.UDP);
  }

  /** Before a service is removed. */
  removing(id: number): void {
    const { services } = this;
    if (!services.has(id)) return;
    if (services.protocol(id) === Protocol.UDP) this.mark(id, Mark.UDP);
    if (services.affinity[id] !== 0) this.mark(id, Mark.STICKY);
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
    return services.hasEndpoint(
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
      const id = flows.service[row]!;
      if (id === NO_SERVICE || (marks[id]! & Mark.UDP) === 0 || !flows.isLive(row, now)) continue;
      if ((flows.word(row * 2, Word.SCOPE) & 0xff) !== Protocol.UDP) continue;
      budget -= JUDGEMENT;
      if (this.isFound(row) && this.isServed(row)) continue;
      flows.remove(row);
      budget -= REMOVAL;
    }
    return row;
  }

  /** Does the flow's destination still name its service (S33)? */
  private isFound(row: number): boolean {
    const { flows, services, judge, tuple } = this;
    const id = flows.service[row]!;
    if (flows.generation[row] !== services.generation[id]) return false;
    for (let i = 0; i < TUPLE_WORDS; i++) tuple[i] = flows.word(row * 2, i);
    return judge.find(tuple) && judge.service === id;
  }

  /** Does its endpoint still serve (S31, S32)? */
  private isServed(row: number): boolean {
    const { flows, services } = this;
    const reply = row * 2 + 1;
    const high = Word.SOURCE_HIGH;
    return services.serves(
      flows.service[row]!,
      flows.word(reply, high),
      flows.word(reply, high + 1),
      flows.word(reply, high + 2),
      flows.word(reply, Word.SOURCE),
      flows.word(reply, Word.PORTS) >>> 16,
    );
  }
}
