/** The fabric and its services as Twill's documents. */

import { isElsewhere, type ServiceSpec } from './spec.ts';
import type { Family } from './world.ts';
import {
  addressOf,
  FAMILIES,
  GATEWAYS,
  HOST_ADDRESS,
  HOST_PORT,
  NODE,
  PEERS,
  PODS,
  SERVICE_CIDRS,
  STATIONS,
  SUBNETS,
  station,
  VNI,
} from './world.ts';

const own = (kind: string, name: string, spec: object): object => ({
  apiVersion: 'twill/v1alpha1',
  kind,
  metadata: { name },
  spec,
});

/** @param netns of a pod; absent: its name */
export function fabric(withHost: boolean, netns: (pod: string) => string = (pod) => pod): object[] {
  const hostPort = { network: 'blue', mac: HOST_PORT.mac, addresses: HOST_PORT.addresses, antiSpoof: 'off' };
  return [
    own('Host', 'here', {
      underlay: { address: HOST_ADDRESS, ...(withHost && { address6: NODE[1] }) },
      serviceCIDRs: SERVICE_CIDRS,
      nat: { random: false },
    }),
    own('Network', 'blue', {
      subnets: SUBNETS.map((cidr, i) => ({ cidr, gateway: GATEWAYS[i] })),
      vxlan: { vni: VNI, innerVlan: 'pass' },
      bridge: { arpSuppression: false, ageing: 'never' },
    }),
    ...(withHost ? [own('Port', HOST_PORT.name, hostPort)] : []),
    ...PODS.map((name) => {
      const { ip, ip6, mac } = station(name);
      const spec = { network: 'blue', netns: netns(name), addresses: [ip, ip6], mac, antiSpoof: 'off' };
      return own('Port', name, spec);
    }),
    ...Object.entries(PEERS).map(([name, address]) => {
      const behind = STATIONS.filter(({ place }) => place === name);
      const entries = behind.flatMap(({ mac, ip, ip6 }) => [ip, ip6].map((each) => ({ mac, ip: each })));
      return own('Peer', name, { addresses: [address], static: entries });
    }),
  ];
}

/** A Service and its slices. */
export function documents(spec: ServiceSpec): object[] {
  const { name, clusterIPs, ports, affinity, internalLocal, external } = spec;
  const exposed = external && {
    type: 'LoadBalancer',
    externalIPs: external.externalIPs,
    externalTrafficPolicy: external.isLocal ? 'Local' : 'Cluster',
    ...(external.ranges.length > 0 && { loadBalancerSourceRanges: external.ranges }),
  };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: {
      clusterIP: clusterIPs[0],
      clusterIPs,
      ipFamilies: ['IPv4', 'IPv6'],
      ports: ports.map(({ name: portName, protocol, port, nodePort }) => ({
        ...{ name: portName, protocol, port },
        ...(external && { nodePort }),
      })),
      sessionAffinity: affinity ? 'ClientIP' : 'None',
      internalTrafficPolicy: internalLocal ? 'Local' : 'Cluster',
      ...exposed,
    },
    ...(external && { status: { loadBalancer: { ingress: external.balancers.map((ip) => ({ ip })) } } }),
  };
  return [service, ...FAMILIES.map((family) => slice(spec, family))];
}

export const sliceName = (name: string, family: Family): string => `${name}-${family}`;

function slice({ name, ports, endpoints }: ServiceSpec, family: Family): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: sliceName(name, family),
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: `IPv${family}`,
    ports: ports.map(({ name: portName, protocol, targetPort }) => ({
      ...{ name: portName, protocol, port: targetPort },
    })),
    endpoints: endpoints.map((endpoint) => ({
      addresses: [addressOf(station(endpoint), family)],
      nodeName: isElsewhere(endpoint) ? 'beyond' : 'here',
    })),
  };
}
