/** kind Host: who this daemon is. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import type { HostSpec } from '../types.ts';
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
  }),
);

export function hostSpec(parsed: z.infer<typeof hostSchema>): HostSpec {
  const { underlay, conntrack } = parsed.spec;
  return { underlay: compact<HostSpec['underlay']>(underlay), conntrack };
}
