/** Short ways to write resources in tests. */
import { checkSet } from '../../src/control/check.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { ServiceBook } from '../../src/control/services.ts';
import type { Facts, Resource } from '../../src/control/types.ts';
import type { Address, ServiceConfig } from '../../src/dataplane/config.ts';
import {
  ADDRESS_WORDS,
  BACKEND_WORDS,
  Field,
  type ServiceBatch,
  tailWords,
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

/** The records of a batch as objects, in the order of names; `serving` without the backends. */
export function servicesIn({ records, count }: ServiceBatch): ServiceConfig[] {
  const services: ServiceConfig[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    const words = (from: number, length: number) => [...records.subarray(from, from + length)];
    const address = (from: number) => words(from, ADDRESS_WORDS) as unknown as Address;
    const tail = at + Field.HEAD;
    const size = records[at + Field.BACKENDS]!;
    const others = Math.max(0, records[at + Field.OTHERS]!);
    const rest = tail + size * BACKEND_WORDS;
    const name = Buffer.from(
      records.buffer,
      (rest + others * ADDRESS_WORDS) * 4,
      records[at + Field.NAME_BYTES],
    );
    services.push({
      id: records[at + Field.ID]!,
      name: name.toString(),
      vip: address(at + Field.VIP),
      protocol: records[at + Field.PORT]! >>> 16,
      port: records[at + Field.PORT]! & 0xffff,
      affinity: records[at + Field.AFFINITY]!,
      backends: Array.from({ length: size }, (_, j) => ({
        address: address(tail + j * BACKEND_WORDS),
        port: records[tail + j * BACKEND_WORDS + 4]!,
      })),
      serving: Array.from({ length: others }, (_, j) => address(rest + j * ADDRESS_WORDS)),
    });
    at = tail + tailWords(records, at);
  }
  return services.sort((a, b) => (a.name < b.name ? -1 : 1) || a.protocol - b.protocol);
}

/** What documents mean to a daemon that runs nothing yet. */
export const servicesOf = (...documents: readonly object[]): ServiceConfig[] =>
  servicesIn(
    new ServiceBook().stage(
      resources(...documents).map((after) => ({ before: undefined, after })),
      [],
      false,
    ).batch,
  );
