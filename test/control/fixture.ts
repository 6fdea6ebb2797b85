/** Short ways to write resources in tests. */
import { checkSet } from '../../src/control/check.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { ServiceBook } from '../../src/control/services.ts';
import { NOWHERE } from '../../src/control/surroundings.ts';
import type { Facts, Resource } from '../../src/control/types.ts';
import type { Address, BackendConfig, ServiceConfig } from '../../src/dataplane/config.ts';
import {
  ADDRESS_WORDS,
  ALGORITHMS,
  ANY_SOURCE,
  BACKEND_WORDS,
  clusterAt,
  DEFAULT_WEIGHT,
  Field,
  FRONTEND_WORDS,
  frontendsAt,
  localAt,
  mainFrontendAt,
  NOT_COMPUTED,
  nameAt,
  ON_ENDPOINT_REMOVED,
  othersAt,
  RANGE_WORDS,
  rangesAt,
  recordEnd,
  type ServiceBatch,
  ServiceFlag,
} from '../../src/service/record.ts';

export const ETHERNET: Facts = { mtuTowards: () => 1500 };

const own = (kind: string) => (name: string, spec: object) => ({
  apiVersion: 'twill/v1alpha1',
  kind,
  metadata: { name },
  spec,
});

const hostOf = own('Host');
export const host = (address = '192.0.2.1', more: object = {}) =>
  hostOf('alpha', { underlay: { address, ...more } });
export const network = own('Network');
export const peer = own('Peer');
export const port = own('Port');

export const blue = (spec: object = {}) =>
  network('blue', { vxlan: { vni: 42 }, subnets: [{ cidr: '10.77.0.0/24' }], ...spec });

export const service = (name: string, spec: object, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, ...metadata },
  spec,
});

export const slice = (name: string, of: string, rest: object) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, labels: { 'kubernetes.io/service-name': of } },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080 }],
  ...rest,
});

/** Resources of documents that must all be right. */
export function resources(...documents: readonly object[]): Resource[] {
  const { resources, problems } = parseSources([
    { file: 'f', text: JSON.stringify({ kind: 'List', items: documents }) },
  ]);
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join('\n'));
  return [...resources];
}

/** All but that a Service has no slice, which most Services of tests have not. */
export const besideSlices = <T extends { readonly message: string }>(warnings: readonly T[]): T[] =>
  warnings.filter(({ message }) => !message.startsWith('no EndpointSlice names '));

/** Lines about a YAML text in file "f", cross-checks included; warnings after errors. */
export function judge(text: string, more: readonly object[] = []): { errors: string[]; warnings: string[] } {
  const sources = [{ file: 'f', text }];
  if (more.length > 0) sources.push({ file: 'more', text: JSON.stringify({ kind: 'List', items: more }) });
  const parsed = parseSources(sources);
  const checked = checkSet(parsed.resources);
  const problems = parsed.problems.length > 0 ? parsed.problems : checked.problems;
  return {
    errors: problems.map(formatProblem),
    warnings: [...parsed.warnings, ...checked.warnings].map(formatProblem),
  };
}

/** The records of a batch as objects, in the order of names; `serving` without the sets, defaults left out. */
export function servicesIn({ records, count }: ServiceBatch): ServiceConfig[] {
  const services: ServiceConfig[] = [];
  for (let i = 0, at = 0; i < count; i++, at = recordEnd(records, at)) services.push(serviceAt(records, at));
  return services.sort((a, b) => (a.name < b.name ? -1 : 1) || a.protocol - b.protocol);
}

const KINDS = ['clusterIP', 'externalIP', 'loadBalancer'] as const;

/** A record without frontends has no address to speak of. */
const NO_VIP = { vip: [0, 0, 0, 0] as const, port: 0 };

function serviceAt(records: Int32Array, at: number): ServiceConfig {
  const field = (name: Field) => records[at + name]!;
  const list = <T>(from: number, count: number, words: number, item: (at: number) => T): T[] =>
    Array.from({ length: Math.max(0, count) }, (_, i) => item(from + i * words));
  const address = (from: number) => [...records.subarray(from, from + ADDRESS_WORDS)] as unknown as Address;
  const low = (from: number) => records[from + 4]! & 0xffff;
  const high = (from: number) => records[from + 4]! >>> 16;
  const endpoint = (from: number): BackendConfig => ({
    address: address(from),
    port: low(from),
    ...(high(from) !== DEFAULT_WEIGHT && { weight: high(from) }),
  });
  const frontends = list(frontendsAt(at), field(Field.FRONTENDS), FRONTEND_WORDS, (from) => ({
    address: address(from),
    port: low(from),
    kind: KINDS[high(from)]!,
  }));
  const backends = list(clusterAt(records, at), field(Field.CLUSTER), BACKEND_WORDS, endpoint);
  const local = list(localAt(records, at), field(Field.LOCAL), BACKEND_WORDS, endpoint);
  const ranges = list(rangesAt(records, at), field(Field.RANGES), RANGE_WORDS, (from) => ({
    address: address(from),
    prefix: records[from + 4]!,
  }));
  const flags = field(Field.FLAGS);
  const usable = (flags & ServiceFlag.USABLE) !== 0;
  const algorithm = ALGORITHMS[(flags >> ServiceFlag.ALGORITHM_SHIFT) & 3]!;
  const onEndpointRemoved = ON_ENDPOINT_REMOVED[(flags >> ServiceFlag.ON_REMOVED_SHIFT) & 3]!;
  const name = Buffer.from(records.buffer, nameAt(records, at) * 4, field(Field.NAME_BYTES));
  const vip = mainFrontendAt(records, at);
  const isPlainVip = frontends.length === 1 && frontends[0]!.kind === 'clusterIP';
  return {
    id: field(Field.ID),
    name: name.toString(),
    ...(frontends.length > 0 ? { vip: address(vip), port: low(vip) } : NO_VIP),
    ...(!isPlainVip && { frontends }),
    ...((field(Field.PORT) & 0xffff) !== 0 && { nodePort: field(Field.PORT) & 0xffff }),
    protocol: field(Field.PORT) >>> 16,
    affinity: field(Field.AFFINITY),
    ...((flags & ServiceFlag.AFFINITY_ABSOLUTE) !== 0 && { affinityMode: 'absolute' as const }),
    backends,
    ...(field(Field.LOCAL) !== NOT_COMPUTED && { local }),
    ...(field(Field.RANGES) !== ANY_SOURCE && { ranges }),
    serving: list(othersAt(records, at), field(Field.OTHERS), ADDRESS_WORDS, address),
    ...(usable !== backends.length + local.length > 0 && { usable }),
    ...((flags & ServiceFlag.INTERNAL_LOCAL) !== 0 && { internalLocal: true }),
    ...((flags & ServiceFlag.EXTERNAL_LOCAL) !== 0 && { externalLocal: true }),
    ...(algorithm !== 'roundRobin' && { algorithm }),
    ...(onEndpointRemoved !== 'keep' && { onEndpointRemoved }),
    ...(field(Field.DRAIN) !== 0 && { drain: field(Field.DRAIN) }),
  };
}

/** What documents mean to a daemon that runs nothing yet. */
export const servicesOf = (...documents: readonly object[]): ServiceConfig[] =>
  servicesIn(
    new ServiceBook().stage(
      resources(...documents).map((after) => ({ before: undefined, after })),
      NOWHERE,
      false,
    ).batch,
  );
