/** What the demo needs of the machine, and what to do where it is missing. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  ping: 'iputils-ping',
  iperf3: 'iperf3',
  nft: 'nftables',
};

/** One line each; empty when all is there. */
export function missing(root: string): string[] {
  const lines: string[] = [];
  if (process.getuid?.() !== 0) lines.push('needs root to make network namespaces: run it with sudo');
  if (!exists('/dev/net/tun')) lines.push('/dev/net/tun is missing: modprobe tun');
  for (const [command, name] of Object.entries(PACKAGES)) {
    if (!onPath(command)) lines.push(`${command} is missing: apt-get install ${name}`);
  }
  if (!exists(join(root, 'native/build/twill.node'))) lines.push('the addon is not built: make build');
  if (!exists(join(root, 'dist/src/demo/pod.js'))) lines.push('the program is not built: make build');
  return lines;
}

function onPath(command: string): boolean {
  return `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
    .split(delimiter)
    .some((directory) => exists(join(directory, command)));
}

function exists(path: string): boolean {
  try {
    accessSync(path, constants.F_OK);
    return true;
  } catch {
    return false;
  }
}
