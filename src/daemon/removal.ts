/** What must go before a resource can be deleted. */
import type { Resource } from '../control/types.ts';

/** @returns what to do first, one line each; nothing when it can go */
export function neededBy({ kind, name }: Resource, others: readonly Resource[]): string[] {
  if (kind === 'Host') return [`Host ${name} says who this daemon is; stop the daemon instead`];
  if (kind !== 'Network') return [];
  return others
    .filter((other) => isIn(name, other))
    .map((other) => `${other.kind.toLowerCase()} ${other.name}`)
    .map((other) => `network ${name} is needed by ${other}; first: twill delete ${other}`);
}

const isIn = (network: string, { kind, spec }: Resource): boolean =>
  (kind === 'Port' && spec.network === network) ||
  (kind === 'Peer' &&
    (spec.networks?.includes(network) === true || spec.static.some((entry) => entry.network === network)));
