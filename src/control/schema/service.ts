/** v1 Service, verbatim: the fields Twill uses, whatever else is there. */
import { z } from 'zod';
import { AFFINITY_MODES, ALGORITHMS, ON_ENDPOINT_REMOVED } from '../../service/record.ts';
import {
  AddressError,
  type Cidr,
  familyOf,
  networkOf,
  parseAddress,
  sameWords,
  unusualKind,
  type Words,
} from '../../wire/address.ts';
import { show } from '../problem.ts';
import type { ServiceAddress, ServicePort, ServiceSpec, Wants } from '../types.ts';
import { kubernetesMetadata } from './envelope.ts';
import {
  anyText,
  boolean,
  choice,
  compact,
  duration,
  type Field,
  field,
  integer,
  Refusal,
} from './fields.ts';

const PROXY_LABEL = 'service.kubernetes.io/service-proxy-name';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';

/** Annotations of Twill's own, and what each may say. */
export const SERVICE_ANNOTATIONS = {
  'twill/algorithm': choice(...ALGORITHMS),
  'twill/on-endpoint-removed': choice(...ON_ENDPOINT_REMOVED),
  'twill/drain': duration(1, 86_400, false),
  'twill/affinity-mode': choice(...AFFINITY_MODES),
} as const;

const trafficPolicy = () => choice('Cluster', 'Local').default('Cluster');

export const serviceSchema = z.looseObject({
  metadata: kubernetesMetadata(),
  spec: z.looseObject({
    type: choice('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName').default('ClusterIP'),
    ipFamilies: z.array(choice('IPv4', 'IPv6')).default([]),
    ipFamilyPolicy: choice('SingleStack', 'PreferDualStack', 'RequireDualStack').default('SingleStack'),
    allocateLoadBalancerNodePorts: boolean().default(true),
    clusterIP: clusterIP().optional(),
    clusterIPs: z.array(clusterIP()).default([]),
    externalIPs: z.array(anyText()).default([]),
    loadBalancerSourceRanges: z.array(sourceRange()).default([]),
    internalTrafficPolicy: trafficPolicy(),
    externalTrafficPolicy: trafficPolicy(),
    healthCheckNodePort: integer(0, 65_535).default(0),
    ports: z
      .array(
        z.looseObject({
          name: anyText().default(''),
          protocol: choice('TCP', 'UDP', 'SCTP').default('TCP'),
          port: integer(1, 65_535),
          nodePort: integer(0, 65_535).default(0),
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
  status: z
    .looseObject({
      loadBalancer: z
        .looseObject({
          ingress: z
            .array(z.looseObject({ ip: anyText().optional(), ipMode: anyText().default('VIP') }))
            .default([]),
        })
        .prefault({}),
    })
    .prefault({}),
});

export function serviceSpec({ metadata, spec, status }: z.infer<typeof serviceSchema>): ServiceSpec {
  const ignored = isOthers(metadata.labels, spec.type) || hasTwoFirsts(spec);
  const clusterIPs = spec.clusterIPs.length > 0 ? spec.clusterIPs : [spec.clusterIP ?? ''];
  const ingress = status.loadBalancer.ingress.filter(({ ip, ipMode }) => ip && ipMode === 'VIP');
  const externals = distinct([
    ...usable('externalIP', spec.externalIPs),
    ...usable(
      'loadBalancer',
      ingress.map(({ ip }) => ip!),
    ),
  ]);
  const said = <T>(annotation: keyof typeof SERVICE_ANNOTATIONS, schema: Field<T>): T | undefined =>
    schema.safeParse(metadata.annotations[annotation]).data;
  const drain = said('twill/drain', SERVICE_ANNOTATIONS['twill/drain']);
  return compact<ServiceSpec>({
    addresses: ignored ? [] : withExternals(usable('clusterIP', clusterIPs), externals),
    ports: spec.ports.map(({ name, protocol, port, nodePort }) => ({ name, protocol, port, nodePort })),
    affinity: spec.sessionAffinity === 'ClientIP' ? spec.sessionAffinityConfig.clientIP.timeoutSeconds : 0,
    internalLocal: spec.internalTrafficPolicy === 'Local',
    externalLocal: spec.externalTrafficPolicy === 'Local',
    sourceRanges: spec.loadBalancerSourceRanges,
    healthCheckNodePort:
      !ignored && spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local'
        ? spec.healthCheckNodePort
        : 0,
    algorithm: said('twill/algorithm', SERVICE_ANNOTATIONS['twill/algorithm']),
    onEndpointRemoved: said('twill/on-endpoint-removed', SERVICE_ANNOTATIONS['twill/on-endpoint-removed']),
    drain: drain === undefined ? undefined : Math.round(drain * 1000),
    affinityMode: said('twill/affinity-mode', SERVICE_ANNOTATIONS['twill/affinity-mode']),
    wants: ignored || clusterIPs.includes('None') ? undefined : wantsOf(spec, clusterIPs, externals),
  });
}

/** S2: whether a Service is for another proxy, or for name servers alone, whatever addresses it has. */
const isOthers = (labels: Readonly<Record<string, string>>, type: string | undefined): boolean =>
  PROXY_LABEL in labels || HEADLESS_LABEL in labels || type === 'ExternalName';

/** Whether clusterIP is not the first of clusterIPs; an API server refuses that (ValidateServiceClusterIPsRelatedFields). */
export function hasTwoFirsts({ clusterIP, clusterIPs }: Written['spec']): boolean {
  const first = clusterIPs?.[0];
  if (!clusterIP || first === undefined) return false;
  const canonical = (text: string): string => (isAddress(text) ? parseAddress(text).text : text);
  return canonical(clusterIP) !== canonical(first);
}

/** S38: what an API server would have filled in; undefined when nothing is missing. */
function wantsOf(
  spec: z.infer<typeof serviceSchema>['spec'],
  clusterIPs: readonly string[],
  externals: readonly ServiceAddress[],
): Wants | undefined {
  const { type, ipFamilies, ipFamilyPolicy, ports } = spec;
  const written = clusterIPs.filter((text) => text !== '').length;
  const families = [...new Set(ipFamilies)].map((name) => (name === 'IPv4' ? 4 : 6));
  const isBalanced = type === 'LoadBalancer';
  const opens = type === 'NodePort' || (isBalanced && spec.allocateLoadBalancerNodePorts);
  const nodePorts = opens && ports.some(({ nodePort }) => nodePort === 0);
  const healthCheckNodePort =
    isBalanced && spec.externalTrafficPolicy === 'Local' && spec.healthCheckNodePort === 0;
  const wanted = ipFamilyPolicy === 'SingleStack' ? Math.max(families.length, 1) : 2;
  if (written >= wanted && !nodePorts && !healthCheckNodePort) return undefined;
  return { families, policy: ipFamilyPolicy, nodePorts, healthCheckNodePort, externals };
}

/** S3, S4: what cannot be an address of a service is left out. */
function usable(kind: ServiceAddress['kind'], texts: readonly string[]): ServiceAddress[] {
  return texts.flatMap((text) =>
    addressRefusal(text) === null ? [{ kind, words: parseAddress(text).words }] : [],
  );
}

/** ClusterIPs, the first of each family, and what is external of those families; each once. */
export function withExternals(
  clusterIPs: readonly ServiceAddress[],
  externals: readonly ServiceAddress[],
): ServiceAddress[] {
  const own = new Map<number, ServiceAddress>();
  for (const address of clusterIPs) {
    const family = familyOf(address.words);
    if (!own.has(family)) own.set(family, address);
  }
  return distinct([...own.values(), ...externals.filter(({ words }) => own.has(familyOf(words)))]);
}

function distinct(addresses: readonly ServiceAddress[]): ServiceAddress[] {
  return addresses.filter(
    ({ words }, i) => addresses.findIndex((other) => sameWords(other.words, words)) === i,
  );
}

/** Why a service cannot be found at an address, or null. "" is no address at all. */
export function addressRefusal(text: string): string | null {
  try {
    const kind = unusualKind(parseAddress(text).words);
    return kind === null ? null : `"${text}" is not usable as an address of a Service (${kind} address)`;
  } catch (error) {
    if (error instanceof AddressError) return error.message;
    throw error;
  }
}

/** Families a Service has. */
export const familiesOf = (addresses: readonly ServiceAddress[]): (4 | 6)[] =>
  addresses.flatMap(({ kind, words }) => (kind === 'clusterIP' ? [familyOf(words)] : []));

/** Canonical address, "" or "None". */
function clusterIP() {
  return field('an IP address such as 10.96.0.10, or None', (value) => {
    if (typeof value !== 'string') return undefined;
    if (!isAddress(value)) return value;
    if (/^none$/i.test(value)) throw new Refusal(`${show(value)} is not an IP address; did you mean None?`);
    return parseAddress(value).text;
  });
}

const isAddress = (clusterIP: string): boolean => clusterIP !== '' && clusterIP !== 'None';

/** S3: blanks around it and bits beyond the prefix do not matter. */
function sourceRange(): Field<Cidr> {
  return field('a network such as 203.0.113.0/24', (value) => {
    return typeof value === 'string' ? networkOf(value.trim()) : undefined;
  });
}

/** M9: names are required and unique among several ports; (port, protocol) and (nodePort, protocol) are unique. */
function distinctPorts(ports: readonly ServicePort[], context: z.RefinementCtx): void {
  const seen = { name: new Map<string, number>(), port: new Map(), nodePort: new Map() };
  ports.forEach((port, i) => {
    const refuse = (key: string, message: string) =>
      context.addIssue({ code: 'custom', path: [i, key], message });
    if (ports.length > 1 && port.name === '') {
      refuse('name', 'missing; a Service with several ports needs a name for each');
    } else if (ports.length > 1 && seen.name.has(port.name)) {
      const other = `ports[${seen.name.get(port.name)}]`;
      refuse('name', `${show(port.name)} is the name of ${other} too; names must differ`);
    }
    if (!seen.name.has(port.name)) seen.name.set(port.name, i);
    for (const key of ['port', 'nodePort'] as const) {
      const number = `${port[key]}/${port.protocol}`;
      if (port[key] === 0) continue;
      if (seen[key].has(number)) refuse(key, `${number} is ports[${seen[key].get(number)}] too; remove one`);
      else seen[key].set(number, i);
    }
  });
}

interface WrittenAddress {
  readonly kind: ServiceAddress['kind'];
  readonly text: string;
  readonly path: string;
}

/** The addresses of a Service as its document has them. */
export function addressesIn(document: unknown): WrittenAddress[] {
  const { spec, status } = document as Written;
  const list = (kind: ServiceAddress['kind'], path: string, texts: readonly (string | undefined)[] = []) =>
    texts.flatMap((text, i) =>
      text === undefined ? [] : [{ kind, text, path: path.replace('#', String(i)) }],
    );
  const clusterIPs = spec.clusterIPs?.length ? spec.clusterIPs : undefined;
  const ingress = status?.loadBalancer?.ingress?.map(({ ip, ipMode }) =>
    ip && (ipMode ?? 'VIP') === 'VIP' ? ip : undefined,
  );
  return [
    ...list('clusterIP', 'spec.clusterIPs[#]', clusterIPs),
    ...list('clusterIP', 'spec.clusterIP', clusterIPs ? [] : [spec.clusterIP ?? '']),
    ...list('externalIP', 'spec.externalIPs[#]', spec.externalIPs ?? []),
    ...list('loadBalancer', 'status.loadBalancer.ingress[#].ip', ingress),
  ];
}

/** A Service as its document has it. */
export interface Written {
  readonly spec: {
    readonly clusterIP?: string | null | undefined;
    readonly clusterIPs?: readonly string[] | null;
    readonly externalIPs?: readonly string[] | null;
  };
  readonly status?: {
    readonly loadBalancer?: {
      readonly ingress?: readonly { readonly ip?: string; readonly ipMode?: string }[] | null;
    } | null;
  } | null;
}

/** Where an address was written. */
export function addressPath(document: unknown, words: Words): string {
  const found = addressesIn(document).find(
    ({ text }) => addressRefusal(text) === null && sameWords(parseAddress(text).words, words),
  );
  return found?.path ?? 'spec';
}
