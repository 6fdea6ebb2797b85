/** discovery.k8s.io/v1 EndpointSlice, verbatim: the fields Twill uses, whatever else is there. */
import { z } from 'zod';
import { DEFAULT_WEIGHT } from '../../service/record.ts';
import { AddressError, parseAddress, unusualKind } from '../../wire/address.ts';
import { healthOf, stateOf } from '../endpoints.ts';
import type { EndpointSliceSpec, Hints } from '../types.ts';
import { kubernetesMetadata } from './envelope.ts';
import { anyText, boolean, choice, compact, integer } from './fields.ts';

export const SERVICE_LABEL = 'kubernetes.io/service-name';
export const WEIGHT_ANNOTATION = 'service.cilium.io/weight';
const MOST_ENDPOINTS = 1000;

const names = () => z.array(z.looseObject({ name: anyText() })).default([]);

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
        hints: z.looseObject({ forZones: names(), forNodes: names() }).optional(),
      }),
    )
    .default([])
    .superRefine((endpoints, context) => {
      if (endpoints.length <= MOST_ENDPOINTS) return;
      const message = `${endpoints.length} endpoints; a slice holds at most ${MOST_ENDPOINTS}, use several slices`;
      context.addIssue({ code: 'custom', message });
    }),
});

type Endpoint = EndpointSliceSpec['endpoints'][number];

/**
 * Ports without a name or number are skipped and only `addresses[0]` counts (S5). Addresses stay as written
 * when they cannot be used; `endpointRefusal` says why.
 */
export function endpointSliceSpec(parsed: z.infer<typeof endpointSliceSchema>): EndpointSliceSpec {
  const { addressType, metadata } = parsed;
  const endpoints = parsed.endpoints.map(({ addresses, conditions, nodeName, hints }) =>
    compact<Endpoint>({
      address: canonical(addresses[0] ?? ''),
      ready: conditions.ready,
      serving: conditions.serving,
      terminating: conditions.terminating,
      nodeName,
      hints: hints && hintsOf(hints),
    }),
  );
  const usable =
    addressType === 'FQDN' ? [] : endpoints.filter((e) => endpointRefusal(e.address, addressType) === null);
  const nodes = [...new Set(usable.flatMap(({ nodeName }) => nodeName ?? []))];
  const words = usable.flatMap(({ address, ready, serving, terminating, nodeName }) => {
    const node = nodeName === undefined ? -1 : nodes.indexOf(nodeName);
    return [...parseAddress(address).words, stateOf(healthOf(ready, serving, terminating), node)];
  });
  return compact<EndpointSliceSpec>({
    service: metadata.labels[SERVICE_LABEL] ?? '',
    addressType,
    ports: parsed.ports.flatMap(({ name, protocol, port }) => {
      return name === undefined || port === undefined || port === 0 ? [] : [{ name, protocol, port }];
    }),
    endpoints,
    ready: endpoints.filter(({ ready }) => ready).length,
    words: Int32Array.from(words),
    nodes,
    hints: usable.some(({ hints }) => hints !== undefined) ? usable.map(({ hints }) => hints) : undefined,
    weight: weightOf(metadata.annotations) ?? DEFAULT_WEIGHT,
  });
}

/** undefined when nothing is said, or nothing that is a weight. */
export function weightOf(annotations: Readonly<Record<string, string>>): number | undefined {
  const text = annotations[WEIGHT_ANNOTATION];
  return text !== undefined && /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

function hintsOf(hints: Record<'forZones' | 'forNodes', { name: string }[]>): Hints | undefined {
  const [zones, nodes] = [hints.forZones, hints.forNodes].map((list) => list.map(({ name }) => name));
  return zones!.length + nodes!.length === 0 ? undefined : { zones: zones!, nodes: nodes! };
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
