/**
 * A Twill host beside the kernel's own VXLAN device, and IPv6 underlays.
 *
 *   alpha 192.0.2.1, 2001:db8::1 ══ veth ══ 192.0.2.2, 2001:db8::2 linux
 *     a1 10.77.0.11 (Twill, VNI 42)           the device itself 10.77.0.50, no outer checksum in VNI 44
 *     a6 10.77.0.11 (Twill, VNI 46, IPv6)     k1 10.77.0.51, in a namespace behind a bridge with the device
 *
 *   beta 2001:db8::3 is a second Twill host, on its own link to alpha.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Daemon, type TestLab, testLab } from '../lab/lab.ts';
import {
  bothWays,
  get,
  host,
  inner,
  items,
  MIB,
  network,
  outer,
  peer,
  ping,
  port,
  put,
  rate,
  Servers,
  SKIP,
  segmented,
  service,
  slice,
  spread,
  udp,
  until,
  VERIFY,
  who,
  yaml,
} from './kit.ts';

const A1 = '10.77.0.11';
const S1 = '10.77.0.12';
const VIP = '10.96.0.10';
const DEVICE = '10.77.0.50';
const BRIDGED = '10.77.0.51';
const SMALL = [0, 1, 17, 18, 64, 511, 1024, 1400];
const FITS = [1421, 1422];
const FRAGMENTED = [1423, 2000, 8192, 60_000];
const OFFLOADS = ['tx-udp_tnl-segmentation', 'tx-udp_tnl-csum-segmentation'];
const [ECT_1, ECT_0, CE] = [1, 2, 3];

describe.skipIf(SKIP)('beside a kernel VTEP', () => {
  let lab: TestLab;
  let alpha: Daemon;
  const ns: Record<string, string> = {};

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['alpha', 'linux', 'a1', 'k1', 'n1', 'n2', 's1']) ns[name] = await lab.namespace(name);
    await lab.wire(
      { namespace: ns.alpha!, name: 'uplink', address: '192.0.2.1/24' },
      { namespace: ns.linux!, name: 'uplink', address: '192.0.2.2/24' },
    );
    const tunnel = { namespace: ns.linux!, local: '192.0.2.2', remote: '192.0.2.1' };
    // as `ip link add … type vxlan` + `bridge fdb append 00:00:00:00:00:00 … dst`: that is what `remote` does
    await lab.vxlan({ ...tunnel, name: 'vx42', vni: 42 });
    await lab.vxlan({ ...tunnel, name: 'vx44', vni: 44, options: ['noudpcsum'] });
    await lab.wire(
      { namespace: ns.linux!, name: 'pod' },
      { namespace: ns.k1!, name: 'eth0', address: `${BRIDGED}/24` },
    );
    await lab.wire(
      { namespace: ns.linux!, name: 'pod2' },
      { namespace: ns.n2!, name: 'eth0', address: `${BRIDGED}/24` },
    );
    await lab.bridge(ns.linux!, 'br42', ['vx42', 'pod']);
    await lab.bridge(ns.linux!, 'br44', ['vx44', 'pod2']);
    for (const [namespace, link] of [
      [ns.linux!, 'br42'],
      [ns.linux!, 'vx42'],
      [ns.linux!, 'vx44'],
      [ns.k1!, 'eth0'],
      [ns.n2!, 'eth0'],
    ] as const)
      await lab.ip(namespace, 'link', 'set', 'dev', link, 'mtu', '1450');
    await lab.ip(ns.linux!, 'address', 'add', `${DEVICE}/24`, 'dev', 'br42');
    const documents = [
      host('alpha', '192.0.2.1'),
      peer('linux', '192.0.2.2'),
      network('blue', 42),
      network('plain', 44),
      service('far', VIP),
      slice('far', BRIDGED),
      port('a1', 'blue', ns.a1!, A1),
      port('n1', 'plain', ns.n1!, A1),
      port('s1', 'blue', ns.s1!, S1, { mtu: 1300 }),
    ];
    const servers = new Servers(lab);
    const { a1, k1, n1, n2, s1, linux } = ns;
    [alpha] = await Promise.all([
      lab.daemonWith(ns.alpha!, 'alpha', yaml(...documents)),
      servers.start({ a1: a1!, k1: k1!, n1: n1!, n2: n2!, s1: s1!, linux: linux! }),
    ]);
  });
  afterAll(async () => lab?.dispose());

  const known = (namespace: string, link: string, address: string): Promise<string> =>
    lab.ip(namespace, 'neigh', 'show', address, 'dev', link);

  it('A5, A8, V28: ARP is resolved from either side, from scratch', async () => {
    for (const [from, link, to] of [
      ['a1', 'eth0', DEVICE],
      ['a1', 'eth0', BRIDGED],
      ['k1', 'eth0', A1],
      ['linux', 'br42', A1],
    ] as const) {
      await lab.ip(ns[from]!, 'neigh', 'flush', 'all');
      expect(await ping(lab, ns[from]!, to, { count: 2 })).toBe(2);
      expect(await known(ns[from]!, link, to)).toContain('lladdr');
    }
    interface Row {
      readonly peer: string | null;
      readonly network: string;
    }
    const rows = await items<Row>(lab, alpha, 'fdb');
    expect(
      rows.filter((row) => row.peer === 'linux' && row.network === 'blue').length,
    ).toBeGreaterThanOrEqual(2);
  });

  it('V8, V15: ping both ways, up to the last byte that fits', async () => {
    for (const [from, to] of [
      ['a1', BRIDGED],
      ['k1', A1],
      ['a1', DEVICE],
    ] as const) {
      expect(await ping(lab, ns[from]!, to, { size: 1450 })).toBe(5);
    }
  });

  it('B19: UDP both ways, small, full and fragmented inside', async () => {
    const sizes = [...SMALL, ...FITS, ...FRAGMENTED];
    for (const [from, to] of [
      ['a1', BRIDGED],
      ['a1', DEVICE],
      ['k1', A1],
    ] as const) {
      expect(await udp(lab, ns[from]!, to, sizes)).toEqual({
        answered: sizes,
        wrong: [],
        lost: [],
        refused: [],
      });
    }
    expect((await spread(lab, ns.k1!, A1, 64)).answered.length).toBe(64);
  });

  it('V26: TCP with the bridged pod, all offloads on: 32 MiB each way, whole', async () => {
    await bothWays(lab, ns.a1!, BRIDGED, 32 * MIB, 'Twill → kernel VTEP, bridged pod');
    await bothWays(lab, ns.k1!, A1, 32 * MIB, 'kernel VTEP, bridged pod → Twill');
  });

  it('V26: TCP with the kernel host itself, all offloads on: 32 MiB each way, whole', async () => {
    await bothWays(lab, ns.a1!, DEVICE, 32 * MIB, 'Twill → kernel host');
    await bothWays(lab, ns.linux!, A1, 32 * MIB, 'kernel host → Twill');
  });

  it('V26: what the kernel’s device sends really is larger than the MTU', async () => {
    const capture = await lab.capture(ns.alpha!, 'uplink', ['src', 'host', '192.0.2.2', 'and', 'udp']);
    const bulk = await put(lab, ns.k1!, A1, 2 * MIB);
    expect(bulk.received).toBe(bulk.sent);
    const sizes = (await capture.decode(['ip.len'])).map((packet) => Number(outer(packet, 'ip.len')));
    expect(Math.max(...sizes)).toBeGreaterThan(1500);
  });

  it('V26, B20: a super-frame reaches a port of a smaller MTU in segments of that size', async () => {
    await bothWays(lab, ns.k1!, S1, 8 * MIB, 'kernel VTEP → a port of MTU 1300');
  });

  it('V26, B20: so does one of two segments that together fit the overlay', async () => {
    for (const bytes of [1249, 1300, 1398]) {
      const sent = await put(lab, ns.k1!, S1, bytes);
      expect(sent.received).toBe(sent.sent);
    }
    expect(
      (await items<{ readonly reason: string }>(lab, alpha, 'drops')).map(({ reason }) => reason),
    ).not.toContain('TOO_BIG');
  });

  /** Datagrams of UDP super-frames, small, odd and full, the last of each call shorter. */
  async function superDatagrams(from: string, to: string, address: string): Promise<void> {
    for (const [size, total] of [
      [1, 60],
      [64, 64 * 40],
      [1001, 40_000],
      [1422, 60_000],
    ] as const) {
      const receiver = { namespace: ns[to]!, address };
      const { sent, heard } = await segmented(lab, ns[from]!, receiver, { calls: 20, size, total });
      expect(heard, `${from} → ${to}, datagrams of ${size} bytes`).toEqual(sent);
    }
  }

  it('V26: UDP super-frames of a pod behind the kernel VTEP arrive unsegmented, datagram by datagram', async () => {
    const capture = await lab.capture(ns.alpha!, 'uplink', ['src', 'host', '192.0.2.2', 'and', 'udp']);
    await superDatagrams('k1', 'a1', A1);
    const sizes = (await capture.decode(['ip.len'])).map((packet) => Number(outer(packet, 'ip.len')));
    expect(Math.max(...sizes)).toBeGreaterThan(1500);
    await superDatagrams('linux', 'a1', A1);
  });

  it('V10: UDP super-frames of a pod of ours reach one behind the kernel VTEP', async () => {
    await superDatagrams('a1', 'k1', BRIDGED);
    await superDatagrams('a1', 'linux', DEVICE);
  });

  it('V10: UDP super-frames both ways when the kernel segments before its veth, or in the pod', async () => {
    const off = async (name: string, link: string, features: readonly string[]): Promise<void> => {
      const set = (value: string): Promise<string> =>
        lab.must(ns[name]!, ['ethtool', '-K', link, ...features.flatMap((feature) => [feature, value])]);
      await set('off');
      try {
        await superDatagrams('k1', 'a1', A1);
        await superDatagrams('a1', 'k1', BRIDGED);
      } finally {
        await set('on');
      }
    };
    await off('linux', 'uplink', OFFLOADS);
    await off('k1', 'eth0', ['tx-udp-segmentation']);
    await off('linux', 'uplink', ['tx']);
  });

  it('V10: TCP whole when the kernel segments before its veth', async () => {
    const set = (value: string): Promise<string> =>
      lab.must(ns.linux!, ['ethtool', '-K', 'uplink', ...OFFLOADS.flatMap((name) => [name, value])]);
    await set('off');
    try {
      await bothWays(lab, ns.a1!, BRIDGED, 16 * MIB, 'tunnel segmentation off');
    } finally {
      await set('on');
    }
  });

  it('V10: TCP whole when neither underlay veth finishes checksums', async () => {
    const set = async (value: string): Promise<void> => {
      for (const name of ['alpha', 'linux'])
        await lab.must(ns[name]!, ['ethtool', '-K', 'uplink', 'tx', value]);
    };
    await set('off');
    try {
      await bothWays(lab, ns.a1!, BRIDGED, 16 * MIB, 'no checksum offload');
      await bothWays(lab, ns.linux!, A1, 16 * MIB, 'no checksum offload, kernel host');
    } finally {
      await set('on');
    }
  });

  it('V24: a kernel peer that sends outer checksum 0 is accepted over IPv4', async () => {
    const capture = await lab.capture(ns.alpha!, 'uplink', ['src', 'host', '192.0.2.2', 'and', 'udp']);
    expect(await ping(lab, ns.n1!, BRIDGED)).toBe(5);
    const sums = await capture.decode(['udp.checksum'], 'vxlan && icmp');
    expect(sums.map((packet) => Number(outer(packet, 'udp.checksum')))).toEqual([0, 0, 0, 0, 0]);
    await bothWays(lab, ns.n1!, BRIDGED, 16 * MIB, 'outer checksum 0');
    expect((await udp(lab, ns.n2!, A1, SMALL)).answered).toEqual(SMALL);
  });

  it('V12: every ECN mark of an inner packet is on the outer header and arrives unchanged', async () => {
    for (const [from, to, receiver] of [
      ['a1', BRIDGED, 'k1'],
      ['k1', A1, 'a1'],
    ] as const) {
      const wire = await lab.capture(ns.alpha!, 'uplink', ['udp', 'port', '4789']);
      const pod = await lab.capture(ns[receiver]!, 'eth0', ['icmp']);
      for (const tos of [0, ECT_1, ECT_0, CE])
        expect(await ping(lab, ns[from]!, to, { tos, count: 1 })).toBe(1);
      const fields = ['ip.dsfield.ecn', 'ip.dsfield.dscp'];
      const onWire = await wire.decode(fields, 'icmp.type == 8');
      const marks = onWire.map((packet) => Number(outer(packet, 'ip.dsfield.ecn')));
      // the one cell in which Linux differs: inner CE leaves as ECT(0)
      expect(marks).toEqual([0, ECT_1, ECT_0, from === 'a1' ? CE : ECT_0]);
      expect(onWire.map((packet) => Number(inner(packet, 'ip.dsfield.ecn')))).toEqual([0, ECT_1, ECT_0, CE]);
      expect(onWire.map((packet) => Number(outer(packet, 'ip.dsfield.dscp')))).toEqual([0, 0, 0, 0]);
      const arrived = await pod.decode(fields, 'icmp.type == 8');
      expect(arrived.map((packet) => Number(outer(packet, 'ip.dsfield.ecn')))).toEqual([0, ECT_1, ECT_0, CE]);
    }
  });

  it('N2, N42: a ClusterIP whose backend is behind the kernel VTEP: replies in super-frames are untranslated', async () => {
    expect((await who(lab, ns.a1!, VIP, 4, 80)).clients).toEqual([`k1 ${A1}`]);
    const [out, back] = [
      await put(lab, ns.a1!, VIP, 8 * MIB, { at: 80 }),
      await get(lab, ns.a1!, VIP, 16 * MIB, 80),
    ];
    for (const transfer of [out, back]) expect(transfer.received).toBe(transfer.sent);
    const sizes = [...SMALL, ...FITS];
    expect((await udp(lab, ns.a1!, VIP, sizes, 80)).answered).toEqual(sizes);
    console.log(`ClusterIP, backend behind the kernel VTEP: ${rate(out)} there, ${rate(back)} back`);
  });

  it('V25: outer datagrams that the kernel fragmented are accepted', async () => {
    await lab.ip(ns.linux!, 'route', 'add', '192.0.2.1/32', 'dev', 'uplink', 'mtu', 'lock', '1400');
    try {
      const capture = await lab.capture(ns.alpha!, 'uplink', ['(ip[6:2]', '&', '0x1fff', '!=', '0)']);
      // inner fragments may not be refused for their size
      expect((await udp(lab, ns.k1!, A1, FRAGMENTED)).answered).toEqual(FRAGMENTED);
      const parts = await capture.decode(['ip.src']);
      expect(parts.length).toBeGreaterThan(20);
    } finally {
      await lab.ip(ns.linux!, 'route', 'delete', '192.0.2.1/32', 'dev', 'uplink');
    }
  });

  it('V14: TCP that negotiated ECN is whole both ways', async () => {
    for (const name of ['a1', 'k1']) await lab.must(ns[name]!, ['sysctl', '-qw', 'net.ipv4.tcp_ecn=1']);
    await bothWays(lab, ns.a1!, BRIDGED, 8 * MIB, 'TCP with ECN');
  });

  it('V1, P7: the kernel’s device drops nothing of ours for its header', async () => {
    const text = await lab.ip(ns.linux!, '-s', '-j', 'link', 'show', 'vx42');
    const [{ stats64 }] = JSON.parse(text) as [{ stats64: { rx: { errors: number; packets: number } } }];
    expect(stats64.rx.errors).toBe(0);
    expect(stats64.rx.packets).toBeGreaterThan(1000);
  });

  it('M15: the daemon dropped nothing for a reason of its own making', async () => {
    interface Row {
      readonly reason: string;
    }
    const reasons = (await items<Row>(lab, alpha, 'drops')).map(({ reason }) => reason);
    for (const bad of [
      ...['BAD_OFFLOAD', 'TX_ERROR', 'TRUNCATED', 'TOO_BIG', 'TX_TOO_BIG'],
      ...['UNKNOWN_PEER', 'TUNNEL_SHORT', 'ECN'],
    ])
      expect(reasons).not.toContain(bad);
  });
});

describe.skipIf(SKIP)('over IPv6', () => {
  let lab: TestLab;
  let daemons: Daemon[];
  const ns: Record<string, string> = {};
  const B1 = '10.77.0.12';
  const SIX = { a: 'fd77::11', b: 'fd77::12', k: 'fd77::51' };

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['alpha', 'beta', 'linux', 'a1', 'b1', 'k1', 'z1', 'y1'])
      ns[name] = await lab.namespace(name);
    await lab.wire(
      { namespace: ns.alpha!, name: 'uplink', address: '2001:db8:1::1/64' },
      { namespace: ns.linux!, name: 'uplink', address: '2001:db8:1::2/64' },
    );
    await lab.wire(
      { namespace: ns.alpha!, name: 'beta', address: '2001:db8:2::1/64' },
      { namespace: ns.beta!, name: 'uplink', address: '2001:db8:2::2/64' },
    );
    await lab.ip(ns.beta!, '-6', 'route', 'add', 'default', 'via', '2001:db8:2::1');
    await lab.vxlan({
      ...{ namespace: ns.linux!, name: 'vx46', vni: 46, local: '2001:db8:1::2', remote: '2001:db8:1::1' },
    });
    await lab.wire(
      { namespace: ns.linux!, name: 'pod' },
      { namespace: ns.k1!, name: 'eth0', address: `${BRIDGED}/24` },
    );
    await lab.bridge(ns.linux!, 'br46', ['vx46', 'pod']);
    for (const [namespace, link] of [
      [ns.linux!, 'vx46'],
      [ns.linux!, 'br46'],
      [ns.k1!, 'eth0'],
    ] as const)
      await lab.ip(namespace, 'link', 'set', 'dev', link, 'mtu', '1430');
    // two more tunnels, whose outer checksum is 0; the device itself is the station
    for (const [name, vni, udpPort] of [
      ['vxz', 47, 4791],
      ['vxy', 48, 4792],
    ] as const) {
      const ends = { local: '2001:db8:1::2', remote: '2001:db8:1::1', port: udpPort };
      await lab.vxlan({ ...ends, namespace: ns.linux!, name, vni, options: ['udp6zerocsumtx'] });
      await lab.ip(ns.linux!, 'link', 'set', 'dev', name, 'mtu', '1430');
    }
    await lab.ip(ns.linux!, 'address', 'add', '10.78.0.50/24', 'dev', 'vxz');
    await lab.ip(ns.linux!, 'address', 'add', '10.79.0.50/24', 'dev', 'vxy');
    const zero = [
      network('zero', 47, { port: 4791, zeroChecksum6: true }, { subnets: [{ cidr: '10.78.0.0/24' }] }),
      network('strict', 48, { port: 4792 }, { subnets: [{ cidr: '10.79.0.0/24' }] }),
      port('z1', 'zero', ns.z1!, '10.78.0.11'),
      port('y1', 'strict', ns.y1!, '10.79.0.11'),
    ];
    const six = network(
      'six',
      46,
      {},
      {
        subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd77::/64' }],
      },
    );
    const alpha = [
      host('alpha', '2001:db8:1::1'),
      peer('linux', '2001:db8:1::2'),
      peer('beta', '2001:db8:2::2'),
      port('a1', 'six', ns.a1!, A1, { addresses: [A1, SIX.a] }),
    ];
    const beta = [
      host('beta', '2001:db8:2::2'),
      peer('alpha', '2001:db8:1::1'),
      port('b1', 'six', ns.b1!, B1, { addresses: [B1, SIX.b] }),
    ];
    await lab.ip(ns.k1!, 'address', 'add', `${SIX.k}/64`, 'dev', 'eth0', 'nodad');
    const servers = new Servers(lab);
    [daemons] = await Promise.all([
      Promise.all([
        lab.daemonWith(ns.alpha!, 'alpha', yaml(six, ...zero, ...alpha)),
        lab.daemonWith(ns.beta!, 'beta', yaml(six, ...beta)),
      ]),
      servers.start({ a1: ns.a1!, b1: ns.b1!, k1: ns.k1! }),
    ]);
  });
  afterAll(async () => lab?.dispose());

  it('V15: the overlay carries the underlay’s MTU less 70', async () => {
    expect(daemons.length).toBe(2);
    expect(await lab.ip(ns.a1!, 'link', 'show', 'eth0')).toContain('mtu 1430');
    for (const to of [B1, BRIDGED]) {
      expect(await ping(lab, ns.a1!, to, { size: 1430 })).toBe(5);
      expect(await ping(lab, ns.a1!, to, { size: 1431, count: 1 })).toBe(0);
    }
  });

  it('V5: the outer IPv6 checksum is always there and right, hop limit 64 (V7)', async () => {
    for (const name of ['alpha', 'beta']) {
      const links = name === 'alpha' ? ['uplink', 'beta'] : ['uplink'];
      for (const link of links) await lab.must(ns[name]!, ['ethtool', '-K', link, 'tx', 'off']);
    }
    try {
      const capture = await lab.capture(ns.beta!, 'uplink', [
        '-B',
        '32768',
        'src',
        'host',
        '2001:db8:1::1',
        'and',
        'udp',
      ]);
      expect(await ping(lab, ns.a1!, B1)).toBe(5);
      expect((await udp(lab, ns.a1!, B1, SMALL)).answered).toEqual(SMALL);
      await bothWays(lab, ns.a1!, B1, 4 * MIB, 'IPv6 underlay, no checksum offload');
      const fields = ['udp.checksum', 'udp.checksum.status', 'tcp.checksum.status', 'ip.checksum.status'];
      const packets = await capture.decode([...fields, 'ipv6.hlim', 'frame.len'], undefined, VERIFY);
      expect(packets.length).toBeGreaterThan(100);
      for (const packet of packets) {
        expect(Number(outer(packet, 'udp.checksum'))).not.toBe(0);
        for (const field of fields.slice(1))
          for (const status of packet[field] ?? []) expect(status).toBe('1');
        expect(outer(packet, 'ipv6.hlim')).toBe('64');
        expect(Number(outer(packet, 'frame.len'))).toBeLessThanOrEqual(1514);
      }
    } finally {
      await lab.must(ns.alpha!, ['ethtool', '-K', 'beta', 'tx', 'on']);
      for (const name of ['alpha', 'beta'])
        await lab.must(ns[name]!, ['ethtool', '-K', 'uplink', 'tx', 'on']);
    }
  });

  it('V15, B19: Twill and Twill: 32 MiB of TCP each way, UDP of every size', async () => {
    await bothWays(lab, ns.a1!, B1, 32 * MIB, 'IPv6 underlay');
    const sizes = [...SMALL, ...FRAGMENTED];
    expect((await udp(lab, ns.a1!, B1, sizes)).answered).toEqual(sizes);
  });

  it('V24: outer checksum 0 over IPv6 is dropped, unless the network accepts it', async () => {
    expect(await ping(lab, ns.z1!, '10.78.0.50')).toBe(5);
    expect(await ping(lab, ns.y1!, '10.79.0.50', { count: 2 })).toBe(0);
  });

  it('V26: Twill and the kernel: 32 MiB of TCP each way, UDP of every size', async () => {
    await bothWays(lab, ns.a1!, BRIDGED, 32 * MIB, 'IPv6 underlay, kernel VTEP');
    await bothWays(lab, ns.k1!, A1, 16 * MIB, 'IPv6 underlay, from the kernel VTEP');
    const sizes = [...SMALL, ...FRAGMENTED];
    expect((await udp(lab, ns.k1!, A1, sizes)).answered).toEqual(sizes);
    expect((await udp(lab, ns.a1!, BRIDGED, sizes)).answered).toEqual(sizes);
  });

  it('V40, V26: inner IPv6 with Twill and with the kernel: ping, UDP, 16 MiB of TCP each way', async () => {
    for (const [to, title] of [
      [SIX.b, 'inner IPv6'],
      [SIX.k, 'inner IPv6, kernel VTEP'],
    ] as const) {
      await until(
        () => ping(lab, ns.a1!, to, { count: 1 }),
        (got) => got === 1,
      );
      expect(await ping(lab, ns.a1!, to, { size: 1430 })).toBe(5);
      expect((await udp(lab, ns.a1!, to, SMALL)).answered).toEqual(SMALL);
      await bothWays(lab, ns.a1!, to, 16 * MIB, title);
    }
    await bothWays(lab, ns.k1!, SIX.a, 16 * MIB, 'inner IPv6, from the kernel VTEP');
  });
});
