/**
 * TCP (RFC 9293 §3.1), offsets from the header:
 *
 *  0 | source port 16 | destination port 16 |
 *  4 | sequence number 32 |
 *  8 | acknowledgment number 32 |
 * 12 | data offset 4 | reserved 4 | CWR ECE URG ACK PSH RST SYN FIN | window 16 |
 * 16 | checksum 16 | urgent pointer 16 |
 */
export const TCP_BYTES = 20;

export const enum Tcp {
  SOURCE_PORT = 0,
  DESTINATION_PORT = 2,
  SEQUENCE = 4,
  ACKNOWLEDGMENT = 8,
  DATA_OFFSET = 12,
  FLAGS = 13,
  WINDOW = 14,
  CHECKSUM = 16,
}

export const enum TcpFlag {
  FIN = 1,
  SYN = 2,
  RST = 4,
  PSH = 8,
  ACK = 16,
}

/** Option kinds and the length of their whole (RFC 9293 §3.1, RFC 7323 §2.2, RFC 2018). */
export const enum TcpOption {
  END = 0,
  NOP = 1,
  WINDOW_SCALE = 3,
  SACK_PERMITTED = 4,
  SACK = 5,
}

/** RFC 7323 §2.3. */
export const MAX_WINDOW_SCALE = 14;

/**
 * Writes the header at `out` of a reset that refuses the segment at `tcp`, of `length` bytes (RFC 9293 §3.10.7.1).
 * Its checksum stays 0.
 */
export function writeTcpRefusal(view: DataView, out: number, tcp: number, length: number): void {
  const flags = view.getUint8(tcp + Tcp.FLAGS);
  view.setUint16(out, view.getUint16(tcp + Tcp.DESTINATION_PORT));
  view.setUint16(out + 2, view.getUint16(tcp + Tcp.SOURCE_PORT));
  if ((flags & TcpFlag.ACK) !== 0) {
    view.setInt32(out + Tcp.SEQUENCE, view.getInt32(tcp + Tcp.ACKNOWLEDGMENT));
    view.setInt32(out + Tcp.ACKNOWLEDGMENT, 0);
    view.setInt32(out + Tcp.DATA_OFFSET, 0x50040000);
  } else {
    const data = Math.max(0, length - ((view.getUint8(tcp + Tcp.DATA_OFFSET) >>> 4) << 2));
    const used = data + ((flags & TcpFlag.SYN) !== 0 ? 1 : 0) + ((flags & TcpFlag.FIN) !== 0 ? 1 : 0);
    view.setInt32(out + Tcp.SEQUENCE, 0);
    view.setInt32(out + Tcp.ACKNOWLEDGMENT, (view.getInt32(tcp + Tcp.SEQUENCE) + used) | 0);
    view.setInt32(out + Tcp.DATA_OFFSET, 0x50140000);
  }
  view.setInt32(out + Tcp.CHECKSUM, 0);
}
