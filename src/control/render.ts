/** Resources → the documents `get -o yaml` and `-o json` print. */
import type { ResourceItem } from './protocol.ts';
import { API_VERSION } from './schema/envelope.ts';
import type { Resource } from './types.ts';

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
