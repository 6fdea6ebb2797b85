/** The command line of the harness. */
import { parseArgs } from 'node:util';
import { type Mode, matrix } from './matrix.ts';

export const USAGE = `usage: twill bench [--quick] [--memory] [--only NAME]…
       twill bench --captures        checksums of a slice of every workload, by tshark; with --only of some
       twill bench --report FILE     the page of a results file; of a whole run, docs/performance.md too
       twill bench --check [FILE]    ratios against bench/baseline.json; FILE: not measured anew
       twill bench --baseline FILE   writes bench/baseline.json from a results file
       twill bench --list            the names that --only knows`;

export type Task =
  | {
      readonly kind: 'measure';
      readonly mode: Mode;
      readonly only: readonly string[];
      readonly isMemoryOnly: boolean;
    }
  | { readonly kind: 'captures'; readonly only: readonly string[] }
  | { readonly kind: 'report'; readonly file: string }
  | { readonly kind: 'check'; readonly file: string | null }
  | { readonly kind: 'baseline'; readonly file: string }
  | { readonly kind: 'list' };

/** Names that stand for more than cells. */
export const GROUPS = ['tcp', 'datagrams', 'latency', 'services', 'memory', 'idle'] as const;

/** @throws Error with a line for a person */
export function readOptions(args: readonly string[]): Task {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      memory: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      captures: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      report: { type: 'string' },
      baseline: { type: 'string' },
    },
  });
  if (positionals.length > (values.check ? 1 : 0)) throw new Error(`unexpected word "${positionals[0]}"`);
  if (values.list) return { kind: 'list' };
  if (values.report !== undefined) return { kind: 'report', file: values.report };
  if (values.baseline !== undefined) return { kind: 'baseline', file: values.baseline };
  if (values.check) return { kind: 'check', file: positionals[0] ?? null };
  const mode = values.quick ? 'quick' : 'full';
  for (const name of values.only) {
    if (!isKnown(mode, name))
      throw new Error(`--only ${name}: no such cell or group; see twill bench --list`);
  }
  if (values.captures) return { kind: 'captures', only: values.only };
  return { kind: 'measure', mode, only: values.only, isMemoryOnly: values.memory };
}

function isKnown(mode: Mode, name: string): boolean {
  return (
    (GROUPS as readonly string[]).includes(name) ||
    /^(load|connections|change|pause|churn)-\d+$/.test(name) ||
    matrix(mode).some(({ cell }) => cell.id === name || cell.id.startsWith(`${name}/`))
  );
}
