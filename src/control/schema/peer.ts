/** kind Peer: another host. */
import { z } from 'zod';
import type { PeerSpec } from '../types.ts';
import { ownKind } from './envelope.ts';
import {
  boolean,
  compact,
  field,
  integer,
  resourceName,
  underlayAddress,
  unicastAddress,
  unicastMac,
} from './fields.ts';

export const peerSchema = ownKind(
  z.strictObject({
    addresses: z.array(underlayAddress('192.0.2.2')),
    port: integer(1, 65_535).optional(),
    networks: field('a list of network names, or "*" for every network', (value) => {
      if (value === '*') return '*' as const;
      if (!Array.isArray(value) || !value.every((name) => typeof name === 'string')) return undefined;
      return value.length === 1 && value[0] === '*' ? '*' : (value as readonly string[]);
    }).default('*'),
    flood: boolean().default(true),
    static: z
      .array(
        z.strictObject({
          network: resourceName().optional(),
          mac: unicastMac(),
          ip: unicastAddress('10.77.0.20').optional(),
        }),
      )
      .default([]),
  }),
);

export function peerSpec(parsed: z.infer<typeof peerSchema>): PeerSpec {
  const { networks, static: entries, ...rest } = parsed.spec;
  return compact<PeerSpec>({
    ...rest,
    networks: networks === '*' ? undefined : networks,
    static: entries.map((entry) => compact<PeerSpec['static'][number]>(entry)),
  });
}
