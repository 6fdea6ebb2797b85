/** Shapes shared by the stages of the control plane: text → resources → compiled generation → plan. */

import type { InterfaceAddress, TapOptions, UnderlayOptions } from '../card/native.ts';
import type { HostConfig, NetworkConfig, Op, PeerConfig, PortConfig } from '../dataplane/config.ts';

/** One text to read: a file, standard input or the body of a request. */
export interface Source {
  /** Name for messages: a path as the user gave it, or "<stdin>". */
  readonly file: string;
  readonly text: string;
  /** The same in UTF-8, where that is at hand. */
  readonly bytes?: Buffer;
}

export interface Origin {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One line for a person: `file:line:column: path: message`. */
export interface Problem extends Origin {
  /** "spec.vxlan.vni"; empty when the whole document is meant. */
  readonly path: string;
  /** What is wrong; what would be right. */
  readonly message: string;
}

export type Kind = 'Host' | 'Network' | 'Peer' | 'Port' | 'Service' | 'EndpointSlice';

interface Envelope<K extends Kind, S> {
  readonly kind: K;
  readonly name: string;
  /** Kubernetes namespace; "" for Twill's own kinds. */
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Defaults applied, addresses and MACs in canonical text. */
  readonly spec: S;
  readonly origin: Origin;
  /** Position of a path inside this document, for cross-checks ("spec.network" → line, column). */
  locate(path: string): Origin;
  /** The document as given, for `get -o yaml` (no defaults). */
  readonly document: unknown;
  /** A Kubernetes object in its usual form (`plain.ts`): there is nothing to warn of. */
  readonly isPlain?: boolean;
}

/** Where a TCP port listens. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface HostSpec {
  readonly underlay: { readonly address: string; readonly address6?: string; readonly interface?: string };
  readonly conntrack: { readonly max: number };
  /** Health of the proxy, and metrics, over HTTP; null = not served. */
  readonly health: { readonly bind: Endpoint | null };
  readonly metrics: { readonly bind: Endpoint | null };
}

export interface NetworkSpec {
  readonly subnets: readonly { readonly cidr: string; readonly gateway: string }[];
  readonly mtu: number | 'auto';
  readonly vxlan: {
    readonly vni: number;
    readonly port: number;
    readonly sourcePorts: readonly [number, number];
    readonly checksum: 'auto' | 'on' | 'off';
    readonly df: 'set' | 'unset';
    readonly ttl: number;
    readonly tos: number | 'inherit';
    readonly innerVlan: 'drop' | 'pass';
    readonly reservedBits: 'ignore' | 'strict';
    readonly zeroChecksum6: boolean;
  };
  readonly bridge: {
    /** Seconds; 0 = never (written `never`). */
    readonly ageing: number;
    readonly maxEntries: number;
    readonly unknownUnicast: 'flood' | 'drop';
    readonly broadcast: 'flood' | 'arp-only' | 'drop';
    readonly multicast: 'flood' | 'drop';
    readonly arpSuppression: boolean;
    readonly reserved: 'drop' | 'forward';
  };
  /** What leaves by the host port gets an address of the host's; `except`: not towards these CIDRs. */
  readonly nat: { readonly masquerade: boolean; readonly except: readonly string[] };
  /** Nothing leaves, no default route is given (N33). */
  readonly internal: boolean;
}

export interface PeerSpec {
  readonly addresses: readonly string[];
  readonly port?: number;
  /** Network names; undefined = every network. */
  readonly networks?: readonly string[];
  readonly flood: boolean;
  readonly static: readonly { readonly network?: string; readonly mac: string; readonly ip?: string }[];
}

export interface PortSpec {
  readonly network: string;
  /** Absolute path of the namespace file, or null for the daemon's own. */
  readonly netns: string | null;
  readonly interface: string;
  readonly mac: string;
  /** Prefix 0 where the user gave none: compilation takes the subnet's. */
  readonly addresses: readonly InterfaceAddress[];
  readonly defaultRoute: boolean;
  readonly mtu?: number;
  readonly antiSpoof: 'strict' | 'mac' | 'off';
}

/** The fields of a Kubernetes Service that Twill uses. */
export interface ServiceSpec {
  /** IPv4 ClusterIP text; "" when the service has none to program (headless, ExternalName, other proxy). */
  readonly clusterIP: string;
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
    readonly port: number;
  }[];
  /** Seconds; 0 = sessionAffinity None. */
  readonly affinity: number;
}

export interface EndpointSliceSpec {
  /** From the label kubernetes.io/service-name; "" = belongs to none. */
  readonly service: string;
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
    readonly port: number;
  }[];
  readonly endpoints: readonly {
    readonly address: string;
    readonly ready: boolean;
    readonly serving: boolean;
    readonly terminating: boolean;
    readonly nodeName?: string;
  }[];
  /** The IPv4 endpoints that can be used, `ENDPOINT_WORDS` each: address, health (`endpoints.ts`). */
  readonly words: Int32Array;
  /** How many of its endpoints are ready. */
  readonly ready: number;
}

export type Resource =
  | Envelope<'Host', HostSpec>
  | Envelope<'Network', NetworkSpec>
  | Envelope<'Peer', PeerSpec>
  | Envelope<'Port', PortSpec>
  | Envelope<'Service', ServiceSpec>
  | Envelope<'EndpointSlice', EndpointSliceSpec>;

export type ResourceOf<K extends Kind> = Extract<Resource, { kind: K }>;

export interface Parsed {
  readonly resources: readonly Resource[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** What compilation asks of the system; a fake in tests. */
export interface Facts {
  /** MTU of the link that routes to this underlay address. @throws when there is no route. */
  mtuTowards(address: string): number;
}

export interface UnderlayPlan {
  /** Card device id. */
  readonly device: number;
  readonly options: UnderlayOptions;
}

export interface PortPlan {
  readonly config: PortConfig;
  readonly tap: TapOptions;
}

/** One row of the card's `remotes`. */
export interface RemotePlan {
  readonly row: number;
  readonly address: readonly [number, number, number, number];
  readonly port: number;
}

/** A complete, numeric generation of the desired state; services are the `ServiceBook`'s. */
export interface Generation {
  readonly host: HostConfig;
  readonly underlays: readonly UnderlayPlan[];
  readonly remotes: readonly RemotePlan[];
  readonly networks: readonly NetworkConfig[];
  readonly peers: readonly PeerConfig[];
  readonly ports: readonly PortPlan[];
}

export type Action = 'created' | 'configured' | 'unchanged' | 'deleted';

export interface Change {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly action: Action;
}

/** What takes one generation to the next, in this order: open, create, (worker: ops), remove, close. */
export interface Plan {
  readonly openUnderlays: readonly UnderlayPlan[];
  readonly closeUnderlays: readonly UnderlayPlan[];
  readonly createPorts: readonly PortPlan[];
  readonly removePorts: readonly PortPlan[];
  /** Ports kept whose link MTU changes. */
  readonly setMtu: readonly PortPlan[];
  readonly ops: readonly Op[];
}
