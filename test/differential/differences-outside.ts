/** Differences where the host has a port: its kernel is a router more, and answers for itself. */
import { changed, type Difference, isError, macBytes, map, NOTHING, toText } from './difference.ts';
import { copyOf, familyIn, fixed, hopsAt, icmpType, isSound, withHops, withPort } from './frame-views.ts';
import { view } from './packets.ts';
import { isOuter } from './spec.ts';
import { type Delivery, familyOf, GATEWAY_MAC, GATEWAYS, HOST_PORT, isPod, NODE, OUTSIDE } from './world.ts';

const HOST_MAC = macBytes(HOST_PORT.mac);
const hops = (frame: Uint8Array): number => frame[hopsAt(familyIn(frame)!)]!;
const isFrom = (frame: Uint8Array, addresses: readonly string[]): boolean =>
  familyIn(frame) !== undefined && addresses.includes(view(frame)!.from);

/** Both say the same of the packet, in different names: Twill's frame in the kernel's. */
function renamed(
  twill: readonly Delivery[],
  kernel: readonly Delivery[],
  ours: readonly string[],
): Uint8Array | null {
  const [one, other] = [twill[0]?.frame, kernel[0]?.frame];
  if (!one || !other || twill.length + kernel.length !== 2) return null;
  if (!isError(one) || icmpType(one) !== icmpType(other) || !isFrom(one, ours) || isFrom(other, ours))
    return null;
  if (!isSound(one)) return null;
  const copy = copyOf(one);
  const [from, to] = familyOf(view(one)!.from) === 4 ? [26, 30] : [22, 38];
  copy.set(other.subarray(from, to), from);
  return fixed(copy);
}

export const OUTSIDE_DIFFERENCES: readonly Difference[] = [
  {
    id: 'host-mac',
    resolve: (pair) => {
      const twill = map(pair.twill, ({ to, frame }) => {
        if (!isPod(to) || !HOST_MAC.every((byte, i) => frame[6 + i] === byte)) return null;
        const copy = copyOf(frame);
        copy.set(macBytes(GATEWAY_MAC), 6);
        return copy;
      });
      return changed(pair, { ...pair, twill });
    },
  },
  {
    id: 'host-refuses',
    resolve: (pair) => {
      const frame = renamed(pair.twill, pair.kernel, HOST_PORT.addresses);
      return frame && isFrom(pair.kernel[0]!.frame, GATEWAYS)
        ? { ...pair, twill: [{ to: pair.twill[0]!.to, frame }] }
        : null;
    },
  },
  {
    id: 'gateway-speaks',
    resolve: (pair) => {
      const frame = renamed(pair.twill, pair.kernel, GATEWAYS);
      return frame && isFrom(pair.kernel[0]!.frame, NODE)
        ? { ...pair, twill: [{ to: pair.twill[0]!.to, frame }] }
        : null;
    },
  },
  {
    id: 'service-speaks',
    resolve: (pair, { sent }) => {
      const frame = renamed(pair.twill, pair.kernel, [toText(sent)]);
      return frame && sent.place === OUTSIDE && isFrom(pair.kernel[0]!.frame, NODE)
        ? { ...pair, twill: [{ to: pair.twill[0]!.to, frame }] }
        : null;
    },
  },
  {
    id: 'host-hop',
    resolve: (pair, { sent, isSuppressed }) => {
      const isLast = isError(pair.twill[0]?.frame ?? NO_FRAME) && icmpType(pair.twill[0]!.frame) === '11/0';
      const passes = pair.kernel.length === 1 && icmpType(pair.kernel[0]!.frame) !== '11/0';
      if (sent.label === 'lastHopOuter' && passes && (isLast || isSuppressed)) return NOTHING;
      const others = pair.kernel.filter(({ frame }) => familyIn(frame) !== undefined);
      const twill = map(pair.twill, ({ to, frame }) => {
        const isAcross = sent.place === OUTSIDE || to === OUTSIDE;
        if (!isAcross || familyIn(frame) === undefined || others.length === 0) return null;
        return others.every((other) => hops(other.frame) === hops(frame) + 1) ? withHops(frame, 1) : null;
      });
      return changed(pair, { ...pair, twill });
    },
  },
  {
    id: 'external-address',
    resolve: ({ twill, kernel }, { sent }) => {
      const isRefused = twill.every(({ to, frame }) => to === sent.place && isError(frame));
      const passes = kernel.length === 1 && kernel[0]!.to === OUTSIDE && !isError(kernel[0]!.frame);
      return isOuter(toText(sent)) && isRefused && passes ? NOTHING : null;
    },
  },
  {
    id: 'route-gone',
    taints: true,
    resolve: ({ twill, kernel }, { sent }) => {
      const isOutside = (list: readonly Delivery[]) => list.length === 1 && list[0]!.to === OUTSIDE;
      const isBack = isOutside(twill) && toText({ ...sent, frame: twill[0]!.frame }) === toText(sent);
      return isBack && sent.place === OUTSIDE && isOuter(toText(sent)) && !isOutside(kernel) ? NOTHING : null;
    },
  },
  {
    id: 'clash-port',
    taints: true,
    resolve: (pair, { isShared }) => {
      const frames = [pair.twill, pair.kernel].map((list) => list.length === 1 && list[0]!.frame);
      const [one, other] = frames.map((frame) => (frame ? view(frame) : undefined));
      if (!isShared || !one || !other || !MASKED.includes(one.from) || one.sport === other.sport) return null;
      // The kernel may have forgotten the older flow, and Twill not; never the other way about.
      if (one.sport < NAT_PORTS[0] || one.sport > NAT_PORTS[1]) return null;
      const frame = withPort(pair.twill[0]!.frame, other.sport);
      return changed(pair, { ...pair, twill: [{ to: pair.twill[0]!.to, frame }] });
    },
  },
  {
    id: 'node-port-at-gateway',
    taints: true,
    resolve: (_pair, { sent }) => {
      const seen = view(sent.frame);
      return seen && GATEWAYS.includes(seen.to) && seen.dport >= 30_000 ? NOTHING : null;
    },
  },
];

/** N26. */
const NAT_PORTS = [61_000, 65_535] as const;
const MASKED: readonly string[] = HOST_PORT.masked;
const NO_FRAME = new Uint8Array(0);
