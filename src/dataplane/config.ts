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

export interface BackendConfig {
  readonly address: Address;
  readonly port: number;
}

export interface ServiceConfig {
  /** Stable small integer. */
  readonly id: number;
  /** "namespace/name:port" */
  readonly name: string;
  readonly vip: Address;
  readonly port: number;
  /** 6 TCP, 17 UDP. */
  readonly protocol: number;
  /** ms; 0 = no affinity. */
  readonly affinity: number;
  /** Ordered by (address, port). */
  readonly backends: readonly BackendConfig[];
  /**
   * Addresses of all endpoints that still serve, those that get no new flows included: UDP flows to them stay (S31).
   * Without it, the backends' addresses.
   */
  readonly serving?: readonly Address[];
}

export interface HostConfig {
  /** Underlay addresses of this host (own address as source: drop; pods may not reach VXLAN ports there). */
  readonly underlayAddresses: readonly Address[];
  /** UDP ports in use by VXLAN. */
  readonly vxlanPorts: readonly number[];
  readonly maxFlows: number;
  /** Idle times of flows, ms by state (conntrack/timeouts.ts), each below 2^31; absent: N20's. */
  readonly timeouts?: readonly number[];
  /** TCP segments outside the window are let through (N13). */
  readonly tcpLiberal?: boolean;
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
