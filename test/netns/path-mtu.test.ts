/**
 * Two Twill hosts with two routers between them, joined by a link that carries less; a third host that dies.
 *
 *   alpha 192.0.2.1 ══ 1500 ══ near ══ 1400 ══ far ══ 1500 ══ 198.51.100.2 beta      each also in 2001:db8::/32
 *                                ╚════ 1500 ══ 203.0.113.2 gamma
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Daemon, type TestLab, testLab } from '../lab/lab.ts';
import {
  bothWays,
  host,
  items,
  MIB,
  network,
  peer,
  ping,
  port,
  Servers,
  SKIP,
  udp,
  until,
  yaml,
} from './kit.ts';

const A1 = '10.77.0.11';
const B1 = '10.77.0.12';
const C1 = '10.77.0.13';
const ALPHA = '192.0.2.1';
const BETA = '198.51.100.2';
const GAMMA = '203.0.113.2';
const ALPHA6 = '2001:db8:1::1';
const BETA6 = '2001:db8:2::2';
const NARROW = 1400;

interface Peer {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly reachable: string;
    readonly rtt: number | null;
    readonly pathMtu: number | null;
  };
}

describe.skipIf(SKIP)('paths', () => {
  let lab: TestLab;
  let alpha: Daemon;
  let gamma: Daemon;
  let died: number;
  const ns: Record<string, string> = {};

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['alpha', 'beta', 'gamma', 'near', 'far', 'a1', 'b1', 'c1', 'a6', 'b6'])
      ns[name] = await lab.namespace(name);
    const routers = ['near', 'far'];
    for (const name of routers)
      await lab.must(ns[name]!, ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    const join = async (name: string, at: string, own: string, gateway: string): Promise<void> => {
      const length = own.includes(':') ? 64 : 24;
      if ((await lab.run(null, ['ip', '-n', ns[name]!, 'link', 'show', 'uplink'])).code !== 0)
        await lab.wire({ namespace: ns[name]!, name: 'uplink' }, { namespace: ns[at]!, name });
      await lab.ip(ns[name]!, 'address', 'add', `${own}/${length}`, 'dev', 'uplink', 'nodad');
      await lab.ip(ns[at]!, 'address', 'add', `${gateway}/${length}`, 'dev', name, 'nodad');
      await lab.ip(ns[name]!, 'route', 'add', 'default', 'via', gateway);
    };
    await join('alpha', 'near', ALPHA, '192.0.2.254');
    await join('gamma', 'near', GAMMA, '203.0.113.254');
    await join('beta', 'far', BETA, '198.51.100.254');
    await join('alpha', 'near', ALPHA6, '2001:db8:1::fe');
    await join('beta', 'far', BETA6, '2001:db8:2::fe');
    await lab.wire(
      { namespace: ns.near!, name: 'narrow', address: '192.0.3.1/24', mtu: NARROW },
      { namespace: ns.far!, name: 'narrow', address: '192.0.3.2/24', mtu: NARROW },
    );
    for (const [i, name] of routers.entries()) {
      await lab.ip(ns[name]!, 'address', 'add', `2001:db8:3::${i + 1}/64`, 'dev', 'narrow', 'nodad');
      await lab.ip(ns[name]!, 'route', 'add', 'default', 'via', `192.0.3.${2 - i}`);
      await lab.ip(ns[name]!, '-6', 'route', 'add', 'default', 'via', `2001:db8:3::${2 - i}`);
    }
    const blue = network('blue', 42);
    const six = network('six', 46, { port: 4799 });
    const only = { networks: ['blue'] };
    const only6 = { networks: ['six'] };
    [alpha, , gamma] = await Promise.all([
      lab.daemonWith(
        ns.alpha!,
        'alpha',
        yaml(
          ...[host('alpha', ALPHA, ALPHA6), blue, six, peer('beta', BETA, only), peer('gamma', GAMMA, only)],
          ...[peer('beta6', BETA6, only6), port('a1', 'blue', ns.a1!, A1), port('a6', 'six', ns.a6!, A1)],
        ),
      ),
      lab.daemonWith(
        ns.beta!,
        'beta',
        yaml(
          ...[
            host('beta', BETA, BETA6),
            blue,
            six,
            peer('alpha', ALPHA, only),
            peer('alpha6', ALPHA6, only6),
          ],
          ...[port('b1', 'blue', ns.b1!, B1), port('b6', 'six', ns.b6!, B1)],
        ),
      ),
      lab.daemonWith(
        ns.gamma!,
        'gamma',
        yaml(host('gamma', GAMMA), blue, peer('alpha', ALPHA), port('c1', 'blue', ns.c1!, C1)),
      ),
      new Servers(lab).start({ a1: ns.a1!, b1: ns.b1!, a6: ns.a6!, b6: ns.b6! }),
    ]);
  });
  afterAll(async () => lab?.dispose());

  const peers = async (daemon: Daemon): Promise<Record<string, Peer['status']>> =>
    Object.fromEntries(
      (await items<Peer>(lab, daemon, 'peers')).map(({ metadata, status }) => [metadata.name, status]),
    );

  it('every peer that lives is reachable; one of them dies', async () => {
    const found = await until(
      () => peers(alpha),
      ({ beta, gamma: third, beta6 }) => [beta, third, beta6].every((status) => status?.reachable === 'yes'),
    );
    for (const name of ['beta', 'gamma', 'beta6']) {
      expect(found[name]!.rtt).toBeGreaterThan(0);
      // The first echo may have waited a second for the underlay's own ARP.
      expect(found[name]!.rtt).toBeLessThan(5000);
    }
    expect(await ping(lab, ns.a1!, C1)).toBe(5);
    await gamma.stop();
    await lab.ip(null, 'netns', 'delete', ns.gamma!);
    await lab.ip(ns.near!, 'route', 'add', 'blackhole', `${GAMMA}/32`);
    died = performance.now();
  });

  it('V15, V17: pods believe in the MTU of the link, and TCP still comes through the narrow path', async () => {
    expect(await lab.ip(ns.a1!, 'link', 'show', 'eth0')).toContain('mtu 1450');
    await bothWays(lab, ns.a1!, B1, 16 * MIB, 'TCP through a narrow path');
    await bothWays(lab, ns.a6!, B1, 8 * MIB, 'TCP through a narrow path, IPv6 underlay');
  });

  it('V17: the path MTU is known, exactly', async () => {
    const found = await until(
      () => peers(alpha),
      ({ beta, beta6 }) => beta?.pathMtu === NARROW && beta6?.pathMtu === NARROW,
    );
    expect([found.beta!.reachable, found.beta6!.reachable]).toEqual(['yes', 'yes']);
    const table = await lab.twill(alpha, 'get', 'peers', '-o', 'wide');
    expect(table.stdout).toMatch(/^beta .* 1400 /m);
  });

  it('N34, V17: a packet that does not fit is answered with the size that does', async () => {
    for (const [pod, to, most] of [
      ['a1', B1, NARROW - 50],
      ['b1', A1, NARROW - 50],
      ['a6', B1, NARROW - 70],
    ] as const) {
      await lab.ip(ns[pod]!, 'route', 'flush', 'cache');
      expect(await ping(lab, ns[pod]!, to, { size: most })).toBe(5);
      const argv = ['ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', String(most + 1 - 28), to];
      const { stdout } = await lab.run(ns[pod]!, argv);
      expect(stdout).toContain(`Frag needed and DF set (mtu = ${most})`);
      expect(stdout).toContain('From 10.77.0.1 ');
    }
  });

  it('V17: datagrams that fit pass, larger ones too once the pod’s kernel knows the path', async () => {
    expect((await udp(lab, ns.a1!, B1, [1, 64, 1322, 1323, 1400, 4000])).answered).toEqual([
      1, 64, 1322, 1323, 1400, 4000,
    ]);
  });

  it('V6, V17: nothing is fragmented on the way', async () => {
    const capture = await lab.capture(ns.beta!, 'uplink', ['(ip[6:2]', '&', '0x3fff', '!=', '0)']);
    expect(await ping(lab, ns.a1!, B1, { size: NARROW - 50 })).toBe(5);
    await bothWays(lab, ns.a1!, B1, MIB, 'TCP after discovery');
    expect(await capture.decode(['ip.id'])).toEqual([]);
  });

  it('a dead peer becomes unreachable, and costs the others nothing (V30)', async () => {
    const left = 20_000 - (performance.now() - died);
    await until(
      () => peers(alpha),
      ({ gamma: third }) => third?.reachable === 'no',
      left,
    );
    expect(await ping(lab, ns.a1!, B1)).toBe(5);
    expect(alpha.output()).toContain('peer does not answer ICMP echo');
  }, 30_000);
});
