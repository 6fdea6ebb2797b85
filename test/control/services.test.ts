import { describe, expect, it } from 'vitest';
import { compileServices } from '../../src/control/services.ts';
import { formatWords } from '../../src/wire/address.ts';
import { resources, service, slice } from './fixture.ts';

/** "name vip:port/protocol → backends" per compiled service. */
function compiled(...documents: readonly object[]): string[] {
  const all = resources(...documents);
  const services = compileServices(
    all.filter((r) => r.kind === 'Service'),
    all.filter((r) => r.kind === 'EndpointSlice'),
  );
  return services.map(({ name, vip, port, protocol, backends }) => {
    const list = backends.map((backend) => `${formatWords(backend.address)}:${backend.port}`).join(' ');
    return `${name} ${formatWords(vip)}:${port}/${protocol} ${list}`.trim();
  });
}

const spec = { clusterIP: '10.96.0.1', ports: [{ port: 80, targetPort: 9999 }] };
const ready = (...addresses: string[]) => ({ endpoints: addresses.map((a) => ({ addresses: [a] })) });
const backends = (...documents: readonly object[]) =>
  compiled(service('s', spec), ...documents)[0]!.split('/6 ')[1] ?? '';

describe('S2: Services that are not programmed', () => {
  it.each([
    ['service-proxy-name label', spec, { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } }],
    ['headless label', spec, { labels: { 'service.kubernetes.io/headless': '' } }],
    ['ExternalName', { ...spec, type: 'ExternalName', externalName: 'x.example' }, {}],
    ['clusterIP None', { ...spec, clusterIP: 'None' }, {}],
    ['clusterIP empty', { ...spec, clusterIP: '' }, {}],
    ['no clusterIP', { ports: spec.ports }, {}],
    ['IPv6 only', { ...spec, clusterIP: 'fd00::1' }, {}],
  ])('S2: %s', (_title, given, metadata) => {
    expect(compiled(service('s', given, metadata))).toEqual([]);
  });
});

describe('services', () => {
  it('S3: one entry per port, the IPv4 entry of clusterIPs; SCTP is not balanced', () => {
    const ports = [
      { name: 'a', port: 80 },
      { name: 'b', port: 53, protocol: 'UDP' },
      { name: 'c', port: 9, protocol: 'SCTP' },
    ];
    expect(
      compiled(service('s', { clusterIP: 'fd00::1', clusterIPs: ['fd00::1', '10.96.0.1'], ports })),
    ).toEqual(['default/s:a 10.96.0.1:80/6', 'default/s:b 10.96.0.1:53/17']);
  });

  it('S5: slices belong by label within their namespace; only addresses[0] counts; FQDN is ignored', () => {
    expect(
      backends(
        slice('s-1', 's', { endpoints: [{ addresses: ['10.0.0.1', '10.0.0.9'] }] }),
        slice('s-2', 'other', ready('10.0.0.2')),
        {
          ...slice('s-3', 's', ready('10.0.0.3')),
          metadata: { name: 's-3', namespace: 'x', labels: { 'kubernetes.io/service-name': 's' } },
        },
        slice('s-4', 's', { addressType: 'FQDN', ...ready('web.example') }),
        slice('s-5', 's', { addressType: 'IPv6', ...ready('fd00::1') }),
      ),
    ).toBe('10.0.0.1:8080');
  });

  it('S5: a slice port without name or number is skipped', () => {
    expect(
      backends(
        slice('s-1', 's', {
          ports: [{ port: 1 }, { name: '' }, { name: '', port: 0 }],
          ...ready('10.0.0.1'),
        }),
      ),
    ).toBe('');
  });

  it('S7: one ip:port in several slices counts once, a non-terminating instance first', () => {
    const endpoint = (conditions: object) => ({ endpoints: [{ addresses: ['10.0.0.1'], conditions }] });
    const ending = slice('s-1', 's', endpoint({ ready: false, serving: true, terminating: true }));
    const well = slice('s-2', 's', endpoint({}));
    expect(backends(ending, well)).toBe('10.0.0.1:8080');
    const unready = slice('s-2', 's', endpoint({ ready: false, serving: false }));
    expect(backends(ending, unready)).toBe('');
    expect(backends(unready, ending)).toBe('');
  });

  it('S8: the endpoint port is the slice port of the same name and protocol, never targetPort', () => {
    const ports = [
      { name: '', port: 8080 },
      { name: '', port: 53, protocol: 'UDP' },
      { name: 'other', port: 9 },
    ];
    expect(backends(slice('s-1', 's', { ports, ...ready('10.0.0.1') }))).toBe('10.0.0.1:8080');
  });

  it('S8: refused addresses drop out, the rest stays', () => {
    expect(backends(slice('s-1', 's', ready('127.0.0.1', '10.0.0.1', '224.0.0.1', 'x')))).toBe(
      '10.0.0.1:8080',
    );
  });

  it('S12: ready endpoints, else those that serve while terminating', () => {
    const one = (address: string, conditions: object) => ({ addresses: [address], conditions });
    const ending = one('10.0.0.2', { ready: false, serving: true, terminating: true });
    const dead = one('10.0.0.3', { ready: false, serving: false, terminating: true });
    const starting = one('10.0.0.4', { ready: false, serving: true, terminating: false });
    expect(backends(slice('a', 's', { endpoints: [one('10.0.0.1', {}), ending, dead, starting] }))).toBe(
      '10.0.0.1:8080',
    );
    expect(backends(slice('a', 's', { endpoints: [ending, dead, starting] }))).toBe('10.0.0.2:8080');
    expect(backends(slice('a', 's', { endpoints: [dead, starting] }))).toBe('');
  });

  it('S24: backends are ordered by address, then port, as numbers', () => {
    const list = [slice('a', 's', ready('200.0.0.1', '10.0.0.10')), slice('b', 's', ready('10.0.0.9'))];
    const low = slice('c', 's', { ports: [{ name: '', port: 80 }], ...ready('10.0.0.10') });
    expect(backends(...list, low)).toBe('10.0.0.9:8080 10.0.0.10:80 10.0.0.10:8080 200.0.0.1:8080');
  });

  it('S26: affinity is in milliseconds', () => {
    const all = resources(service('s', { ...spec, sessionAffinity: 'ClientIP' }));
    expect(compileServices(all as never, [])[0]).toMatchObject({ affinity: 10_800_000 });
  });

  it('M10: the older Service has the address, then the first by name; removing it activates the other', () => {
    const a = service('a', spec, { creationTimestamp: '2025-01-01T00:00:00Z' });
    const b = service('b', spec, { creationTimestamp: '2024-01-01T00:00:00Z' });
    expect(compiled(a, b)).toEqual(['default/b:80 10.96.0.1:80/6']);
    expect(compiled(a)).toEqual(['default/a:80 10.96.0.1:80/6']);
    expect(compiled(service('d', spec), service('c', spec))).toEqual(['default/c:80 10.96.0.1:80/6']);
  });
});
