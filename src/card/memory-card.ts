import type { Card } from './card.ts';
import {
  BURST,
  CardMemory,
  Control,
  cardOffsets,
  HEADROOM,
  REMOTES,
  SLOT_BYTES,
  TxStatus,
} from './layout.ts';

/** A frame on its way into or out of a MemoryCard. */
export interface MemoryFrame {
  device: number;
  bytes: Uint8Array;
  csumStart?: number;
  csumOffset?: number;
  gsoType?: number;
  gsoSize?: number;
  /** Received datagrams: outer source address words and TOS. Sent ones: destination words, port and TOS. */
  remote?: readonly [number, number, number, number];
  port?: number;
  tos?: number;
  entropy?: number;
  fault?: number;
}

/**
 * The card's in-memory twin: frames come from a queue and go to a function, time is set by hand. It behaves as
 * the contract in card.ts says, but moves metadata instead of acting on it: segmentation and checksums stay
 * undone and are reported with the frame.
 */
export class MemoryCard implements Card {
  readonly memory: CardMemory;
  /** Called for every frame sent; returns the status to report. */
  onSend: (frame: MemoryFrame) => TxStatus = () => TxStatus.SENT;
  private readonly queue: MemoryFrame[] = [];

  constructor() {
    const offsets = cardOffsets();
    this.memory = new CardMemory(new ArrayBuffer(offsets[offsets.length - 1]!));
    this.memory.control[Control.NOW] = 1;
  }

  get pending(): number {
    return this.queue.length;
  }

  /** Virtual time, ms. */
  set now(ms: number) {
    this.memory.control[Control.NOW] = ms;
  }

  get now(): number {
    return this.memory.control[Control.NOW]!;
  }

  receive(frame: MemoryFrame): void {
    this.queue.push(frame);
  }

  poll(): number {
    const { memory, queue } = this;
    const { control } = memory;
    let count = 0;
    while (count < BURST && queue.length > 0 && control[Control.FREE_COUNT]! > 0) {
      const frame = queue.shift()!;
      control[Control.FREE_COUNT]!--;
      const slot = memory.free[control[Control.FREE_COUNT]!]!;
      const start = slot * SLOT_BYTES + HEADROOM;
      memory.bytes.set(frame.bytes.subarray(0, SLOT_BYTES - HEADROOM), start);
      memory.start[slot] = start;
      memory.length[slot] = frame.bytes.length;
      memory.device[slot] = frame.device;
      memory.csumStart[slot] = frame.csumStart ?? 0;
      memory.csumOffset[slot] = frame.csumOffset ?? 0;
      memory.gsoType[slot] = frame.gsoType ?? 0;
      memory.gsoSize[slot] = frame.gsoSize ?? 0;
      memory.fault[slot] = frame.fault ?? 0;
      memory.tos[slot] = frame.tos ?? 0;
      memory.remote0[slot] = frame.remote?.[0] ?? 0;
      memory.remote1[slot] = frame.remote?.[1] ?? 0;
      memory.remote2[slot] = frame.remote?.[2] ?? 0;
      memory.remote3[slot] = frame.remote?.[3] ?? 0;
      memory.rx[count++] = slot;
    }
    control[Control.RX_COUNT] = count;
    return count;
  }

  flush(): void {
    const { memory } = this;
    const count = memory.control[Control.TX_COUNT]!;
    for (let i = 0; i < count; i++) {
      const slot = memory.txSlot[i]!;
      const start = memory.txStart[i]!;
      const row = memory.txRemote[i]! % REMOTES;
      memory.txStatus[i] = this.onSend({
        device: memory.txDevice[i]!,
        bytes: memory.bytes.slice(start, start + memory.txLength[i]!),
        csumStart: memory.csumStart[slot]!,
        csumOffset: memory.csumOffset[slot]!,
        gsoType: memory.gsoType[slot]!,
        gsoSize: memory.gsoSize[slot]!,
        remote: [
          memory.remotes[row * 5]!,
          memory.remotes[row * 5 + 1]!,
          memory.remotes[row * 5 + 2]!,
          memory.remotes[row * 5 + 3]!,
        ],
        port: memory.remotes[row * 5 + 4]!,
        tos: memory.txTos[i]!,
        entropy: memory.txEntropy[i]!,
      });
    }
    memory.control[Control.TX_COUNT] = 0;
  }
}
