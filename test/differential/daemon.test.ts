/** Some of kernel.test.ts's frames through a real daemon: what it delivers is what the dataplane in memory does. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernel } from '../card/kernel.ts';
import { DaemonWorld } from './daemon-world.ts';
import { icmpType, describe as tell } from './frame-views.ts';
import { type Step, Traffic } from './traffic.ts';
import { TwillWorld } from './twill-world.ts';
import { type Delivery, GATEWAYS, MTU } from './world.ts';

const FRAMES = Number(process.env.TWILL_DIFFERENTIAL_DAEMON_FRAMES ?? 2000);
const SEED = Number(process.env.TWILL_DIFFERENTIAL_SEED ?? 20_261);

/** What a raw socket can send and tell: no more than the MTU, and no VLAN tag, which its kernel takes off. */
const isSendable = (step: Step & { kind: 'frame' }): boolean =>
  [step.frame, ...(step.more ?? [])].every(
    (frame) => frame.length <= MTU + 14 && !(frame[12] === 0x81 && frame[13] === 0),
  );

/** All but the gateway's ICMP errors: how many there are depends on the time between them (N10). */
const comparable = (deliveries: readonly Delivery[]): string[] =>
  deliveries
    .filter(({ frame }) => icmpType(frame) === '' || icmpType(frame) === '0/0' || !isFromGateway(frame))
    .map(tell)
    .sort();
const isFromGateway = (frame: Uint8Array): boolean => GATEWAYS.includes(frame.subarray(26, 30).join('.'));

describe.skipIf(!kernel)('a daemon beside its dataplane in memory', () => {
  const daemon = new DaemonWorld();
  beforeAll(() => daemon.start(), 60_000);
  afterAll(() => daemon.close());

  it('N2, S15, S24, S26: the same frames come out of real interfaces and sockets', async () => {
    const memory = new TwillWorld(SEED);
    const traffic = new Traffic(SEED, 'bridged');
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
      const found = comparable(await daemon.send(step.place, all));
      if (found.join() !== comparable(expected).join()) {
        expect({ step: step.label, frames, found }).toEqual({
          step: step.label,
          frames,
          found: comparable(expected),
        });
      }
      delivered += found.length > 0 ? 1 : 0;
      traffic.observe(expected, false);
    }
    expect(delivered).toBeGreaterThan(FRAMES / 2);
  }, 120_000);
});
