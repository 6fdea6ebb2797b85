/** What main thread and dataplane worker say to each other. All cold: nothing here is per packet. */
import type { ServiceBatch } from '../service/record.ts';
import type { Address, Algorithm, Op } from './config.ts';

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
  /** Answered by one FlowAnswer as a listing. */
  | { readonly type: 'explain'; readonly id: number; readonly question: FlowQuestion }
  /** Answered by FateRows as a listing: what a change would mean to flows. Nothing changes. */
  | {
      readonly type: 'preview';
      readonly id: number;
      readonly services: ServiceBatch;
      readonly ops: readonly Op[];
    }
  | { readonly type: 'stop' };

/** Which flow somebody asks about. Addresses in words; a port of 0 and a protocol of 0 are not said. */
export interface FlowQuestion {
  /** Ids; the first is the one a new flow of the client would be in. */
  readonly networks: readonly number[];
  readonly protocol: number;
  readonly client: Address;
  readonly clientPort: number;
  /** What the client talks to, or the endpoint it talks to there. */
  readonly to: Address | null;
  readonly toPort: number;
}

/** What becomes of a first packet. */
export type Outcome = 'accept' | 'reject' | 'drop' | 'pass';

/** A set of endpoints as the dataplane has it. */
export type EndpointRow = { readonly address: string; readonly weight: number; readonly reachable: boolean };

/** What the dataplane knows of a service port. */
export interface ServicePortRow {
  /** "default/shop:http" */
  readonly name: string;
  readonly protocol: string;
  /** Number of the change that made it what it is. */
  readonly generation: number;
  readonly algorithm: Algorithm;
  readonly frontend: Frontend;
  /** The set in use. */
  readonly set: 'cluster' | 'local';
  readonly endpoints: readonly EndpointRow[];
  /** What came to and left the set since the flow's first packet; null when not all of it is known any more. */
  readonly since: Since | null;
}

export interface Since {
  /** "10.77.0.12:8080" */
  readonly came: readonly string[];
  readonly left: readonly string[];
}

export type Frontend = 'clusterIP' | 'externalIP' | 'loadBalancer' | 'nodePort';

export interface FlowAnswer {
  /** Living flows that fit, at most `MOST_MATCHES`. */
  readonly flows: readonly FlowRow[];
  /** Of the one flow, or of the first packet. */
  readonly service: ServicePortRow | null;
  /** When no flow fits: what would become of the first packet of one. Null when too little was said. */
  readonly outlook: {
    readonly outcome: Outcome;
    /** Drop reason of a refused one. */
    readonly reason: string | null;
    /** "10.77.0.12:8080"; null when nobody, or by chance. */
    readonly backend: string | null;
    /** As in FlowRow. */
    readonly why: string;
  } | null;
}

export const MOST_MATCHES = 10;

/** What a change means to a flow; the ones it means nothing to are not told of. */
export type Fate = 'kept' | 'drained' | 'reset' | 'removed';

export interface FateRow extends FlowRow {
  readonly fate: Fate;
  /** Why, for a person. */
  readonly because: string;
}

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
  protocol: string;
  /** "10.77.0.11:40000" as the client sees it. */
  client: string;
  /** "default/shop:http"; "(removed)", or "(direct)" of a flow that only had to get another source port. */
  service: string;
  /** Number of the change after which the service was as the flow found it. */
  generation: number;
  vip: string;
  backend: string;
  /** Whom the backend sees instead of the client; null = the client. */
  snat: string | null;
  /** How the backend was chosen: "roundRobin 2/3". */
  why: string;
  state: string;
  /** Seconds since its first packet. */
  age: number;
  /** Seconds until the flow expires if idle. */
  expires: number;
  /** Seconds until the drain of its endpoint ends it; null = it is not drained. */
  drain: number | null;
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

export type DumpRow = FdbRow | NeighborRow | FlowRow | AffinityRow | FlowAnswer | FateRow;

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
  /** @param thread kernel id of the worker's thread */
  | { readonly type: 'ready'; readonly thread: number }
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
