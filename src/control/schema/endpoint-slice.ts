/** discovery.k8s.io/v1 EndpointSlice, verbatim: the fields Twill uses, whatever else is there. */
import { z } from 'zod';
import { AddressError, parseAddress, unusualKind } from '../../wire/address.ts';
import { healthOf } from '../endpoints.ts';
import type { EndpointSliceSpec } from '../types.ts';
import { kubernetesMetadata } from './envelope.ts';
import { anyText, boolean, choice, compact, integer } from './fields.ts';

export const SERVICE_LABEL = 'kubernetes.io/service-name';
const MOST_ENDPOINTS = 1000;

export const endpointSliceSchema = z.looseObject({
  metadata: kubernetesMetadata(),
  addressType: choice('IPv4', 'IPv6', 'FQDN'),
  ports: z
    .array(
      z.looseObject({
        name: anyText().optional(),
        protocol: choice('TCP', 'UDP', 'SCTP').default('TCP'),
        port: integer(0, 65_535).optional(),
      }),
    )
    .default([]),
  endpoints: z
    .array(
      z.looseObject({
        addresses: z.array(anyText()).default([]),
        conditions: z
          .looseObject({
            ready: boolean().default(true),
            serving: boolean().default(true),
            terminating: boolean().default(false),
          })
          .prefault({}),
        nodeName: anyText().optional(),
      }),
    )
    .default([])
    .superRefine((endpoints, context) => {
      if (endpoints.length <= MOST_ENDPOINTS) return;
      const message = `${endpoints.length} endpoints; a slice holds at most ${MOST_ENDPOINTS}, use several slices`;
      context.addIssue({ code: 'custom', message });
    }),
});

/**
 * Ports without a name or number are skipped and only `addresses[0]` counts (S5). Addresses stay as written
 * when they cannot be used; `endpointRefusal` says why.
 */
export function endpointSliceSpec(parsed: z.infer<typeof endpointSliceSchema>): EndpointSliceSpec {
  const endpoints = parsed.endpoints.map(({ addresses, conditions, nodeName }) =>
    compact<EndpointSliceSpec['endpoints'][number]>({
      address: canonical(addresses[0] ?? ''),
      ready: conditions.ready,
      serving: conditions.serving,
      terminating: conditions.terminating,
      nodeName,
    }),
  );
  return {
    service: parsed.metadata.labels[SERVICE_LABEL] ?? '',
    addressType: parsed.addressType,
    ports: parsed.ports.flatMap(({ name, protocol, port }) => {
      return name === undefined || port === undefined || port === 0 ? [] : [{ name, protocol, port }];
    }),
    endpoints,
    ready: endpoints.filter(({ ready }) => ready).length,
    words: Int32Array.from(
      endpoints.flatMap(({ address, ready, serving, terminating }) =>
        endpointRefusal(address, 'IPv4') === null
          ? [parseAddress(address).words[3], healthOf(ready, serving, terminating)]
          : [],
      ),
    ),
  };
}

/** Why an endpoint of a slice is never used (S8), or null. */
export function endpointRefusal(address: string, type: 'IPv4' | 'IPv6'): string | null {
  if (address === '') return 'has no address';
  try {
    const { family, words } = parseAddress(address);
    if (`IPv${family}` !== type) return `"${address}" is not an ${type} address`;
    const kind = unusualKind(words);
    return kind === null ? null : `"${address}" is not usable as an endpoint (${kind} address)`;
  } catch (error) {
    if (error instanceof AddressError) return error.message;
    throw error;
  }
}

function canonical(address: string): string {
  try {
    return parseAddress(address).text;
  } catch {
    return address;
  }
}
