/** Options that several commands share. */
import { Option } from 'commander';
import type { Context } from './context.ts';
import { Usage } from './failure.ts';

export const DEFAULT_SOCKET = '/run/twill/twill.sock';

/** Options of every verb that talks to a daemon, as commander parses them. */
export interface ClientOptions {
  readonly socket?: string;
  /** ms */
  readonly timeout: number;
}

export function socketPath(context: Context, options: { readonly socket?: string }): string {
  return options.socket ?? (context.env.TWILL_SOCKET || DEFAULT_SOCKET);
}

export function socketOption(): Option {
  return new Option('--socket <path>', `control socket (default: $TWILL_SOCKET or ${DEFAULT_SOCKET})`);
}

export function timeoutOption(defaultSeconds = 10): Option {
  return new Option('--timeout <time>', 'give up after this long: 10, 500ms, 2m')
    .argParser(parseDuration)
    .default(defaultSeconds * 1000, `${defaultSeconds}s`);
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, '': 1000, s: 1000, m: 60_000, h: 3_600_000 };

/** "10", "1.5s", "500ms", "2m" → ms. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/.exec(text);
  const value = match ? Number(match[1]) * (UNITS_MS[match[2] ?? ''] ?? 0) : 0;
  // setTimeout counts in 31 bits
  if (!(value > 0) || value > 0x7fffffff) {
    throw new Usage(`"${text}" is not a duration; write for instance 10, 500ms or 2m`);
  }
  return value;
}

export type Format = 'table' | 'wide' | 'json' | 'yaml';

export function outputOption(formats: readonly Format[] = ['table', 'wide', 'json', 'yaml']): Option {
  return new Option('-o, --output <format>', 'output format').choices(formats).default('table');
}
