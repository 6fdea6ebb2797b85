/** What host ports need of the kernel beyond their TAPs: nftables, sysctls, routes. A fake in tests. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Native, OwnRoute } from '../card/native.ts';

export interface HostSystem {
  /** Runs a script as one transaction. @throws Error in words for a person */
  nft(script: string): void;
  /** A table of family inet as text; null when there is none. */
  table(name: string): string | null;
  /** @param name "net.ipv4.ip_forward", or with slashes where a part has dots */
  sysctl(name: string): string;
  /** @throws Error in words for a person */
  setSysctl(name: string, value: string): void;
  changeRoute(add: boolean, route: OwnRoute): void;
}

/** The kernel answers within milliseconds; whoever holds its lock for so long is stuck. */
const NFT_MS = 10_000;

/** @param nft the program's name, another one in tests */
export function hostSystem(native: Pick<Native, 'changeRoute'>, nft = 'nft'): HostSystem {
  return {
    nft(script) {
      const refusal = run(nft, ['-f', '-'], script);
      if (typeof refusal !== 'string') throw refusal;
    },
    table(name) {
      const text = run(nft, ['list', 'table', 'inet', name], '');
      return typeof text === 'string' ? text : null;
    },
    sysctl: (name) => readFileSync(pathOf(name), 'utf8').trim(),
    setSysctl(name, value) {
      try {
        writeFileSync(pathOf(name), value);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        throw new Error(`cannot set ${name} (${code}); set it for good: sysctl -w ${name}=${value}`);
      }
    },
    changeRoute: (add, route) => native.changeRoute(add, route),
  };
}

const pathOf = (name: string): string => `/proc/sys/${name.includes('/') ? name : name.replaceAll('.', '/')}`;

/** @returns what it printed, or why it failed. */
function run(nft: string, args: readonly string[], input: string): string | Error {
  // A service's PATH may lack where Debian keeps it.
  const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  try {
    return execFileSync(nft, args, {
      input,
      timeout: NFT_MS,
      encoding: 'utf8',
      stdio: 'pipe',
      env: { PATH },
    });
  } catch (error) {
    // null where it did not even start
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string | null };
    if (code === 'ENOENT') {
      return new Error(
        'nft is missing, which a port of the host needs; install it with: apt-get install nftables',
      );
    }
    const first = stderr?.split('\n').find((line) => line !== '');
    if (first === undefined) return new Error(`nft cannot be run: ${(error as Error).message}`);
    return new Error(`nft refuses the daemon's table: ${first.replace(/^\S*:?\d*:?[\d-]*:? ?Error: /, '')}`);
  }
}
