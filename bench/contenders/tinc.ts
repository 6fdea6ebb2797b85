/** tinc in switch mode, without encryption or authentication of packets: one pod per host, across hosts only. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Background, Lab } from '../../src/demo/lab.ts';
import {
  type Built,
  type Contender,
  findCommand,
  missingCommand,
  OVERHEAD,
  PODS,
  Sites,
  underlayAddress,
} from '../contender.ts';
import { takeDevice } from './vde.ts';

const HOSTS = [1, 2] as const;

export const tinc: Contender = {
  name: 'tinc',
  title: 'tinc',
  detail: 'switch mode, no encryption, no digest; across hosts only',
  available: () => missingCommand('tincd'),
  version() {
    const text = execFileSync(findCommand('tincd')!, ['--version'], { encoding: 'utf8' });
    return /version (\S+)/.exec(text)?.[1] ?? 'unknown';
  },
  async build(lab: Lab, underlayMtu: number): Promise<Built> {
    const sites = new Sites(lab, 'c');
    await sites.make(underlayMtu);
    const directory = (host: number): string => join(lab.directory, `tinc${host}`);
    for (const host of HOSTS) await configure(lab, directory(host), host);
    const daemons: Background[] = [];
    for (const host of HOSTS) {
      const other = readFileSync(join(directory(3 - host), 'hosts', `h${3 - host}`));
      writeFileSync(join(directory(host), 'hosts', `h${3 - host}`), other);
    }
    for (const host of HOSTS) {
      const pidFile = join(directory(host), 'pid');
      const words = ['tincd', '-c', directory(host), '-D', '-d1', `--pidfile=${pidFile}`];
      daemons.push(lab.start(sites.host(host), `tinc${host}`, words));
      const pod = host === 1 ? 0 : 2;
      await takeDevice(
        lab,
        sites.host(host),
        'tap',
        sites.pod(pod),
        PODS[pod].address,
        underlayMtu - OVERHEAD,
      );
    }
    await daemons[1]!.waitFor((text) => text.includes('activated'), 15_000);
    return { cross: sites.route(2), daemons };
  },
};

async function configure(lab: Lab, directory: string, host: 1 | 2): Promise<void> {
  mkdirSync(join(directory, 'hosts'), { recursive: true });
  const settings = [
    `Name = h${host}`,
    'Mode = switch',
    'DeviceType = tap',
    'Interface = tap',
    ...(host === 2 ? ['ConnectTo = h1'] : []),
  ];
  writeFileSync(join(directory, 'tinc.conf'), `${settings.join('\n')}\n`);
  writeFileSync(join(directory, 'hosts', `h${host}`), '');
  // its key goes into hosts/hN; nobody outside these namespaces ever talks to it
  await lab.must(null, ['tincd', '-c', directory, '-K2048']);
  const own = [`Address = ${underlayAddress(host)}`, 'Cipher = none', 'Digest = none', 'Compression = 0'];
  appendFileSync(join(directory, 'hosts', `h${host}`), `\n${own.join('\n')}\n`);
}
