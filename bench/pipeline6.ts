/** The scenes of pipeline.ts in IPv6: the same tables and stages, addresses of four words. */
import type { MemoryFrame } from '../src/card/memory-card.ts';
import type { Op } from '../src/dataplane/config.ts';
import { address4, IPS, MACS, macOf, peer, port, service } from '../test/fabric.ts';
import { address6, dualNetwork, IPS6 } from '../test/fabric6.ts';
import { ethernet, ip6, vxlan } from '../test/frames.ts';
import { udp6 } from '../test/frames6.ts';

const DEVICE = { a: 10, underlay6: 901 };
const VIP = 'fd00:96::10';
const FAR = '2001:db8:9::2';

interface Scene {
  name: string;
  flows: number;
  ops: Op[];
  frames: MemoryFrame[];
}

/** Ports of both families, a peer over IPv6, and a service of IPv6. */
function standing(maxFlows = 1 << 21): Op[] {
  const address = address6(FAR);
  const over6 = { addresses: [address], memberships: [{ network: 0, remote: 0, address, port: 4789 }] };
  const far = [
    { network: 0, mac: macOf(MACS.far), address: address6(IPS6.far) },
    { network: 0, mac: macOf(MACS.far), address: address4(IPS.far) },
  ];
  const backends = [{ address: address6(IPS6.b), port: 53 }];
  return [
    { op: 'host', host: { underlayAddresses: [address6('2001:db8:9::1')], vxlanPorts: [4789], maxFlows } },
    { op: 'network', network: dualNetwork({ underlay6: DEVICE.underlay6 }) },
    { op: 'peer', peer: peer('p', { ...over6, static: far }) },
    { op: 'port', port: port('a', { antiSpoof: 'mac', addresses: [address6(IPS6.a)] }) },
    { op: 'port', port: port('b', { antiSpoof: 'mac', addresses: [address6(IPS6.b)] }) },
    { op: 'service', service: service({ protocol: 17, vip: address6(VIP), backends }) },
  ];
}

const withoutServices = (): Op[] => standing().filter((op) => op.op !== 'service');

/** `count` UDP flows from a, told apart by ports. */
const plain = (count: number, dst: string, to: string): MemoryFrame[] =>
  Array.from({ length: count }, (_, i) => ({
    device: DEVICE.a,
    bytes: ethernet(
      { src: MACS.a, dst, type: 0x86dd },
      udp6({ from: IPS6.a, to, sport: 1024 + (i % 60000), dport: 1 + (i >>> 16) }),
    ),
  }));

export const bridge6 = (flows: number): Scene => ({
  name: 'IPv6 bridge hit',
  flows,
  ops: withoutServices(),
  frames: plain(flows, MACS.b, IPS6.b),
});

export const route6 = (flows: number): Scene => ({
  name: 'IPv6 routed',
  flows,
  ops: withoutServices(),
  frames: plain(flows, MACS.gateway, IPS6.b),
});

export const encap6 = (flows: number): Scene => ({
  name: 'IPv6 bridge hit + VXLAN encap',
  flows,
  ops: withoutServices(),
  frames: plain(flows, MACS.far, IPS6.far),
});

export function decap6(): Scene {
  const packet = udp6({ from: IPS6.far, to: IPS6.a, sport: 1, dport: 2 });
  const bytes = vxlan({ vni: 42 }, ethernet({ src: MACS.far, dst: MACS.a, type: 0x86dd }, packet));
  const frames = [{ device: DEVICE.underlay6, bytes, remote: address6(FAR) }];
  return { name: 'IPv6 VXLAN decap over IPv6 + bridge hit', flows: 1, ops: withoutServices(), frames };
}

/** Datagrams of `flows` clients to a service. */
export function clusterIp6(flows: number): Scene {
  const packet = udp6({ from: IPS6.a, to: VIP, sport: 1, dport: 80 });
  const template = ethernet({ src: MACS.a, dst: MACS.gateway, type: 0x86dd }, packet);
  const frames = Array.from({ length: flows }, (_, i) => {
    const bytes = template.slice();
    bytes.set([...ip6('fd00:77::').slice(0, 12), 1, (i >>> 16) & 255, (i >>> 8) & 255, i & 255], 22);
    return { device: DEVICE.a, bytes };
  });
  return { name: 'IPv6 ClusterIP flow hit', flows, ops: standing(), frames };
}
