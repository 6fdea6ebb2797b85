import { type CardMemory, Control } from '../card/layout.ts';
import type { Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Hasher } from '../table/hash.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Ipv6, trafficClass } from '../wire/ipv6.ts';
import { VXLAN_BYTES, writeVxlan } from '../wire/vxlan.ts';

/** Frames towards peers: the VXLAN header goes into the headroom, once however many peers get a copy. */
export class Encap {
  private readonly hasher: Hasher;
  private readonly memory: CardMemory;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    seed: number,
  ) {
    this.hasher = new Hasher(seed);
    this.memory = packets.memory;
  }

  /** Appends a transmit request for one copy to one peer. @returns why it cannot be sent, or NONE. */
  push(slot: number, peer: number): Drop {
    const { packets, memory, networks, locations } = this;
    const network = packets.network[slot]!;
    const remote = locations.remoteOf(peer, network);
    if (remote < 0) return Drop.TX_GONE;
    if ((packets.flags[slot]! & Flag.TAGGED) !== 0 && networks.passInnerVlan[network] === 0)
      return Drop.INNER_VLAN;
    const start = packets.start[slot]! - VXLAN_BYTES;
    if ((packets.flags[slot]! & Flag.ENCAPSULATED) === 0) {
      writeVxlan(packets.view, start, networks.vni[network]!);
      packets.flags[slot]! |= Flag.ENCAPSULATED;
    }
    const tx = memory.control[Control.TX_COUNT]!;
    memory.txSlot[tx] = slot;
    memory.txDevice[tx] = locations.deviceTo(peer, network, networks);
    memory.txStart[tx] = start;
    memory.txLength[tx] = packets.length[slot]! + VXLAN_BYTES;
    memory.txRemote[tx] = remote;
    memory.txTos[tx] = this.outerTos(slot, networks.tos[network]!);
    memory.txEntropy[tx] = this.entropy(slot) >>> 1;
    memory.control[Control.TX_COUNT] = tx + 1;
    return Drop.NONE;
  }

  /** V7, V11, V12: DSCP as configured or inherited; the inner ECN goes out as it is (RFC 6040 §4.1). */
  private outerTos(slot: number, dscp: number): number {
    const { packets } = this;
    const ip = packets.l3[slot]!;
    const type = packets.etherType[slot]!;
    let inner = 0;
    if (ip !== 0 && type === EtherType.IPV4) inner = packets.view.getUint8(ip + Ipv4.TOS);
    else if (ip !== 0 && type === EtherType.IPV6) inner = trafficClass(packets.view, ip);
    return dscp < 0 ? inner : dscp | (inner & 3);
  }

  /** V4: one inner flow keeps one source port; all fragments of a datagram hash alike. */
  private entropy(slot: number): number {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const type = packets.etherType[slot]!;
    const { hasher } = this;
    if (ip === 0 || (type !== EtherType.IPV4 && type !== EtherType.IPV6)) {
      return hasher.of5(
        type,
        packets.srcHi[slot]!,
        packets.srcLo[slot]!,
        packets.dstHi[slot]!,
        packets.dstLo[slot]!,
      );
    }
    const protocol = packets.protocol[slot]!;
    const l4 = packets.l4[slot]!;
    const hasPorts = l4 !== 0 && (protocol === Protocol.TCP || protocol === Protocol.UDP);
    const ports = hasPorts ? view.getInt32(l4) : 0;
    if (type === EtherType.IPV4) {
      return hasher.of4(
        view.getInt32(ip + Ipv4.SOURCE),
        view.getInt32(ip + Ipv4.DESTINATION),
        protocol,
        ports,
      );
    }
    const source = ip + Ipv6.SOURCE;
    const destination = ip + Ipv6.DESTINATION;
    return hasher.of10(
      protocol,
      ports,
      view.getInt32(source),
      view.getInt32(source + 4),
      view.getInt32(source + 8),
      view.getInt32(source + 12),
      view.getInt32(destination),
      view.getInt32(destination + 4),
      view.getInt32(destination + 8),
      view.getInt32(destination + 12),
    );
  }
}
