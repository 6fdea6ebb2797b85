/**
 * The same Services three times: as Kubernetes objects for Twill, as kube-proxy's shape of iptables rules, as an
 * nftables map. The last Service is the one that is measured: whoever searches in order finds it last. Its endpoint
 * is a real server; the others' lead nowhere.
 */

/** Endpoints per Service in Twill. The kernel's rule sets get one, in their favour. */
export const ENDPOINTS = 10;

/** Of every Service, and where its endpoint listens. */
export const SERVICE_PORT = 80;
export const SERVER_PORT = 8080;

/** UDP, of the measured Service alone; its endpoint is PROBES or the port after it: that is what changes. */
export const PROBE_PORT = 81;
export const PROBES = 9100;

export const vip = (i: number): string => `10.${96 + (i >>> 16)}.${(i >>> 8) & 255}.${i & 255}`;

export interface Endpoint {
  readonly address: string;
  readonly probe: number;
}

const NAMESPACE = 'bench';

/** Where the Services lead that nobody asks for. */
const elsewhere = (i: number, count: number): string[] =>
  Array.from({ length: count }, (_, k) => `10.77.0.${100 + ((i + k) % 100)}`);

function serviceOf(i: number, isMeasured: boolean): object {
  const probe = isMeasured ? [{ name: 'probe', port: PROBE_PORT, protocol: 'UDP' }] : [];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `s${i}`, namespace: NAMESPACE },
    spec: { clusterIP: vip(i), ports: [{ name: 'http', port: SERVICE_PORT, protocol: 'TCP' }, ...probe] },
  };
}

function sliceOf(i: number, addresses: readonly string[], probe?: number): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `s${i}-1`, namespace: NAMESPACE, labels: { 'kubernetes.io/service-name': `s${i}` } },
    addressType: 'IPv4',
    ports: [
      { name: 'http', port: SERVER_PORT, protocol: 'TCP' },
      ...(probe === undefined ? [] : [{ name: 'probe', port: probe, protocol: 'UDP' }]),
    ],
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  };
}

export const NO_SERVICES = '{"apiVersion":"v1","kind":"List","items":[]}';

/** @returns `size` Services as a list in JSON, the last one with the given endpoint */
export function twillServices(size: number, endpoint: Endpoint): string {
  const parts: string[] = [];
  for (let i = 0; i < size; i++) {
    const isMeasured = i === size - 1;
    parts.push(JSON.stringify(serviceOf(i, isMeasured)));
    parts.push(
      isMeasured ? twillChange(size, endpoint) : JSON.stringify(sliceOf(i, elsewhere(i, ENDPOINTS))),
    );
  }
  return `{"apiVersion":"v1","kind":"List","items":[\n${parts.join(',\n')}\n]}`;
}

export const twillChange = (size: number, { address, probe }: Endpoint): string =>
  JSON.stringify(sliceOf(size - 1, [address], probe));

/** Other endpoints of a Service that nobody asks for. */
export const twillElsewhere = (i: number, turn: number): string =>
  JSON.stringify(sliceOf(i, elsewhere(i + turn, ENDPOINTS)));

/** For `iptables-restore`: a jump per Service, a chain per Service. */
export function iptablesServices(size: number, endpoint: Endpoint): string {
  const chains: string[] = [];
  const rules: string[] = [];
  for (let i = 0; i < size; i++) {
    const address = i === size - 1 ? endpoint.address : elsewhere(i, 1)[0]!;
    chains.push(`:SVC-${i} - [0:0]`);
    rules.push(`-A SERVICES -d ${vip(i)}/32 -p tcp -m tcp --dport ${SERVICE_PORT} -j SVC-${i}`);
    rules.push(`-A SVC-${i} -p tcp -j DNAT --to-destination ${address}:${SERVER_PORT}`);
  }
  rules.push(`-A SERVICES -d ${vip(size - 1)}/32 -p udp -m udp --dport ${PROBE_PORT} -j PROBE`);
  const hook = '-A PREROUTING -j SERVICES';
  return [
    ...['*nat', ':SERVICES - [0:0]', ':PROBE - [0:0]', ...chains, hook, ...rules],
    ...[probeRule(endpoint), 'COMMIT', ''],
  ].join('\n');
}

const probeRule = ({ address, probe }: Endpoint): string =>
  `-A PROBE -p udp -j DNAT --to-destination ${address}:${probe}`;

/** For `iptables-restore --noflush`. */
export const iptablesChange = (endpoint: Endpoint): string =>
  ['*nat', ':PROBE - [0:0]', probeRule(endpoint), 'COMMIT', ''].join('\n');

/** For `nft -f`. */
export function nftablesServices(size: number, endpoint: Endpoint): string {
  const elements = Array.from({ length: size }, (_, i) => {
    const address = i === size - 1 ? endpoint.address : elsewhere(i, 1)[0]!;
    return `${vip(i)} . tcp . ${SERVICE_PORT} : ${address} . ${SERVER_PORT}`;
  });
  return `table ip bench
delete table ip bench
table ip bench {
  map services {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    elements = { ${[...elements, probeElement(size, endpoint)].join(',\n')} }
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    dnat ip to ip daddr . meta l4proto . th dport map @services
  }
}
`;
}

export function nftablesChange(size: number, endpoint: Endpoint): string {
  const [key] = probeElement(size, endpoint).split(' : ');
  return `delete element ip bench services { ${key} }
add element ip bench services { ${probeElement(size, endpoint)} }
`;
}

const probeElement = (size: number, { address, probe }: Endpoint): string =>
  `${vip(size - 1)} . udp . ${PROBE_PORT} : ${address} . ${probe}`;
