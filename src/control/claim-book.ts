/** Who wants what only one Service can have (M10): as it is, and as a change would make it. */
import { type Claim, claimsOf, ownerOf } from './claims.ts';
import type { ResourceOf } from './types.ts';

type Service = ResourceOf<'Service'>;
/** One by itself is no list: hardly a claim has two. */
type Wanted = Service | readonly Service[] | undefined;

const listOf = (wanted: Wanted): readonly Service[] =>
  wanted === undefined ? [] : Array.isArray(wanted) ? (wanted as readonly Service[]) : [wanted as Service];

export class ClaimBook {
  readonly #wanted = new Map<Claim, Wanted>();
  /** Claims of several. */
  readonly #contested = new Set<Claim>();

  /** A change; nothing of it shows before `commit`. */
  stage(): StagedClaims {
    return new StagedClaims(this.#wanted, this.#contested);
  }

  /** Who has what a Service wants. */
  owner(claim: Claim, service: Service): Service {
    return this.#contested.has(claim) ? ownerOf(listOf(this.#wanted.get(claim))) : service;
  }
}

export class StagedClaims {
  /** Those that change. */
  readonly #changed = new Map<Claim, Wanted>();
  /** Those among them that somebody else wants or wanted too. */
  readonly #disputed = new Set<Claim>();

  constructor(
    private readonly wanted: Map<Claim, Wanted>,
    private readonly contested: Set<Claim>,
  ) {}

  drop(service: Service): void {
    for (const claim of claimsOf(service)) {
      const others = listOf(this.#of(claim)).filter((other) => other !== service);
      if (others.length > 0) this.#disputed.add(claim);
      this.#changed.set(claim, others.length > 1 ? others : others[0]);
    }
  }

  add(service: Service): void {
    for (const claim of claimsOf(service)) {
      const others = this.#of(claim);
      if (others !== undefined) this.#disputed.add(claim);
      this.#changed.set(claim, others === undefined ? service : [...listOf(others), service]);
    }
  }

  /** Services that may get or lose something by the change of another. */
  *concerned(): Generator<Service> {
    for (const claim of this.#disputed) {
      yield* listOf(this.wanted.get(claim));
      yield* listOf(this.#changed.get(claim));
    }
  }

  /** Who is to have what a Service wants. */
  owner(claim: Claim, service: Service): Service {
    if (!this.#disputed.has(claim) && !this.contested.has(claim)) return service;
    return ownerOf(listOf(this.#of(claim)));
  }

  commit(): void {
    for (const [claim, wanted] of this.#changed) {
      if (wanted === undefined) this.wanted.delete(claim);
      else this.wanted.set(claim, wanted);
    }
    for (const claim of this.#disputed) {
      if (listOf(this.#changed.get(claim)).length > 1) this.contested.add(claim);
      else this.contested.delete(claim);
    }
  }

  #of(claim: Claim): Wanted {
    return this.#changed.has(claim) ? this.#changed.get(claim) : this.wanted.get(claim);
  }
}
