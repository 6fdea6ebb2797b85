import type { Address, NetworkConfig, PortConfig } from '../dataplane/config.ts';

export const NETWORKS = 256;

/** Is it ::ffff:a.b.c.d? */
export const isIpv4 = (a: Address): boolean => a[0] === 0 && a[1] === 0 && a[2] === 0xffff;

const NO_ADDRESS: Address = [0, 0, 0, 0];

/** A word whose first `bits` are 1. */
const maskOf = (bits: number): number => (bits === 0 ? 0 : -1 << (32 - bits));

export const enum Policy {
  FLOOD = 0,
  DROP = 1,
  ARP_ONLY = 2,
}

/**
 * What the stages need to know of every network, one column per fact, indexed by NetworkConfig.id.
 * Written by the control path between bursts, read by the stages.
 */
export class Networks {
  readonly vni = new Int32Array(NETWORKS);
  readonly underlay4 = new Int32Array(NETWORKS);
  readonly underlay6 = new Int32Array(NETWORKS);
  readonly mtu = new Int32Array(NETWORKS);
  readonly gatewayHi = new Int32Array(NETWORKS);
  readonly gatewayLo = new Int32Array(NETWORKS);
  readonly routerHi = new Int32Array(NETWORKS);
  readonly routerLo = new Int32Array(NETWORKS);
  readonly unknownUnicast = new Uint8Array(NETWORKS);
  readonly broadcast = new Uint8Array(NETWORKS);
  readonly multicast = new Uint8Array(NETWORKS);
  readonly suppressArp = new Uint8Array(NETWORKS);
  readonly forwardReserved = new Uint8Array(NETWORKS);
  readonly passInnerVlan = new Uint8Array(NETWORKS);
  readonly strictReserved = new Uint8Array(NETWORKS);
  /** 1: nothing leaves by a host port (N33). */
  readonly internal = new Uint8Array(NETWORKS);
  /** DSCP << 2, or −1 = inherit. */
  readonly tos = new Int32Array(NETWORKS);
  /** The port that lies in the daemon's own namespace, −1 = none, and its first address of each family, 0 = none. */
  readonly hostPort = new Int32Array(NETWORKS).fill(-1);
  readonly hostAddress4 = new Int32Array(NETWORKS);
  /** Four words each. */
  readonly hostAddress6 = new Int32Array(NETWORKS * 4);
  /** Rows of 4 words per IPv4 subnet: address, mask, gateway, broadcast address. */
  readonly subnets4: Int32Array[] = Array.from({ length: NETWORKS }, () => new Int32Array(0));
  /** Rows of 12 words per IPv6 subnet: address 0–3, mask 0–3, gateway 0–3. */
  readonly subnets6: Int32Array[] = Array.from({ length: NETWORKS }, () => new Int32Array(0));
  readonly names: string[] = new Array<string>(NETWORKS).fill('');

  set(config: NetworkConfig): void {
    const { id } = config;
    const policy = { flood: Policy.FLOOD, drop: Policy.DROP, 'arp-only': Policy.ARP_ONLY };
    this.vni[id] = config.vni;
    this.underlay4[id] = config.underlay4;
    this.underlay6[id] = config.underlay6;
    this.mtu[id] = config.mtu;
    this.gatewayHi[id] = config.gatewayMac.hi;
    this.gatewayLo[id] = config.gatewayMac.lo;
    this.routerHi[id] = config.routerMac.hi;
    this.routerLo[id] = config.routerMac.lo;
    this.unknownUnicast[id] = policy[config.unknownUnicast];
    this.broadcast[id] = policy[config.broadcast];
    this.multicast[id] = policy[config.multicast];
    this.suppressArp[id] = config.arpSuppression ? 1 : 0;
    this.forwardReserved[id] = config.reserved === 'forward' ? 1 : 0;
    this.passInnerVlan[id] = config.innerVlan === 'pass' ? 1 : 0;
    this.strictReserved[id] = config.reservedBits === 'strict' ? 1 : 0;
    this.internal[id] = config.internal === true ? 1 : 0;
    this.tos[id] = config.dscp < 0 ? -1 : config.dscp << 2;
    this.names[id] = config.name;
    const v4 = config.subnets.filter((subnet) => isIpv4(subnet.address));
    this.subnets4[id] = Int32Array.from(
      v4.flatMap((subnet) => {
        const bits = subnet.prefix - 96;
        const mask = maskOf(bits);
        const address = subnet.address[3] & mask;
        return [address, mask, subnet.gateway[3], address | ~mask];
      }),
    );
    const v6 = config.subnets.filter((subnet) => !isIpv4(subnet.address));
    this.subnets6[id] = Int32Array.from(
      v6.flatMap(({ address, prefix, gateway }) => {
        const mask = [0, 1, 2, 3].map((word) => maskOf(Math.max(0, Math.min(32, prefix - word * 32))));
        return [...address.map((word, i) => word & mask[i]!), ...mask, ...gateway];
      }),
    );
  }

  setHostPort({ id, network, addresses }: PortConfig): void {
    this.hostPort[network] = id;
    this.hostAddress4[network] = addresses.find(isIpv4)?.[3] ?? 0;
    this.hostAddress6.set(addresses.find((a) => !isIpv4(a)) ?? NO_ADDRESS, network * 4);
  }

  removeHostPort({ id, network }: PortConfig): void {
    if (this.hostPort[network] !== id) return;
    this.hostPort[network] = -1;
    this.hostAddress4[network] = 0;
    this.hostAddress6.set(NO_ADDRESS, network * 4);
  }

  remove(id: number): void {
    this.subnets4[id] = new Int32Array(0);
    this.subnets6[id] = new Int32Array(0);
    this.names[id] = '';
  }

  /** Smallest overlay MTU of all networks. */
  smallestMtu(): number {
    return this.names.reduce(
      (least, name, id) => (name === '' ? least : Math.min(least, this.mtu[id]!)),
      65_535,
    );
  }

  /** Is this the gateway MAC or this host's router MAC? */
  isRouterMac(id: number, hi: number, lo: number): boolean {
    return (
      (lo === this.gatewayLo[id] && hi === this.gatewayHi[id]) ||
      (lo === this.routerLo[id] && hi === this.routerHi[id])
    );
  }

  /** Is this IPv4 address the network's gateway? */
  isGateway4(id: number, address: number): boolean {
    const subnets = this.subnets4[id]!;
    for (let i = 2; i < subnets.length; i += 4) if (subnets[i] === address) return true;
    return false;
  }

  /** Index of the subnet row an IPv4 address lies in, or −1. */
  subnet4(id: number, address: number): number {
    const subnets = this.subnets4[id]!;
    for (let i = 0; i < subnets.length; i += 4) if ((address & subnets[i + 1]!) === subnets[i]) return i;
    return -1;
  }

  /** Is this IPv6 address the network's gateway? */
  isGateway6(id: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const rows = this.subnets6[id]!;
    for (let i = 8; i < rows.length; i += 12) {
      if (rows[i + 3] === w3 && rows[i + 2] === w2 && rows[i + 1] === w1 && rows[i] === w0) return true;
    }
    return false;
  }

  /** Index of the subnet row an IPv6 address lies in, or −1. */
  subnet6(id: number, w0: number, w1: number, w2: number, w3: number): number {
    const rows = this.subnets6[id]!;
    for (let i = 0; i < rows.length; i += 12) {
      if (
        (w0 & rows[i + 4]!) === rows[i] &&
        (w1 & rows[i + 5]!) === rows[i + 1] &&
        (w2 & rows[i + 6]!) === rows[i + 2] &&
        (w3 & rows[i + 7]!) === rows[i + 3]
      ) {
        return i;
      }
    }
    return -1;
  }
}
