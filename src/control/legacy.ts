/** v1 Endpoints → the EndpointSlice `<name>-legacy` that says the same (M1). */
import { formatPath, isRecord, type Path, type RawDocument } from './document.ts';
import { SERVICE_LABEL } from './schema/endpoint-slice.ts';
import type { Problem } from './types.ts';

/** Whoever sets it writes slices of its own. */
const SKIP_LABEL = 'endpointslice.kubernetes.io/skip-mirror';

export const isEndpoints = ({ value }: RawDocument): boolean =>
  value.kind === 'Endpoints' && value.apiVersion === 'v1';

/**
 * One slice has one list of ports and one family, so it tells of the first subset and of those like it; others are
 * warned of. Places are those of the Endpoints.
 * @returns undefined for one that is not to be mirrored
 */
export function mirrored(document: RawDocument, warnings: Problem[]): RawDocument | undefined {
  const { value } = document;
  const metadata = isRecord(value.metadata) ? value.metadata : {};
  const labels = isRecord(metadata.labels) ? metadata.labels : {};
  if (labels[SKIP_LABEL] === 'true') return undefined;
  const subsets = (Array.isArray(value.subsets) ? value.subsets : []).filter(isRecord);
  const ports = portsOf(subsets[0]);
  const isV6 = addressesOf(subsets[0], 'addresses').some(({ ip }) => String(ip).includes(':'));
  const alike = subsets.filter((subset, i) => {
    const isAlike = JSON.stringify(portsOf(subset)) === JSON.stringify(ports);
    const path = ['subsets', i];
    const message =
      'its ports differ from those of subsets[0], and one slice has one list; skipped, write an EndpointSlice for it';
    if (!isAlike) warnings.push({ ...document.locate(path), path: formatPath(path), message });
    return isAlike;
  });
  const endpoints = alike.flatMap((subset) => [
    ...addressesOf(subset, 'addresses').map((address) => endpoint(address, true)),
    ...addressesOf(subset, 'notReadyAddresses').map((address) => endpoint(address, false)),
  ]);
  const name = typeof metadata.name === 'string' ? metadata.name : '';
  const near = (path: Path): Path => (path[0] === 'metadata' ? path : ['subsets']);
  return {
    value: {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        ...metadata,
        name: name === '' ? '' : `${name}-legacy`,
        labels: { ...labels, [SERVICE_LABEL]: name },
      },
      addressType: isV6 ? 'IPv6' : 'IPv4',
      ports,
      endpoints,
    },
    origin: document.origin,
    locate: (path) => document.locate(near(path)),
    locateKey: (path) => document.locateKey(near(path)),
  };
}

type Fields = Readonly<Record<string, unknown>>;

const addressesOf = (subset: Fields | undefined, key: 'addresses' | 'notReadyAddresses'): Fields[] => {
  const list = subset?.[key];
  return Array.isArray(list) ? list.filter(isRecord) : [];
};

/** An unnamed port of Endpoints has the empty name. */
const portsOf = (subset: Fields | undefined): unknown[] => {
  const list = Array.isArray(subset?.ports) ? subset.ports : [];
  return list.map((port: unknown) => (isRecord(port) ? { name: '', ...port } : port));
};

const endpoint = ({ ip, nodeName }: Fields, ready: boolean): Fields => ({
  addresses: [ip],
  conditions: { ready, serving: ready },
  ...(nodeName !== undefined && { nodeName }),
});
