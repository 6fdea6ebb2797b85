/** What main thread and dataplane worker say to each other. All cold: nothing here is per packet. */
import type { ServiceBatch } from '../service/record.ts';
import type { Op } from './config.ts';

export type { ServiceBatch };

/** Devices the worker must take over (before ops) or let go (after ops) in the same transaction. */
export interface DeviceChanges {
  readonly addTaps: readonly { readonly device: number; readonly fd: number }[];
  readonly addUnderlays: readonly {
    readonly device: number;
    readonly rx: number;
    readonly tx: readonly number[];
  }[];
  readonly remove: readonly number[];
  /** Let go only if their kernel device vanished; when one of them did not, the transaction is refused. */
  readonly removeIfGone?: readonly number[];
}

export type ToWorker =
  | {
      readonly type: 'apply';
      readonly id: number;
      readonly devices: DeviceChanges;
      readonly ops: readonly Op[];
      readonly services?: ServiceBatch;
    }
  | { readonly type: 'dump'; readonly id: number; readonly what: DumpKind }
  | { readonly type: 'stop' };

export type DumpKind = 'fdb' | 'neighbors' | 'flows' | 'affinities';

export interface FdbRow {
  network: string;
  mac: string;
  /** Port or peer name. */
  port: string | null;
  peer: string | null;
  type: 'learned' | 'static' | 'local';
  /** Seconds since the source was last heard; null for entries that do not age. */
  age: number | null;
  moves: number;
}

export interface NeighborRow {
  network: string;
  ip: string;
  mac: string;
  source: 'gateway' | 'port' | 'peer' | 'learned';
  state: 'permanent' | 'reachable' | 'stale' | 'probing' | 'incomplete' | 'failed';
  age: number | null;
}

export interface FlowRow {
  network: string;
  protocol: 'tcp' | 'udp';
  /** "10.77.0.11:40000" as the client sees it. */
  client: string;
  service: string;
  vip: string;
  backend: string;
  hairpin: boolean;
  state: string;
  /** Seconds until the flow expires if idle. */
  expires: number;
  packets: number;
  bytes: number;
  replyPackets: number;
  replyBytes: number;
}

export interface AffinityRow {
  service: string;
  client: string;
  backend: string;
  expires: number;
  hits: number;
}

export type DumpRow = FdbRow | NeighborRow | FlowRow | AffinityRow;

/** Things worth a log line, rate-limited by the worker to one per (kind, subject) per second. */
export type DataplaneEvent =
  | { readonly kind: 'port-gone'; readonly location: number }
  | {
      readonly kind: 'loop';
      readonly network: string;
      readonly mac: string;
      readonly port: string;
      readonly peer: string;
    }
  | { readonly kind: 'path-mtu'; readonly location: number };

export type FromWorker =
  | { readonly type: 'ready' }
  | { readonly type: 'applied'; readonly id: number }
  | { readonly type: 'failed'; readonly id: number; readonly message: string }
  | {
      readonly type: 'dump';
      readonly id: number;
      readonly rows: readonly DumpRow[];
      /** More rows of this listing follow. */
      readonly more: boolean;
    }
  | { readonly type: 'event'; readonly event: DataplaneEvent };

/** `workerData` of the dataplane worker. */
export interface WorkerInit {
  readonly counters: SharedArrayBuffer;
  /** eventfd: main writes it after posting a message. */
  readonly wake: number;
  /** Pin to this CPU, or -1. */
  readonly cpu: number;
  /** Seed for every hash (B12). */
  readonly seed: number;
}
