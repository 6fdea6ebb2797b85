import { describe, expect, it } from 'vitest';
import type { ServiceConfig } from '../../src/dataplane/config.ts';
import { RecordWriter } from '../../src/service/record.ts';
import { servicesIn } from '../control/fixture.ts';
import { address4 } from '../fabric.ts';

const plain: ServiceConfig = {
  id: 7,
  name: 'default/shop:http',
  vip: address4('10.96.0.10'),
  port: 80,
  protocol: 6,
  affinity: 0,
  backends: [{ address: address4('10.77.0.1'), port: 8080 }],
  serving: [],
};

const whole: ServiceConfig = {
  ...plain,
  id: 8,
  name: 'ünï/cödé:日本',
  frontends: [
    { address: address4('10.96.0.10'), port: 80, kind: 'clusterIP' },
    { address: address4('203.0.113.9'), port: 80, kind: 'externalIP' },
    { address: address4('203.0.113.10'), port: 65_535, kind: 'loadBalancer' },
  ],
  nodePort: 32_767,
  affinity: 86_400_000,
  affinityMode: 'absolute',
  backends: [
    { address: address4('10.77.0.1'), port: 65_535, weight: 65_535 },
    { address: address4('10.77.0.2'), port: 1, weight: 0 },
  ],
  local: [{ address: address4('10.77.0.3'), port: 9 }],
  ranges: [{ address: address4('198.51.100.0'), prefix: 120 }],
  serving: [address4('10.77.0.9')],
  internalLocal: true,
  externalLocal: true,
  algorithm: 'leastConn',
  onEndpointRemoved: 'reset',
  drain: 30_000,
};

const through = (...configs: ServiceConfig[]): ServiceConfig[] => {
  const writer = new RecordWriter();
  for (const config of configs) writer.add(config);
  return servicesIn(writer.finish());
};

describe('a service record', () => {
  it('S3, S10, S31: carries every frontend, both sets, the source ranges and who else serves', () => {
    expect(through(plain, whole)).toEqual([plain, whole]);
  });

  it('S10, S13: tells an empty local set from one that nothing asked for', () => {
    expect(through({ ...plain, local: [] })).toEqual([{ ...plain, local: [] }]);
  });

  it('S4: tells source ranges that admit nobody from none at all', () => {
    expect(through({ ...plain, ranges: [] })).toEqual([{ ...plain, ranges: [] }]);
  });

  it('M10: may have a node port and no address of its own', () => {
    const [service] = through({ ...plain, frontends: [], nodePort: 30_000 });
    expect(service).toMatchObject({ frontends: [], nodePort: 30_000, backends: plain.backends });
  });
});
