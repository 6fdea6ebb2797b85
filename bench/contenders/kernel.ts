/** The Linux kernel: veth into a bridge per host, a VXLAN device between the hosts. */
import { release } from 'node:os';
import type { Lab } from '../../src/demo/lab.ts';
import { type Built, type Contender, OVERHEAD, PODS, Sites, underlayAddress, VNI } from '../contender.ts';

export const kernel: Contender = {
  name: 'kernel',
  title: 'Linux kernel',
  detail: 'veth pairs into a bridge per host, a VXLAN device between hosts',
  available: () => null,
  version: release,
  async build(lab: Lab, underlayMtu: number): Promise<Built> {
    const sites = new Sites(lab, 'k');
    await sites.make(underlayMtu);
    const mtu = underlayMtu - OVERHEAD;
    for (const host of [1, 2] as const) {
      const ns = sites.host(host);
      await lab.ip(ns, 'link', 'add', 'br0', 'type', 'bridge');
      await lab.ip(ns, 'link', 'set', 'br0', 'up');
      const own = ['local', underlayAddress(host), 'remote', underlayAddress(3 - host)];
      const vxlan = ['type', 'vxlan', 'id', String(VNI), 'dstport', '4789', ...own];
      // Of its own accord it stays at 1500 on any underlay, and the bridge drops what is longer and no super-frame.
      await lab.ip(ns, 'link', 'add', 'vx0', 'mtu', String(mtu), ...vxlan);
      await lab.ip(ns, 'link', 'set', 'vx0', 'master', 'br0', 'up');
    }
    for (const [i, { host, address }] of PODS.entries()) {
      const inner = { namespace: sites.pod(i), name: 'eth0', address: `${address}/24`, mtu };
      await lab.wire(inner, { namespace: sites.host(host), name: `p${i}`, mtu });
      await lab.ip(sites.host(host), 'link', 'set', `p${i}`, 'master', 'br0');
    }
    return { same: sites.route(1), cross: sites.route(2), daemons: [] };
  },
};
