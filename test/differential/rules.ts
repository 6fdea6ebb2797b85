/**
 * Services as kube-proxy's nftables mode programs them (kubernetes pkg/proxy/nftables/proxier.go, NodePort addresses
 * `primary`, local traffic known by the bridge), with these liberties: round robin where it draws random numbers, the
 * port kept where it masquerades `fully-random`, as whom a client is masked (`MASKED`), and invalid packets dropped,
 * which only its iptables mode does (kubernetes#74839).
 */
import { type Change, endpointsOf, type Kind, POLICIES, type Policy, type ServiceSpec } from './spec.ts';
import {
  addressOf,
  FAMILIES,
  type Family,
  familyOf,
  HOST_PORT,
  hasHost,
  type Mode,
  NODE,
  of,
  SERVICE_CIDRS,
  STATIONS,
  type Station,
} from './world.ts';

const MARK = '0x4000';
const KEY = { 4: 'ipv4_addr . inet_proto . inet_service', 6: 'ipv6_addr . inet_proto . inet_service' };
const ip = (family: Family): string => (family === 4 ? 'ip' : 'ip6');
const tableOf = (family: Family): string => `${ip(family)} kube-proxy`;

/** The tables without any service. */
export const base = (mode: Mode): string =>
  FAMILIES.map((family) => tableWith(family, hasHost(mode))).join('');

function tableWith(family: Family, withHost: boolean): string {
  const i = ip(family);
  const whole = `${i} daddr . meta l4proto . th dport`;
  const node = `${i} daddr @nodeport-ips meta l4proto . th dport`;
  const own = STATIONS.map((s) => addressOf(s, family)).map((address) => `${address} . ${address}`);
  // An endpoint sees the address of the interface that leads to it: here the gateway's, which every host has. Where
  // Twill shows the host port's, so does the kernel; where an endpoint asks itself, both show the gateway's.
  const MASKED = withHost
    ? `${i} saddr . ${i} daddr { ${own.join(', ')} } masquerade
    snat to ${of(HOST_PORT.masked, family)}`
    : 'masquerade';
  return `
table ${tableOf(family)} {
  set cluster-ips { type ipv${family}_addr; }
  set nodeport-ips { type ipv${family}_addr; elements = { ${of(NODE, family)} }; }
  map firewall-ips { type ${KEY[family]} : verdict; }
  map service-ips { type ${KEY[family]} : verdict; }
  map no-endpoint-services { type ${KEY[family]} : verdict; }
  map service-nodeports { type inet_proto . inet_service : verdict; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
  chain mark-for-masquerade { meta mark set meta mark or ${MARK}; }
  chain reject-chain { reject; }
  chain firewall-check { ${whole} vmap @firewall-ips; }
  chain services {
    ${whole} vmap @service-ips
    ${node} vmap @service-nodeports
  }
  chain service-endpoints-check { ${whole} vmap @no-endpoint-services; }
  chain nodeport-endpoints-check { ${node} vmap @no-endpoint-nodeports; }
  chain cluster-ips-check { ${i} daddr @cluster-ips reject; }
  chain filter-prerouting-pre-dnat {
    type filter hook prerouting priority dstnat - 10
    ct state new jump firewall-check
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat
    meta mark & ${MARK} == 0 return
    meta mark set meta mark xor ${MARK}
    ${MASKED}
  }
  chain filter-input {
    type filter hook input priority filter
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-forward {
    type filter hook forward priority filter
    ct state invalid drop
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
    ${i} daddr ${of(SERVICE_CIDRS, family)} drop
  }
}
`;
}

/** Lines that take one service from one state to the next. */
export function update(change: Change): string {
  return FAMILIES.flatMap((family) => new Programmer(family, change).lines()).join('\n');
}

/** Kinds of frontends that a Service has beside its ClusterIP. */
const OUTER: readonly Kind[] = ['externalIP', 'loadBalancer', 'nodePort'];

class Programmer {
  readonly #family: Family;
  readonly #change: Change;
  readonly #table: string;
  readonly #saddr: string;

  constructor(family: Family, change: Change) {
    this.#family = family;
    this.#change = change;
    this.#table = tableOf(family);
    this.#saddr = `${ip(family)} saddr`;
  }

  lines(): string[] {
    const { before, after } = this.#change;
    return [
      ...(before ? this.#each(before, 'delete') : []),
      ...this.#forget(),
      ...(after ? this.#chains(after) : []),
      ...(after ? this.#each(after, 'add') : []),
    ];
  }

  /** Affinities go with their endpoint (S27) or when switched off (S29). */
  #forget(): string[] {
    const { before, after } = this.#change;
    if (!before?.affinity) return [];
    const isKept = (name: string): boolean => after?.affinity === true && after.endpoints.includes(name);
    return before.endpoints
      .filter((name) => !isKept(name))
      .flatMap((name) =>
        before.ports.map((_, i) => `flush set ${this.#table} ${nameIn(before, i, `affinity-${name}`)}`),
      );
  }

  /** Elements of the dispatching maps. */
  #each(spec: ServiceSpec, verb: 'add' | 'delete'): string[] {
    const lines: string[] = [];
    const put = (map: string, key: string, verdict: string): void => {
      lines.push(`${verb} element ${this.#table} ${map} { ${key}${verb === 'add' ? ` : ${verdict}` : ''} }`);
    };
    lines.push(`${verb} element ${this.#table} cluster-ips { ${of(spec.clusterIPs, this.#family)} }`);
    const hasAny = spec.endpoints.length > 0;
    spec.ports.forEach(({ protocol, port, nodePort }, i) => {
      const l4 = `${protocol.toLowerCase()} . `;
      const at = (address: string): string => `${address} . ${l4}${port}`;
      const verdict = hasAny ? 'drop' : 'goto reject-chain';
      const set = spec.internalLocal ? 'local' : 'cluster';
      const clusterIP = at(of(spec.clusterIPs, this.#family));
      if (endpointsOf(spec, set).length > 0) put('service-ips', clusterIP, `goto ${nameIn(spec, i, set)}`);
      else put('no-endpoint-services', clusterIP, verdict);
      const { external } = spec;
      if (!external) return;
      const isServed = endpointsOf(spec, external.isLocal ? 'local' : 'cluster').length > 0;
      for (const kind of OUTER) {
        const isNode = kind === 'nodePort';
        const addresses = kind === 'externalIP' ? external.externalIPs : external.balancers;
        const key = isNode ? l4 + nodePort : at(of(addresses, this.#family));
        if (hasAny)
          put(isNode ? 'service-nodeports' : 'service-ips', key, `goto ${nameIn(spec, i, 'external')}`);
        if (!isServed) put(isNode ? 'no-endpoint-nodeports' : 'no-endpoint-services', key, verdict);
        if (kind === 'loadBalancer' && external.ranges.length > 0)
          put('firewall-ips', key, `goto ${nameIn(spec, i, 'firewall')}`);
      }
    });
    return lines;
  }

  #chains(spec: ServiceSpec): string[] {
    return spec.ports.flatMap((_, i) => [
      ...endpointsOf({ ...spec, internalLocal: false }, 'cluster').flatMap((each) =>
        this.#endpoint(spec, i, each),
      ),
      ...POLICIES.flatMap((set) => this.#policy(spec, i, set)),
      ...(spec.external ? this.#external(spec, i) : []),
    ]);
  }

  #chain(name: string, rules: readonly string[]): string[] {
    const head = [`add chain ${this.#table} ${name}`, `flush chain ${this.#table} ${name}`];
    return [...head, ...rules.map((rule) => `add rule ${this.#table} ${name} ${rule}`)];
  }

  #endpoint(spec: ServiceSpec, i: number, endpoint: Station): string[] {
    const affinity = nameIn(spec, i, `affinity-${endpoint.name}`);
    const address = addressOf(endpoint, this.#family);
    const { protocol, targetPort } = spec.ports[i]!;
    const to = this.#family === 4 ? `${address}:${targetPort}` : `[${address}]:${targetPort}`;
    const type = `type ipv${this.#family}_addr; flags dynamic,timeout; timeout 10800s;`;
    return [
      ...(spec.affinity ? [`add set ${this.#table} ${affinity} { ${type} }`] : []),
      ...this.#chain(nameIn(spec, i, endpoint.name), [
        `${this.#saddr} ${address} jump mark-for-masquerade`,
        ...(spec.affinity ? [`update @${affinity} { ${this.#saddr} }`] : []),
        `meta l4proto ${protocol.toLowerCase()} dnat to ${to}`,
      ]),
    ];
  }

  #policy(spec: ServiceSpec, i: number, set: Policy): string[] {
    const endpoints = endpointsOf(spec, set);
    if (endpoints.length === 0) return [];
    const next = this.#change.turns[this.#family][i]![set];
    const turn = (k: number): string => endpoints[(k + next) % endpoints.length]!.name;
    const choices = endpoints.map((_, k) => `${k} : goto ${nameIn(spec, i, turn(k))}`);
    const isInternal = spec.internalLocal === (set === 'local');
    const { protocol, port } = spec.ports[i]!;
    const clusterIP = `${ip(this.#family)} daddr ${of(spec.clusterIPs, this.#family)}`;
    return this.#chain(nameIn(spec, i, set), [
      ...(isInternal
        ? [`${clusterIP} ${protocol.toLowerCase()} dport ${port} iifname != "br0" jump mark-for-masquerade`]
        : []),
      ...(spec.affinity
        ? endpoints.map(
            ({ name }) =>
              `${this.#saddr} @${nameIn(spec, i, `affinity-${name}`)} goto ${nameIn(spec, i, name)}`,
          )
        : []),
      `numgen inc mod ${endpoints.length} vmap { ${choices.join(', ')} }`,
    ]);
  }

  #external(spec: ServiceSpec, i: number): string[] {
    const { isLocal, ranges } = spec.external!;
    const isOwn = ranges.filter((range) => familyOf(range) === this.#family);
    const to = (set: Policy): string[] =>
      endpointsOf(spec, set).length > 0 ? [`goto ${nameIn(spec, i, set)}`] : [];
    const cluster = to('cluster');
    const rules = isLocal
      ? [
          ...cluster.map((goto) => `iifname "br0" ${goto}`),
          'fib saddr type local jump mark-for-masquerade',
          ...cluster.map((goto) => `fib saddr type local ${goto}`),
          ...to('local'),
        ]
      : ['jump mark-for-masquerade', ...cluster];
    return [
      ...this.#chain(nameIn(spec, i, 'external'), rules),
      ...this.#chain(
        nameIn(spec, i, 'firewall'),
        ranges.length > 0 ? [`${this.#saddr} != { ${isOwn.join(', ')} } drop`] : [],
      ),
    ];
  }
}

const nameIn = (spec: ServiceSpec, i: number, what: string): string =>
  `${spec.name}-${spec.ports[i]!.name}-${what}`;
