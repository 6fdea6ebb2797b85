/**
 * The fields of the Kubernetes objects that are read here, so that a mistyped one does not go unnoticed (M1): those of the
 * API of Kubernetes 1.35 (`api/core/v1/types.go`, `api/discovery/v1`, `api/networking/v1`, `meta/v1`), newer than 1.28 with
 * their version. Beside what is used here stands what is not.
 */
import { formatPath, isRecord, type Path, type RawDocument } from '../document.ts';
import { nearest, show } from '../problem.ts';
import type { Problem } from '../types.ts';

/** Fields by name; a list has those of its items. `true`: what is inside is not looked at. */
interface Fields {
  readonly [name: string]: Fields | true;
}

const plain = (names: string): Fields => Object.fromEntries(names.split(/\s+/).map((name) => [name, true]));

const OBJECT: Fields = {
  ...plain('apiVersion kind'),
  metadata:
    plain(`name namespace labels annotations uid resourceVersion generation creationTimestamp managedFields
    ownerReferences generateName finalizers selfLink deletionTimestamp deletionGracePeriodSeconds`),
};
const SLICE_PORT = plain('name protocol port appProtocol');
const ENDPOINTS_ADDRESS = plain('ip hostname nodeName targetRef');

const KINDS: Readonly<Record<string, Fields>> = {
  'v1 Service': {
    ...OBJECT,
    spec: {
      ...plain(`type clusterIP clusterIPs externalIPs loadBalancerSourceRanges internalTrafficPolicy
        externalTrafficPolicy healthCheckNodePort sessionAffinity ipFamilies ipFamilyPolicy
        allocateLoadBalancerNodePorts selector publishNotReadyAddresses loadBalancerClass loadBalancerIP
        externalName`),
      trafficDistribution: true, // 1.30
      ports: plain('name protocol port nodePort targetPort appProtocol'),
      sessionAffinityConfig: { clientIP: plain('timeoutSeconds') },
    },
    status: {
      conditions: true,
      loadBalancer: { ingress: { ...plain('ip hostname ipMode'), ports: plain('port protocol error') } }, // ipMode: 1.29
    },
  },
  'discovery.k8s.io/v1 EndpointSlice': {
    ...OBJECT,
    addressType: true,
    ports: SLICE_PORT,
    endpoints: {
      ...plain('addresses nodeName zone hostname targetRef deprecatedTopology'),
      conditions: plain('ready serving terminating'),
      hints: { forZones: plain('name'), forNodes: plain('name') }, // forNodes: 1.33
    },
  },
  'v1 Endpoints': {
    ...OBJECT,
    subsets: { addresses: ENDPOINTS_ADDRESS, notReadyAddresses: ENDPOINTS_ADDRESS, ports: SLICE_PORT },
  },
  'v1 Node': {
    ...OBJECT,
    spec: {
      ...plain('podCIDR podCIDRs providerID unschedulable configSource externalID'),
      taints: plain('key value effect timeAdded'),
    },
    status: {
      ...plain(`capacity allocatable phase conditions daemonEndpoints nodeInfo images volumesInUse volumesAttached
        config`),
      ...plain('runtimeHandlers features declaredFeatures'), // 1.30, 1.31, 1.35
      addresses: plain('type address'),
    },
  },
  'networking.k8s.io/v1 ServiceCIDR': { ...OBJECT, spec: plain('cidrs'), status: plain('conditions') },
};

/** Of one object; more are counted. */
const MOST_TOLD = 3;

/** A warning for what a Kubernetes object says that the API has no field for. */
export function unknownFields(document: RawDocument): Problem[] {
  const kind = `${String(document.value.apiVersion)} ${String(document.value.kind)}`;
  if (!Object.hasOwn(KINDS, kind)) return [];
  const warnings: Problem[] = [];
  const more: Path[] = [];
  const visit = (value: unknown, fields: Fields, path: Path): void => {
    if (Array.isArray(value)) {
      for (const [i, item] of value.entries()) visit(item, fields, [...path, i]);
      return;
    }
    if (!isRecord(value)) return;
    for (const [key, inner] of Object.entries(value)) {
      const known = Object.hasOwn(fields, key) ? fields[key] : undefined;
      const at = [...path, key];
      if (known !== undefined) {
        if (known !== true) visit(inner, known, at);
      } else if (warnings.length === MOST_TOLD) more.push(at);
      else {
        const near = nearest(key, Object.keys(fields));
        const hint = near === undefined ? '' : `; did you mean ${near}?`;
        const message = `${show(key)} is no field of a ${kind}: ignored${hint}`;
        warnings.push({ ...document.locateKey(at), path: formatPath(at), message });
      }
    }
  };
  visit(document.value, KINDS[kind]!, []);
  if (more.length > 0) {
    const message = `${more.length} more unknown ${more.length === 1 ? 'field is' : 'fields are'} ignored`;
    warnings.push({ ...document.locateKey(more[0]!), path: '', message });
  }
  return warnings;
}
