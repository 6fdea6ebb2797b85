/**
 * Pods of both families over underlays of both families, between Twill hosts and with the kernel's own VXLAN device.
 *
 *   alpha 192.0.2.1, 2001:db8::1 ══ router ══ 192.0.2.2, 2001:db8::2 beta       (a bridge of the kernel)
 *                                     ╚═════ 192.0.2.3, 2001:db8::3 linux
 *
 *   network four   VNI 42 over IPv4    a4, r4 on alpha, b4 on beta, k4 behind linux's vx42
 *   network six    VNI 46 over IPv6    a6 on alpha, b6 on beta, k6 behind linux's vx46
 *
 * Every pod is 10.77.0.N and fd77::N; r4 has a subnet to itself, 10.78.0.13 and fd78::13, on a narrow link.
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
  put,
  Servers,
  SKIP,
  service,
  slice,
  udp,
  until,
  who,
  yaml,
} from './kit.ts';

const HOSTS = { alpha: 1, beta: 2, linux: 3 } as const;
const SMALL = [0, 1, 17, 511, 1024];
const NARROW = 1300;
const GATEWAY = { four: 'fd77::1', four2: 'fd78::1' };
const both = (n: number, net = 77): [string, string] => [`10.${net}.0.${n}`, `fd${net}::${n}`];
const VIPS = ['10.96.0.10', 'fd96::10'];
const UNDERLAYS = [
  ['four', '4', 1450],
  ['six', '6', 1430],
] as const;

describe.skipIf(SKIP)('dual stack', () => {
  let lab: TestLab;
  let alpha: Daemon;
  const ns: Record<string, string> = {};

  beforeAll(async () => {
    lab = testLab();
    const pods = ['a4', 'r4', 'a6', 'b4', 'b6', 'k4', 'k6'];
    for (const name of ['router', ...Object.keys(HOSTS), ...pods]) ns[name] = await lab.namespace(name);
    for (const [name, n] of Object.entries(HOSTS)) {
      await lab.wire({ namespace: ns[name]!, name: 'uplink' }, { namespace: ns.router!, name });
      await lab.ip(ns[name]!, 'address', 'add', `192.0.2.${n}/24`, 'dev', 'uplink');
      await lab.ip(ns[name]!, 'address', 'add', `2001:db8::${n}/64`, 'dev', 'uplink', 'nodad');
    }
    await lab.bridge(ns.router!, 'switch', Object.keys(HOSTS));
    for (const [name, vni, prefix, mtu] of [
      ['4', 42, '192.0.2.', '1450'],
      ['6', 46, '2001:db8::', '1430'],
    ] as const) {
      const device = `vx${name}`;
      const ends = { local: `${prefix}3`, remote: `${prefix}1` };
      await lab.vxlan({ namespace: ns.linux!, name: device, vni, ...ends });
      await lab.must(ns.linux!, [
        'bridge',
        'fdb',
        'append',
        '00:00:00:00:00:00',
        'dev',
        device,
        'dst',
        `${prefix}2`,
      ]);
      await lab.wire(
        { namespace: ns.linux!, name: `pod${name}` },
        { namespace: ns[`k${name}`]!, name: 'eth0' },
      );
      await lab.bridge(ns.linux!, `br${name}`, [device, `pod${name}`]);
      for (const address of both(51)) {
        const length = address.includes(':') ? ['64', 'nodad'] : ['24'];
        await lab.ip(
          ns[`k${name}`]!,
          'address',
          'add',
          `${address}/${length[0]}`,
          'dev',
          'eth0',
          ...length.slice(1),
        );
      }
      await lab.ip(ns[`k${name}`]!, 'link', 'set', 'dev', 'eth0', 'mtu', mtu);
    }
    const subnets = [77, 78].flatMap((net) => [{ cidr: `10.${net}.0.0/24` }, { cidr: `fd${net}::/64` }]);
    const networks = [network('four', 42, {}, { subnets }), network('six', 46, {}, { subnets })];
    const peersOf = (self: string) =>
      Object.entries(HOSTS)
        .filter(([name]) => name !== self)
        .flatMap(([name, n]) => [
          peer(name, `192.0.2.${n}`, { networks: ['four'] }),
          peer(`${name}6`, `2001:db8::${n}`, { networks: ['six'] }),
        ]);
    const pod = (name: string, net: string, addresses: [string, string], more = {}) =>
      port(name, net, ns[name]!, addresses[0], { addresses, ...more });
    const documents = (name: 'alpha' | 'beta') => [
      host(name, `192.0.2.${HOSTS[name]}`, `2001:db8::${HOSTS[name]}`),
      ...networks,
      ...peersOf(name),
    ];
    const six = slice('shop', both(12)[1], both(51)[1]) as { metadata: object };
    const serving = Object.fromEntries(pods.map((name) => [name, ns[name]!]));
    [alpha] = await Promise.all([
      lab.daemonWith(
        ns.alpha!,
        'alpha',
        yaml(
          ...documents('alpha'),
          pod('a4', 'four', both(11)),
          pod('a6', 'six', both(11)),
          pod('r4', 'four', both(13, 78), { mtu: NARROW }),
          service('shop', VIPS[0], {
            clusterIPs: VIPS,
            ipFamilyPolicy: 'RequireDualStack',
            ipFamilies: ['IPv4', 'IPv6'],
          }),
          slice('shop', both(12)[0], both(51)[0]),
          { ...six, metadata: { ...six.metadata, name: 'shop-6' }, addressType: 'IPv6' },
        ),
      ),
      lab.daemonWith(
        ns.beta!,
        'beta',
        yaml(...documents('beta'), pod('b4', 'four', both(12)), pod('b6', 'six', both(12))),
      ),
    ]);
    await new Servers(lab).start(serving);
  });
  afterAll(async () => lab?.dispose());

  it('A3: a pod’s IPv6 is complete at once: address, default route, and a gateway that answers', async () => {
    expect(await lab.ip(ns.a4!, '-6', 'address', 'show', 'dev', 'eth0', 'scope', 'global')).not.toContain(
      'tentative',
    );
    expect(await lab.ip(ns.a4!, '-6', 'route', 'show', 'default')).toContain(`via ${GATEWAY.four}`);
    for (const gateway of [GATEWAY.four, GATEWAY.four2]) expect(await ping(lab, ns.a4!, gateway)).toBe(5);
    const known = await lab.ip(ns.a4!, '-6', 'neigh', 'show', GATEWAY.four, 'dev', 'eth0');
    expect(known).toContain('lladdr');
    expect(known).toContain('router');
  });

  for (const [net, family, mtu] of UNDERLAYS) {
    it(`V15, V40: pods of both families over IPv${family}: Twill and Twill, Twill and the kernel`, async () => {
      const [a, b, k] = [`a${family}`, `b${family}`, `k${family}`].map((name) => ns[name]!);
      for (const [i, inner] of ['IPv4', 'IPv6'].entries()) {
        for (const [from, to, n] of [
          [a, b, 12],
          [a, k, 51],
          [k, b, 12],
        ] as const) {
          const address = both(n)[i]!;
          await until(
            () => ping(lab, from!, address, { count: 1 }),
            (got) => got === 1,
          );
          expect(await ping(lab, from!, address, { size: mtu }), `${net} ${inner} ${to}`).toBe(5);
          expect((await udp(lab, from!, address, SMALL)).answered).toEqual(SMALL);
          if (from === a) await bothWays(lab, from!, address, MIB, `${inner} over IPv${family}`);
        }
      }
    });
  }

  it('A5: a solicitation for a known station enters no tunnel', async () => {
    expect(await ping(lab, ns.a4!, both(12)[1], { count: 1 })).toBe(1);
    const capture = await lab.capture(ns.beta!, 'uplink', ['udp', 'and', 'port', '4789']);
    await lab.ip(ns.a4!, 'neigh', 'flush', 'all');
    expect(await ping(lab, ns.a4!, both(12)[1])).toBe(5);
    const seen = await capture.decode(['icmpv6.type', 'icmpv6.nd.ns.target_address', 'ipv6.src']);
    // A unicast question that verifies is another matter (A6), as are those of the far side.
    const asked = seen.filter((packet) => packet['icmpv6.type']?.[0] === '135');
    expect(asked.filter((packet) => packet['ipv6.src']?.includes(both(11)[1]))).toEqual([]);
    expect(seen.filter((packet) => packet['icmpv6.type']?.[0] === '129').length).toBeGreaterThanOrEqual(5);
  });

  it('N7, N8: the gateway routes IPv6, counts hops and names what it cannot reach', async () => {
    expect(await ping(lab, ns.a4!, both(13, 78)[1])).toBe(5);
    expect(await ping(lab, ns.b4!, both(13, 78)[1])).toBe(5);
    await bothWays(lab, ns.b4!, both(13, 78)[1], MIB, 'IPv6, routed on the far side');
    // N10: a sender is told of its errors once a second.
    const isTold = (to: string, what: string, ...more: string[]) =>
      until(
        async () => (await lab.run(ns.a4!, ['ping', '-n', '-c', '1', '-W', '1', ...more, to])).stdout,
        (said) => said.includes(`From ${GATEWAY.four}`) && said.includes(what),
      );
    await isTold(both(13, 78)[1], 'Time exceeded', '-t', '1');
    await isTold('2001:db8:ffff::1', 'No route');
    await isTold('fd78::99', 'Address unreachable', '-W', '4');
  });

  it('N34: the gateway tells a sender the size that fits a narrow link, and the sender obeys', async () => {
    const to = both(13, 78)[1];
    const first = await lab.run(ns.a4!, ['ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', '1352', to]);
    expect(first.stdout).toContain(`From ${GATEWAY.four}`);
    expect(first.stdout).toContain(`Packet too big: mtu=${NARROW}`);
    expect(await lab.ip(ns.a4!, '-6', 'route', 'get', to)).toContain(`mtu ${NARROW}`);
    expect((await udp(lab, ns.a4!, to, [1400, 4000])).answered).toEqual([1400, 4000]);
  });

  it('S3, N2: one service, two families: every backend answers, and its address stays hidden', async () => {
    for (const [i, vip] of VIPS.entries()) {
      const { names, clients, errors } = await who(lab, ns.a4!, vip, 8, 80);
      expect([vip, names, errors]).toEqual([vip, { b4: 4, k4: 4 }, []]);
      expect(clients).toEqual(['b4', 'k4'].map((name) => expect.stringContaining(`${name} ${both(11)[i]}`)));
      expect((await udp(lab, ns.a4!, vip, SMALL, 80)).answered).toEqual(SMALL);
    }
    const refused = await who(lab, ns.a4!, VIPS[1]!, 1, 81);
    expect(refused.errors).toEqual(['ECONNREFUSED']);
    const transfer = await put(lab, ns.a4!, VIPS[1]!, MIB, { at: 80 });
    expect(transfer.received).toBe(transfer.sent);
  });

  it('A13, B25: nothing true was dropped as false', async () => {
    const drops = await items<{ reason: string; count: number }>(lab, alpha, 'drops');
    const named = drops.filter(({ reason }) => /SPOOF|ROGUE|BAD_ND|BAD_IP|LOOP|STATIC/.test(reason));
    expect(named).toEqual([]);
  });
});
