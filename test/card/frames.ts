/**
 * Frames built field by field, checksums with a plain byte loop: the reference the card is compared with.
 * A super-frame and its segments come from the same function, so nothing here splits anything.
 */
export interface FrameSpec {
  v6: boolean;
  protocol: 'tcp' | 'udp';
  payload: Uint8Array;
  /** TCP sequence number. */
  sequence?: number;
  /** TCP flags, default ACK. */
  flags?: number;
  /** Bytes of TCP options, a multiple of 4. */
  tcpOptions?: number;
  /** IPv4 identification. */
  id?: number;
  /** Bytes of IPv4 options or of an IPv6 destination-options header, a multiple of 8. */
  ipOptions?: number;
  vlan?: boolean;
  /** true leaves the folded pseudo-header sum in the L4 checksum field (NEEDS_CSUM). */
  partial?: boolean;
  source?: string;
  destination?: string;
  sourcePort?: number;
}

export interface Built {
  bytes: Uint8Array;
  /** Offsets from the Ethernet header. */
  l3: number;
  l4: number;
  headers: number;
}

export const FIN = 1;
export const PSH = 8;
export const ACK = 16;
export const CWR = 0x80;

export function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i++) total += (i - from) & 1 ? bytes[i] : bytes[i] * 256;
  while (total > 0xffff) total = (total % 65536) + Math.floor(total / 65536);
  return total;
}

const fold = (value: number): number => {
  while (value > 0xffff) value = (value % 65536) + Math.floor(value / 65536);
  return value;
};

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export const mac = (last: number): number[] => [2, 0, 0, 0, 0, last];

export function build(spec: FrameSpec): Built {
  const l3 = spec.vlan ? 18 : 14;
  const options = spec.ipOptions ?? 0;
  const l4 = l3 + (spec.v6 ? 40 : 20) + options;
  const l4Header = spec.protocol === 'tcp' ? 20 + (spec.tcpOptions ?? 0) : 8;
  const headers = l4 + l4Header;
  const bytes = new Uint8Array(headers + spec.payload.length);
  const view = new DataView(bytes.buffer);
  const number = spec.protocol === 'tcp' ? 6 : 17;

  bytes.set(mac(2), 0);
  bytes.set(mac(1), 6);
  if (spec.vlan) view.setUint32(12, 0x8100_0007);
  view.setUint16(l3 - 2, spec.v6 ? 0x86dd : 0x0800);
  bytes.set(spec.payload, headers);

  let pseudo: number;
  if (spec.v6) {
    view.setUint32(l3, 0x6000_1234);
    view.setUint16(l3 + 4, bytes.length - l3 - 40);
    bytes[l3 + 6] = options ? 60 : number;
    bytes[l3 + 7] = 64;
    bytes.set([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 1], l3 + 8);
    bytes.set([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xcd, 2], l3 + 24);
    if (options) bytes.set([number, options / 8 - 1, 1, options - 4], l3 + 40);
    pseudo = sum(bytes, l3 + 8, l3 + 40);
  } else {
    bytes[l3] = 0x40 | ((20 + options) / 4);
    view.setUint16(l3 + 2, bytes.length - l3);
    view.setUint16(l3 + 4, (spec.id ?? 0) & 0xffff);
    view.setUint16(l3 + 6, 0x4000);
    bytes[l3 + 8] = 64;
    bytes[l3 + 9] = number;
    bytes.set((spec.source ?? '10.0.0.1').split('.').map(Number), l3 + 12);
    bytes.set((spec.destination ?? '10.0.0.2').split('.').map(Number), l3 + 16);
    bytes.fill(1, l3 + 20, l4);
    view.setUint16(l3 + 10, 0xffff - sum(bytes, l3, l4));
    pseudo = sum(bytes, l3 + 12, l3 + 20);
  }

  view.setUint16(l4, spec.sourcePort ?? 40_000);
  view.setUint16(l4 + 2, 5001);
  const field = l4 + (spec.protocol === 'tcp' ? 16 : 6);
  if (spec.protocol === 'tcp') {
    view.setUint32(l4 + 4, (spec.sequence ?? 1) >>> 0);
    view.setUint32(l4 + 8, 77);
    bytes[l4 + 12] = (l4Header / 4) << 4;
    bytes[l4 + 13] = spec.flags ?? ACK;
    view.setUint16(l4 + 14, 512);
    bytes.fill(1, l4 + 20, headers);
  } else {
    view.setUint16(l4 + 4, bytes.length - l4);
  }
  pseudo = fold(pseudo + number + (bytes.length - l4));
  if (spec.partial) {
    view.setUint16(field, pseudo);
  } else {
    const value = 0xffff - fold(pseudo + sum(bytes, l4, bytes.length));
    view.setUint16(field, value === 0 && spec.protocol === 'udp' ? 0xffff : value);
  }
  return { bytes, l3, l4, headers };
}

/** Bytes that repeat only after 251: a shifted or repeated segment never looks right. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 7 + seed + (i >> 8)) % 251;
  return bytes;
}

/** A frame of an experimental EtherType (IEEE 802 local), which nothing merges. */
export const apart = (length: number): Uint8Array => {
  const bytes = pattern(length);
  bytes.set([...mac(2), ...mac(1), 0x88, 0xb5]);
  return bytes;
};

/** The frames a super-frame stands for, each built from scratch. */
export function segments(spec: FrameSpec, size: number): Uint8Array[] {
  const count = Math.max(1, Math.ceil(spec.payload.length / size));
  return Array.from({ length: count }, (_, i) => {
    let flags = spec.flags ?? ACK;
    if (i > 0) flags &= ~CWR;
    if (i < count - 1) flags &= ~(FIN | PSH);
    return build({
      ...spec,
      partial: false,
      payload: spec.payload.subarray(i * size, (i + 1) * size),
      sequence: (spec.sequence ?? 1) + i * size,
      id: (spec.id ?? 0) + i,
      flags,
    }).bytes;
  });
}

/** Where things are in an untagged TCP or UDP frame without IP options, read from the frame itself. */
export function parse(frame: Uint8Array) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const v6 = view.getUint16(12) === 0x86dd;
  const l4 = v6 ? 54 : 34;
  const tcp = frame[v6 ? 20 : 23] === 6;
  return {
    view,
    v6,
    tcp,
    l4,
    field: l4 + (tcp ? 16 : 6),
    headers: l4 + (tcp ? (frame[l4 + 12] >> 4) * 4 : 8),
    /** Of the packet, without what pads the frame. */
    end: 14 + (v6 ? 40 + view.getUint16(18) : view.getUint16(16)),
    df: !v6 && (frame[20] & 0x40) !== 0,
  };
}

/** The sum of the pseudo-header, which a partial checksum field holds. */
export function pseudoSum(frame: Uint8Array): number {
  const { v6, tcp, l4, end } = parse(frame);
  return fold(sum(frame, v6 ? 22 : 26, l4) + (tcp ? 6 : 17) + end - l4);
}

/** Makes every checksum right, in place. */
export function resum(frame: Uint8Array): Uint8Array {
  const { view, v6, tcp, l4, field, end } = parse(frame);
  if (!v6) {
    view.setUint16(24, 0);
    view.setUint16(24, 0xffff - sum(frame, 14, 34));
  }
  view.setUint16(field, 0);
  const value = 0xffff - fold(pseudoSum(frame) + sum(frame, l4, end));
  view.setUint16(field, value === 0 && !tcp ? 0xffff : value);
  return frame;
}

/** What a NIC makes of a super-frame, from nothing but its bytes and its segment size. */
export function split(frame: Uint8Array, size: number): Uint8Array[] {
  const { v6, tcp, l4, headers, end } = parse(frame);
  const count = Math.ceil((end - headers) / size);
  return Array.from({ length: count }, (_, i) => {
    const payload = frame.subarray(headers + i * size, Math.min(headers + (i + 1) * size, end));
    const bytes = Uint8Array.of(...frame.subarray(0, headers), ...payload);
    const view = new DataView(bytes.buffer);
    if (v6) {
      view.setUint16(18, bytes.length - 54);
    } else {
      view.setUint16(16, bytes.length - 14);
      view.setUint16(18, view.getUint16(18) + i);
    }
    if (tcp) {
      view.setUint32(l4 + 4, view.getUint32(l4 + 4) + i * size);
      if (i < count - 1) bytes[l4 + 13] &= ~(FIN | PSH);
    } else {
      view.setUint16(l4 + 4, bytes.length - l4);
    }
    return resum(bytes);
  });
}
