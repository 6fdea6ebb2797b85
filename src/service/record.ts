/**
 * Service ports as words: what the control plane writes and the dataplane reads, record after record.
 *
 *   id · VIP 0–3 · protocol << 16 | port · affinity (ms) · backends · other serving addresses · bytes of the name
 *   then     backends × (address 0–3, port)
 *            others × (address 0–3): endpoints that serve and are no backends (S31)
 *            the name, UTF-8, padded to a whole word
 *
 * A batch crosses between the threads in shared memory; nothing of it becomes an object on the other side.
 */
import type { ServiceConfig } from '../dataplane/config.ts';
import { int32 } from '../table/memory.ts';

/** Words per backend: address 0–3, port. */
export const BACKEND_WORDS = 5;
export const ADDRESS_WORDS = 4;

export const enum Field {
  ID = 0,
  VIP = 1,
  PORT = 5,
  AFFINITY = 6,
  BACKENDS = 7,
  /** NONE_SERVES: no endpoint serves at all (S32). */
  OTHERS = 8,
  NAME_BYTES = 9,
  HEAD = 10,
}

export const NONE_SERVES = -1;

/** What one transaction does to services: `records` are set, then `removed` ids go. */
export interface ServiceBatch {
  /** The words of all records; may be longer than they are. */
  readonly records: Int32Array;
  readonly count: number;
  readonly removed: Int32Array;
  /** One past the highest id of a record. */
  readonly ids: number;
}

/** Words of the variable part of the record at `at`. */
export const tailWords = (records: Int32Array, at: number): number =>
  records[at + Field.BACKENDS]! * BACKEND_WORDS +
  Math.max(0, records[at + Field.OTHERS]!) * ADDRESS_WORDS +
  ((records[at + Field.NAME_BYTES]! + 3) >> 2);

/** Writes records one after the other into memory that grows. */
export class RecordWriter {
  private words = int32(256);
  private bytes = new Uint8Array(this.words.buffer);
  private length = 0;
  private ids = 0;
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
   * Begins a record for so many backends and others, to be filled by the caller.
   * @returns where `words` the first backend goes; valid until the next call
   */
  begin(
    id: number,
    name: string,
    vip: readonly number[],
    protocol: number,
    port: number,
    affinity: number,
    backends: number,
    others: number,
  ): number {
    const fixed = Field.HEAD + backends * BACKEND_WORDS + Math.max(0, others) * ADDRESS_WORDS;
    this.reserve(fixed + name.length); // a unit of UTF-16 is at most 3 bytes of UTF-8: fewer than a word
    const at = this.length;
    const { words } = this;
    words[at + Field.ID] = id;
    for (let i = 0; i < ADDRESS_WORDS; i++) words[at + Field.VIP + i] = vip[i]!;
    words[at + Field.PORT] = (protocol << 16) | port;
    words[at + Field.AFFINITY] = affinity;
    words[at + Field.BACKENDS] = backends;
    words[at + Field.OTHERS] = others;
    const nameAt = at + fixed;
    const written = this.encode(name, nameAt * 4);
    words[at + Field.NAME_BYTES] = written;
    this.length = nameAt + ((written + 3) >> 2);
    this.count++;
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

  add({ id, name, vip, protocol, port, affinity, backends, serving }: ServiceConfig): void {
    const same = (a: readonly number[], b: readonly number[]) => a.every((word, i) => word === b[i]);
    const isBackend = (address: readonly number[]) => backends.some((b) => same(b.address, address));
    const all = serving ?? backends.map((backend) => backend.address);
    const others = all.filter((address) => !isBackend(address));
    const serve = all.length === 0 ? NONE_SERVES : others.length;
    const at = this.begin(id, name, vip, protocol, port, affinity, backends.length, serve);
    this.words.set(backends.flatMap((b) => [...b.address, b.port]).concat(others.flat()), at);
  }

  /** The batch, whose memory it is from now on. */
  finish(): ServiceBatch {
    const removed = int32(this.removed.length);
    removed.set(this.removed);
    return { records: this.words, count: this.count, removed, ids: this.ids };
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
