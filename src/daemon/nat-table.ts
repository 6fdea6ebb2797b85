/**
 * The daemon's nftables table as text: masquerading (N25–N30), node ports (S19), and which networks the host must not
 * connect (N11, N33). It takes the place of its predecessor in one transaction of the kernel; connections that are
 * translated already stay as they are (N29).
 */
import type { HostPlan, HostPortPlan } from '../control/host-plan.ts';

export interface NodePortSet {
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
}

/** The two address families in nft's words. */
const FAMILIES = [
  { ip: 'ip', group: '224.0.0.0/4', isOurs: (text: string) => !text.includes(':') },
  { ip: 'ip6', group: 'ff00::/8', isOurs: (text: string) => text.includes(':') },
] as const;
type Family = (typeof FAMILIES)[number];

/** @param note kept by the kernel as the table's comment: at most 127 bytes without quotes */
export function natTable(name: string, note: string, plan: HostPlan, nodePorts: NodePortSet): string {
  const chains = [
    chain('prerouting', 'type nat hook prerouting priority dstnat', ['jump nodeports']),
    chain('output', 'type nat hook output priority -100', ['jump nodeports']),
    chain(
      'nodeports',
      '',
      FAMILIES.flatMap((family) => delivery(family, plan, nodePorts)),
    ),
    chain('postrouting', 'type nat hook postrouting priority srcnat', [
      ...plan.ports.flatMap((port) => FAMILIES.flatMap((family) => ownVoice(family, port))),
      ...(plan.ports.some(({ masquerade }) => masquerade)
        ? FAMILIES.flatMap((family) => masquerading(family, plan))
        : []),
    ]),
    chain('forward', 'type filter hook forward priority filter', separation(plan)),
  ];
  const body = [`comment "${note}"`, ...chains].join('\n').replaceAll('\n', '\n  ');
  return `add table inet ${name}\ndelete table inet ${name}\ntable inet ${name} {\n  ${body}\n}\n`;
}

/** What leaves no table behind, whether or not there is one. */
export const noTable = (name: string): string => `add table inet ${name}\ndelete table inet ${name}\n`;

/**
 * Node ports on the node's addresses go to the gateway address of the first network, which the host routes to its
 * port there. Twill takes it from there; the kernel turns the answers back.
 */
function delivery({ ip, isOurs }: Family, plan: HostPlan, { tcp, udp }: NodePortSet): string[] {
  const nodes = plan.nodeAddresses.filter(isOurs);
  const gateway = plan.ports[0]?.ways.find((way) => isOurs(way.gateway))?.gateway;
  if (nodes.length === 0 || gateway === undefined) return [];
  return Object.entries({ tcp, udp })
    .filter(([, ports]) => ports.length > 0)
    .map(
      ([protocol, ports]) =>
        `${ip} daddr ${set(nodes)} ${protocol} dport ${set(ports)} dnat ${ip} to ${gateway}`,
    );
}

/** To a network the host speaks from its address there, which no other host answers for, whatever a program bound. */
function ownVoice({ ip, isOurs }: Family, port: HostPortPlan): string[] {
  const subnets = port.subnets.filter(isOurs);
  if (subnets.length === 0 || !port.ways.some(({ address }) => isOurs(address))) return [];
  return [`oifname "${port.interface}" ${ip} saddr != ${set(subnets)} fib saddr type local masquerade`];
}

/** N30, in its order; what Twill translated itself (1) comes from the host port's address and is never new here. */
function masquerading({ ip, group, isOurs }: Family, plan: HostPlan): string[] {
  const cluster = plan.clusterCIDRs.filter(isOurs);
  const local = plan.local.filter(isOurs);
  const { ports, random } = plan.nat;
  const how = random ? ' fully-random' : '';
  const translate = (match: string): string[] => [
    `${match} meta l4proto { tcp, udp } masquerade to :${ports[0]}-${ports[1]}${how}`,
    `${match} masquerade${how}`,
  ];
  const rules: string[] = [];
  if (cluster.length > 0) rules.push(`${ip} saddr ${set(cluster)} ${ip} daddr ${set(cluster)} accept`); // 2, 3
  if (local.length > 0) rules.push(`${ip} daddr ${set(local)} accept`); // 4
  for (const port of plan.ports.filter(({ masquerade }) => masquerade)) {
    const subnets = port.subnets.filter(isOurs);
    if (subnets.length === 0) continue;
    const except = port.except.filter(isOurs);
    if (except.length > 0) rules.push(`${ip} saddr ${set(subnets)} ${ip} daddr ${set(except)} accept`);
    rules.push(...translate(`${ip} saddr ${set(subnets)} ${ip} daddr != ${group}`)); // 5
    rules.push(...translate(`oifname "${port.interface}" ${ip} daddr ${set(subnets)}`)); // 6
  }
  return rules;
}

/** The host routes, so it must be told what it is not to connect. */
function separation({ ports }: HostPlan): string[] {
  const names = (some: readonly HostPortPlan[]): string => set(some.map((port) => `"${port.interface}"`));
  const internal = ports.filter((port) => port.internal);
  const refused = 'reject with icmpx admin-prohibited';
  return [
    ...(ports.length > 0 ? [`iifname ${names(ports)} oifname ${names(ports)} ${refused}`] : []), // N11
    ...(internal.length > 0
      ? [`iifname ${names(internal)} ${refused}`, `oifname ${names(internal)} ${refused}`]
      : []),
  ];
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  const lines = [...(hook === '' ? [] : [`${hook}; policy accept;`]), ...rules];
  return `chain ${name} {\n${lines.map((line) => `  ${line}\n`).join('')}}`;
}

function set(elements: readonly (string | number)[]): string {
  return `{ ${[...new Set(elements)].join(', ')} }`;
}
