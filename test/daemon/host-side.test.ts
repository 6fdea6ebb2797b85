import { describe, expect, it } from 'vitest';
import { hostPlan } from '../../src/control/host-plan.ts';
import type { Replacement } from '../../src/control/services.ts';
import type { Resource } from '../../src/control/types.ts';
import { Faces } from '../../src/daemon/faces.ts';
import { MOST_ROUTES } from '../../src/daemon/host-routes.ts';
import { HostFailure, HostSide } from '../../src/daemon/host-side.ts';
import { hostSystem } from '../../src/daemon/host-system.ts';
import { natTable } from '../../src/daemon/nat-table.ts';
import { blue, host, network, port, resources, service } from '../control/fixture.ts';
import { FakeHost } from './fakes.ts';

const SOCKET = '/run/twill/test.sock';
const own = (spec: object = {}, name = 'node') =>
  port(name, { network: 'blue', addresses: ['10.77.0.2'], ...spec });
const pod = port('a1', { network: 'blue', netns: 'a1', addresses: ['10.77.0.11'] });
const masqueraded = blue({ nat: { masquerade: true, except: ['10.0.0.0/8', '10.1.0.0/16'] } });
const planOf = (...documents: readonly object[]) => hostPlan(resources(host(), ...documents));
const links = () => 7;

/** A side with its system, as the daemon would have it. */
function side(system = new FakeHost()): { system: FakeHost; hostSide: HostSide; table: () => string } {
  const hostSide = new HostSide(system, SOCKET);
  return { system, hostSide, table: () => [...system.tables.values()].join('') };
}

describe('the table', () => {
  const rules = (...documents: readonly object[]) =>
    natTable('t', 'twill', planOf(...documents), { tcp: [], udp: [] })
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => /^(ip6?|oifname|iifname) /.test(line));

  it('N30: rules in their order; what lies in another exception is left out', () => {
    expect(rules(masqueraded, own(), pod)).toEqual([
      'oifname "tw-blue" ip saddr != { 10.77.0.0/24 } fib saddr type local masquerade',
      'ip saddr { 10.77.0.0/24 } ip daddr { 10.77.0.0/24 } accept',
      'ip daddr { 10.77.0.1, 10.77.0.11, 10.77.0.2 } accept',
      'ip saddr { 10.77.0.0/24 } ip daddr { 10.0.0.0/8 } accept',
      'ip saddr { 10.77.0.0/24 } ip daddr != 224.0.0.0/4 meta l4proto { tcp, udp } masquerade to :61000-65535 fully-random',
      'ip saddr { 10.77.0.0/24 } ip daddr != 224.0.0.0/4 masquerade fully-random',
      'oifname "tw-blue" ip daddr { 10.77.0.0/24 } meta l4proto { tcp, udp } masquerade to :61000-65535 fully-random',
      'oifname "tw-blue" ip daddr { 10.77.0.0/24 } masquerade fully-random',
      'iifname { "tw-blue" } oifname { "tw-blue" } reject with icmpx admin-prohibited',
    ]);
  });

  it('N33: who behind an internal network’s host is refused both ways', () => {
    expect(rules(blue({ internal: true }), own()).slice(-2)).toEqual([
      'iifname { "tw-blue" } reject with icmpx admin-prohibited',
      'oifname { "tw-blue" } reject with icmpx admin-prohibited',
    ]);
  });

  it('S19: node ports lead to the gateway of the first network that is not internal, never on loopback', () => {
    const green = network('a', { vxlan: { vni: 43 }, subnets: [{ cidr: '10.78.0.0/24' }], internal: true });
    const far = port('far', { network: 'a', addresses: ['10.78.0.2'] });
    const text = (at: string) =>
      natTable('t', 'twill', hostPlan(resources(host(at), blue(), green, own(), far)), {
        tcp: [30080, 30443],
        udp: [30053],
      });
    expect(text('192.0.2.1')).toContain(
      '    ip daddr { 192.0.2.1 } tcp dport { 30080, 30443 } dnat ip to 10.77.0.1\n' +
        '    ip daddr { 192.0.2.1 } udp dport { 30053 } dnat ip to 10.77.0.1\n',
    );
    expect(text('127.0.0.1')).not.toContain('dnat ip');
  });
});

describe('the host’s side', () => {
  it('sets what it needs and says so in the table, and puts it back', () => {
    const { system, hostSide, table } = side();
    hostSide.apply(planOf(blue(), own()), links);
    expect(table()).toContain('comment "twill; net.ipv4.ip_forward was 0"');
    expect(system.diary[0]).toContain('table inet twill-');
    expect(system.sysctls.get('net.ipv4.ip_forward')).toBe('1');
    hostSide.close();
    expect(system.sysctls.get('net.ipv4.ip_forward')).toBe('0');
    expect(table()).toBe('');
  });

  it('B25: no station of a network tells the host its routes', () => {
    const { system, hostSide } = side();
    hostSide.apply(planOf(blue(), own({ interface: 'tw-a.b' })), () => undefined);
    expect(system.sysctls.has('net/ipv6/conf/tw-a.b/accept_ra')).toBe(false);
    hostSide.relink(links);
    for (const what of ['accept_ra', 'accept_redirects'])
      expect(system.sysctls.get(`net/ipv6/conf/tw-a.b/${what}`)).toBe('0');
    system.refused.add('accept_ra');
    system.sysctls.delete('net/ipv6/conf/tw-a.b/accept_ra');
    hostSide.relink(links);
    expect(hostSide.problems).toEqual(['refused: accept_ra']);
  });

  it('says which package is missing', () => {
    const system = hostSystem({ changeRoute: () => {} }, 'twill-has-no-such-nft');
    const hostSide = new HostSide(system, SOCKET);
    hostSide.recover();
    expect(() => hostSide.apply(planOf(blue({ internal: true }), own()), links)).toThrow(
      'nft is missing, which a port of the host needs; install it with: apt-get install nftables',
    );
  });

  it('says when nft is there and cannot be run', () => {
    const system = hostSystem({ changeRoute: () => {} }, '/dev/null');
    expect(() => system.nft('')).toThrow(/^nft cannot be run: .*EACCES/);
    expect(system.table('twill-x')).toBeNull();
  });

  it('leaves alone what others have set', () => {
    const { system, hostSide } = side();
    system.sysctls.set('net.ipv4.ip_forward', '1');
    hostSide.apply(planOf(blue(), own()), links);
    hostSide.close();
    expect(system.diary.filter((line) => line.startsWith('net.'))).toEqual([]); // those of the link are its own
  });

  it('N33: forwards nothing for internal networks, also when they become so', () => {
    const { system, hostSide, table } = side();
    hostSide.apply(planOf(blue(), own()), links);
    hostSide.apply(planOf(blue({ internal: true }), own()), links);
    expect(system.sysctls.get('net.ipv4.ip_forward')).toBe('0');
    expect(table()).not.toContain('was 0');
  });

  it('C11: puts right what a predecessor left that died', () => {
    const { system, hostSide } = side();
    hostSide.apply(planOf(blue(), own()), links);
    const next = new HostSide(system, SOCKET);
    next.recover();
    expect([system.tables.size, system.sysctls.get('net.ipv4.ip_forward')]).toEqual([0, '0']);
    new HostSide(system, SOCKET).recover();
    expect(system.diary.filter((line) => line === 'net.ipv4.ip_forward = 0')).toHaveLength(1);
  });

  it.each(['masquerade', 'net.ipv4.ip_forward = 1'])('M4: "%s" refused leaves no trace', (what) => {
    const { system, hostSide, table } = side();
    system.refused.add(what);
    expect(() => hostSide.apply(planOf(masqueraded, own()), links)).toThrow(HostFailure);
    expect(hostSide.plan.ports).toEqual([]);
    expect([table(), system.sysctls.get('net.ipv4.ip_forward'), system.routes.size]).toEqual(['', '0', 0]);
  });

  it('M4: a refused change leaves the running table', () => {
    const { system, hostSide, table } = side();
    hostSide.apply(planOf(blue({ internal: true }), own()), links);
    const before = table();
    system.refused.add('61000');
    expect(() => hostSide.apply(planOf(masqueraded, own()), links)).toThrow('refused: 61000');
    expect(table()).toBe(before);
    expect(system.sysctls.get('net.ipv4.ip_forward')).toBe('0');
  });
});

describe('routes to services', () => {
  const to = (address: string, index = 7) => `${address}/32 via 10.77.0.1 src 10.77.0.2 dev ${index}`;

  it('follow the services, and the link', () => {
    const { system, hostSide } = side();
    hostSide.serve({ added: ['10.96.0.1'], removed: [] });
    expect(system.routes.size).toBe(0);
    hostSide.apply(planOf(blue(), own()), links);
    hostSide.serve({ added: ['10.96.0.2', 'fd00:96::1'], removed: [] });
    expect([...system.routes]).toEqual([to('10.96.0.1'), to('10.96.0.2')]);
    hostSide.serve({ added: [], removed: ['10.96.0.1'] });
    hostSide.relink(() => 8);
    expect([...system.routes]).toEqual([to('10.96.0.2', 8)]);
    hostSide.relink(() => undefined);
    expect([...system.routes]).toEqual([]);
  });

  it('are those of service CIDRs where there are any', () => {
    const { system, hostSide } = side();
    hostSide.serve({ added: ['10.96.0.1', '198.51.100.1'], removed: [] });
    const plan = planOf(blue(), own());
    hostSide.apply({ ...plan, serviceCIDRs: ['10.96.0.0/12'] }, links);
    const cidr = '10.96.0.0/12 via 10.77.0.1 src 10.77.0.2 dev 7';
    expect([...system.routes]).toEqual([cidr, to('198.51.100.1')]);
    hostSide.serve({ added: ['10.97.0.1'], removed: ['10.96.0.1'] });
    expect(system.routes.size).toBe(2);
    hostSide.apply(plan, links);
    expect([...system.routes].sort()).toEqual([to('10.97.0.1'), to('198.51.100.1')]);
  });

  it('end at a bound, which is told; what goes makes room', () => {
    const { system, hostSide } = side();
    hostSide.apply(planOf(blue(), own()), links);
    const addresses = Array.from({ length: MOST_ROUTES + 2 }, (_, i) => `10.${96 + (i >> 8)}.0.${i & 255}`);
    hostSide.serve({ added: addresses, removed: [] });
    expect(system.routes.size).toBe(MOST_ROUTES);
    expect(hostSide.problems).toEqual([
      `the host has routes to ${MOST_ROUTES} service addresses and none to 2 more; set serviceCIDRs of the Host`,
    ]);
    hostSide.serve({ added: [], removed: addresses.slice(0, 2) });
    expect(system.routes.size).toBe(MOST_ROUTES);
    expect(hostSide.problems).toEqual([]);
  });

  it('that somebody else has are left alone, and told', () => {
    const { system, hostSide } = side();
    system.routes.add(to('10.96.0.1'));
    hostSide.apply(planOf(blue(), own()), links);
    hostSide.serve({ added: ['10.96.0.1'], removed: [] });
    expect(hostSide.problems).toEqual([
      'no route of ours to 10.96.0.1: there is one already; see: ip route show 10.96.0.1',
    ]);
    hostSide.serve({ added: [], removed: ['10.96.0.1'] });
    expect([...system.routes]).toEqual([to('10.96.0.1')]);
    expect(hostSide.problems).toEqual([]);
  });
});

describe('node ports', () => {
  it('are in the table when they change; what the kernel refuses is told until it takes it', () => {
    const { system, hostSide, table } = side();
    hostSide.apply(planOf(blue(), own()), links);
    system.refused.add('30080');
    const change = { added: [], removed: [], nodePorts: { tcp: [30080], udp: [] } };
    hostSide.serve(change);
    expect(hostSide.problems).toEqual(['node ports are not delivered as they should be: refused: 30080']);
    system.refused.clear();
    hostSide.serve(change);
    expect([hostSide.problems, table()]).toEqual([[], expect.stringContaining('tcp dport { 30080 }')]);
  });
});

describe('what the host sees of services', () => {
  const one = (name: string, clusterIP: string): Resource =>
    resources(service(name, { clusterIP, ports: [{ port: 80 }] }))[0]!;
  const replace = (before?: Resource, after?: Resource): Replacement => ({ before, after });

  it('is counted: an address goes with the last Service that has it', () => {
    const faces = new Faces();
    const [a, b] = [one('a', '10.96.0.1'), one('b', '10.96.0.1')];
    expect(faces.commit([replace(undefined, a), replace(undefined, b)])).toEqual({
      added: ['10.96.0.1'],
      removed: [],
    });
    expect(faces.commit([replace(a, undefined)])).toBeNull();
    expect(faces.commit([replace(b, one('b', '10.96.0.2'))])).toEqual({
      added: ['10.96.0.2'],
      removed: ['10.96.0.1'],
    });
    const moved = one('a', '10.96.0.2');
    expect(faces.commit([replace(one('b', '10.96.0.2'), undefined), replace(undefined, moved)])).toBeNull();
  });

  it('S19: all node ports are told when one changes', () => {
    const faces = new Faces();
    const exposed = (name: string, protocol: string, nodePort: number): Resource =>
      resources(
        service(name, {
          type: 'NodePort',
          clusterIP: '10.96.0.1',
          ports: [{ port: 80, protocol, nodePort }],
        }),
      )[0]!;
    const [a, b] = [exposed('a', 'TCP', 30080), exposed('b', 'UDP', 30080)];
    expect(faces.commit([replace(undefined, a)])?.nodePorts).toEqual({ tcp: [30080], udp: [] });
    expect(faces.commit([replace(undefined, b)])?.nodePorts).toEqual({ tcp: [30080], udp: [30080] });
    expect(faces.commit([replace(a, one('a', '10.96.0.1'))])?.nodePorts).toEqual({ tcp: [], udp: [30080] });
  });
});
