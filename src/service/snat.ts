import type { Flows } from '../conntrack/flows.ts';
import { TcpState } from '../conntrack/tcp-state.ts';
import { isTuple4, reverseTuple, TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import type { Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import { finish } from '../table/hash.ts';
import type { HostRules } from './host-rules.ts';

/** Ports of an address that nobody but the flow's owner uses (N26). */
const FIRST_PORT = 1024;
const LAST_PORT = 65_535;
/** Ports tried before a flow is refused, as in net/netfilter/nf_nat_core.c. */
const MAX_PROBES = 128;
const GOLDEN = 0x9e3779b9;

/**
 * The reply tuple of a new flow: whom the endpoint sees as its client (S20, S21, N26, N31).
 *
 *   the client itself          as a rule
 *   the network's gateway      when the answer would not come back otherwise: the endpoint is the client, or lies behind
 *                              the host port, by which the packet also came or whose address it would bear
 *   the host port's address    when the endpoint must see this host
 *
 * Two flows never share a tuple: where the client's own port is taken, the flow gets another.
 */
export class SourceNat {
  readonly reply = new Int32Array(TUPLE_WORDS);
  private random: number;

  /** @param seed secret from which ports are drawn */
  constructor(
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly flows: Flows,
    private readonly rules: HostRules,
    seed: number,
  ) {
    this.random = seed;
  }

  /** Is the endpoint at `at` of `words` in the network, or behind its host port? */
  isReachable(network: number, words: Int32Array, at: number): boolean {
    const w0 = words[at]!;
    const w1 = words[at + 1]!;
    const w2 = words[at + 2]!;
    if (this.subnetOf(network, w0, w1, w2, words[at + 3]!) >= 0) return true;
    const { hostAddress4, hostAddress6, internal } = this.networks;
    const wayOut = isMapped(w0, w1, w2) ? hostAddress4[network] : hostAddress6[network * 4];
    return wayOut !== 0 && internal[network] === 0;
  }

  /**
   * Fills `reply` for a flow to the endpoint at `at` of `words`.
   * @param from location the packet came from
   * @param isMasked must the endpoint see this host?
   * @returns false when no port is left (N28)
   */
  fit(
    tuple: Int32Array,
    from: number,
    words: Int32Array,
    at: number,
    isMasked: boolean,
    now: number,
  ): boolean {
    const { reply, networks, rules } = this;
    reverseTuple(tuple, reply);
    for (let i = 0; i < 3; i++) reply[Word.SOURCE_HIGH + i] = words[at + i]!;
    reply[Word.SOURCE] = words[at + 3]!;
    reply[Word.PORTS] = (words[at + 4]! << 16) | (tuple[Word.PORTS]! >>> 16);

    const network = tuple[Word.SCOPE]! >>> 8;
    const host = networks.hostPort[network]!;
    const isOut = host >= 0 && this.isBehind(host, network, words, at);
    if (this.isHairpin() || (isOut && (isMasked || from === host))) {
      this.setGateway(network);
    } else if (isMasked && host >= 0 && this.setHost(host)) {
      return this.findPort(rules.firstPort, rules.lastPort, !rules.isRandom, now);
    }
    return this.isFree(now) || this.findPort(FIRST_PORT, LAST_PORT, false, now);
  }

  /**
   * A flow that is sent to an endpoint directly by the port it has towards a service: its answers would be taken for
   * the service's. Fills `reply` with another port of the client.
   * @returns false when no port is left
   */
  fitDirect(tuple: Int32Array, now: number): boolean {
    reverseTuple(tuple, this.reply);
    return this.findPort(FIRST_PORT, LAST_PORT, false, now);
  }

  /** Can what `tuple` is the first packet of be answered without being taken for another flow's? */
  isApart(tuple: Int32Array, now: number): boolean {
    reverseTuple(tuple, this.reply);
    return this.isFree(now);
  }

  /** Looks for a port so that nobody has the tuple in `reply`. */
  private findPort(first: number, last: number, keepsOwn: boolean, now: number): boolean {
    if (keepsOwn && !this.isTaken(now)) return true;
    const { reply } = this;
    const size = last - first + 1;
    this.random = (this.random + GOLDEN) | 0;
    let offset = (finish(this.random) >>> 0) % size;
    for (let left = Math.min(size, MAX_PROBES); left > 0; left--) {
      reply[Word.PORTS] = (reply[Word.PORTS]! & 0xffff0000) | (first + offset);
      if (!this.isTaken(now)) return true;
      offset = offset + 1 === size ? 0 : offset + 1;
    }
    return false;
  }

  /** Has no living flow the tuple in `reply`? A connection that is over makes room for a new one (N4, N15). */
  private isFree(now: number): boolean {
    const { flows, reply } = this;
    const other = flows.find(reply, flows.hash(reply), now);
    if (other < 0) return true;
    const state = flows.stateOf(other >> 1);
    if (state !== TcpState.TIME_WAIT && state !== TcpState.CLOSE) return false;
    flows.remove(other >> 1);
    return true;
  }

  private isTaken(now: number): boolean {
    const { flows, reply } = this;
    return flows.find(reply, flows.hash(reply), now) >= 0;
  }

  private isHairpin(): boolean {
    const { reply } = this;
    if (reply[Word.SOURCE] !== reply[Word.DESTINATION]) return false;
    for (let i = 0; i < 3; i++)
      if (reply[Word.SOURCE_HIGH + i] !== reply[Word.DESTINATION_HIGH + i]) return false;
    return true;
  }

  /** Does the way to an endpoint lead through the host port? */
  private isBehind(host: number, network: number, words: Int32Array, at: number): boolean {
    const { locations } = this;
    const w0 = words[at]!;
    const w1 = words[at + 1]!;
    const w2 = words[at + 2]!;
    const w3 = words[at + 3]!;
    if (this.subnetOf(network, w0, w1, w2, w3) < 0) return true;
    return isMapped(w0, w1, w2)
      ? locations.ownsAddress4(host, w3)
      : locations.ownsAddress6(host, w0, w1, w2, w3);
  }

  /** The address of the gateway in the client's subnet, else in the first one. */
  private setGateway(network: number): void {
    const { reply, networks } = this;
    const high = Word.DESTINATION_HIGH;
    const subnet = this.subnetOf(
      network,
      reply[high]!,
      reply[high + 1]!,
      reply[high + 2]!,
      reply[Word.DESTINATION]!,
    );
    const row = Math.max(0, subnet);
    if (isTuple4(reply, 0)) {
      const rows = networks.subnets4[network]!;
      if (rows.length > 0) reply[Word.DESTINATION] = rows[row + 2]!;
      return;
    }
    const rows = networks.subnets6[network]!;
    if (rows.length > 0) this.setDestination6(rows, row + 8);
  }

  /** The host port's address. @returns false when it has none of the family. */
  private setHost(host: number): boolean {
    const { reply, locations } = this;
    const is4 = isTuple4(reply, 0);
    const words = is4 ? locations.addresses4[host]! : locations.addresses6[host]!;
    if (words.length === 0) return false;
    if (is4) reply[Word.DESTINATION] = words[0]!;
    else this.setDestination6(words, 0);
    return true;
  }

  private setDestination6(words: Int32Array, at: number): void {
    const { reply } = this;
    for (let i = 0; i < 3; i++) reply[Word.DESTINATION_HIGH + i] = words[at + i]!;
    reply[Word.DESTINATION] = words[at + 3]!;
  }

  subnetOf(network: number, w0: number, w1: number, w2: number, w3: number): number {
    const { networks } = this;
    return isMapped(w0, w1, w2) ? networks.subnet4(network, w3) : networks.subnet6(network, w0, w1, w2, w3);
  }
}

const isMapped = (w0: number, w1: number, w2: number): boolean => w2 === 0xffff && w1 === 0 && w0 === 0;
