/** Services and EndpointSlices, each by itself: addresses, node ports, annotations, endpoints one by one. */
import { contains, familyOf, formatWords, parseAddress, sameWords } from '../../wire/address.ts';
import { FIRST_NODE_PORT, LAST_NODE_PORT } from '../allocation/range.ts';
import { nearest, problemIn, show } from '../problem.ts';
import { endpointRefusal, SERVICE_LABEL, WEIGHT_ANNOTATION, weightOf } from '../schema/endpoint-slice.ts';
import {
  addressesIn,
  addressPath,
  addressRefusal,
  familiesOf,
  hasTwoFirsts,
  SERVICE_ANNOTATIONS,
  type Written,
} from '../schema/service.ts';
import type { NodeFacts, Surroundings } from '../surroundings.ts';
import type { Problem, Resource, ResourceOf } from '../types.ts';

export type Report = (resource: Resource, path: string, message: string) => void;

/** M11: what the EndpointSlice controller fills a slice with at most. */
const USUAL_ENDPOINTS = 100;
const OWN_PREFIX = 'twill/';

/** ClusterIPs: outside every subnet (N6), inside the networks they come from (M9). */
export function checkVips(
  service: ResourceOf<'Service'>,
  { subnets, serviceCIDRs }: Surroundings,
  refuse: Report,
): void {
  if (subnets.length + serviceCIDRs.length === 0) return;
  for (const { kind, words } of service.spec.addresses) {
    if (kind !== 'clusterIP') continue;
    const say = (message: string) => refuse(service, addressPath(service.document, words), message);
    const inside = subnets.find(({ cidr }) => contains(cidr, words));
    if (inside) {
      const place = `subnet ${inside.cidr.text} of network ${inside.network}`;
      say(`${formatWords(words)} lies inside ${place}; use one outside every subnet`);
    }
    const known = serviceCIDRs.filter(({ family }) => family === familyOf(words));
    if (known.length === 0 || known.some((cidr) => contains(cidr, words))) continue;
    const all = known.map(({ text }) => text).join(', ');
    say(`${formatWords(words)} lies outside the service networks; use one of ${all}`);
  }
}

/** Addresses a Service has in common with this host, whose kernel keeps what comes for them. */
export function ownAddressWarnings(resources: readonly Resource[], { hostAddresses }: NodeFacts): Problem[] {
  const services = resources.filter((resource) => resource.kind === 'Service' && !resource.isPlain);
  if (services.length === 0) return [];
  const own = [...new Set(hostAddresses?.())].map((text) => parseAddress(text).words);
  return services.flatMap((service) =>
    (service as ResourceOf<'Service'>).spec.addresses.flatMap(({ words }) => {
      if (!own.some((other) => sameWords(other, words))) return [];
      const what = `${formatWords(words)} is this host’s own address, and stays the host’s: only pods find the Service there`;
      return problemIn(
        service,
        addressPath(service.document, words),
        `${what}; use a node port or another address`,
      );
    }),
  );
}

/** What a Service says that is not followed. */
export function checkService(service: ResourceOf<'Service'>, warn: Report): void {
  const { addresses, ports } = service.spec;
  const { spec } = service.document as Written;
  if (hasTwoFirsts(spec)) {
    const both = `${show(spec.clusterIP)} is not the first of clusterIPs, which is ${show(spec.clusterIPs![0])}`;
    warn(service, 'spec.clusterIP', `${both}; the Service is left out until they are the same`);
  }
  if (addresses.length > 0 || hasAbsurdClusterIP(service)) checkAddresses(service, warn);
  if (addresses.length > 0 && ports.length === 0) {
    warn(service, 'spec.ports', `missing; nobody finds a Service without ports, add those it has`);
  }
  ports.forEach(({ nodePort }, i) => {
    if (nodePort === 0 || (nodePort >= FIRST_NODE_PORT && nodePort <= LAST_NODE_PORT)) return;
    const usual = `${FIRST_NODE_PORT}–${LAST_NODE_PORT}`;
    warn(
      service,
      `spec.ports[${i}].nodePort`,
      `${nodePort} is outside ${usual}, where node ports usually are`,
    );
  });
  for (const [key, value] of Object.entries(service.annotations)) {
    if (!key.startsWith(OWN_PREFIX)) continue;
    const message = annotationFault(key, value);
    if (message !== null) warn(service, `metadata.annotations.${key}`, message);
  }
}

function annotationFault(key: string, value: string): string | null {
  const known = Object.keys(SERVICE_ANNOTATIONS);
  if (!known.includes(key)) {
    const near = nearest(key, known);
    return `is not known, and ignored; ${near ? `did you mean ${near}?` : `known are ${known.join(', ')}`}`;
  }
  const read = SERVICE_ANNOTATIONS[key as keyof typeof SERVICE_ANNOTATIONS].safeParse(value);
  return read.success ? null : `${read.error.issues[0]!.message}; until then the default is used`;
}

function hasAbsurdClusterIP({ document }: ResourceOf<'Service'>): boolean {
  return addressesIn(document).some(
    ({ kind, text }) => kind === 'clusterIP' && addressRefusal(text) !== null,
  );
}

function checkAddresses(service: ResourceOf<'Service'>, warn: Report): void {
  const families = familiesOf(service.spec.addresses);
  for (const { text, path, kind } of addressesIn(service.document)) {
    if (kind === 'clusterIP' && (text === '' || text === 'None')) continue;
    const refusal = addressRefusal(text);
    if (refusal !== null) {
      warn(service, path, `${refusal}; not programmed`);
      continue;
    }
    const family = text.includes(':') ? 6 : 4;
    if (families.includes(family)) continue;
    warn(service, path, `${show(text)} is not programmed: the Service has no IPv${family} ClusterIP`);
  }
}

export function checkSlice(slice: ResourceOf<'EndpointSlice'>, warn: Report): void {
  const { service, addressType, endpoints } = slice.spec;
  if (service === '') {
    warn(slice, 'metadata', `no label ${SERVICE_LABEL}, so no Service uses this slice; add it`);
  }
  if (WEIGHT_ANNOTATION in slice.annotations && weightOf(slice.annotations) === undefined) {
    const value = show(slice.annotations[WEIGHT_ANNOTATION]);
    const path = `metadata.annotations.${WEIGHT_ANNOTATION}`;
    warn(slice, path, `${value} is no weight, and 1 is used; write a whole number from 0 to 65535`);
  }
  if (endpoints.length > USUAL_ENDPOINTS) {
    warn(
      slice,
      'endpoints',
      `${endpoints.length} endpoints; slices of at most ${USUAL_ENDPOINTS} change faster`,
    );
  }
  const { ports } = slice.document as { ports?: readonly { name?: unknown; port?: unknown }[] | null };
  ports?.forEach((port, i) => {
    const absent = port.name === undefined || port.name === null ? 'name' : port.port ? undefined : 'port';
    if (absent === 'name')
      warn(
        slice,
        `ports[${i}]`,
        'a port without name is skipped; write name: "" for a Service port without name',
      );
    if (absent === 'port') warn(slice, `ports[${i}]`, 'a port without number is skipped; add port');
  });
  if (addressType === 'FQDN') return;
  endpoints.forEach(({ address }, i) => {
    const reason = endpointRefusal(address, addressType);
    if (reason !== null) warn(slice, `endpoints[${i}].addresses[0]`, `${reason}; this endpoint is skipped`);
  });
}
