import { type Flows, ORIGINAL, REPLY } from '../conntrack/flows.ts';
import { IGNORE, INVALID, NEW_FLOW, nextTcpState, TcpState } from '../conntrack/tcp-state.ts';
import { UdpState } from '../conntrack/timeouts.ts';
import { readTuple4, reverseTuple4, TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import type { Originator, Restorer } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Tcp, TcpFlag } from '../wire/tcp.ts';
import type { Affinities } from './affinity.ts';
import { affineBackend } from './balancer.ts';
import { BACKEND_WORDS } from './record.ts';
import { End, rewrite4 } from './rewrite.ts';
import type { Services } from './services.ts';

/** What `firstFit` answers when there is none. */
const NO_ROUTE = -1;
const CLASH = -2;

/**
 * Services: packets to a VIP become packets to a backend, and replies get the VIP back (N1–N6, S15–S24).
 *
 * Only packets addressed to the gateway MAC are translated to a backend (N6); *every* TCP or UDP packet is
 * matched against reply tuples, because a backend in the client's own subnet answers the client directly (N2).
 *
 * Limits: IPv4; fragments and ICMP errors of translated flows are not translated yet; TCP windows are not
 * checked (N13), so an RST is exact or leaves the state alone (N14).
 */
export class Translate implements Restorer {
  private readonly tuple = new Int32Array(TUPLE_WORDS);
  private readonly reply = new Int32Array(TUPLE_WORDS);
  /** Tuple and flow of the previous packet of this burst; −1 = none. */
  private readonly lastTuple = new Int32Array(TUPLE_WORDS);
  private lastId = -1;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly flows: Flows,
    private readonly services: Services,
    private readonly affinities: Affinities,
    private readonly originator: Originator,
  ) {}

  run(burst: Burst, now: number): void {
    if (this.flows.count === 0 && this.services.count === 0) return;
    const { packets } = this;
    const { slots } = burst;
    this.lastId = -1;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      if (packets.etherType[slot] !== EtherType.IPV4 || packets.l3[slot] === 0) {
        slots[kept++] = slot;
        continue;
      }
      const protocol = packets.protocol[slot]!;
      const isTracked = (protocol === Protocol.TCP || protocol === Protocol.UDP) && packets.l4[slot] !== 0;
      if (isTracked ? this.track(slot, protocol, now) : this.passUntracked(slot, protocol, now))
        slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** Gives a translated packet the ends it came with, before it is dropped and quoted, if its flow still lives. */
  restore(slot: number, now: number): boolean {
    const { flows, packets, tuple, reply } = this;
    packets.flags[slot]! &= ~Flag.TRANSLATED;
    readTuple4(packets, slot, tuple);
    reverseTuple4(tuple, reply);
    const back = flows.find(reply, flows.hash(reply), now);
    if (back < 0) return false;
    // What answers this packet is the reverse of what it was before: the flow's other tuple.
    const came = back ^ 1;
    const ports = flows.word(came, Word.PORTS);
    const isHairpin = flows.hairpin[back >> 1] === 1;
    if (isHairpin || (came & 1) === ORIGINAL)
      rewrite4(packets, slot, End.DESTINATION, flows.word(came, Word.DESTINATION), ports & 0xffff);
    if (isHairpin || (came & 1) === REPLY)
      rewrite4(packets, slot, End.SOURCE, flows.word(came, Word.SOURCE), ports >>> 16);
    return true;
  }

  /** @returns true when the packet goes on. */
  private track(slot: number, protocol: number, now: number): boolean {
    const { packets, flows, tuple } = this;
    readTuple4(packets, slot, tuple);
    const id = this.findFlow(now);
    const toGateway = (packets.flags[slot]! & Flag.TO_GATEWAY) !== 0;
    if (id < 0) {
      if (toGateway) return this.open(slot, protocol, now);
      this.passDirect(slot, protocol, now);
      return true;
    }
    const row = id >> 1;
    const direction = id & 1;
    if (direction === ORIGINAL && !toGateway) return true;
    const verdict =
      protocol === Protocol.TCP ? this.stepTcp(slot, row, direction, now) : this.stepUdp(row, direction, now);
    if (verdict === INVALID) {
      packets.drop(slot, Drop.FLOW_INVALID);
      return false;
    }
    if (verdict === NEW_FLOW) {
      flows.remove(row);
      return this.open(slot, protocol, now);
    }
    this.apply(slot, row, direction);
    return true;
  }

  /** The flow of `tuple`. Packets of one burst often belong to one flow: then its key alone is compared. */
  private findFlow(now: number): number {
    const { flows, tuple, lastTuple } = this;
    if (
      this.lastId >= 0 &&
      tuple[Word.PORTS] === lastTuple[Word.PORTS] &&
      tuple[Word.SOURCE] === lastTuple[Word.SOURCE] &&
      tuple[Word.DESTINATION] === lastTuple[Word.DESTINATION] &&
      tuple[Word.SCOPE] === lastTuple[Word.SCOPE]
    ) {
      return this.lastId;
    }
    this.lastId = flows.find(tuple, flows.hash(tuple), now);
    lastTuple[Word.SCOPE] = tuple[Word.SCOPE]!;
    lastTuple[Word.PORTS] = tuple[Word.PORTS]!;
    lastTuple[Word.SOURCE] = tuple[Word.SOURCE]!;
    lastTuple[Word.DESTINATION] = tuple[Word.DESTINATION]!;
    return this.lastId;
  }

  private apply(slot: number, row: number, direction: number): void {
    const { packets, flows } = this;
    const traffic = row * 4 + direction * 2;
    flows.traffic[traffic]!++;
    flows.traffic[traffic + 1]! += packets.length[slot]!;
    // The far end as the other tuple knows it: its source is what this direction must be sent to, and vice versa.
    const other = row * 2 + (direction ^ 1);
    const ports = flows.word(other, Word.PORTS);
    packets.flags[slot]! |= Flag.TRANSLATED;
    if (direction === ORIGINAL) {
      rewrite4(packets, slot, End.DESTINATION, flows.word(other, Word.SOURCE), ports >>> 16);
      if (flows.hairpin[row] === 1)
        rewrite4(packets, slot, End.SOURCE, flows.word(other, Word.DESTINATION), ports & 0xffff);
    } else {
      rewrite4(packets, slot, End.SOURCE, flows.word(other, Word.DESTINATION), ports & 0xffff);
      if (flows.hairpin[row] === 1)
        rewrite4(packets, slot, End.DESTINATION, flows.word(other, Word.SOURCE), ports >>> 16);
    }
  }

  /** Moves the connection's state. @returns the new state, or IGNORE, INVALID, NEW_FLOW. */
  private stepTcp(slot: number, row: number, direction: number, now: number): number {
    const { packets, flows } = this;
    const { view } = packets;
    const tcp = packets.l4[slot]!;
    const flags = view.getUint8(tcp + Tcp.FLAGS);
    const state = flows.state[row]!;
    if ((flags & TcpFlag.RST) !== 0) {
      if (!this.isExactReset(tcp, flags, row, direction, state)) return IGNORE;
      flows.refresh(row, TcpState.CLOSE, now);
      return TcpState.CLOSE;
    }
    const next = nextTcpState(state, flags, direction === REPLY);
    if (next >= IGNORE) return next;
    // A SYN again: a refusal must acknowledge the sequence number it came with.
    if (next === TcpState.SYN_SENT)
      flows.acknowledge(row * 2 + REPLY, (view.getInt32(tcp + Tcp.SEQUENCE) + 1) | 0);
    if ((flags & TcpFlag.ACK) !== 0)
      flows.acknowledge(row * 2 + direction, view.getInt32(tcp + Tcp.ACKNOWLEDGMENT));
    flows.refresh(row, next, now);
    return next;
  }

  /** N14: a reset ends the flow only with the sequence number its receiver last asked for. */
  private isExactReset(tcp: number, flags: number, row: number, direction: number, state: number): boolean {
    const { view } = this.packets;
    if (state === TcpState.SYN_SENT && direction === REPLY) {
      // Until the responder speaks, its `acked` holds what it must acknowledge: the initiator's SYN.
      const expected = this.flows.acked(row * 2 + REPLY);
      return (flags & TcpFlag.ACK) !== 0 && view.getInt32(tcp + Tcp.ACKNOWLEDGMENT) === expected;
    }
    return view.getInt32(tcp + Tcp.SEQUENCE) === this.flows.acked(row * 2 + (direction ^ 1));
  }

  private stepUdp(row: number, direction: number, now: number): number {
    const { flows } = this;
    const state = direction === REPLY ? UdpState.REPLIED : flows.state[row]!;
    flows.refresh(row, state, now);
    return state;
  }

  /** First packet of a flow to a service; packets to other addresses are the router's. */
  private open(slot: number, protocol: number, now: number): boolean {
    const { packets, services, tuple } = this;
    this.lastId = -1; // adding a flow may evict another
    if ((packets.flags[slot]! & Flag.TUNNEL) !== 0) return true; // N1: a service is the client's host's business
    const address = tuple[Word.DESTINATION]!;
    const service = services.find(0, 0, 0xffff, address, protocol, tuple[Word.PORTS]! & 0xffff);
    if (service < 0) {
      if (services.isVip4(address)) return this.reject(slot, protocol, Drop.NO_SUCH_SERVICE_PORT, now);
      this.passDirect(slot, protocol, now);
      return true;
    }
    if (services.size[service] === 0) return this.reject(slot, protocol, Drop.NO_ENDPOINT, now);
    if (protocol === Protocol.TCP) {
      const flags = packets.view.getUint8(packets.l4[slot]! + Tcp.FLAGS);
      if ((flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST)) !== TcpFlag.SYN) {
        this.originator.tcpReset(slot); // N16
        packets.drop(slot, Drop.FLOW_INVALID);
        return false;
      }
    }
    const row = this.createFlow(slot, service, protocol, now);
    if (row < 0) return false;
    this.apply(slot, row, ORIGINAL);
    return true;
  }

  /** @returns the new flow's row; −1 when the packet was dropped. */
  private createFlow(slot: number, service: number, protocol: number, now: number): number {
    const { packets, flows, services, affinities, tuple } = this;
    const network = packets.network[slot]!;
    const client = tuple[Word.SOURCE]!;
    const backends = services.backends(service);
    const base = services.first(service);
    const count = services.size[service]!;
    const affine = affineBackend(services, affinities, service, network, client, now);
    const first = affine >= 0 ? affine : services.next[service]! % count;
    const index = this.firstFit(network, backends, base, count, first, now);
    if (index < 0) {
      if (index === NO_ROUTE) this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.NET, 0, now);
      packets.drop(slot, index === NO_ROUTE ? Drop.NO_ROUTE : Drop.FLOW_CLASH);
      return -1;
    }
    const state = protocol === Protocol.TCP ? TcpState.SYN_SENT : UdpState.UNREPLIED;
    const row = flows.add(tuple, this.reply, state, now);
    if (row < 0) {
      this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.PROHIBITED, 0, now);
      packets.drop(slot, Drop.FLOW_TABLE_FULL); // N22
      return -1;
    }
    if (affine < 0) services.next[service] = index + 1 === count ? 0 : index + 1; // S24
    flows.service[row] = service;
    flows.generation[row] = services.generation[service]!;
    flows.hairpin[row] = backends[base + index * BACKEND_WORDS + 3] === client ? 1 : 0;
    if (protocol === Protocol.TCP) {
      const sequence = packets.view.getInt32(packets.l4[slot]! + Tcp.SEQUENCE);
      flows.acknowledge(row * 2 + REPLY, (sequence + 1) | 0);
    }
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
        if (this.fitReply(network, backends, at, now)) return index;
        failure = CLASH;
      }
      index = index + 1 === count ? 0 : index + 1;
    }
    return failure;
  }

  /** Fills `reply` for a backend. @returns false when a living flow already has that reply tuple (N4). */
  private fitReply(network: number, backends: Int32Array, at: number, now: number): boolean {
    const { tuple, reply } = this;
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
  private passDirect(slot: number, protocol: number, now: number): void {
    const { packets, tuple, reply } = this;
    if (protocol !== Protocol.TCP || (packets.flags[slot]! & Flag.TUNNEL) !== 0) return;
    const flags = packets.view.getUint8(packets.l4[slot]! + Tcp.FLAGS);
    if ((flags & (TcpFlag.SYN | TcpFlag.ACK)) !== TcpFlag.SYN) return;
    reverseTuple4(tuple, reply);
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
    this.lastId = -1;
    return true;
  }

  private gatewayFor(network: number, client: number): number {
    const row = this.networks.subnet4(network, client);
    return row < 0 ? client : this.networks.subnets4[network]![row + 2]!;
  }

  /** Other protocols, and fragments, which a service address cannot serve. */
  private passUntracked(slot: number, protocol: number, now: number): boolean {
    const { packets } = this;
    if ((packets.flags[slot]! & Flag.TO_GATEWAY) === 0) return true;
    if (!this.services.isVip4(packets.view.getInt32(packets.l3[slot]! + Ipv4.DESTINATION))) return true;
    if ((packets.flags[slot]! & Flag.FRAGMENT) !== 0) packets.drop(slot, Drop.FRAGMENT_TO_SERVICE);
    else if (protocol === Protocol.TCP || protocol === Protocol.UDP) packets.drop(slot, Drop.BAD_IP_HEADER);
    else this.reject(slot, protocol, Drop.UNSUPPORTED_TO_SERVICE, now);
    return false;
  }

  /** S16: the client sees "refused" at once. @returns false. */
  private reject(slot: number, protocol: number, reason: Drop, now: number): boolean {
    if (protocol === Protocol.TCP) this.originator.tcpReset(slot);
    else this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.PORT, 0, now);
    this.packets.drop(slot, reason);
    return false;
  }
}
