/** Some of kernel.test.ts's frames through a real daemon: what it delivers is what the dataplane in memory does. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernel } from '../card/kernel.ts';
import { DaemonWorld } from './daemon-world.ts';
import { isError, type Met, type Pair } from './difference.ts';
import { DIFFERENCES } from './differences.ts';
import { sameDeliveries, describe as tell } from './frame-views.ts';
import { view } from './packets.ts';
import { type Step, Traffic } from './traffic.ts';
import { TwillWorld } from './twill-world.ts';
import { type Delivery, GATEWAYS, type Mode, MTU } from './world.ts';

const FRAMES = Number(process.env.TWILL_DIFFERENTIAL_DAEMON_FRAMES ?? 2000);
const SEED = Number(process.env.TWILL_DIFFERENTIAL_SEED ?? 20_261);

const MODE: Mode = 'bridged, with a host';

/** What a raw socket can send and tell: no more than the MTU, and no VLAN tag, which its kernel takes off. */
const isSendable = (step: Step & { kind: 'frame' }): boolean =>
  [step.frame, ...(step.more ?? [])].every(
    (frame) => frame.length <= MTU + 14 && !(frame[12] === 0x81 && frame[13] === 0),
  );

/** What no two runs have in common: numbers of the host's own packets and fragments, ports drawn by chance. */
const CHANCE = DIFFERENCES.filter(({ id }) => ['own-header', 'fragment-numbers', 'clash-port'].includes(id));

/**
 * All but Twill's own ICMP errors: how many there are depends on the time between them (N10). They are the gateway's, or
 * those of the address that a client outside asked; what is no error makes no other.
 */
const comparable = (deliveries: readonly Delivery[], sent: Uint8Array): Delivery[] =>
  deliveries.filter(({ frame }) => {
    if (!isError(frame)) return true;
    const { from } = view(frame)!;
    return !GATEWAYS.includes(from) && (isError(sent) || from !== view(sent)?.to);
  });

describe.skipIf(!kernel)(`a daemon beside its dataplane in memory, seed ${SEED}`, () => {
  const daemon = new DaemonWorld();
  let memory: TwillWorld;
  beforeAll(async () => {
    memory = new TwillWorld(SEED, MODE);
    await daemon.start();
  }, 60_000);
  afterAll(async () => {
    memory?.close();
    await daemon.close();
  });

  it('N2, S15, S19, S21, S22, S24, S26: the same frames come out of real interfaces and sockets', async () => {
    const traffic = new Traffic(SEED, MODE);
    let [frames, delivered] = [0, 0];
    while (frames < FRAMES) {
      const step = traffic.next();
      if (step.kind === 'wait') memory.wait(step.ms);
      if (step.kind === 'change') {
        memory.change(step.change);
        await daemon.change(step.change);
      }
      if (step.kind !== 'frame' || !isSendable(step)) continue;
      frames++;
      const all = [step.frame, ...(step.more ?? [])];
      const expected = memory.send(step.place, all);
      const found = await daemon.send(step.place, all);
      const met: Met = {
        sent: step,
        mode: MODE,
        isSuppressed: false,
        isStale: false,
        isShared: traffic.isShared,
      };
      let pair: Pair = {
        twill: comparable(expected, step.frame),
        kernel: comparable(found, step.frame),
      };
      let isTainted = false;
      for (const { resolve, taints } of CHANCE) {
        const next = resolve(pair, met);
        pair = next ?? pair;
        isTainted ||= next !== null && taints === true;
      }
      if (!sameDeliveries(pair.twill, pair.kernel)) {
        const list = (deliveries: readonly Delivery[]) => deliveries.map(tell).sort();
        expect({ step: step.label, frames, found: list(found) }).toEqual({
          ...{ step: step.label, frames },
          found: list(expected),
        });
      }
      delivered += found.length > 0 ? 1 : 0;
      traffic.observe(expected, isTainted);
    }
    expect(delivered).toBeGreaterThan(FRAMES / 2);
  }, 120_000);
});
