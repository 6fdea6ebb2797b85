/**
 * Packets that may be cut, of pods with large interfaces to where they do not fit: a pod of a smaller MTU, and a kernel's
 * VXLAN device at the end of a narrower path. Kernels put together again what Twill cut.
 *
 *   alpha 192.0.2.1 ══ 9000 ══ middle ══ 1500 ══ 192.0.3.2 linux
 *     a1 10.77.0.11, MTU 8950                    k1 10.78.0.51, MTU 1450, behind a bridge with the device
 *     b1 10.78.0.12, MTU 1280
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Daemon, type TestLab, testLab } from '../lab/lab.ts';
import {
  host,
  items,
  network,
  peer,
  ping,
  port,
  Servers,
  SKIP,
  segmented,
  service,
  slice,
  udp,
  until,
  yaml,
} from './kit.ts';

const [A1, B1, K1] = ['10.77.0.11', '10.78.0.12', '10.78.0.51'];
const VIP = '10.96.0.10';
const SUBNETS = ['77', '78'].map((n) => ({ cidr: `10.${n}.0.0/24`, gateway: `10.${n}.0.1` }));
/** Of whole packets, with 28 bytes of headers: up to what fits, just more, two and more fragments. */
const SIZES = [1252, 1253, 1422, 1423, 2000, 4000, 8000];
const AS_SENT = { wrong: [], lost: [], refused: [] };
const PLACES = [
  ['b1', B1, 1280],
  ['k1', K1, 1450],
] as const;

describe.skipIf(SKIP)('what is too big and may be cut', () => {
  let lab: TestLab;
  let alpha: Daemon;
  const ns: Record<string, string> = {};

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['alpha', 'middle', 'linux', 'a1', 'b1', 'k1']) ns[name] = await lab.namespace(name);
    await lab.must(ns.middle!, ['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    for (const [name, subnet, own, mtu] of [
      ['alpha', '192.0.2', 1, 9000],
      ['linux', '192.0.3', 2, 1500],
    ] as const) {
      await lab.wire(
        { namespace: ns[name]!, name: 'uplink', address: `${subnet}.${own}/24`, mtu },
        { namespace: ns.middle!, name, address: `${subnet}.254/24`, mtu },
      );
      await lab.ip(ns[name]!, 'route', 'add', 'default', 'via', `${subnet}.254`);
    }
    await lab.vxlan({
      ...{ namespace: ns.linux!, local: '192.0.3.2', remote: '192.0.2.1', name: 'vx42', vni: 42 },
    });
    await lab.wire(
      { namespace: ns.linux!, name: 'pod' },
      { namespace: ns.k1!, name: 'eth0', address: `${K1}/24` },
    );
    await lab.bridge(ns.linux!, 'br42', ['vx42', 'pod']);
    for (const [at, link] of [
      ['linux', 'br42'],
      ['linux', 'vx42'],
      ['k1', 'eth0'],
    ] as const)
      await lab.ip(ns[at]!, 'link', 'set', 'dev', link, 'mtu', '1450');
    // Answers are bridged: the gateway is asked on this side alone.
    await lab.ip(ns.k1!, 'route', 'add', '10.77.0.0/24', 'dev', 'eth0');
    // Nobody says "don't fragment".
    for (const name of ['a1', 'b1', 'k1'])
      await lab.must(ns[name]!, ['sysctl', '-qw', 'net.ipv4.ip_no_pmtu_disc=1']);
    const documents = [
      host('alpha', '192.0.2.1'),
      peer('linux', '192.0.3.2'),
      network('blue', 42, {}, { subnets: SUBNETS, mtu: 8950 }),
      port('a1', 'blue', ns.a1!, A1),
      port('b1', 'blue', ns.b1!, B1, { mtu: 1280 }),
      service('narrow', VIP),
      slice('narrow', B1),
    ];
    [alpha] = await Promise.all([
      lab.daemonWith(ns.alpha!, 'alpha', yaml(...documents)),
      new Servers(lab).start({ a1: ns.a1!, b1: ns.b1!, k1: ns.k1! }),
    ]);
    // The path to the peer is known once something did not fit (V17).
    await lab.run(ns.a1!, ['ping', '-c', '2', '-W', '1', '-M', 'do', '-s', '4000', K1]);
    interface Peer {
      readonly status: { readonly pathMtu: number | null };
    }
    await until(
      () => items<Peer>(lab, alpha, 'peers'),
      ([only]) => only?.status.pathMtu === 1500,
    );
    await lab.ip(ns.a1!, 'route', 'flush', 'cache');
  });
  afterAll(async () => lab?.dispose());

  const tooBig = async (): Promise<number> =>
    (await items<{ readonly reason: string; readonly count: number }>(lab, alpha, 'drops'))
      .filter(({ reason }) => reason === 'TOO_BIG' || reason === 'TX_TOO_BIG')
      .reduce((sum, { count }) => sum + count, 0);

  it.each(PLACES)('N34: datagrams to %s arrive whole, in fragments that fit', async (name, to, mtu) => {
    const before = await tooBig();
    const capture = await lab.capture(ns[name]!, 'eth0', [
      'src',
      'host',
      A1,
      'and',
      '(ip[6:2]',
      '&',
      '0x3fff',
      '!=',
      '0)',
    ]);
    expect(await udp(lab, ns.a1!, to, SIZES)).toEqual({ answered: SIZES, ...AS_SENT });
    const lengths = (await capture.decode(['ip.len'])).map((packet) => Number(packet['ip.len']![0]));
    expect(lengths.length).toBeGreaterThan(10);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(mtu);
    expect(Math.max(...lengths)).toBeGreaterThan(mtu - 8);
    expect(await tooBig()).toBe(before);
  });

  it.each(PLACES)('N34: a ping of 4000 bytes to %s that may be cut is answered', async (_, to) => {
    const argv = ['ping', '-n', '-c', '3', '-i', '0.1', '-W', '1', '-M', 'dont', '-s', '4000', to];
    expect((await lab.run(ns.a1!, argv)).stdout).toContain('3 received');
  });

  it.each(PLACES)('N34: what a pod sends in fragments to %s is cut further', async (_, to) => {
    await lab.ip(ns.a1!, 'route', 'add', `${to}/32`, 'via', '10.77.0.1', 'mtu', '3000');
    expect(await udp(lab, ns.a1!, to, [2000, 4000, 8000, 20_000])).toEqual({
      answered: [2000, 4000, 8000, 20_000],
      ...AS_SENT,
    });
    await lab.ip(ns.a1!, 'route', 'delete', `${to}/32`);
  });

  it.each(PLACES)('N34: of a UDP super-frame each datagram is cut, and arrives at %s', async (name, to) => {
    for (const [size, total] of [
      [2000, 40_000],
      [1500, 20_100],
    ] as const) {
      const receiver = { namespace: ns[name]!, address: to };
      const { sent, heard } = await segmented(lab, ns.a1!, receiver, { calls: 10, size, total });
      expect(heard).toEqual(sent);
    }
  });

  it('N34, N36: through a service, whole or in fragments', async () => {
    expect(await udp(lab, ns.a1!, VIP, SIZES, 80)).toEqual({ answered: SIZES, ...AS_SENT });
    await lab.ip(ns.a1!, 'route', 'add', `${VIP}/32`, 'via', '10.77.0.1', 'mtu', '3000');
    expect((await udp(lab, ns.a1!, VIP, [4000, 20_000], 80)).answered).toEqual([4000, 20_000]);
    await lab.ip(ns.a1!, 'route', 'delete', `${VIP}/32`);
  });

  it('N34: and what fits is left alone', async () => {
    for (const [name, to, mtu] of PLACES) {
      const capture = await lab.capture(ns[name]!, 'eth0', ['src', 'host', A1, 'and', 'icmp']);
      expect(await ping(lab, ns.a1!, to, { size: mtu })).toBe(5);
      const lengths = (await capture.decode(['ip.len'])).map((packet) => packet['ip.len']![0]);
      expect(lengths).toEqual(Array(5).fill(String(mtu)));
    }
  });
});
