import type { Flows } from '../../conntrack/flows.ts';
import { Word } from '../../conntrack/tuple.ts';
import { Hasher } from '../../table/hash.ts';
import { int32, uint8 } from '../../table/memory.ts';
import { Segments } from '../../table/segments.ts';
import { BACKEND_WORDS, clusterAt, Field, localAt, ServiceFlag } from '../record.ts';
import { EndpointSet, type Services } from '../services.ts';
import { type Algorithm, type Choice, indexOf, NO_CHOICE } from './choice.ts';
import { beginAt, endAt, LEAST_CONNECTIONS } from './least-connections.ts';
import { fill, MAGLEV } from './maglev.ts';
import { Random } from './random.ts';
import { ROUND_ROBIN } from './round-robin.ts';
import { WEIGHTED_ROUND_ROBIN } from './weighted.ts';

/** By its number in the flags of a service (`ALGORITHMS` of record.ts), then those no flag names. */
export const enum Way {
  ROUND_ROBIN = 0,
  RANDOM = 1,
  MAGLEV = 2,
  LEAST_CONNECTIONS = 3,
  /** Round robin among endpoints that do not all weigh 1. */
  WEIGHTED = 4,
}

const SETS = [EndpointSet.CLUSTER, EndpointSet.LOCAL] as const;

/**
 * Who takes a new flow (S24, S25): per service port and set of endpoints a table of its algorithm.
 *
 *   [id × 2 + set]   way · count: endpoints the table is for · table: of ROUND_ROBIN the table itself, one word; of
 *                    the others a run of `tables`. The usual service port has no more than these three columns
 *
 * A change is told before it is put into `services`: what a table holds of endpoints that stay is carried over (S30).
 */
export class Chooser {
  private way = uint8(0);
  private count = int32(0);
  private table = int32(0);
  /** [id] number of the transaction that made it what it is. */
  private version = int32(0);
  private readonly tables = new Segments();
  /** Tables made by `prepare`, by set; −1 = none. */
  private readonly prepared = [-1, -1];
  private readonly now: Choice = { ...NO_CHOICE };
  private readonly before: Choice = { ...NO_CHOICE };
  private readonly key = new Int32Array(BACKEND_WORDS);
  private readonly algorithms: readonly Algorithm[];
  /** No secret: another host must come to the same (maglev.ts). */
  private readonly clients = new Hasher(0x636c6965);
  /** Number of the latest change of a service port; never 0. */
  private clock = 1;
  /** Number of the latest transaction that changed any, or is about to. */
  transaction = 0;

  constructor(
    private readonly services: Services,
    private readonly flows: Flows,
    seed: number,
  ) {
    this.algorithms = [ROUND_ROBIN, new Random(seed), MAGLEV, LEAST_CONNECTIONS, WEIGHTED_ROUND_ROBIN];
    flows.onEnd = this;
  }

  /** @returns the index of the endpoint whose turn it is for a client's tuple; −1 when none takes new flows. */
  pick(id: number, set: EndpointSet, tuple: Int32Array): number {
    const { tables } = this;
    const pool = id * 2 + set;
    const count = this.count[pool]!;
    if (count === 0) return -1;
    const way = this.way[pool]!;
    if (way === Way.ROUND_ROBIN) return ROUND_ROBIN.pick(this.table, pool, count, 0);
    const hash = way === Way.MAGLEV ? this.clientHash(tuple) : 0;
    const run = this.table[pool]!;
    return this.algorithms[way]!.pick(tables.words(run), tables.offset(run), count, hash);
  }

  /** What `pick` said became a flow, to endpoint `index`: another than it said when that was not to be had. */
  opened(id: number, set: EndpointSet, index: number): void {
    const pool = id * 2 + set;
    const { tables } = this;
    const run = this.table[pool]!;
    const way = this.way[pool]!;
    if (way === Way.ROUND_ROBIN) ROUND_ROBIN.taken(this.table, pool, this.count[pool]!, index);
    else this.algorithms[way]!.taken(tables.words(run), tables.offset(run), this.count[pool]!, index);
  }

  versionOf(id: number): number {
    return this.version[id]!;
  }

  /** A flow to an endpoint of its service begins, whatever chose it. */
  began(row: number): void {
    const id = this.flows.service[row]!;
    this.flows.version[row] = this.version[id]!;
    if (this.way[id * 2] !== Way.LEAST_CONNECTIONS) return;
    this.flows.counted[row] = this.clock;
    this.beginIn(row, EndpointSet.CLUSTER);
    this.beginIn(row, EndpointSet.LOCAL);
  }

  private beginIn(row: number, set: EndpointSet): void {
    const index = this.locate(row, set);
    if (index >= 0) beginAt(this.now, index);
  }

  /** A flow with `counted` is over, or about to be. */
  ended(row: number): void {
    const { flows, services } = this;
    const began = flows.counted[row]!;
    flows.counted[row] = 0;
    const id = flows.service[row]!;
    if (flows.generation[row] !== services.generation[id]) return;
    if (this.way[id * 2] !== Way.LEAST_CONNECTIONS) return;
    this.endIn(row, EndpointSet.CLUSTER, began);
    this.endIn(row, EndpointSet.LOCAL, began);
  }

  private endIn(row: number, set: EndpointSet, began: number): void {
    const index = this.locate(row, set);
    if (index >= 0) endAt(this.now, index, began);
  }

  /** Index of a flow's endpoint in a set of its service, or −1; `now` is that set. */
  private locate(row: number, set: EndpointSet): number {
    const { flows, key, now } = this;
    const reply = row * 2 + 1;
    for (let i = 0; i < 3; i++) key[i] = flows.word(reply, Word.SOURCE_HIGH + i);
    key[3] = flows.word(reply, Word.SOURCE);
    key[4] = flows.word(reply, Word.PORTS) >>> 16;
    this.read(now, flows.service[row]!, set);
    return indexOf(now.endpoints, now.first, now.count, key);
  }

  /** The running set and its table. */
  private read(into: Choice, id: number, set: EndpointSet): void {
    const { services, tables } = this;
    const pool = id * 2 + set;
    into.count = this.count[pool]!;
    if (into.count === 0) return;
    into.endpoints = services.words(id);
    into.first = services.first(id, set);
    if (this.way[pool] === Way.ROUND_ROBIN) {
      into.words = this.table;
      into.at = pool;
    } else {
      into.words = tables.words(this.table[pool]!);
      into.at = tables.offset(this.table[pool]!);
    }
  }

  /** A transaction begins: makes room for as many ids as `services` has, a step per `next()`. */
  *begin(): Generator<void> {
    this.transaction = (this.transaction + 1) | 0;
    const { capacity } = this.services;
    if (capacity === this.version.length) return;
    const [way, count, table] = [uint8(capacity * 2), int32(capacity * 2), int32(capacity * 2)];
    const version = int32(capacity);
    way.set(this.way);
    count.set(this.count);
    yield;
    version.set(this.version);
    yield;
    table.set(this.table); // last: packets move it
    Object.assign(this, { way, count, table, version });
  }

  /** Whether the record at `at` takes long to make a table of. */
  isSlow(records: Int32Array, at: number): boolean {
    return flagOf(records, at) === Way.MAGLEV;
  }

  /** Before `change`: makes the table of a record that is slow, a step per `next()`. */
  *prepare(records: Int32Array, at: number): Generator<void> {
    const choice = { ...NO_CHOICE };
    for (const set of SETS) {
      readRecord(choice, records, at, set);
      if (choice.count === 0) continue;
      const run = this.tables.take(MAGLEV.size(choice.count));
      choice.words = this.tables.words(run);
      choice.at = this.tables.offset(run);
      yield* fill(choice);
      this.prepared[set] = run;
    }
  }

  /** The record at `at` is about to be put into `services`. */
  change(records: Int32Array, at: number): void {
    const id = records[at + Field.ID]!;
    this.clock = (this.clock + 1) | 0 || 1;
    this.version[id] = this.transaction;
    for (const set of SETS) {
      readRecord(this.now, records, at, set);
      const flag = flagOf(records, at);
      this.set(id, set, flag === Way.ROUND_ROBIN && !areEqual(this.now) ? Way.WEIGHTED : flag);
    }
  }

  /** A service is about to be removed. */
  remove(id: number): void {
    for (const set of SETS) {
      const pool = id * 2 + set;
      this.release(pool);
      this.way[pool] = Way.ROUND_ROBIN;
      this.count[pool] = 0;
      this.table[pool] = 0;
    }
  }

  /** A new table for the set in `now`. */
  private set(id: number, set: EndpointSet, way: Way): void {
    const { now, before, tables } = this;
    const pool = id * 2 + set;
    before.count = 0;
    if (way === this.way[pool]) this.read(before, id, set);
    let run = this.prepared[set]!;
    this.prepared[set] = -1;
    if (way === Way.ROUND_ROBIN) {
      this.release(pool);
      now.words = this.table;
      now.at = pool;
      ROUND_ROBIN.build(now, before, this.clock);
    } else {
      if (run < 0 && now.count > 0) {
        run = tables.take(this.algorithms[way]!.size(now.count));
        now.words = tables.words(run);
        now.at = tables.offset(run);
        this.algorithms[way]!.build(now, before, this.clock);
      }
      this.release(pool);
      this.table[pool] = run;
    }
    this.way[pool] = way;
    this.count[pool] = now.count;
  }

  private release(pool: number): void {
    const way = this.way[pool]!;
    const count = this.count[pool]!;
    if (way !== Way.ROUND_ROBIN && count > 0)
      this.tables.give(this.table[pool]!, this.algorithms[way]!.size(count));
  }

  private clientHash(tuple: Int32Array): number {
    const high = Word.SOURCE_HIGH;
    const [a, b, c] = [tuple[high]!, tuple[high + 1]!, tuple[high + 2]!];
    return this.clients.of5(a, b, c, tuple[Word.SOURCE]!, tuple[Word.PORTS]!);
  }
}

const flagOf = (records: Int32Array, at: number): Way =>
  (records[at + Field.FLAGS]! >>> ServiceFlag.ALGORITHM_SHIFT) & 3;

function readRecord(into: Choice, records: Int32Array, at: number, set: EndpointSet): void {
  const isCluster = set === EndpointSet.CLUSTER;
  into.endpoints = records;
  into.first = isCluster ? clusterAt(records, at) : localAt(records, at);
  into.count = Math.max(0, records[at + (isCluster ? Field.CLUSTER : Field.LOCAL)]!);
}

/** Does every endpoint weigh the same, and something? */
function areEqual({ endpoints, first, count }: Choice): boolean {
  const weight = count === 0 ? 1 : endpoints[first + 4]! >>> 16;
  for (let i = 1; i < count; i++)
    if (endpoints[first + i * BACKEND_WORDS + 4]! >>> 16 !== weight) return false;
  return weight > 0;
}
