import type { Card } from './card.ts';
import {
  BURST,
  CardMemory,
  cardOffsets,
  DEVICES,
  HEADROOM,
  REMOTES,
  SLOT_BYTES,
  SLOTS,
  TX_MAX,
} from './layout.ts';
import { loadNative, type NativeCardHandle } from './native.ts';

/** The card over TAP and UDP descriptors. It borrows them: whoever opened one closes it after `remove`. */
export class NativeCard implements Card {
  readonly memory: CardMemory;
  readonly #handle: NativeCardHandle;

  constructor() {
    this.#handle = loadNative().createCard(cardOffsets(), {
      slots: SLOTS,
      slotBytes: SLOT_BYTES,
      headroom: HEADROOM,
      burst: BURST,
      txMax: TX_MAX,
      remotes: REMOTES,
      devices: DEVICES,
    });
    this.memory = new CardMemory(this.#handle.buffer);
  }

  poll(): number {
    return this.#handle.poll();
  }

  flush(): void {
    this.#handle.flush();
  }

  /** @param fd a TAP with a 12-byte little-endian virtio-net header, nonblocking, as `createTap` makes it. */
  addTap(device: number, fd: number): void {
    this.#handle.addTap(device, fd);
  }

  /** @param prefix bytes of tunnel header in front of every frame. */
  addUnderlay(device: number, rx: number, tx: number[], prefix: number): void {
    this.#handle.addUnderlay(device, rx, tx, prefix);
  }

  /** Call it before closing the device's descriptors. */
  remove(device: number): void {
    this.#handle.remove(device);
  }

  setWake(fd: number): void {
    this.#handle.setWake(fd);
  }

  /** Afterwards `poll` throws and every request of a `flush` is GONE. */
  close(): void {
    this.#handle.close();
  }
}
