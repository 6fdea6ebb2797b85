/** Throw-away namespaces of this process, for tests that need root. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const usable = process.getuid?.() === 0 && existsSync('/dev/net/tun');
if (!usable && process.env.CI === 'true') throw new Error('these tests need root and /dev/net/tun');

/** False: skip. Under CI=true that is a failure instead. */
export const CAN_NAMESPACES = usable;

const made: string[] = [];
let count = 0;

export function namespace(label: string): string {
  const name = `twd${process.pid}-${label}${count++}`;
  ip('netns', 'add', name);
  made.push(name);
  ip('-n', name, 'link', 'set', 'lo', 'up');
  return name;
}

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}

export function removeNamespace(name: string): void {
  const at = made.indexOf(name);
  if (at < 0) return;
  made.splice(at, 1);
  ip('netns', 'del', name);
}

export function removeNamespaces(): void {
  for (const name of [...made]) removeNamespace(name);
}

/** A veth pair with an address at both ends. */
export function link(a: string, addressA: string, b: string, addressB: string, mtu = 1500): void {
  const [end, other] = [`v${count++}`, `v${count++}`];
  ip(
    '-n',
    a,
    'link',
    'add',
    end,
    'mtu',
    String(mtu),
    'type',
    'veth',
    'peer',
    'name',
    other,
    'mtu',
    String(mtu),
    'netns',
    b,
  );
  for (const [ns, device, address] of [
    [a, end, addressA],
    [b, other, addressB],
  ] as const) {
    const nodad = address.includes(':') ? ['nodad'] : [];
    ip('-n', ns, 'address', 'add', address, 'dev', device, ...nodad);
    ip('-n', ns, 'link', 'set', device, 'up');
  }
}
