/** Forwarding: where an admitted frame goes, and in what shape (B15, B16, B19–B22). */
import { describe, expect, it } from 'vitest';
import { Gso } from '../../src/card/layout.ts';
import type { Op } from '../../src/dataplane/config.ts';
import { Fabric, IPS, MACS, network, peer, type Sent } from '../fabric.ts';
import { arp, echoRequest, ethernet, mac, tcp, toHex, udp } from '../frames.ts';

const names = (sent: readonly Sent[]): string[] => sent.map(({ to }) => to).sort();
const having = (...ops: Op[]): Fabric => new Fabric([...Fabric.standing(), ...ops]);
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const STRANGER = '06:00:00:00:00:01';
const GROUP = '01:00:5e:01:02:03';
const frame = (dst: string, src = MACS.a): Uint8Array => ethernet({ src, dst, type: 0x88b5 }, [1, 2, 3]);

describe('known unicast', () => {
  it('B15: leaves by exactly one port or tunnel', () => {
    const fabric = new Fabric();
    fabric.fromPeer('q', frame(MACS.a, STRANGER));
    expect(names(fabric.from('a', frame(MACS.b)))).toEqual(['b']);
    expect(names(fabric.from('a', frame(STRANGER)))).toEqual(['q']);
    expect(names(fabric.fromPeer('p', frame(MACS.c, MACS.far)))).toEqual(['c']);
  });

  it('B15: is not sent back to the port it came from', () => {
    const fabric = new Fabric();
    fabric.from('a', frame(BROADCAST, STRANGER));
    expect(fabric.from('a', frame(STRANGER))).toEqual([]);
    expect(fabric.drops()).toEqual({ REFLECTION: 1 });
  });

  it('B15: the sources of a whole burst are learned before any of it is forwarded', () => {
    const fabric = new Fabric();
    fabric.card.receive({ device: 10, bytes: frame(STRANGER) });
    fabric.card.receive({ device: 11, bytes: frame(MACS.a, STRANGER) });
    expect(names(fabric.settle())).toEqual(['a', 'b']);
  });
});

describe('flooding', () => {
  const arpQuestion = arp({ op: 'request', senderMac: MACS.a, senderIp: IPS.a, targetIp: '10.77.0.99' });
  const policies: [string, Op[], Uint8Array, string[]][] = [
    ['unknown unicast', [], frame(STRANGER), ['b', 'c', 'p', 'q']],
    ['broadcast', [], frame(BROADCAST), ['b', 'c', 'p', 'q']],
    ['multicast', [], frame(GROUP), ['b', 'c', 'p', 'q']],
    [
      'unknown unicast, policy drop',
      [{ op: 'network', network: network({ unknownUnicast: 'drop' }) }],
      frame(STRANGER),
      [],
    ],
    [
      'broadcast, policy drop',
      [{ op: 'network', network: network({ broadcast: 'drop' }) }],
      frame(BROADCAST),
      [],
    ],
    [
      'multicast, policy drop',
      [{ op: 'network', network: network({ multicast: 'drop' }) }],
      frame(GROUP),
      [],
    ],
    [
      'broadcast, policy arp-only',
      [{ op: 'network', network: network({ broadcast: 'arp-only' }) }],
      frame(BROADCAST),
      [],
    ],
    [
      'ARP, policy arp-only',
      [{ op: 'network', network: network({ broadcast: 'arp-only' }) }],
      arpQuestion,
      ['b', 'c', 'p', 'q'],
    ],
    ['ARP, policy drop', [{ op: 'network', network: network({ broadcast: 'drop' }) }], arpQuestion, []],
    [
      'multicast while broadcast is dropped',
      [{ op: 'network', network: network({ broadcast: 'drop', unknownUnicast: 'drop' }) }],
      frame(GROUP),
      ['b', 'c', 'p', 'q'],
    ],
    [
      'a peer that takes no floods',
      [{ op: 'peer', peer: peer('q', { flood: false }) }],
      frame(BROADCAST),
      ['b', 'c', 'p'],
    ],
    ['without a port that left', [{ op: 'remove-port', id: 3 }], frame(BROADCAST), ['c', 'p', 'q']],
  ];
  for (const [name, ops, bytes, to] of policies) {
    it(`B16: ${name} → ${to.join(', ') || 'nobody'}`, () => {
      const fabric = having(...ops);
      const sent = fabric.from('a', bytes);
      expect(names(sent)).toEqual(to);
      for (const copy of sent) expect(toHex(copy.frame)).toBe(toHex(bytes));
      expect(fabric.drops()).toEqual(to.length > 0 ? {} : { POLICY_FLOOD: 1 });
    });
  }

  it('B16, V31: what came through a tunnel is flooded to ports only', () => {
    const fabric = new Fabric();
    for (const dst of [BROADCAST, GROUP, STRANGER]) {
      expect(names(fabric.fromPeer('p', frame(dst, MACS.far)))).toEqual(['a', 'b', 'c']);
    }
  });
});

describe('bytes', () => {
  const shapes: [string, Uint8Array][] = [
    ['14 bytes, no payload', ethernet({ src: MACS.a, dst: MACS.b, type: 0x88b5 })],
    ['15 bytes', ethernet({ src: MACS.a, dst: MACS.b, type: 0x88b5 }, [255])],
    ['59 bytes', ethernet({ src: MACS.a, dst: MACS.b, type: 0x88b5 }, Array(45).fill(7))],
    [
      'padded ARP reply',
      Uint8Array.from([
        ...arp({ op: 'reply', senderMac: MACS.a, senderIp: IPS.a, targetMac: MACS.b, targetIp: IPS.b }),
        ...Array(18).fill(0xa5),
      ]),
    ],
    [
      'IPv4 with trailing bytes',
      ethernet({ src: MACS.a, dst: MACS.b }, [...echoRequest(IPS.a, IPS.b), 9, 9, 9]),
    ],
    [
      'UDP with a wrong checksum',
      ethernet({ src: MACS.a, dst: MACS.b }, [
        ...udp({ from: IPS.a, to: IPS.b, sport: 1, dport: 2 }).slice(0, 26),
        0xde,
        0xad,
        1,
        2,
        3,
        4,
      ]),
    ],
    ['the largest frame', ethernet({ src: MACS.a, dst: MACS.b, type: 0x88b5 }, Array(1450).fill(3))],
  ];
  for (const [name, bytes] of shapes) {
    it(`B19: delivered as it came: ${name}`, () => {
      const fabric = new Fabric();
      const [sent, ...more] = fabric.from('a', bytes);
      expect(more).toEqual([]);
      expect(sent!.to).toBe('b');
      expect(toHex(sent!.frame)).toBe(toHex(bytes));
    });

    it(`B19, V8: carried through a tunnel as it came: ${name}`, () => {
      const fabric = new Fabric();
      const there = Uint8Array.from([...mac(MACS.far), ...bytes.subarray(6)]);
      const back = Uint8Array.from([...mac(MACS.a), ...mac(MACS.far), ...bytes.subarray(12)]);
      expect(fabric.fromPeer('p', back).map(({ to, frame: got }) => [to, toHex(got)])).toEqual([
        ['a', toHex(back)],
      ]);
      expect(fabric.from('a', there).map(({ to, frame: got }) => [to, toHex(got)])).toEqual([
        ['p', toHex(there)],
      ]);
    });
  }

  it('B19: a partial checksum and a super-frame pass with their metadata', () => {
    const fabric = new Fabric();
    const packet = tcp({
      from: IPS.a,
      to: IPS.b,
      sport: 1,
      dport: 2,
      flags: 'A',
      payload: Array(5000).fill(1),
    });
    const bytes = ethernet({ src: MACS.a, dst: MACS.b }, packet);
    const offload = { csumStart: 34, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1410 };
    const [sent] = fabric.from('a', bytes, offload);
    expect(sent!.raw).toMatchObject(offload);
    expect(toHex(sent!.frame)).toBe(toHex(bytes));
  });
});

describe('size', () => {
  for (let length = 0; length < 14; length += length < 12 ? 6 : 1) {
    it(`B20: ${length} bytes are no frame`, () => {
      const fabric = new Fabric();
      expect(fabric.from('a', frame(MACS.b).subarray(0, length))).toEqual([]);
      expect(fabric.drops()).toEqual({ SHORT_FRAME: 1 });
    });
  }

  const tagged = (payload: number) =>
    ethernet({ src: MACS.a, dst: MACS.b, type: 0x8100 }, [0, 7, 0x88, 0xb5, ...Array(payload).fill(0)]);
  const plain = (payload: number) =>
    ethernet({ src: MACS.a, dst: MACS.b, type: 0x88b5 }, Array(payload).fill(0));
  for (const [name, bytes, fits] of [
    ['a frame of the MTU', plain(1450), true],
    ['one byte more', plain(1451), false],
    ['a tagged frame of the MTU', tagged(1450), true],
    ['one byte more with a tag', tagged(1451), false],
  ] as const) {
    it(`B20: ${name} is ${fits ? 'sent' : 'dropped whole'}`, () => {
      const fabric = new Fabric();
      expect(names(fabric.from('a', bytes))).toEqual(fits ? ['b'] : []);
      expect(fabric.drops()).toEqual(fits ? {} : { TOO_BIG: 1 });
    });
  }

  for (const [gsoSize, fits] of [
    [1410, true],
    [1411, false],
  ] as const) {
    it(`B20: a super-frame is judged by its segments: ${gsoSize} bytes ${fits ? 'fit' : 'do not'}`, () => {
      const fabric = new Fabric();
      const packet = tcp({
        from: IPS.a,
        to: IPS.b,
        sport: 1,
        dport: 2,
        flags: 'A',
        payload: Array(9000).fill(1),
      });
      const sent = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.b }, packet), {
        csumStart: 34,
        csumOffset: 16,
        gsoType: Gso.TCPV4,
        gsoSize,
      });
      expect(names(sent).filter((to) => to === 'b')).toEqual(fits ? ['b'] : []);
      expect(fabric.drops()).toEqual(fits ? {} : { TOO_BIG: 1 });
    });
  }
});

describe('types', () => {
  const bad = (change: (packet: number[]) => void): number[] => {
    const packet = udp({ from: IPS.a, to: IPS.b, sport: 5, dport: 6 });
    change(packet);
    return packet;
  };
  const payloads: [string, number, number[]][] = [
    ['IPv4', 0x0800, echoRequest(IPS.a, IPS.b)],
    ['IPv6', 0x86dd, [0x60, 0, 0, 0, 0, 0, 59, 64, ...Array(32).fill(1)]],
    ['an LLC length', 0x0026, [0x42, 0x42, 3, 0, 0]],
    ['length 0', 0, [1, 2, 3]],
    ['type ffff', 0xffff, [1]],
    ['MPLS', 0x8847, [0, 1, 2, 3]],
    ['a VLAN tag', 0x8100, [0x20, 7, 8, 0, ...echoRequest(IPS.a, IPS.b)]],
    ['RARP', 0x8035, Array(28).fill(1)],
    ['short IPv4', 0x0800, [0x45, 0, 0]],
    ['IPv4 of version 5', 0x0800, bad((p) => p.splice(0, 1, 0x55))],
    ['IPv4 with a header of 4 bytes', 0x0800, bad((p) => p.splice(0, 1, 0x41))],
    ['IPv4 that says it is longer than it is', 0x0800, bad((p) => p.splice(2, 2, 0xff, 0xff))],
    ['IPv4 shorter than its header', 0x0800, bad((p) => p.splice(2, 2, 0, 19))],
    ['IPv4 with a wrong checksum', 0x0800, bad((p) => p.splice(10, 2, 1, 2))],
    ['truncated IPv6', 0x86dd, [0x60, 0, 0, 0]],
    ['ARP of another hardware', 0x0806, [0, 6, 8, 0, 6, 4, 0, 1, ...Array(20).fill(0)]],
  ];
  for (const [name, type, payload] of payloads) {
    it(`B21: bridged whatever it says: ${name}`, () => {
      const fabric = new Fabric();
      const bytes = ethernet({ src: MACS.a, dst: MACS.b, type }, payload);
      expect(fabric.from('a', bytes).map(({ to, frame: got }) => [to, toHex(got)])).toEqual([
        ['b', toHex(bytes)],
      ]);
    });
  }
});

describe('reserved group addresses', () => {
  const all = Array.from({ length: 16 }, (_, n) => `01:80:c2:00:00:0${n.toString(16)}`);

  for (const dst of all) {
    it(`B22: ${dst} is not forwarded`, () => {
      const fabric = new Fabric();
      expect(fabric.from('a', frame(dst))).toEqual([]);
      expect(fabric.fromPeer('p', frame(dst, MACS.far))).toEqual([]);
      expect(fabric.drops()).toEqual({ RESERVED_DESTINATION: 2 });
    });

    it(`B22: ${dst} with \`reserved: forward\``, () => {
      const fabric = having({ op: 'network', network: network({ reserved: 'forward' }) });
      const isPause = dst.endsWith('01');
      expect(names(fabric.from('a', frame(dst)))).toEqual(isPause ? [] : ['b', 'c', 'p', 'q']);
      expect(fabric.drops()).toEqual(isPause ? { RESERVED_DESTINATION: 1 } : {});
    });
  }

  for (const dst of ['01:80:c2:00:00:10', '01:80:c2:00:00:21', '01:80:c2:00:01:00', '01:80:c3:00:00:00']) {
    it(`B22: ${dst} is ordinary multicast`, () => {
      expect(names(new Fabric().from('a', frame(dst)))).toEqual(['b', 'c', 'p', 'q']);
    });
  }
});
