/**
 * ClusterIPs and node ports for Services that leave them open (S38). There is nobody to ask, so a Service's name says
 * where it looks first, and every host that knows the same Services comes to the same (docs/decisions/0013).
 *
 *   who has something        keeps it, whoever comes
 *   what is written          comes before what is given, unless that is given already: then it is refused
 *   the rest                 in the order Services always have (M10), each at the first free place from its own on
 */
import type { Report } from '../check/services.ts';
import { NamedMap } from '../named.ts';
import type { Surroundings } from '../surroundings.ts';
import type { Allocation, ResourceOf } from '../types.ts';
import { type Key, keysOf, Ledger } from './ledger.ts';
import { ServiceNetworks } from './networks.ts';
import { type Given, Round, type ServiceChange } from './round.ts';

type Service = ResourceOf<'Service'>;

export interface Allotment {
  /** The same changes with all that was given filled in, and those of Services that lost their place. */
  readonly changes: readonly ServiceChange[];
  /** What is given and was not before. */
  readonly given: readonly Allocation[];
  commit(): void;
}

export class Allocator {
  /** Counted from the first Service on that wants something. */
  #counts: Map<Key, number> | null = null;
  readonly #given = new NamedMap<Given>();

  /**
   * @param changes `before` as last filled in, `after` as written
   * @param isOther the networks may have changed
   * @param running all Services there are, as filled in
   */
  stage(
    changes: readonly ServiceChange[],
    surroundings: Surroundings,
    isOther: boolean,
    running: () => Iterable<Service>,
    refuse: Report,
    warn: Report,
  ): Allotment {
    if (this.#counts === null) {
      // Of a plain one the spec is made when asked for, and it wants nothing (control/plain.ts).
      const isWanting = changes.some(({ after }) => after && !after.isPlain && after.spec.wants);
      if (!isWanting) return { changes, given: [], commit: () => {} };
      this.#counts = new Map();
      const all = new Ledger(this.#counts);
      for (const { spec } of running()) all.add(keysOf(spec), 1);
      all.commit();
    }
    const moved = isOther ? this.#unfit(changes, surroundings) : [];
    const all = [...changes, ...moved];
    const round = new Round(new Ledger(this.#counts), all, this.#given, surroundings, refuse, warn);
    const results = round.run();
    return {
      changes: all.map(({ before, after }) => ({
        before,
        after: after && (results.get(after)?.filled ?? after),
      })),
      given: round.news,
      commit: () => {
        for (const { before, after } of all) {
          const { namespace, name } = (after ?? before)!;
          const given = after && results.get(after);
          if (given) this.#given.set(namespace, name, given);
          else this.#given.delete(namespace, name);
        }
        round.ledger.commit();
      },
    };
  }

  /** Those that run, and whose networks are no longer or only now known. */
  #unfit(changes: readonly ServiceChange[], surroundings: Surroundings): ServiceChange[] {
    const touched = new NamedMap<true>();
    for (const { before, after } of changes) {
      const { namespace, name } = (after ?? before)!;
      touched.set(namespace, name, true);
    }
    const networks = new ServiceNetworks(surroundings);
    return [...this.#given.values()].flatMap(({ written, filled, addresses }) => {
      if (touched.get(written.namespace, written.name)) return [];
      const wanted = networks.lackedBy(written.spec).filter((family) => networks.of(family).length > 0);
      const fits =
        wanted.length === addresses.length && addresses.every(({ words }) => networks.contain(words));
      return fits ? [] : [{ before: filled, after: written }];
    });
  }
}
