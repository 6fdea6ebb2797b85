/** Short ways to write resources in tests. */
import { checkSet } from '../../src/control/check.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import type { Facts, Resource } from '../../src/control/types.ts';

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
