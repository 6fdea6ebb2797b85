import type { CardMemory } from '../card/layout.ts';
import type { Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { COUNTER_FIELDS, Counter, Global, UNDERLAY } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { VXLAN_BYTES, VXLAN_FLAGS, VXLAN_RESERVED_FLAGS } from '../wire/vxlan.ts';
import type { PeerAddresses } from './peers.ts';
import type { Vnis } from './vnis.ts';

/** Datagrams → inner frames, in the order of V19–V23; nothing here is answered (V29). */
export class Decap {
  private readonly memory: CardMemory;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly vnis: Vnis,
    private readonly peers: PeerAddresses,
  ) {
    this.memory = packets.memory;
  }

  run(burst: Burst, now: number): void {
    const { packets } = this;
    const { slots } = burst;
    const { values } = packets.counters;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      packets.source[slot] = UNDERLAY;
      packets.network[slot] = 0;
      packets.flags[slot] = Flag.TUNNEL;
      const reason = this.open(slot);
      packets.countReceived(slot);
      if (reason !== Drop.NONE) {
        packets.drop(slot, reason);
        continue;
      }
      values[packets.source[slot]! * COUNTER_FIELDS + Counter.LAST_RX] = now;
      slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** Strips the VXLAN header of one datagram, or says why not. */
  private open(slot: number): Drop {
    const { packets, memory, networks } = this;
    const { view } = packets;
    const length = packets.length[slot]!;
    if (memory.fault[slot] !== 0) return Drop.TRUNCATED;
    if (length < VXLAN_BYTES + ETHERNET_BYTES) return Drop.TUNNEL_SHORT; // V19
    const at = packets.start[slot]!;
    const flags = view.getInt32(at);
    if ((flags & VXLAN_FLAGS) === 0) return Drop.TUNNEL_FLAGS; // V20
    const word = view.getInt32(at + 4);
    const network = this.vnis.find(memory.device[slot]!, word >>> 8);
    if (network < 0) return Drop.UNKNOWN_VNI; // V21
    const peer = this.peers.find(
      memory.remote0[slot]!,
      memory.remote1[slot]!,
      memory.remote2[slot]!,
      memory.remote3[slot]!,
    );
    if (peer < 0 || this.locations.remoteOf(peer, network) < 0) return Drop.UNKNOWN_PEER; // V22
    packets.source[slot] = peer;
    packets.network[slot] = network;
    if ((flags & VXLAN_RESERVED_FLAGS) !== 0 || (word & 0xff) !== 0) {
      packets.counters.globals[Global.RESERVED_BITS_SEEN]!++;
      if (networks.strictReserved[network] === 1) return Drop.TUNNEL_RESERVED; // V23
    }
    packets.start[slot] = at + VXLAN_BYTES;
    packets.length[slot] = length - VXLAN_BYTES;
    return Drop.NONE;
  }
}
