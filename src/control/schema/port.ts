/** kind Port: one interface in one namespace. */
import { z } from 'zod';
import type { InterfaceAddress } from '../../card/native.ts';
import { parseAddress, parseInterface, unusualKind } from '../../wire/address.ts';
import { hostInterface, portMac } from '../identity.ts';
import { show } from '../problem.ts';
import type { PortSpec } from '../types.ts';
import { ownKind } from './envelope.ts';
import {
  boolean,
  choice,
  compact,
  type Field,
  field,
  integer,
  Refusal,
  resourceName,
  unicastMac,
} from './fields.ts';

const NAMESPACES = '/run/netns/';

export const portSchema = ownKind(
  z.strictObject({
    network: resourceName(),
    netns: netnsPath().optional(),
    interface: interfaceName().optional(),
    mac: unicastMac().optional(),
    addresses: z.array(portAddress()).default([]),
    defaultRoute: boolean().default(true),
    mtu: integer(68, 9216).optional(),
    antiSpoof: choice('strict', 'mac', 'off').optional(),
  }),
);

/** A port without `netns` is the host's own: it speaks for whatever the host routes, and takes no default route. */
export function portSpec(parsed: z.infer<typeof portSchema>): PortSpec {
  const { spec, metadata } = parsed;
  const isHost = spec.netns === undefined;
  return compact<PortSpec>({
    ...spec,
    netns: spec.netns ?? null,
    interface: spec.interface ?? (isHost ? hostInterface(spec.network) : 'eth0'),
    mac: spec.mac ?? portMac(spec.network, metadata.name, spec.addresses[0]?.address ?? ''),
    antiSpoof: spec.antiSpoof ?? (isHost || spec.addresses.length === 0 ? 'mac' : 'strict'),
  });
}

/** The kernel's rule, and CNI's (C2). */
export function interfaceName(): Field<string> {
  const expected = 'an interface name of 1 to 15 bytes without "/", ":" and blanks, such as eth0';
  return field(expected, (value) => {
    if (typeof value !== 'string' || value === '.' || value === '..') return undefined;
    const size = Buffer.byteLength(value);
    if (value.includes('%')) {
      throw new Refusal(
        `${show(value)} contains "%", which makes a name a pattern; write it out, such as eth0`,
      );
    }
    if (size > 15) throw new Refusal(`${show(value)} has ${size} bytes; an interface name has at most 15`);
    return size > 0 && !/[/:\s\0]/.test(value) ? value : undefined;
  });
}

/** A name below /run/netns or an absolute path → absolute path. */
function netnsPath(): Field<string> {
  return field('the name of a namespace under /run/netns, or an absolute path', (value) => {
    if (typeof value !== 'string' || value === '' || value.includes('\0')) return undefined;
    if (value.startsWith('/')) return value.replace(/^\/var\/run\//, '/run/');
    if (value.includes('/') || value === '.' || value === '..') {
      throw new Refusal(`${show(value)} is neither a name nor an absolute path; start it with /`);
    }
    return NAMESPACES + value;
  });
}

/** "10.77.0.11" (prefix 0: the subnet's) or "10.77.0.11/24". */
function portAddress(): Field<InterfaceAddress> {
  return field('an address such as 10.77.0.11', (value) => {
    if (typeof value !== 'string') return undefined;
    const slash = value.includes('/');
    const { words, text, prefix } = slash ? parseInterface(value) : { ...parseAddress(value), prefix: 0 };
    const kind = unusualKind(words);
    if (kind !== null)
      throw new Refusal(`${show(value)} is not a unicast address (${kind}); use one such as 10.77.0.11`);
    if (slash && prefix === 0)
      throw new Refusal(`${show(value)} has prefix length 0; use the subnet's, or none`);
    return { address: text, prefix };
  });
}
