/**
 * What the control plane tells the dataplane: compiled, checked, numeric. A transaction is a list of `Op`s,
 * applied between bursts. Ids are chosen by the control plane and stay with their object while it lives.
 */

/** An IP address as four big-endian words; IPv4 is ::ffff:a.b.c.d (0, 0, 0xffff, value). int32 each. */
export type Address = readonly [number, number, number, number];

/** A MAC address: first two bytes, last four bytes (int32). */
export interface Mac {
  readonly hi: number;
  readonly lo: number;
}

export interface SubnetConfig {
  readonly address: Address;
  /** Prefix length in the 128-bit space (IPv4 /24 is 120). */
  readonly prefix: number;
  readonly gateway: Address;
}

export interface NetworkConfig {
  /** 0 … 255 */
  readonly id: number;
  readonly name: string;
  readonly vni: number;
  /** Card device ids of the underlay (IPv4, IPv6) this network's datagrams arrive on and leave by; -1 = none. */
  readonly underlay4: number;
  readonly underlay6: number;
  /** Overlay MTU: largest IP packet a tunnel carries. */
  readonly mtu: number;
  readonly subnets: readonly SubnetConfig[];
  readonly gatewayMac: Mac;
  readonly routerMac: Mac;
  /** ms; 0 = never. */
  readonly ageing: number;
  readonly maxEntries: number;
  readonly unknownUnicast: 'flood' | 'drop';
  readonly broadcast: 'flood' | 'arp-only' | 'drop';
  readonly multicast: 'flood' | 'drop';
  readonly arpSuppression: boolean;
  readonly reserved: 'drop' | 'forward';
  readonly innerVlan: 'drop' | 'pass';
  readonly reservedBits: 'ignore' | 'strict';
  /** DSCP for outer headers (0–63), or -1 = inherit from the inner packet. */
  readonly dscp: number;
  /** Nothing leaves by a host port (N33); absent: false. */
  readonly internal?: boolean;
}

export interface PortConfig {
  /** Location, FIRST_PORT … FIRST_PEER - 1. */
  readonly id: number;
  readonly name: string;
  readonly network: number;
  /** Card device id. */
  readonly device: number;
  readonly mac: Mac;
  readonly addresses: readonly Address[];
  readonly antiSpoof: 'strict' | 'mac' | 'off';
  readonly mtu: number;
  /** Lies in the daemon's own namespace: the network's way out, and the host's way in. At most one per network; absent: false. */
  readonly isHost?: boolean;
}

export interface PeerMembership {
  readonly network: number;
  /** Row of the card's `remotes` for (peer address, the network's UDP port). */
  readonly remote: number;
  readonly address: Address;
  readonly port: number;
}

export interface PeerConfig {
  /** Location, FIRST_PEER … LOCATIONS - 1. */
  readonly id: number;
  readonly name: string;
  /** Every address datagrams of this peer may come from. */
  readonly addresses: readonly Address[];
  readonly memberships: readonly PeerMembership[];
  /** Member of flood lists (V30). */
  readonly flood: boolean;
  readonly static: readonly {
    readonly network: number;
    readonly mac: Mac;
    readonly address: Address | null;
  }[];
  /** Largest inner IP packet the path takes now; 0 = the network's MTU. */
  readonly pathMtu: number;
}

/** How a service port chooses the endpoint of a new flow. */
export type Algorithm = 'roundRobin' | 'random' | 'maglev' | 'leastConn';

/** When a client's affinity ends: so long after its last new flow, or after the first choice (S27). */
export type AffinityMode = 'sliding' | 'absolute';

/** What happens to the established flows of an endpoint that left (S30). */
export type OnEndpointRemoved = 'keep' | 'drain' | 'reset';

export interface FrontendConfig {
  readonly address: Address;
  readonly port: number;
  readonly kind: 'clusterIP' | 'externalIP' | 'loadBalancer';
}

export interface BackendConfig {
  readonly address: Address;
  readonly port: number;
  /** 0–65535; 0 takes no new flow. Absent: 1. */
  readonly weight?: number;
}

/** A service port; written by hand here, in words in `service/record.ts`. */
export interface ServiceConfig {
  /** Stable small integer. */
  readonly id: number;
  /** "namespace/name:port" */
  readonly name: string;
  readonly vip: Address;
  readonly port: number;
  /** Absent: the ClusterIP `vip`, `port`. Otherwise all of them, `vip` included. */
  readonly frontends?: readonly FrontendConfig[];
  readonly nodePort?: number;
  /** 6 TCP, 17 UDP. */
  readonly protocol: number;
  /** ms; 0 = no affinity. */
  readonly affinity: number;
  /** Absent: sliding. */
  readonly affinityMode?: AffinityMode;
  /** The cluster set (S12), ordered by (address, port). */
  readonly backends: readonly BackendConfig[];
  /** The local set (S13), likewise; absent: not computed. */
  readonly local?: readonly BackendConfig[];
  /** loadBalancerSourceRanges. Absent: every source may use the load balancer's addresses. */
  readonly ranges?: readonly CidrConfig[];
  /**
   * Addresses of all endpoints that still serve, those that get no new flows included: UDP flows to them stay (S31).
   * Without it, those of both sets.
   */
  readonly serving?: readonly Address[];
  /** Some endpoint anywhere could take a new flow (S14). Absent: some set has one. */
  readonly usable?: boolean;
  readonly internalLocal?: boolean;
  readonly externalLocal?: boolean;
  readonly algorithm?: Algorithm;
  readonly onEndpointRemoved?: OnEndpointRemoved;
  /** ms; for `onEndpointRemoved: 'drain'`. */
  readonly drain?: number;
}

export interface CidrConfig {
  readonly address: Address;
  /** Prefix length in the 128-bit space (IPv4 /24 is 120). */
  readonly prefix: number;
}

/** Idle time in ms by what a flow is in (N20). */
export interface FlowTimeouts {
  readonly tcpSynSent: number;
  readonly tcpSynRecv: number;
  readonly tcpEstablished: number;
  readonly tcpFinWait: number;
  readonly tcpCloseWait: number;
  readonly tcpLastAck: number;
  readonly tcpTimeWait: number;
  readonly tcpClose: number;
  /** Data that stays unacknowledged, or more than 3 retransmissions. */
  readonly tcpUnacknowledged: number;
  readonly udpUnreplied: number;
  readonly udpReplied: number;
  /** Before an association is answered, and once it is closed. */
  readonly sctpClosed: number;
  readonly sctpCookieWait: number;
  readonly sctpCookieEchoed: number;
  readonly sctpEstablished: number;
  readonly sctpShutdown: number;
}

/** Bytes of waiting fragments in all, ms a datagram may take (N37). */
export interface FragmentLimits {
  readonly maxBytes: number;
  readonly timeout: number;
}

/** What is optional is always told by the control plane, and by hand where a test cares. */
export interface HostConfig {
  /** Underlay addresses of this host (own address as source: drop; pods may not reach VXLAN ports there). */
  readonly underlayAddresses: readonly Address[];
  /** UDP ports in use by VXLAN. */
  readonly vxlanPorts: readonly number[];
  readonly maxFlows: number;
  /** Where NodePorts answer (S19). Absent: nowhere. */
  readonly nodeAddresses?: readonly Address[];
  /** Where pods live, and where ClusterIPs come from. Absent: not known. */
  readonly clusterCIDRs?: readonly CidrConfig[];
  readonly serviceCIDRs?: readonly CidrConfig[];
  /** Packets to an address of a serviceCIDR that no service has (S15). Absent: pass. */
  readonly unallocatedVIP?: 'drop' | 'pass';
  /** How a pod of this host is told from others (S21). Absent: ports. */
  readonly localDetect?: 'ports' | 'clusterCIDR';
  /** S21 b for every source. Absent: false. */
  readonly masqueradeAll?: boolean;
  /** Absent: the defaults of N20. */
  readonly timeouts?: FlowTimeouts;
  /** No window check (N13). Absent: false. */
  readonly tcpLiberal?: boolean;
  /** First and last source port of translated flows (N26). Absent: 61000–65535. */
  readonly natPorts?: readonly [number, number];
  /** Absent: true. */
  readonly natRandom?: boolean;
  /** Absent: 4 MiB, 30 s. */
  readonly fragments?: FragmentLimits;
}

export type Op =
  | { readonly op: 'host'; readonly host: HostConfig }
  | { readonly op: 'network'; readonly network: NetworkConfig }
  | { readonly op: 'remove-network'; readonly id: number }
  | { readonly op: 'port'; readonly port: PortConfig }
  | { readonly op: 'remove-port'; readonly id: number }
  | { readonly op: 'peer'; readonly peer: PeerConfig }
  | { readonly op: 'remove-peer'; readonly id: number }
  // Services travel as `service/record.ts`; these are for a few written by hand.
  | { readonly op: 'service'; readonly service: ServiceConfig }
  | { readonly op: 'remove-service'; readonly id: number };
