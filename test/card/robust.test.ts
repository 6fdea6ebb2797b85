import { writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  BURST,
  Control,
  DEVICES,
  Fault,
  Gso,
  HEADROOM,
  REMOTES,
  SLOT_BYTES,
  SLOTS,
  TX_MAX,
  TxStatus,
} from '../../src/card/layout.ts';
import { loadNative } from '../../src/card/native.ts';
import { NativeCard } from '../../src/card/native-card.ts';
import { build, hex, pattern } from './frames.ts';
import { addUnderlay, fifo, frameOf, kernel, put, queue, receive, release, remote, send } from './kernel.ts';

const VNET = 12;

/** A virtio-net header of the card's own layout. */
function vnet(
  flags: number,
  gsoType: number,
  hdrLen: number,
  gsoSize: number,
  csumStart: number,
  csumOffset: number,
): Buffer {
  const header = Buffer.alloc(VNET);
  header[0] = flags;
  header[1] = gsoType;
  [hdrLen, gsoSize, csumStart, csumOffset].forEach((value, i) => {
    header.writeUInt16LE(value, 2 + i * 2);
  });
  return header;
}

describe.skipIf(!kernel)('a card that trusts nobody', () => {
  let card: NativeCard;
  let pipe: ReturnType<typeof fifo>;
  beforeEach(() => {
    card = new NativeCard();
    pipe = fifo();
    card.addTap(0, pipe.fd);
  });
  afterEach(() => {
    card.close();
    pipe.delete();
  });

  /** What the card makes of a frame whose virtio-net header a TAP would never have written. */
  function take(header: Buffer, frame: Uint8Array): number {
    writeSync(pipe.fd, Buffer.concat([header, frame]));
    expect(card.poll()).toBe(1);
    const slot = card.memory.rx[0];
    release(card, slot);
    return slot;
  }

  test('the clock runs before the first poll', () => {
    const fresh = new NativeCard();
    const { control } = fresh.memory;
    const first = control[Control.NOW];
    expect(first).not.toBe(0);
    fresh.poll();
    expect((control[Control.NOW] - first) | 0).toBeLessThan(5000);
    fresh.close();
  });

  test('virtio-net headers that contradict themselves or the frame are handed up as VNET faults', () => {
    const tcp = build({ v6: false, protocol: 'tcp', payload: pattern(3000), partial: true }).bytes;
    const udp = build({ v6: false, protocol: 'udp', payload: pattern(3000), partial: true }).bytes;
    const longTcp = tcp.slice();
    longTcp[34 + 12] = 0xf0;
    const cases: [string, Buffer, Uint8Array, Fault][] = [
      ['nothing', vnet(0, 0, 0, 0, 0, 0), tcp, Fault.NONE],
      ['DATA_VALID', vnet(2, 0, 0, 0, 0, 0), tcp, Fault.NONE],
      ['stale values without flags', vnet(0, 0, 99, 99, 99, 99), tcp, Fault.NONE],
      ['partial', vnet(1, 0, 54, 0, 34, 16), tcp, Fault.NONE],
      ['TSO', vnet(1, 1, 54, 1000, 34, 16), tcp, Fault.NONE],
      ['TSO with ECN', vnet(1, 0x81, 54, 1000, 34, 16), tcp, Fault.NONE],
      ['TSO with a linear length beyond the headers', vnet(1, 1, 200, 1000, 34, 16), tcp, Fault.NONE],
      ['USO', vnet(1, 5, 42, 1000, 34, 6), udp, Fault.NONE],
      ['unknown type', vnet(1, 2, 54, 1000, 34, 16), tcp, Fault.VNET],
      ['UFO', vnet(1, 3, 42, 1000, 34, 6), udp, Fault.VNET],
      ['ECN alone', vnet(1, 0x80, 54, 1000, 34, 16), tcp, Fault.VNET],
      ['ECN on UDP', vnet(1, 0x85, 42, 1000, 34, 6), udp, Fault.VNET],
      ['gso_size 0', vnet(1, 1, 54, 0, 34, 16), tcp, Fault.VNET],
      ['gso_size 0xffff', vnet(1, 1, 54, 0xffff, 34, 16), tcp, Fault.VNET],
      ['GSO without NEEDS_CSUM', vnet(0, 1, 54, 1000, 34, 16), tcp, Fault.VNET],
      ['TSO with the offset of UDP', vnet(1, 1, 54, 1000, 34, 6), tcp, Fault.VNET],
      ['csum_start 0', vnet(1, 0, 0, 0, 0, 16), tcp, Fault.VNET],
      ['csum_start inside Ethernet', vnet(1, 0, 0, 0, 13, 16), tcp, Fault.VNET],
      ['csum_start beyond the frame', vnet(1, 0, 0, 0, 0xffff, 16), tcp, Fault.VNET],
      ['checksum field across the end', vnet(1, 0, 0, 0, tcp.length - 17, 16), tcp, Fault.VNET],
      ['checksum field at the very end', vnet(1, 0, 0, 0, tcp.length - 18, 16), tcp, Fault.NONE],
      ['csum_offset 0xffff', vnet(1, 0, 0, 0, 34, 0xffff), tcp, Fault.VNET],
      ['hdr_len beyond the frame', vnet(1, 1, 0xffff, 1000, 34, 16), tcp, Fault.VNET],
      ['TCP header beyond the frame', vnet(1, 1, 54, 1000, 34, 16), longTcp.subarray(0, 60), Fault.VNET],
      ['TCP header shorter than 20', vnet(1, 1, 54, 1000, 34, 16), new Uint8Array(200), Fault.VNET],
      ['no frame', vnet(0, 0, 0, 0, 0, 0), new Uint8Array(), Fault.NONE],
    ];
    for (const [name, header, frame, fault] of cases) {
      const slot = take(header, frame);
      expect(card.memory.fault[slot], name).toBe(fault);
      expect(hex(frameOf(card, slot)), name).toBe(hex(frame));
      if (fault !== Fault.NONE) expect(card.memory.gsoType[slot], name).toBe(Gso.NONE);
    }
    expect(card.memory.fault[take(Buffer.alloc(3), new Uint8Array())], 'a runt').toBe(Fault.VNET);
  });

  test('what goes to a TAP: true header lengths, metadata passed through', () => {
    const cases: [Parameters<typeof build>[0], Gso, number, Buffer][] = [
      [
        { v6: false, protocol: 'tcp', payload: pattern(3000), tcpOptions: 12 },
        Gso.TCPV4,
        1000,
        vnet(1, 1, 66, 1000, 34, 16),
      ],
      [
        { v6: true, protocol: 'tcp', payload: pattern(3000), vlan: true },
        Gso.TCPV6,
        1000,
        vnet(1, 4, 78, 1000, 58, 16),
      ],
      [{ v6: true, protocol: 'udp', payload: pattern(3000) }, Gso.UDP_L4, 999, vnet(1, 5, 62, 999, 54, 6)],
      [{ v6: false, protocol: 'udp', payload: pattern(300) }, Gso.NONE, 0, vnet(1, 0, 42, 0, 34, 6)],
    ];
    for (const [spec, gsoType, gsoSize, header] of cases) {
      const { bytes, l4 } = build({ ...spec, partial: true });
      const slot = put(card, bytes, {
        csumStart: l4,
        csumOffset: spec.protocol === 'tcp' ? 16 : 6,
        gsoType,
        gsoSize,
      });
      expect(send(card, slot, { device: 0 })).toBe(TxStatus.SENT);
      expect(card.poll()).toBe(1);
      const m = card.memory;
      const at = m.start[m.rx[0]];
      expect(hex(m.bytes.subarray(at - VNET, at))).toBe(hex(header));
      expect(hex(frameOf(card, m.rx[0]))).toBe(hex(bytes));
      for (const s of [slot, m.rx[0]]) release(card, s);
    }
  });

  test('requests out of bounds are INVALID, and only they', async () => {
    const { port, descriptors } = await addUnderlay(card, 1);
    remote(card, 0, '127.0.0.1', port);
    remote(card, 1, 'fd00:0:0:0:0:0:0:1', port);
    remote(card, 2, '127.0.0.1', 0);
    remote(card, 3, '127.0.0.1', 70_000);
    const m = card.memory;
    const { bytes, l4 } = build({ v6: false, protocol: 'tcp', payload: pattern(3000), partial: true });
    const good = { csumStart: l4, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1000 };
    const slot = put(card, bytes, good);
    const other = (slot + 1) % SLOTS;
    const low = slot * SLOT_BYTES;
    const corrupt: [string, (i: number) => void, TxStatus][] = [
      ['as it is', () => {}, TxStatus.SENT],
      [
        'slot -1',
        (i) => {
          m.txSlot[i] = -1;
        },
        TxStatus.INVALID,
      ],
      [
        'slot SLOTS',
        (i) => {
          m.txSlot[i] = SLOTS;
        },
        TxStatus.INVALID,
      ],
      [
        'another slot',
        (i) => {
          m.txSlot[i] = other;
        },
        TxStatus.INVALID,
      ],
      [
        'device -1',
        (i) => {
          m.txDevice[i] = -1;
        },
        TxStatus.INVALID,
      ],
      [
        'device DEVICES',
        (i) => {
          m.txDevice[i] = DEVICES;
        },
        TxStatus.INVALID,
      ],
      [
        'device never opened',
        (i) => {
          m.txDevice[i] = 7;
          m.devices[7] = 1;
        },
        TxStatus.GONE,
      ],
      [
        'length 0',
        (i) => {
          m.txLength[i] = 0;
        },
        TxStatus.INVALID,
      ],
      [
        'length negative',
        (i) => {
          m.txLength[i] = -5;
        },
        TxStatus.INVALID,
      ],
      [
        'length beyond the slot',
        (i) => {
          m.txLength[i] = SLOT_BYTES;
        },
        TxStatus.INVALID,
      ],
      [
        'length maximal',
        (i) => {
          m.txLength[i] = 0x7fffffff;
        },
        TxStatus.INVALID,
      ],
      [
        'start before the slot',
        (i) => {
          m.txStart[i] = low - 1;
        },
        TxStatus.INVALID,
      ],
      [
        'start behind the frame',
        (i) => {
          m.txStart[i] = m.start[slot] + 1;
        },
        TxStatus.INVALID,
      ],
      [
        'prefix beyond the headroom',
        (i) => {
          m.txStart[i] = m.start[slot] - HEADROOM - 1;
        },
        TxStatus.INVALID,
      ],
      [
        'start of the slot outside',
        () => {
          m.start[slot] = -1;
        },
        TxStatus.INVALID,
      ],
      [
        'remote -1',
        (i) => {
          m.txRemote[i] = -1;
        },
        TxStatus.INVALID,
      ],
      [
        'remote REMOTES',
        (i) => {
          m.txRemote[i] = REMOTES;
        },
        TxStatus.INVALID,
      ],
      [
        'remote of the other family',
        (i) => {
          m.txRemote[i] = 1;
        },
        TxStatus.INVALID,
      ],
      [
        'remote port 0',
        (i) => {
          m.txRemote[i] = 2;
        },
        TxStatus.INVALID,
      ],
      [
        'remote port too large',
        (i) => {
          m.txRemote[i] = 3;
        },
        TxStatus.INVALID,
      ],
      [
        'csumStart negative',
        () => {
          m.csumStart[slot] = -1;
        },
        TxStatus.INVALID,
      ],
      [
        'csumStart 0 with GSO',
        () => {
          m.csumStart[slot] = 0;
        },
        TxStatus.INVALID,
      ],
      [
        'csumStart elsewhere',
        () => {
          m.csumStart[slot] = 38;
        },
        TxStatus.INVALID,
      ],
      [
        'csumOffset negative',
        () => {
          m.csumOffset[slot] = -2;
        },
        TxStatus.INVALID,
      ],
      [
        'csumOffset maximal',
        () => {
          m.csumOffset[slot] = 0x7fffffff;
        },
        TxStatus.INVALID,
      ],
      [
        'gsoType unknown',
        () => {
          m.gsoType[slot] = 9;
        },
        TxStatus.INVALID,
      ],
      [
        'gsoType of IPv6',
        () => {
          m.gsoType[slot] = Gso.TCPV6;
        },
        TxStatus.INVALID,
      ],
      [
        'gsoType of UDP',
        () => {
          m.gsoType[slot] = Gso.UDP_L4;
          m.csumOffset[slot] = 6;
        },
        TxStatus.INVALID,
      ],
      [
        'gsoSize 0',
        () => {
          m.gsoSize[slot] = 0;
        },
        TxStatus.INVALID,
      ],
      [
        'gsoSize negative',
        () => {
          m.gsoSize[slot] = -1;
        },
        TxStatus.INVALID,
      ],
      [
        'gsoSize 1, thousands of segments',
        () => {
          m.gsoSize[slot] = 1;
        },
        TxStatus.INVALID,
      ],
      [
        'not IP',
        () => {
          m.bytes[m.start[slot] + 12] = 0x88;
        },
        TxStatus.INVALID,
      ],
      [
        'IP header length',
        () => {
          m.bytes[m.start[slot] + 14] = 0x46;
        },
        TxStatus.INVALID,
      ],
      [
        'TCP header length',
        () => {
          m.bytes[m.start[slot] + 34 + 12] = 0x40;
        },
        TxStatus.INVALID,
      ],
    ];
    for (const [name, change, status] of corrupt) {
      m.start[slot] = low + 74;
      m.bytes.set(bytes, low + 74);
      m.csumStart[slot] = good.csumStart;
      m.csumOffset[slot] = good.csumOffset;
      m.gsoType[slot] = good.gsoType;
      m.gsoSize[slot] = good.gsoSize;
      const i = queue(card, slot, { device: 1, prefix: 8 });
      change(i);
      card.flush();
      expect(m.txStatus[i], name).toBe(status);
    }
    m.start[slot] = low + 74;
    m.gsoType[slot] = Gso.NONE;
    m.csumStart[slot] = 0;
    expect(send(card, slot, { device: 0, prefix: 8 }), 'a prefix towards a TAP').toBe(TxStatus.INVALID);
    m.length[slot] = 13;
    expect(send(card, slot, { device: 0 }), 'shorter than Ethernet').toBe(TxStatus.INVALID);
    for (const count of [-1, -0x80000000, 0]) {
      m.control[Control.TX_COUNT] = count;
      card.flush();
      expect(m.control[Control.TX_COUNT]).toBe(0);
    }
    m.txSlot.fill(-1);
    m.control[Control.TX_COUNT] = 0x7fffffff;
    card.flush();
    expect(m.txStatus[TX_MAX - 1]).toBe(TxStatus.INVALID);
    card.remove(1);
    for (const fd of descriptors) loadNative().close(fd);
  });

  test('random memory never crashes a flush, and every request gets a status', async () => {
    const { port, descriptors } = await addUnderlay(card, 1);
    const m = card.memory;
    remote(card, 0, '127.0.0.1', port);
    // Mostly near the valid values, sometimes anything at all.
    const near = (...values: number[]) =>
      fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...values) },
        { weight: 2, arbitrary: fc.integer({ min: -70, max: 70_000 }) },
        { weight: 1, arbitrary: fc.integer() },
      );
    const request = fc.record({
      slot: near(0, 1, 2),
      device: near(0, 1),
      from: near(66, 74, 58, 0),
      start: near(66, 74),
      bytes: near(14, 60, 1514, 66_000, SLOT_BYTES),
      remote: near(0),
      tos: near(0, 0xb8),
      entropy: fc.integer(),
      csumStart: near(0, 34, 54),
      csumOffset: near(6, 16),
      gsoType: near(0, 1, 4, 5, 0x81),
      gsoSize: near(0, 1400, 65_534),
      frame: fc.oneof(
        fc.uint8Array({ minLength: 0, maxLength: 80 }),
        fc.constantFrom(
          ...[false, true].flatMap((v6) =>
            (['tcp', 'udp'] as const).map((protocol) => build({ v6, protocol, payload: pattern(30) }).bytes),
          ),
        ),
      ),
    });
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 12 }), (requests) => {
        requests.forEach((r, i) => {
          const slot = Math.abs(r.slot) % SLOTS;
          m.txSlot[i] = r.slot;
          m.txDevice[i] = r.device;
          m.txStart[i] = slot * SLOT_BYTES + r.from;
          m.txLength[i] = r.bytes;
          m.txRemote[i] = r.remote;
          m.txTos[i] = r.tos;
          m.txEntropy[i] = r.entropy;
          m.txStatus[i] = -1;
          m.start[slot] = slot * SLOT_BYTES + r.start;
          m.csumStart[slot] = r.csumStart;
          m.csumOffset[slot] = r.csumOffset;
          m.gsoType[slot] = r.gsoType;
          m.gsoSize[slot] = r.gsoSize;
          m.bytes.set(r.frame, slot * SLOT_BYTES + 74);
        });
        m.control[Control.TX_COUNT] = requests.length;
        card.flush();
        expect(m.control[Control.TX_COUNT]).toBe(0);
        requests.forEach((r, i) => {
          expect(m.txStatus[i]).toBeGreaterThanOrEqual(TxStatus.SENT);
          expect(m.txStatus[i]).toBeLessThanOrEqual(TxStatus.ERROR);
          if (r.slot < 0 || r.slot >= SLOTS)
            expect([TxStatus.INVALID, TxStatus.GONE]).toContain(m.txStatus[i]);
        });
        // Empties the FIFO and the socket; a FIFO has no frame boundaries, so anything may come.
        while (card.poll() > 0) for (let i = 0; i < m.control[Control.RX_COUNT]; i++) release(card, m.rx[i]);
      }),
      { numRuns: 1500 },
    );
    card.remove(1);
    for (const fd of descriptors) loadNative().close(fd);
  });

  test('a free stack full of nonsense never crashes a poll', () => {
    const m = card.memory;
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 0, max: SLOTS - 1 }), fc.integer()), { maxLength: 40 }),
        fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer()),
        (stack, height) => {
          writeSync(pipe.fd, Buffer.concat([vnet(0, 0, 0, 0, 0, 0), pattern(60)]));
          stack.forEach((slot, i) => {
            m.free[i] = slot;
          });
          m.control[Control.FREE_COUNT] = height;
          const n = card.poll();
          expect(n).toBeLessThanOrEqual(BURST);
          for (let i = 0; i < n; i++) expect(m.rx[i] >= 0 && m.rx[i] < SLOTS).toBe(true);
          for (let i = 0; i < SLOTS; i++) m.free[i] = i;
          m.control[Control.FREE_COUNT] = SLOTS;
          while (card.poll() > 0);
          m.control[Control.FREE_COUNT] = SLOTS;
        },
      ),
      { numRuns: 500 },
    );
  });

  test('poll: time, timeout, waking', async () => {
    const native = loadNative();
    const m = card.memory;
    const wake = native.createWake();
    card.setWake(wake);
    m.control[Control.TIMEOUT] = 60_000;
    const before = performance.now();
    expect(card.poll()).toBe(0);
    const slept = performance.now() - before;
    expect(slept, 'at most 100 ms').toBeGreaterThan(90);
    expect(slept).toBeLessThan(1000);
    const then = m.control[Control.NOW];
    expect(then).not.toBe(0);
    await setTimeout(30);
    m.control[Control.TIMEOUT] = 0;
    card.poll();
    expect((m.control[Control.NOW] - then) | 0).toBeGreaterThanOrEqual(29);
    m.control[Control.TIMEOUT] = -7;
    card.poll();
    expect(m.control[Control.WOKEN]).toBe(0);

    native.wake(wake);
    native.wake(wake);
    m.control[Control.TIMEOUT] = 100;
    const woken = performance.now();
    card.poll();
    expect(performance.now() - woken).toBeLessThan(50);
    expect(m.control[Control.WOKEN]).toBe(1);
    m.control[Control.WOKEN] = 0;
    m.control[Control.TIMEOUT] = 0;
    card.poll();
    expect(m.control[Control.WOKEN], 'drained').toBe(0);
    card.close();
    card.close();
    native.close(wake);
    expect(() => card.poll()).toThrow('EBADF');
    m.control[Control.TX_COUNT] = 1;
    card.flush();
    expect(m.txStatus[0]).toBe(TxStatus.GONE);
  });

  test('steady state: polls and flushes allocate nothing', () => {
    const m = card.memory;
    const slot = put(card, build({ v6: false, protocol: 'udp', payload: pattern(64) }).bytes);
    const turn = (): void => {
      m.txSlot[0] = slot;
      m.txDevice[0] = 0;
      m.txStart[0] = m.start[slot];
      m.txLength[0] = m.length[slot];
      m.control[Control.TX_COUNT] = 1;
      card.flush();
      const n = card.poll();
      for (let i = 0; i < n; i++) m.free[m.control[Control.FREE_COUNT]++] = m.rx[i];
    };
    for (let i = 0; i < 20_000; i++) turn();
    // Averaged over a few rounds: the runner's own timers may allocate in one.
    const rounds = Array.from({ length: 5 }, () => {
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < 50_000; i++) turn();
      return (process.memoryUsage().heapUsed - before) / 50_000;
    });
    expect(Math.min(...rounds.map(Math.abs)), `bytes per turn: ${rounds}`).toBeLessThan(1);
  });

  test('works in a worker thread, next to the main thread', async () => {
    const path =
      process.env.TWILL_ADDON ?? new URL('../../native/build/twill.node', import.meta.url).pathname;
    const source = `
      const addon = require(${JSON.stringify(path)});
      require('node:worker_threads').parentPort.postMessage([addon.fields.length, addon.createWake() > 0]);`;
    const worker = new Worker(source, { eval: true });
    const message = await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    expect(message).toEqual([26, true]);
    await worker.terminate();
  });

  test('offsets and limits that describe no region are refused', () => {
    const native = loadNative();
    const limits = {
      slots: SLOTS,
      slotBytes: SLOT_BYTES,
      headroom: HEADROOM,
      burst: BURST,
      txMax: TX_MAX,
      remotes: REMOTES,
      devices: DEVICES,
    };
    expect(() => native.createCard(new Int32Array(28), limits)).toThrow('EINVAL');
    expect(() => native.createCard(new Int32Array(3), limits)).toThrow('EINVAL');
    expect(() =>
      native.createCard(new Int32Array(28).fill(0x7fffffc0), { ...limits, slots: 2 ** 31 }),
    ).toThrow('EINVAL');
  });

  test("notify reaches a datagram socket's absence with a clear error", () => {
    expect(() => loadNative().notify('@twill-nobody', 'READY=1')).toThrow(
      /ECONNREFUSED.*notify @twill-nobody/,
    );
    expect(() => loadNative().notify('relative', 'READY=1')).toThrow(/EAFNOSUPPORT/);
  });

  test('receive leaves nothing behind', () => {
    expect(receive(card, 1).length).toBe(0);
  });
});
