/** Resources → the documents `get -o yaml` and `-o json` print. */

import { formatWords } from '../wire/address.ts';
import type { ResourceItem } from './protocol.ts';
import { API_VERSION } from './schema/envelope.ts';
import type { Resource, ServiceSpec } from './types.ts';

/**
 * The document as given, with its name first and its namespace written out; no defaults. Kubernetes' status is part of
 * what was given: a load balancer's addresses are there.
 */
export function render(resource: Resource): ResourceItem {
  const { apiVersion, kind, metadata, status, ...rest } = resource.document as ResourceItem;
  const { name: _name, namespace: _namespace, ...others } = metadata;
  const namespace = resource.namespace === '' ? {} : { namespace: resource.namespace };
  const given = apiVersion === API_VERSION || status === undefined ? {} : { status };
  return { apiVersion, kind, metadata: { name: resource.name, ...namespace, ...others }, ...rest, ...given };
}

/** The spec of a Service's document with what it was given (S38), as an API server would have filled it in. */
export function withGiven(written: unknown, filled: ServiceSpec): unknown {
  const spec = written as { readonly ports?: readonly object[] | null };
  const clusterIPs = filled.addresses.flatMap(({ kind, words }) =>
    kind === 'clusterIP' ? formatWords(words) : [],
  );
  const ports = (spec.ports ?? []).map((port, i) => {
    const { nodePort } = filled.ports[i]!;
    return nodePort === 0 ? port : { ...port, nodePort };
  });
  return {
    ...spec,
    ...(clusterIPs.length > 0 && { clusterIP: clusterIPs[0], clusterIPs }),
    ...(ports.length > 0 && { ports }),
    ...(filled.healthCheckNodePort !== 0 && { healthCheckNodePort: filled.healthCheckNodePort }),
  };
}
