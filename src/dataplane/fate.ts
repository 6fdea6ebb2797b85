import type { Flows } from '../conntrack/flows.ts';
import { TcpState } from '../conntrack/tcp-state.ts';
import { TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import { ON_ENDPOINT_REMOVED, ServiceFlag } from '../service/record.ts';
import type { Services } from '../service/services.ts';
import type { Judge } from '../service/verdict.ts';
import { Protocol } from '../wire/ipv4.ts';

export const enum Fate {
  /** Its service means the same to it as before. */
  NONE = 0,
  /** TCP whose service or endpoint has left: it stays (S30). */
  KEPT,
  /** The same where the service says otherwise: it ends, at once or later. */
  ENDED,
  /** UDP that goes elsewhere with its next packet (S31–S33). */
  REMOVED,
}

/** `onEndpointRemoved: keep`; otherwise ms until a flow ends. */
export const KEEP = -1;

/** What is done to TCP flows whose endpoint leaves a service: KEEP, or ms until they end. */
export const grace = (services: Services, id: number): number =>
  graceOf(services.flags[id]!, services.drain[id]!);

/** @param flags of a record. @param drain ms */
export function graceOf(flags: number, drain: number): number {
  const policy = ON_ENDPOINT_REMOVED[(flags >>> ServiceFlag.ON_REMOVED_SHIFT) & 3];
  return policy === 'reset' ? 0 : policy === 'drain' ? drain : KEEP;
}

/** What the services as they are now mean to flows that began before. */
export class Fates {
  private readonly tuple = new Int32Array(TUPLE_WORDS);

  /** @param judge of the same services */
  constructor(
    private readonly flows: Flows,
    private readonly services: Services,
    private readonly judge: Judge,
  ) {}

  /** @param gone `grace` of its service when that has been removed, undefined while it is there */
  of(row: number, gone: number | undefined): Fate {
    const { flows, services } = this;
    const protocol = flows.word(row * 2, Word.SCOPE) & 0xff;
    if (protocol === Protocol.UDP) {
      return gone === undefined && this.isFound(row) && this.isServed(row) ? Fate.NONE : Fate.REMOVED;
    }
    const state = flows.stateOf(row);
    if (protocol !== Protocol.TCP || state === TcpState.TIME_WAIT || state === TcpState.CLOSE)
      return Fate.NONE;
    if (gone !== undefined) return gone === KEEP ? Fate.KEPT : Fate.ENDED;
    if (this.hasLeft(row)) return grace(services, flows.service[row]!) === KEEP ? Fate.KEPT : Fate.ENDED;
    return this.isFound(row) ? Fate.NONE : Fate.KEPT;
  }

  /** Does the flow's destination still name its service (S33)? */
  private isFound(row: number): boolean {
    const { flows, judge, tuple } = this;
    for (let i = 0; i < TUPLE_WORDS; i++) tuple[i] = flows.word(row * 2, i);
    return judge.find(tuple) && judge.service === flows.service[row];
  }

  /** Does its endpoint still serve, or nobody (S31, S32)? */
  private isServed(row: number): boolean {
    const { flows, services } = this;
    const at = row * 2 + 1;
    const [w0, w1] = [flows.word(at, Word.SOURCE_HIGH), flows.word(at, Word.SOURCE_HIGH + 1)];
    const [w2, w3] = [flows.word(at, Word.SOURCE_HIGH + 2), flows.word(at, Word.SOURCE)];
    return services.serves(flows.service[row]!, w0, w1, w2, w3, flows.word(at, Word.PORTS) >>> 16);
  }

  /** Is its endpoint none any more? One that merely takes no new flows is. */
  private hasLeft(row: number): boolean {
    const { flows, services } = this;
    const at = row * 2 + 1;
    const [w0, w1] = [flows.word(at, Word.SOURCE_HIGH), flows.word(at, Word.SOURCE_HIGH + 1)];
    const [w2, w3] = [flows.word(at, Word.SOURCE_HIGH + 2), flows.word(at, Word.SOURCE)];
    return services.hasLost(flows.service[row]!, w0, w1, w2, w3, flows.word(at, Word.PORTS) >>> 16);
  }
}
