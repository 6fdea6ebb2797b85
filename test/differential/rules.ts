/**
 * Services as kube-proxy's nftables mode programs them (kubernetes pkg/proxy/nftables/proxier.go), with three
 * liberties: round robin where it draws random numbers, the port kept where it masquerades `fully-random`, and invalid
 * packets dropped, which only its iptables mode does (kubernetes#74839).
 */
import { type Change, endpointsOf, SERVICE_CIDR, type ServiceSpec, type Station } from './world.ts';

const TABLE = 'ip kube-proxy';
const MARK = '0x4000';

/** The table without any service. */
export const BASE = `
table ${TABLE} {
  set cluster-ips { type ipv4_addr; }
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
  chain mark-for-masquerade { meta mark set meta mark or ${MARK}; }
  chain reject-chain { reject; }
  chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
  chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain cluster-ips-check { ip daddr @cluster-ips reject; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat
    meta mark & ${MARK} == 0 return
    meta mark set meta mark xor ${MARK}
    masquerade
  }
  chain filter-forward {
    type filter hook forward priority filter
    ct state invalid drop
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
    ip daddr ${SERVICE_CIDR} drop
  }
}
`;

/** Lines that take one service from one state to the next. */
export function update({ before, after, next }: Change): string {
  const lines = before ? withdraw(before) : [];
  if (before && !(after?.affinity && before.affinity)) lines.push(...forget(before, endpointsOf(before)));
  if (before && after) {
    const gone = endpointsOf(before).filter(({ name }) => !after.endpoints.includes(name));
    lines.push(...forget(before, gone));
  }
  if (after) lines.push(...program(after, next));
  return lines.join('\n');
}

const element = (spec: ServiceSpec, i: number): string => {
  const { protocol, port } = spec.ports[i]!;
  return `${spec.clusterIP} . ${protocol.toLowerCase()} . ${port}`;
};
const chainOf = (spec: ServiceSpec, i: number): string => `service-${spec.name}-${spec.ports[i]!.name}`;
const endpointChain = (spec: ServiceSpec, i: number, { name }: Station): string =>
  `endpoint-${spec.name}-${spec.ports[i]!.name}-${name}`;
const affinitySet = (spec: ServiceSpec, i: number, { name }: Station): string =>
  `affinity-${spec.name}-${spec.ports[i]!.name}-${name}`;

function withdraw(spec: ServiceSpec): string[] {
  const map = spec.endpoints.length > 0 ? 'service-ips' : 'no-endpoint-services';
  const each = spec.ports.map((_, i) => `delete element ${TABLE} ${map} { ${element(spec, i)} }`);
  return [...each, `delete element ${TABLE} cluster-ips { ${spec.clusterIP} }`];
}

/** Affinities go with their endpoint (S27) or when switched off (S29). */
const forget = (spec: ServiceSpec, gone: readonly Station[]): string[] =>
  spec.affinity
    ? gone.flatMap((endpoint) =>
        spec.ports.map((_, i) => `flush set ${TABLE} ${affinitySet(spec, i, endpoint)}`),
      )
    : [];

function program(spec: ServiceSpec, next: readonly number[]): string[] {
  const endpoints = endpointsOf(spec);
  const lines = [`add element ${TABLE} cluster-ips { ${spec.clusterIP} }`];
  spec.ports.forEach(({ protocol, targetPort }, i) => {
    if (endpoints.length === 0) {
      lines.push(`add element ${TABLE} no-endpoint-services { ${element(spec, i)} : goto reject-chain }`);
      return;
    }
    const chain = chainOf(spec, i);
    for (const endpoint of endpoints) {
      const own = endpointChain(spec, i, endpoint);
      const set = affinitySet(spec, i, endpoint);
      if (spec.affinity)
        lines.push(`add set ${TABLE} ${set} { type ipv4_addr; flags dynamic,timeout; timeout 10800s; }`);
      lines.push(
        `add chain ${TABLE} ${own}`,
        `flush chain ${TABLE} ${own}`,
        `add rule ${TABLE} ${own} ip saddr ${endpoint.ip} jump mark-for-masquerade`,
        ...(spec.affinity ? [`add rule ${TABLE} ${own} update @${set} { ip saddr }`] : []),
        `add rule ${TABLE} ${own} meta l4proto ${protocol.toLowerCase()} dnat to ${endpoint.ip}:${targetPort}`,
      );
    }
    lines.push(`add chain ${TABLE} ${chain}`, `flush chain ${TABLE} ${chain}`);
    if (spec.affinity) {
      for (const endpoint of endpoints) {
        const set = affinitySet(spec, i, endpoint);
        lines.push(`add rule ${TABLE} ${chain} ip saddr @${set} goto ${endpointChain(spec, i, endpoint)}`);
      }
    }
    const n = endpoints.length;
    const turn = (k: number): Station => endpoints[(k + next[i]!) % n]!;
    const choices = endpoints.map((_, k) => `${k} : goto ${endpointChain(spec, i, turn(k))}`);
    lines.push(
      `add rule ${TABLE} ${chain} numgen inc mod ${n} vmap { ${choices.join(', ')} }`,
      `add element ${TABLE} service-ips { ${element(spec, i)} : goto ${chain} }`,
    );
  });
  return lines;
}
