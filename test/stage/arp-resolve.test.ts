/** The daemon's own questions: resolution for the router, and announcements (A13–A15). */
import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { NeighborRow } from '../../src/dataplane/messages.ts';
import { Counter, FIRST_PEER } from '../../src/telemetry/counters.ts';
import { address4, Fabric, IPS, MACS, macOf, network, peer, port, type Sent } from '../fabric.ts';
import { arp, checksumsAreRight, ethernet, readIpv4, toHex, udp } from '../frames.ts';

const names = (sent: readonly Sent[]): string[] => sent.map(({ to }) => to).sort();
const STATION = '10.77.0.99';
const STATION_MAC = '06:00:00:00:00:99';
const ALL = ['a', 'b', 'c', 'p', 'q'];
/** A packet of port a through the gateway, recognisable by its number. */
const packet = (n = 0, to = STATION): Uint8Array =>
  ethernet(
    { src: MACS.a, dst: MACS.gateway },
    udp({ from: IPS.a, to, sport: 1000, dport: 2000, payload: [n >>> 8, n & 255] }),
  );
const numbers = (sent: readonly Sent[]): number[] =>
  sent.filter(({ frame }) => frame.length === 44).map(({ frame }) => (frame[42]! << 8) | frame[43]!);
const answer = (senderMac = STATION_MAC, senderIp = STATION): Uint8Array =>
  arp({ op: 'reply', senderMac, senderIp, targetMac: MACS.router, targetIp: '0.0.0.0' });
const question = (targetIp = STATION): Uint8Array =>
  arp({ op: 'request', senderMac: MACS.router, senderIp: '0.0.0.0', targetIp });
const isArp = ({ frame }: Sent): boolean => frame[12] === 8 && frame[13] === 6;
const stateOf = (fabric: Fabric, ip = STATION): string | undefined =>
  (dump(fabric.dataplane, 'neighbors') as NeighborRow[]).find((row) => row.ip === ip)?.state;
const resolved = (): Fabric => {
  const fabric = new Fabric();
  fabric.from('a', packet());
  fabric.from('b', answer());
  return fabric;
};

describe('asking', () => {
  it('A14: asks everywhere, with the router MAC and no sender address', () => {
    const fabric = new Fabric();
    const sent = fabric.from('a', packet());
    expect(names(sent)).toEqual(ALL);
    for (const { frame } of sent) expect(toHex(frame)).toBe(toHex(question()));
  });

  it('A13: asks three times, a second apart, then gives up', () => {
    const fabric = new Fabric();
    const times = fabric.from('a', packet()).some(isArp) ? [fabric.card.now] : [];
    for (let i = 0; i < 60; i++) {
      if (fabric.advance(100).some(isArp)) times.push(fabric.card.now);
    }
    expect(times.map((at) => at - times[0]!)).toEqual([0, 1000, 2000]);
    expect(stateOf(fabric)).toBeUndefined();
  });

  it('A13: packets that wait share one question', () => {
    const fabric = new Fabric();
    fabric.from('a', packet(0));
    for (let n = 1; n < 10; n++) expect(fabric.from('a', packet(n))).toEqual([]);
    expect(fabric.count('a', Counter.HELD)).toBe(10);
  });

  it('A13: the answer releases what waits, in order, addressed and routed', () => {
    const fabric = new Fabric();
    for (let n = 0; n < 5; n++) fabric.from('a', packet(n));
    const sent = fabric.from('b', answer());
    expect(names(sent)).toEqual(['b', 'b', 'b', 'b', 'b']);
    expect(numbers(sent)).toEqual([0, 1, 2, 3, 4]);
    const first = readIpv4(sent[0]!.frame);
    expect(first).toMatchObject({ dst: STATION_MAC, src: MACS.gateway, from: IPS.a, to: STATION, ttl: 63 });
    expect(checksumsAreRight(first.packet)).toBe(true);
    expect(fabric.count('a', Counter.HELD)).toBe(0);
    expect(fabric.from('a', packet(7)).length).toBe(1);
  });

  it('A13, B18: a packet that arrives with the answer does not overtake those that waited', () => {
    const fabric = new Fabric();
    fabric.from('a', packet(0));
    fabric.from('a', packet(1));
    fabric.card.receive({ device: 11, bytes: answer() });
    fabric.card.receive({ device: 10, bytes: packet(2) });
    expect(numbers(fabric.settle())).toEqual([0, 1, 2]);
  });

  it('A13: 64 packets wait for one address, the oldest leaves first', () => {
    const fabric = new Fabric();
    for (let n = 0; n < 70; n++) fabric.from('a', packet(n));
    expect(fabric.drops()).toEqual({ NEIGHBOR_PENDING_FULL: 6 });
    expect(fabric.count('a', Counter.HELD)).toBe(64);
    expect(numbers(fabric.from('b', answer()))).toEqual(Array.from({ length: 64 }, (_, n) => n + 6));
  });

  it('A13: one sender holds 64 packets in all, and costs no other its own', () => {
    const fabric = new Fabric();
    for (let n = 0; n < 80; n++) fabric.from('a', packet(n, `10.77.0.${100 + (n & 7)}`));
    expect(fabric.drops()).toEqual({ NEIGHBOR_PENDING_FULL: 16 });
    expect(fabric.count('a', Counter.HELD)).toBe(64);
    fabric.from(
      'b',
      ethernet({ src: MACS.b, dst: MACS.gateway }, udp({ from: IPS.b, to: STATION, sport: 1, dport: 2 })),
    );
    expect(fabric.count('b', Counter.HELD)).toBe(1);
  });

  it('A11, A13: a port that scans its subnet costs no other network its neighbours', () => {
    const fabric = new Fabric();
    fabric.from(
      'r',
      arp({ op: 'request', senderMac: MACS.a, senderIp: '10.77.0.50', targetIp: '10.77.0.51' }),
    );
    const { neighbors } = fabric.dataplane.pipeline;
    expect(neighbors.find4(1, address4('10.77.0.50')[3])).toBeGreaterThanOrEqual(0);
    fabric.dataplane.apply([
      {
        op: 'network',
        network: network({
          subnets: [{ address: address4('10.64.0.0'), prefix: 106, gateway: address4(IPS.gateway) }],
        }),
      },
    ]);
    for (let n = 0; n < 2000; n++) {
      fabric.card.receive({ device: 10, bytes: packet(n, `10.100.${n >>> 8}.${n & 255}`) });
    }
    fabric.settle();
    expect(neighbors.find4(1, address4('10.77.0.50')[3])).toBeGreaterThanOrEqual(0);
    const asked = fabric.from(
      'r',
      ethernet(
        { src: MACS.r, dst: MACS.redGateway },
        udp({ from: IPS.a, to: '10.77.0.99', sport: 1, dport: 2 }),
      ),
    );
    expect(asked.filter(isArp).length).toBeGreaterThan(0);
  });

  it('A13: failure is told to the senders by ICMP 3/1, and the address is forgotten', () => {
    const fabric = new Fabric();
    fabric.from('a', packet(1));
    const sent = fabric.wait(3000).filter((one) => !isArp(one));
    expect(names(sent)).toEqual(['a']);
    const error = readIpv4(sent[0]!.frame);
    expect(error).toMatchObject({
      icmp: '3/1',
      from: IPS.gateway,
      to: IPS.a,
      src: MACS.gateway,
      dst: MACS.a,
    });
    expect(checksumsAreRight(error.packet)).toBe(true);
    expect([...error.body.subarray(8 + 16, 8 + 20)]).toEqual([10, 77, 0, 99]);
    expect(fabric.drops()).toEqual({ NEIGHBOR_FAILED: 1 });
    expect(stateOf(fabric)).toBeUndefined();
  });

  it('A13: every waiting packet of a failed address is dropped, one error per sender and second', () => {
    const fabric = new Fabric();
    for (let n = 0; n < 20; n++) fabric.from('a', packet(n));
    const errors = fabric.wait(3000).filter((one) => !isArp(one));
    expect(names(errors)).toEqual(['a']);
    expect(fabric.drops()).toEqual({ NEIGHBOR_FAILED: 20 });
  });

  it('A13: after failure only a new packet makes a new attempt', () => {
    const fabric = new Fabric();
    fabric.from('a', packet());
    fabric.wait(3000);
    expect(fabric.wait(20_000)).toEqual([]);
    expect(names(fabric.from('a', packet()))).toEqual(ALL);
  });

  it('A13: an announcement or question of the station is an answer too', () => {
    const fabric = new Fabric();
    fabric.from('a', packet(3));
    const sent = fabric.from(
      'c',
      arp({ op: 'request', senderMac: STATION_MAC, senderIp: STATION, targetIp: IPS.a }),
    );
    expect(numbers(sent)).toEqual([3]);
  });

  it('A13: so is a configured binding', () => {
    const fabric = new Fabric();
    fabric.from('a', packet(4));
    fabric.dataplane.apply([
      {
        op: 'peer',
        peer: peer('p', { static: [{ network: 0, mac: macOf(STATION_MAC), address: address4(STATION) }] }),
      },
    ]);
    const sent = fabric.settle();
    expect(names(sent)).toEqual(['p']);
    expect(numbers(sent)).toEqual([4]);
  });

  it('A13: with its network gone, nothing waits any longer', () => {
    const fabric = new Fabric();
    fabric.from('a', packet());
    const ops: Op[] = [2, 3, 4].map((id): Op => ({ op: 'remove-port', id }));
    fabric.dataplane.apply([...ops, { op: 'peer', peer: peer('q', { memberships: [] }) }]);
    fabric.dataplane.apply([{ op: 'remove-network', id: 0 }]);
    fabric.settle();
    expect(fabric.drops()).toMatchObject({ NEIGHBOR_FAILED: 1 });
    expect(fabric.wait(5000)).toEqual([]);
  });
});

describe('asking again', () => {
  it('A13: a known address is verified between 15 and 45 s, by unicast, and stays in use meanwhile', () => {
    const fabric = resolved();
    const probes: number[] = [];
    const start = fabric.card.now;
    for (let i = 0; i < 460 && probes.length === 0; i++) {
      const sent = fabric.advance(100);
      expect(sent).toEqual([]);
      const answered = fabric.from('a', packet(i));
      expect(numbers(answered)).toEqual([i]);
      const asked = answered.filter(isArp);
      if (asked.length === 0) continue;
      probes.push(fabric.card.now - start);
      expect(names(asked)).toEqual(['b']);
      expect(toHex(asked[0]!.frame)).toBe(
        toHex(
          arp({
            op: 'request',
            senderMac: MACS.router,
            senderIp: '0.0.0.0',
            targetIp: STATION,
            dst: STATION_MAC,
          }),
        ),
      );
    }
    expect(probes.length).toBe(1);
    expect(probes[0]).toBeGreaterThanOrEqual(15_000);
    expect(probes[0]).toBeLessThanOrEqual(45_000);
    expect(stateOf(fabric)).toBe('probing');
    fabric.from('b', answer());
    expect(stateOf(fabric)).toBe('reachable');
    expect(fabric.wait(10_000)).toEqual([]);
  });

  it('A13: the moments of verification are spread', () => {
    const fabric = new Fabric();
    const due = new Set<number>();
    for (let n = 0; n < 40; n++) {
      fabric.from('a', packet(0, `10.77.0.${100 + n}`));
      fabric.from('b', answer(STATION_MAC, `10.77.0.${100 + n}`));
    }
    for (let second = 1; second <= 45; second++) {
      fabric.advance(1000);
      for (let n = 0; n < 40; n++) {
        const asked = fabric.from('a', packet(0, `10.77.0.${100 + n}`)).some(isArp);
        if (asked) {
          due.add(second);
          fabric.from('b', answer(STATION_MAC, `10.77.0.${100 + n}`));
        }
      }
    }
    expect(due.size).toBeGreaterThan(10);
  });

  it('A13: three unanswered questions, and the next packet waits', () => {
    const fabric = resolved();
    fabric.advance(45_000);
    fabric.from('a', packet());
    expect(stateOf(fabric)).toBe('probing');
    expect(names(fabric.advance(1000))).toEqual(['b']);
    expect(numbers(fabric.from('a', packet(5)))).toEqual([5]);
    expect(names(fabric.advance(1000))).toEqual(['b']);
    expect(fabric.advance(1000)).toEqual([]);
    expect(stateOf(fabric)).toBeUndefined();
    const sent = fabric.from('a', packet());
    expect(names(sent)).toEqual(ALL);
    expect(toHex(sent[0]!.frame)).toBe(toHex(question()));
  });

  it('A13: verification is due even when the clock wrapped since', () => {
    const fabric = resolved();
    fabric.advance(2_000_000_000);
    fabric.advance(1_000_000_000);
    expect(fabric.from('a', packet()).some(isArp)).toBe(true);
  });
});

describe('which MAC routed frames carry', () => {
  it('A14: the gateway’s to a port, the router’s into a tunnel', () => {
    const fabric = new Fabric();
    fabric.fromPeer('p', answer(MACS.far, IPS.far));
    const [toPeer] = fabric.from('a', packet(0, IPS.far));
    expect(toPeer!.to).toBe('p');
    expect(readIpv4(toPeer!.frame)).toMatchObject({ src: MACS.router, dst: MACS.far, ttl: 63 });
    const [toPort] = fabric.from('a', packet(0, IPS.b));
    expect(toPort!.to).toBe('b');
    expect(readIpv4(toPort!.frame)).toMatchObject({ src: MACS.gateway, dst: MACS.b, ttl: 63 });
  });

  it('A14: the gateway MAC enters no tunnel, not even with a routed frame that is flooded', () => {
    const fabric = new Fabric();
    fabric.fromPeer('p', answer(MACS.far, IPS.far));
    fabric.advance(300_000); // its place is forgotten, its binding is not
    const sent = fabric.from('a', packet(0, IPS.far)).filter((one) => !isArp(one));
    expect(names(sent)).toEqual(['b', 'c', 'p', 'q']);
    for (const { to, frame } of sent) {
      if (to === 'p' || to === 'q') expect(readIpv4(frame).src).toBe(MACS.router);
    }
  });
});

describe('announcements', () => {
  const garp = (mac: string, ip: string) =>
    toHex(arp({ op: 'request', senderMac: mac, senderIp: ip, targetIp: ip }));
  const announced = (fabric: Fabric, ms: number): [number, string][] => {
    const out: [number, string][] = [];
    for (let at = 0; at < ms; at += 100) {
      for (const { to, frame } of fabric.advance(100)) if (to === 'q') out.push([at, toHex(frame)]);
    }
    return out;
  };

  it('A15: every address of a port is announced three times', () => {
    const fabric = new Fabric();
    const addresses = ['10.77.0.51', '10.77.0.52', '10.78.0.53'];
    fabric.dataplane.apply([{ op: 'port', port: port('a', { addresses: addresses.map(address4) }) }]);
    const seen = announced(fabric, 5000);
    for (const ip of addresses) {
      const times = seen.filter(([, bytes]) => bytes === garp(MACS.a, ip)).map(([at]) => at);
      expect(times.map((at) => at - times[0]!)).toEqual([0, 1000, 2000]);
    }
    expect(seen.length).toBe(9);
  });

  it('A15: a changed MAC is announced, the old one no longer', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'port', port: port('a', { addresses: [address4('10.77.0.51')] }) }]);
    announced(fabric, 500);
    fabric.dataplane.apply([
      { op: 'port', port: port('a', { mac: macOf(STATION_MAC), addresses: [address4('10.77.0.51')] }) },
    ]);
    const seen = announced(fabric, 5000);
    expect(seen.map(([, bytes]) => bytes)).toEqual(Array(3).fill(garp(STATION_MAC, '10.77.0.51')));
  });

  it('A15: a port that leaves stops being announced', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'port', port: port('a') }]);
    expect(announced(fabric, 200).length).toBe(1);
    fabric.dataplane.apply([{ op: 'remove-port', id: 2 }]);
    expect(announced(fabric, 5000)).toEqual([]);
  });

  it('A15: the network’s flood policy is not for the daemon’s own announcements', () => {
    const fabric = new Fabric([
      ...Fabric.standing(),
      { op: 'network', network: network({ broadcast: 'drop' }) },
    ]);
    fabric.dataplane.apply([{ op: 'port', port: port('a') }]);
    expect(announced(fabric, 5000).length).toBe(3);
    expect(fabric.counters.values[FIRST_PEER * Counter.FIELDS]).toBe(0);
  });
});
