/** Resources → the documents `get -o yaml` and `-o json` print. */
import type { ResourceItem } from './protocol.ts';
import type { Resource } from './types.ts';

/** The document as given, with its name first and its namespace written out; no defaults, no status. */
export function render(resource: Resource): ResourceItem {
  const { apiVersion, kind, metadata, status: _status, ...rest } = resource.document as ResourceItem;
  const { name: _name, namespace: _namespace, ...others } = metadata;
  const namespace = resource.namespace === '' ? {} : { namespace: resource.namespace };
  return { apiVersion, kind, metadata: { name: resource.name, ...namespace, ...others }, ...rest };
}
