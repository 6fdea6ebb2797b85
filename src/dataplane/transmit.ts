import { type CardMemory, Control, TX_MAX, TxStatus } from '../card/layout.ts';
import { isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Encap } from '../overlay/encap.ts';
import type { Egress } from '../packet/egress.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import type { Runs } from '../packet/runs.ts';
import { COUNTER_FIELDS, Counter } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { writeMac } from '../wire/ethernet.ts';

const STATUS_DROP = new Uint8Array(6);
STATUS_DROP[TxStatus.BUSY] = Drop.TX_BUSY;
STATUS_DROP[TxStatus.GONE] = Drop.TX_GONE;
STATUS_DROP[TxStatus.TOO_BIG] = Drop.TX_TOO_BIG;
STATUS_DROP[TxStatus.INVALID] = Drop.TX_ERROR;
STATUS_DROP[TxStatus.ERROR] = Drop.TX_ERROR;

/**
 * Egress list → transmit requests behind those of the fast path, and after the flush the verdicts: a packet of which
 * one copy left is forwarded, one of which none did is dropped for the first reason (M15). Either way its slot is free
 * again.
 */
export class Transmit {
  /** Set when the kernel called a datagram too big: location of the peer, for path-MTU discovery; −1 = none. */
  tooBigPeer = -1;
  private readonly memory: CardMemory;
  /** Per egress pair: its transmit request, or −1 and the reason there is none. */
  private readonly request = new Int32Array(TX_MAX);
  private readonly refusal = new Uint8Array(TX_MAX);

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly encap: Encap,
    private readonly egress: Egress,
    private readonly runs: Runs,
  ) {
    this.memory = packets.memory;
  }

  /** Turns what is new on the egress list into transmit requests. */
  prepare(): void {
    const { egress, memory, packets, request, refusal } = this;
    const { control } = memory;
    for (let i = egress.prepared; i < egress.count; i++) {
      const slot = egress.slots[i]!;
      const to = egress.locations[i]!;
      request[i] = control[Control.TX_COUNT]!;
      if ((packets.flags[slot]! & Flag.ROUTED) !== 0) this.setSource(slot, to);
      const reason = isPeer(to) ? this.encap.push(slot, to) : this.pushPort(slot, to);
      refusal[i] = reason;
      if (reason !== Drop.NONE) request[i] = -1;
    }
    egress.prepared = egress.count;
  }

  /** Counts what became of every packet and frees its slot. */
  settle(): void {
    const { egress, memory, packets, request, refusal } = this;
    const { slots, locations } = egress;
    const { values, drops } = packets.counters;
    for (let i = 0; i < egress.count; ) {
      const slot = slots[i]!;
      let sent = 0;
      let reason: number = Drop.NONE;
      for (; i < egress.count && slots[i] === slot; i++) {
        const tx = request[i]!;
        const status = tx < 0 ? -1 : memory.txStatus[tx]!;
        if (status === TxStatus.SENT) {
          const row = locations[i]! * COUNTER_FIELDS;
          values[row + Counter.TX]!++;
          values[row + Counter.TX_BYTES]! += packets.length[slot]!;
          sent++;
        } else if (reason === Drop.NONE) {
          reason = status < 0 ? refusal[i]! : STATUS_DROP[status]!;
        }
        if (status === TxStatus.TOO_BIG && isPeer(locations[i]!)) this.tooBigPeer = locations[i]!;
      }
      const source = packets.source[slot]!;
      if (sent > 0) values[source * COUNTER_FIELDS + Counter.FORWARDED]!++;
      else drops[source * Drop.COUNT + reason]!++;
      packets.release(slot);
    }
    egress.count = 0;
    egress.prepared = 0;
  }

  /** Counts arrival and fate of the fast path's packets, run by run, and frees their slots. */
  settleRuns(now: number): void {
    const { memory, packets, runs } = this;
    const { control, free, rx, txStatus } = memory;
    const { values } = packets.counters;
    let height = control[Control.FREE_COUNT]!;
    for (let run = 0; run < runs.count; run++) {
      const first = runs.rx[run]!;
      const tx = runs.tx[run]!;
      const size = runs.size[run]!;
      const bytes = runs.bytes[run]!;
      let failed = 0;
      for (let i = 0; i < size; i++) {
        failed |= txStatus[tx + i]!;
        free[height++] = rx[first + i]!;
      }
      const from = runs.from[run]! * COUNTER_FIELDS;
      values[from + Counter.RX]! += size;
      values[from + Counter.RX_BYTES]! += bytes;
      if (isPeer(runs.from[run]!)) values[from + Counter.LAST_RX] = now;
      if (failed !== TxStatus.SENT) {
        this.settleOneByOne(run);
        continue;
      }
      const to = runs.to[run]! * COUNTER_FIELDS;
      values[from + Counter.FORWARDED]! += size;
      values[to + Counter.TX]! += size;
      values[to + Counter.TX_BYTES]! += bytes;
    }
    control[Control.FREE_COUNT] = height;
    runs.count = 0;
  }

  /** A run of which the kernel refused something. */
  private settleOneByOne(run: number): void {
    const { memory, packets, runs } = this;
    const { values, drops } = packets.counters;
    const from = runs.from[run]!;
    const to = runs.to[run]!;
    for (let i = 0; i < runs.size[run]!; i++) {
      const status = memory.txStatus[runs.tx[run]! + i]!;
      if (status === TxStatus.SENT) {
        values[from * COUNTER_FIELDS + Counter.FORWARDED]!++;
        values[to * COUNTER_FIELDS + Counter.TX]!++;
        values[to * COUNTER_FIELDS + Counter.TX_BYTES]! += packets.length[memory.rx[runs.rx[run]! + i]!]!;
      } else {
        drops[from * Drop.COUNT + STATUS_DROP[status]!]!++;
        if (status === TxStatus.TOO_BIG && isPeer(to)) this.tooBigPeer = to;
      }
    }
  }

  /** A14. Copies share their bytes: of a flood that enters tunnels, every copy gets the router MAC, set last. */
  private setSource(slot: number, to: number): void {
    const { packets, networks } = this;
    const network = packets.network[slot]!;
    const hi = (isPeer(to) ? networks.routerHi : networks.gatewayHi)[network]!;
    const lo = (isPeer(to) ? networks.routerLo : networks.gatewayLo)[network]!;
    writeMac(packets.view, packets.start[slot]! + 6, hi, lo);
  }

  private pushPort(slot: number, port: number): Drop {
    const { packets, memory, locations } = this;
    const device = locations.device[port]!;
    if (device < 0) return Drop.TX_GONE;
    const start = packets.start[slot]!;
    const tx = memory.control[Control.TX_COUNT]!;
    memory.txSlot[tx] = slot;
    memory.txDevice[tx] = device;
    memory.txStart[tx] = start;
    memory.txLength[tx] = packets.length[slot]!;
    memory.control[Control.TX_COUNT] = tx + 1;
    return Drop.NONE;
  }
}
