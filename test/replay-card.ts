import type { Card } from '../src/card/card.ts';
import { BURST, CardMemory, Control, cardOffsets, HEADROOM, SLOT_BYTES } from '../src/card/layout.ts';
import type { MemoryFrame } from '../src/card/memory-card.ts';

/** Words of metadata per frame. */
const META = 11;

/**
 * A card that replays a fixed set of frames for ever and discards what is sent, allocating nothing: for
 * measurements. Frames are taken in order, `burst` per poll; every request is reported sent.
 */
export class ReplayCard implements Card {
  readonly memory: CardMemory;
  sent = 0;
  /** Milliseconds added to the clock per poll. */
  step = 0;
  private next = 0;
  private meta = new Int32Array(0);
  /** Frames back to back, each at 2 mod 4 like in its slot, so that words can be copied. */
  private stock = new Int32Array(0);
  private readonly words: Int32Array;

  constructor(
    frames: readonly MemoryFrame[],
    private readonly burst = BURST,
  ) {
    const offsets = cardOffsets();
    this.memory = new CardMemory(new ArrayBuffer(offsets[offsets.length - 1]!));
    this.memory.control[Control.NOW] = 1;
    const { bytes } = this.memory;
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.load(frames);
  }

  /** Other frames from now on. */
  load(frames: readonly MemoryFrame[]): void {
    this.next = 0;
    const first = Int32Array.from({ length: frames.length + 1 });
    frames.forEach((frame, i) => {
      first[i + 1] = first[i]! + ((frame.bytes.length + 2 + 3) >> 2);
    });
    this.stock = new Int32Array(first[frames.length]!);
    const stock = new Uint8Array(this.stock.buffer);
    frames.forEach((frame, i) => {
      stock.set(frame.bytes, first[i]! * 4 + 2);
    });
    this.meta = Int32Array.from(
      frames.flatMap((frame, i) => [
        frame.device,
        frame.bytes.length,
        frame.csumStart ?? 0,
        frame.csumOffset ?? 0,
        frame.gsoType ?? 0,
        frame.gsoSize ?? 0,
        frame.remote?.[0] ?? 0,
        frame.remote?.[1] ?? 0,
        frame.remote?.[2] ?? 0,
        frame.remote?.[3] ?? 0,
        first[i]!,
      ]),
    );
  }

  poll(): number {
    const { memory, meta, stock, words } = this;
    const { control, free } = memory;
    let at = this.next;
    let left = control[Control.FREE_COUNT]!;
    const frames = meta.length / META;
    const count = Math.min(this.burst, frames, left);
    for (let i = 0; i < count; i++) {
      const slot = free[--left]!;
      const start = slot * SLOT_BYTES + HEADROOM;
      const row = at * META;
      const from = meta[row + 10]!;
      const to = (start - 2) >> 2;
      for (let w = (meta[row + 1]! + 5) >> 2; w-- > 0; ) words[to + w] = stock[from + w]!;
      memory.start[slot] = start;
      memory.device[slot] = meta[row]!;
      memory.length[slot] = meta[row + 1]!;
      memory.csumStart[slot] = meta[row + 2]!;
      memory.csumOffset[slot] = meta[row + 3]!;
      memory.gsoType[slot] = meta[row + 4]!;
      memory.gsoSize[slot] = meta[row + 5]!;
      memory.fault[slot] = 0;
      memory.tos[slot] = 0;
      memory.remote0[slot] = meta[row + 6]!;
      memory.remote1[slot] = meta[row + 7]!;
      memory.remote2[slot] = meta[row + 8]!;
      memory.remote3[slot] = meta[row + 9]!;
      memory.rx[i] = slot;
      at = at + 1 === frames ? 0 : at + 1;
    }
    control[Control.FREE_COUNT] = left;
    control[Control.NOW] = (control[Control.NOW]! + this.step) | 0;
    this.next = at;
    return count;
  }

  flush(): void {
    const { control, txStatus } = this.memory;
    const count = control[Control.TX_COUNT]!;
    for (let i = 0; i < count; i++) txStatus[i] = 0;
    this.sent += count;
    control[Control.TX_COUNT] = 0;
  }
}
