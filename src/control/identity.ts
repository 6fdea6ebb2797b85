/** MAC addresses and link names computed from names, so that no host needs to tell another. */
import { createHash } from 'node:crypto';
import { formatMac } from '../wire/address.ts';

/**
 * Default MAC of a port: from its network, name and first address, so that ports of one name on two hosts differ
 * (docs/decisions/0003-port-mac.md).
 */
export function portMac(network: string, port: string, address: string): string {
  return derivedMac('port', network, port, address);
}

/** MAC every host answers with for the gateway addresses of a network (A4): from the network alone. */
export function gatewayMac(network: string, vni: number): string {
  return derivedMac('gateway', network, String(vni));
}

/** MAC only this host uses in a network (A14). @param host canonical underlay address */
export function routerMac(network: string, vni: number, host: string): string {
  return derivedMac('router', network, String(vni), host);
}

/** Bytes of a link's name less its zero. */
const MOST_LINK_BYTES = 15;

/** Default name of a network's TAP in the daemon's own namespace: tw-blue; a long name is cut and made unique. */
export function hostInterface(network: string): string {
  const whole = `tw-${network}`;
  if (whole.length <= MOST_LINK_BYTES) return whole;
  const digest = createHash('sha256').update(network).digest('hex').slice(0, 4);
  return `${whole.slice(0, MOST_LINK_BYTES - 5)}-${digest}`;
}

/** 46 hashed bits as a locally administered unicast address. */
function derivedMac(...parts: readonly string[]): string {
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest();
  const hi = (digest.readUInt16BE(0) & 0xfcff) | 0x0200;
  return formatMac(hi, digest.readInt32BE(2));
}
