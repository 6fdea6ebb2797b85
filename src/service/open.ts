import type { Flows } from '../conntrack/flows.ts';
import { isInit, SctpState } from '../conntrack/sctp.ts';
import { TcpState } from '../conntrack/tcp-state.ts';
import { UdpState } from '../conntrack/timeouts.ts';
import type { Tracker } from '../conntrack/tracker.ts';
import { hasPorts, readAddresses, TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { Protocol } from '../wire/ipv4.ts';
import { Tcp, TcpFlag } from '../wire/tcp.ts';
import type { Affinities } from './affinity.ts';
import { affineEndpoint } from './choice/affine.ts';
import type { Chooser } from './choice/chooser.ts';
import type { Reach } from './reach.ts';
import { BACKEND_WORDS, ServiceFlag } from './record.ts';
import { lacksChecksum } from './rewrite.ts';
import { EndpointSet, type Services } from './services.ts';
import type { SourceNat } from './snat.ts';
import { type Judge, Verdict } from './verdict.ts';
import { ALGORITHM_SHIFT, How, packWhy } from './why.ts';

/** What `open` answers when there is no flow. */
export const PASS = -1;
export const DROPPED = -2;

/** What `choose` answers when there is no endpoint that takes new flows, or none in the client's network. */
export const NOBODY = -1;
export const UNREACHABLE = -2;

/** `service` of a flow that is no service's. */
export const NO_SERVICE = -1;

/**
 * First packets of flows: is this address a service's, who answers for it, and as whom does the client appear there
 * (N4, S15–S24)?
 */
export class Opener {
  private readonly scratch = new Int32Array(TUPLE_WORDS);
  /** Of the last choice: `How` bits, and whether the client's affinity made it. */
  how = 0;
  private hasAffinity = false;
  /** Bytes of the packet at hand that are in later fragments. */
  private beyond = 0;

  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
    private readonly tracker: Tracker,
    private readonly services: Services,
    private readonly affinities: Affinities,
    private readonly judge: Judge,
    private readonly chooser: Chooser,
    private readonly reach: Reach,
    private readonly nat: SourceNat,
    private readonly originator: Originator,
  ) {}

  /**
   * A packet with ports that belongs to no flow.
   * @param beyond bytes of it that are in later fragments
   * @returns the new flow's row, or PASS, or DROPPED
   */
  open(slot: number, tuple: Int32Array, beyond: number, now: number): number {
    const { packets, judge } = this;
    this.beyond = beyond;
    const flags = packets.flags[slot]!;
    if ((flags & Flag.TUNNEL) !== 0) return PASS; // N1: a service is the client's host's business
    if ((flags & Flag.TO_GATEWAY) === 0) return this.passDirect(slot, tuple, now);
    switch (judge.judge(packets.source[slot]!, tuple)) {
      case Verdict.PASS:
        return this.passDirect(slot, tuple, now);
      case Verdict.REJECT:
        return this.reject(slot, judge.reason, now);
      case Verdict.DROP:
        packets.drop(slot, judge.reason);
        return DROPPED;
      case Verdict.ACCEPT:
    }
    if (lacksChecksum(packets, slot)) {
      packets.drop(slot, Drop.NO_CHECKSUM);
      return DROPPED;
    }
    if (!this.mayBegin(slot)) {
      if (packets.protocol[slot] === Protocol.TCP) this.originator.tcpReset(slot, beyond); // N16
      packets.drop(slot, Drop.FLOW_INVALID);
      return DROPPED;
    }
    return this.create(slot, tuple, now);
  }

  /** A packet without ports: another protocol's, or a fragment. @returns true when it goes on. */
  passOther(slot: number, now: number): boolean {
    const { packets, judge, scratch } = this;
    if ((packets.flags[slot]! & Flag.TO_GATEWAY) === 0) return true;
    readAddresses(packets, slot, scratch);
    const verdict = judge.judgeAddress(scratch);
    const isFragment = (packets.flags[slot]! & Flag.FRAGMENT) !== 0;
    const isHidden = (packets.flags[slot]! & Flag.BAD_CHAIN) !== 0;
    const protocol = packets.protocol[slot]!;
    if (isFragment && judge.isServed(scratch)) packets.drop(slot, Drop.FRAGMENT_TO_SERVICE);
    else if (isHidden && judge.isServed(scratch))
      packets.drop(slot, Drop.BAD_IP_HEADER); // N39
    else if (verdict === Verdict.PASS) return true;
    else if (verdict === Verdict.DROP) packets.drop(slot, judge.reason);
    else if (hasPorts(protocol)) packets.drop(slot, Drop.BAD_IP_HEADER);
    else this.reject(slot, Drop.UNSUPPORTED_TO_SERVICE, now);
    return false;
  }

  /** S16: the client sees "refused" at once. @returns DROPPED. */
  reject(slot: number, reason: Drop, now: number): number {
    const { packets } = this;
    if (packets.protocol[slot] === Protocol.TCP) this.originator.tcpReset(slot, this.beyond);
    else this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.PORT, 0, now);
    packets.drop(slot, reason);
    return DROPPED;
  }

  /** A flow to an endpoint of the service that `judge` found. */
  private create(slot: number, tuple: Int32Array, now: number): number {
    const { packets, services, affinities, chooser, nat, flows } = this;
    const { service, set, isMasked } = this.judge;
    const index = this.choose(tuple, now);
    if (index === NOBODY) return this.reject(slot, Drop.NO_ENDPOINT, now);
    if (index === UNREACHABLE) return this.refuse(slot, Unreachable.NET, Drop.NO_ROUTE, now);
    const words = services.words(service);
    const endpoint = services.first(service, set) + index * BACKEND_WORDS;
    if (!nat.fit(tuple, packets.source[slot]!, words, endpoint, isMasked, now))
      return this.refuse(slot, Unreachable.PROHIBITED, Drop.FLOW_CLASH, now); // N28
    const row = this.add(slot, tuple, service, now);
    if (row < 0) return DROPPED;
    flows.how[row] = this.how;
    flows.why[row] = packWhy(index, services.size(service, set));
    if (!this.hasAffinity) chooser.opened(service, set, index);
    chooser.began(row);
    if (services.affinity[service] === 0) return row;
    const isFollowed = (this.how & How.AFFINITY) !== 0;
    if (isFollowed && services.isAffinityAbsolute(service)) affinities.repeat(tuple, service);
    else affinities.remember(tuple, service, words, endpoint, index, now);
    return row;
  }

  /**
   * The endpoint for a new flow that `judge` accepted; how it was found is in `how`. Nothing is remembered.
   * @returns its index in the set, NOBODY or UNREACHABLE
   */
  choose(tuple: Int32Array, now: number): number {
    const { services, affinities, chooser } = this;
    const { service, set, kind } = this.judge;
    const affine = affineEndpoint(services, affinities, service, set, tuple, now);
    this.hasAffinity = affine >= 0;
    const picked = affine >= 0 ? affine : chooser.pick(service, set, tuple);
    const network = tuple[Word.SCOPE]! >>> 8;
    const found = picked < 0 ? -1 : this.reach.find(service, set, network, picked);
    const index = found >= 0 ? found : picked < 0 ? NOBODY : UNREACHABLE;
    const algorithm = (services.flags[service]! >>> ServiceFlag.ALGORITHM_SHIFT) & 3;
    this.how =
      kind |
      (set === EndpointSet.LOCAL ? How.LOCAL_SET : 0) |
      (index >= 0 && affine === index ? How.AFFINITY : 0) |
      (algorithm << ALGORITHM_SHIFT);
    return index;
  }

  /**
   * A client may use one port towards an endpoint directly that it uses through a service too: the answers would be
   * given the service's address. As the kernel does, the later flow gets another source port.
   */
  private passDirect(slot: number, tuple: Int32Array, now: number): number {
    const { nat, flows } = this;
    if (!this.mayBegin(slot)) return PASS;
    if (nat.isApart(tuple, now)) return PASS;
    if (!nat.fitDirect(tuple, now)) return this.refuse(slot, Unreachable.PROHIBITED, Drop.FLOW_CLASH, now);
    const row = this.add(slot, tuple, NO_SERVICE, now);
    if (row < 0) return DROPPED;
    flows.how[row] = How.DIRECT;
    flows.why[row] = 0;
    return row;
  }

  /** Enters the flow of `tuple` whose answers are `nat.reply`. @returns its row, or DROPPED. */
  private add(slot: number, tuple: Int32Array, service: number, now: number): number {
    const { packets, flows, services, nat } = this;
    const row = flows.add(tuple, nat.reply, firstState(packets.protocol[slot]!), now);
    if (row < 0) return this.refuse(slot, Unreachable.PROHIBITED, Drop.FLOW_TABLE_FULL, now); // N22
    flows.service[row] = service;
    flows.generation[row] = service === NO_SERVICE ? 0 : services.generation[service]!;
    this.tracker.begin(slot, row, this.beyond);
    return row;
  }

  /** Is it a packet that flows of its protocol begin with? */
  private mayBegin(slot: number): boolean {
    const { packets } = this;
    if (packets.protocol[slot] === Protocol.SCTP)
      return isInit(packets.view, packets.l4[slot]!, packets.endOf(slot));
    if (packets.protocol[slot] !== Protocol.TCP) return true;
    const flags = packets.view.getUint8(packets.l4[slot]! + Tcp.FLAGS);
    return (flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST | TcpFlag.FIN)) === TcpFlag.SYN;
  }

  /** @returns DROPPED. */
  private refuse(slot: number, code: Unreachable, reason: Drop, now: number): number {
    this.originator.icmpError(slot, Icmp.UNREACHABLE, code, 0, now);
    this.packets.drop(slot, reason);
    return DROPPED;
  }
}

function firstState(protocol: number): number {
  if (protocol === Protocol.TCP) return TcpState.SYN_SENT;
  return protocol === Protocol.SCTP ? SctpState.CLOSED : UdpState.UNREPLIED;
}
