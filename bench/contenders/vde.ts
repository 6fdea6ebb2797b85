/** vde_switch: pods on TAPs of the switch's own. It has no tunnel that fits, so it takes part on one host only. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Lab } from '../../src/demo/lab.ts';
import {
  type Built,
  type Contender,
  findCommand,
  missingCommand,
  OVERHEAD,
  PODS,
  Sites,
} from '../contender.ts';

export const vde: Contender = {
  name: 'vde',
  title: 'vde_switch',
  detail: 'TAPs of the switch itself; one host only',
  available: () => missingCommand('vde_switch'),
  version() {
    const text = execFileSync(findCommand('vde_switch')!, ['--version'], { encoding: 'utf8' });
    return /(\d+\.\d+\.\d+)/.exec(text)?.[1] ?? 'unknown';
  },
  async build(lab: Lab, underlayMtu: number): Promise<Built> {
    const sites = new Sites(lab, 'v');
    await sites.make(underlayMtu);
    // it ends at the end of its input: a pipe that it holds open itself has none
    const input = join(lab.directory, 'vde.in');
    await lab.must(null, ['mkfifo', input]);
    const command = `exec vde_switch "$@" <>"${input}"`;
    const taps = ['--tap', 'p0', '--tap', 'p1'];
    const words = ['sh', '-c', command, 'vde_switch', ...taps, '--sock', join(lab.directory, 'vde.ctl')];
    const daemon = lab.start(sites.host(1), 'vde', words);
    for (const i of [0, 1] as const) {
      await takeDevice(lab, sites.host(1), `p${i}`, sites.pod(i), PODS[i].address, underlayMtu - OVERHEAD);
    }
    return { same: sites.route(1), daemons: [daemon] };
  },
};

/** Moves a TAP that a daemon has made (or is about to make) into a pod, as its eth0. */
export async function takeDevice(
  lab: Lab,
  from: string,
  name: string,
  pod: string,
  address: string,
  mtu: number,
): Promise<void> {
  for (let i = 0; (await lab.run(from, ['ip', 'link', 'show', name])).code !== 0; i++) {
    if (i === 100) throw new Error(`${name} did not appear in ${from}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await lab.ip(from, 'link', 'set', name, 'netns', pod, 'name', 'eth0');
  await lab.ip(pod, 'link', 'set', 'eth0', 'mtu', String(mtu), 'up');
  await lab.ip(pod, 'address', 'add', `${address}/24`, 'dev', 'eth0');
}
