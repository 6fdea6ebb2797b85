/** The fabric and its services as Twill's documents. */
import {
  HOST_ADDRESS,
  PEERS,
  PODS,
  SERVICE_CIDR,
  type ServiceSpec,
  STATIONS,
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
export function fabric(netns: (pod: string) => string = (pod) => pod): object[] {
  const subnets = [77, 78].map((n) => ({ cidr: `10.${n}.0.0/24`, gateway: `10.${n}.0.1` }));
  return [
    own('Host', 'here', { underlay: { address: HOST_ADDRESS }, serviceCIDRs: [SERVICE_CIDR] }),
    own('Network', 'blue', {
      subnets,
      vxlan: { vni: VNI, innerVlan: 'pass' },
      bridge: { arpSuppression: false, ageing: 'never' },
    }),
    ...PODS.map((name) => {
      const { ip, mac } = station(name);
      const spec = { network: 'blue', netns: netns(name), addresses: [ip], mac, antiSpoof: 'off' };
      return own('Port', name, spec);
    }),
    ...Object.entries(PEERS).map(([name, address]) => {
      const behind = STATIONS.filter(({ place }) => place === name);
      return own('Peer', name, { addresses: [address], static: behind.map(({ mac, ip }) => ({ mac, ip })) });
    }),
  ];
}

/** A Service and its slice. */
export function documents({ name, clusterIP, ports, affinity, endpoints }: ServiceSpec): object[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: {
        clusterIP,
        ports: ports.map(({ name: portName, protocol, port }) => ({ name: portName, protocol, port })),
        sessionAffinity: affinity ? 'ClientIP' : 'None',
      },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${name}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: ports.map(({ name: portName, protocol, targetPort }) => ({
        name: portName,
        protocol,
        port: targetPort,
      })),
      endpoints: endpoints.map((endpoint) => ({ addresses: [station(endpoint).ip] })),
    },
  ];
}
