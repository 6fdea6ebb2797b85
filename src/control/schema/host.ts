/** kind Host: who this daemon is. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { parseAddress } from '../../wire/address.ts';
import type { Endpoint, HostSpec } from '../types.ts';
import { ownKind } from './envelope.ts';
import { compact, field, integer, Refusal, underlayAddress } from './fields.ts';
import { interfaceName } from './port.ts';

/** Flows this host tracks at most unless told otherwise (N22). */
const DEFAULT_FLOWS = Math.max(131_072, 32_768 * availableParallelism());
const MOST_FLOWS = 16_777_216;

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
      interface: interfaceName().optional(),
    }),
    conntrack: z.strictObject({ max: integer(16, MOST_FLOWS).default(DEFAULT_FLOWS) }).prefault({}),
    health: z.strictObject({ bind: binding('0.0.0.0:10256') }).prefault({}),
    metrics: z.strictObject({ bind: binding('127.0.0.1:10249') }).prefault({}),
  }),
);

export function hostSpec(parsed: z.infer<typeof hostSchema>): HostSpec {
  const { underlay, conntrack, health, metrics } = parsed.spec;
  return { underlay: compact<HostSpec['underlay']>(underlay), conntrack, health, metrics };
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
