/**
 * The control socket: HTTP/1.1 with JSON bodies over a unix socket, mode 0600.
 *
 *   GET    /v1/status                     Status
 *   GET    /v1/KIND                       { items: […] } — KIND from GET_KINDS
 *   POST   /v1/apply     ApplyRequest     ApplyResponse, or 422 Failure
 *   DELETE /v1/KIND/NAME[?namespace=NS]   ApplyResponse, 404 Failure when absent, 422 when it cannot go
 *   POST   /v1/attach    AttachRequest    { port: the Port resource, as in `get ports -o json` }
 *   POST   /v1/detach    { name }         ApplyResponse
 *
 * Every error body is a Failure.
 */
import type { Algorithm, OnEndpointRemoved } from '../dataplane/config.ts';
import type { AffinityRow, FdbRow, FlowRow, NeighborRow } from '../dataplane/messages.ts';
import type { Change, Source } from './types.ts';

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
  peers: { name: string; reachable: string; rtt: number | null; rxRate: number; txRate: number }[];
  /** Totals by reason, most first. */
  drops: { reason: string; count: number; rate: number }[];
}

export type LiveRow = FdbRow | NeighborRow | FlowRow | AffinityRow | DropRow;
