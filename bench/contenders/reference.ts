/** Our own bare forwarders in C (bench/reference/): the same system calls without a table or a decision. */
import type { Background, Lab } from '../../src/demo/lab.ts';
import {
  type Built,
  type Contender,
  isExecutable,
  OVERHEAD,
  PODS,
  Sites,
  underlayAddress,
  VNI,
} from '../contender.ts';
import { REFERENCE } from '../tools.ts';

export const reference: Contender = {
  name: 'reference',
  title: 'bare C forwarder',
  detail: 'the same system calls and offloads in plain C; no tables, no decisions',
  available: () => (isExecutable(REFERENCE) ? null : `${REFERENCE} is not built: make bench`),
  version: () => 'bench/reference',
  async build(lab: Lab, underlayMtu: number): Promise<Built> {
    const same = new Sites(lab, 'r');
    const cross = new Sites(lab, 'x');
    await same.make(underlayMtu);
    await cross.make(underlayMtu);
    const mtu = ['--mtu', String(underlayMtu - OVERHEAD)];
    const address = (pod: 0 | 1 | 2): string => `${PODS[pod].address}/24`;
    const tap = [REFERENCE, 'tap', same.pod(0), 'eth0', same.pod(1), 'eth0'];
    const daemons: Background[] = [
      lab.start(same.host(1), 'ref-tap', [
        ...tap,
        '--address1',
        address(0),
        '--address2',
        address(1),
        ...mtu,
      ]),
    ];
    for (const host of [1, 2] as const) {
      const pod = host === 1 ? 0 : 2;
      const ends = ['--local', underlayAddress(host), '--remote', underlayAddress(3 - host)];
      const words = [REFERENCE, 'vxlan', cross.pod(pod), 'eth0', '--address', address(pod), ...ends];
      daemons.push(lab.start(cross.host(host), `ref-vxlan${host}`, [...words, '--vni', String(VNI), ...mtu]));
    }
    for (const daemon of daemons) await daemon.waitFor((text) => text.includes('ready'));
    return { same: same.route(1), cross: cross.route(2), daemons };
  },
};
