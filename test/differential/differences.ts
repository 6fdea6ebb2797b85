/**
 * Where Twill and the kernel differ, on purpose or not yet. Each has an entry in docs/differences.md that says why, and
 * is met in every run: a difference that is no more must go from both places.
 */
import { ip4, readIpv4 } from '../frames.ts';
import type { Outgoing } from './connection.ts';
import {
  copyOf,
  fixIpv4,
  hasIpv4,
  icmpType,
  isReset,
  sameDeliveries,
  withoutPadding,
} from './frame-views.ts';
import type { Mode } from './services.ts';
import { type Delivery, GATEWAY_MAC, GATEWAYS, isPod, ROUTER_MAC, SERVICE_CIDR } from './world.ts';

export interface Pair {
  readonly twill: readonly Delivery[];
  readonly kernel: readonly Delivery[];
}

export interface Met {
  readonly sent: Outgoing;
  readonly mode: Mode;
  /** Twill kept an ICMP error back (N10). */
  readonly isSuppressed: boolean;
  /** The endpoint of the frame's UDP flow left its service. */
  readonly isStale: boolean;
}

export interface Difference {
  readonly id: string;
  /** Takes the difference out of what was delivered; null when it is not there. */
  readonly resolve: (pair: Pair, met: Met) => Pair | null;
  /** What both know of the connection may differ from here on. */
  readonly taints?: boolean;
}

const NOTHING: Pair = { twill: [], kernel: [] };
const SERVICE_PREFIX = ip4(SERVICE_CIDR.split('/')[0]!).slice(0, 2).join('.');

const isFromGateway = (frame: Uint8Array): boolean =>
  hasIpv4(frame) && (GATEWAYS.includes(readIpv4(frame).from) || isReset(frame));
const isVip = (frame: Uint8Array): boolean =>
  hasIpv4(frame) && readIpv4(frame).to.startsWith(`${SERVICE_PREFIX}.`);
const destination = (frame: Uint8Array): string => Buffer.from(frame.subarray(0, 6)).toString('hex');
const GATEWAY_HEX = GATEWAY_MAC.replaceAll(':', '');
const isToGateway = ({ frame }: Outgoing): boolean => destination(frame) === GATEWAY_HEX;
const macBytes = (text: string): number[] => text.split(':').map((byte) => Number.parseInt(byte, 16));

/** The same change of every frame it applies to, on one side or both. */
function map(list: readonly Delivery[], change: (delivery: Delivery) => Uint8Array | null): Delivery[] {
  return list.map((delivery) => ({ to: delivery.to, frame: change(delivery) ?? delivery.frame }));
}

/** A pair when something changed. */
function changed(before: Pair, after: Pair): Pair | null {
  return sameDeliveries(before.twill, after.twill) && sameDeliveries(before.kernel, after.kernel)
    ? null
    : after;
}

/** Twill resets, the kernel says nothing or (port unreachable) so. */
const answersWithReset = ({ twill }: Pair, { sent }: Met): boolean =>
  twill.length === 1 && twill[0]!.to === sent.place && isReset(twill[0]!.frame);
const complains = (list: readonly Delivery[], { sent }: Met, type: string): boolean =>
  list.length === 1 && list[0]!.to === sent.place && icmpType(list[0]!.frame) === type;

export const DIFFERENCES: readonly Difference[] = [
  {
    id: 'router-mac',
    resolve: (pair) => {
      const twill = map(pair.twill, ({ to, frame }) => {
        if (isPod(to) || !macBytes(ROUTER_MAC).every((byte, i) => frame[6 + i] === byte)) return null;
        const copy = copyOf(frame);
        copy.set(macBytes(GATEWAY_MAC), 6);
        return copy;
      });
      return changed(pair, { ...pair, twill });
    },
  },
  {
    id: 'own-header',
    resolve: (pair, { sent }) => {
      const plain = ({ frame }: Delivery): Uint8Array | null => {
        if (!isFromGateway(frame) || frame[14] !== 0x45) return null;
        const copy = copyOf(frame);
        copy[15] = 0;
        copy.fill(0, 18, 22);
        // what is quoted: the kernel has counted the hop already
        if (icmpType(frame) !== '' && copy[34] === 3 && sent.frame[22] !== undefined) {
          copy[42 + 8] = 0;
          copy.fill(0, 42 + 10, 42 + 12);
        }
        return fixIpv4(copy);
      };
      return changed(pair, { twill: map(pair.twill, plain), kernel: map(pair.kernel, plain) });
    },
  },
  {
    id: 'icmp-rate',
    resolve: (pair, met) => {
      const isKept = met.isSuppressed && pair.twill.length === 0 && pair.kernel.length === 1;
      if (isKept && isFromGateway(pair.kernel[0]!.frame)) return NOTHING;
      // the kernel has a limit of its own where it finds no route: one a second, five at once
      const isUnroutable = complains(pair.twill, met, '3/0') || complains(pair.twill, met, '11/0');
      return isUnroutable && !isVip(met.sent.frame) && pair.kernel.length === 0 ? NOTHING : null;
    },
  },
  {
    id: 'refuse-by-reset',
    resolve: (pair, met) =>
      isVip(met.sent.frame) && answersWithReset(pair, met) && complains(pair.kernel, met, '3/3')
        ? NOTHING
        : null,
  },
  {
    id: 'mid-stream',
    taints: true,
    resolve: (pair, met) =>
      isVip(met.sent.frame) && answersWithReset(pair, met) && pair.kernel.length === 0 ? NOTHING : null,
  },
  {
    id: 'refused-is-forgotten',
    taints: true,
    resolve: ({ twill, kernel }, { sent }) =>
      sent.label === 'after refusal' && twill.length + kernel.length === 1 ? NOTHING : null,
  },
  {
    id: 'anycast-gateway',
    resolve: (pair, { sent }) => {
      const asks = sent.label === 'arpGateway';
      const isTunnelled = !isPod(sent.place);
      if (!(asks || (isTunnelled && isToGateway(sent)))) return null;
      const answers = pair.kernel.filter(({ to }) => to === sent.place);
      return isTunnelled
        ? changed(pair, { twill: pair.twill, kernel: [] })
        : changed(pair, { twill: pair.twill, kernel: answers });
    },
  },
  {
    id: 'static-move',
    resolve: (pair, { sent }) => (sent.label === 'staticMove' && pair.twill.length === 0 ? NOTHING : null),
  },
  {
    id: 'reserved-groups',
    resolve: (pair, { sent }) =>
      sent.label === 'reserved' && pair.twill.length === 0 && sent.frame[5]! < 16 ? NOTHING : null,
  },
  {
    id: 'bad-checksum',
    taints: true,
    resolve: (pair, { sent }) =>
      sent.label === 'bad checksum' && pair.kernel.length === 0 && pair.twill.length === 1 ? NOTHING : null,
  },
  {
    id: 'last-hop-first',
    resolve: (pair, met) =>
      complains(pair.twill, met, '11/0') && complains(pair.kernel, met, '3/0') ? NOTHING : null,
  },
  {
    id: 'bridged-fragments',
    resolve: ({ twill, kernel }, { sent, mode }) =>
      mode === 'bridged' && sent.label === 'fragment' && kernel.length === 0 && twill.length === 1
        ? NOTHING
        : null,
  },
  {
    id: 'bridged-headers',
    resolve: ({ twill, kernel }, { sent, mode }) =>
      mode === 'bridged' &&
      !isToGateway(sent) &&
      ['badSum', 'brokenIp', 'short', 'otherType'].includes(sent.label) &&
      kernel.length === 0 &&
      twill.length === 1
        ? NOTHING
        : null,
  },
  {
    id: 'header-checksum',
    resolve: ({ twill, kernel }, { sent }) =>
      sent.label === 'badSum' && isToGateway(sent) && kernel.length === 0 && twill.length === 1
        ? NOTHING
        : null,
  },
  {
    id: 'broken-ip-in-tunnels',
    resolve: (pair, { sent }) => {
      if (sent.label !== 'short' || sent.frame[12] !== 8 || sent.frame[13] !== 0) return null;
      const untunnelled = isPod(sent.place) ? pair.twill.filter(({ to }) => isPod(to)) : [];
      return changed(pair, { twill: untunnelled, kernel: pair.kernel });
    },
  },
  {
    id: 'invalid-to-gateway',
    taints: true,
    resolve: (pair, met) =>
      pair.twill.length === 0 &&
      pair.kernel.length === 1 &&
      isReset(pair.kernel[0]!.frame) &&
      isToGateway(met.sent)
        ? NOTHING
        : null,
  },
  {
    id: 'stale-udp',
    taints: true,
    resolve: (_pair, { isStale }) => (isStale ? NOTHING : null),
  },
  {
    id: 'bridged-translation',
    resolve: (pair, { sent, mode }) => {
      if (mode !== 'bridged' || !isToGateway(sent)) return null;
      const kernel = map(pair.kernel, ({ frame }) => {
        if (!hasIpv4(frame) || !sent.frame.subarray(6, 12).every((byte, i) => frame[6 + i] === byte))
          return null;
        const copy = copyOf(frame);
        copy.set(macBytes(GATEWAY_MAC), 6);
        copy[22]!--;
        return fixIpv4(copy);
      });
      return changed(pair, { ...pair, kernel });
    },
  },
  {
    id: 'hairpin-port',
    taints: true,
    resolve: ({ twill, kernel }, { sent, mode }) =>
      mode === 'bridged' &&
      kernel.length === 0 &&
      twill.length === 1 &&
      twill[0]!.to === sent.place &&
      isVip(sent.frame)
        ? NOTHING
        : null,
  },
  {
    id: 'padding',
    resolve: (pair, { mode }) =>
      mode === 'bridged'
        ? changed(pair, { twill: map(pair.twill, ({ frame }) => withoutPadding(frame)), kernel: pair.kernel })
        : null,
  },
  {
    id: 'too-big-bridged',
    resolve: (pair, met) =>
      met.sent.label === 'tooBig' &&
      !isToGateway(met.sent) &&
      pair.kernel.length === 0 &&
      complains(pair.twill, met, '3/4')
        ? NOTHING
        : null,
  },
];
