import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  BURST,
  Control,
  DeviceState,
  Fault,
  Gso,
  HEADROOM,
  SLOT_BYTES,
  TxStatus,
} from '../../src/card/layout.ts';
import { loadNative } from '../../src/card/native.ts';
import { NativeCard } from '../../src/card/native-card.ts';
import { apart, build, type FrameSpec, hex, pattern } from './frames.ts';
import {
  addUnderlay,
  drain,
  frameOf,
  freePort,
  ip,
  kernel,
  Namespace,
  put,
  queue,
  receive,
  release,
  remote,
  send,
  tap,
  underlay,
} from './kernel.ts';

/** Descriptors of this process by what they refer to. */
const tunDescriptors = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/net/tun';
    } catch {
      return false;
    }
  }).length;

const errorOf = (call: () => unknown): NodeJS.ErrnoException => {
  try {
    call();
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
  throw new Error('expected an error');
};

describe.skipIf(!kernel)('createTap', () => {
  const native = kernel ? loadNative() : (undefined as never);
  let ns: Namespace;
  beforeAll(() => {
    ns = new Namespace(true);
  });
  afterAll(() => ns.delete());

  test('bounds super-frames to the segments one send takes, also after a change of MTU', () => {
    const { fd } = native.createTap(tap(ns.path, { mtu: 1450 }));
    const most = () => Number(/gso_max_size (\d+)/.exec(ip('-n', ns.name, '-d', 'link', 'show', 'eth0'))![1]);
    // 44 segments of 1410 bytes of TCP payload and the kernel's allowance for headers; 65400 / (1450 + 30) = 44.2.
    expect(most()).toBe(44 * 1410 + 321);
    native.setMtu(ns.path, 'eth0', 8950);
    expect(most()).toBe(7 * 8910 + 321);
    native.close(fd);
  });

  test('makes a configured interface inside the namespace, and closing removes it', () => {
    const { fd, index } = native.createTap(
      tap(ns.path, {
        mac: '02:00:00:00:00:07',
        mtu: 1450,
        addresses: [
          { address: '10.7.0.2', prefix: 24 },
          { address: 'fd07::2', prefix: 64 },
        ],
        gateways: ['10.7.0.1', 'fd07::1'],
      }),
    );
    const [link] = JSON.parse(ip('-n', ns.name, '-j', 'address', 'show', 'dev', 'eth0'));
    expect(link).toMatchObject({ ifindex: index, mtu: 1450, address: '02:00:00:00:00:07' });
    expect(link.flags).toContain('UP');
    expect(link.addr_info).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ local: '10.7.0.2', prefixlen: 24, broadcast: '10.7.0.255' }),
        expect.objectContaining({ local: 'fd07::2', prefixlen: 64 }),
      ]),
    );
    expect(ip('-n', ns.name, 'route')).toContain('default via 10.7.0.1 dev eth0');
    expect(ip('-n', ns.name, '-6', 'route')).toContain('default via fd07::1 dev eth0');
    native.setMtu(ns.path, 'eth0', 1400);
    expect(ip('-n', ns.name, 'link', 'show', 'eth0')).toContain('mtu 1400');
    native.close(fd);
    expect(errorOf(() => ip('-n', ns.name, 'link', 'show', 'eth0')).message).toContain('eth0');
  });

  test('a taken name is EEXIST, whatever kind of link has it', () => {
    const { fd } = native.createTap(tap(ns.path));
    try {
      for (const name of ['eth0', 'lo']) {
        const error = errorOf(() => native.createTap(tap(ns.path, { name })));
        expect(error).toMatchObject({ code: 'EEXIST', errno: 17, syscall: `create TAP ${name}` });
      }
    } finally {
      native.close(fd);
    }
  });

  test('a FIFO in place of a namespace is refused at once', () => {
    const directory = mkdtempSync(join(tmpdir(), 'twill-tap-'));
    const netns = join(directory, 'fifo');
    execFileSync('mkfifo', [netns]);
    const error = { code: 'EINVAL', syscall: `setns ${netns}` };
    expect(errorOf(() => native.createTap(tap(netns)))).toMatchObject(error);
    expect(errorOf(() => native.setMtu(netns, 'eth0', 1400))).toMatchObject(error);
    rmSync(directory, { recursive: true });
  });

  test('errors say what was attempted, leave no device, and the thread comes home', () => {
    const before = tunDescriptors();
    const home = readlinkSync('/proc/thread-self/ns/net');
    const cases: [Parameters<typeof tap>[1], string, string][] = [
      [{ netns: '/run/netns/absent' }, 'ENOENT', 'open namespace /run/netns/absent'],
      [{ netns: '/etc/hostname' }, 'EINVAL', 'setns /etc/hostname'],
      [{ netns: '/proc/self/ns/uts' }, 'EINVAL', 'setns /proc/self/ns/uts'],
      [{ gateways: ['10.9.9.9'] }, 'ENETUNREACH', 'add default route via 10.9.9.9 on eth0'],
      [
        {
          addresses: [
            { address: '10.7.0.2', prefix: 24 },
            { address: '10.7.0.2', prefix: 24 },
          ],
        },
        'EEXIST',
        'add address 10.7.0.2/24 on eth0',
      ],
      [{ mac: '00:00:00:00:00:00' }, 'EADDRNOTAVAIL', 'set MAC 00:00:00:00:00:00 and MTU 1500 on eth0'],
    ];
    for (const [change, code, syscall] of cases) {
      const error = errorOf(() => native.createTap(tap(ns.path, change)));
      expect(error).toMatchObject({ code, syscall });
      expect(error.message).toMatch(new RegExp(`^${code}: .*, ${syscall}$`));
      expect(ip('-n', ns.name, '-br', 'link')).not.toContain('eth0');
    }
    expect(tunDescriptors()).toBe(before);
    expect(readlinkSync('/proc/thread-self/ns/net')).toBe(home);
  });

  test('arguments are validated before anything happens', () => {
    const wrong: Record<string, unknown>[] = [
      { name: '' },
      { name: 'sixteen-bytes-xx' },
      { name: 'a/b' },
      { name: 'tap%d' },
      { name: 'a\0b' },
      { mac: '02:00:00:00:00' },
      { mac: '01:00:00:00:00:01' },
      { mac: 'zz:00:00:00:00:01' },
      { mtu: 67 },
      { mtu: 65522 },
      { mtu: 1500.5 },
      { mtu: Number.NaN },
      { mtu: '1500' },
      { addresses: 'none' },
      { addresses: [{ address: '10.0.0.1', prefix: 33 }] },
      { addresses: [{ address: '10.0.0', prefix: 8 }] },
      { addresses: [null] },
      { gateways: ['10.0.0.1', '10.0.0.2'] },
      { gateways: ['x'.repeat(100)] },
      { netns: 5 },
    ];
    for (const change of wrong) {
      const options = { ...tap(ns.path), ...change } as Parameters<typeof native.createTap>[0];
      expect(
        errorOf(() => native.createTap(options)),
        JSON.stringify(change),
      ).toMatchObject({ code: 'EINVAL' });
    }
    for (const call of [
      native.createTap,
      native.openUnderlay,
      native.routeTo,
      native.close,
      native.setMtu,
      native.pin,
      native.setRealTime,
    ]) {
      expect(errorOf(() => (call as () => unknown)())).toMatchObject({ code: 'EINVAL' });
    }
  });

  test('descriptors are close-on-exec', async () => {
    const { fd } = native.createTap(tap(ns.path));
    const wake = native.createWake();
    const { rx, tx } = native.openUnderlay(underlay(await freePort()));
    const all = [fd, wake, rx, ...tx];
    try {
      const inherited = execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
      expect(inherited).not.toContain('/dev/net/tun');
      expect(inherited).not.toContain('eventfd');
    } finally {
      for (const each of all) native.close(each);
    }
  });
});

describe.skipIf(!kernel)('openUnderlay and routeTo', () => {
  const native = kernel ? loadNative() : (undefined as never);

  test('a second daemon on the port is EADDRINUSE, and nothing is left open', async () => {
    const port = await freePort();
    const { rx, tx } = native.openUnderlay(underlay(port));
    const before = readdirSync('/proc/self/fd').length;
    expect(errorOf(() => native.openUnderlay(underlay(port)))).toMatchObject({
      code: 'EADDRINUSE',
      syscall: `bind UDP 127.0.0.1 port ${port}`,
    });
    expect(
      errorOf(() => native.openUnderlay(underlay(port + 1, { sourcePorts: [40000, 40010] }))),
    ).toMatchObject({ code: 'EADDRINUSE' });
    expect(errorOf(() => native.openUnderlay(underlay(port, { address: '203.0.113.9' })))).toMatchObject({
      code: 'EADDRNOTAVAIL',
    });
    expect(readdirSync('/proc/self/fd').length).toBe(before);
    for (const fd of [rx, ...tx]) native.close(fd);
  });

  test('routeTo names link, MTU and source', () => {
    expect(native.routeTo('127.0.0.1')).toEqual({
      interface: 'lo',
      index: 1,
      mtu: 65536,
      source: '127.0.0.1',
    });
    expect(native.routeTo('::1')).toMatchObject({ interface: 'lo', index: 1, mtu: 65536 });
    expect(errorOf(() => native.routeTo('nowhere'))).toMatchObject({ code: 'EINVAL' });
  });

  test('routeTo says the MTU of a route that has its own, and no larger one than the link’s', () => {
    const ns = new Namespace(true);
    try {
      const inside = (...args: string[]) => ip('-n', ns.name, ...args);
      inside('link', 'add', 'up0', 'mtu', '1500', 'type', 'veth', 'peer', 'name', 'up1');
      inside('address', 'add', '192.0.2.1/24', 'dev', 'up0');
      inside('address', 'add', '2001:db8::1/64', 'dev', 'up0', 'nodad');
      inside('link', 'set', 'up0', 'up');
      inside('link', 'set', 'up1', 'up');
      inside('route', 'add', '198.51.100.0/24', 'via', '192.0.2.2', 'mtu', '1400');
      inside('route', 'add', '203.0.113.0/24', 'via', '192.0.2.2', 'mtu', '9000');
      inside('route', 'add', '2001:db8:1::/64', 'via', '2001:db8::2', 'mtu', '1300');
      const addon =
        process.env.TWILL_ADDON ?? fileURLToPath(new URL('../../native/build/twill.node', import.meta.url));
      const script = `const n = require(process.argv[1]);
        console.log(JSON.stringify(process.argv.slice(2).map((to) => n.routeTo(to).mtu)))`;
      const to = ['192.0.2.2', '198.51.100.7', '203.0.113.7', '2001:db8:1::7'];
      const said = ns.exec(process.execPath, '-e', script, addon, ...to);
      expect(JSON.parse(said)).toEqual([1500, 1400, 1500, 1300]);
    } finally {
      ns.delete();
    }
  });
});

/** Two TAPs joined by a kernel bridge: what is sent to one is received from the other. */
describe.skipIf(!kernel)('frames through TAPs', () => {
  const native = kernel ? loadNative() : (undefined as never);
  let ns: Namespace;
  let card: NativeCard;
  let descriptors: number[];

  beforeEach(() => {
    ns = new Namespace();
    card = new NativeCard();
    descriptors = ['tapa', 'tapb'].map((name, i) => {
      const { fd } = native.createTap(tap(ns.path, { name, mac: `02:00:00:00:01:0${i}`, mtu: 9000 }));
      card.addTap(i, fd);
      return fd;
    });
    ip('-n', ns.name, 'link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0', 'mcast_snooping', '0');
    for (const name of ['tapa', 'tapb']) ip('-n', ns.name, 'link', 'set', name, 'master', 'br0');
    ip('-n', ns.name, 'link', 'set', 'br0', 'up');
    drain(card);
  });
  afterEach(() => {
    card.close();
    for (const fd of descriptors) native.close(fd);
    ns.delete();
  });

  const ours = (device: number) => (slot: number) =>
    card.memory.device[slot] === device && card.memory.bytes[card.memory.start[slot] + 11] === 1;

  test('plain frames of every length', () => {
    const m = card.memory;
    for (const length of [14, 15, 59, 60, 61, 1514, 4096, 9014]) {
      const { bytes } = build({ v6: false, protocol: 'udp', payload: pattern(9000) });
      // Not IP: the bridge would check that.
      bytes.set([0x88, 0xb5], 12);
      const slot = put(card, bytes.subarray(0, length));
      expect(send(card, slot, { device: 0 })).toBe(TxStatus.SENT);
      release(card, slot);
      const [got] = receive(card, 1, ours(1));
      expect(hex(frameOf(card, got))).toBe(hex(bytes.subarray(0, length)));
      expect(m.start[got]).toBe(got * SLOT_BYTES + HEADROOM);
      expect(m.start[got] % 4).toBe(2);
      const columns = [m.csumStart, m.csumOffset, m.gsoType, m.gsoSize, m.fault, m.tos, m.remote2];
      expect(columns.map((column) => column[got])).toEqual([0, 0, 0, 0, 0, 0, 0]);
      release(card, got);
    }
  });

  const supers: [string, FrameSpec, Gso][] = [
    ['TCP over IPv4', { v6: false, protocol: 'tcp', payload: pattern(60_000), tcpOptions: 12 }, Gso.TCPV4],
    ['TCP over IPv6', { v6: true, protocol: 'tcp', payload: pattern(60_000) }, Gso.TCPV6],
    ['UDP over IPv4', { v6: false, protocol: 'udp', payload: pattern(60_000) }, Gso.UDP_L4],
  ];
  for (const [name, spec, gsoType] of supers) {
    test(`a super-frame passes whole: ${name}`, () => {
      const m = card.memory;
      const { bytes, l4 } = build({ ...spec, partial: true });
      const csumOffset = spec.protocol === 'tcp' ? 16 : 6;
      const slot = put(card, bytes, { csumStart: l4, csumOffset, gsoType, gsoSize: 1448 });
      expect(send(card, slot, { device: 0 })).toBe(TxStatus.SENT);
      release(card, slot);
      const [got] = receive(card, 1, ours(1));
      expect(hex(frameOf(card, got))).toBe(hex(bytes));
      expect([m.csumStart[got], m.csumOffset[got], m.gsoType[got], m.gsoSize[got], m.fault[got]]).toEqual([
        l4,
        csumOffset,
        gsoType,
        1448,
        Fault.NONE,
      ]);
    });
  }

  test('a frame flooded to underlay and TAPs in one flush is right everywhere', async () => {
    const { port, descriptors: sockets } = await addUnderlay(card, 2);
    descriptors.push(...sockets);
    remote(card, 0, '127.0.0.1', port);
    const m = card.memory;
    const spec: FrameSpec = { v6: false, protocol: 'tcp', payload: pattern(5000) };
    for (const gsoSize of [0, 1400]) {
      const { bytes, l4 } = build({ ...spec, partial: true });
      const offload = { csumStart: l4, csumOffset: 16, gsoType: gsoSize ? Gso.TCPV4 : Gso.NONE, gsoSize };
      const slot = put(card, bytes, offload);
      for (const device of [0, 2, 1]) queue(card, slot, { device });
      card.flush();
      expect([...m.txStatus.subarray(0, 3)]).toEqual([0, 0, 0]);
      release(card, slot);
      const copies = receive(card, gsoSize ? 6 : 3);
      const whole = copies.filter((s) => m.device[s] !== 2);
      expect(whole.length).toBe(2);
      for (const s of whole) {
        const complete = m.csumStart[s] === 0;
        expect(hex(frameOf(card, s))).toBe(hex(build({ ...spec, partial: !complete }).bytes));
      }
      for (const s of copies) release(card, s);
    }
  });

  test('devices take turns: a flooded TAP does not delay a quiet one', () => {
    const m = card.memory;
    const noise = put(card, apart(64));
    for (let i = 0; i < 400; i++) queue(card, noise, { device: 0 });
    queue(card, noise, { device: 1 });
    card.flush();
    const n = card.poll();
    expect(n).toBe(BURST);
    const devices = [...m.rx.subarray(0, n)].map((s) => m.device[s]);
    expect(devices.indexOf(0), 'the quiet device is in the first burst').toBeGreaterThanOrEqual(0);
    expect(devices.filter((d) => d === 1).length).toBe(BURST - 1);
  });

  test('an exhausted arena pauses reception without loss or spinning', () => {
    const m = card.memory;
    const noise = put(card, apart(64));
    for (let i = 0; i < 10; i++) queue(card, noise, { device: 0 });
    card.flush();
    const free = m.control[Control.FREE_COUNT];
    m.control[Control.FREE_COUNT] = 0;
    m.control[Control.TIMEOUT] = 1000;
    const started = performance.now();
    for (let i = 0; i < 20; i++) expect(card.poll()).toBe(0);
    expect(performance.now() - started).toBeGreaterThan(15);
    m.control[Control.FREE_COUNT] = free;
    expect(receive(card, 10, ours(1)).length).toBe(10);
  });

  test('a link that is down is an ERROR, and works again when up', () => {
    const slot = put(card, build({ v6: false, protocol: 'udp', payload: pattern(64) }).bytes);
    ip('-n', ns.name, 'link', 'set', 'tapa', 'down');
    expect(send(card, slot, { device: 0 })).toBe(TxStatus.ERROR);
    expect(card.memory.devices[0]).toBe(DeviceState.OPEN);
    ip('-n', ns.name, 'link', 'set', 'tapa', 'up');
    expect(send(card, slot, { device: 0 })).toBe(TxStatus.SENT);
  });

  const until = (done: () => boolean): void => {
    card.memory.control[Control.TIMEOUT] = 20;
    for (const end = performance.now() + 10_000; !done() && performance.now() < end; ) {
      const n = card.poll();
      for (let i = 0; i < n; i++) release(card, card.memory.rx[i]);
    }
    card.memory.control[Control.TIMEOUT] = 0;
    expect(done()).toBe(true);
  };

  test('a removed link and a deleted namespace are GONE, once each', () => {
    const m = card.memory;
    const slot = put(card, pattern(60));
    ip('-n', ns.name, 'link', 'del', 'tapa');
    until(() => m.devices[0] === DeviceState.GONE);
    expect(m.control[Control.GONE_COUNT]).toBe(1);
    expect(m.devices[1]).toBe(DeviceState.OPEN);
    ns.delete();
    until(() => m.devices[1] === DeviceState.GONE);
    expect(m.control[Control.GONE_COUNT]).toBe(2);
    expect(send(card, slot, { device: 0 })).toBe(TxStatus.GONE);
    card.remove(0);
    expect(m.devices[0]).toBe(DeviceState.NONE);
    expect(errorOf(() => card.remove(0))).toMatchObject({ code: 'ENOENT' });
  });

  test('transmission notices a vanished device too', () => {
    const slot = put(card, build({ v6: false, protocol: 'udp', payload: pattern(64) }).bytes);
    ip('-n', ns.name, 'link', 'del', 'tapa');
    expect(send(card, slot, { device: 0 })).toBe(TxStatus.GONE);
    expect(card.memory.devices[0]).toBe(DeviceState.GONE);
    expect(card.memory.control[Control.GONE_COUNT]).toBe(1);
  });

  test('a device number can be used again', () => {
    card.remove(0);
    expect(errorOf(() => card.addTap(1, descriptors[1]))).toMatchObject({ code: 'EEXIST' });
    card.addTap(0, descriptors[0]);
    const slot = put(card, build({ v6: false, protocol: 'udp', payload: pattern(64) }).bytes);
    expect(send(card, slot, { device: 1 })).toBe(TxStatus.SENT);
    expect(receive(card, 1, ours(0)).length).toBe(1);
  });
});

/** The underlay's own packets, seen on a TAP it is routed through. */
describe.skipIf(!kernel)('underlay datagrams on the wire', () => {
  const native = kernel ? loadNative() : (undefined as never);
  const name = `twu${process.pid % 100_000}`;
  // From 198.18.0.0/15, reserved for benchmarks (RFC 2544): nobody's real addresses.
  const net = `198.18.${process.pid % 251}`;
  let card: NativeCard;
  let wire: number;
  let descriptors: number[] = [];

  beforeEach(() => {
    wire = native.createTap(
      tap(null, { name, mtu: 1400, addresses: [{ address: `${net}.1`, prefix: 24 }] }),
    ).fd;
    ip('neigh', 'add', `${net}.2`, 'lladdr', '02:00:00:00:00:02', 'dev', name);
    card = new NativeCard();
    card.addTap(0, wire);
  });
  afterEach(() => {
    card.close();
    for (const fd of descriptors) native.close(fd);
    descriptors = [];
    native.close(wire);
  });

  async function open(change: Parameters<typeof addUnderlay>[2]): Promise<void> {
    const opened = await addUnderlay(card, 1, { address: `${net}.1`, ...change });
    descriptors = opened.descriptors;
    remote(card, 0, `${net}.2`, 4789);
  }
  const sent = (count: number) =>
    receive(card, count, (s) => {
      const at = card.memory.start[s];
      const { bytes } = card.memory;
      return bytes[at + 12] === 8 && bytes[at + 13] === 0 && bytes[at + 23] === 17 && bytes[at + 33] === 2;
    });

  test('TTL, DF, TOS, at least 8 source ports within the range', async () => {
    await open({ ttl: 9, sourcePorts: [50_000, 50_100] });
    const slot = put(card, pattern(100));
    for (let entropy = 0; entropy < 64; entropy++) queue(card, slot, { device: 1, entropy, tos: 0xb9 });
    card.flush();
    const ports = new Set<number>();
    for (const s of sent(64)) {
      const at = card.memory.start[s] + 14;
      const { view } = card.memory;
      expect([view.getUint8(at + 1), view.getUint16(at + 6), view.getUint8(at + 8)]).toEqual([
        0xb9, 0x4000, 9,
      ]);
      expect(view.getUint16(at + 22)).toBe(4789);
      ports.add(view.getUint16(at + 20));
    }
    expect(ports.size).toBe(16);
    for (const port of ports) expect(port >= 50_000 && port <= 50_100).toBe(true);
  });

  test('outer checksum: present by default, 0 when switched off', async () => {
    for (const checksum of [true, false]) {
      await open({ checksum });
      const slot = put(card, pattern(100));
      expect(send(card, slot, { device: 1 })).toBe(TxStatus.SENT);
      const [s] = sent(1);
      expect(card.memory.view.getUint16(card.memory.start[s] + 40) !== 0).toBe(checksum);
      card.remove(1);
      for (const fd of descriptors) native.close(fd);
      descriptors = [];
    }
  });

  test('beyond the path MTU: TOO_BIG with DF, fragments without', async () => {
    const { bytes, l4 } = build({ v6: false, protocol: 'tcp', payload: pattern(4000), partial: true });
    const offload = { csumStart: l4, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1400 };
    for (const df of [true, false]) {
      await open({ df });
      const status = df ? TxStatus.TOO_BIG : TxStatus.SENT;
      expect(send(card, put(card, pattern(1400)), { device: 1 })).toBe(status);
      expect(send(card, put(card, bytes, offload), { device: 1 })).toBe(status);
      // Of the three segments only the last, shorter one fits the path.
      expect(sent(7).length).toBe(df ? 1 : 7);
      card.remove(1);
      for (const fd of descriptors) native.close(fd);
      descriptors = [];
    }
  });

  test('ICMP errors never stop the device (V36)', async () => {
    const { port, descriptors: sockets } = await addUnderlay(card, 2);
    descriptors = sockets;
    remote(card, 1, '127.0.0.1', await freePort());
    remote(card, 2, '127.0.0.1', port);
    const slot = put(card, pattern(100));
    for (let i = 0; i < 50; i++) {
      expect(send(card, slot, { device: 2, remote: 1 })).toBe(TxStatus.SENT);
      expect(send(card, slot, { device: 2, remote: 2 })).toBe(TxStatus.SENT);
    }
    expect(receive(card, 50, (s) => card.memory.device[s] === 2).length).toBe(50);
  });
});
