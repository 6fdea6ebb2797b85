/** Learning: what the forwarding database takes from frames, keeps, moves and forgets (B1–B13). */
import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { FdbRow } from '../../src/dataplane/messages.ts';
import type { HashIndex } from '../../src/table/hash-index.ts';
import { Global } from '../../src/telemetry/counters.ts';
import {
  Fabric,
  MACS,
  macOf,
  network,
  type PeerName,
  type PortName,
  peer,
  port,
  type Sent,
} from '../fabric.ts';
import { ethernet, toHex } from '../frames.ts';

const names = (sent: readonly Sent[]): string[] => sent.map(({ to }) => to).sort();
const station = (n: number): string =>
  `06:00:00:00:${(n >>> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
const ANY = '06:ff:ff:ff:ff:ff';
const frame = (src: string, dst: string, payload: number[] = [1, 2, 3, 4]): Uint8Array =>
  ethernet({ src, dst, type: 0x88b5 }, payload);
const fdbOf = (fabric: Fabric, id = 0) => fabric.dataplane.pipeline.bridge.fdbs[id]!;
const rows = (fabric: Fabric): FdbRow[] => dump(fabric.dataplane, 'fdb') as FdbRow[];
const rowOf = (fabric: Fabric, mac: string, net = 'blue'): FdbRow | undefined =>
  rows(fabric).find((row) => row.mac === mac && row.network === net);
const having = (...ops: Op[]): Fabric => new Fabric([...Fabric.standing(), ...ops]);
const EVERYBODY_BUT_A = ['b', 'c', 'p', 'q'];
/** Where a frame from port c for a MAC goes: one name when the MAC is known. */
const whereIs = (fabric: Fabric, mac: string): string[] => names(fabric.from('c', frame(MACS.c, mac)));
const UNKNOWN = ['a', 'b', 'p', 'q'];

describe('admission', () => {
  const invalid = [
    '00:00:00:00:00:00',
    'ff:ff:ff:ff:ff:ff',
    '01:00:5e:00:00:01',
    '33:33:00:00:00:01',
    '03:00:00:00:00:0a',
  ];
  for (const source of invalid) {
    it(`B1: source ${source} is dropped and never learned`, () => {
      const fabric = new Fabric();
      expect(fabric.from('a', frame(source, MACS.b))).toEqual([]);
      expect(fabric.fromPeer('p', frame(source, MACS.b))).toEqual([]);
      expect(fabric.drops()).toEqual({ BAD_SOURCE_MAC: 2 });
      expect(fdbOf(fabric).learned).toBe(0);
      expect(rowOf(fabric, source)).toBeUndefined();
    });
  }

  it('B2: a source is learned on arrival, on its port', () => {
    const fabric = new Fabric();
    fabric.from('a', frame(station(1), ANY));
    expect(whereIs(fabric, station(1))).toEqual(['a']);
    expect(rowOf(fabric, station(1))).toMatchObject({ port: 'a', peer: null, type: 'learned', moves: 0 });
  });

  it('B2: a source that comes through a tunnel is learned behind its peer', () => {
    const fabric = new Fabric();
    fabric.fromPeer('q', frame(station(1), MACS.b));
    const [sent] = fabric.from('c', frame(MACS.c, station(1)));
    expect(sent).toMatchObject({ to: 'q', vni: 42 });
    expect(rowOf(fabric, station(1))).toMatchObject({ port: null, peer: 'q' });
  });

  it('B2: a frame whose own destination is unknown still teaches its source', () => {
    const fabric = having({ op: 'network', network: network({ unknownUnicast: 'drop' }) });
    expect(fabric.from('a', frame(station(1), ANY))).toEqual([]);
    expect(whereIs(fabric, station(1))).toEqual(['a']);
  });

  const refused: [string, Op[], (fabric: Fabric) => void][] = [
    ['reserved destination', [], (f) => f.from('a', frame(station(1), '01:80:c2:00:00:00'))],
    [
      'spoofed MAC',
      [{ op: 'port', port: port('a', { antiSpoof: 'mac' }) }],
      (f) => f.from('a', frame(station(1), MACS.b)),
    ],
    ['gateway MAC from a tunnel', [], (f) => f.fromPeer('p', frame(station(1), MACS.gateway))],
    ['unknown peer', [], (f) => f.fromPeer('192.0.2.99', frame(station(1), MACS.b))],
    ['unknown VNI', [], (f) => f.fromPeer('p', frame(station(1), MACS.b), { vni: 44 })],
  ];
  for (const [name, ops, send] of refused) {
    it(`B2: a refused frame teaches nothing (${name})`, () => {
      const fabric = having(...ops);
      send(fabric);
      expect(Object.values(fabric.drops())).toEqual([1]);
      expect(fdbOf(fabric).learned).toBe(0);
      expect(whereIs(fabric, station(1))).toEqual(UNKNOWN);
    });
  }
});

describe('ageing', () => {
  it('B3: being looked up does not keep an entry alive', () => {
    const fabric = new Fabric();
    fabric.from('a', frame(station(1), ANY));
    for (let second = 0; second < 299; second += 13) {
      expect(whereIs(fabric, station(1))).toEqual(['a']);
      fabric.advance(13_000);
    }
    expect(fabric.card.now).toBeGreaterThan(299_000);
    fabric.advance(1000);
    expect(whereIs(fabric, station(1))).toEqual(UNKNOWN);
  });

  it('B3: its own frames keep it alive', () => {
    const fabric = new Fabric();
    for (let i = 0; i < 4; i++) {
      fabric.from('a', frame(station(1), ANY));
      fabric.advance(299_999);
      expect(whereIs(fabric, station(1))).toEqual(['a']);
    }
  });

  it('B4: ageing `never` keeps an entry for good', () => {
    const fabric = having({ op: 'network', network: network({ ageing: 0 }) });
    fabric.from('a', frame(station(1), ANY));
    for (let day = 0; day < 60; day++) fabric.advance(86_400_000);
    expect(whereIs(fabric, station(1))).toEqual(['a']);
  });

  it('B4: the longest ageing time, 1 000 000 s, is exact', () => {
    const fabric = having({ op: 'network', network: network({ ageing: 1_000_000_000 }) });
    fabric.from('a', frame(station(1), ANY));
    fabric.advance(999_999_999);
    expect(whereIs(fabric, station(1))).toEqual(['a']);
    fabric.advance(1);
    expect(whereIs(fabric, station(1))).toEqual(UNKNOWN);
  });

  for (const ageing of [1000, 10_000, 300_000]) {
    it(`B5: an entry is absent from the millisecond its age is ${ageing} ms, swept or not`, () => {
      const fabric = having({ op: 'network', network: network({ ageing }) });
      // So many entries that one turn's sweep cannot have reached them all.
      for (let n = 0; n < 300; n++) fabric.card.receive({ device: 10, bytes: frame(station(n), MACS.b) });
      fabric.settle();
      fabric.advance(ageing - 1);
      for (let n = 0; n < 300; n += 37) expect(whereIs(fabric, station(n))).toEqual(['a']);
      fabric.advance(1);
      expect(fdbOf(fabric).learned).toBeGreaterThan(250);
      for (let n = 0; n < 300; n += 37) expect(whereIs(fabric, station(n))).toEqual(UNKNOWN);
      expect(rows(fabric).filter(({ type }) => type === 'learned')).toEqual([]);
    });
  }

  it('B5: an expired entry is physically gone 10 s later', () => {
    const fabric = new Fabric();
    for (let n = 0; n < 3000; n++) fabric.card.receive({ device: 10, bytes: frame(station(n), MACS.b) });
    fabric.settle();
    fabric.advance(300_000);
    for (let i = 0; i < 100; i++) fabric.advance(100);
    expect(fdbOf(fabric).learned).toBe(0);
  });

  it('B5: an entry that expired does not count as moved when it is heard elsewhere', () => {
    const fabric = new Fabric();
    fabric.from('a', frame(station(1), ANY));
    fabric.advance(300_000);
    fabric.from('b', frame(station(1), ANY));
    expect(whereIs(fabric, station(1))).toEqual(['b']);
    expect(fabric.counters.globals[Global.MAC_MOVES]).toBe(0);
  });

  it('B4: a changed ageing time holds for entries that are there already', () => {
    const fabric = new Fabric();
    fabric.from('a', frame(station(1), ANY));
    fabric.dataplane.apply([{ op: 'network', network: network({ ageing: 10_000 }) }]);
    fabric.advance(9999);
    expect(whereIs(fabric, station(1))).toEqual(['a']);
    fabric.advance(1);
    expect(whereIs(fabric, station(1))).toEqual(UNKNOWN);
  });
});

describe('moves', () => {
  it('B6: the first frame from elsewhere moves an entry at once, and is counted', () => {
    const fabric = new Fabric();
    const places: [() => Sent[], string][] = [
      [() => fabric.from('a', frame(station(1), ANY)), 'a'],
      [() => fabric.from('b', frame(station(1), ANY)), 'b'],
      [() => fabric.fromPeer('p', frame(station(1), MACS.a)), 'p'],
      [() => fabric.fromPeer('q', frame(station(1), MACS.a)), 'q'],
      [() => fabric.from('a', frame(station(1), ANY)), 'a'],
    ];
    for (const [move, to] of places) {
      move();
      expect(whereIs(fabric, station(1))).toEqual([to]);
    }
    expect(fabric.counters.globals[Global.MAC_MOVES]).toBe(4);
    expect(rowOf(fabric, station(1))!.moves).toBe(4);
    expect(fdbOf(fabric).learned).toBe(1);
  });

  it('B6: within one burst the last writer wins', () => {
    const fabric = new Fabric();
    for (const device of [10, 11, 10, 11]) fabric.card.receive({ device, bytes: frame(station(1), ANY) });
    fabric.settle();
    expect(whereIs(fabric, station(1))).toEqual(['b']);
    expect(rowOf(fabric, station(1))!.moves).toBe(3);
  });
});

describe('static entries', () => {
  const withStatic = (): Fabric =>
    having({
      op: 'peer',
      peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: null }] }),
    });

  it('B7: a static entry is not moved by learning', () => {
    const fabric = withStatic();
    expect(fabric.from('a', frame(MACS.far, MACS.b))).toEqual([]);
    expect(fabric.fromPeer('q', frame(MACS.far, MACS.b))).toEqual([]);
    expect(fabric.drops()).toEqual({ STATIC_MOVE: 2 });
    expect(whereIs(fabric, MACS.far)).toEqual(['p']);
    expect(names(fabric.fromPeer('p', frame(MACS.far, MACS.b)))).toEqual(['b']);
  });

  it('B7: the MAC of a port is not learned on another port', () => {
    const fabric = new Fabric();
    expect(fabric.from('b', frame(MACS.a, MACS.c))).toEqual([]);
    expect(fabric.drops()).toEqual({ STATIC_MOVE: 1 });
    expect(whereIs(fabric, MACS.a)).toEqual(['a']);
  });

  it('B7: static entries do not age', () => {
    const fabric = withStatic();
    for (let i = 0; i < 20; i++) fabric.advance(200_000);
    expect(whereIs(fabric, MACS.far)).toEqual(['p']);
    expect(whereIs(fabric, MACS.a)).toEqual(['a']);
    expect(rowOf(fabric, MACS.far)).toMatchObject({ type: 'static', age: null });
  });

  it('B7: ports that swap their MACs in one transaction both keep an entry', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([
      { op: 'port', port: port('a', { mac: macOf(MACS.b) }) },
      { op: 'port', port: port('b', { mac: macOf(MACS.a) }) },
    ]);
    fabric.wait(3000);
    expect(whereIs(fabric, MACS.a)).toEqual(['b']);
    expect(whereIs(fabric, MACS.b)).toEqual(['a']);
  });

  for (const [what, mac] of [
    ['a local port', MACS.a],
    ['the gateway', MACS.gateway],
    ['this host’s router', MACS.router],
  ] as const) {
    it(`B8: a frame from a tunnel with the MAC of ${what} is a loop`, () => {
      const fabric = new Fabric();
      expect(fabric.fromPeer('p', frame(mac, MACS.b))).toEqual([]);
      expect(fabric.drops()).toEqual({ LOOP: 1 });
      const { loop } = fabric.dataplane.pipeline.learn;
      const { hi, lo } = macOf(mac);
      const at = mac === MACS.a ? 2 : 0;
      expect(loop).toEqual({ network: 0, hi, lo, port: at, peer: 1024 });
    });
  }

  it('B9: a learned entry made static leaves the count, and does not come back', () => {
    const fabric = new Fabric();
    const member = (entries: string[]): Op => ({
      op: 'peer',
      peer: peer('p', { static: entries.map((mac) => ({ network: 0, mac: macOf(mac), address: null })) }),
    });
    fabric.fromPeer('q', frame(MACS.far, MACS.b));
    fabric.fromPeer('q', frame(MACS.other, MACS.b));
    expect(fdbOf(fabric).learned).toBe(2);
    fabric.dataplane.apply([member([MACS.far])]);
    expect(fdbOf(fabric).learned).toBe(1);
    expect(fdbOf(fabric).count(1025)).toBe(1);
    expect(whereIs(fabric, MACS.far)).toEqual(['p']);
    fabric.dataplane.apply([member([])]);
    expect(fdbOf(fabric).learned).toBe(1);
    expect(whereIs(fabric, MACS.far)).toEqual(UNKNOWN);
    expect(whereIs(fabric, MACS.other)).toEqual(['q']);
  });
});

describe('bounds', () => {
  const small = (): Fabric => having({ op: 'network', network: network({ maxEntries: 10 }) });

  it('B10: a flooding port evicts its own entries and never the last one of another', () => {
    const fabric = small();
    fabric.from('b', frame(station(1), ANY));
    fabric.fromPeer('p', frame(station(2), MACS.b));
    for (let n = 100; n < 400; n++) {
      fabric.from('a', frame(station(n), MACS.b));
      expect(fdbOf(fabric).learned).toBeLessThanOrEqual(10);
    }
    expect(fdbOf(fabric).learned).toBe(10);
    expect(whereIs(fabric, station(1))).toEqual(['b']);
    expect(whereIs(fabric, station(2))).toEqual(['p']);
    expect(fdbOf(fabric).count(2)).toBe(8);
    for (let n = 392; n < 400; n++) expect(whereIs(fabric, station(n))).toEqual(['a']);
    expect(whereIs(fabric, station(391))).toEqual(UNKNOWN);
  });

  it('B10: a newcomer takes the least recently refreshed entry of the largest owner', () => {
    const fabric = small();
    for (let n = 0; n < 8; n++) {
      fabric.from('a', frame(station(n), MACS.b));
      fabric.advance(10);
    }
    fabric.from('b', frame(station(50), MACS.a));
    fabric.from('b', frame(station(51), MACS.a));
    fabric.from('a', frame(station(0), MACS.b)); // refreshed: station 1 is the oldest now
    fabric.from('c', frame(station(60), MACS.a));
    expect(whereIs(fabric, station(1))).toEqual(UNKNOWN);
    for (const n of [0, 2, 7]) expect(whereIs(fabric, station(n))).toEqual(['a']);
    expect(whereIs(fabric, station(50))).toEqual(['b']);
    expect(whereIs(fabric, station(51))).toEqual(['b']);
    expect(fdbOf(fabric).learned).toBe(10);
  });

  it('B10: static entries are neither counted nor evicted', () => {
    const macs = Array.from({ length: 50 }, (_, n) => station(1000 + n));
    const fabric = having(
      { op: 'network', network: network({ maxEntries: 10 }) },
      {
        op: 'peer',
        peer: peer('p', { static: macs.map((mac) => ({ network: 0, mac: macOf(mac), address: null })) }),
      },
    );
    for (let n = 0; n < 100; n++) fabric.from('a', frame(station(n), MACS.b));
    expect(fdbOf(fabric).learned).toBe(10);
    for (const mac of macs) expect(whereIs(fabric, mac)).toEqual(['p']);
  });

  it('B10: a changed bound flushes nothing that still fits', () => {
    const fabric = new Fabric();
    for (let n = 0; n < 8; n++) fabric.from('a', frame(station(n), MACS.b));
    fabric.dataplane.apply([{ op: 'network', network: network({ maxEntries: 10 }) }]);
    for (let n = 0; n < 8; n++) expect(whereIs(fabric, station(n))).toEqual(['a']);
    expect(whereIs(fabric, MACS.b)).toEqual(['b']);
    fabric.advance(300_000);
    expect(whereIs(fabric, station(0))).toEqual(UNKNOWN);
  });

  it('B12: the places of a MAC table depend on the seed, its answers do not', () => {
    const places = (seed: number): string => {
      const fabric = new Fabric(Fabric.standing(), seed);
      for (let n = 0; n < 32; n++) fabric.from('a', frame(station(n), MACS.b));
      for (let n = 0; n < 32; n++) expect(whereIs(fabric, station(n))).toEqual(['a']);
      const { index } = fdbOf(fabric) as unknown as { index: HashIndex };
      return index.entries.filter((_, at) => at % 2 === 0).join();
    };
    expect(places(1)).not.toBe(places(2));
    expect(places(1)).toBe(places(1));
  });
});

describe('ports and peers that leave', () => {
  it('B13: a removed port takes its learned entries along, here only, and nobody else is disturbed', () => {
    const fabric = new Fabric();
    fabric.from('a', frame(station(1), ANY));
    fabric.from('b', frame(station(2), ANY));
    fabric.from('r', frame(station(1), ANY));
    fabric.dataplane.apply([{ op: 'remove-port', id: 2 }]);
    const learned = rows(fabric).filter(({ type }) => type === 'learned');
    expect(learned.map(({ network: net, mac, port: at }) => [net, mac, at])).toEqual([
      ['blue', station(2), 'b'],
      ['red', station(1), 'r'],
    ]);
    expect(whereIs(fabric, station(1))).toEqual(['b', 'p', 'q']);
    expect(whereIs(fabric, MACS.a)).toEqual(['b', 'p', 'q']);
    expect(whereIs(fabric, station(2))).toEqual(['b']);
    expect(fdbOf(fabric).learned).toBe(1);
  });

  it('B13: a port can come back, and learns afresh', () => {
    const fabric = new Fabric();
    fabric.from('a', frame(station(1), ANY));
    fabric.dataplane.apply([{ op: 'remove-port', id: 2 }]);
    fabric.dataplane.apply([{ op: 'port', port: port('a') }]);
    fabric.wait(3000);
    expect(whereIs(fabric, station(1))).toEqual(UNKNOWN);
    fabric.from('a', frame(station(1), ANY));
    expect(whereIs(fabric, station(1))).toEqual(['a']);
  });

  it('B13: frames of a device without a port are dropped', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([{ op: 'remove-port', id: 2 }]);
    expect(fabric.from('a', frame(MACS.a, MACS.b))).toEqual([]);
    expect(fabric.drops()).toEqual({ TX_GONE: 1 });
  });

  it('B13: a frame that waits for a neighbour leaves with its port', () => {
    const fabric = new Fabric();
    const packet = ethernet(
      { src: MACS.a, dst: MACS.gateway },
      [
        // 10.77.0.11 → 10.77.0.99, protocol 253
        0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 253, 0xe5, 0xf2, 10, 77, 0, 11, 10, 77, 0, 99,
      ],
    );
    fabric.from('a', packet);
    fabric.dataplane.apply([{ op: 'remove-port', id: 2 }]);
    fabric.dataplane.apply([{ op: 'port', port: port('a', { network: 1 }) }]);
    for (let i = 0; i < 50; i++) {
      for (const { to, frame: bytes } of fabric.advance(100)) {
        const isIcmp = toHex(bytes).slice(24, 28) === '0800';
        expect(isIcmp && to === 'a', 'an error about blue on a port of red').toBe(false);
      }
    }
  });
});

describe('one network beside another', () => {
  const cross: [string, (fabric: Fabric) => Sent[], string[]][] = [
    ['unicast to a MAC of the other network', (f) => f.from('a', frame(MACS.a, station(7))), EVERYBODY_BUT_A],
    ['broadcast', (f) => f.from('a', frame(MACS.a, 'ff:ff:ff:ff:ff:ff')), EVERYBODY_BUT_A],
    ['multicast', (f) => f.from('a', frame(MACS.a, '01:00:5e:01:02:03')), EVERYBODY_BUT_A],
    [
      'tagged broadcast',
      (f) => f.from('a', ethernet({ src: MACS.a, dst: 'ff:ff:ff:ff:ff:ff', type: 0x8100 }, [0, 43, 8, 0])),
      ['b', 'c'],
    ],
    ['broadcast from red', (f) => f.from('r', frame(MACS.r, 'ff:ff:ff:ff:ff:ff')), ['p']],
    ['blue from a tunnel', (f) => f.fromPeer('p', frame(station(9), 'ff:ff:ff:ff:ff:ff')), ['a', 'b', 'c']],
    ['red from a tunnel', (f) => f.fromPeer('p', frame(station(9), 'ff:ff:ff:ff:ff:ff'), { vni: 43 }), ['r']],
  ];
  for (const [name, send, to] of cross) {
    it(`B17: no frame crosses networks: ${name}`, () => {
      const fabric = new Fabric();
      fabric.from('r', frame(station(7), ANY));
      const sent = send(fabric);
      expect(names(sent)).toEqual(to);
      const vni = name.includes('red') ? 43 : 42;
      for (const { vni: sentVni } of sent) if (sentVni !== undefined) expect(sentVni).toBe(vni);
    });
  }

  it('B17: one MAC lives in both networks, each at its own place', () => {
    const fabric = new Fabric();
    fabric.from('b', frame(station(1), ANY));
    fabric.from('r', frame(station(1), ANY));
    fabric.fromPeer('p', frame(station(2), MACS.r), { vni: 43 });
    expect(whereIs(fabric, station(1))).toEqual(['b']);
    expect(names(fabric.from('r', frame(MACS.r, station(2))))).toEqual(['p']);
    expect(whereIs(fabric, station(2))).toEqual(UNKNOWN);
    expect(names(fabric.fromPeer('p', frame(station(3), MACS.r), { vni: 43 }))).toEqual(['r']);
    expect(names(fabric.fromPeer('p', frame(station(3), MACS.a)))).toEqual(['a']);
  });
});

describe('order', () => {
  it('B18: frames of one pair keep their order, none is lost or doubled', () => {
    const fabric = new Fabric();
    const senders: [PortName | PeerName, string][] = [
      ['a', MACS.a],
      ['b', MACS.b],
    ];
    for (let n = 0; n < 200; n++) {
      for (const [name, mac] of senders) {
        const dst = n % 5 === 0 ? 'ff:ff:ff:ff:ff:ff' : MACS.c;
        fabric.card.receive({ device: name === 'a' ? 10 : 11, bytes: frame(mac, dst, [n]) });
      }
    }
    const sent = fabric.settle().filter(({ to }) => to === 'c');
    for (const [, mac] of senders) {
      const mine = sent.filter(
        ({ frame: bytes }) => toHex(bytes.subarray(6, 12)) === mac.replaceAll(':', ''),
      );
      expect(mine.map(({ frame: bytes }) => bytes[14])).toEqual(Array.from({ length: 200 }, (_, n) => n));
    }
  });
});
