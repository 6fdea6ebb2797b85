import { FdbKind } from '../bridge/fdb.ts';
import type { Card } from '../card/card.ts';
import { Control } from '../card/layout.ts';
import { Word } from '../conntrack/tuple.ts';
import { NeighborSource } from '../neigh/neighbors.ts';
import { BACKEND_WORDS } from '../service/services.ts';
import type { Counters } from '../telemetry/counters.ts';
import { Protocol } from '../wire/ipv4.ts';
import type {
  Address,
  HostConfig,
  NetworkConfig,
  Op,
  PeerConfig,
  PortConfig,
  ServiceConfig,
} from './config.ts';
import { Pipeline } from './pipeline.ts';

const isIpv4 = (a: Address): boolean => a[0] === 0 && a[1] === 0 && a[2] === 0xffff;
const sameMac = (a: { hi: number; lo: number }, b: { hi: number; lo: number }): boolean =>
  a.hi === b.hi && a.lo === b.lo;

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
  readonly services = new Map<number, ServiceConfig>();

  constructor(
    private readonly card: Card,
    readonly counters: Counters,
    seed: number,
    maxAffinities?: number,
  ) {
    this.pipeline = new Pipeline(card, counters, seed, maxAffinities);
  }

  get now(): number {
    return this.card.memory.control[Control.NOW]!;
  }

  turn(): number {
    return this.pipeline.turn();
  }

  /** Applies one transaction. */
  apply(ops: readonly Op[]): void {
    for (const op of ops) this.applyOne(op);
    this.rebuild();
  }

  private applyOne(op: Op): void {
    switch (op.op) {
      case 'host':
        this.host = op.host;
        if (op.host.maxFlows !== this.pipeline.flows.capacity) this.pipeline.flows.resize(op.host.maxFlows);
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
      case 'service':
        this.setService(op.service);
        break;
      case 'remove-service':
        this.removeService(op.id);
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
    for (const peer of this.peers.values()) this.bindAddresses(peer);
    const underlay = [
      ...this.host.underlayAddresses,
      ...[...this.peers.values()].flatMap((peer) => peer.addresses),
    ];
    pipeline.admit.setUnderlay(
      Int32Array.from(underlay.filter(isIpv4).map((a) => a[3])),
      this.host.vxlanPorts,
    );
  }

  private setNetwork(config: NetworkConfig): void {
    const { networks, bridge } = this.pipeline;
    const existed = this.networks.has(config.id);
    this.networks.set(config.id, config);
    networks.set(config);
    bridge.setNetwork(config, existed, this.now);
  }

  private removeNetwork(id: number): void {
    const { networks, bridge, neighbors, resolver, flows } = this.pipeline;
    for (let row = 0; row < neighbors.extent; row++) {
      if (neighbors.isUsed(row) && neighbors.network(row) === id) resolver.fail(row, this.now);
    }
    for (let row = 0; row < flows.extent; row++) {
      if (flows.isLive(row, this.now) && flows.word(row * 2, Word.SCOPE) >>> 8 === id) flows.remove(row);
    }
    this.networks.delete(id);
    networks.remove(id);
    bridge.removeNetwork(id);
  }

  private setPort(config: PortConfig): void {
    const { pipeline, now } = this;
    const old = this.ports.get(config.id);
    if (old) this.unlinkPort(old, old.network !== config.network || !sameMac(old.mac, config.mac));
    else this.counters.clear(config.id);
    this.ports.set(config.id, config);
    pipeline.locations.setPort(config);
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
      if (isIpv4(address))
        pipeline.announcer.announce(config.network, config.mac.hi, config.mac.lo, address[3], now);
    }
  }

  private unlinkPort(config: PortConfig, flush: boolean): void {
    const { bridge, neighbors, portOfDevice, announcer } = this.pipeline;
    const fdb = bridge.fdbs[config.network]!;
    fdb.removeStatic(config.mac.hi, config.mac.lo, config.id);
    if (flush) fdb.flush(config.id);
    const { hi, lo } = config.mac;
    for (const address of config.addresses)
      neighbors.removePermanent(config.network, address, hi, lo, NeighborSource.PORT);
    announcer.cancel(config.network, hi, lo);
    portOfDevice[config.device] = -1;
    if (flush) this.pipeline.resolver.abandon(config.id);
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
    this.pipeline.resolver.abandon(id);
    this.pipeline.locations.removePeer(id);
    this.peers.delete(id);
  }

  private setService(config: ServiceConfig): void {
    const { services, affinities } = this.pipeline;
    const old = this.services.get(config.id);
    this.services.set(config.id, config);
    services.set(config);
    // Affinity to an endpoint that left is forgotten at once (S27).
    affinities.forget(config.id, (row) => {
      const at = row * BACKEND_WORDS;
      const [w0, w1, w2, w3] = affinities.backend.subarray(at, at + 4) as unknown as Address;
      return (
        config.affinity > 0 && services.hasBackend(config.id, w0, w1, w2, w3, affinities.backend[at + 4]!)
      );
    });
    if (config.protocol !== Protocol.UDP) return;
    const hasMoved = old?.port !== config.port || old.vip.some((word, i) => word !== config.vip[i]);
    // S32: without any endpoint, flows stay.
    if (hasMoved || config.backends.length > 0) this.dropStaleUdp(config.id, hasMoved);
  }

  private removeService(id: number): void {
    const { services, affinities } = this.pipeline;
    const config = this.services.get(id);
    if (!config) return;
    this.services.delete(id);
    if (config.protocol === Protocol.UDP) this.dropStaleUdp(id, true);
    services.remove(id);
    affinities.forget(id, () => false);
  }

  /**
   * S31, S33: UDP flows to endpoints, ports or addresses that left are deleted after the change is live, so that
   * clients re-home.
   */
  private dropStaleUdp(id: number, all = false): void {
    const { flows, services } = this.pipeline;
    for (let row = 0; row < flows.extent; row++) {
      if (!flows.isLive(row, this.now) || flows.service[row] !== id) continue;
      if (flows.generation[row] !== services.generation[id]) continue;
      const reply = row * 2 + 1;
      const high = Word.SOURCE_HIGH;
      const isServed =
        !all &&
        services.hasBackend(
          id,
          flows.word(reply, high),
          flows.word(reply, high + 1),
          flows.word(reply, high + 2),
          flows.word(reply, Word.SOURCE),
          flows.word(reply, Word.PORTS) >>> 16,
        );
      if (!isServed) flows.remove(row);
    }
  }
}
