/** Shapes shared by the stages of the control plane: text → resources → compiled generation → plan. */

import type { InterfaceAddress, TapOptions, UnderlayOptions } from '../card/native.ts';
import type {
  AffinityMode,
  Algorithm,
  FlowTimeouts,
  FrontendConfig,
  HostConfig,
  NetworkConfig,
  OnEndpointRemoved,
  Op,
  PeerConfig,
  PortConfig,
} from '../dataplane/config.ts';
import type { Cidr, Family, Words } from '../wire/address.ts';

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

export type Kind =
  | 'Host'
  | 'Network'
  | 'Peer'
  | 'Port'
  | 'Service'
  | 'EndpointSlice'
  | 'Node'
  | 'ServiceCIDR';

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
  readonly underlay: { readonly address: string; readonly address6?: string };
  /** Name of this Node in Kubernetes; endpoints on it are local (S5). */
  readonly nodeName: string;
  /** Absent: that of the Node object. */
  readonly zone?: string;
  /** CIDRs; `primary`: one address per family (S19). */
  readonly nodePortAddresses: 'primary' | readonly string[];
  readonly clusterCIDRs: readonly string[];
  readonly serviceCIDRs: readonly string[];
  readonly localDetect: 'ports' | 'clusterCIDR';
  readonly masqueradeAll: boolean;
  readonly proxy: {
    readonly algorithm: Algorithm;
    /** Absent: drop where serviceCIDRs are known, else pass (S15). */
    readonly unallocatedVIP?: 'drop' | 'pass';
    readonly onEndpointRemoved: OnEndpointRemoved;
    /** Seconds. */
    readonly drain: number;
  };
  readonly conntrack: {
    readonly max: number;
    /** Seconds. */
    readonly timeouts: FlowTimeouts & {
      /** Without effect here, as `tcpLoose` is. */
      readonly icmp?: number | undefined;
      readonly other?: number | undefined;
    };
    readonly tcpLiberal: boolean;
    /** Without effect here: whoever says something is told so (N16). */
    readonly tcpLoose?: boolean | undefined;
  };
  readonly nat: { readonly ports: readonly [number, number]; readonly random: boolean };
  /** Bytes, seconds. */
  readonly fragments: { readonly maxBytes: number; readonly timeout: number };
  /** Health of the proxy, and metrics, over HTTP; null = not served. */
  readonly health: { readonly bind: Endpoint | null };
  readonly metrics: { readonly bind: Endpoint | null };
}

/** The fields of a Kubernetes Node that Twill uses. */
export interface NodeSpec {
  readonly zone?: string;
  readonly podCIDRs: readonly string[];
  /** Its InternalIP addresses. */
  readonly addresses: readonly string[];
  /** It is being deleted (S35). */
  readonly isLeaving: boolean;
}

export interface ServiceCIDRSpec {
  readonly cidrs: readonly string[];
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

/** Where clients find a Service. */
export interface ServiceAddress {
  readonly kind: FrontendConfig['kind'];
  readonly words: Words;
}

export interface EndpointPort {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
}

export interface ServicePort extends EndpointPort {
  /** 0 = none. */
  readonly nodePort: number;
}

/** What a Service leaves to be allocated (S38). */
export interface Wants {
  /** As written in `ipFamilies`; empty: the cluster's first. */
  readonly families: readonly Family[];
  readonly policy: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack';
  /** Of ports that have none. */
  readonly nodePorts: boolean;
  readonly healthCheckNodePort: boolean;
  /** External addresses, in case a ClusterIP of their family is given. */
  readonly externals: readonly ServiceAddress[];
}

/** The fields of a Kubernetes Service that Twill uses. */
export interface ServiceSpec {
  /**
   * ClusterIPs first, at most one per family, then externals of those families; each once. None when there is
   * nothing to program: headless, ExternalName, another proxy's (S2).
   */
  readonly addresses: readonly ServiceAddress[];
  readonly ports: readonly ServicePort[];
  /** Seconds; 0 = sessionAffinity None. */
  readonly affinity: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** loadBalancerSourceRanges of both families; empty = everybody. */
  readonly sourceRanges: readonly Cidr[];
  /** Where a load balancer asks for local endpoints (S34); 0 = nowhere. */
  readonly healthCheckNodePort: number;
  /** By annotation (M12); absent: the Host's. `drain` in ms. */
  readonly algorithm?: Algorithm;
  readonly onEndpointRemoved?: OnEndpointRemoved;
  readonly drain?: number;
  /** By annotation (M12); absent: sliding. */
  readonly affinityMode?: AffinityMode;
  /** Absent: all is written. */
  readonly wants?: Wants;
}

/** What a Service is given that left it open (S38). */
export interface Allocation {
  readonly namespace: string;
  readonly name: string;
  readonly clusterIPs: readonly string[];
  readonly nodePorts: readonly { readonly port: number; readonly nodePort: number }[];
  readonly healthCheckNodePort?: number;
}

/** Whose traffic an endpoint is meant for (S11). */
export interface Hints {
  readonly zones: readonly string[];
  readonly nodes: readonly string[];
}

export interface EndpointSliceSpec {
  /** From the label kubernetes.io/service-name; "" = belongs to none. */
  readonly service: string;
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly {
    readonly address: string;
    readonly ready: boolean;
    readonly serving: boolean;
    readonly terminating: boolean;
    readonly nodeName?: string;
    readonly hints?: Hints;
  }[];
  /** The endpoints that can be used, `ENDPOINT_WORDS` each (`endpoints.ts`). */
  readonly words: Int32Array;
  /** Names of the nodes they are on. */
  readonly nodes: readonly string[];
  /** One per endpoint in `words`; absent: none has any. */
  readonly hints?: readonly (Hints | undefined)[];
  /** Of each of its endpoints (M12). */
  readonly weight: number;
  /** How many of its endpoints are ready. */
  readonly ready: number;
}

export type Resource =
  | Envelope<'Host', HostSpec>
  | Envelope<'Network', NetworkSpec>
  | Envelope<'Peer', PeerSpec>
  | Envelope<'Port', PortSpec>
  | Envelope<'Service', ServiceSpec>
  | Envelope<'EndpointSlice', EndpointSliceSpec>
  | Envelope<'Node', NodeSpec>
  | Envelope<'ServiceCIDR', ServiceCIDRSpec>;

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
  /** This host's own addresses. Absent: none is known. */
  hostAddresses?(): readonly string[];
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
