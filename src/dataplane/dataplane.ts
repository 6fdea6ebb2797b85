import { FdbKind } from '../bridge/fdb.ts';
import type { Card } from '../card/card.ts';
import { Control } from '../card/layout.ts';
import { Word } from '../conntrack/tuple.ts';
import { NeighborSource } from '../neigh/neighbors.ts';
import { RecordWriter, recordEnd, type ServiceBatch } from '../service/record.ts';
import type { Counters } from '../telemetry/counters.ts';
import type { HostConfig, NetworkConfig, Op, PeerConfig, PortConfig } from './config.ts';
import { lostMasks, masksOf, unmask } from './masks.ts';
import { Pipeline } from './pipeline.ts';
import { Stale } from './stale.ts';

const sameMac = (a: { hi: number; lo: number }, b: { hi: number; lo: number }): boolean =>
  a.hi === b.hi && a.lo === b.lo;

/** The switch is in no state anybody asked for and must not go on. */
export class HalfApplied extends Error {
  constructor(cause: unknown) {
    super(`a change failed half-way: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/**
 * Words of service records put between two turns, about 50 µs: few at first, when the code is seldom used and twenty
 * times slower, then a few more each time. Twice as many each time was faster than the engine compiles: 1.4 ms a step.
 */
const FIRST_WORDS = 1024;
const MORE_WORDS = 64;
const WORDS_PER_STEP = 16_384;
/** A record costs as much as so many words. */
const RECORD_COST = 128;

/** Must what was learned from the port before be forgotten? */
const isAnotherSource = (old: PortConfig, next: PortConfig): boolean =>
  old.network !== next.network || old.antiSpoof !== next.antiSpoof || !sameMac(old.mac, next.mac);

/**
 * The switch: a pipeline and its configuration. `apply` is called between two turns and is the only writer of
 * configuration; a change touches only the entries and flows that depend on what changed (M7).
 */
export class Dataplane {
  readonly pipeline: Pipeline;
  private host: HostConfig = { underlayAddresses: [], vxlanPorts: [], maxFlows: 0 };
  readonly networks = new Map<number, NetworkConfig>();
  readonly ports = new Map<number, PortConfig>();
  readonly peers = new Map<number, PeerConfig>();
  private readonly stale: Stale;

  constructor(
    private readonly card: Card,
    readonly counters: Counters,
    seed: number,
    maxAffinities?: number,
    isFast?: boolean,
  ) {
    this.pipeline = new Pipeline(card, counters, seed, maxAffinities, isFast);
    const { flows, services, affinities, ending, judge } = this.pipeline;
    this.stale = new Stale(flows, services, affinities, ending, judge);
  }

  get now(): number {
    return this.card.memory.control[Control.NOW]!;
  }

  turn(): number {
    return this.pipeline.turn();
  }

  /** Applies one transaction at once; see `steps`. */
  apply(ops: readonly Op[]): void {
    for (const _ of this.steps(ops)) {
    }
  }

  /**
   * Applies one transaction, a bounded step per `next()`, between which packets may pass. The first step does all that
   * is no service; flows behind addresses that went with it go; then each service port changes from one packet to the
   * next; then what is stale goes.
   * The host comes first: it alone may fail (memory for the flow table), and then nothing has changed.
   * @param batch the services of the transaction; absent: those among `ops`
   * @throws RangeError as said; HalfApplied when the rest failed, which only a fault of the control plane can cause.
   */
  *steps(ops: readonly Op[], batch: ServiceBatch = servicesOf(ops)): Generator<void> {
    for (const op of ops) if (op.op === 'host') this.applyOne(op);
    try {
      const others = ops.filter(({ op }) => op !== 'service' && op !== 'remove-service');
      const masks = others.length > 0 ? masksOf(this) : [];
      for (const op of others) if (op.op !== 'host') this.applyOne(op);
      if (others.length > 0) {
        this.rebuild();
        yield* unmask(this.pipeline.flows, lostMasks(masks, masksOf(this)), this);
      }
      if (batch.count + batch.removed.length > 0) yield* this.updateServices(batch);
    } catch (cause) {
      throw new HalfApplied(cause);
    }
  }

  /** Removals come last: an address that moves from one service to another is never nobody's. */
  private *updateServices({ records, count, removed, ids, frontends }: ServiceBatch): Generator<void> {
    const { services, chooser, history } = this.pipeline;
    yield* services.grow(ids, frontends);
    yield* chooser.begin();
    this.stale.begin();
    let allowed = FIRST_WORDS;
    let budget = allowed;
    for (let i = 0, at = 0; i < count + removed.length; i++) {
      budget -= RECORD_COST;
      if (i < count) {
        budget -= recordEnd(records, at) - at;
        // Asked first: a generator for every record is garbage enough for the thread to collect, a millisecond each.
        if (chooser.isSlow(records, at)) yield* chooser.prepare(records, at);
        this.stale.setting(records, at);
        history.changing(records, at, chooser.transaction);
        chooser.change(records, at);
        at = services.put(records, at);
      } else {
        const id = removed[i - count]!;
        this.stale.removing(id);
        chooser.remove(id);
        services.remove(id);
      }
      if (budget > 0) continue;
      allowed = Math.min(allowed + MORE_WORDS, WORDS_PER_STEP);
      budget = allowed;
      yield;
    }
    yield* this.stale.forget(this);
  }

  private applyOne(op: Op): void {
    switch (op.op) {
      case 'host':
        this.host = op.host;
        this.pipeline.hostRules.set(op.host);
        if (op.host.maxFlows !== this.pipeline.flows.limit) {
          this.pipeline.flows.resize(op.host.maxFlows);
          this.pipeline.ending.moved();
        }
        this.pipeline.flows.setTimeouts(op.host.timeouts);
        this.pipeline.tracker.isLiberal = op.host.tcpLiberal ?? false;
        this.pipeline.fragments.setLimits(op.host.fragments);
        break;
      case 'network':
        this.setNetwork(op.network);
        break;
      case 'remove-network':
        this.removeNetwork(op.id);
        break;
      case 'port':
        this.setPort(op.port);
        break;
      case 'remove-port':
        this.removePort(op.id);
        break;
      case 'peer':
        this.setPeer(op.peer);
        break;
      case 'remove-peer':
        this.removePeer(op.id);
        break;
    }
  }

  /** Derived tables, rebuilt whole: they are small. */
  private rebuild(): void {
    const { pipeline } = this;
    const networks = [...this.networks.values()];
    pipeline.vnis.rebuild(
      networks.flatMap((network) =>
        [network.underlay4, network.underlay6]
          .filter((device) => device >= 0)
          .map((device) => ({ device, vni: network.vni, network: network.id })),
      ),
    );
    pipeline.peers.rebuild(this.peers.values());
    pipeline.membersChanged();
    for (const peer of this.peers.values()) this.bindAddresses(peer);
    const underlay = [
      ...this.host.underlayAddresses,
      ...[...this.peers.values()].flatMap((peer) => peer.addresses),
    ];
    pipeline.admit.setUnderlay(underlay, this.host.vxlanPorts);
  }

  private setNetwork(config: NetworkConfig): void {
    const { networks, bridge } = this.pipeline;
    const existed = this.networks.has(config.id);
    this.networks.set(config.id, config);
    networks.set(config);
    bridge.setNetwork(config, existed, this.now);
  }

  private removeNetwork(id: number): void {
    const { networks, bridge, neighbors, resolver, flows, affinities } = this.pipeline;
    for (let row = 0; row < neighbors.extent; row++) {
      if (neighbors.isUsed(row) && neighbors.network(row) === id) resolver.fail(row, this.now);
    }
    for (let row = 0; row < flows.extent; row++) {
      if (flows.isLive(row, this.now) && flows.word(row * 2, Word.SCOPE) >>> 8 === id) flows.remove(row);
    }
    this.pipeline.fragments.abandonNetwork(id);
    affinities.forget((row) => affinities.key(row, 0) !== id);
    this.networks.delete(id);
    networks.remove(id);
    bridge.removeNetwork(id);
  }

  private setPort(config: PortConfig): void {
    const { pipeline, now } = this;
    const old = this.ports.get(config.id);
    if (old) this.unlinkPort(old, isAnotherSource(old, config));
    else this.counters.clear(config.id);
    this.ports.set(config.id, config);
    pipeline.locations.setPort(config);
    if (config.isHost === true) pipeline.networks.setHostPort(config);
    pipeline.portOfDevice[config.device] = config.id;
    const fdb = pipeline.bridge.fdbs[config.network]!;
    fdb.setStatic(config.mac.hi, config.mac.lo, config.id, FdbKind.LOCAL);
    for (const address of config.addresses) {
      const row = pipeline.neighbors.setPermanent(
        config.network,
        address,
        config.mac.hi,
        config.mac.lo,
        NeighborSource.PORT,
      );
      if (row >= 0) pipeline.resolver.release(row);
      pipeline.announcer.announce(config.network, config.mac.hi, config.mac.lo, address, now);
    }
  }

  private unlinkPort(config: PortConfig, flush: boolean): void {
    const { bridge, networks, neighbors, portOfDevice, announcer } = this.pipeline;
    const fdb = bridge.fdbs[config.network]!;
    networks.removeHostPort(config);
    fdb.removeStatic(config.mac.hi, config.mac.lo, config.id);
    if (flush) fdb.flush(config.id);
    const { hi, lo } = config.mac;
    for (const address of config.addresses)
      neighbors.removePermanent(config.network, address, hi, lo, NeighborSource.PORT);
    announcer.cancel(config.network, hi, lo);
    portOfDevice[config.device] = -1;
    if (!flush) return;
    this.pipeline.resolver.abandon(config.id);
    this.pipeline.fragments.abandon(config.id);
  }

  private removePort(id: number): void {
    const config = this.ports.get(id);
    if (!config) return;
    this.unlinkPort(config, true);
    this.pipeline.locations.removePort(id);
    this.ports.delete(id);
  }

  private setPeer(config: PeerConfig): void {
    const { pipeline } = this;
    const old = this.peers.get(config.id);
    if (old) this.unlinkPeer(old, config);
    else this.counters.clear(config.id);
    this.peers.set(config.id, config);
    for (const member of config.memberships) {
      this.card.memory.remotes.set([...member.address, member.port], member.remote * 5);
    }
    pipeline.locations.setPeer(config);
    for (const entry of config.static) {
      pipeline.bridge.fdbs[entry.network]!.setStatic(entry.mac.hi, entry.mac.lo, config.id, FdbKind.STATIC);
    }
  }

  /** Addresses behind a peer. Done after all else: until then a port on its way out may still hold one (A10). */
  private bindAddresses(config: PeerConfig): void {
    const { neighbors, resolver } = this.pipeline;
    for (const { network, mac, address } of config.static) {
      if (!address) continue;
      const row = neighbors.setPermanent(network, address, mac.hi, mac.lo, NeighborSource.PEER);
      if (row >= 0) resolver.release(row);
    }
  }

  /** Takes out what `next` no longer has; learned entries of networks it stays in are kept (V28). */
  private unlinkPeer(old: PeerConfig, next: PeerConfig | null): void {
    const { bridge, neighbors } = this.pipeline;
    for (const entry of old.static) {
      bridge.fdbs[entry.network]!.removeStatic(entry.mac.hi, entry.mac.lo, old.id);
      const { hi, lo } = entry.mac;
      if (entry.address) neighbors.removePermanent(entry.network, entry.address, hi, lo, NeighborSource.PEER);
    }
    for (const { network } of old.memberships) {
      const stays = next?.memberships.some((member) => member.network === network);
      if (!stays) bridge.fdbs[network]!.flush(old.id);
    }
  }

  private removePeer(id: number): void {
    const config = this.peers.get(id);
    if (!config) return;
    this.unlinkPeer(config, null);
    this.pipeline.resolver.abandon(id);
    this.pipeline.fragments.abandon(id);
    this.pipeline.locations.removePeer(id);
    this.peers.delete(id);
  }
}

/** The services among ops, as a batch. */
function servicesOf(ops: readonly Op[]): ServiceBatch {
  const writer = new RecordWriter();
  for (const op of ops) {
    if (op.op === 'service') writer.add(op.service);
    else if (op.op === 'remove-service') writer.remove(op.id);
  }
  return writer.finish();
}
