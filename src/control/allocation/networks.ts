/** The networks that ClusterIPs come from, and of which of them a Service wants one. */
import { contains, type Family, familyOf, type Words } from '../../wire/address.ts';
import type { Surroundings } from '../surroundings.ts';
import type { ServiceSpec } from '../types.ts';
import { type AddressRange, addressRange } from './range.ts';

export class ServiceNetworks {
  readonly #subnets: Surroundings['subnets'];
  readonly #ranges: readonly AddressRange[];

  constructor({ subnets, serviceCIDRs }: Surroundings) {
    this.#subnets = subnets;
    this.#ranges = serviceCIDRs.map(addressRange);
  }

  of(family: Family): readonly AddressRange[] {
    return this.#ranges.filter(({ cidr }) => cidr.family === family);
  }

  /** N6: not where a Network has pods. */
  mayBeGiven(words: Words): boolean {
    return !this.#subnets.some(({ cidr }) => contains(cidr, words));
  }

  contain(words: Words): boolean {
    return this.#ranges.some(({ cidr }) => contains(cidr, words)) && this.mayBeGiven(words);
  }

  /** Families of ClusterIPs a Service is to be given: those it wants and has not written. */
  lackedBy({ addresses, wants }: ServiceSpec): Family[] {
    if (!wants) return [];
    const written = addresses.flatMap(({ kind, words }) => (kind === 'clusterIP' ? familyOf(words) : []));
    const isV6Only = this.of(4).length === 0 && this.of(6).length > 0;
    const [first = isV6Only ? 6 : 4, ...more] = [...written, ...wants.families];
    const other: Family = first === 4 ? 6 : 4;
    const isDual =
      more.includes(other) ||
      wants.policy === 'RequireDualStack' ||
      (wants.policy === 'PreferDualStack' && this.of(other).length > 0);
    return (isDual ? [first, other] : [first]).filter((family) => !written.includes(family));
  }
}
