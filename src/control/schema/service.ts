/** v1 Service, verbatim: the fields Twill uses, whatever else is there. */
import { z } from 'zod';
import { parseAddress } from '../../wire/address.ts';
import { show } from '../problem.ts';
import type { ServiceSpec } from '../types.ts';
import { kubernetesMetadata } from './envelope.ts';
import { anyText, choice, field, integer } from './fields.ts';

const PROXY_LABEL = 'service.kubernetes.io/service-proxy-name';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';

export const serviceSchema = z.looseObject({
  metadata: kubernetesMetadata(),
  spec: z.looseObject({
    type: anyText().default('ClusterIP'),
    clusterIP: clusterIP().optional(),
    clusterIPs: z.array(clusterIP()).default([]),
    ports: z
      .array(
        z.looseObject({
          name: anyText().default(''),
          protocol: choice('TCP', 'UDP', 'SCTP').default('TCP'),
          port: integer(1, 65_535),
        }),
      )
      .default([])
      .superRefine(distinctPorts),
    sessionAffinity: choice('None', 'ClientIP').default('None'),
    sessionAffinityConfig: z
      .looseObject({
        clientIP: z.looseObject({ timeoutSeconds: integer(1, 86_400).default(10_800) }).prefault({}),
      })
      .prefault({}),
  }),
});

/** clusterIP is "" for a Service that has no IPv4 address to program (S2, S3). */
export function serviceSpec(parsed: z.infer<typeof serviceSchema>): ServiceSpec {
  const { metadata, spec } = parsed;
  const ignored =
    PROXY_LABEL in metadata.labels || HEADLESS_LABEL in metadata.labels || spec.type === 'ExternalName';
  const given = spec.clusterIPs.length > 0 ? spec.clusterIPs : [spec.clusterIP ?? ''];
  return {
    clusterIP: ignored ? '' : (given.find((address) => address.includes('.')) ?? ''),
    ports: spec.ports.map(({ name, protocol, port }) => ({ name, protocol, port })),
    affinity: spec.sessionAffinity === 'ClientIP' ? spec.sessionAffinityConfig.clientIP.timeoutSeconds : 0,
  };
}

/** Canonical address; "" for "" and "None". */
function clusterIP() {
  return field('an IP address such as 10.96.0.10, or None', (value) => {
    if (typeof value !== 'string') return undefined;
    if (value === '' || value === 'None') return '';
    return parseAddress(value).text;
  });
}

/** M9: names are required and unique among several ports; (port, protocol) is unique. */
function distinctPorts(ports: ServiceSpec['ports'], context: z.RefinementCtx): void {
  const names = new Map<string, number>();
  const numbers = new Map<string, number>();
  ports.forEach((port, i) => {
    const refuse = (key: string, message: string) =>
      context.addIssue({ code: 'custom', path: [i, key], message });
    const number = `${port.port}/${port.protocol}`;
    if (ports.length > 1 && port.name === '') {
      refuse('name', 'missing; a Service with several ports needs a name for each');
    } else if (ports.length > 1 && names.has(port.name)) {
      refuse(
        'name',
        `${show(port.name)} is the name of ports[${names.get(port.name)}] too; names must differ`,
      );
    }
    if (numbers.has(number)) refuse('port', `${number} is ports[${numbers.get(number)}] too; remove one`);
    if (!names.has(port.name)) names.set(port.name, i);
    if (!numbers.has(number)) numbers.set(number, i);
  });
}
