import { Word } from '../conntrack/tuple.ts';
import type { Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Packets } from '../packet/packets.ts';
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
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly services: Services,
    private readonly rules: HostRules,
  ) {}

  /** Is there nothing to judge by? */
  get isIdle(): boolean {
    return this.services.count === 0 && !this.rules.isClosed;
  }

  /** @param tuple of a packet addressed to the gateway */
  judge(slot: number, tuple: Int32Array): Verdict {
    const { services, rules } = this;
    if (!this.find(tuple)) return this.judgeAddress(tuple);
    const { service, kind } = this;
    if (kind === FrontendKind.LOAD_BALANCER && !this.mayUse(tuple)) return this.drop(Drop.SOURCE_RANGE);
    const flags = services.flags[service]!;
    if ((flags & ServiceFlag.USABLE) === 0) return this.reject(Drop.NO_ENDPOINT);
    const sender = this.senderOf(slot, tuple);
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

  /** S17: the service port a packet's destination names, by frontend, then by node port. @returns whether there is one. */
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
    const is4 = w2 === 0xffff && w1 === 0 && w0 === 0;
    this.service = rules.isNode(w0, w1, w2, w3) ? services.nodePorts.find(!is4, protocol, port) : -1;
    this.kind = NODE_PORT;
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

  /** May a service answer for the destination, at one port or another? */
  mayServe(tuple: Int32Array): boolean {
    const high = Word.DESTINATION_HIGH;
    return (
      this.isServed(tuple) ||
      this.rules.isNode(tuple[high]!, tuple[high + 1]!, tuple[high + 2]!, tuple[Word.DESTINATION]!)
    );
  }

  /** May a packet to an IPv4 address that is routed be for a service? */
  isConcerned4(address: number): boolean {
    const { rules } = this;
    return (
      this.services.frontends.has(0, 0, 0xffff, address) ||
      rules.isNode(0, 0, 0xffff, address) ||
      rules.isReserved(0, 0, 0xffff, address)
    );
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

  /** loadBalancerSourceRanges; an address of this node in them stands for the node, which appears as the VIP (S18). */
  private mayUse(tuple: Int32Array): boolean {
    const { services, service, rules } = this;
    const count = services.ranges[service]!;
    if (count === ANY_SOURCE) return true;
    const words = services.words(service);
    const at = services.rangesAt(service);
    const high = Word.SOURCE_HIGH;
    const w0 = tuple[high]!;
    const w1 = tuple[high + 1]!;
    const w2 = tuple[high + 2]!;
    const w3 = tuple[Word.SOURCE]!;
    if (isInPrefixes(words, at, count, w0, w1, w2, w3)) return true;
    const isVip =
      w3 === tuple[Word.DESTINATION] &&
      w2 === tuple[Word.DESTINATION_HIGH + 2] &&
      w1 === tuple[Word.DESTINATION_HIGH + 1] &&
      w0 === tuple[Word.DESTINATION_HIGH];
    const { nodes } = rules;
    for (let i = 0; isVip && i < nodes.length; i += 4) {
      if (isInPrefixes(words, at, count, nodes[i]!, nodes[i + 1]!, nodes[i + 2]!, nodes[i + 3]!)) return true;
    }
    return false;
  }

  private senderOf(slot: number, tuple: Int32Array): Sender {
    const { packets, networks, locations, rules } = this;
    const port = packets.source[slot]!;
    if (port !== networks.hostPort[packets.network[slot]!]) return Sender.POD;
    const high = Word.SOURCE_HIGH;
    const w0 = tuple[high]!;
    const w1 = tuple[high + 1]!;
    const w2 = tuple[high + 2]!;
    const w3 = tuple[Word.SOURCE]!;
    const is4 = w2 === 0xffff && w1 === 0 && w0 === 0;
    const isOwn = is4 ? locations.ownsAddress4(port, w3) : locations.ownsAddress6(port, w0, w1, w2, w3);
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
