/** What every resource has around its spec. */
import { z } from 'zod';
import type { Field } from './fields.ts';
import { anyText, resourceName, stringMap, text } from './fields.ts';

/** Group and version of Twill's own kinds. */
export const API_VERSION = 'twill/v1alpha1';

/** An own kind: strict at every level; `status` may be there, as in what `get` prints, and is ignored. */
export function ownKind<S extends z.ZodType>(spec: S) {
  return z.strictObject({
    apiVersion: anyText(),
    kind: anyText(),
    metadata: z.strictObject({
      name: resourceName(),
      namespace: anyText().optional(),
      labels: stringMap().default({}),
      annotations: stringMap().default({}),
    }),
    spec,
    status: z.unknown().optional(),
  });
}

/** metadata of a Kubernetes object: the fields used, whatever else is there. */
export function kubernetesMetadata() {
  return z.looseObject({
    name: text('a name') as Field<string>,
    namespace: text('a namespace').default('default'),
    labels: stringMap().default({}),
    annotations: stringMap().default({}),
  });
}
