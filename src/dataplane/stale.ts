import type { Flows } from '../conntrack/flows.ts';
import type { Affinities } from '../service/affinity.ts';
import type { Ending } from '../service/ending.ts';
import { NO_SERVICE } from '../service/open.ts';
import { BACKEND_WORDS, Field } from '../service/record.ts';
import type { Services } from '../service/services.ts';
import type { Judge } from '../service/verdict.ts';
import { uint8 } from '../table/memory.ts';
import { Protocol } from '../wire/ipv4.ts';
import { Fate, Fates, grace, graceOf, KEEP } from './fate.ts';

/** What is known of a service that changed. */
const enum Mark {
  /** It has or had flows that do not simply stay: UDP, or TCP that is not kept when its endpoint leaves. */
  FLOWS = 1,
  /** It had affinities. */
  STICKY = 2,
}

/** Rows looked at between two turns: about 100 µs. */
const ROWS_PER_STEP = 8192;
/** What judging a row costs, and removing one, in rows looked at. */
const JUDGEMENT = 8;
const REMOVAL = 16;

/**
 * What a change of services leaves behind: UDP flows to endpoints, frontends and node ports that left (S31–S33), TCP
 * flows that are not kept (S30), and affinities to endpoints (S27). Changes are marked while a transaction is applied and cleaned up once it is live, by
 * one pass over flows and one over affinities, whatever the number of changed services. Each pass goes in steps,
 * between which packets may pass.
 */
export class Stale {
  /** [service id] */
  private marks = uint8(0);
  /** All marks there are. */
  private any = 0;
  /** Removed services whose TCP flows end: id → ms until then. */
  private readonly gone = new Map<number, number>();
  private readonly fates: Fates;

  constructor(
    private readonly flows: Flows,
    private readonly services: Services,
    private readonly affinities: Affinities,
    private readonly ending: Ending,
    judge: Judge,
  ) {
    this.fates = new Fates(flows, services, judge);
  }

  /** Makes room for the ids the table has room for. Before the first mark of a transaction. */
  begin(): void {
    if (this.marks.length < this.services.capacity) this.marks = uint8(this.services.capacity);
  }

  /** Before the record at `at` is put. A service that comes leaves nothing behind. */
  setting(records: Int32Array, at: number): void {
    const id = records[at + Field.ID]!;
    if (!this.services.has(id)) return;
    this.changing(id);
    const isKept = graceOf(records[at + Field.FLAGS]!, 0) === KEEP;
    if (records[at + Field.PORT]! >>> 16 === Protocol.UDP || !isKept) this.mark(id, Mark.FLOWS);
  }

  /** Before a service is removed. */
  removing(id: number): void {
    const { services } = this;
    if (!services.has(id)) return;
    this.changing(id);
    if (grace(services, id) !== KEEP) this.gone.set(id, grace(services, id));
  }

  private changing(id: number): void {
    const { services } = this;
    if (services.protocol(id) === Protocol.UDP || grace(services, id) !== KEEP) this.mark(id, Mark.FLOWS);
    if (services.affinity[id] !== 0) this.mark(id, Mark.STICKY);
  }

  /** Cleans up, a step per `next()`. @param clock says what time each step has */
  *forget(clock: { readonly now: number }): Generator<void> {
    if ((this.any & Mark.FLOWS) !== 0) {
      for (let row = 0; row < this.flows.extent; yield) row = this.settle(row, clock.now);
    }
    if ((this.any & Mark.STICKY) !== 0) {
      const isKept = (row: number): boolean => this.isKept(row);
      for (let row = 0; row < this.affinities.extent; row += ROWS_PER_STEP / REMOVAL, yield) {
        this.affinities.forget(isKept, row, row + ROWS_PER_STEP / REMOVAL);
      }
    }
    this.marks.fill(0);
    this.gone.clear();
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
  private settle(from: number, now: number): number {
    const { flows, services, marks, fates, ending } = this;
    let row = from;
    for (let budget = ROWS_PER_STEP; budget > 0 && row < flows.extent; row++, budget--) {
      const id = flows.service[row]!;
      if (id === NO_SERVICE || (marks[id]! & Mark.FLOWS) === 0 || !flows.isLive(row, now)) continue;
      budget -= JUDGEMENT;
      // Services of this id that went since. What the first of them, its own, wanted stands.
      const since = services.generation[id]! - flows.generation[row]!;
      const last = since === 1 ? this.gone.get(id) : undefined;
      const gone = since === 0 ? undefined : (last ?? KEEP);
      switch (fates.of(row, gone)) {
        case Fate.REMOVED:
          flows.remove(row);
          budget -= REMOVAL;
          break;
        case Fate.ENDED:
          ending.schedule(row, gone ?? grace(services, id), now);
          break;
        default:
          if (since === 0) ending.cancel(row);
      }
    }
    return row;
  }
}
