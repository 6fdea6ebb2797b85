/**
 * Scalar fields as zod schemas. Each turns a written value into its canonical form, or refuses it with a
 * message that quotes the value and says what would be right.
 */
import { z } from 'zod';
import {
  AddressError,
  formatMac,
  parseAddress,
  parseCidr,
  parseMac,
  unusualKind,
} from '../../wire/address.ts';
import { nearest, show } from '../problem.ts';

/** A schema for one scalar. */
export type Field<T> = z.ZodPipe<z.ZodUnknown, z.ZodTransform<T, unknown>>;

/** Thrown by a reader to refuse a value with its own words. */
export class Refusal extends Error {}

/**
 * @param expected completes "missing; add …" and "X is wrong; use …"
 * @param read returns the canonical value, undefined when the value is not as expected; may throw Refusal or
 *   AddressError to say more
 */
export function field<T>(expected: string, read: (value: unknown) => T | undefined): Field<T> {
  return z.unknown().transform((value, context): T => {
    let message =
      value === undefined ? `missing; add ${expected}` : `${show(value)} is not allowed; use ${expected}`;
    if (value !== undefined) {
      try {
        const result = read(value);
        if (result !== undefined) return result;
      } catch (error) {
        if (!(error instanceof Refusal || error instanceof AddressError)) throw error;
        message = error.message;
      }
    }
    context.issues.push({ code: 'custom', message, input: value });
    return z.NEVER;
  });
}

export function integer(min: number, max: number): Field<number> {
  return field(`a whole number from ${min} to ${max}`, (value) => {
    return Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? (value as number)
      : undefined;
  });
}

export function integerOr<W extends string>(min: number, max: number, word: W): Field<number | W> {
  return field(`a whole number from ${min} to ${max}, or ${word}`, (value) => {
    if (value === word) return word;
    return Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? (value as number)
      : undefined;
  });
}

export function boolean(): Field<boolean> {
  return field('true or false', (value) => (typeof value === 'boolean' ? value : undefined));
}

export function choice<const W extends readonly string[]>(...words: W): Field<W[number]> {
  const expected = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
  return field(expected, (value) => {
    if (typeof value !== 'string') return undefined;
    if (words.includes(value)) return value;
    const near = nearest(value, words);
    if (near !== undefined)
      throw new Refusal(`${show(value)} is not allowed; did you mean ${near}? (${expected})`);
    return undefined;
  });
}

export function text(expected: string): Field<string> {
  return field(expected, (value) => asText(value) || undefined);
}

/** Any string, the empty one too. */
export function anyText(): Field<string> {
  return field('text', asText);
}

/** @throws Refusal for what YAML took for something else */
function asText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value !== 'number' && typeof value !== 'boolean') return undefined;
  throw new Refusal(`${value} is a ${typeof value}, and text is wanted; put it in quotes: "${value}"`);
}

export function stringMap(): z.ZodType<Record<string, string>> {
  return z.record(z.string(), anyText());
}

/** Letters, digits, "-", "_" and "." between letters or digits; at most 253. */
export function resourceName(): Field<string> {
  const expected =
    'a name of letters, digits, "-", "_" and ".", at most 253, that starts and ends with a letter or digit';
  return field(expected, (value) => {
    const name = asText(value) ?? '';
    return name.length <= 253 && /^[a-z\d]([\w.-]*[a-z\d])?$/i.test(name) ? name : undefined;
  });
}

const UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds of a duration with unit; "never" is 0 where allowed. */
export function duration(min: number, max: number, never: boolean): Field<number> {
  const expected = `a duration from ${min}s to ${max}s such as 300s or 5m${never ? ', or never' : ''}`;
  return field(expected, (value) => {
    if (never && value === 'never') return 0;
    const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value) : null;
    if (never && (value === 0 || value === '0' || (match !== null && Number(match[1]) === 0))) {
      throw new Refusal(
        `${show(value)} could mean never or at once; write never, or a duration from ${min}s`,
      );
    }
    const isIn = (seconds: number): boolean => seconds >= min && seconds <= max;
    if (match === null && /^\d+(\.\d+)?$/.test(String(value)) && isIn(Number(value))) {
      throw new Refusal(`${show(value)} has no unit; write ${value}s or ${expected}`);
    }
    const seconds = match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!]!;
    return isIn(seconds) ? seconds : undefined;
  });
}

const FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1000,
  M: 1_000_000,
  G: 1_000_000_000,
  Ki: 1 << 10,
  Mi: 1 << 20,
  Gi: 1 << 30,
};

/** Bytes: a number, or text with one of the suffixes above (M6). */
export function size(min: number, max: number): Field<number> {
  return field(`a size from ${min} to ${max} bytes such as 4Mi`, (value) => {
    const match = /^(\d+(?:\.\d+)?)(|[KMG]i?)$/.exec(String(value));
    const bytes = match === null ? Number.NaN : Number(match[1]) * FACTORS[match[2]!]!;
    return Number.isInteger(bytes) && bytes >= min && bytes <= max ? bytes : undefined;
  });
}

/** Address of a host on the underlay in canonical text; loopback serves hosts that are all on one machine. */
export function underlayAddress(example: string): Field<string> {
  return unicastAddress(example, 'loopback');
}

/** A unicast address in canonical text. @param except a kind of `unusualKind` that is allowed */
export function unicastAddress(example: string, except?: string): Field<string> {
  return field(`an IP address such as ${example}`, (value) => {
    if (typeof value !== 'string') return undefined;
    const { words, text } = parseAddress(value);
    const kind = unusualKind(words);
    if (kind === null || kind === except) return text;
    throw new Refusal(
      `${show(value)} is a${/^[aeiou]/.test(kind) ? 'n' : ''} ${kind} address; use a unicast one such as ${example}`,
    );
  });
}

export function cidr(): Field<string> {
  return field('a network such as 10.77.0.0/24', (value) => {
    return typeof value === 'string' ? parseCidr(value).text : undefined;
  });
}

/** A unicast, non-zero MAC in canonical text. */
export function unicastMac(): Field<string> {
  return field('a MAC address such as "02:00:00:00:00:01"', (value) => {
    if (typeof value !== 'string') return undefined;
    const { hi, lo } = parseMac(value);
    if (hi & 0x100) throw new Refusal(`${show(value)} is a multicast address; the first byte must be even`);
    if (hi === 0 && lo === 0)
      throw new Refusal(`${show(value)} is the zero address; use one such as 02:00:00:00:00:01`);
    return formatMac(hi, lo);
  });
}

/** The same object without keys whose value is undefined. */
export function compact<T extends object>(
  value: { [K in keyof T]: T[K] | (undefined extends T[K] ? undefined : never) },
): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}
