import type { ServiceConfig } from '../dataplane/config.ts';
import { int32, uint8 } from '../table/memory.ts';
import { Segments } from '../table/segments.ts';
import { Frontends } from './frontends.ts';
import { NodePorts } from './node-ports.ts';
import {
  ADDRESS_WORDS,
  BACKEND_WORDS,
  clusterAt,
  Field,
  FRONTEND_WORDS,
  frontendsAt,
  NONE_SERVES,
  RANGE_WORDS,
  RecordWriter,
  recordEnd,
  ServiceFlag,
} from './record.ts';

const FIRST_CAPACITY = 1024;
/** Ids moved between two turns while the table grows: about 100 µs. */
const IDS_PER_STEP = 1024;

/** The endpoints a new flow may go to: by policy Cluster (S12) or Local (S13). */
export const enum EndpointSet {
  CLUSTER = 0,
  LOCAL = 1,
}

/**
 * Service ports, found by `frontends` or `nodePorts`. The cost of a lookup does not grow with the number of services,
 * frontends or endpoints (S25).
 *
 *   id    port: protocol << 16 | node port · flags: ServiceFlag · affinity, drain (ms) · generation
 *         chain: its rows of `frontends`, −1 = none · cluster, local, ranges, others: sizes of its lists, see `record.ts`
 *         run: where in `segments` they lie:   cluster × 5 · local × 5 · ranges × 5 · others × 4 · name
 *
 * `generation` counts how often an id was removed, so that a flow can tell whether its service is still the one it
 * was made for. Nothing here is an object per service: a hundred thousand of them leave no work for a collector.
 */
export class Services {
  readonly frontends: Frontends;
  readonly nodePorts = new NodePorts();
  count = 0;
  capacity = FIRST_CAPACITY;
  flags = int32(FIRST_CAPACITY);
  affinity = int32(FIRST_CAPACITY);
  drain = int32(FIRST_CAPACITY);
  generation = int32(FIRST_CAPACITY);
  /** ANY_SOURCE or a size. */
  ranges = int32(FIRST_CAPACITY);
  private used = uint8(FIRST_CAPACITY);
  private port = int32(FIRST_CAPACITY);
  private chain = int32(FIRST_CAPACITY);
  private cluster = int32(FIRST_CAPACITY);
  private local = int32(FIRST_CAPACITY);
  private others = int32(FIRST_CAPACITY);
  private nameBytes = int32(FIRST_CAPACITY);
  private run = int32(FIRST_CAPACITY);
  private readonly segments = new Segments();

  constructor(seed: number) {
    this.frontends = new Frontends(seed);
  }

  /** One service port, whole. */
  set(config: ServiceConfig): void {
    const writer = new RecordWriter();
    writer.add(config);
    const { records, ids, frontends } = writer.finish();
    for (const _ of this.grow(ids, frontends)) {
    }
    this.put(records, 0);
  }

  /**
   * Sets the service port of the record at `at`, for which `grow` made room. From one packet to the next it is
   * another. A frontend or node port that another id has is taken over.
   * @returns where the next record begins
   */
  put(records: Int32Array, at: number): number {
    const id = records[at + Field.ID]!;
    if (this.used[id] === 1) this.release(id);
    else this.count++;
    this.used[id] = 1;
    this.port[id] = records[at + Field.PORT]!;
    this.flags[id] = records[at + Field.FLAGS]!;
    this.affinity[id] = records[at + Field.AFFINITY]!;
    this.drain[id] = records[at + Field.DRAIN]!;
    this.cluster[id] = records[at + Field.CLUSTER]!;
    this.local[id] = records[at + Field.LOCAL]!;
    this.ranges[id] = records[at + Field.RANGES]!;
    this.others[id] = records[at + Field.OTHERS]!;
    this.nameBytes[id] = records[at + Field.NAME_BYTES]!;

    const protocol = this.protocol(id);
    const first = frontendsAt(at);
    const from = clusterAt(records, at);
    let chain = -1;
    for (let frontend = first; frontend < from; frontend += FRONTEND_WORDS) {
      chain = this.frontends.add(records, frontend, protocol, id, chain);
    }
    this.chain[id] = chain;
    const nodePort = this.nodePort(id);
    if (nodePort !== 0) this.nodePorts.add(this.is6(id), protocol, nodePort, id);

    const end = recordEnd(records, at);
    if (end > from) {
      const run = this.segments.take(end - from);
      const words = this.segments.words(run);
      const to = this.segments.offset(run) - from;
      for (let i = from; i < end; i++) words[to + i] = records[i]!;
      this.run[id] = run;
    }
    return end;
  }

  remove(id: number): void {
    if (!this.has(id)) return;
    this.release(id);
    this.used[id] = 0;
    this.cluster[id] = 0;
    this.local[id] = 0;
    this.others[id] = NONE_SERVES;
    this.nameBytes[id] = 0;
    this.generation[id]!++;
    this.count--;
  }

  has(id: number): boolean {
    return id < this.capacity && this.used[id] === 1;
  }

  protocol(id: number): number {
    return this.port[id]! >>> 16;
  }

  /** 0 = none. */
  nodePort(id: number): number {
    return this.port[id]! & 0xffff;
  }

  is6(id: number): boolean {
    return (this.flags[id]! & ServiceFlag.IPV6) !== 0;
  }

  /** S27: its clients' affinities end by their first choice. */
  isAffinityAbsolute(id: number): boolean {
    return (this.flags[id]! & ServiceFlag.AFFINITY_ABSOLUTE) !== 0;
  }

  /** Endpoints of a set. */
  size(id: number, set: EndpointSet): number {
    return set === EndpointSet.CLUSTER ? this.cluster[id]! : Math.max(0, this.local[id]!);
  }

  /** The words all lists of a service lie in. */
  words(id: number): Int32Array {
    return this.segments.words(this.run[id]!);
  }

  /** Where the first endpoint of a set begins: BACKEND_WORDS each, with its weight in the high half of the last. */
  first(id: number, set: EndpointSet): number {
    const cluster = this.segments.offset(this.run[id]!);
    return set === EndpointSet.CLUSTER ? cluster : cluster + this.cluster[id]! * BACKEND_WORDS;
  }

  /** Where the source ranges begin. */
  rangesAt(id: number): number {
    return this.first(id, EndpointSet.LOCAL) + this.size(id, EndpointSet.LOCAL) * BACKEND_WORDS;
  }

  /** "namespace/name:port"; for listings. */
  name(id: number): string {
    const length = this.nameBytes[id]!;
    if (length === 0) return '';
    const at = this.othersAt(id) + Math.max(0, this.others[id]!) * ADDRESS_WORDS;
    return new TextDecoder().decode(new Uint8Array(this.words(id).buffer, at * 4, length));
  }

  /**
   * May a UDP flow to this endpoint stay? Yes to an endpoint of either set, and to an address that still serves and has
   * no other port now (S31, S33). A service without any serving endpoint keeps its flows (S32).
   */
  serves(id: number, w0: number, w1: number, w2: number, w3: number, port: number): boolean {
    if (this.others[id] === NONE_SERVES) return true;
    const words = this.words(id);
    let at = this.first(id, EndpointSet.CLUSTER);
    let hasOtherPort = false;
    for (let i = this.endpoints(id); i > 0; i--, at += BACKEND_WORDS) {
      if (!isAddress(words, at, w0, w1, w2, w3)) continue;
      if ((words[at + 4]! & 0xffff) === port) return true;
      hasOtherPort = true;
    }
    if (hasOtherPort) return false;
    at = this.othersAt(id);
    for (let i = this.others[id]!; i > 0; i--, at += ADDRESS_WORDS) {
      if (isAddress(words, at, w0, w1, w2, w3)) return true;
    }
    return false;
  }

  /** Is this no endpoint any more, not even one that serves and takes no new flows (S30)? */
  hasLost(id: number, w0: number, w1: number, w2: number, w3: number, port: number): boolean {
    if (this.others[id] === NONE_SERVES) return !this.hasEndpoint(id, w0, w1, w2, w3, port);
    return !this.serves(id, w0, w1, w2, w3, port);
  }

  /** Does either set have this endpoint? */
  hasEndpoint(id: number, w0: number, w1: number, w2: number, w3: number, port: number): boolean {
    const words = this.words(id);
    let at = this.first(id, EndpointSet.CLUSTER);
    for (let i = this.endpoints(id); i > 0; i--, at += BACKEND_WORDS) {
      if ((words[at + 4]! & 0xffff) === port && isAddress(words, at, w0, w1, w2, w3)) return true;
    }
    return false;
  }

  /**
   * Makes room for ids below `needed` and so many more frontends, a step per `next()`; packets may pass between steps,
   * changes may not. Everything keeps its place. What is in use stays in use until the last step, which swaps.
   */
  *grow(needed: number, frontends: number): Generator<void> {
    yield* this.frontends.grow(frontends);
    let capacity = this.capacity;
    while (capacity < needed) capacity *= 2;
    if (capacity === this.capacity) return;
    const column = () => int32(capacity);
    const used = uint8(capacity);
    const columns = {
      flags: column(),
      affinity: column(),
      drain: column(),
      generation: column(),
      ranges: column(),
      port: column(),
      chain: column(),
      cluster: column(),
      local: column(),
      others: column(),
      nameBytes: column(),
      run: column(),
    };
    const names = Object.keys(columns) as (keyof typeof columns)[];
    for (let id = 0; id < this.capacity; id += IDS_PER_STEP, yield) {
      for (const name of names) columns[name].set(this[name].subarray(id, id + IDS_PER_STEP), id);
      used.set(this.used.subarray(id, id + IDS_PER_STEP), id);
    }
    Object.assign(this, columns, { used, capacity });
  }

  /** Gives back what belongs to the old state of an id. */
  private release(id: number): void {
    this.frontends.remove(this.chain[id]!);
    const nodePort = this.nodePort(id);
    if (nodePort !== 0) this.nodePorts.remove(this.is6(id), this.protocol(id), nodePort, id);
    const length =
      this.endpoints(id) * BACKEND_WORDS +
      Math.max(0, this.ranges[id]!) * RANGE_WORDS +
      Math.max(0, this.others[id]!) * ADDRESS_WORDS +
      ((this.nameBytes[id]! + 3) >> 2);
    if (length > 0) this.segments.give(this.run[id]!, length);
  }

  /** Entries of both sets, which lie behind each other. */
  private endpoints(id: number): number {
    return this.cluster[id]! + Math.max(0, this.local[id]!);
  }

  private othersAt(id: number): number {
    return this.rangesAt(id) + Math.max(0, this.ranges[id]!) * RANGE_WORDS;
  }
}

const isAddress = (words: Int32Array, at: number, w0: number, w1: number, w2: number, w3: number): boolean =>
  words[at + 3] === w3 && words[at + 2] === w2 && words[at + 1] === w1 && words[at] === w0;
