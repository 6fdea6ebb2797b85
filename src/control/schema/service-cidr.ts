/** networking.k8s.io/v1 ServiceCIDR, verbatim: where ClusterIPs come from. */
import { z } from 'zod';
import type { ServiceCIDRSpec } from '../types.ts';
import { kubernetesMetadata } from './envelope.ts';
import { cidr } from './fields.ts';

export const serviceCIDRSchema = z.looseObject({
  metadata: kubernetesMetadata(),
  spec: z.looseObject({ cidrs: z.array(cidr()) }),
});

export const serviceCIDRSpec = ({ spec }: z.infer<typeof serviceCIDRSchema>): ServiceCIDRSpec => ({
  cidrs: spec.cidrs,
});
