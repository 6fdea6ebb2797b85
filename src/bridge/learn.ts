import { isPeer } from '../fabric/locations.ts';
import type { Burst } from '../packet/burst.ts';
import type { Packets } from '../packet/packets.ts';
import { Global } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import type { Bridge } from './bridge.ts';
import { Learned } from './fdb.ts';

/** Learns the source of every frame of a burst (B2). The whole burst is learned before any of it is forwarded. */
export class Learn {
  /** The last loop seen (B8), for the daemon to report; network −1 = none since it was taken. */
  readonly loop = { network: -1, hi: 0, lo: 0, port: 0, peer: 0 };

  constructor(
    private readonly packets: Packets,
    private readonly bridge: Bridge,
  ) {}

  run(burst: Burst, now: number): void {
    const { packets, bridge } = this;
    const { srcHi, srcLo, source, network } = packets;
    const { slots } = burst;
    let kept = 0;
    // Frames of one burst often share their source: the previous answer is then still true.
    let lastHi = -1;
    let lastLo = 0;
    let lastSource = -1;
    let lastNetwork = -1;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      const hi = srcHi[slot]!;
      const lo = srcLo[slot]!;
      const from = source[slot]!;
      const net = network[slot]!;
      if (lo === lastLo && hi === lastHi && from === lastSource && net === lastNetwork) {
        slots[kept++] = slot;
        continue;
      }
      const done = bridge.fdbs[net]!.learn(hi, lo, from, now);
      if (done >= Learned.STATIC_ELSEWHERE) {
        packets.drop(slot, this.refuse(net, hi, lo, from, done, now));
        continue;
      }
      if (done === Learned.MOVED) packets.counters.globals[Global.MAC_MOVES]!++;
      lastHi = hi;
      lastLo = lo;
      lastSource = from;
      lastNetwork = net;
      slots[kept++] = slot;
    }
    burst.count = kept;
  }

  private refuse(network: number, hi: number, lo: number, from: number, done: Learned, now: number): Drop {
    if (done === Learned.STATIC_ELSEWHERE) return Drop.STATIC_MOVE;
    if (!isPeer(from)) return Drop.STATIC_MOVE;
    this.loop.network = network;
    this.loop.hi = hi;
    this.loop.lo = lo;
    this.loop.port = this.bridge.locate(network, hi, lo, now);
    this.loop.peer = from;
    return Drop.LOOP; // B8
  }
}
