/**
 * As whom flows appear at endpoints, against a map of every tuple that answers can have: tens of thousands of flows that
 * open, close and expire, so many for so few ports that they run out, while the table changes its size.
 *
 *   TWILL_PROPERTY_SEED   which flows
 */
import { describe, expect, it } from 'vitest';
import { Flows } from '../../src/conntrack/flows.ts';
import { TcpState } from '../../src/conntrack/tcp-state.ts';
import { UdpState } from '../../src/conntrack/timeouts.ts';
import { TUPLE_WORDS } from '../../src/conntrack/tuple.ts';
import type { Address } from '../../src/dataplane/config.ts';
import { Locations } from '../../src/fabric/locations.ts';
import { Networks } from '../../src/fabric/networks.ts';
import { HostRules } from '../../src/service/host-rules.ts';
import { SourceNat } from '../../src/service/snat.ts';
import { address4, port } from '../fabric.ts';
import { address6, dualNetwork } from '../fabric6.ts';
import { Random } from '../random.ts';

const OPERATIONS = 60_000;
const SEED = Number(process.env.TWILL_PROPERTY_SEED ?? 20_261);
/** So few that they run out. */
const NAT_PORTS = [61_000, 61_023] as const;
const LIMITS = [4096, 6000, 8192] as const;
const FIRST_PORT = 1024;
const POD = 2;
const TIMEOUTS = { udp: 120_000, tcp: 240_000 };

interface World {
  readonly host: Address;
  readonly gateway: Address;
  readonly clients: readonly Address[];
  /** The first is a client too. */
  readonly endpoints: readonly Address[];
}

const near = (prefix: string, address: (text: string) => Address, last: readonly number[]): Address[] =>
  last.map((n) => address(prefix + n));
const WORLDS: readonly World[] = [
  {
    host: address4('10.77.0.13'),
    gateway: address4('10.77.0.1'),
    clients: near('10.77.0.', address4, [20, 21, 22, 23]),
    endpoints: near('10.77.0.', address4, [20, 40, 41]),
  },
  {
    host: address6('fd00:77::13'),
    gateway: address6('fd00:77::1'),
    clients: near('fd00:77::', address6, [20, 21, 22, 23]),
    endpoints: near('fd00:77::', address6, [20, 40, 41]),
  },
];

/** A client's packet to a service, and what it is given. */
interface Asked {
  readonly tuple: Int32Array;
  readonly protocol: number;
  readonly client: Address;
  readonly endpoint: Address;
  readonly sport: number;
  readonly isMasked: boolean;
}

interface Known {
  readonly tuple: Int32Array;
  readonly answer: string;
  expires: number;
}

const keyOf = (words: ArrayLike<number>): string => Array.from(words).join(' ');
const same = (a: Address, b: Address): boolean => a.every((word, i) => word === b[i]);

class Pair {
  readonly flows = new Flows(LIMITS[0], SEED);
  readonly rules = new HostRules();
  readonly nat: SourceNat;
  readonly random = new Random(SEED);
  /** By what their answers look like, and by their own tuple. */
  readonly answers = new Map<string, Known>();
  readonly known = new Map<string, Known>();
  readonly #isRandom: boolean;
  now = 0;
  readonly met = { moved: 0, kept: 0, refused: 0, hairpin: 0, resized: 0 };

  constructor(isRandom: boolean) {
    this.#isRandom = isRandom;
    const networks = new Networks();
    const locations = new Locations();
    networks.set(dualNetwork());
    const hostPort = port('c', { isHost: true, addresses: WORLDS.map(({ host }) => host) });
    locations.setPort(hostPort);
    networks.setHostPort(hostPort);
    this.rules.set({
      underlayAddresses: [],
      vxlanPorts: [],
      maxFlows: 1,
      natPorts: NAT_PORTS,
      natRandom: isRandom,
    });
    this.nat = new SourceNat(networks, locations, this.flows, this.rules, SEED);
  }

  step(): void {
    const kind = this.random.weighted({ open: 800, close: 150, wait: 30, sweep: 10, resize: 2 });
    if (kind === 'open') this.#open(this.#draw());
    else if (kind === 'close') this.#close();
    else if (kind === 'wait') this.now += this.random.pick([1, 1000, 10_000]);
    else if (kind === 'sweep') this.flows.sweep(this.now, this.flows.extent);
    else {
      this.flows.resize(Math.max(this.random.pick(LIMITS), this.flows.count));
      this.met.resized++;
    }
    for (const flow of [...this.known.values()]) if (flow.expires <= this.now) this.#forget(flow);
  }

  #draw(): Asked {
    const { random } = this;
    const { clients, endpoints } = random.pick(WORLDS);
    const client = random.pick(clients);
    const protocol = random.pick([6, 17]);
    const sport = random.chance(50) ? 40_000 + random.below(8) : NAT_PORTS[0] + random.below(24);
    const vip: Address = [client[0], client[1], client[2], 0x0a60000a + random.below(3)];
    const tuple = Int32Array.of(
      ...[protocol, (sport << 16) | 80, client[3], vip[3]],
      ...[client[0], client[1], client[2], vip[0], vip[1], vip[2]],
    );
    return { tuple, protocol, client, endpoint: random.pick(endpoints), sport, isMasked: random.chance(60) };
  }

  #open(asked: Asked): void {
    const { flows, nat, now } = this;
    const { tuple, protocol, client, endpoint, isMasked, sport } = asked;
    const isKnown = flows.find(tuple, flows.hash(tuple), now) >= 0;
    if (isKnown !== this.known.has(keyOf(tuple)))
      expect.fail(`${keyOf(tuple)} is ${isKnown ? 'still' : 'not'} there`);
    if (isKnown) return;
    const { host, gateway } = WORLDS.find(({ clients }) => clients.includes(client))!;
    const isHairpin = same(client, endpoint);
    const as = isHairpin ? gateway : isMasked ? host : client;
    const hidden = isMasked && !isHairpin;
    const answerTo = (to: number): string =>
      keyOf([
        ...[protocol, (8080 << 16) | to, endpoint[3], as[3]],
        ...[endpoint[0], endpoint[1], endpoint[2], as[0], as[1], as[2]],
      ]);
    const words = Int32Array.of(...endpoint, (1 << 16) | 8080);
    const isGiven = nat.fit(tuple, POD, words, 0, isMasked, now);
    const range = Array.from({ length: NAT_PORTS[1] - NAT_PORTS[0] + 1 }, (_, i) => NAT_PORTS[0] + i);
    const isOwnFree = !this.answers.has(answerTo(sport));
    const mayKeep = isOwnFree && !(hidden && this.#isRandom);
    if (!isGiven) {
      // nothing was left: N28
      if (!hidden || mayKeep || range.some((to) => !this.answers.has(answerTo(to))))
        expect.fail(`refused, though there is a port: ${answerTo(sport)}`);
      this.met.refused++;
      return;
    }
    const given = nat.reply[1]! & 0xffff;
    if (keyOf(nat.reply) !== answerTo(given)) expect.fail(`${keyOf(nat.reply)} is not ${answerTo(given)}`);
    if (this.answers.has(answerTo(given))) expect.fail(`${answerTo(given)} is another flow's`);
    if (mayKeep ? given !== sport : given === sport && !isOwnFree) expect.fail(`${sport} became ${given}`);
    if (hidden && given !== sport && !range.includes(given)) expect.fail(`${given} is none of nat.ports`);
    if (given < FIRST_PORT) expect.fail(`${given} is privileged`);
    const state = protocol === 6 ? TcpState.SYN_SENT : UdpState.UNREPLIED;
    const row = flows.add(tuple, nat.reply, state, now);
    if (row < 0) return;
    const isTranslated = given !== sport || as !== client;
    expect(flows.isSnat(row)).toBe(isTranslated);
    const ms = this.#idle(protocol, isTranslated);
    const flow = { tuple, answer: answerTo(given), expires: now + ms };
    this.known.set(keyOf(tuple), flow);
    this.answers.set(flow.answer, flow);
    this.met[given === sport ? 'kept' : 'moved']++;
    if (isHairpin) this.met.hairpin++;
  }

  /** N20, N21. */
  #idle(protocol: number, isTranslated: boolean): number {
    if (protocol === 17) return isTranslated ? TIMEOUTS.udp : 30_000;
    return isTranslated ? TIMEOUTS.tcp : 120_000;
  }

  #close(): void {
    const keys = [...this.known.keys()];
    if (keys.length === 0) return;
    const flow = this.known.get(this.random.pick(keys))!;
    this.flows.remove(this.flows.seek(flow.tuple) >> 1);
    this.#forget(flow);
  }

  #forget(flow: Known): void {
    this.known.delete(keyOf(flow.tuple));
    this.answers.delete(flow.answer);
  }

  /** Every flow is found by both of its tuples, and no other. */
  compare(): void {
    const reply = new Int32Array(TUPLE_WORDS);
    for (const { tuple, answer } of this.known.values()) {
      const at = this.flows.find(tuple, this.flows.hash(tuple), this.now);
      reply.set(answer.split(' ').map(Number));
      if (at < 0 || this.flows.find(reply, this.flows.hash(reply), this.now) !== (at ^ 1))
        expect.fail(`${keyOf(tuple)} and ${answer} are not one flow`);
    }
    this.flows.sweep(this.now, this.flows.extent);
    this.flows.sweep(this.now, this.flows.extent);
    expect(this.flows.count).toBe(this.known.size);
  }
}

describe('source ports, long', () => {
  it.each([false, true])(
    'N21, N23, N26, N28, N31: no two flows have one tuple, and none is refused while a port is left; nat.random %s',
    (isRandom) => {
      const pair = new Pair(isRandom);
      for (let i = 1; i <= OPERATIONS; i++) {
        pair.step();
        if (i % 5000 === 0) pair.compare();
      }
      for (const count of Object.values(pair.met)) expect(count).toBeGreaterThan(20);
    },
    60_000,
  );
});
