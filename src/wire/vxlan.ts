/**
 * VXLAN (RFC 7348 §5):
 *
 *   +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *  0|R|R|R|R|I|R|R|R|                   reserved                    |
 *  4|        VXLAN network identifier (VNI)        |    reserved    |
 *   +---------------------------------------------------------------+
 */
export const VXLAN_BYTES = 8;
/** V1: I flag set, everything else zero. */
export const VXLAN_FLAGS = 0x08000000;
/** The reserved bits of the first word (X1). */
export const VXLAN_RESERVED_FLAGS = 0xf7ffffff | 0;

/** Outer IP + UDP + VXLAN + inner Ethernet: what an inner IP packet grows by (V15). */
export const VXLAN_OVERHEAD_4 = 50;
export const VXLAN_OVERHEAD_6 = 70;

export function writeVxlan(view: DataView, at: number, vni: number): void {
  view.setInt32(at, VXLAN_FLAGS);
  view.setInt32(at + 4, vni << 8);
}
