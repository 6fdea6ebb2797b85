/**
 * The control socket: HTTP/1.1 with JSON bodies over a unix socket, mode 0600.
 *
 *   GET    /v1/status                     Status
 *   GET    /v1/KIND                       { items: […] } — KIND from GET_KINDS
 *   POST   /v1/apply     ApplyRequest     ApplyResponse, or 422 Failure
 *   DELETE /v1/KIND/NAME[?namespace=NS]   ApplyResponse, 404 Failure when absent, 422 when it cannot go
 *   POST   /v1/explain   ExplainRequest   Explanation, 404 Failure when no flow fits, 422 when several do
 *   POST   /v1/attach    AttachRequest    { port: the Port resource, as in `get ports -o json` }
 *   POST   /v1/detach    { name }         ApplyResponse
 *
 * Every error body is a Failure.
 */
import type { Algorithm, OnEndpointRemoved } from '../dataplane/config.ts';
import type {
  AffinityRow,
  Fate,
  FateRow,
  FdbRow,
  FlowRow,
  Frontend,
  NeighborRow,
  Outcome,
  Since,
} from '../dataplane/messages.ts';
import type { Allocation, Change, Origin, Source } from './types.ts';

/** Bytes of a path to the control socket: `sun_path` less its final zero. */
export const MAX_SOCKET_PATH = 107;

export const GET_KINDS = [
  'hosts',
  'networks',
  'ports',
  'peers',
  'services',
  'endpointslices',
  'nodes',
  'servicecidrs',
  'fdb',
  'neighbors',
  'flows',
  'affinities',
  'drops',
] as const;
export type GetKind = (typeof GET_KINDS)[number];

export interface Failure {
  /** One line each. */
  readonly errors: readonly string[];
}

export interface ApplyRequest {
  readonly sources: readonly Source[];
  readonly dryRun?: boolean;
}

export interface ApplyResponse {
  readonly changes: readonly Change[];
  readonly warnings: readonly string[];
  /** What Services are given that left it open (S38); absent: nothing. */
  readonly given?: readonly Allocation[];
  /** Of a dry run: living flows to which the change means something, and how many. */
  readonly flows?: readonly FateRow[];
  readonly fates?: Readonly<Record<Fate, number>>;
}

/** "10.77.0.11:40000", "[fd00::11]:40000"; the port may be missing. */
export interface ExplainRequest {
  readonly client: string;
  readonly protocol?: string;
  /** What the client talks to: a service's address, or the endpoint behind it. */
  readonly to?: string;
  /** Absent: the one network the flow, or else the client's address, is in. */
  readonly network?: string;
}

/** An endpoint of some slice of the service, for this port. */
export interface Candidate {
  /** "10.77.0.12:8080" */
  readonly address: string;
  /** "default/shop-1" */
  readonly slice: string;
  readonly origin: Origin;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node: string | null;
  readonly weight: number;
  /** May new flows go there? */
  readonly eligible: boolean;
  readonly chosen: boolean;
  /** Why, or why not. */
  readonly why: string;
}

export interface Explanation {
  /** The living flow; null: all of this says what would become of a new one now. */
  readonly flow: FlowRow | null;
  readonly network: string;
  readonly protocol: string;
  readonly client: string;
  readonly to: string;
  readonly outcome: Outcome;
  /** One sentence. */
  readonly reason: string;
  readonly service: {
    /** "default/shop" */
    readonly name: string;
    readonly port: string;
    readonly frontend: Frontend;
    readonly origin: Origin;
    /** metadata.generation, when its document has one. */
    readonly metadataGeneration: number | null;
    /** Number of the change that made the service what it is. */
    readonly generation: number;
    readonly algorithm: string;
    /** Which endpoints were asked. */
    readonly set: 'cluster' | 'local';
    /** Of a flow, what came to and left them since it began; null when not all of it is known any more. */
    readonly since: Since | null;
  } | null;
  readonly backend: string | null;
  readonly candidates: readonly Candidate[];
}

export interface AttachRequest {
  readonly netns: string;
  readonly network: string;
  readonly name?: string;
  readonly interface?: string;
  readonly address?: string;
  /** false: the namespace keeps the default route it has. Absent: true for its first port. */
  readonly defaultRoute?: boolean;
}

/** Resources carry their document plus live state under `status`. */
export interface ResourceItem {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; [key: string]: unknown };
  spec?: unknown;
  status?: unknown;
  [key: string]: unknown;
}

export interface NetworkStatus {
  mtu: number;
  ports: number;
  peers: number;
  macs: number;
}

export interface PortStatus {
  /** up: forwarding. gone: its namespace or device vanished; `apply` brings it back. */
  state: 'up' | 'gone';
  mac: string;
  mtu: number;
  rxFrames: number;
  txFrames: number;
  rxBytes: number;
  txBytes: number;
  dropped: number;
}

export interface PeerStatus {
  networks: string[];
  macs: number;
  rxBytes: number;
  txBytes: number;
  /** Seconds since a datagram came from it; null = never. */
  lastHeard: number | null;
  /** "off" with a reason when ICMP probing is not available. */
  reachable: 'yes' | 'no' | 'unknown' | 'off';
  /** Milliseconds of the last answered probe. */
  rtt: number | null;
  /** Largest underlay packet that reaches it, bytes; null = not known. */
  pathMtu: number | null;
}

export interface ServiceStatus {
  /** Ready ones, in the family that has more. */
  endpoints: number;
  flows: number;
  /** As annotated, else the Host's. */
  algorithm: Algorithm;
  onEndpointRemoved: OnEndpointRemoved;
}

export interface DropRow {
  reason: string;
  /** Port or peer name, "gateway" or "underlay". */
  from: string;
  count: number;
  /** Seconds since the last one; null when unknown. */
  last: number | null;
  text: string;
}

export interface Status {
  healthy: boolean;
  /** Why not, one line each; empty when healthy. */
  problems: string[];
  host: string;
  version: string;
  pid: number;
  /** Seconds. */
  uptime: number;
  probing: string;
  counts: { networks: number; ports: number; peers: number; services: number; flows: number };
  ports: {
    name: string;
    network: string;
    state: 'up' | 'gone';
    rxRate: number;
    txRate: number;
    rxBitRate: number;
    txBitRate: number;
  }[];
  /** The daemon's own links: a network's way out, and the host's way in. */
  hostPorts: { interface: string; network: string; addresses: string[]; masquerade: boolean }[];
  /** Routes of the host to service addresses. */
  hostRoutes: number;
  peers: { name: string; reachable: string; rtt: number | null; rxRate: number; txRate: number }[];
  /** Totals by reason, most first. */
  drops: { reason: string; count: number; rate: number }[];
}

export type LiveRow = FdbRow | NeighborRow | FlowRow | AffinityRow | DropRow;
