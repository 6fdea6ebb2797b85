/**
 * Where Twill and the kernel differ, on purpose or not yet. Each has an entry in docs/differences.md that says why, and
 * is met in every run: a difference that is no more must go from both places.
 */
import {
  answersWithReset,
  changed,
  complains,
  type Difference,
  isFromRouter,
  isToGateway,
  isToRouter,
  isVip,
  macBytes,
  map,
  NOTHING,
} from './difference.ts';
import { OUTSIDE_DIFFERENCES } from './differences-outside.ts';
import {
  copyOf,
  familyIn,
  fixed,
  hopsAt,
  icmpType,
  isReset,
  isSound,
  withHops,
  withoutPadding,
} from './frame-views.ts';
import { L4, view } from './packets.ts';
import { type Delivery, GATEWAY_MAC, hasHost, isBridged, isPod, ROUTER_MAC } from './world.ts';

export const DIFFERENCES: readonly Difference[] = [
  ...OUTSIDE_DIFFERENCES,
  {
    id: 'fragment-numbers',
    resolve: (pair) => {
      const unnumbered = ({ frame }: Delivery): Uint8Array | null => {
        if (view(frame)?.family !== 6 || frame[20] !== 44) return null;
        return copyOf(frame).fill(0, 58, 62);
      };
      return changed(pair, { twill: map(pair.twill, unnumbered), kernel: map(pair.kernel, unnumbered) });
    },
  },
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
    resolve: (pair) => {
      const plain = ({ frame }: Delivery): Uint8Array | null => {
        if (!isFromRouter(frame) || !isSound(frame)) return null;
        const family = familyIn(frame)!;
        const copy = copyOf(frame);
        if (family === 4) {
          copy[15] = 0;
          copy.fill(0, 18, 22);
        } else {
          copy[14] = 0x60;
          copy.fill(0, 15, 18);
        }
        // what is quoted: the kernel has counted the hop already
        if (icmpType(frame).startsWith('3/')) {
          const quoted = L4[family] + 8;
          copy[hopsAt(family, quoted)] = 0;
          if (family === 4) copy.fill(0, quoted + 10, quoted + 12);
        }
        return fixed(copy);
      };
      return changed(pair, { twill: map(pair.twill, plain), kernel: map(pair.kernel, plain) });
    },
  },
  {
    id: 'icmp-rate',
    resolve: (pair, met) => {
      const isKept = met.isSuppressed && pair.twill.length === 0 && pair.kernel.length === 1;
      if (isKept && isFromRouter(pair.kernel[0]!.frame)) return NOTHING;
      // the kernel has a limit of its own where it finds no route: one a second, five at once
      const isUnroutable = complains(pair.twill, met, '3/0') || complains(pair.twill, met, '11/0');
      if (isUnroutable && !isVip(met.sent.frame) && pair.kernel.length === 0) return NOTHING;
      // and so has the kernel of Twill's host
      const isHostSilent = hasHost(met.mode) && pair.twill.length === 0 && complains(pair.kernel, met, '3/0');
      return isHostSilent && !isVip(met.sent.frame) ? NOTHING : null;
    },
  },
  {
    id: 'refuse-by-reset',
    resolve: (pair, met) =>
      answersWithReset(pair, met) && complains(pair.kernel, met, '3/3') ? NOTHING : null,
  },
  {
    id: 'mid-stream',
    taints: true,
    resolve: (pair, met) => (answersWithReset(pair, met) && pair.kernel.length === 0 ? NOTHING : null),
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
      isBridged(mode) && sent.label === 'fragment' && kernel.length === 0 && twill.length === 1
        ? NOTHING
        : null,
  },
  {
    id: 'bridged-cut',
    resolve: ({ twill, kernel }, { sent, mode }) =>
      isBridged(mode) &&
      sent.label === 'tooBigToCut' &&
      !isToGateway(sent) &&
      kernel.length > 1 &&
      twill.length === 0
        ? NOTHING
        : null,
  },
  {
    id: 'bridged-headers',
    resolve: ({ twill, kernel }, { sent, mode }) =>
      isBridged(mode) &&
      !isToGateway(sent) &&
      ['badSum', 'brokenIp', 'short', 'otherType'].includes(sent.label) &&
      kernel.length === 0 &&
      twill.length === 1
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
      isToRouter(met.sent)
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
      if (!isBridged(mode) || !isToRouter(sent)) return null;
      const kernel = map(pair.kernel, ({ frame }) => {
        if (
          familyIn(frame) === undefined ||
          !sent.frame.subarray(6, 12).every((byte, i) => frame[6 + i] === byte)
        )
          return null;
        const copy = withHops(frame, -1);
        copy.set(macBytes(GATEWAY_MAC), 6);
        return copy;
      });
      return changed(pair, { ...pair, kernel });
    },
  },
  {
    id: 'hairpin-port',
    taints: true,
    resolve: ({ twill, kernel }, { sent, mode }) =>
      isBridged(mode) &&
      kernel.length === 0 &&
      twill.length === 1 &&
      twill[0]!.to === sent.place &&
      isToGateway(sent)
        ? NOTHING
        : null,
  },
  {
    id: 'padding',
    resolve: (pair, { mode }) =>
      isBridged(mode)
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
