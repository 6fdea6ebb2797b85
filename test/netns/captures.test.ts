/**
 * What is on the wire between two hosts, as tcpdump catches and tshark verifies it. Both ends of the underlay
 * do without checksum offload: what is captured is what would leave a real network card.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Capture, type CapturedPacket, type TestLab, testLab } from '../lab/lab.ts';
import {
  get,
  host,
  inner,
  MIB,
  network,
  outer,
  peer,
  ping,
  port,
  pour,
  put,
  SERVER,
  Servers,
  SKIP,
  service,
  slice,
  spread,
  udp,
  VERIFY,
  who,
  yaml,
} from './kit.ts';

const A1 = '10.77.0.11';
const B1 = '10.77.0.12';
const VIP = '10.96.0.10';
const VNI = 0xabcdef;
const UNDERLAY_MTU = 1500;
const GOOD = '1';

const FIELDS = [
  ...['frame.len', 'ip.src', 'ip.len', 'ip.ttl', 'ip.flags.df', 'ip.flags.mf', 'ip.frag_offset'],
  ...[
    'ip.dsfield.dscp',
    'ip.checksum.status',
    'udp.srcport',
    'udp.dstport',
    'udp.checksum',
    'udp.checksum.status',
  ],
  ...['tcp.checksum.status', 'icmp.checksum.status'],
];

/** The eight bytes behind Ethernet, IPv4 and UDP of every packet of a pcap file, in hexadecimal. */
function vxlanHeaders(file: string): Set<string> {
  const data = readFileSync(file);
  const found = new Set<string>();
  for (let at = 24; at + 16 <= data.length; at += 16 + data.readUInt32LE(at + 8))
    found.add(data.toString('hex', at + 16 + 42, at + 16 + 50));
  return found;
}

describe.skipIf(SKIP)('on the wire', () => {
  let lab: TestLab;
  const ns: Record<string, string> = {};

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['alpha', 'beta', 'a1', 'b1', 'c1', 'd1']) ns[name] = await lab.namespace(name);
    await lab.wire(
      { namespace: ns.alpha!, name: 'uplink', address: '192.0.2.1/24' },
      { namespace: ns.beta!, name: 'uplink', address: '192.0.2.2/24' },
    );
    for (const name of ['alpha', 'beta']) await lab.must(ns[name]!, ['ethtool', '-K', 'uplink', 'tx', 'off']);
    const options = {
      port: 4790,
      checksum: 'off',
      df: 'unset',
      ttl: 7,
      tos: 10,
      sourcePorts: [50_000, 50_031],
    };
    const both = [network('blue', VNI), network('odd', 43, options), service('shop', VIP), slice('shop', B1)];
    const alpha = [
      ...[host('alpha', '192.0.2.1'), peer('beta', '192.0.2.2')],
      ...[port('a1', 'blue', ns.a1!, A1), port('c1', 'odd', ns.c1!, A1)],
    ];
    const beta = [
      ...[host('beta', '192.0.2.2'), peer('alpha', '192.0.2.1')],
      ...[port('b1', 'blue', ns.b1!, B1), port('d1', 'odd', ns.d1!, B1)],
    ];
    await Promise.all([
      lab.daemonWith(ns.alpha!, 'alpha', yaml(...both, ...alpha)),
      lab.daemonWith(ns.beta!, 'beta', yaml(...both, ...beta)),
      new Servers(lab).start({ a1: ns.a1!, b1: ns.b1!, c1: ns.c1!, d1: ns.d1! }),
    ]);
  });
  afterAll(async () => lab?.dispose());

  /** Everything the underlay carries while `traffic` runs: VXLAN, and the fragments a host would have made. */
  async function caught(
    traffic: () => Promise<unknown>,
    at = { vni: VNI, port: 4789 },
  ): Promise<CapturedPacket[]> {
    // The ring has a place of this size for each frame, 16 000 in all; with tcpdump's own size it has 128.
    const filter = [
      '-s',
      '2048',
      '-B',
      '32768',
      'udp',
      'port',
      String(at.port),
      'or',
      '(ip[6:2]',
      '&',
      '0x3fff',
      '!=',
      '0)',
    ];
    const capture: Capture = await lab.capture(ns.beta!, 'uplink', filter);
    await traffic();
    const packets = await capture.decode(FIELDS, undefined, [...VERIFY, '-d', 'udp.port==4790,vxlan']);
    expect(vxlanHeaders(capture.file)).toEqual(
      new Set([`08000000${at.vni.toString(16).padStart(6, '0')}00`]),
    );
    return packets;
  }

  function expectSound(packets: readonly CapturedPacket[], least: number): void {
    expect(packets.length).toBeGreaterThanOrEqual(least);
    const wrong = packets.filter(
      (packet) =>
        (packet['ip.checksum.status'] ?? []).some((status) => status !== GOOD) ||
        (packet['udp.checksum.status'] ?? []).some((status) => status !== GOOD) ||
        (packet['tcp.checksum.status'] ?? []).some((status) => status !== GOOD) ||
        (packet['icmp.checksum.status'] ?? []).some((status) => status !== GOOD),
    );
    expect(wrong).toEqual([]);
    const odd = packets.filter(
      (packet) =>
        Number(outer(packet, 'udp.dstport')) !== 4789 ||
        Number(outer(packet, 'udp.srcport')) < 49_152 ||
        outer(packet, 'ip.ttl') !== '64' ||
        outer(packet, 'ip.dsfield.dscp') !== '0' ||
        !isSet(outer(packet, 'ip.flags.df')) ||
        isSet(outer(packet, 'ip.flags.mf')) ||
        Number(outer(packet, 'ip.frag_offset')) !== 0 ||
        Number(outer(packet, 'ip.len')) > UNDERLAY_MTU ||
        Number(outer(packet, 'udp.checksum')) === 0,
    );
    expect(odd).toEqual([]);
  }

  const isSet = (value: string | undefined): boolean => value === '1' || value === 'True';
  const sourcePorts = (packets: readonly CapturedPacket[]): Set<string | undefined> =>
    new Set(packets.map((packet) => outer(packet, 'udp.srcport')));

  it('V1, V2, V5, V6, V7: ping: header, checksums, DF and TTL', async () => {
    const packets = await caught(async () => {
      expect(await ping(lab, ns.a1!, B1)).toBe(5);
      expect(await ping(lab, ns.a1!, B1, { size: 1450 })).toBe(5);
    });
    expectSound(packets, 20);
    const largest = Math.max(...packets.map((packet) => Number(outer(packet, 'ip.len'))));
    expect(largest).toBe(UNDERLAY_MTU);
  });

  it('V5, V10, V15: TCP bulk from super-frames: every segment has right sums and fits', async () => {
    const packets = await caught(async () => {
      const out = await put(lab, ns.a1!, B1, 3 * MIB);
      const back = await get(lab, ns.a1!, B1, 3 * MIB);
      expect([out.received, back.received]).toEqual([out.sent, back.sent]);
    });
    expectSound(packets, (6 * MIB) / 1398);
    for (const [from, name] of [
      ['192.0.2.1', 'there'],
      ['192.0.2.2', 'back'],
    ] as const) {
      const full = packets.filter(
        (packet) => outer(packet, 'ip.src') === from && outer(packet, 'ip.len') === String(UNDERLAY_MTU),
      );
      expect(full.length, name).toBeGreaterThan(1000);
    }
  });

  it('V5, N43: TCP and UDP through a ClusterIP: translated before it is summed', async () => {
    const packets = await caught(async () => {
      const out = await put(lab, ns.a1!, VIP, MIB, { at: 80 });
      expect(out.received).toBe(out.sent);
      expect((await udp(lab, ns.a1!, VIP, [0, 1, 2, 1400], 80)).answered).toEqual([0, 1, 2, 1400]);
    });
    expectSound(packets, 700);
    expect(packets.filter((packet) => (packet['ip.src'] ?? []).includes(VIP))).toEqual([]);
  });

  it('V5, V10: UDP of many sizes, inner fragments included', async () => {
    const sizes = [0, 1, 2, 3, 64, 65, 512, 1399, 1421, 1422, 1423, 2844, 9000, 30_000];
    const packets = await caught(async () => {
      expect((await udp(lab, ns.a1!, B1, sizes)).answered).toEqual(sizes);
    });
    // of an inner fragment only the IP header can be verified
    const whole = packets.filter(
      (packet) => !isSet(inner(packet, 'ip.flags.mf')) && inner(packet, 'ip.frag_offset') === '0',
    );
    expect(whole.length).toBeGreaterThanOrEqual(20);
    expectSound(whole, 20);
    for (const packet of packets) expect(Number(outer(packet, 'ip.len'))).toBeLessThanOrEqual(UNDERLAY_MTU);
    for (const packet of packets) expect(isSet(outer(packet, 'ip.flags.mf'))).toBe(false);
  });

  it('V5, V10: 64-byte datagrams of many flows, and a mix of sizes, packed into calls: each right on the wire', async () => {
    // 7 small, 4 medium, 1 large: the "simple IMIX" of 12 packets, as UDP payload that fills the overlay's MTU
    const mix = [64, 64, 64, 64, 64, 64, 64, 548, 548, 548, 548, 1422];
    let sent = 0;
    const packets = await caught(async () => {
      sent = (await pour(lab, ns.a1!, B1, 200, 10, [64])) + (await pour(lab, ns.a1!, B1, 100, 12, mix));
    });
    // UDP may lose some where a queue is short of time
    expectSound(packets, 0.9 * sent);
    const isOurs = (packet: CapturedPacket): boolean =>
      outer(packet, 'ip.src') === '192.0.2.1' && inner(packet, 'udp.dstport') === String(SERVER);
    const ours = packets.filter(isOurs);
    expect(ours.length).toBeGreaterThan(0.9 * sent);
    expect(ours.length).toBeLessThanOrEqual(sent);
    expect(sourcePorts(ours).size).toBeGreaterThanOrEqual(8);
  });

  it('V4: 64 flows leave by at least 8 source ports, each flow by one', async () => {
    const many = await caught(async () => {
      expect((await spread(lab, ns.a1!, B1, 64)).answered.length).toBe(64);
    });
    for (const from of ['192.0.2.1', '192.0.2.2']) {
      const ours = many.filter((packet) => outer(packet, 'ip.src') === from);
      expect(sourcePorts(ours).size).toBeGreaterThanOrEqual(8);
      const perFlow = new Map<string, Set<string | undefined>>();
      for (const packet of ours) {
        const flow = `${inner(packet, 'udp.srcport')} ${inner(packet, 'udp.dstport')}`;
        const ports = perFlow.get(flow) ?? new Set();
        perFlow.set(flow, ports.add(outer(packet, 'udp.srcport')));
      }
      for (const [flow, ports] of perFlow) expect(ports.size, flow).toBe(1);
    }
    const one = await caught(() => put(lab, ns.a1!, B1, MIB));
    expect(
      sourcePorts(
        one.filter((packet) => outer(packet, 'ip.src') === '192.0.2.1' && packet['tcp.checksum.status']),
      ).size,
    ).toBe(1);
  });

  it('V4: all fragments of an inner datagram leave by one source port', async () => {
    const packets = await caught(async () => {
      expect((await udp(lab, ns.a1!, B1, [20_000])).answered).toEqual([20_000]);
    });
    const ours = packets.filter((packet) => {
      const part = isSet(inner(packet, 'ip.flags.mf')) || Number(inner(packet, 'ip.frag_offset') ?? 0) > 0;
      return part && outer(packet, 'ip.src') === '192.0.2.1';
    });
    expect(ours.length).toBeGreaterThanOrEqual(14);
    expect(sourcePorts(ours).size).toBe(1);
  });

  it('V4, V5, V6, V7: checksum, df, ttl, tos and sourcePorts of a network are obeyed', async () => {
    const packets = await caught(
      async () => {
        expect((await spread(lab, ns.c1!, B1, 32)).answered.length).toBe(32);
        const out = await put(lab, ns.c1!, B1, MIB);
        expect(out.received).toBe(out.sent);
        expect(await who(lab, ns.c1!, B1, 3)).toMatchObject({ names: { d1: 3 } });
      },
      { vni: 43, port: 4790 },
    );
    for (const packet of packets) {
      expect(Number(outer(packet, 'udp.checksum'))).toBe(0);
      expect(isSet(outer(packet, 'ip.flags.df'))).toBe(false);
      expect(outer(packet, 'ip.ttl')).toBe('7');
      expect(outer(packet, 'ip.dsfield.dscp')).toBe('10');
      expect(Number(outer(packet, 'ip.len'))).toBeLessThanOrEqual(UNDERLAY_MTU);
      expect(isSet(outer(packet, 'ip.flags.mf'))).toBe(false);
      const from = Number(outer(packet, 'udp.srcport'));
      expect(from >= 50_000 && from <= 50_031).toBe(true);
    }
  });
});
