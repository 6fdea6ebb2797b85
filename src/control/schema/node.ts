/** v1 Node, verbatim: its zone, its pods' networks and its own addresses. */
import { z } from 'zod';
import type { NodeSpec } from '../types.ts';
import { kubernetesMetadata } from './envelope.ts';
import { anyText, cidr, compact, underlayAddress } from './fields.ts';

/** Set on a Node that is about to go (S35). */
const LEAVING_TAINT = 'ToBeDeletedByClusterAutoscaler';
const ZONE_LABEL = 'topology.kubernetes.io/zone';

export const nodeSchema = z.looseObject({
  metadata: kubernetesMetadata(),
  spec: z
    .looseObject({
      podCIDR: cidr().optional(),
      podCIDRs: z.array(cidr()).default([]),
      taints: z.array(z.looseObject({ key: anyText() })).default([]),
    })
    .prefault({}),
  status: z
    .looseObject({
      addresses: z.array(z.looseObject({ type: anyText(), address: anyText() })).default([]),
    })
    .prefault({}),
});

export function nodeSpec({ metadata, spec, status }: z.infer<typeof nodeSchema>): NodeSpec {
  const { podCIDR, podCIDRs, taints } = spec;
  return compact<NodeSpec>({
    zone: metadata.labels[ZONE_LABEL] || undefined,
    podCIDRs: podCIDRs.length > 0 || podCIDR === undefined ? podCIDRs : [podCIDR],
    addresses: status.addresses
      .filter(({ type }) => type === 'InternalIP')
      .flatMap(({ address }) => underlayAddress('192.0.2.1').safeParse(address).data ?? []),
    isLeaving: metadata.deletionTimestamp != null || taints.some(({ key }) => key === LEAVING_TAINT),
  });
}
