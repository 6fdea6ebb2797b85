/** kind Host: who this daemon is, and how it treats services and flows. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { ALGORITHMS, ON_ENDPOINT_REMOVED } from '../../service/record.ts';
import { parseAddress, parseCidr, unusualKind } from '../../wire/address.ts';
import { show } from '../problem.ts';
import type { Endpoint, HostSpec } from '../types.ts';
import { ownKind } from './envelope.ts';
import {
  boolean,
  choice,
  cidr,
  compact,
  duration,
  field,
  integer,
  Refusal,
  size,
  text,
  underlayAddress,
} from './fields.ts';
import { portRange } from './network.ts';

/** Flows this host tracks at most unless told otherwise (N22). */
const DEFAULT_FLOWS = Math.max(131_072, 32_768 * availableParallelism());
const MOST_FLOWS = 16_777_216;
/** Beyond any use; below what 32 bits of milliseconds hold. */
const LONGEST_TIMEOUT = 1_000_000;

const idleTime = () => duration(1, LONGEST_TIMEOUT, false);
const timeout = (seconds: number) => idleTime().default(seconds);

/** N20: seconds. */
const timeouts = z.strictObject({
  tcpSynSent: timeout(120),
  tcpSynRecv: timeout(60),
  tcpEstablished: timeout(86_400),
  tcpFinWait: timeout(120),
  tcpCloseWait: timeout(3600),
  tcpLastAck: timeout(30),
  tcpTimeWait: timeout(120),
  tcpClose: timeout(10),
  tcpUnacknowledged: timeout(300),
  udpUnreplied: timeout(30),
  udpReplied: timeout(120),
  sctpClosed: timeout(10),
  sctpCookieWait: timeout(3),
  sctpCookieEchoed: timeout(3),
  sctpEstablished: timeout(210),
  sctpShutdown: timeout(3),
  icmp: idleTime().optional(),
  other: idleTime().optional(),
});

const proxy = z.strictObject({
  algorithm: choice(...ALGORITHMS).default('roundRobin'),
  unallocatedVIP: choice('drop', 'pass').optional(),
  onEndpointRemoved: choice(...ON_ENDPOINT_REMOVED).default('keep'),
  drain: duration(1, 86_400, false).default(30),
});

export const hostSchema = ownKind(
  z.strictObject({
    underlay: z.strictObject({
      address: underlayAddress('192.0.2.1'),
      address6: field('an IPv6 address such as 2001:db8::1', (value) => {
        const address = underlayAddress('2001:db8::1').safeParse(value);
        if (!address.success) throw new Refusal(address.error.issues[0]!.message);
        if (!address.data.includes(':'))
          throw new Refusal(`"${address.data}" is not an IPv6 address; give it as address`);
        return address.data;
      }).optional(),
    }),
    nodeName: text('the name of this Node in Kubernetes').optional(),
    zone: text('the zone of this Node').optional(),
    nodePortAddresses: nodePortAddresses().default('primary'),
    clusterCIDRs: z.array(cidr()).default([]),
    serviceCIDRs: z.array(cidr()).default([]),
    localDetect: choice('ports', 'clusterCIDR').default('ports'),
    masqueradeAll: boolean().default(false),
    proxy: proxy.prefault({}),
    conntrack: z
      .strictObject({
        max: integer(16, MOST_FLOWS).default(DEFAULT_FLOWS),
        timeouts: timeouts.prefault({}),
        tcpLiberal: boolean().default(false),
        tcpLoose: boolean().optional(),
      })
      .prefault({}),
    nat: z
      .strictObject({ ports: portRange(1).default([61_000, 65_535]), random: boolean().default(true) })
      .prefault({}),
    fragments: z
      .strictObject({ maxBytes: size(65_536, 2 ** 30).default(4 << 20), timeout: timeout(30) })
      .prefault({}),
    health: z.strictObject({ bind: binding('0.0.0.0:10256') }).prefault({}),
    metrics: z.strictObject({ bind: binding('127.0.0.1:10249') }).prefault({}),
  }),
);

export function hostSpec({ metadata, spec }: z.infer<typeof hostSchema>): HostSpec {
  const { underlay, nodeName, zone, proxy, ...rest } = spec;
  return compact<HostSpec>({
    ...rest,
    underlay: compact<HostSpec['underlay']>(underlay),
    nodeName: nodeName ?? metadata.name,
    zone,
    proxy: compact<HostSpec['proxy']>(proxy),
  });
}

/** S19: `primary`, or the networks whose addresses of this host are meant. */
function nodePortAddresses() {
  return field('primary, or a list of networks such as [192.0.2.0/24]', (value) => {
    if (value === 'primary') return value;
    if (!Array.isArray(value) || value.length === 0) return undefined;
    return value.map((item: unknown): string => {
      if (typeof item !== 'string') throw new Refusal(`${show(item)} is not a network such as 192.0.2.0/24`);
      const network = parseCidr(item);
      if (unusualKind(network.words) !== 'loopback') return network.text;
      throw new Refusal(
        `${show(item)} is loopback, where NodePorts never answer; use the host's own network`,
      );
    });
  });
}

/** Where to listen: "127.0.0.1:10249", "[::1]:10249", or null for none. */
function binding(usual: string) {
  return field(`an address and port such as ${usual}, or none`, (value): Endpoint | null | undefined => {
    if (value === 'none') return null;
    const [, v6, v4, digits] =
      /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(typeof value === 'string' ? value : '') ?? [];
    const port = Number(digits);
    if (!(port >= 1 && port <= 65_535)) return undefined;
    return { address: parseAddress(v6 ?? v4!).text, port };
  }).prefault(usual);
}
