import { describe, expect, it } from 'vitest';
import { Fabric, IPS, MACS } from '../fabric.ts';
import { arp, checksumsAreRight, ethernet, ipv4, ipv6, readIpv4, toHex, udp } from '../frames.ts';

/** RFC 6040 §4.2 as semantics V12 prints it: rows are the inner field, columns the outer one. */
const ECN = { 'Not-ECT': 0b00, 'ECT(0)': 0b10, 'ECT(1)': 0b01, CE: 0b11 } as const;
type Name = keyof typeof ECN;
const COLUMNS: Name[] = ['Not-ECT', 'ECT(0)', 'ECT(1)', 'CE'];
const TABLE: Record<Name, (Name | 'drop')[]> = {
  'Not-ECT': ['Not-ECT', 'Not-ECT', 'Not-ECT', 'drop'],
  'ECT(0)': ['ECT(0)', 'ECT(0)', 'ECT(1)', 'CE'],
  'ECT(1)': ['ECT(1)', 'ECT(1)', 'ECT(1)', 'CE'],
  CE: ['CE', 'CE', 'CE', 'CE'],
};
const CELLS = COLUMNS.flatMap((inner) =>
  COLUMNS.map((outer, i) => ({ inner, outer, result: TABLE[inner][i]! })),
);
const DSCP = 0xb8;

describe('decapsulation', () => {
  it.each(CELLS)('V12: IPv4 inner $inner, outer $outer → $result', ({ inner, outer, result }) => {
    const fabric = new Fabric();
    const packet = udp({ from: IPS.far, to: IPS.a, sport: 1, dport: 2, tos: DSCP | ECN[inner] });
    const sent = fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, packet), {
      tos: 0x28 | ECN[outer],
    });
    if (result === 'drop') {
      expect(sent).toEqual([]);
      expect(fabric.drops()).toEqual({ ECN: 1 });
      return;
    }
    const { tos, packet: out } = readIpv4(sent[0]!.frame);
    expect(tos).toBe(DSCP | ECN[result]);
    expect(checksumsAreRight(out)).toBe(true);
    expect(toHex(out.subarray(12))).toBe(toHex(Uint8Array.from(packet.slice(12))));
  });

  it.each(CELLS)('V12: IPv6 inner $inner, outer $outer → $result', ({ inner, outer, result }) => {
    const fabric = new Fabric();
    const packet = ipv6(
      { from: 'fd00::2', to: 'fd00::1', protocol: 59, trafficClass: DSCP | ECN[inner] },
      [1, 2],
    );
    packet[1] = packet[1]! | 0x0a;
    packet[2] = 0xbc;
    packet[3] = 0xde;
    const frame = ethernet({ src: MACS.far, dst: MACS.a, type: 0x86dd }, packet);
    const sent = fabric.fromPeer('p', frame, { tos: ECN[outer] });
    if (result === 'drop') {
      expect(sent).toEqual([]);
      expect(fabric.drops()).toEqual({ ECN: 1 });
      return;
    }
    const expected = frame.slice();
    expected[15] = (frame[15]! & 0x0f) | (((DSCP | ECN[result]) & 15) << 4);
    expect(toHex(sent[0]!.frame)).toBe(toHex(expected));
  });

  it('V12: a fragment carries its mark too', () => {
    const fabric = new Fabric();
    const packet = ipv4(
      { from: IPS.far, to: IPS.a, protocol: 17, tos: 2, fragment: 0x2005 },
      [1, 2, 3, 4, 5, 6, 7, 8],
    );
    const [sent] = fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, packet), { tos: 3 });
    expect(readIpv4(sent!.frame).tos).toBe(3);
  });

  it('V12: a dropped mark teaches nothing', () => {
    const fabric = new Fabric();
    const packet = udp({ from: IPS.far, to: IPS.a, sport: 1, dport: 2 });
    fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, packet), { tos: 3 });
    expect(fabric.dataplane.pipeline.bridge.fdbs[0]!.locate(0x0200, 0x101, fabric.dataplane.now)).toBe(-1);
  });

  it.each(COLUMNS)('V13: frames that are not IP are delivered whatever the outer field: %s', (outer) => {
    const fabric = new Fabric();
    const tos = ECN[outer];
    const raw = ethernet({ src: MACS.far, dst: MACS.a, type: 0x88b5 }, [1, 2, 3]);
    expect(fabric.fromPeer('p', raw, { tos }).map((s) => toHex(s.frame))).toEqual([toHex(raw)]);
    const question = arp({ op: 'request', senderMac: MACS.far, senderIp: IPS.far, targetIp: '10.77.0.99' });
    expect(fabric.fromPeer('p', question, { tos })).toHaveLength(3);
  });

  it('V13: a frame that only claims to be IP is carried untouched', () => {
    const fabric = new Fabric();
    const broken = ethernet({ src: MACS.far, dst: MACS.a }, [0x45, 0, 0xff, 0xff, 1, 2]);
    expect(fabric.fromPeer('p', broken, { tos: 3 }).map((s) => toHex(s.frame))).toEqual([toHex(broken)]);
  });
});
