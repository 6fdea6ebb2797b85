/** Endpoints as numbers: from slices to the backends of one service port. */
import { BACKEND_WORDS, DEFAULT_WEIGHT, NONE_SERVES } from '../service/record.ts';
import { formatAddress, parseCidr } from '../wire/address.ts';
import type { EndpointSliceSpec, ResourceOf } from './types.ts';

/** Words per endpoint of a slice: IPv4 address, health. */
export const ENDPOINT_WORDS = 2;

/** S7: of several instances of one ip:port the one that does not terminate counts; among equals the healthier. */
export const enum Health {
  SERVING = 1,
  READY = 2,
  STAYS = 4,
  LEVELS = 8,
}

export function healthOf(ready: boolean, serving: boolean, terminating: boolean): number {
  return (terminating ? 0 : Health.STAYS) + (ready ? Health.READY : 0) + (serving ? Health.SERVING : 0);
}

export const isReady = (health: number): boolean => (health & Health.READY) !== 0;

/**
 * Addresses of a slice in canonical text; of a plain one, which has them as numbers, only those among the first `most`
 * of a network.
 */
export function* addressesNear(
  { spec, isPlain }: ResourceOf<'EndpointSlice'>,
  cidr: string,
  most: number,
): Generator<string> {
  if (!isPlain) {
    for (const { address } of spec.endpoints) yield address;
    return;
  }
  const { family, words } = parseCidr(cidr);
  if (family !== 4) return;
  for (let i = 0; i < spec.words.length; i += ENDPOINT_WORDS) {
    const address = spec.words[i]!;
    if ((address - words[3]) >>> 0 <= most) yield formatAddress(0, 0, 0xffff, address);
  }
}

/** An instance as one number, ordered by address, port, health; below 2^51. */
const PORTS = 65_536;
const PER_ADDRESS = PORTS * Health.LEVELS;

type Slices = readonly { readonly spec: EndpointSliceSpec }[];

/** The endpoints of one service port. One is used again and again, so that a hundred thousand ports make no garbage. */
export class Gathered {
  /** Endpoints that get new flows (S12), and addresses that serve and are none of them (S31); or NONE_SERVES. */
  backends = 0;
  others = 0;
  private instances = new Float64Array(64);
  private count = 0;
  private health = 0;

  gather(slices: Slices, name: string, protocol: 'TCP' | 'UDP'): void {
    this.count = 0;
    for (const { spec } of slices) {
      for (const port of spec.ports) {
        // S8: the slice's port of the same name and protocol, never targetPort.
        if (port.name === name && port.protocol === protocol) this.take(spec.words, port.port);
      }
    }
    this.order();
    this.choose();
  }

  /** Writes backends, ordered by address and port, then the others. */
  write(words: Int32Array, at: number): void {
    let other = at + this.backends * BACKEND_WORDS;
    for (let i = 0, next = 0; i < this.count; i = next) {
      next = this.group(i);
      const address = Math.floor(this.instances[i]! / PER_ADDRESS) | 0;
      let isBackend = false;
      let serves = false;
      for (let j = i; j < next; j++) {
        const instance = this.instances[j]!;
        const health = instance % Health.LEVELS;
        if ((health & Health.SERVING) !== 0) serves = true;
        if (!this.isChosen(health)) continue;
        isBackend = true;
        words[at] = 0;
        words[at + 1] = 0;
        words[at + 2] = 0xffff;
        words[at + 3] = address;
        words[at + 4] = (DEFAULT_WEIGHT << 16) | (Math.floor(instance / Health.LEVELS) % PORTS);
        at += BACKEND_WORDS;
      }
      if (isBackend || !serves) continue;
      words[other] = 0;
      words[other + 1] = 0;
      words[other + 2] = 0xffff;
      words[other + 3] = address;
      other += 4;
    }
  }

  private take(endpoints: Int32Array, port: number): void {
    const needed = this.count + endpoints.length / ENDPOINT_WORDS;
    if (needed > this.instances.length) {
      const grown = new Float64Array(needed * 2);
      grown.set(this.instances);
      this.instances = grown;
    }
    for (let i = 0; i < endpoints.length; i += ENDPOINT_WORDS) {
      const address = endpoints[i]! >>> 0;
      this.instances[this.count++] = address * PER_ADDRESS + port * Health.LEVELS + endpoints[i + 1]!;
    }
  }

  /** In order, and of equal ip:port only the best. */
  private order(): void {
    const { instances, count } = this;
    let isOrdered = true;
    for (let i = 1; i < count && isOrdered; i++) isOrdered = instances[i - 1]! <= instances[i]!;
    if (!isOrdered) instances.subarray(0, count).sort();
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const isSame =
        i + 1 < count &&
        Math.floor(instances[i]! / Health.LEVELS) === Math.floor(instances[i + 1]! / Health.LEVELS);
      if (!isSame) instances[kept++] = instances[i]!;
    }
    this.count = kept;
  }

  /** S12: new flows go to the ready endpoints; when there is none, to those that terminate and still serve. */
  private choose(): void {
    let union = 0;
    for (let i = 0; i < this.count; i++) union |= this.instances[i]! % Health.LEVELS;
    this.health = union;
    this.backends = 0;
    this.others = 0;
    for (let i = 0, next = 0; i < this.count; i = next) {
      next = this.group(i);
      let isBackend = false;
      let serves = false;
      for (let j = i; j < next; j++) {
        const health = this.instances[j]! % Health.LEVELS;
        if ((health & Health.SERVING) !== 0) serves = true;
        if (!this.isChosen(health)) continue;
        isBackend = true;
        this.backends++;
      }
      if (serves && !isBackend) this.others++;
    }
    if ((union & Health.SERVING) === 0) this.others = NONE_SERVES;
  }

  private isChosen(health: number): boolean {
    if ((this.health & Health.READY) !== 0) return (health & Health.READY) !== 0;
    return (health & (Health.SERVING | Health.STAYS)) === Health.SERVING;
  }

  /** One past the instances of the same address. */
  private group(from: number): number {
    const end = (Math.floor(this.instances[from]! / PER_ADDRESS) + 1) * PER_ADDRESS;
    let at = from + 1;
    while (at < this.count && this.instances[at]! < end) at++;
    return at;
  }
}
