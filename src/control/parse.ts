/** Texts → resources: every document recognised, checked on its own and given its defaults. */
import type { z } from 'zod';
import type { Path, RawDocument } from './document.ts';
import { formatPath, isRecord, parsePath, readDocuments } from './document.ts';
import { isEndpoints, mirrored } from './legacy.ts';
import { PlainResource } from './plain-resource.ts';
import { inOrder, nearest, show } from './problem.ts';
import { endpointSliceSchema, endpointSliceSpec } from './schema/endpoint-slice.ts';
import { API_VERSION } from './schema/envelope.ts';
import { validate } from './schema/explain.ts';
import { hostSchema, hostSpec } from './schema/host.ts';
import { unknownFields } from './schema/kubernetes-fields.ts';
import { networkSchema, networkSpec } from './schema/network.ts';
import { nodeSchema, nodeSpec } from './schema/node.ts';
import { peerSchema, peerSpec } from './schema/peer.ts';
import { portSchema, portSpec } from './schema/port.ts';
import { serviceSchema, serviceSpec } from './schema/service.ts';
import { serviceCIDRSchema, serviceCIDRSpec } from './schema/service-cidr.ts';
import type { Kind, Parsed, Problem, Resource, ResourceOf, Source } from './types.ts';

interface Reader {
  readonly apiVersion: string;
  /** The resource, or undefined after adding to `problems`. */
  read(document: RawDocument, problems: Problem[]): Resource | undefined;
}

const READERS: Readonly<Record<Kind, Reader>> = {
  Host: reader('Host', API_VERSION, hostSchema, hostSpec),
  Network: reader('Network', API_VERSION, networkSchema, networkSpec),
  Peer: reader('Peer', API_VERSION, peerSchema, peerSpec),
  Port: reader('Port', API_VERSION, portSchema, portSpec),
  Service: reader('Service', 'v1', serviceSchema, serviceSpec),
  EndpointSlice: reader('EndpointSlice', 'discovery.k8s.io/v1', endpointSliceSchema, endpointSliceSpec),
  Node: reader('Node', 'v1', nodeSchema, nodeSpec),
  ServiceCIDR: reader('ServiceCIDR', 'networking.k8s.io/v1', serviceCIDRSchema, serviceCIDRSpec),
};
const KINDS = Object.keys(READERS) as Kind[];
const OWN_KINDS = KINDS.filter((kind) => READERS[kind].apiVersion === API_VERSION);

/** Per file: one wrong bracket can make every line after it a problem. */
const MOST_PROBLEMS = 20;
/** Per file: one tool may write the same field into every object. */
const MOST_UNKNOWN = 20;
const NOWHERE = { line: 0, column: 0, path: '' } as const;

/** Reads every source to its end: its problems at once, and the resources that have none. */
export function parseSources(sources: readonly Source[]): Parsed {
  const resources: Resource[] = [];
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  for (const source of sources) {
    const before = problems.length;
    const unknown: Problem[] = [];
    const read = readDocuments(source);
    problems.push(...read.problems);
    for (const given of read.documents) {
      if (given instanceof PlainResource) {
        resources.push(given as Resource);
        continue;
      }
      const document = isEndpoints(given) ? mirrored(given, warnings) : given;
      if (!document) continue;
      const kind = kindOf(document, problems, warnings);
      if (kind) unknown.push(...unknownFields(given));
      const resource = kind && READERS[kind].read(document, problems);
      if (!resource) continue;
      resources.push(resource);
      warnings.push(...leadingZeros(document));
    }
    warnings.push(...first(unknown, MOST_UNKNOWN, source, ' about unknown fields'));
    const found = inOrder(problems.splice(before), [source]);
    problems.push(...first(found, MOST_PROBLEMS, source));
  }
  return { resources, problems, warnings };
}

/** Some of what was found, and how many more there are. */
function first(found: readonly Problem[], most: number, { file }: Source, what = ''): readonly Problem[] {
  const more = found.length - most;
  if (more <= 0) return found;
  return [...found.slice(0, most), { ...NOWHERE, file, message: `… and ${more} more${what}` }];
}

/** The kind of a document this program reads; otherwise undefined and a problem or warning. */
function kindOf(document: RawDocument, problems: Problem[], warnings: Problem[]): Kind | undefined {
  const { apiVersion, kind } = document.value;
  const problem = (path: Path, message: string): undefined => {
    problems.push({ ...document.locate(path), path: formatPath(path), message });
  };
  if (typeof kind !== 'string' || kind === '') {
    return problem(
      ['kind'],
      `${kind === undefined ? 'missing' : `${show(kind)} is not a kind`}; one of ${KINDS.join(', ')}`,
    );
  }
  const known = KINDS.find((candidate) => candidate === kind);
  if (typeof apiVersion !== 'string' || apiVersion === '') {
    const right =
      known === undefined ? `${API_VERSION}, v1 or discovery.k8s.io/v1` : READERS[known].apiVersion;
    return problem(
      ['apiVersion'],
      `${apiVersion === undefined ? 'missing' : `${show(apiVersion)} is not a version`}; write ${right}`,
    );
  }
  const group = apiVersion.split('/')[0]!;
  if (known !== undefined) {
    const right = READERS[known].apiVersion;
    if (apiVersion === right) return known;
    const sameGroup = group === right.split('/')[0] || (right === 'v1' && !apiVersion.includes('/'));
    if (OWN_KINDS.includes(known) || sameGroup || group === 'twill') {
      return problem(['apiVersion'], `${show(apiVersion)} has no kind ${kind} here; write ${right}`);
    }
  } else if (group === 'twill') {
    const near = nearest(kind, OWN_KINDS);
    const right =
      near === undefined ? `kinds of ${API_VERSION} are ${OWN_KINDS.join(', ')}` : `did you mean ${near}?`;
    return problem(['kind'], `unknown kind ${show(kind)}; ${right}`);
  }
  const { metadata } = document.value;
  const name = isRecord(metadata) && typeof metadata.name === 'string' ? ` ${show(metadata.name)}` : '';
  const near = known === undefined ? nearest(kind, KINDS) : undefined;
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  warnings.push({
    ...document.locate(['kind']),
    path: 'kind',
    message: `${apiVersion} ${kind}${name} is not used here: skipped${hint}`,
  });
  return undefined;
}

interface EnvelopeShape {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly labels: Record<string, string>;
    readonly annotations: Record<string, string>;
  };
}

function reader<K extends Kind, V extends EnvelopeShape>(
  kind: K,
  apiVersion: string,
  schema: z.ZodType<V>,
  toSpec: (value: V) => ResourceOf<K>['spec'],
): Reader {
  const isNamespaced = kind === 'Service' || kind === 'EndpointSlice';
  return {
    apiVersion,
    read(document, problems) {
      const value = validate(schema, document, problems);
      if (value === undefined) return undefined;
      const { name, namespace, labels, annotations } = value.metadata;
      return {
        kind,
        name,
        namespace: isNamespaced ? (namespace ?? 'default') : '',
        labels,
        annotations,
        spec: toSpec(value),
        origin: document.origin,
        locate: (path: string) => document.locate(parsePath(path)),
        document: document.value,
      } as Resource;
    },
  };
}

/** S9: IPv4 literals with leading zeros are read as decimal, with a warning for each. */
function leadingZeros(document: RawDocument): Problem[] {
  const warnings: Problem[] = [];
  const visit = (value: unknown, path: Path): void => {
    if (typeof value === 'string') {
      const match = /^(\d+(?:\.\d+){3})(\/\d+)?$/.exec(value);
      if (match === null || !/(^|\.)0\d/.test(value)) return;
      const decimal = match[1]!.split('.').map(Number).join('.') + (match[2] ?? '');
      const message = `${show(value)} is read as ${decimal}; leading zeros may mean octal elsewhere, write ${decimal}`;
      warnings.push({ ...document.locate(path), path: formatPath(path), message });
    } else if (Array.isArray(value)) {
      for (const [i, item] of value.entries()) visit(item, [...path, i]);
    } else if (isRecord(value)) {
      for (const [key, item] of Object.entries(value)) visit(item, [...path, key]);
    }
  };
  visit(document.value.spec, ['spec']);
  visit(document.value.endpoints, ['endpoints']);
  if (document.value.kind === 'Service') visit(document.value.status, ['status']);
  return warnings;
}
