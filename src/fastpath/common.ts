/** What the fast paths of both families do alike. */
import { Gso } from '../card/layout.ts';
import type { Packets } from '../packet/packets.ts';
import type { Runs } from '../packet/runs.ts';
import { fold } from '../wire/checksum.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { Tcp, TcpFlag } from '../wire/tcp.ts';
import { UDP_BYTES } from '../wire/udp.ts';

/** First half word of a VXLAN header as it stands on the wire, read on a little-endian machine. */
export const VXLAN_I_FLAG = 0x0008;
/** Flags that can move a connection's state. */
export const STATE_FLAGS = TcpFlag.FIN | TcpFlag.SYN | TcpFlag.RST | TcpFlag.ACK;

/** `updateField` (wire/checksum.ts) of a field and a folded delta, both in wire order. */
export const update = (field: number, delta: number): number => ~fold((~field & 0xffff) + delta) & 0xffff;

export interface Common {
  /** Size of a super-frame's largest packet. @param l4 where its checksum begins. */
  segment(slot: number, l4: number): number;
  /** Ends a run before the received frame `end`. */
  close(run: number, end: number, bytes: number): void;
}

export function createCommon({ view, memory }: Packets, runs: Runs): Common {
  const { csumStart, gsoType, gsoSize } = memory;
  const { rx, size, bytes: runBytes } = runs;

  function segment(slot: number, l4: number): number {
    const isUdp = (gsoType[slot]! & ~Gso.ECN) === Gso.UDP_L4;
    const header = isUdp ? UDP_BYTES : (view.getUint8(l4 + Tcp.DATA_OFFSET) >>> 4) << 2;
    return csumStart[slot]! - ETHERNET_BYTES + header + gsoSize[slot]!;
  }

  function close(run: number, end: number, bytes: number): void {
    size[run] = end - rx[run]!;
    runBytes[run] = bytes;
  }

  return { segment, close };
}
