/** Names under which a user may ask for a kind. */
import { nearest } from '../control/problem.ts';
import type { GetKind } from '../control/protocol.ts';
import { Usage } from './failure.ts';

const ALIASES: Readonly<Record<GetKind, readonly string[]>> = {
  hosts: ['host'],
  networks: ['network', 'net', 'nets'],
  ports: ['port', 'po'],
  peers: ['peer'],
  services: ['service', 'svc'],
  endpointslices: ['endpointslice', 'eps'],
  nodes: ['node', 'no'],
  servicecidrs: ['servicecidr'],
  fdb: [],
  neighbors: ['neighbor', 'neighbours', 'neighbour', 'neigh', 'arp'],
  flows: ['flow', 'conntrack', 'ct'],
  affinities: ['affinity', 'aff'],
  drops: ['drop'],
};

const KINDS = Object.keys(ALIASES) as GetKind[];
/** Resources, as opposed to live state: these can be deleted, and have an envelope. */
export const RESOURCE_KINDS: readonly GetKind[] = KINDS.slice(0, KINDS.indexOf('fdb'));

const PER_LINE = 5;

const named = (kinds: readonly GetKind[]): string =>
  kinds
    .map((kind, i) => {
      const short = ALIASES[kind].find((alias) => alias.length < 4);
      const gap = i > 0 && i % PER_LINE === 0 ? '\n  ' : i > 0 ? ' ' : '';
      return `${gap}${short ? `${kind} (${short})` : kind}`;
    })
    .join(',');

export const KIND_HELP = `Resources:
  ${named(RESOURCE_KINDS)}
Live state:
  ${named(KINDS.filter((kind) => !RESOURCE_KINDS.includes(kind)))}`;

export function isResource(kind: GetKind): boolean {
  return RESOURCE_KINDS.includes(kind);
}

export function isNamespaced(kind: GetKind): boolean {
  return kind === 'services' || kind === 'endpointslices';
}

/** @throws Usage with the nearest name. */
export function parseKind(text: string, among: readonly GetKind[] = KINDS): GetKind {
  const wanted = text.toLowerCase();
  const found = among.find((kind) => kind === wanted || ALIASES[kind].includes(wanted));
  if (found) return found;
  const other = KINDS.find((kind) => kind === wanted || ALIASES[kind].includes(wanted));
  if (other) throw new Usage(`${other} are live state and cannot be named here; kinds: ${among.join(', ')}`);
  const meant = nearest(
    wanted,
    among.flatMap((kind) => [kind, ...ALIASES[kind]]),
  );
  throw new Usage(
    meant
      ? `unknown kind "${text}" (Did you mean ${meant}?)`
      : `unknown kind "${text}"; kinds: ${among.join(', ')}`,
  );
}

/** "svc shop" or "svc/shop" → kind and name. */
export function parseReference(
  kind: string,
  name: string | undefined,
  among: readonly GetKind[] = KINDS,
): { kind: GetKind; name: string | undefined } {
  const slash = kind.indexOf('/');
  if (slash < 0) return { kind: parseKind(kind, among), name };
  if (name !== undefined) throw new Usage(`"${kind}" already names one; drop "${name}"`);
  return { kind: parseKind(kind.slice(0, slash), among), name: kind.slice(slash + 1) };
}
