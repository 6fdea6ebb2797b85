/**
 * Service ports as words: what the control plane writes and the dataplane reads, record after record.
 *
 *   id · protocol << 16 | nodePort · flags · affinity (ms) · drain (ms) · frontends · cluster · local · ranges · others
 *   · bytes of the name
 *   then     frontends × (address 0–3, kind << 16 | port): where clients find it; may be none beside a nodePort
 *            cluster   × (address 0–3, weight << 16 | port): who takes a new flow by policy Cluster (S12)
 *            local     × (address 0–3, weight << 16 | port): the same by policy Local (S13)
 *            ranges    × (address 0–3, prefix length in 128): loadBalancerSourceRanges
 *            others    × (address 0–3): endpoints that serve and are in neither set (S31)
 *            the name, UTF-8, padded to a whole word
 *
 * Each list of endpoints is ordered by address and port. nodePort 0 is none. All addresses are of one family.
 * A batch crosses between the threads in shared memory; nothing of it becomes an object on the other side.
 */
import type {
  AffinityMode,
  Algorithm,
  BackendConfig,
  OnEndpointRemoved,
  ServiceConfig,
} from '../dataplane/config.ts';
import { int32 } from '../table/memory.ts';

export const ADDRESS_WORDS = 4;
/** Words per frontend: address 0–3, kind << 16 | port. */
export const FRONTEND_WORDS = 5;
/** Words per endpoint: address 0–3, weight << 16 | port. A weight of 0 takes no new flow (M12). */
export const BACKEND_WORDS = 5;
/** Words per source range: address 0–3, prefix length in the 128-bit space. */
export const RANGE_WORDS = 5;

export const DEFAULT_WEIGHT = 1;

export const enum Field {
  ID = 0,
  /** protocol << 16 | nodePort */
  PORT = 1,
  FLAGS = 2,
  AFFINITY = 3,
  DRAIN = 4,
  FRONTENDS = 5,
  CLUSTER = 6,
  /** NOT_COMPUTED: nothing asks for it (S10). */
  LOCAL = 7,
  /** ANY_SOURCE: no loadBalancerSourceRanges. */
  RANGES = 8,
  /** NONE_SERVES: no endpoint serves at all (S32). */
  OTHERS = 9,
  NAME_BYTES = 10,
  HEAD = 11,
}

export const enum ServiceFlag {
  /** internalTrafficPolicy: Local */
  INTERNAL_LOCAL = 1 << 0,
  /** externalTrafficPolicy: Local */
  EXTERNAL_LOCAL = 1 << 1,
  /** Some endpoint anywhere could take a new flow (S14). */
  USABLE = 1 << 2,
  IPV6 = 1 << 3,
  /** Two bits: index into ALGORITHMS. */
  ALGORITHM_SHIFT = 4,
  /** Two bits: index into ON_ENDPOINT_REMOVED. */
  ON_REMOVED_SHIFT = 6,
  /** Affinity ends by its first choice, not by the last new flow. */
  AFFINITY_ABSOLUTE = 1 << 8,
}

export const enum FrontendKind {
  CLUSTER_IP = 0,
  EXTERNAL_IP = 1,
  LOAD_BALANCER = 2,
}

/** Words by their numbers in the flags. */
export const ALGORITHMS: readonly Algorithm[] = ['roundRobin', 'random', 'maglev', 'leastConn'];
export const ON_ENDPOINT_REMOVED: readonly OnEndpointRemoved[] = ['keep', 'drain', 'reset'];
export const AFFINITY_MODES: readonly AffinityMode[] = ['sliding', 'absolute'];

export const NOT_COMPUTED = -1;
export const ANY_SOURCE = -1;
export const NONE_SERVES = -1;

/** What one transaction does to services: `records` are set, then `removed` ids go. */
export interface ServiceBatch {
  /** The words of all records; may be longer than they are. */
  readonly records: Int32Array;
  readonly count: number;
  readonly removed: Int32Array;
  /** One past the highest id of a record. */
  readonly ids: number;
  /** Of all records. */
  readonly frontends: number;
}

/** How many entries a count stands for: the negative ones say something else than "none", and are none. */
const size = (count: number): number => Math.max(0, count);

/** The head of a record but id and name, which `RecordWriter.begin` is told apart. */
export interface RecordHead {
  readonly protocol: number;
  readonly nodePort: number;
  readonly flags: number;
  /** ms; 0 = none. */
  readonly affinity: number;
  /** ms */
  readonly drain: number;
  readonly frontends: number;
  readonly cluster: number;
  readonly local: number;
  readonly ranges: number;
  readonly others: number;
}

const listWords = ({ frontends, cluster, local, ranges, others }: RecordHead): number =>
  frontends * FRONTEND_WORDS +
  (cluster + size(local)) * BACKEND_WORDS +
  size(ranges) * RANGE_WORDS +
  size(others) * ADDRESS_WORDS;

/** Where the lists of the record at `at` begin. */
export const frontendsAt = (at: number): number => at + Field.HEAD;

export const clusterAt = (records: Int32Array, at: number): number =>
  frontendsAt(at) + records[at + Field.FRONTENDS]! * FRONTEND_WORDS;

export const localAt = (records: Int32Array, at: number): number =>
  clusterAt(records, at) + records[at + Field.CLUSTER]! * BACKEND_WORDS;

export const rangesAt = (records: Int32Array, at: number): number =>
  localAt(records, at) + size(records[at + Field.LOCAL]!) * BACKEND_WORDS;

export const othersAt = (records: Int32Array, at: number): number =>
  rangesAt(records, at) + size(records[at + Field.RANGES]!) * RANGE_WORDS;

export const nameAt = (records: Int32Array, at: number): number =>
  othersAt(records, at) + size(records[at + Field.OTHERS]!) * ADDRESS_WORDS;

/** The frontend that stands for the record: its first ClusterIP, else its first one; where its words begin. */
export function mainFrontendAt(records: Int32Array, at: number): number {
  const first = frontendsAt(at);
  const end = clusterAt(records, at);
  for (let frontend = first; frontend < end; frontend += FRONTEND_WORDS) {
    if (records[frontend + 4]! >>> 16 === FrontendKind.CLUSTER_IP) return frontend;
  }
  return first;
}

/** One past the record at `at`. */
export const recordEnd = (records: Int32Array, at: number): number =>
  nameAt(records, at) + ((records[at + Field.NAME_BYTES]! + 3) >> 2);

/** Writes records one after the other into memory that grows. */
export class RecordWriter {
  private words = int32(256);
  private bytes = new Uint8Array(this.words.buffer);
  private length = 0;
  private ids = 0;
  private frontends = 0;
  private readonly removed: number[] = [];
  private readonly encoder = new TextEncoder();
  count = 0;

  get isEmpty(): boolean {
    return this.count === 0 && this.removed.length === 0;
  }

  remove(id: number): void {
    this.removed.push(id);
  }

  /**
   * Begins a record, whose lists are to be filled by the caller.
   * @returns where in `target` the first frontend goes; valid until the next call
   */
  begin(id: number, name: string, head: RecordHead): number {
    const fixed = Field.HEAD + listWords(head);
    this.reserve(fixed + name.length); // a unit of UTF-16 is at most 3 bytes of UTF-8: fewer than a word
    const at = this.length;
    const { words } = this;
    words[at + Field.ID] = id;
    words[at + Field.PORT] = (head.protocol << 16) | head.nodePort;
    words[at + Field.FLAGS] = head.flags;
    words[at + Field.AFFINITY] = head.affinity;
    words[at + Field.DRAIN] = head.drain;
    words[at + Field.FRONTENDS] = head.frontends;
    words[at + Field.CLUSTER] = head.cluster;
    words[at + Field.LOCAL] = head.local;
    words[at + Field.RANGES] = head.ranges;
    words[at + Field.OTHERS] = head.others;
    const written = this.encode(name, (at + fixed) * 4);
    words[at + Field.NAME_BYTES] = written;
    this.length = at + fixed + ((written + 3) >> 2);
    this.count++;
    this.frontends += head.frontends;
    if (id >= this.ids) this.ids = id + 1;
    return at + Field.HEAD;
  }

  /** A place to `rewind` to. */
  mark(): number {
    return this.length;
  }

  /** Takes back the last record, which begins at `mark`; or, at 0, all of them. */
  rewind(mark: number): void {
    this.length = mark;
    this.frontends = mark === 0 ? 0 : this.frontends - this.words[mark + Field.FRONTENDS]!;
    this.count = mark === 0 ? 0 : this.count - 1;
  }

  /** Whether what was written since `mark` is what another writer holds. */
  endsWith(mark: number, other: RecordWriter): boolean {
    if (this.length - mark !== other.length) return false;
    for (let i = 0; i < other.length; i++) if (this.words[mark + i] !== other.words[i]) return false;
    return true;
  }

  /** The memory `begin` wrote into. */
  get target(): Int32Array {
    return this.words;
  }

  /** A record written by hand. */
  add(config: ServiceConfig): void {
    const { id, name, protocol, vip, port, backends, local, ranges } = config;
    const kinds = {
      clusterIP: FrontendKind.CLUSTER_IP,
      externalIP: FrontendKind.EXTERNAL_IP,
      loadBalancer: FrontendKind.LOAD_BALANCER,
    };
    const frontends = config.frontends ?? [{ address: vip, port, kind: 'clusterIP' }];
    const sets = [...backends, ...(local ?? [])];
    const same = (a: readonly number[], b: readonly number[]) => a.every((word, i) => word === b[i]);
    const isMember = (address: readonly number[]) => sets.some((b) => same(b.address, address));
    const serving = config.serving ?? sets.map(({ address }) => address);
    const others = serving.filter((address) => !isMember(address));
    const isV4 = vip[0] === 0 && vip[1] === 0 && vip[2] === 0xffff;
    const at = this.begin(id, name, {
      protocol,
      nodePort: config.nodePort ?? 0,
      flags:
        (config.internalLocal ? ServiceFlag.INTERNAL_LOCAL : 0) |
        (config.externalLocal ? ServiceFlag.EXTERNAL_LOCAL : 0) |
        ((config.usable ?? sets.length > 0) ? ServiceFlag.USABLE : 0) |
        (isV4 ? 0 : ServiceFlag.IPV6) |
        (ALGORITHMS.indexOf(config.algorithm ?? 'roundRobin') << ServiceFlag.ALGORITHM_SHIFT) |
        (ON_ENDPOINT_REMOVED.indexOf(config.onEndpointRemoved ?? 'keep') << ServiceFlag.ON_REMOVED_SHIFT) |
        (config.affinityMode === 'absolute' ? ServiceFlag.AFFINITY_ABSOLUTE : 0),
      affinity: config.affinity,
      drain: config.drain ?? 0,
      frontends: frontends.length,
      cluster: backends.length,
      local: local ? local.length : NOT_COMPUTED,
      ranges: ranges ? ranges.length : ANY_SOURCE,
      others: serving.length === 0 ? NONE_SERVES : others.length,
    });
    const endpoint = ({ address, port, weight = DEFAULT_WEIGHT }: BackendConfig) => [
      ...address,
      (weight << 16) | port,
    ];
    const lists = [
      ...frontends.map(({ address, port, kind }) => [...address, (kinds[kind] << 16) | port]),
      ...sets.map(endpoint),
      ...(ranges ?? []).map(({ address, prefix }) => [...address, prefix]),
      ...others,
    ];
    this.words.set(lists.flat(), at);
  }

  /** The batch, whose memory it is from now on. */
  finish(): ServiceBatch {
    const removed = int32(this.removed.length);
    removed.set(this.removed);
    return { records: this.words, count: this.count, removed, ids: this.ids, frontends: this.frontends };
  }

  /** @returns how many bytes of UTF-8 it is. */
  private encode(text: string, at: number): number {
    const { bytes } = this;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 0x7f) return this.encoder.encodeInto(text, bytes.subarray(at)).written;
      bytes[at + i] = unit;
    }
    return text.length;
  }

  private reserve(words: number): void {
    if (this.length + words <= this.words.length) return;
    const grown = int32(Math.max(this.words.length * 2, this.length + words));
    grown.set(this.words.subarray(0, this.length));
    this.words = grown;
    this.bytes = new Uint8Array(grown.buffer);
  }
}
