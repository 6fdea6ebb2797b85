/** kind Network: a bridge domain, one VNI. */
import { z } from 'zod';
import { TX_SOCKETS } from '../../card/layout.ts';
import { firstAddress, formatWords, parseCidr } from '../../wire/address.ts';
import { show } from '../problem.ts';
import type { NetworkSpec } from '../types.ts';
import { ownKind } from './envelope.ts';
import {
  boolean,
  choice,
  cidr,
  duration,
  field,
  integer,
  integerOr,
  Refusal,
  unicastAddress,
} from './fields.ts';

const MOST_VNI = 0xff_ffff;
const MOST_MTU = 9216;
const LEAST_MTU = 68;

const vxlan = z.strictObject({
  vni: integer(1, MOST_VNI),
  port: integer(1, 65_535).default(4789),
  sourcePorts: portRange().default([49_152, 65_535]),
  checksum: choice('auto', 'on', 'off').default('auto'),
  df: choice('set', 'unset').default('set'),
  ttl: integer(1, 255).default(64),
  tos: integerOr(0, 63, 'inherit').default(0),
  innerVlan: choice('drop', 'pass').default('drop'),
  reservedBits: choice('ignore', 'strict').default('ignore'),
  zeroChecksum6: boolean().default(false),
});

const bridge = z.strictObject({
  ageing: duration(1, 1_000_000, true).default(300),
  maxEntries: integer(10, 1_000_000).default(8192),
  unknownUnicast: choice('flood', 'drop').default('flood'),
  broadcast: choice('flood', 'arp-only', 'drop').default('flood'),
  multicast: choice('flood', 'drop').default('flood'),
  arpSuppression: boolean().default(true),
  reserved: choice('drop', 'forward').default('drop'),
});

const nat = z.strictObject({
  masquerade: boolean().default(false),
  except: z.array(cidr()).default([]),
});

export const networkSchema = ownKind(
  z.strictObject({
    subnets: z
      .array(z.strictObject({ cidr: cidr(), gateway: unicastAddress('10.77.0.1').optional() }))
      .default([]),
    mtu: integerOr(LEAST_MTU, MOST_MTU, 'auto').default('auto'),
    vxlan,
    bridge: bridge.prefault({}),
    nat: nat.prefault({}),
    internal: boolean().default(false),
  }),
);

/** The gateway is the subnet's first address unless given. */
export function networkSpec(parsed: z.infer<typeof networkSchema>): NetworkSpec {
  const { subnets, ...rest } = parsed.spec;
  return {
    ...rest,
    subnets: subnets.map(({ cidr, gateway }) => ({
      cidr,
      gateway: gateway ?? formatWords(firstAddress(parseCidr(cidr))),
    })),
  };
}

/** [first, last]; wide enough for one port per transmit socket. */
/** @param least ports it must hold */
export function portRange(least = TX_SOCKETS) {
  const expected = 'two port numbers, first and last, such as [49152, 65535]';
  return field(expected, (value): readonly [number, number] | undefined => {
    if (!Array.isArray(value) || value.length !== 2) return undefined;
    const [first, last] = value as unknown[];
    const written = `[${show(first)}, ${show(last)}]`;
    const isPort = (port: unknown): port is number =>
      Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65_535;
    if (!isPort(first) || !isPort(last))
      throw new Refusal(`${written} is not a port range; use ${expected}, each from 1 to 65535`);
    if (first > last) throw new Refusal(`${written} is reversed; write [${last}, ${first}]`);
    if (last - first + 1 < least) {
      throw new Refusal(`${written} holds ${last - first + 1} ports; give at least ${least}`);
    }
    return [first, last];
  });
}
