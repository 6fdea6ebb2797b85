/**
 * The memory a card and the switch share: one region, carved into Int32 columns and a byte arena.
 *
 *   control   16 words, see `Control`
 *   columns   one Int32 per slot: what is known of the frame in that slot
 *   free      stack of free slot numbers; `control[FREE_COUNT]` is its height. The card pops on receive,
 *             the switch pops to make frames of its own and pushes when a frame is done with.
 *   rx        slot numbers received by the last poll
 *   tx*       columns of transmit requests for the next flush
 *   remotes   underlay destinations, 5 words each: address (4, IPv4 as ::ffff:a.b.c.d), UDP port
 *   devices   one word per device: `DeviceState`
 *   arena     SLOTS × SLOT_BYTES; a received frame starts at HEADROOM (≡ 2 mod 4, so IP headers are aligned)
 *
 * Words are host-endian; an address word holds the network-order value (10.0.0.1 is 0x0a000001 | 0).
 * The card is given the offsets in the order of `FIELDS` and exports the same names; the loader compares them.
 */
export const SLOTS = 1024;
/** Headroom + Ethernet + 64 KiB super-frame + slack, and not a power of two: slots spread over cache sets. */
export const SLOT_BYTES = 66_240;
/** Room for VXLAN (8) and a VLAN tag in front of a frame; ≡ 2 mod 4. */
export const HEADROOM = 66;
/** Frames one poll returns at most. */
export const BURST = 256;
/** Transmit requests one flush takes at most. */
export const TX_MAX = 4096;
export const REMOTES = 4096;
export const DEVICES = 1280;
/** Transmit sockets per underlay device: a flow's hash chooses one, hence its source port (V4: at least 8). */
export const TX_SOCKETS = 16;

export const enum Control {
  RX_COUNT = 0,
  TX_COUNT = 1,
  FREE_COUNT = 2,
  /** Monotonic milliseconds as a wrapping int32: compare with `(now - then) | 0`. Written by every poll. */
  NOW = 3,
  /** How long the next poll may sleep when nothing is ready; 0 never sleeps. */
  TIMEOUT = 4,
  /** Incremented by the card whenever a device becomes GONE. */
  GONE_COUNT = 5,
  /** Set to 1 by the card when the poll was ended by the wake descriptor. */
  WOKEN = 6,
}

export const enum DeviceState {
  NONE = 0,
  OPEN = 1,
  /** The kernel device vanished (namespace deleted, link removed); it is silent until removed. */
  GONE = 2,
}

/** `gsoType` values, those of the virtio-net header (virtio 1.2 §5.1.6). */
export const enum Gso {
  NONE = 0,
  TCPV4 = 1,
  TCPV6 = 4,
  UDP_L4 = 5,
  /** Or-ed in: the super-frame carries ECN (CWR only on its first segment). */
  ECN = 0x80,
}

/** `fault` values: why a received frame must not be used. */
export const enum Fault {
  NONE = 0,
  /** The virtio-net header contradicts itself or the frame. */
  VNET = 1,
  /** The datagram or frame was longer than a slot. */
  TRUNCATED = 2,
}

/** `txStatus` values after a flush. */
export const enum TxStatus {
  SENT = 0,
  /** EAGAIN, ENOBUFS: the kernel's queue is full. */
  BUSY = 1,
  /** The device is gone or was never opened. */
  GONE = 2,
  /** EMSGSIZE: larger than the path or the device takes. */
  TOO_BIG = 3,
  /** The request's offsets or offload metadata are out of bounds or inconsistent. */
  INVALID = 4,
  /** Any other errno. */
  ERROR = 5,
}

/** Every field of the region in memory order, with its length in words (the arena in bytes). */
export const FIELDS = {
  control: 16,
  /** First byte of the Ethernet header, as an offset into the arena. */
  start: SLOTS,
  /** Bytes from `start`; on a UDP device first the whole datagram payload, the decapsulator moves both. */
  length: SLOTS,
  /** Card device the frame came from. */
  device: SLOTS,
  /** Partial checksum: offset from the Ethernet header where summing begins; 0 = the checksum is complete. */
  csumStart: SLOTS,
  /** Offset of the checksum field from `csumStart`. */
  csumOffset: SLOTS,
  gsoType: SLOTS,
  /** Payload bytes per segment; 0 unless a super-frame. */
  gsoSize: SLOTS,
  fault: SLOTS,
  /** Outer TOS / traffic class of a datagram. */
  tos: SLOTS,
  /** Outer source address of a datagram, 4 words. */
  remote0: SLOTS,
  remote1: SLOTS,
  remote2: SLOTS,
  remote3: SLOTS,
  free: SLOTS,
  rx: BURST,
  txSlot: TX_MAX,
  txDevice: TX_MAX,
  /** First byte to send. Bytes before the slot's `start` are a prefix, repeated before every segment. */
  txStart: TX_MAX,
  txLength: TX_MAX,
  /** Row of `remotes`; unused for TAPs. */
  txRemote: TX_MAX,
  txTos: TX_MAX,
  /** Flow hash; the card takes it modulo TX_SOCKETS. */
  txEntropy: TX_MAX,
  txStatus: TX_MAX,
  remotes: REMOTES * 5,
  devices: DEVICES,
} as const;

export type Field = keyof typeof FIELDS;

/**
 * Bytes between columns beyond their length. 1024 slots make a column 4096 bytes, and addresses 4096 apart share
 * a set of the L1 cache: without a stagger the columns of one slot would evict each other.
 */
export const STAGGER_BYTES = 320;

/** Byte offsets of every field in `FIELDS` order, then of the arena, then the region's size. Each 64-aligned. */
export function cardOffsets(): Int32Array {
  const names = Object.keys(FIELDS) as Field[];
  const offsets = new Int32Array(names.length + 2);
  let at = 0;
  names.forEach((name, i) => {
    offsets[i] = at;
    at = (at + FIELDS[name] * 4 + STAGGER_BYTES + 63) & ~63;
  });
  at = (at + 4095) & ~4095;
  offsets[names.length] = at;
  offsets[names.length + 1] = at + SLOTS * SLOT_BYTES;
  return offsets;
}

/** Typed views of one region; the same class over the card's mmap and over an in-memory twin. */
export class CardMemory {
  readonly control: Int32Array;
  readonly start: Int32Array;
  readonly length: Int32Array;
  readonly device: Int32Array;
  readonly csumStart: Int32Array;
  readonly csumOffset: Int32Array;
  readonly gsoType: Int32Array;
  readonly gsoSize: Int32Array;
  readonly fault: Int32Array;
  readonly tos: Int32Array;
  readonly remote0: Int32Array;
  readonly remote1: Int32Array;
  readonly remote2: Int32Array;
  readonly remote3: Int32Array;
  readonly free: Int32Array;
  readonly rx: Int32Array;
  readonly txSlot: Int32Array;
  readonly txDevice: Int32Array;
  readonly txStart: Int32Array;
  readonly txLength: Int32Array;
  readonly txRemote: Int32Array;
  readonly txTos: Int32Array;
  readonly txEntropy: Int32Array;
  readonly txStatus: Int32Array;
  readonly remotes: Int32Array;
  readonly devices: Int32Array;
  readonly bytes: Uint8Array;
  readonly view: DataView;

  /** @param buffer a region of at least `cardOffsets().at(-1)` bytes; all slots become free. */
  constructor(buffer: ArrayBuffer) {
    const offsets = cardOffsets();
    const names = Object.keys(FIELDS) as Field[];
    const column = (name: Field) => new Int32Array(buffer, offsets[names.indexOf(name)], FIELDS[name]);
    this.control = column('control');
    this.start = column('start');
    this.length = column('length');
    this.device = column('device');
    this.csumStart = column('csumStart');
    this.csumOffset = column('csumOffset');
    this.gsoType = column('gsoType');
    this.gsoSize = column('gsoSize');
    this.fault = column('fault');
    this.tos = column('tos');
    this.remote0 = column('remote0');
    this.remote1 = column('remote1');
    this.remote2 = column('remote2');
    this.remote3 = column('remote3');
    this.free = column('free');
    this.rx = column('rx');
    this.txSlot = column('txSlot');
    this.txDevice = column('txDevice');
    this.txStart = column('txStart');
    this.txLength = column('txLength');
    this.txRemote = column('txRemote');
    this.txTos = column('txTos');
    this.txEntropy = column('txEntropy');
    this.txStatus = column('txStatus');
    this.remotes = column('remotes');
    this.devices = column('devices');
    const arena = offsets[names.length]!;
    this.bytes = new Uint8Array(buffer, arena, SLOTS * SLOT_BYTES);
    this.view = new DataView(buffer, arena, SLOTS * SLOT_BYTES);
    for (let i = 0; i < SLOTS; i++) this.free[i] = SLOTS - 1 - i;
    this.control[Control.FREE_COUNT] = SLOTS;
  }
}
