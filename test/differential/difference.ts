/** What a known difference is, and the questions that differences ask of frames. */
import { contains, parseAddress, parseCidr } from '../../src/wire/address.ts';
import type { Outgoing } from './connection.ts';
import { familyIn, icmpType, isReset, sameDeliveries } from './frame-views.ts';
import { view } from './packets.ts';
import { type Delivery, GATEWAY_MAC, GATEWAYS, HOST_PORT, type Mode, NODE, SERVICE_CIDRS } from './world.ts';

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
  /** Two clients have the frame's connection's port. */
  readonly isShared: boolean;
}

export interface Difference {
  readonly id: string;
  /** Takes the difference out of what was delivered; null when it is not there. */
  readonly resolve: (pair: Pair, met: Met) => Pair | null;
  /** What both know of the connection may differ from here on. */
  readonly taints?: boolean;
}

export const NOTHING: Pair = { twill: [], kernel: [] };
const SERVICES = SERVICE_CIDRS.map(parseCidr);

/** The gateway's addresses, the host's in the network, and the host's own. */
export const ROUTERS = [...GATEWAYS, ...HOST_PORT.addresses, ...NODE];
export const isFromRouter = (frame: Uint8Array): boolean =>
  familyIn(frame) !== undefined && (ROUTERS.includes(view(frame)!.from) || isReset(frame));
export const isVip = (frame: Uint8Array): boolean => {
  const to = view(frame)?.to;
  return to !== undefined && SERVICES.some((cidr) => contains(cidr, parseAddress(to).words));
};
const destination = (frame: Uint8Array): string => Buffer.from(frame.subarray(0, 6)).toString('hex');
const HOST_HEX = HOST_PORT.mac.replaceAll(':', '');
const GATEWAY_HEX = GATEWAY_MAC.replaceAll(':', '');
export const isToGateway = ({ frame }: Outgoing): boolean => destination(frame) === GATEWAY_HEX;
/** Or to the host in the network, whose MAC is the gateway's in the kernel. */
export const isToRouter = (sent: Outgoing): boolean =>
  isToGateway(sent) || destination(sent.frame) === HOST_HEX;
export const macBytes = (text: string): number[] => text.split(':').map((byte) => Number.parseInt(byte, 16));

/** The same change of every frame it applies to, on one side or both. */
export function map(
  list: readonly Delivery[],
  change: (delivery: Delivery) => Uint8Array | null,
): Delivery[] {
  return list.map((delivery) => ({ to: delivery.to, frame: change(delivery) ?? delivery.frame }));
}

/** A pair when something changed. */
export function changed(before: Pair, after: Pair): Pair | null {
  return sameDeliveries(before.twill, after.twill) && sameDeliveries(before.kernel, after.kernel)
    ? null
    : after;
}

export const isError = (frame: Uint8Array): boolean => !['', '8/0', '0/0'].includes(icmpType(frame));
export const toText = ({ frame }: Outgoing): string => view(frame)?.to ?? '';

/** Twill resets in the name of whom was asked; the kernel says nothing, or (port unreachable) so. */
export const answersWithReset = ({ twill }: Pair, { sent }: Met): boolean =>
  twill.length === 1 &&
  twill[0]!.to === sent.place &&
  isReset(twill[0]!.frame) &&
  view(twill[0]!.frame)!.from === toText(sent);
export const complains = (list: readonly Delivery[], { sent }: Met, type: string): boolean =>
  list.length === 1 && list[0]!.to === sent.place && icmpType(list[0]!.frame) === type;
