/**
 * The standing fabric (fabric.ts) with two families: network blue has fd00:77::/64 and fd00:78::/64 too, its ports
 * fd00:77::11, ::12, ::13; behind peer p is fd00:77::21, behind q ::22.
 */
import type { Address, NetworkConfig, Op, PortConfig } from '../src/dataplane/config.ts';
import { address4, Fabric, IPS, network, type PortName, port, type Sent } from './fabric.ts';
import { ip6 } from './frames.ts';

export const address6 = (text: string): Address => {
  const view = new DataView(Uint8Array.from(ip6(text)).buffer);
  return [view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12)];
};

export const IPS6 = {
  a: 'fd00:77::11',
  b: 'fd00:77::12',
  c: 'fd00:77::13',
  far: 'fd00:77::21',
  other: 'fd00:77::22',
  gateway: 'fd00:77::1',
  gateway2: 'fd00:78::1',
  /** The link-local address of this host's router MAC. */
  router: 'fe80::77:ff:fe00:a01',
};

export const dualNetwork = (overrides: Partial<NetworkConfig> = {}): NetworkConfig =>
  network({
    subnets: [
      ...network().subnets,
      { address: address6('fd00:77::'), prefix: 64, gateway: address6(IPS6.gateway) },
      { address: address6('fd00:78::'), prefix: 64, gateway: address6(IPS6.gateway2) },
    ],
    ...overrides,
  });

export const dualPort = (name: 'a' | 'b' | 'c', overrides: Partial<PortConfig> = {}): PortConfig =>
  port(name, { addresses: [address4(IPS[name]), address6(IPS6[name])], ...overrides });

export const dualOps = (...more: readonly Op[]): Op[] => [
  ...Fabric.standing(),
  { op: 'network', network: dualNetwork() },
  ...(['a', 'b', 'c'] as const).map((name): Op => ({ op: 'port', port: dualPort(name) })),
  ...more,
];

export const dual = (...more: readonly Op[]): Fabric => new Fabric(dualOps(...more));

export const names = (sent: readonly Sent[]): string[] => sent.map(({ to }) => to).sort();
export type { PortName };
