import { Admit } from '../bridge/admit.ts';
import { Bridge } from '../bridge/bridge.ts';
import { Forward } from '../bridge/forward.ts';
import { Learn } from '../bridge/learn.ts';
import type { Card } from '../card/card.ts';
import { Control, DEVICES } from '../card/layout.ts';
import { Flows } from '../conntrack/flows.ts';
import { Tracker } from '../conntrack/tracker.ts';
import { Locations } from '../fabric/locations.ts';
import { NETWORKS, Networks } from '../fabric/networks.ts';
import { joinFamilies } from '../fastpath/families.ts';
import { createFastPath, type FastPath } from '../fastpath/fast-path.ts';
import { createFastPath6 } from '../fastpath/fast-path6.ts';
import { NextHops } from '../fastpath/next-hops.ts';
import { Paths } from '../fastpath/paths.ts';
import { Fit } from '../gateway/fit.ts';
import { Router } from '../gateway/router.ts';
import { Announcer } from '../neigh/announce.ts';
import { ArpResponder } from '../neigh/arp.ts';
import { ArpGuard } from '../neigh/guard.ts';
import { NdResponder } from '../neigh/nd.ts';
import { NdGuard } from '../neigh/nd-guard.ts';
import { Neighbors } from '../neigh/neighbors.ts';
import { Resolver } from '../neigh/resolver.ts';
import { Decap } from '../overlay/decap.ts';
import { Encap } from '../overlay/encap.ts';
import { Inner } from '../overlay/inner.ts';
import { PeerAddresses } from '../overlay/peers.ts';
import { Vnis } from '../overlay/vnis.ts';
import { Burst } from '../packet/burst.ts';
import { Egress } from '../packet/egress.ts';
import { IcmpBudget } from '../packet/icmp-budget.ts';
import { Originator } from '../packet/originate.ts';
import { Packets } from '../packet/packets.ts';
import { parse } from '../packet/parse.ts';
import { Runs } from '../packet/runs.ts';
import { Affinities } from '../service/affinity.ts';
import { Chooser } from '../service/choice/chooser.ts';
import { Ending } from '../service/ending.ts';
import { Fragments } from '../service/fragments.ts';
import { History } from '../service/history.ts';
import { HostRules } from '../service/host-rules.ts';
import { Opener } from '../service/open.ts';
import { Reach } from '../service/reach.ts';
import { Related } from '../service/related.ts';
import { Services } from '../service/services.ts';
import { SourceNat } from '../service/snat.ts';
import { Translate } from '../service/translate.ts';
import { Judge } from '../service/verdict.ts';
import { Epochs } from '../table/epochs.ts';
import { type Counters, GATEWAY, Global } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { Transmit } from './transmit.ts';

/** Packets that go on at once: all that may wait for neighbours. */
const RESUMED = 256;
const MAINTENANCE_MS = 100;
/** Packets of a burst that take the stages together: as many can be held up by one that needs a decision. */
export const GROUP = 64;
/** S28. */
const MAX_AFFINITIES = 1_000_000;
/** Until the host resource says otherwise (N22). */
const DEFAULT_FLOWS = 16_384;

/**
 * The itinerary: the one file that knows the order of the stages. The fast path takes the head of a group; each stage
 * takes all the rest of it, and what it ends it counts and leaves out. The observable consequence: all sources of that
 * rest are learned before any of it is forwarded.
 */
export class Pipeline {
  readonly packets: Packets;
  readonly networks = new Networks();
  readonly locations = new Locations();
  readonly bridge: Bridge;
  readonly neighbors: Neighbors;
  readonly flows: Flows;
  readonly tracker: Tracker;
  readonly services: Services;
  readonly affinities: Affinities;
  readonly hostRules = new HostRules();
  readonly judge: Judge;
  readonly chooser: Chooser;
  readonly history: History;
  readonly nat: SourceNat;
  readonly reach: Reach;
  readonly opener: Opener;
  readonly ending: Ending;
  readonly fragments: Fragments;
  readonly vnis = new Vnis();
  readonly peers: PeerAddresses;
  readonly admit: Admit;
  readonly learn: Learn;
  readonly announcer: Announcer;
  readonly resolver: Resolver;
  readonly transmit: Transmit;
  /** Card device → port location, −1 = none. */
  readonly portOfDevice = new Int32Array(DEVICES).fill(-1);

  private readonly tunnel = new Burst();
  private readonly burst = new Burst();
  private readonly resumed = new Burst(RESUMED);
  private readonly egress = new Egress();
  private readonly runs = new Runs();
  private readonly fastPath: FastPath;
  private readonly icmp = new IcmpBudget();
  private readonly originator: Originator;
  private readonly decap: Decap;
  private readonly inner: Inner;
  private readonly guard: ArpGuard;
  private readonly arp: ArpResponder;
  private readonly ndGuard: NdGuard;
  private readonly nd: NdResponder;
  private readonly router: Router;
  private readonly translate: Translate;
  private readonly forward: Forward;
  private readonly fit: Fit;
  private maintained: number;
  /** Copies the largest flood takes; set with the configuration. */
  private members = 1;

  /**
   * @param seed secret for every hash (B12).
   * @param isFast false: every frame takes the stages, which changes nothing but the speed. For tests.
   */
  constructor(
    private readonly card: Card,
    readonly counters: Counters,
    seed: number,
    maxAffinities = MAX_AFFINITIES,
    private readonly isFast = true,
  ) {
    this.maintained = card.memory.control[Control.NOW]!;
    const packets = new Packets(card.memory, counters);
    const { networks, locations, vnis, egress } = this;
    this.packets = packets;
    const epochs = new Epochs(NETWORKS);
    this.bridge = new Bridge(seed, epochs);
    this.neighbors = new Neighbors(packets, seed, epochs);
    this.flows = new Flows(DEFAULT_FLOWS, seed);
    this.services = new Services(seed);
    this.affinities = new Affinities(maxAffinities, seed);
    this.peers = new PeerAddresses(seed);
    this.originator = new Originator(packets, networks, egress, this.icmp);
    this.announcer = new Announcer(this.originator);
    this.resolver = new Resolver(packets, networks, this.neighbors, this.originator);
    this.decap = new Decap(packets, networks, locations, vnis, this.peers);
    this.inner = new Inner(packets, networks);
    this.admit = new Admit(packets, networks, locations);
    this.guard = new ArpGuard(packets, networks, locations, this.neighbors);
    this.ndGuard = new NdGuard(packets, networks, locations, this.neighbors);
    this.learn = new Learn(packets, this.bridge);
    const { neighbors, resolver, originator, bridge } = this;
    this.arp = new ArpResponder(packets, networks, neighbors, resolver, originator, bridge);
    this.nd = new NdResponder(packets, networks, neighbors, resolver, originator, bridge);
    this.judge = new Judge(networks, locations, this.services, this.hostRules);
    this.chooser = new Chooser(this.services, this.flows, seed);
    this.history = new History(this.services);
    this.tracker = new Tracker(packets, this.flows);
    this.nat = new SourceNat(networks, locations, this.flows, this.hostRules, seed);
    this.reach = new Reach(this.services, this.chooser, this.nat);
    this.opener = new Opener(
      packets,
      this.flows,
      this.tracker,
      this.services,
      this.affinities,
      this.judge,
      this.chooser,
      this.reach,
      this.nat,
      this.originator,
    );
    this.ending = new Ending(packets, this.flows, networks, this.originator);
    this.fragments = new Fragments(packets, this.flows, this.judge);
    const related = new Related(packets, this.flows, this.judge);
    this.translate = new Translate(
      packets,
      this.flows,
      this.tracker,
      this.judge,
      this.opener,
      this.ending,
      related,
      this.fragments,
      this.originator,
    );
    this.router = new Router(packets, networks, this.neighbors, this.resolver, this.originator, egress);
    this.forward = new Forward(packets, networks, locations, this.bridge, egress);
    this.fit = new Fit(packets, networks, locations, egress, this.originator);
    const encap = new Encap(packets, networks, locations, seed);
    this.transmit = new Transmit(packets, networks, locations, encap, egress, this.runs);
    const paths = new Paths(
      packets,
      networks,
      locations,
      this.bridge,
      this.admit,
      this.fit,
      vnis,
      this.peers,
      this.portOfDevice,
      epochs,
      seed,
    );
    const { flows, judge, fit, router, runs } = this;
    const hopsOf = () =>
      new NextHops(networks, locations, bridge, neighbors, resolver, router, fit, epochs, seed);
    const hops = [hopsOf(), hopsOf()] as const;
    const { vxlanPort } = this.admit;
    this.fastPath = joinFamilies(
      createFastPath(packets, networks, flows, judge, paths, hops[0], epochs, vxlanPort, runs, seed),
      createFastPath6(
        packets,
        networks,
        locations,
        flows,
        judge,
        paths,
        hops[1],
        epochs,
        vxlanPort,
        runs,
        seed,
      ),
      paths,
      hops,
      epochs,
    );
    this.originator.setRestorer(this.translate);
  }

  /** One turn: receive a burst, take it through every stage, send, and do what time demands. @returns frames received. */
  turn(): number {
    const received = this.card.poll();
    const { control } = this.card.memory;
    const now = control[Control.NOW]!;
    control[Control.TX_COUNT] = 0;
    let first = 0;
    do {
      this.group(first, Math.min(first + GROUP, received), now);
      first += GROUP;
    } while (first < received);

    this.maintain(now);
    const { outbox } = this.originator;
    const { made } = this.ending;
    this.router.route(made, now);
    this.forward.run(made, now);
    made.count = 0;
    this.forward.run(outbox, now);
    outbox.count = 0;
    this.prepare(now);
    if (control[Control.TX_COUNT] !== 0 || this.egress.count > 0) {
      this.card.flush();
      this.transmit.settleRuns(now);
      this.transmit.settle();
    }
    return received;
  }

  /** Received packets [first, last) on their way into transmit requests; none may be a group too. */
  private group(first: number, last: number, now: number): void {
    const { burst, resumed } = this;
    // What waited for a neighbour is older than these, and goes first (B18).
    const isFast = this.isFast && this.resolver.resumed.count === 0;
    const rest = isFast ? this.fastPath.run(first, last, now) : first;
    if (rest > first) this.counters.globals[Global.FAST_FRAMES]! += rest - first;
    if (rest < last) this.decide(rest, last, now);
    else burst.count = 0;
    this.router.resume(resumed);
    this.forward.run(resumed, now); // before the burst: what waited is older (B18)
    this.forward.run(burst, now);
    this.prepare(now);
  }

  /** Turns what is new on the egress list into transmit requests. */
  private prepare(now: number): void {
    const { egress } = this;
    if (egress.count === egress.prepared) return;
    this.fit.run(now);
    this.transmit.prepare();
  }

  /** Takes what lies behind the head of a burst through the stages up to its next hop. */
  private decide(first: number, last: number, now: number): void {
    const { burst, tunnel } = this;
    this.receive(first, last);
    this.decap.run(tunnel, now);
    for (let i = 0; i < tunnel.count; i++) burst.push(tunnel.slots[i]!);

    parse(this.packets, burst);
    if (tunnel.count > 0) this.inner.run(burst);
    this.admit.run(burst);
    if (burst.arps > 0) this.guard.run(burst);
    if (burst.discoveries > 0) this.ndGuard.run(burst);
    this.learn.run(burst, now);
    if (burst.arps > 0) this.arp.run(burst, now);
    if (burst.discoveries > 0) this.nd.run(burst, now);
    if (burst.toGateway > 0) this.router.receive(burst, now);
    this.translate.run(burst, now);
    if (burst.toGateway > 0) this.router.route(burst, now);
  }

  /** Is there work that must not wait for the next frame? Then the next poll should not sleep. */
  get isBehind(): boolean {
    return this.announcer.isBehind || this.ending.isBehind;
  }

  /** To be called when networks, ports or peers changed. */
  membersChanged(): void {
    this.members = this.locations.largestFlood();
    this.fit.limitsChanged();
    this.reach.fabricChanged();
    this.fastPath.configure();
  }

  /** Sorts the rest of what the card received by kind of device. */
  private receive(first: number, last: number): void {
    const { packets, burst, tunnel, portOfDevice } = this;
    const { rx, device } = packets.memory;
    burst.count = 0;
    tunnel.count = 0;
    for (let i = first; i < last; i++) {
      const slot = rx[i]!;
      const port = portOfDevice[device[slot]!]!;
      if (port >= 0) {
        packets.source[slot] = port;
        packets.network[slot] = this.locations.network[port]!;
        packets.flags[slot] = 0;
        packets.countReceived(slot);
        burst.push(slot);
      } else if (this.vnis.isUnderlay(device[slot]!)) {
        tunnel.push(slot);
      } else {
        packets.source[slot] = GATEWAY;
        packets.countReceived(slot);
        packets.drop(slot, Drop.TX_GONE);
      }
    }
  }

  /** Work that time brings: bounded, and mostly done ten times a second. */
  private maintain(now: number): void {
    this.resolver.maintain(now);
    this.announcer.maintain(now, this.members);
    this.ending.maintain(now);
    if (((now - this.maintained) | 0) < MAINTENANCE_MS) return;
    this.maintained = now;
    this.bridge.maintain(now);
    this.flows.sweep(now, (this.flows.extent / 50 + 1) | 0);
    this.affinities.sweep(now, 64);
    this.fragments.maintain(now);
    const { globals } = this.counters;
    globals[Global.FDB_EVICTIONS] = this.bridge.evictions;
    globals[Global.FLOWS] = this.flows.count;
    globals[Global.FLOWS_CREATED] = this.flows.created;
    globals[Global.FLOWS_EVICTED] = this.flows.evicted;
    globals[Global.NEIGHBOR_CONFLICTS] = this.neighbors.conflicts;
    globals[Global.ICMP_SUPPRESSED] = this.icmp.suppressed;
    globals[Global.DATAGRAMS_EVICTED] = this.fragments.evicted;
  }
}
