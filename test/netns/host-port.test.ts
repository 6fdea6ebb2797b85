/**
 * Hosts that take part in a network, on one wire with the world outside:
 *
 *   world  192.0.2.9, and 198.51.100.7 behind it
 *   alpha  192.0.2.1   tw-blue 10.77.0.2   a1 10.77.0.11        red: tw-red 10.78.0.2   r1 10.78.0.11 (internal)
 *   beta   192.0.2.2   tw-blue 10.77.0.3   b1 10.77.0.13
 *
 * Where it says 192.0.2.N there is 2001:db8::N as well, and fd77::N beside 10.77.0.N.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Daemon, type TestLab, testLab } from '../lab/lab.ts';
import {
  apply,
  host,
  MIB,
  network,
  peer,
  ping,
  port,
  put,
  SERVER,
  Servers,
  SKIP,
  service,
  slice,
  udp,
  until,
  who,
  yaml,
} from './kit.ts';

const [A1, B1, R1] = ['10.77.0.11', '10.77.0.13', '10.78.0.11'];
const [ALPHA, BETA] = ['10.77.0.2', '10.77.0.3'];
const [UPLINK, OTHER_UPLINK, WORLD, FAR] = ['192.0.2.1', '192.0.2.2', '192.0.2.9', '198.51.100.7'];
const SHOP = '10.96.0.10';
const BEYOND = '10.96.0.20';
const OWN = { netns: undefined, interface: undefined };
const SUBNETS = [{ cidr: '10.77.0.0/24', gateway: '10.77.0.1' }, { cidr: 'fd77::/64' }];
/** The other address of whoever has this one. */
const six = (address: string): string =>
  address.replace('192.0.2.', '2001:db8::').replace('10.77.0.', 'fd77::').replace('10.96.0.', 'fd96::');
const both = (address: string) => ({ addresses: [address, six(address)] });

describe.skipIf(SKIP)('the host takes part', () => {
  let lab: TestLab;
  let alpha: Daemon;
  const ns: Record<string, string> = {};

  const blue = (more = {}) =>
    network('blue', 42, {}, { subnets: SUBNETS, nat: { masquerade: true }, ...more });
  const red = network(
    'red',
    43,
    {},
    { subnets: [{ cidr: '10.78.0.0/24', gateway: '10.78.0.1' }], internal: true },
  );
  const onAlpha = () => [
    host('alpha', UPLINK, six(UPLINK)),
    peer('beta', OTHER_UPLINK),
    blue(),
    red,
    port('alpha', 'blue', '', ALPHA, { ...OWN, ...both(ALPHA) }),
    port('alpha-red', 'red', '', '10.78.0.2', OWN),
    port('a1', 'blue', ns.a1!, A1, both(A1)),
    port('r1', 'red', ns.r1!, R1),
    service('shop', SHOP),
    slice('shop', A1, B1),
  ];
  const sysctl = async (namespace: string): Promise<string> =>
    (await lab.must(namespace, ['cat', '/proc/sys/net/ipv4/ip_forward'])).trim();
  const tables = async (namespace: string): Promise<string> => lab.must(namespace, ['nft', 'list', 'tables']);
  const routes = async (namespace: string): Promise<string> => lab.ip(namespace, 'route', 'show');
  /** Who a server takes the client for. */
  const seen = async (from: string, to: string, at = SERVER): Promise<string[]> =>
    (await who(lab, ns[from]!, to, 2, at)).clients;

  beforeAll(async () => {
    lab = testLab();
    for (const name of ['world', 'alpha', 'beta', 'a1', 'b1', 'r1']) ns[name] = await lab.namespace(name);
    for (const [name, address] of [
      ['alpha', UPLINK],
      ['beta', OTHER_UPLINK],
    ] as const) {
      await lab.wire(
        { namespace: ns[name]!, name: 'uplink', address: `${address}/24` },
        { namespace: ns.world!, name },
      );
      await lab.ip(ns[name]!, 'address', 'add', `${six(address)}/64`, 'dev', 'uplink', 'nodad');
      for (const via of [WORLD, six(WORLD)]) await lab.ip(ns[name]!, 'route', 'add', 'default', 'via', via);
    }
    await lab.bridge(ns.world!, 'wire', ['alpha', 'beta']);
    await lab.ip(ns.world!, 'address', 'add', `${WORLD}/24`, 'dev', 'wire');
    await lab.ip(ns.world!, 'address', 'add', `${six(WORLD)}/64`, 'dev', 'wire', 'nodad');
    await lab.ip(ns.world!, 'address', 'add', `${FAR}/32`, 'dev', 'lo');
    const onBeta = [
      host('beta', OTHER_UPLINK, six(OTHER_UPLINK)),
      peer('alpha', UPLINK),
      blue(),
      port('beta', 'blue', '', BETA, { ...OWN, ...both(BETA) }),
      port('b1', 'blue', ns.b1!, B1, both(B1)),
      service('shop', SHOP),
      slice('shop', A1, B1),
    ];
    const servers = new Servers(lab);
    [alpha] = await Promise.all([
      lab.daemonWith(ns.alpha!, 'alpha-daemon', yaml(...onAlpha())),
      lab.daemonWith(ns.beta!, 'beta-daemon', yaml(...onBeta)),
      servers.start(Object.fromEntries(['world', 'alpha', 'beta', 'a1', 'b1', 'r1'].map((n) => [n, ns[n]!]))),
    ]);
  });
  afterAll(async () => lab?.dispose());

  it('N25: the host reaches pods here and elsewhere from its address in the network, and they it', async () => {
    for (const pod of [A1, B1]) expect(await ping(lab, ns.alpha!, pod)).toBe(5);
    expect(await seen('alpha', A1)).toEqual([`a1 ${ALPHA}`]);
    expect(await seen('alpha', B1)).toEqual([`b1 ${ALPHA}`]);
    expect(await seen('a1', ALPHA)).toEqual([`alpha ${A1}`]);
    expect(await seen('b1', ALPHA)).toEqual([`alpha ${B1}`]);
  });

  it('A4, A14: two hosts ask one pod at a time and each hears its own answers', async () => {
    const asked = [seen('alpha', B1), seen('beta', B1), seen('alpha', A1), seen('beta', A1)];
    expect(await Promise.all(asked)).toEqual([
      [`b1 ${ALPHA}`],
      [`b1 ${BETA}`],
      [`a1 ${ALPHA}`],
      [`a1 ${BETA}`],
    ]);
    expect(await seen('alpha', BETA)).toEqual([`beta ${ALPHA}`]);
  });

  it('A4: a program bound to another address of the host is answered here, not where the pod is', async () => {
    const argv = ['ping', '-q', '-c', '3', '-i', '0.02', '-W', '1', '-I', UPLINK];
    for (const pod of [A1, B1])
      expect((await lab.run(ns.alpha!, [...argv, pod])).stdout).toContain('3 received');
  });

  it('S20: the host reaches a ClusterIP, on backends here and elsewhere', async () => {
    expect(await routes(ns.alpha!)).toContain(
      `${SHOP} via 10.77.0.1 dev tw-blue proto 84 src ${ALPHA} onlink`,
    );
    expect(await seen('alpha', SHOP, 80)).toEqual([`a1 ${ALPHA}`, `b1 ${ALPHA}`]);
    expect((await udp(lab, ns.alpha!, SHOP, [10, 1000], 80)).answered).toEqual([10, 1000]);
    const { stdout } = await lab.twill(alpha, 'status');
    expect(stdout).toContain(
      `the host in blue: tw-blue ${ALPHA} ${six(ALPHA)}, masqueraded, routes to services: 1\n`,
    );
  });

  it('N25, N30: all of it over IPv6', async () => {
    const slice6 = { ...slice('six', six(A1), six(B1)), addressType: 'IPv6' };
    const ports = [{ name: 'tcp', port: 80, protocol: 'TCP', nodePort: 30_066 }];
    await apply(
      lab,
      alpha,
      'six.yaml',
      yaml(service('six', 'fd96::30', { type: 'NodePort', ports }), slice6),
    );
    expect(await seen('alpha', six(A1))).toEqual([`a1 ${six(ALPHA)}`]);
    expect(await seen('alpha', six(B1))).toEqual([`b1 ${six(ALPHA)}`]);
    expect(await seen('a1', six(UPLINK))).toEqual([`alpha ${six(A1)}`]);
    expect(await seen('a1', six(WORLD))).toEqual([`world ${six(UPLINK)}`]);
    expect(await ping(lab, ns.b1!, six(WORLD))).toBe(5);
    expect(await seen('alpha', 'fd96::30', 80)).toEqual([`a1 ${six(ALPHA)}`, `b1 ${six(ALPHA)}`]);
    expect(await seen('world', six(UPLINK), 30_066)).toEqual([`a1 ${six(ALPHA)}`, `b1 ${six(ALPHA)}`]);
    expect((await lab.twill(alpha, 'delete', 'service', 'six')).code).toBe(0);
  });

  describe('from outside', () => {
    const [OPEN, NEAR, PORT] = ['10.96.0.20', '10.96.0.21', 30_080];
    const EXTERNAL = '203.0.113.50';
    const shown = (name: string, clusterIP: string, nodePort: number, more: object = {}) => {
      const ports = ['TCP', 'UDP'].map((protocol) => ({
        name: protocol.toLowerCase(),
        port: 80,
        protocol,
        nodePort,
      }));
      return service(name, clusterIP, { type: 'NodePort', ports, ...more });
    };
    const services = () => [
      shown('open', OPEN, PORT, { externalIPs: [EXTERNAL] }),
      slice('open', A1, B1),
      shown('near', NEAR, PORT + 1, { externalTrafficPolicy: 'Local' }),
      { ...slice('near', A1, B1), endpoints: [A1, B1].map(onNode) },
    ];
    const onNode = (address: string) => ({
      addresses: [address],
      nodeName: address === A1 ? 'alpha' : 'beta',
    });
    beforeAll(() => apply(lab, alpha, 'services.yaml', yaml(...services())));

    it('S19, S21: a node port answers on the node’s address, and pods everywhere serve it', async () => {
      expect(await seen('world', UPLINK, PORT)).toEqual([`a1 ${ALPHA}`, `b1 ${ALPHA}`]);
      expect((await udp(lab, ns.world!, UPLINK, [10, 1000], PORT)).answered).toEqual([10, 1000]);
    });

    it('S19: it answers the host itself and its pods, and nobody on loopback', async () => {
      expect(await seen('alpha', UPLINK, PORT)).toEqual([`a1 ${ALPHA}`, `b1 ${ALPHA}`]);
      expect((await udp(lab, ns.alpha!, UPLINK, [10], PORT)).answered).toEqual([10]);
      expect((await who(lab, ns.a1!, UPLINK, 2, PORT)).errors).toEqual([]);
      expect((await who(lab, ns.alpha!, '127.0.0.1', 1, PORT)).errors).toEqual(['ECONNREFUSED']);
    });

    it('S21: with externalTrafficPolicy Local pods here alone serve it, and see who asks', async () => {
      expect(await seen('world', UPLINK, PORT + 1)).toEqual([`a1 ${WORLD}`]);
    });

    it('S19: a node port is closed when its Service has none any more', async () => {
      await apply(lab, alpha, 'closed.yaml', yaml(service('near', NEAR)));
      expect((await who(lab, ns.world!, UPLINK, 1, PORT + 1)).errors).toEqual(['ECONNREFUSED']);
      await apply(lab, alpha, 'services.yaml', yaml(...services()));
    });

    it('S15: a node port without endpoints refuses at once', async () => {
      await apply(lab, alpha, 'empty.yaml', yaml({ ...slice('open'), endpoints: [] }));
      expect((await who(lab, ns.world!, UPLINK, 1, PORT)).errors).toEqual(['ECONNREFUSED']);
      await apply(lab, alpha, 'services.yaml', yaml(...services()));
    });

    it('S21: an external address that is routed to the host is served', async () => {
      await lab.ip(ns.world!, 'route', 'add', EXTERNAL, 'via', UPLINK);
      expect(await seen('world', EXTERNAL, 80)).toEqual([`a1 ${ALPHA}`, `b1 ${ALPHA}`]);
      await lab.ip(ns.world!, 'route', 'delete', EXTERNAL);
    });

    it('S16, N34, N47: what is refused is refused from the address that was asked', async () => {
      await apply(lab, alpha, 'empty.yaml', yaml({ ...slice('open'), endpoints: [] }));
      await lab.ip(ns.world!, 'route', 'add', EXTERNAL, 'via', UPLINK);
      for (const [address, at] of [
        [EXTERNAL, 80],
        [UPLINK, PORT],
      ] as const) {
        const capture = await lab.capture(ns.world!, 'wire', ['icmp']);
        expect((await udp(lab, ns.world!, address, [10], at)).answered).toEqual([]);
        const errors = await capture.decode(['ip.src', 'ip.dst'], 'icmp.type == 3');
        expect(errors[0]).toMatchObject({ 'ip.src': [address, WORLD], 'ip.dst': [WORLD, address] });
      }
      await lab.ip(ns.world!, 'route', 'delete', EXTERNAL);
      await apply(lab, alpha, 'services.yaml', yaml(...services()));
    });

    it('S21: an external address that is the host’s own stays the host’s but for pods, which is told', async () => {
      const ports = [{ name: 'tcp', port: 8099, protocol: 'TCP' }];
      const file = lab.file(
        'own.yaml',
        yaml(service('own', '10.96.0.22', { externalIPs: [UPLINK], ports }), slice('own', A1, B1)),
      );
      const { code, stderr } = await lab.twill(alpha, 'apply', '-f', file);
      expect([code, stderr]).toEqual([
        0,
        expect.stringMatching(
          /^warning: .*:\d+:\d+: spec\.externalIPs\[0\]: \S+ is this host’s own address, and stays the host’s: only pods find/,
        ),
      ]);
      expect((await who(lab, ns.world!, UPLINK, 1, 8099)).errors).toEqual(['ECONNREFUSED']);
      expect(await seen('a1', UPLINK, 8099)).toEqual(['a1 10.77.0.1', `b1 ${ALPHA}`]);
      expect((await lab.twill(alpha, 'delete', 'service', 'own')).code).toBe(0);
    });
  });

  it('N8: pods reach other addresses of the host by its port', async () => {
    expect(await seen('a1', UPLINK)).toEqual([`alpha ${A1}`]);
    expect(await ping(lab, ns.a1!, UPLINK)).toBe(5);
  });

  it('N25, N30, N50: what leaves the cluster has its own host’s address', async () => {
    expect(await seen('a1', WORLD)).toEqual([`world ${UPLINK}`]);
    expect(await seen('b1', FAR)).toEqual([`world ${OTHER_UPLINK}`]);
    expect(await ping(lab, ns.a1!, FAR)).toBe(5);
    expect((await udp(lab, ns.b1!, WORLD, [10, 1400, 4000])).answered).toEqual([10, 1400, 4000]);
  });

  it('N30: who comes from outside is seen as itself by pods here, and as the host by pods elsewhere', async () => {
    await lab.ip(ns.world!, 'route', 'add', '10.77.0.0/24', 'via', UPLINK);
    expect(await seen('world', A1)).toEqual([`a1 ${WORLD}`]);
    expect(await seen('world', B1)).toEqual([`b1 ${ALPHA}`]);
    await lab.ip(ns.world!, 'route', 'delete', '10.77.0.0/24');
  });

  it('N34, N46, N47: a client learns from a router beyond its backend what fits, in terms of the service', async () => {
    const beyond = [service('beyond', BEYOND), slice('beyond', FAR)];
    await apply(lab, alpha, 'beyond.yaml', yaml(...beyond));
    await lab.ip(ns.alpha!, 'route', 'add', `${FAR}/32`, 'via', WORLD, 'mtu', '1300');
    const { sent, received } = await put(lab, ns.a1!, BEYOND, MIB, { at: 80 });
    expect(received).toBe(sent);
    expect(await lab.ip(ns.a1!, 'route', 'get', BEYOND)).toContain('mtu 1300');
    expect(await lab.ip(ns.a1!, 'route', 'get', FAR)).not.toContain('mtu');
    await lab.ip(ns.alpha!, 'route', 'delete', `${FAR}/32`);
    for (const [kind, name] of [
      ['service', 'beyond'],
      ['endpointslice', 'beyond-1'],
    ] as const)
      expect((await lab.twill(alpha, 'delete', kind, name)).code).toBe(0);
  });

  it('N33: an internal network reaches its host and nobody behind it', async () => {
    expect(await lab.ip(ns.r1!, 'route', 'show', 'default')).toBe('');
    expect(await seen('r1', '10.78.0.2')).toEqual([`alpha ${R1}`]);
    // what a pod does who does not take the hint
    await lab.ip(ns.r1!, 'route', 'add', 'default', 'via', '10.78.0.2');
    expect((await who(lab, ns.r1!, WORLD, 1)).errors).toEqual(['EHOSTUNREACH']);
    await lab.ip(ns.r1!, 'route', 'replace', 'default', 'via', '10.78.0.1');
    expect((await who(lab, ns.r1!, WORLD, 1)).errors).toEqual(['ENETUNREACH']);
  });

  it('N11: the host connects no two networks', async () => {
    expect((await who(lab, ns.a1!, R1, 1)).errors).toEqual(['EHOSTUNREACH']);
  });

  it('N26, N29: masquerading goes and comes while a connection lives, and excepts whom it is told to', async () => {
    const transfer = lab.start(ns.a1!, 'long', [
      process.execPath,
      `${lab.root}/dist/test/netns/pod.js`,
      ...['put', WORLD, SERVER, 1, 1, 1500].map(String),
    ]);
    const connections = () => lab.must(ns.world!, ['ss', '-Htn', 'state', 'established']);
    const list = await until(connections, (text) => text.includes(`[::ffff:${UPLINK}]`));
    const [, from] = /\[::ffff:192\.0\.2\.1\]:(\d+)/.exec(list)!;
    expect(Number(from)).toBeGreaterThanOrEqual(61_000);
    await apply(lab, alpha, 'off.yaml', yaml(blue({ nat: { masquerade: false } })));
    await lab.ip(ns.world!, 'route', 'add', '10.77.0.0/24', 'via', UPLINK);
    expect(await seen('a1', WORLD)).toEqual([`world ${A1}`]);
    await transfer.waitFor((text) => text.includes('received'));
    const { sent, received } = JSON.parse(transfer.output()) as Record<string, string>;
    expect(received).toBe(sent);
    await apply(
      lab,
      alpha,
      'except.yaml',
      yaml(blue({ nat: { masquerade: true, except: [`${WORLD}/32`] } })),
    );
    expect(await seen('a1', WORLD)).toEqual([`world ${A1}`]);
    expect(await seen('a1', FAR)).toEqual([`world ${UPLINK}`]);
    await lab.ip(ns.world!, 'route', 'delete', '10.77.0.0/24');
    await apply(lab, alpha, 'on.yaml', yaml(blue()));
    expect(await seen('a1', WORLD)).toEqual([`world ${UPLINK}`]);
  });

  it('M4: a host port goes and comes, all it brought with it; a refused change leaves everything', async () => {
    expect([await sysctl(ns.alpha!), await tables(ns.alpha!)]).toEqual([
      '1',
      expect.stringContaining('twill-'),
    ]);
    const whole = await lab.must(ns.alpha!, ['nft', 'list', 'ruleset']);
    // what a firewall's reload does to all tables, and the next change puts right
    await lab.must(ns.alpha!, ['nft', 'flush', 'ruleset']);
    await apply(lab, alpha, 'on.yaml', yaml(blue()));
    expect(await lab.must(ns.alpha!, ['nft', 'list', 'ruleset'])).toBe(whole);
    const bad = yaml(port('late', 'blue', '', '10.77.0.77', { netns: '/proc/self/mem' }), blue({ nat: {} }));
    expect((await lab.twill(alpha, 'apply', '-f', lab.file('bad.yaml', bad))).code).toBe(1);
    expect(await lab.must(ns.alpha!, ['nft', 'list', 'ruleset'])).toBe(whole);
    expect(await lab.must(ns.alpha!, ['cat', '/proc/sys/net/ipv6/conf/tw-blue/accept_ra'])).toBe('0\n');
    for (const name of ['alpha', 'alpha-red'])
      expect((await lab.twill(alpha, 'delete', 'port', name)).code).toBe(0);
    expect([await sysctl(ns.alpha!), await tables(ns.alpha!)]).toEqual(['0', '']);
    expect(await routes(ns.alpha!)).not.toContain('proto 84');
    expect((await who(lab, ns.a1!, WORLD, 1)).errors).toEqual(['ENETUNREACH']);
    await lab.ip(ns.alpha!, 'link', 'add', 'tw-blue', 'type', 'bridge');
    const taken = lab.file('taken.yaml', yaml(port('alpha', 'blue', '', ALPHA, OWN)));
    expect((await lab.twill(alpha, 'apply', '-f', taken)).stderr).toContain(
      'has an interface tw-blue already; choose another name or remove that one',
    );
    await lab.ip(ns.alpha!, 'link', 'delete', 'tw-blue');
    await apply(lab, alpha, 'again.yaml', yaml(port('alpha', 'blue', '', ALPHA, { ...OWN, ...both(ALPHA) })));
    expect(await seen('a1', WORLD)).toEqual([`world ${UPLINK}`]);
    expect(await seen('alpha', SHOP, 80)).toHaveLength(2);
  });

  it('P33: its link deleted from outside comes back with the next change, routes and all', async () => {
    await lab.ip(ns.alpha!, 'link', 'delete', 'tw-blue');
    const state = async () => (await lab.twill(alpha, 'get', 'ports', 'alpha')).stdout;
    await until(state, (text) => text.includes('gone'));
    await apply(
      lab,
      alpha,
      'back.yaml',
      yaml(port('alpha', 'blue', '', ALPHA, { ...OWN, ...both(ALPHA), mtu: 1400 })),
    );
    expect(await seen('alpha', SHOP, 80)).toHaveLength(2);
    expect(await seen('a1', WORLD)).toEqual([`world ${UPLINK}`]);
  });

  it('C11: killed, it leaves a table and a sysctl, which the next start puts right; stopped, it leaves nothing', async () => {
    const before = await routes(ns.beta!);
    process.kill(alpha.record.pid, 'SIGKILL');
    await alpha.stop();
    expect([await sysctl(ns.alpha!), await tables(ns.alpha!)]).toEqual([
      '1',
      expect.stringContaining('twill-'),
    ]);
    const bare = onAlpha().filter((document) => !JSON.stringify(document).includes('"Port"'));
    lab.file('alpha-daemon.log', '');
    const next = await lab.daemonWith(ns.alpha!, 'alpha-daemon', yaml(...bare));
    expect([await sysctl(ns.alpha!), await tables(ns.alpha!)]).toEqual(['0', '']);
    await apply(lab, next, 'port.yaml', yaml(port('alpha', 'blue', '', ALPHA, { ...OWN, ...both(ALPHA) })));
    expect(await sysctl(ns.alpha!)).toBe('1');
    expect(await next.stop()).toBe(0);
    expect([await sysctl(ns.alpha!), await tables(ns.alpha!)]).toEqual(['0', '']);
    expect(await routes(ns.alpha!)).toBe(
      `default via ${WORLD} dev uplink \n192.0.2.0/24 dev uplink proto kernel scope link src ${UPLINK} \n`,
    );
    expect(await routes(ns.beta!)).toBe(before);
  });
});
