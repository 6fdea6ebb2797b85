import { ALGORITHMS } from './record.ts';

/**
 * How a flow came by its endpoint, as two columns of the flow table.
 *
 *   how   bits 0–1 kind (FrontendKind, 3 = node port) · 2 set (EndpointSet) · 3 affinity named it · 4–5 algorithm
 *         (index into ALGORITHMS) · 6 no service's: only its source port is another
 *   why   index of the endpoint in its set << 16 | endpoints of the set, then; both at most 65535
 */
export const enum How {
  KIND = 3,
  LOCAL_SET = 4,
  AFFINITY = 8,
  DIRECT = 64,
}

export const ALGORITHM_SHIFT = 4;

const MOST = 0xffff;

export const packWhy = (index: number, candidates: number): number =>
  (Math.min(index, MOST) << 16) | Math.min(candidates, MOST);

/** "roundRobin 2/3": the second of three; "affinity 1/3 local"; "port taken" of a flow that is no service's. For listings. */
export function describeWhy(how: number, why: number): string {
  if ((how & How.DIRECT) !== 0) return 'port taken';
  const by = (how & How.AFFINITY) !== 0 ? 'affinity' : ALGORITHMS[(how >>> ALGORITHM_SHIFT) & 3]!;
  const set = (how & How.LOCAL_SET) !== 0 ? ' local' : '';
  return `${by} ${(why >>> 16) + 1}/${why & MOST}${set}`;
}
