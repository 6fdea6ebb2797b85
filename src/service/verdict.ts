import { Word } from '../conntrack/tuple.ts';
import type { Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import { Drop } from '../telemetry/drop.ts';
import type { HostRules } from './host-rules.ts';
import { isInPrefixes } from './prefixes.ts';
import { ANY_SOURCE, FrontendKind, ServiceFlag } from './record.ts';
import { EndpointSet, type Services } from './services.ts';

/** `kind` of a service port that was found by its node port, above those of frontends. */
export const NODE_PORT = 3;

export const enum Verdict {
  /** No service's: the router's business. */
  PASS = 0,
  /** To an endpoint of `set`. */
  ACCEPT,
  /** Refused at once (S16). */
  REJECT,
  /** Discarded without a word. */
  DROP,
}

/** Who sends. */
const enum Sender {
  POD,
  /** This host: an address of its own, by the host port. */
  HOST,
  OUTSIDE,
}

/**
 * What becomes of the first packet of a flow (S15, S17, S18, S21, S22). The answer stands in the fields until the next
 * call.
 */
export class Judge {
  /** Service id, −1 = none. */
  service = -1;
  /** FrontendKind or NODE_PORT. */
  kind = 0;
  set = EndpointSet.CLUSTER;
  /** Must the endpoint see an address of this host (S21 b–d)? */
  isMasked = false;
  /** Why not, of REJECT and DROP. */
  reason = Drop.NONE;

  constructor(
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly services: Services,
    private readonly rules: HostRules,
  ) {}

  /** Is there nothing to judge by? */
  get isIdle(): boolean {
    return this.services.count === 0 && !this.rules.isClosed;
  }

  /**
   * @param from location it came from
   * @param tuple of a packet addressed to the gateway
   */
  judge(from: number, tuple: Int32Array): Verdict {
    const { services, rules } = this;
    if (!this.find(tuple)) return this.judgeAddress(tuple);
    const { service, kind } = this;
    if (kind === FrontendKind.LOAD_BALANCER && !this.mayUse(tuple)) return this.drop(Drop.SOURCE_RANGE);
    const flags = services.flags[service]!;
    if ((flags & ServiceFlag.USABLE) === 0) return this.reject(Drop.NO_ENDPOINT);
    const sender = this.senderOf(from, tuple);
    if (kind === FrontendKind.CLUSTER_IP) {
      this.set = (flags & ServiceFlag.INTERNAL_LOCAL) !== 0 ? EndpointSet.LOCAL : EndpointSet.CLUSTER;
      this.isMasked = sender === Sender.OUTSIDE || rules.masqueradeAll;
    } else {
      const isLocal = (flags & ServiceFlag.EXTERNAL_LOCAL) !== 0;
      this.set = isLocal && sender === Sender.OUTSIDE ? EndpointSet.LOCAL : EndpointSet.CLUSTER; // S22
      this.isMasked = !isLocal || sender === Sender.HOST;
    }
    if (services.size(service, this.set) > 0) return Verdict.ACCEPT;
    return this.set === EndpointSet.LOCAL ? this.drop(Drop.NO_LOCAL_ENDPOINT) : this.reject(Drop.NO_ENDPOINT);
  }

  /**
   * S17: the service port a packet's destination names, by frontend, then by node port. Node ports answer at the
   * addresses of the node, and at the gateway's, where the host's kernel delivers what is for them.
   * @returns whether there is one
   */
  find(tuple: Int32Array): boolean {
    const { services, rules } = this;
    const high = Word.DESTINATION_HIGH;
    const w0 = tuple[high]!;
    const w1 = tuple[high + 1]!;
    const w2 = tuple[high + 2]!;
    const w3 = tuple[Word.DESTINATION]!;
    const protocol = tuple[Word.SCOPE]! & 0xff;
    const port = tuple[Word.PORTS]! & 0xffff;
    const row = services.frontends.find(w0, w1, w2, w3, protocol, port);
    if (row >= 0) {
      this.service = services.frontends.owner[row]!;
      this.kind = services.frontends.kind[row]!;
      return true;
    }
    this.kind = NODE_PORT;
    this.service = -1;
    if (services.nodePorts.count === 0) return false;
    const is4 = w2 === 0xffff && w1 === 0 && w0 === 0;
    const network = tuple[Word.SCOPE]! >>> 8;
    if (this.isGateway(network, w0, w1, w2, w3) || rules.isNode(w0, w1, w2, w3))
      this.service = services.nodePorts.find(!is4, protocol, port);
    return this.service >= 0;
  }

  /** Is the destination an address that only services answer for? */
  isServed(tuple: Int32Array): boolean {
    const high = Word.DESTINATION_HIGH;
    return this.services.frontends.has(
      tuple[high]!,
      tuple[high + 1]!,
      tuple[high + 2]!,
      tuple[Word.DESTINATION]!,
    );
  }

  /** As `isConcerned`, for an IPv4 address. */
  isConcerned4(address: number): boolean {
    return this.isConcerned(0, 0, 0xffff, address);
  }

  /** May a packet to an address that is routed be for a service? */
  isConcerned(w0: number, w1: number, w2: number, w3: number): boolean {
    const { rules, services } = this;
    return (
      services.frontends.has(w0, w1, w2, w3) ||
      rules.isNode(w0, w1, w2, w3) ||
      rules.isReserved(w0, w1, w2, w3)
    );
  }

  /**
   * The same of a packet to the gateway that does not tell its port: node ports answer at the gateway's addresses too.
   * @param addresses as in a tuple, whose other words do not matter
   */
  mayBeServed(network: number, addresses: Int32Array): boolean {
    const high = Word.DESTINATION_HIGH;
    const w0 = addresses[high]!;
    const w1 = addresses[high + 1]!;
    const w2 = addresses[high + 2]!;
    const w3 = addresses[Word.DESTINATION]!;
    if (this.isConcerned(w0, w1, w2, w3)) return true;
    return this.services.nodePorts.count > 0 && this.isGateway(network, w0, w1, w2, w3);
  }

  /** A destination without such a service port. */
  judgeAddress(tuple: Int32Array): Verdict {
    const { services, rules } = this;
    const high = Word.DESTINATION_HIGH;
    const w0 = tuple[high]!;
    const w1 = tuple[high + 1]!;
    const w2 = tuple[high + 2]!;
    const w3 = tuple[Word.DESTINATION]!;
    if (services.frontends.hasClusterIP(w0, w1, w2, w3)) return this.reject(Drop.NO_SUCH_SERVICE_PORT);
    if (this.isServed(tuple) || !rules.isReserved(w0, w1, w2, w3)) return Verdict.PASS;
    return this.drop(Drop.UNALLOCATED_VIP);
  }

  /** loadBalancerSourceRanges; the control plane adds the balancer's own addresses where S18 wants it. */
  private mayUse(tuple: Int32Array): boolean {
    const { services, service } = this;
    const count = services.ranges[service]!;
    if (count === ANY_SOURCE) return true;
    const high = Word.SOURCE_HIGH;
    return isInPrefixes(
      services.words(service),
      services.rangesAt(service),
      count,
      tuple[high]!,
      tuple[high + 1]!,
      tuple[high + 2]!,
      tuple[Word.SOURCE]!,
    );
  }

  private isGateway(network: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const { networks } = this;
    const is4 = w2 === 0xffff && w1 === 0 && w0 === 0;
    return is4 ? networks.isGateway4(network, w3) : networks.isGateway6(network, w0, w1, w2, w3);
  }

  private senderOf(from: number, tuple: Int32Array): Sender {
    const { networks, locations, rules } = this;
    if (from !== networks.hostPort[tuple[Word.SCOPE]! >>> 8]) return Sender.POD;
    const high = Word.SOURCE_HIGH;
    const w0 = tuple[high]!;
    const w1 = tuple[high + 1]!;
    const w2 = tuple[high + 2]!;
    const w3 = tuple[Word.SOURCE]!;
    const is4 = w2 === 0xffff && w1 === 0 && w0 === 0;
    const isOwn = is4 ? locations.ownsAddress4(from, w3) : locations.ownsAddress6(from, w0, w1, w2, w3);
    if (isOwn || rules.isNode(w0, w1, w2, w3)) return Sender.HOST;
    return rules.isPod(w0, w1, w2, w3) ? Sender.POD : Sender.OUTSIDE;
  }

  private reject(reason: Drop): Verdict {
    this.reason = reason;
    return Verdict.REJECT;
  }

  private drop(reason: Drop): Verdict {
    this.reason = reason;
    return Verdict.DROP;
  }
}
