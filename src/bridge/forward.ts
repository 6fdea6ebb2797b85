import { TX_MAX } from '../card/layout.ts';
import type { Locations } from '../fabric/locations.ts';
import { type Networks, Policy } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import { type Egress, UNICAST_RESERVE } from '../packet/egress.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { FIRST_PEER, GATEWAY } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType, GROUP_BIT, isBroadcast } from '../wire/ethernet.ts';
import type { Bridge } from './bridge.ts';

/** Destination → egress list: one port, one peer, or a flood (B15, B16, V30–V32). */
export class Forward {
  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly bridge: Bridge,
    private readonly egress: Egress,
  ) {}

  run(burst: Burst, now: number): void {
    const { packets, bridge, egress } = this;
    const { dstHi, dstLo, source, network, flags } = packets;
    const { slots } = burst;
    // Frames of one burst often share their destination: the previous answer is then still true.
    let lastHi = -1;
    let lastLo = 0;
    let lastNetwork = -1;
    let to = -1;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      const hi = dstHi[slot]!;
      const lo = dstLo[slot]!;
      const net = network[slot]!;
      if (lo !== lastLo || hi !== lastHi || net !== lastNetwork) {
        to = (hi & GROUP_BIT) === 0 ? bridge.fdbs[net]!.locate(hi, lo, now) : -1;
        lastHi = hi;
        lastLo = lo;
        lastNetwork = net;
      }
      if (to <= GATEWAY) {
        if (to < 0) this.flood(slot);
        else packets.drop(slot, Drop.GATEWAY_UNHANDLED);
      } else if (to === source[slot] && (flags[slot]! & Flag.ROUTED) === 0) {
        packets.drop(slot, Drop.REFLECTION); // B15
      } else if (to >= FIRST_PEER && (flags[slot]! & Flag.TUNNEL) !== 0) {
        packets.drop(slot, Drop.REFLECTION); // V31: never from tunnel to tunnel
      } else {
        egress.push(slot, to);
      }
    }
  }

  /** One copy per other port and, unless it came from a tunnel, one per flood peer. */
  flood(slot: number): void {
    const { packets, locations, egress } = this;
    const network = packets.network[slot]!;
    const reason = this.policy(slot, network);
    if (reason !== Drop.NONE) {
      packets.drop(slot, reason);
      return;
    }
    const before = egress.count;
    const from = packets.source[slot]!;
    const flags = packets.flags[slot]!;
    const ports = locations.floodPorts[network]!;
    const peers = locations.floodPeers[network]!;
    if (before + ports.length + peers.length > TX_MAX - UNICAST_RESERVE) {
      packets.drop(slot, Drop.TX_BUSY);
      return;
    }
    for (let i = 0; i < ports.length; i++) if (ports[i] !== from) egress.push(slot, ports[i]!);
    if ((flags & (Flag.TUNNEL | Flag.LOCAL_ONLY)) === 0) {
      for (let i = 0; i < peers.length; i++) egress.push(slot, peers[i]!);
    }
    if (egress.count === before) packets.drop(slot, Drop.NO_RECEIVER);
  }

  private policy(slot: number, network: number): Drop {
    const { packets, networks } = this;
    const hi = packets.dstHi[slot]!;
    let policy: number;
    if ((hi & GROUP_BIT) === 0) policy = networks.unknownUnicast[network]!;
    else if (!isBroadcast(hi, packets.dstLo[slot]!)) policy = networks.multicast[network]!;
    else {
      policy = networks.broadcast[network]!;
      if (policy === Policy.ARP_ONLY)
        policy = packets.etherType[slot] === EtherType.ARP ? Policy.FLOOD : Policy.DROP;
    }
    // The daemon's own frames (GATEWAY) are not the network's to refuse.
    return policy === Policy.FLOOD || packets.source[slot] === GATEWAY ? Drop.NONE : Drop.POLICY_FLOOD;
  }
}
