/**
 * Numbers to give away, as the Kubernetes API server divides them (KEP-3070 for addresses, KEP-3668 for node ports): the
 * lower ones are left to people, who write them; the upper ones are given, the lower ones only when those are used up.
 */
import { createHash } from 'node:crypto';
import type { Cidr, Words } from '../../wire/address.ts';

export interface Range {
  /** For messages: "10.96.0.0/16". */
  readonly text: string;
  readonly size: number;
  /** How many of them, from the first, people choose from. */
  readonly reserved: number;
}

/** A network's addresses without its own and, in IPv4, its broadcast address. */
export interface AddressRange extends Range {
  readonly cidr: Cidr;
}

/** Beyond any number of Services; keeps a place in 53 bits. */
const MOST_PLACES = 2 ** 32;

export function addressRange(cidr: Cidr): AddressRange {
  const all = 2 ** Math.min(32, (cidr.family === 4 ? 32 : 128) - cidr.prefix);
  const size = Math.max(0, Math.min(MOST_PLACES, all) - (cidr.family === 4 ? 2 : 1));
  return { text: cidr.text, cidr, size, reserved: Math.min(size, reservedOf(all, 16, 256)) };
}

/** The address at a place, counted from 0: the network's address is none. */
export function addressAt({ cidr }: AddressRange, place: number): Words {
  const [w0, w1, w2, w3] = cidr.words;
  const last = (w3 >>> 0) + 1 + place;
  return [w0, w1, (w2 + Math.floor(last / 2 ** 32)) | 0, last | 0];
}

export const FIRST_NODE_PORT = 30_000;
export const LAST_NODE_PORT = 32_767;

const NODE_PORT_COUNT = LAST_NODE_PORT - FIRST_NODE_PORT + 1;
export const NODE_PORTS: Range = {
  text: `${FIRST_NODE_PORT}–${LAST_NODE_PORT}`,
  size: NODE_PORT_COUNT,
  reserved: reservedOf(NODE_PORT_COUNT, 32, 128),
};

/** A share of all, at least 16, at most `most`; none of so few that 16 would be all. */
function reservedOf(all: number, share: number, most: number): number {
  return all <= 16 ? 0 : Math.min(Math.max(16, Math.floor(all / share)), most);
}

/** Where a name begins to look, the same on every host: 32 hashed bits. */
export function seedOf(...parts: readonly string[]): number {
  return createHash('sha256').update(JSON.stringify(parts)).digest().readUInt32BE(0);
}

/** Of the upper part; of the lower one where there is no upper one. */
export function firstPlace({ size, reserved }: Range, seed: number): number {
  return size > reserved ? reserved + (seed % (size - reserved)) : seed % size;
}

/** The first free place from a name's own on, around the upper part, then the lower one; −1 when all are taken. */
export function freePlace(range: Range, seed: number, isFree: (place: number) => boolean): number {
  const { size, reserved } = range;
  const around = (from: number, count: number): number => {
    for (let i = 0; i < count; i++) {
      const place = from + (((seed % count) + i) % count);
      if (isFree(place)) return place;
    }
    return -1;
  };
  const upper = around(reserved, size - reserved);
  return upper >= 0 ? upper : around(0, reserved);
}
