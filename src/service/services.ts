import type { ServiceConfig } from '../dataplane/config.ts';
import { finish, Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';

/** Words per backend: address 0–3, port. */
export const BACKEND_WORDS = 5;
const FIRST_CAPACITY = 1024;

/**
 * Service ports: (VIP, protocol, port) → service id, and per service its backends and round-robin index.
 * The cost of a lookup does not grow with the number of services or backends (S25).
 * Rows are indexed by ServiceConfig.id; `generation` counts how often an id was removed, so that a flow can tell
 * whether its service is still the one it was made for.
 */
export class Services {
  count = 0;
  private capacity = FIRST_CAPACITY;
  private index = new HashIndex(FIRST_CAPACITY);
  /** [id × 5]: VIP words 0–3, protocol << 16 | port; protocol 0 = unused id. */
  private keys = new Int32Array(FIRST_CAPACITY * 5);
  affinity = new Int32Array(FIRST_CAPACITY);
  next = new Int32Array(FIRST_CAPACITY);
  generation = new Int32Array(FIRST_CAPACITY);
  readonly names: string[] = [];
  /** [id][n × BACKEND_WORDS] */
  readonly backends: Int32Array[] = [];
  /** [id][n × 4]: addresses of serving endpoints. */
  private readonly serving: Int32Array[] = [];
  /** Every VIP in use → number of service ports on it; to know an undefined port from a foreign address (S15). */
  private readonly vips = new VipSet();

  private readonly hasher: Hasher;

  constructor(seed: number) {
    this.hasher = new Hasher(seed);
  }

  set(config: ServiceConfig): void {
    if (config.id >= this.capacity) this.grow(config.id + 1);
    if (this.keys[config.id * 5 + 4] !== 0) this.unlink(config.id);
    const key = config.id * 5;
    this.keys.set(config.vip, key);
    this.keys[key + 4] = (config.protocol << 16) | config.port;
    this.index.insert(
      this.hash(config.vip[0], config.vip[1], config.vip[2], config.vip[3], this.keys[key + 4]!),
      config.id,
    );
    this.vips.add(config.vip);
    this.count++;
    this.affinity[config.id] = config.affinity;
    this.names[config.id] = config.name;
    this.backends[config.id] = Int32Array.from(config.backends.flatMap((b) => [...b.address, b.port]));
    this.serving[config.id] = Int32Array.from(
      (config.serving ?? config.backends.map((b) => b.address)).flat(),
    );
    // S24: the index survives a change of backends, modulo their number.
    this.next[config.id] = config.backends.length === 0 ? 0 : this.next[config.id]! % config.backends.length;
  }

  remove(id: number): void {
    if (id >= this.capacity || this.keys[id * 5 + 4] === 0) return;
    this.unlink(id);
    this.generation[id]!++;
    this.next[id] = 0;
    this.backends[id] = new Int32Array(0);
    this.serving[id] = new Int32Array(0);
  }

  /** @returns a service id, or −1. */
  find(w0: number, w1: number, w2: number, w3: number, protocol: number, port: number): number {
    const { keys } = this;
    const last = (protocol << 16) | port;
    const hash = this.hash(w0, w1, w2, w3, last);
    const { slots, hashes, mask } = this.index;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const id = slots[at]! - 1;
      if (id < 0) return -1;
      const key = id * 5;
      if (
        hashes[at] === hash &&
        keys[key + 3] === w3 &&
        keys[key + 4] === last &&
        keys[key + 2] === w2 &&
        keys[key + 1] === w1 &&
        keys[key] === w0
      ) {
        return id;
      }
    }
  }

  isVip4(address: number): boolean {
    return this.vips.has4(address);
  }

  /**
   * May a UDP flow to this endpoint stay? Yes to a backend, and to an address that still serves and has no other port
   * now (S31, S33). A service without any serving endpoint keeps its flows (S32).
   */
  serves(id: number, w0: number, w1: number, w2: number, w3: number, port: number): boolean {
    const serving = this.serving[id]!;
    if (serving.length === 0 || this.hasBackend(id, w0, w1, w2, w3, port)) return true;
    const backends = this.backends[id]!;
    for (let i = 0; i < backends.length; i += BACKEND_WORDS) {
      if (backends[i + 3] === w3 && backends[i + 2] === w2 && backends[i + 1] === w1 && backends[i] === w0)
        return false;
    }
    for (let i = 0; i < serving.length; i += 4) {
      if (serving[i + 3] === w3 && serving[i + 2] === w2 && serving[i + 1] === w1 && serving[i] === w0)
        return true;
    }
    return false;
  }

  /** Does the service have this backend? */
  hasBackend(id: number, w0: number, w1: number, w2: number, w3: number, port: number): boolean {
    const backends = this.backends[id]!;
    for (let i = 0; i < backends.length; i += BACKEND_WORDS) {
      if (backends[i + 3] !== w3 || backends[i + 4] !== port) continue;
      if (backends[i + 2] === w2 && backends[i + 1] === w1 && backends[i] === w0) return true;
    }
    return false;
  }

  private unlink(id: number): void {
    const key = id * 5;
    const { keys } = this;
    this.index.remove(
      this.hash(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, keys[key + 4]!),
      id,
    );
    this.vips.delete([keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!]);
    keys[key + 4] = 0;
    this.count--;
  }

  private hash(w0: number, w1: number, w2: number, w3: number, last: number): number {
    return this.hasher.of5(w0, w1, w2, w3, last);
  }

  /** Doubling, on the control path only; everything keeps its place. */
  private grow(needed: number): void {
    const old = this.capacity;
    while (this.capacity < needed) this.capacity *= 2;
    const widen = (from: Int32Array, words: number) => {
      const to = new Int32Array(this.capacity * words);
      to.set(from);
      return to;
    };
    this.keys = widen(this.keys, 5);
    this.affinity = widen(this.affinity, 1);
    this.next = widen(this.next, 1);
    this.generation = widen(this.generation, 1);
    this.index = new HashIndex(this.capacity);
    const { keys } = this;
    for (let id = 0; id < old; id++) {
      const key = id * 5;
      if (keys[key + 4] === 0) continue;
      this.index.insert(
        this.hash(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, keys[key + 4]!),
        id,
      );
    }
  }
}

/** Addresses with a count each. Only its IPv4 members are asked for on the packet path. */
class VipSet {
  private readonly uses = new Map<string, number>();
  /** Open-addressed set of IPv4 members, rebuilt on change when it must grow; 0 marks an empty place. */
  private members = new Int32Array(64);
  private count = 0;

  add(words: readonly number[]): void {
    const key = words.join();
    const uses = this.uses.get(key) ?? 0;
    this.uses.set(key, uses + 1);
    if (uses > 0 || words[2] !== 0xffff) return;
    if (++this.count * 2 > this.members.length) this.rebuild(this.members.length * 2);
    else this.insert(words[3]!);
  }

  delete(words: readonly number[]): void {
    const key = words.join();
    const uses = this.uses.get(key)! - 1;
    if (uses > 0) {
      this.uses.set(key, uses);
      return;
    }
    this.uses.delete(key);
    if (words[2] !== 0xffff) return;
    this.count--;
    this.erase(words[3]!);
  }

  has4(address: number): boolean {
    const { members } = this;
    const mask = members.length - 1;
    for (let at = finish(address) & mask; members[at] !== 0; at = (at + 1) & mask) {
      if (members[at] === address) return true;
    }
    return false;
  }

  private insert(address: number): void {
    const mask = this.members.length - 1;
    let at = finish(address) & mask;
    while (this.members[at] !== 0) at = (at + 1) & mask;
    this.members[at] = address;
  }

  private erase(address: number): void {
    const { members } = this;
    const mask = members.length - 1;
    let hole = finish(address) & mask;
    while (members[hole] !== address) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask; members[at] !== 0; at = (at + 1) & mask) {
      if (((at - finish(members[at]!)) & mask) >= ((at - hole) & mask)) {
        members[hole] = members[at]!;
        hole = at;
      }
    }
    members[hole] = 0;
  }

  private rebuild(size: number): void {
    this.members = new Int32Array(size);
    for (const key of this.uses.keys()) {
      const words = key.split(',');
      if (words[2] === '65535') this.insert(Number(words[3]));
    }
  }
}
