/**
 * Twill's side: documents through the control plane, frames through the dataplane on a card in memory. Where the host
 * has a port, its kernel is a real one: what goes by that port goes through it, to the outside and back.
 */
import { TxStatus } from '../../src/card/layout.ts';
import { MemoryCard, type MemoryFrame } from '../../src/card/memory-card.ts';
import { checkSet } from '../../src/control/check.ts';
import { compile } from '../../src/control/compile.ts';
import { diff } from '../../src/control/diff.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { ServiceBook } from '../../src/control/services.ts';
import { type Surroundings, surroundingsOf } from '../../src/control/surroundings.ts';
import type { Resource } from '../../src/control/types.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { Counters, Global } from '../../src/telemetry/counters.ts';
import { address4 } from '../fabric.ts';
import { documents, fabric } from './documents.ts';
import { type FromHost, HostKernel } from './host-kernel.ts';
import type { Change } from './spec.ts';
import { type Delivery, HOST_PORT, hasHost, type Mode, OUTSIDE, PEERS, VNI, type World } from './world.ts';

const TURNS_PER_SECOND = 10;

export class TwillWorld implements World {
  readonly counters = new Counters();
  readonly #card = new MemoryCard();
  readonly #dataplane: Dataplane;
  readonly #book = new ServiceBook();
  readonly #resources = new Map<string, readonly Resource[]>();
  readonly #devices = new Map<string, number>();
  readonly #places = new Map<number, string>();
  readonly #underlay: number;
  readonly #surroundings: Surroundings;
  readonly #host: HostKernel | undefined;
  /** Frames on their way to the host. */
  readonly #toHost: Uint8Array[] = [];
  #sent: Delivery[] = [];

  constructor(seed: number, mode: Mode) {
    this.#dataplane = new Dataplane(this.#card, this.counters, seed);
    const resources = read(fabric(hasHost(mode)));
    const { problems } = checkSet(resources);
    if (problems.length > 0) throw new Error(problems.map(formatProblem).join('\n'));
    const generation = compile(resources, { mtuTowards: () => 1500 }, null);
    this.#surroundings = surroundingsOf(resources);
    this.#underlay = generation.underlays[0]!.device;
    for (const { config } of generation.ports) {
      this.#devices.set(config.name, config.device);
      this.#places.set(config.device, config.name);
    }
    this.#card.onSend = (frame) => {
      if (frame.device === this.#devices.get(HOST_PORT.name)) this.#toHost.push(frame.bytes);
      else this.#sent.push(this.#delivery(frame));
      return TxStatus.SENT;
    };
    this.#dataplane.apply(diff(null, generation).ops);
    this.#host = hasHost(mode) ? new HostKernel(resources) : undefined;
    this.wait(5000); // announcements (A15)
  }

  /** How often an ICMP error was not sent because of N10: the switch says so ten times a second. */
  suppressed(): number {
    this.wait(1000 / TURNS_PER_SECOND);
    return this.counters.globals[Global.ICMP_SUPPRESSED]!;
  }

  send(place: string, frames: readonly Uint8Array[]): Delivery[] {
    this.#sent = []; // what time brought is nobody's answer
    this.#host?.discard();
    const device = this.#devices.get(place);
    for (const frame of frames) {
      if (place === OUTSIDE) this.#take(this.#host!.fromOutside(frame));
      else if (device !== undefined) this.#card.receive({ device, bytes: frame });
      else {
        const remote = address4(PEERS[place]!);
        this.#card.receive({ device: this.#underlay, bytes: tunnelled(frame), remote });
      }
      this.#turn();
    }
    return this.#sent;
  }

  change({ name, before, after }: Change): void {
    const old = this.#resources.get(name) ?? [];
    const next = after ? read(documents(after)) : [];
    const pairs = Array.from({ length: Math.max(old.length, next.length) }, (_, i) => ({
      before: before ? old[i] : undefined,
      after: next[i],
    }));
    const staged = this.#book.stage(pairs, this.#surroundings, false);
    if (staged.problems.length > 0) throw new Error(staged.problems.map(formatProblem).join('\n'));
    for (const _ of this.#dataplane.steps([], staged.batch)) this.#dataplane.turn();
    staged.commit();
    this.#host?.commit(pairs);
    this.#resources.set(name, next);
  }

  /** Lets time pass. */
  wait(ms: number): void {
    for (let left = ms; left > 0; left -= 1000 / TURNS_PER_SECOND) {
      this.#card.now = (this.#card.now + 1000 / TURNS_PER_SECOND) | 0;
      this.#turn();
    }
  }

  close(): void {
    this.#host?.close();
  }

  /** Until nothing is on its way, to the host and back either. */
  #turn(): void {
    do {
      do this.#dataplane.turn();
      while (this.#card.pending > 0);
      this.#dataplane.turn();
      for (const frame of this.#toHost.splice(0)) this.#take(this.#host!.fromTwill(frame));
    } while (this.#card.pending > 0);
  }

  #take({ inward, outward }: FromHost): void {
    const device = this.#devices.get(HOST_PORT.name)!;
    for (const bytes of inward) this.#card.receive({ device, bytes });
    this.#sent.push(...outward.map((frame) => ({ to: OUTSIDE, frame })));
  }

  #delivery({ device, bytes, remote }: MemoryFrame): Delivery {
    if (device !== this.#underlay)
      return { to: this.#places.get(device) ?? `device ${device}`, frame: bytes };
    const peer = Object.entries(PEERS).find(([, address]) => address4(address)[3] === remote![3]);
    return { to: peer?.[0] ?? `underlay ${remote}`, frame: bytes.subarray(8) };
  }
}

const tunnelled = (frame: Uint8Array): Uint8Array =>
  Uint8Array.from([8, 0, 0, 0, 0, VNI >> 8, VNI & 255, 0, ...frame]);

function read(list: readonly object[]): Resource[] {
  const { resources, problems } = parseSources([
    { file: 'differential', text: JSON.stringify({ kind: 'List', items: list }) },
  ]);
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join('\n'));
  return [...resources];
}
