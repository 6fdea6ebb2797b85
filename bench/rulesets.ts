/**
 * The same Services three times: as Kubernetes objects for Twill, as kube-proxy's shape of iptables rules, as an
 * nftables map. The last Service is the one that is measured: whoever searches in order finds it last. Its endpoint
 * is a real server; the others' lead nowhere.
 */

/** Endpoints per Service in Twill. The kernel's rule sets get one, in their favour. */
export const ENDPOINTS = 10;

export const SERVICE_PORT = 80;

export const vip = (i: number): string => `10.${96 + (i >>> 16)}.${(i >>> 8) & 255}.${i & 255}`;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

const NAMESPACE = 'bench';

/** Where the Services lead that nobody asks for. */
const elsewhere = (i: number, count: number): string[] =>
  Array.from({ length: count }, (_, k) => `10.77.0.${100 + ((i + k) % 100)}`);

function serviceOf(i: number): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `s${i}`, namespace: NAMESPACE },
    spec: { clusterIP: vip(i), ports: [{ name: 'http', port: SERVICE_PORT, protocol: 'TCP' }] },
  };
}

function sliceOf(i: number, addresses: readonly string[], port: number): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `s${i}-1`, namespace: NAMESPACE, labels: { 'kubernetes.io/service-name': `s${i}` } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  };
}

/** Services per text: a request to the daemon has room for 64 MB. */
const PER_TEXT = 40_000;

/** @returns Services `from` … `to` - 1, the last one with the given endpoint, as lists in JSON */
export function twillServices(from: number, to: number, endpoint: Endpoint): string[] {
  const texts: string[] = [];
  for (let start = from; start < to; start += PER_TEXT) {
    texts.push(twillList(start, Math.min(to, start + PER_TEXT), to - 1, endpoint));
  }
  return texts;
}

function twillList(from: number, to: number, measured: number, endpoint: Endpoint): string {
  const parts: string[] = [];
  for (let i = from; i < to; i++) {
    const slice =
      i === measured
        ? sliceOf(i, [endpoint.address], endpoint.port)
        : sliceOf(i, elsewhere(i, ENDPOINTS), 8080);
    parts.push(JSON.stringify(serviceOf(i)), JSON.stringify(slice));
  }
  return `{"apiVersion":"v1","kind":"List","items":[\n${parts.join(',\n')}\n]}`;
}

export const twillChange = (size: number, endpoint: Endpoint): string =>
  JSON.stringify(sliceOf(size - 1, [endpoint.address], endpoint.port));

/** For `iptables-restore`: a jump per Service, a chain per Service. */
export function iptablesServices(size: number, endpoint: Endpoint): string {
  const chains: string[] = [];
  const rules: string[] = [];
  for (let i = 0; i < size; i++) {
    const { address, port } = i === size - 1 ? endpoint : { address: elsewhere(i, 1)[0]!, port: 8080 };
    chains.push(`:SVC-${i} - [0:0]`);
    rules.push(`-A SERVICES -d ${vip(i)}/32 -p tcp -m tcp --dport ${SERVICE_PORT} -j SVC-${i}`);
    rules.push(`-A SVC-${i} -p tcp -j DNAT --to-destination ${address}:${port}`);
  }
  const hook = '-A PREROUTING -j SERVICES';
  return ['*nat', ':SERVICES - [0:0]', ...chains, hook, ...rules, 'COMMIT', ''].join('\n');
}

/** For `iptables-restore --noflush`. */
export function iptablesChange(size: number, { address, port }: Endpoint): string {
  const chain = `SVC-${size - 1}`;
  const rule = `-A ${chain} -p tcp -j DNAT --to-destination ${address}:${port}`;
  return ['*nat', `:${chain} - [0:0]`, rule, 'COMMIT', ''].join('\n');
}

/** For `nft -f`. */
export function nftablesServices(size: number, endpoint: Endpoint): string {
  const elements = Array.from({ length: size }, (_, i) =>
    element(i, i === size - 1 ? endpoint : { address: elsewhere(i, 1)[0]!, port: 8080 }),
  );
  return `table ip bench
delete table ip bench
table ip bench {
  map services {
    type ipv4_addr . inet_service : ipv4_addr . inet_service
    elements = { ${elements.join(',\n')} }
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto tcp dnat ip to ip daddr . tcp dport map @services
  }
}
`;
}

export function nftablesChange(size: number, endpoint: Endpoint): string {
  const key = `${vip(size - 1)} . ${SERVICE_PORT}`;
  return `delete element ip bench services { ${key} }
add element ip bench services { ${element(size - 1, endpoint)} }
`;
}

const element = (i: number, { address, port }: Endpoint): string =>
  `${vip(i)} . ${SERVICE_PORT} : ${address} . ${port}`;
