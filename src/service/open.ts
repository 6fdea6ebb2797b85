import type { Flows } from '../conntrack/flows.ts';
import { TcpState } from '../conntrack/tcp-state.ts';
import { UdpState } from '../conntrack/timeouts.ts';
import type { Tracker } from '../conntrack/tracker.ts';
import { reverseTuple, TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { Protocol } from '../wire/ipv4.ts';
import { Tcp, TcpFlag } from '../wire/tcp.ts';
import type { Affinities } from './affinity.ts';
import { affineBackend } from './balancer.ts';
import { BACKEND_WORDS } from './record.ts';
import type { Services } from './services.ts';

/** What `firstFit` answers when there is none. */
const NO_ROUTE = -1;
const CLASH = -2;

/** What `open` answers when there is no flow. */
export const PASS = -1;
export const DROPPED = -2;

/**
 * First packets of flows: is this address a service's, who answers for it, and is there a tuple left (N4, S15–S24)?
 */
export class Opener {
  private readonly reply = new Int32Array(TUPLE_WORDS);

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly flows: Flows,
    private readonly tracker: Tracker,
    private readonly services: Services,
    private readonly affinities: Affinities,
    private readonly originator: Originator,
  ) {}

  /**
   * First packet of `tuple`, addressed to the gateway; packets to other addresses are the router's.
   * @returns the new flow's row, or PASS, or DROPPED.
   */
  open(slot: number, tuple: Int32Array, now: number): number {
    const { packets, services } = this;
    if ((packets.flags[slot]! & Flag.TUNNEL) !== 0) return PASS; // N1: a service is the client's host's business
    const protocol = packets.protocol[slot]!;
    const address = tuple[Word.DESTINATION]!;
    const service = services.find(
      tuple[Word.DESTINATION_HIGH]!,
      tuple[Word.DESTINATION_HIGH + 1]!,
      tuple[Word.DESTINATION_HIGH + 2]!,
      address,
      protocol,
      tuple[Word.PORTS]! & 0xffff,
    );
    if (service < 0) {
      if (services.isVip4(address)) return this.reject(slot, Drop.NO_SUCH_SERVICE_PORT, now);
      this.passDirect(slot, tuple, now);
      return PASS;
    }
    if (services.size[service] === 0) return this.reject(slot, Drop.NO_ENDPOINT, now);
    if (protocol === Protocol.TCP) {
      const flags = packets.view.getUint8(packets.l4[slot]! + Tcp.FLAGS);
      if ((flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST)) !== TcpFlag.SYN) {
        this.originator.tcpReset(slot); // N16
        packets.drop(slot, Drop.FLOW_INVALID);
        return DROPPED;
      }
    }
    return this.create(slot, tuple, service, now);
  }

  /** @returns the new flow's row, or DROPPED. */
  private create(slot: number, tuple: Int32Array, service: number, now: number): number {
    const { packets, flows, services, affinities } = this;
    const network = packets.network[slot]!;
    const client = tuple[Word.SOURCE]!;
    const backends = services.backends(service);
    const base = services.first(service);
    const count = services.size[service]!;
    const affine = affineBackend(services, affinities, service, network, client, now);
    const first = affine >= 0 ? affine : services.next[service]! % count;
    const index = this.firstFit(tuple, network, backends, base, count, first, now);
    if (index < 0) {
      if (index === NO_ROUTE) this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.NET, 0, now);
      packets.drop(slot, index === NO_ROUTE ? Drop.NO_ROUTE : Drop.FLOW_CLASH);
      return DROPPED;
    }
    const isTcp = packets.protocol[slot] === Protocol.TCP;
    const state = isTcp ? TcpState.SYN_SENT : UdpState.UNREPLIED;
    const row = flows.add(tuple, this.reply, state, now);
    if (row < 0) {
      this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.PROHIBITED, 0, now);
      packets.drop(slot, Drop.FLOW_TABLE_FULL); // N22
      return DROPPED;
    }
    if (affine < 0) services.next[service] = index + 1 === count ? 0 : index + 1; // S24
    flows.service[row] = service;
    flows.generation[row] = services.generation[service]!;
    flows.snat[row] = backends[base + index * BACKEND_WORDS + 3] === client ? 1 : 0;
    this.tracker.begin(slot, row);
    // A clash sends this one flow elsewhere; the client's affinity stays where it is.
    if (services.affinity[service] !== 0 && (affine < 0 || affine === index)) {
      const at = base + index * BACKEND_WORDS;
      affinities.remember(network, service, 0, 0, 0xffff, client, backends, at, now);
    }
    return row;
  }

  /**
   * From `first` on, the first backend this client can reach by a tuple of its own; `reply` is filled for it.
   * @returns its index, NO_ROUTE when none is in the client's network, CLASH when every tuple is taken.
   */
  private firstFit(
    tuple: Int32Array,
    network: number,
    backends: Int32Array,
    base: number,
    count: number,
    first: number,
    now: number,
  ): number {
    let failure = NO_ROUTE;
    for (let tries = 0, index = first; tries < count; tries++) {
      const at = base + index * BACKEND_WORDS;
      if (this.networks.subnet4(network, backends[at + 3]!) >= 0) {
        if (this.fitReply(tuple, network, backends, at, now)) return index;
        failure = CLASH;
      }
      index = index + 1 === count ? 0 : index + 1;
    }
    return failure;
  }

  /** Fills `reply` for a backend. @returns false when a living flow already has that reply tuple (N4). */
  private fitReply(
    tuple: Int32Array,
    network: number,
    backends: Int32Array,
    at: number,
    now: number,
  ): boolean {
    const { reply } = this;
    reply.set(tuple);
    const client = tuple[Word.SOURCE]!;
    const backend = backends[at + 3]!;
    reply[Word.PORTS] = (backends[at + 4]! << 16) | (tuple[Word.PORTS]! >>> 16);
    reply[Word.SOURCE] = backend;
    reply[Word.DESTINATION] = backend === client ? this.gatewayFor(network, client) : client; // N31
    return this.isFree(now);
  }

  /**
   * A client's kernel may use one port towards a backend directly that it used through a VIP before: the answers would
   * still be given the VIP.
   */
  passDirect(slot: number, tuple: Int32Array, now: number): void {
    const { packets, reply } = this;
    if (packets.protocol[slot] !== Protocol.TCP || (packets.flags[slot]! & Flag.TUNNEL) !== 0) return;
    const flags = packets.view.getUint8(packets.l4[slot]! + Tcp.FLAGS);
    if ((flags & (TcpFlag.SYN | TcpFlag.ACK)) !== TcpFlag.SYN) return;
    reverseTuple(tuple, reply);
    this.isFree(now);
  }

  /** Has no living flow the tuple in `reply`? A connection that is over makes room for a new one (N4, N15). */
  private isFree(now: number): boolean {
    const { flows, reply } = this;
    const other = flows.find(reply, flows.hash(reply), now);
    if (other < 0) return true;
    const state = flows.state[other >> 1]!;
    if (state !== TcpState.TIME_WAIT && state !== TcpState.CLOSE) return false;
    flows.remove(other >> 1);
    return true;
  }

  private gatewayFor(network: number, client: number): number {
    const row = this.networks.subnet4(network, client);
    return row < 0 ? client : this.networks.subnets4[network]![row + 2]!;
  }

  /** S16: the client sees "refused" at once. @returns DROPPED. */
  reject(slot: number, reason: Drop, now: number): number {
    const { packets } = this;
    if (packets.protocol[slot] === Protocol.TCP) this.originator.tcpReset(slot);
    else this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.PORT, 0, now);
    packets.drop(slot, reason);
    return DROPPED;
  }
}
