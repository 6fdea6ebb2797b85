/** Services that change a thousand times a second, and a flood of half-open connections: what is established goes on. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, endpoints, PODS, SECOND, service, servicePort } from './cluster.ts';
import { items, SKIP, until } from './kit.ts';

const VIP = '10.96.3.1';
const MOVING = '10.96.3.2';
const SERVICES = 100;
/** Changes of an endpoint; so many a second, for so long. */
const [PER_SECOND, SECONDS] = [1000, 4];
const ROUNDS = (PER_SECOND * SECONDS) / SERVICES;

interface Service {
  readonly metadata: { readonly name: string };
}

describe.skipIf(SKIP)('Kubernetes: under load', () => {
  const cluster = new Cluster();

  beforeAll(() => cluster.start(), 60_000);
  afterAll(() => cluster.lab.dispose());

  it('M7, S30: a thousand endpoint changes a second: no packet is lost, no answer comes from a wrong endpoint', async () => {
    const churning = Array.from({ length: SERVICES }, (_, i) => `churn-${i}`);
    await cluster.apply(
      service('steady', VIP),
      endpoints('steady', ['a1', 'b1']),
      service('moving', MOVING),
      endpoints('moving', ['a1', 'b1']),
      ...churning.map((name, i) => service(name, `10.96.4.${i}`)),
      ...churning.map((name) => endpoints(name, ['a2', 'b2'])),
    );
    const ms = SECONDS * 1000;
    const streams = ['a1', 'a2', 'alpha'].map((from) => cluster.stream(from, VIP, 80, ms));
    const asking = ['a1', 'a2', 'alpha'].map((from) => cluster.asking(from, MOVING, 80, ms));
    const held = await Promise.all(['a1', 'a2'].map((from) => cluster.hold(from, VIP, 80)));

    const start = performance.now();
    for (let round = 0; round < ROUNDS; round++) {
      const isOdd = round % 2 === 1;
      // of the one that is asked, too: one endpoint of its two leaves and comes back
      await cluster.applyOn(
        'alpha',
        ...churning.map((name) => endpoints(name, isOdd ? ['a2', 'b2'] : ['b2'])),
        endpoints('moving', isOdd ? ['a1', 'b1'] : round % 4 === 0 ? ['a1'] : ['b1']),
      );
      await sleep(start + ((round + 1) * ms) / ROUNDS - performance.now());
    }
    const took = (performance.now() - start) / 1000;
    console.log(`${Math.round((ROUNDS * SERVICES) / took)} endpoint changes a second`);

    for (const { sent, answered, gap } of await Promise.all(streams)) {
      expect(sent).toBeGreaterThan(ms / 10);
      expect(answered).toBe(sent);
      console.log(`${sent} datagrams, longest silence ${gap} ms`);
    }
    for (const { answers, errors } of await Promise.all(asking)) {
      expect(errors).toEqual([]);
      expect(Object.keys(answers).sort()).toEqual(['a1', 'b1']);
    }
    for (const connection of held) {
      expect(new Set(connection.output().match(/answer \w+/g)).size).toBe(1);
      expect(connection.output()).not.toMatch(/closed|ECONN/);
      await connection.stop();
    }
    // what came last is what holds
    expect(await cluster.who('a1', 'http', '10.96.4.99', 80)).toEqual(['a2', 'b2']);
    const listed = await items<Service>(cluster.lab, cluster.daemons[0]!, 'services');
    expect(listed.filter(({ metadata }) => metadata.name.startsWith('churn-'))).toHaveLength(SERVICES);
  }, 60_000);
});

/** Half-open connections without end. Arguments: interface, gateway MAC, source, VIP, port, count. */
const FLOOD = `
import socket, struct, sys, time
interface, gateway, source, vip, port, count = sys.argv[1:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((interface, 0))
ends = socket.inet_aton(source) + socket.inet_aton(vip)
def checksum(data):
    n = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while n >> 16: n = (n & 0xffff) + (n >> 16)
    return struct.pack("!H", ~n & 0xffff)
ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + ends
ip = ip[:10] + checksum(ip) + ip[12:]
front = bytes.fromhex(gateway) + s.getsockname()[4] + b"\\x08\\x00" + ip
for i in range(int(count)):
    tcp = struct.pack("!HHIIBBHHH", 1024 + i % 29000, int(port), i, 0, 0x50, 2, 64240, 0, 0)
    sum_ = checksum(ends + struct.pack("!BBH", 0, 6, 20) + tcp)
    s.send(front + tcp[:16] + sum_ + tcp[18:])
    if i % 64 == 63: time.sleep(0.003)
`;

describe.skipIf(SKIP)('Kubernetes: a SYN flood', () => {
  const cluster = new Cluster();
  const MOST = 512;
  const COUNT = 10_000;
  const SILENT = '10.96.3.3';

  beforeAll(() => cluster.start({ conntrack: { max: MOST } }), 60_000);
  afterAll(() => cluster.lab.dispose());

  const metric = async (name: string): Promise<number> => {
    const argv = ['curl', '-s', '-m', '5', 'http://127.0.0.1:10249/metrics'];
    const text = await cluster.lab.must(cluster.ns.alpha!, argv);
    return Number(new RegExp(`^twill_${name} (\\d+)$`, 'm').exec(text)?.[1]);
  };
  const flood = async (vip: string): Promise<void> => {
    const shown = await cluster.lab.ip(cluster.ns.a1!, 'neigh', 'show', '10.77.0.1');
    const gateway = /lladdr (\S+)/.exec(shown)![1]!.replaceAll(':', '');
    const words = ['eth0', gateway, PODS.a1, vip, '80', String(COUNT)];
    await cluster.lab.must(cluster.ns.a1!, ['python3', '-c', FLOOD, ...words]);
  };

  it('N22, N24: a bounded table keeps what is established, lets others in, and counts alike everywhere', async () => {
    // nobody answers at one of the two
    const deaf = 'table inet deaf { chain in { type filter hook input priority 0; tcp dport 8081 drop; }; }';
    await cluster.lab.must(cluster.ns.a2!, ['nft', deaf]);
    await cluster.apply(
      service('web', VIP),
      endpoints('web', ['a2']),
      service('silent', SILENT),
      endpoints('silent', ['a2'], [servicePort('http', 'TCP', SECOND)]),
    );
    const held = await Promise.all(['a1', 'a1', 'a2'].map((from) => cluster.hold(from, VIP, 80)));
    for (const vip of [SILENT, VIP]) {
      const before = await metric('flows_created_total');
      await flood(vip);
      await until(
        () => metric('flows_created_total'),
        (created) => created >= before + 4 * MOST,
      );
      expect(await metric('flows')).toBeLessThanOrEqual(MOST);
      // somebody who comes later gets through, and whoever was there still is
      expect(await cluster.who('a1', 'http', VIP, 80)).toEqual(['a2']);
      for (const connection of held) {
        const length = connection.output().length;
        await connection.waitFor((text) => text.length > length + 20);
        expect(connection.output()).not.toMatch(/closed|ECONN/);
      }
    }
    expect(await metric('flows_evicted_total')).toBeGreaterThan(2 * MOST);
    for (const connection of held) await connection.stop();
    const counted = async () => {
      const listed = await items<unknown>(cluster.lab, cluster.daemons[0]!, 'flows');
      return [listed.length, await metric('flows')] as const;
    };
    const [listed, flows] = await until(counted, ([a, b]) => a === b);
    expect(listed).toBe(flows);
    expect(flows).toBeGreaterThan(0);
  }, 60_000);
});
