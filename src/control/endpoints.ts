/** Endpoints as numbers: from slices to the sets of one service port. */
import { BACKEND_WORDS, NONE_SERVES } from '../service/record.ts';
import { contains, formatAddress, parseCidr, type Words } from '../wire/address.ts';
import type { EndpointSliceSpec, Hints, ResourceOf } from './types.ts';

/** Words per endpoint of a slice: address 0–3, state. */
export const ENDPOINT_WORDS = 5;

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

/** @param node index of its node among those of the slice; −1 when nobody says */
export const stateOf = (health: number, node: number): number => (node + 1) * Health.LEVELS + health;

const healthIn = (state: number): number => state & (Health.LEVELS - 1);

export const isReady = (state: number): boolean => (state & Health.READY) !== 0;

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
  const network = parseCidr(cidr);
  const { words } = spec;
  for (let i = 0; i < words.length; i += ENDPOINT_WORDS) {
    const address: Words = [words[i]!, words[i + 1]!, words[i + 2]!, words[i + 3]!];
    if (!contains(network, address) || (address[3] - network.words[3]) >>> 0 > most) continue;
    yield formatAddress(...address);
  }
}

/** How many addresses of a node are ready; whatever the port (S34). */
export function localReady(slices: Slices, nodeName: string): number {
  const addresses = new Set<string>();
  for (const { spec } of slices) {
    const here = nodeName === '' ? 0 : spec.nodes.indexOf(nodeName) + 1;
    for (let i = 0; here > 0 && i < spec.words.length; i += ENDPOINT_WORDS) {
      const state = spec.words[i + 4]!;
      if (state >> 3 === here && isReady(state)) addresses.add(spec.words.subarray(i, i + 4).join());
    }
  }
  return addresses.size;
}

/** Which service port asks, and from where. */
export interface Query {
  readonly addressType: 'IPv4' | 'IPv6';
  readonly portName: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly nodeName: string;
  readonly zone: string;
  /** Which sets it needs (S10). */
  readonly usesCluster: boolean;
  readonly usesLocal: boolean;
}

type Slices = readonly { readonly spec: EndpointSliceSpec }[];

/** Words per row: address 0–3, port, state, weight. */
const ROW = 7;
const PORT = 4;
const STATE = 5;
const WEIGHT = 6;

/** State of a row, above its health: where it is, whom it is meant for, what it became part of. */
const enum Row {
  LOCAL = 8,
  HAS_NODES = 16,
  FOR_NODE = 32,
  HAS_ZONES = 64,
  FOR_ZONE = 128,
  /** What tells two instances of one ip:port apart. */
  GIVEN = 255,
  IN_CLUSTER = 256,
  IN_LOCAL = 512,
}

/** The endpoints of one service port. One is used again and again, so that a hundred thousand ports make no garbage. */
export class Gathered {
  /** S12, S13: who takes a new flow by either policy. */
  cluster = 0;
  local = 0;
  /** Addresses that serve and are in neither set (S31); or NONE_SERVES. */
  others = 0;
  /** S14: some endpoint anywhere could take a new flow. */
  isUsable = false;
  /** Whether a slice has endpoints, and whether one of them has the port. */
  hasEndpoints = false;
  hasPort = false;
  private rows = new Int32Array(64 * ROW);
  private count = 0;
  /** Rows in order of address and port, each ip:port once. */
  private order = new Int32Array(64);

  gather(slices: Slices, query: Query): void {
    this.count = 0;
    this.hasEndpoints = this.hasPort = false;
    for (const { spec } of slices) {
      if (spec.addressType !== query.addressType || spec.words.length === 0) continue;
      this.hasEndpoints = true;
      for (const port of spec.ports) {
        // S8: the slice's port of the same name and protocol, never targetPort.
        if (port.name !== query.portName || port.protocol !== query.protocol) continue;
        this.hasPort = true;
        this.take(spec, port.port, query);
      }
    }
    this.sort();
    this.choose(query);
  }

  /** Writes the cluster set, then the local one. @returns where they end */
  writeSets(words: Int32Array, at: number): number {
    return this.writeSet(words, this.writeSet(words, at, Row.IN_CLUSTER), Row.IN_LOCAL);
  }

  writeOthers(words: Int32Array, at: number): void {
    for (let i = 0, next = 0; i < this.count; i = next) {
      next = this.group(i);
      if (!this.isOther(i, next)) continue;
      const row = this.order[i]! * ROW;
      for (let word = 0; word < 4; word++) words[at++] = this.rows[row + word]!;
    }
  }

  private writeSet(words: Int32Array, from: number, member: Row): number {
    const { rows } = this;
    let at = from;
    for (let i = 0; i < this.count; i++) {
      const row = this.order[i]! * ROW;
      if ((rows[row + STATE]! & member) === 0) continue;
      for (let word = 0; word < 4; word++) words[at + word] = rows[row + word]!;
      words[at + 4] = (rows[row + WEIGHT]! << 16) | rows[row + PORT]!;
      at += BACKEND_WORDS;
    }
    return at;
  }

  private take({ words, nodes, hints, weight }: EndpointSliceSpec, port: number, query: Query): void {
    const here = query.nodeName === '' ? -1 : nodes.indexOf(query.nodeName);
    this.reserve(this.count + words.length / ENDPOINT_WORDS);
    const { rows } = this;
    let row = this.count * ROW;
    for (let from = 0, i = 0; from < words.length; from += ENDPOINT_WORDS, i++, row += ROW) {
      for (let word = 0; word < 4; word++) rows[row + word] = words[from + word]!;
      const state = words[from + 4]!;
      const isLocal = here >= 0 && state >> 3 === here + 1;
      rows[row + PORT] = port;
      rows[row + STATE] = healthIn(state) | (isLocal ? Row.LOCAL : 0) | hintBits(hints?.[i], query);
      rows[row + WEIGHT] = weight;
    }
    this.count = row / ROW;
  }

  private reserve(count: number): void {
    if (count <= this.order.length) return;
    const rows = new Int32Array(count * 2 * ROW);
    rows.set(this.rows);
    this.rows = rows;
    this.order = new Int32Array(count * 2);
  }

  /** In order, and of equal ip:port only the best; local if one of them is. */
  private sort(): void {
    const { order, rows } = this;
    let isSorted = true;
    for (let i = 0; i < this.count; i++) {
      order[i] = i;
      if (isSorted && i > 0) isSorted = this.compare(i - 1, i) <= 0;
    }
    if (!isSorted) order.subarray(0, this.count).sort((a, b) => this.compare(a, b));
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      const row = order[i]!;
      if (i + 1 < this.count && this.isSame(row, order[i + 1]!)) {
        rows[order[i + 1]! * ROW + STATE]! |= rows[row * ROW + STATE]! & Row.LOCAL;
      } else order[kept++] = row;
    }
    this.count = kept;
  }

  /** By address and port; then by health, then by the rest, so that which came first decides nothing (M5). */
  private compare(a: number, b: number): number {
    const { rows } = this;
    const one = a * ROW;
    const two = b * ROW;
    for (let word = 0; word < PORT; word++) {
      if (rows[one + word] !== rows[two + word]) return (rows[one + word]! >>> 0) - (rows[two + word]! >>> 0);
    }
    const stateOne = rows[one + STATE]!;
    const stateTwo = rows[two + STATE]!;
    return (
      rows[one + PORT]! - rows[two + PORT]! ||
      healthIn(stateOne) - healthIn(stateTwo) ||
      stateOne - stateTwo ||
      rows[one + WEIGHT]! - rows[two + WEIGHT]!
    );
  }

  private isSame(a: number, b: number): boolean {
    for (let word = 0; word <= PORT; word++) {
      if (this.rows[a * ROW + word] !== this.rows[b * ROW + word]) return false;
    }
    return true;
  }

  /** S12, S13, S14, S31. */
  private choose({ usesCluster, usesLocal }: Query): void {
    let all = 0;
    let local = 0;
    let serves = false;
    /** Of the ready ones: what all have, what some have (S11). */
    let every = -1;
    let some = 0;
    for (let i = 0; i < this.count; i++) {
      const state = this.rows[this.order[i]! * ROW + STATE]!;
      if ((state & Health.SERVING) !== 0) serves = true;
      const use = usability(state);
      all |= use;
      if ((state & Row.LOCAL) !== 0) local |= use;
      if (use !== Use.READY) continue;
      every &= state;
      some |= state;
    }
    this.isUsable = all !== 0;
    const topology = topologyOf(every, some);
    const wantedAnywhere = preferred(all);
    const wantedHere = preferred(local);
    this.cluster = this.local = this.others = 0;
    for (let i = 0; i < this.count; i++) {
      const at = this.order[i]! * ROW + STATE;
      const state = this.rows[at]! & Row.GIVEN;
      const use = usability(state);
      const isNear = use !== Use.READY || (state & topology) === topology;
      const inCluster = usesCluster && use !== 0 && use === wantedAnywhere && isNear;
      const inLocal = usesLocal && (state & Row.LOCAL) !== 0 && use !== 0 && use === wantedHere;
      if (inCluster) this.cluster++;
      if (inLocal) this.local++;
      this.rows[at] = state | (inCluster ? Row.IN_CLUSTER : 0) | (inLocal ? Row.IN_LOCAL : 0);
    }
    for (let i = 0, next = 0; i < this.count; i = next) {
      next = this.group(i);
      if (this.isOther(i, next)) this.others++;
    }
    if (!serves) this.others = NONE_SERVES;
  }

  /** Does the address of these rows serve, and is in neither set? */
  private isOther(from: number, to: number): boolean {
    let union = 0;
    for (let i = from; i < to; i++) union |= this.rows[this.order[i]! * ROW + STATE]!;
    return (union & Health.SERVING) !== 0 && (union & (Row.IN_CLUSTER | Row.IN_LOCAL)) === 0;
  }

  /** One past the rows of the same address. */
  private group(from: number): number {
    const { rows, order } = this;
    const first = order[from]! * ROW;
    let at = from + 1;
    for (; at < this.count; at++) {
      const row = order[at]! * ROW;
      for (let word = 0; word < PORT; word++) if (rows[row + word] !== rows[first + word]) return at;
    }
    return at;
  }
}

function hintBits(hints: Hints | undefined, { nodeName, zone }: Query): number {
  if (hints === undefined) return 0;
  const { nodes, zones } = hints;
  return (
    (nodes.length > 0 ? Row.HAS_NODES : 0) |
    (nodes.includes(nodeName) ? Row.FOR_NODE : 0) |
    (zones.length > 0 ? Row.HAS_ZONES : 0) |
    (zone !== '' && zones.includes(zone) ? Row.FOR_ZONE : 0)
  );
}

/** Whether an endpoint takes new flows: at once, or only where none is ready. */
const enum Use {
  READY = 1,
  /** Serves while it terminates. */
  LAST_RESORT = 2,
}

function usability(state: number): number {
  if ((state & Health.READY) !== 0) return Use.READY;
  return (state & (Health.SERVING | Health.STAYS)) === Health.SERVING ? Use.LAST_RESORT : 0;
}

/** Of the usabilities there are, the one that is used. */
const preferred = (there: number): number =>
  (there & Use.READY) !== 0 ? Use.READY : there & Use.LAST_RESORT;

/** The bit a ready endpoint must have to be near enough; 0 = all are (S11). */
function topologyOf(every: number, some: number): number {
  if ((every & Row.HAS_NODES) !== 0 && (some & Row.FOR_NODE) !== 0) return Row.FOR_NODE;
  if ((every & Row.HAS_ZONES) !== 0 && (some & Row.FOR_ZONE) !== 0) return Row.FOR_ZONE;
  return 0;
}
