import type { Flows } from '../conntrack/flows.ts';
import { Word } from '../conntrack/tuple.ts';
import type { Affinities } from '../service/affinity.ts';
import { BACKEND_WORDS, type Services } from '../service/services.ts';
import { Protocol } from '../wire/ipv4.ts';
import type { ServiceConfig } from './config.ts';

/**
 * What a change of services leaves behind: UDP flows to endpoints that left (S31–S33) and affinities to them (S27).
 * Changes are noted while a transaction is applied and cleaned up once it is live, by one pass over flows and one
 * over affinities, whatever the number of changed services.
 */
export class Stale {
  /** UDP services that changed, and whether they left their address or are gone. */
  private readonly udp = new Map<number, boolean>();
  private readonly sticky = new Set<number>();

  constructor(
    private readonly flows: Flows,
    private readonly services: Services,
    private readonly affinities: Affinities,
  ) {}

  /** Notes that a service came (`before` undefined), changed, or went (`after` undefined). */
  changed(id: number, before: ServiceConfig | undefined, after: ServiceConfig | undefined): void {
    const hasLeft =
      !before || !after || before.port !== after.port || before.vip.some((word, i) => word !== after.vip[i]);
    const isUdp = before?.protocol === Protocol.UDP || after?.protocol === Protocol.UDP;
    if (isUdp) this.udp.set(id, hasLeft || this.udp.get(id) === true);
    if ((before?.affinity ?? 0) > 0) this.sticky.add(id);
  }

  forget(now: number): void {
    if (this.udp.size > 0) this.dropFlows(now);
    if (this.sticky.size > 0) this.affinities.forget((row) => this.isKept(row));
    this.udp.clear();
    this.sticky.clear();
  }

  private isKept(row: number): boolean {
    const { services, affinities } = this;
    const id = affinities.key(row, 1);
    if (!this.sticky.has(id)) return true;
    const [w0, w1, w2, w3, port] = affinities.backend.subarray(
      row * BACKEND_WORDS,
      (row + 1) * BACKEND_WORDS,
    );
    return services.affinity[id] !== 0 && services.hasBackend(id, w0!, w1!, w2!, w3!, port!);
  }

  private dropFlows(now: number): void {
    const { flows, services } = this;
    const high = Word.SOURCE_HIGH;
    for (let row = 0; row < flows.extent; row++) {
      const id = flows.service[row]!;
      const hasLeft = this.udp.get(id);
      if (hasLeft === undefined || !flows.isLive(row, now)) continue;
      if ((flows.word(row * 2, Word.SCOPE) & 0xff) !== Protocol.UDP) continue;
      const reply = row * 2 + 1;
      const isServed =
        !hasLeft &&
        flows.generation[row] === services.generation[id] &&
        services.serves(
          id,
          flows.word(reply, high),
          flows.word(reply, high + 1),
          flows.word(reply, high + 2),
          flows.word(reply, Word.SOURCE),
          flows.word(reply, Word.PORTS) >>> 16,
        );
      if (!isServed) flows.remove(row);
    }
  }
}
