/**
 * Routes of the host to virtual addresses: by the gateway of a host port, with the port's address as source. Where
 * there are service CIDRs, those; every other address by itself, up to a bound.
 *
 * They live and die with the link. A route that somebody else has is left alone, and told.
 */
import { isDeepStrictEqual } from 'node:util';
import type { OwnRoute } from '../card/native.ts';
import { type Cidr, contains, parseAddress, parseCidr } from '../wire/address.ts';

/** Addresses routed one by one. A route costs the kernel 200 bytes, adding it some 10 µs of this thread. */
export const MOST_ROUTES = 4096;

/** By which link and gateway, in one address family. */
export interface Lead {
  readonly index: number;
  readonly address: string;
  readonly gateway: string;
}

type Change = (add: boolean, route: OwnRoute) => void;

export class HostRoutes {
  readonly #change: Change;
  #leads: readonly Lead[] = [];
  #cidrs: readonly string[] = [];
  #covered: readonly Cidr[] = [];
  /** Addresses that are routed, or would be if there were room. */
  readonly #wanted = new Set<string>();
  /** Addresses that a service CIDR covers. */
  readonly #inside = new Set<string>();
  /** By destination. */
  readonly #installed = new Map<string, OwnRoute>();
  readonly #refused = new Map<string, string>();

  constructor(change: Change) {
    this.#change = change;
  }

  get count(): number {
    return this.#installed.size;
  }

  /** What is not as it should be, one line each. */
  get problems(): string[] {
    const left = this.#wanted.size - MOST_ROUTES;
    const bound = `the host has routes to ${MOST_ROUTES} service addresses and none to ${left} more; set serviceCIDRs of the Host`;
    return [...this.#refused.values(), ...(left > 0 && this.#leads.length > 0 ? [bound] : [])];
  }

  /** Another way, or other service CIDRs: what stays right stays. */
  lead(leads: readonly Lead[], serviceCIDRs: readonly string[]): void {
    this.#leads = leads;
    if (!isDeepStrictEqual(serviceCIDRs, this.#cidrs)) this.#cover(serviceCIDRs);
    const right = new Map<string, OwnRoute>();
    for (const cidr of serviceCIDRs) this.#put(right, cidr);
    for (const address of first(this.#wanted, MOST_ROUTES)) this.#put(right, address);
    for (const [to, route] of this.#installed) if (!same(route, right.get(to))) this.#remove(to);
    this.#refused.clear();
    for (const [to, route] of right) if (!this.#installed.has(to)) this.#add(to, route);
  }

  /** Addresses that came and went. */
  change(added: readonly string[], removed: readonly string[]): void {
    for (const address of removed) {
      this.#inside.delete(address);
      this.#refused.delete(address);
      this.#wanted.delete(address);
      this.#remove(address);
    }
    for (const address of added) this.#sort(address);
    // What went may have made room for what never had any.
    const isFull = removed.length > 0 && this.#wanted.size >= MOST_ROUTES;
    for (const address of isFull ? first(this.#wanted, MOST_ROUTES) : added) {
      if (this.#installed.size >= MOST_ROUTES + this.#cidrs.length) break;
      const isDone = this.#installed.has(address) || this.#refused.has(address);
      const route = isDone || !this.#wanted.has(address) ? undefined : this.#routeTo(address);
      if (route) this.#add(address, route);
    }
  }

  #cover(cidrs: readonly string[]): void {
    const addresses = [...this.#wanted, ...this.#inside];
    this.#cidrs = cidrs;
    this.#covered = cidrs.map(parseCidr);
    this.#wanted.clear();
    this.#inside.clear();
    for (const address of addresses) this.#sort(address);
  }

  #sort(address: string): void {
    const isCovered =
      this.#covered.length > 0 && this.#covered.some((cidr) => contains(cidr, parseAddress(address).words));
    (isCovered ? this.#inside : this.#wanted).add(address);
  }

  #put(routes: Map<string, OwnRoute>, to: string): void {
    const route = this.#routeTo(to);
    if (route) routes.set(to, route);
  }

  /** @param to an address or a CIDR */
  #routeTo(to: string): OwnRoute | undefined {
    const isV6 = to.includes(':');
    const lead = this.#leads.find(({ gateway }) => gateway.includes(':') === isV6);
    if (!lead) return undefined;
    const [address = '', prefix = isV6 ? '128' : '32'] = to.split('/');
    return {
      to: address,
      prefix: Number(prefix),
      via: lead.gateway,
      source: lead.address,
      index: lead.index,
    };
  }

  #add(to: string, route: OwnRoute): void {
    try {
      this.#change(true, route);
      this.#installed.set(to, route);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = code === 'EEXIST' ? 'there is one already' : message;
      this.#refused.set(to, `no route of ours to ${to}: ${why}; see: ip route show ${to}`);
    }
  }

  #remove(to: string): void {
    const route = this.#installed.get(to);
    if (!route) return;
    this.#installed.delete(to);
    try {
      this.#change(false, route);
    } catch {
      // It went with its link, or somebody took it out.
    }
  }
}

const same = (a: OwnRoute, b: OwnRoute | undefined): boolean =>
  a.index === b?.index && a.via === b.via && a.source === b.source && a.prefix === b.prefix;

function* first<T>(items: Iterable<T>, most: number): Generator<T> {
  let count = 0;
  for (const item of items)
    if (count++ < most) yield item;
    else return;
}
