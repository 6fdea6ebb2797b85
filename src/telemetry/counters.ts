import { Drop } from './drop.ts';

/**
 * Locations: where a frame came from or goes to. One numbering for all of them.
 *   0           the gateway: frames the daemon makes itself
 *   1           the underlay: datagrams that belong to no peer
 *   2 … 1023    local ports
 *   1024 … 2047 peers
 */
export const GATEWAY = 0;
export const UNDERLAY = 1;
export const FIRST_PORT = 2;
export const FIRST_PEER = 1024;
export const LOCATIONS = 2048;

/** Counters per location, in rows of COUNTER_FIELDS doubles. Rates and totals are read without asking the worker. */
export const enum Counter {
  /** Frames from this location. RX = FORWARDED + CONSUMED + sum of drops + frames waiting for a neighbour. */
  RX = 0,
  RX_BYTES,
  FORWARDED,
  /** Ended at the daemon: answered, learned from, or absorbed. */
  CONSUMED,
  /** Frames to this location (a flooded frame counts once per copy). */
  TX,
  TX_BYTES,
  /** Frames from this location waiting for a neighbour now. */
  HELD,
  /** Peers: monotonic ms (as control[NOW]) of the last datagram; 0 = never. */
  LAST_RX,
  FIELDS,
}

export const COUNTER_FIELDS = Counter.FIELDS;

/** Counters over shared memory: the worker writes, the main thread reads. */
export class Counters {
  /** [location × COUNTER_FIELDS + Counter] */
  readonly values: Float64Array;
  /** [location × Drop.COUNT + Drop] */
  readonly drops: Float64Array;
  /** Global counters that belong to no location, indexed by `Global`. */
  readonly globals: Float64Array;

  static readonly BYTES = (LOCATIONS * (COUNTER_FIELDS + Drop.COUNT) + 64) * 8;

  constructor(readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(Counters.BYTES)) {
    this.values = new Float64Array(buffer, 0, LOCATIONS * COUNTER_FIELDS);
    this.drops = new Float64Array(buffer, this.values.byteLength, LOCATIONS * Drop.COUNT);
    this.globals = new Float64Array(buffer, this.values.byteLength + this.drops.byteLength, 64);
  }

  at(location: number, counter: Counter): number {
    return this.values[location * COUNTER_FIELDS + counter]!;
  }

  /** At a location, for whatever reason. */
  dropped(location: number): number {
    const row = this.drops.subarray(location * Drop.COUNT, (location + 1) * Drop.COUNT);
    return row.reduce((sum, count) => sum + count, 0);
  }

  /** Forgets a location that is being reused. */
  clear(location: number): void {
    this.values.fill(0, location * COUNTER_FIELDS, (location + 1) * COUNTER_FIELDS);
    this.drops.fill(0, location * Drop.COUNT, (location + 1) * Drop.COUNT);
  }
}

export const enum Global {
  MAC_MOVES = 0,
  FDB_EVICTIONS,
  RESERVED_BITS_SEEN,
  FLOWS,
  FLOWS_CREATED,
  FLOWS_EVICTED,
  NEIGHBOR_CONFLICTS,
  ICMP_SUPPRESSED,
  /** Frames that took the fast path. */
  FAST_FRAMES,
  /** Datagrams in fragments that made room for others. */
  DATAGRAMS_EVICTED,
  COUNT,
}
