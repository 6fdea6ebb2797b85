/** What the kernel refused, as a line that names the resource and says what to do. */
import { execFile } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { attachedIn, problemIn } from '../control/problem.ts';
import type { PortPlan, Problem, Resource, UnderlayPlan } from '../control/types.ts';
import type { HostFailure } from './host-side.ts';

/** A device that could not be made. */
export class DeviceFailure extends Error {
  override readonly name = 'DeviceFailure';
  readonly device: { readonly port: PortPlan } | { readonly underlay: UnderlayPlan };
  readonly errno: string;
  /** What was tried, in the addon's words: "create TAP eth0", "bind UDP 192.0.2.1 port 4789". */
  readonly attempt: string;

  constructor(device: DeviceFailure['device'], cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.device = device;
    this.errno = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
    this.attempt = (cause as NodeJS.ErrnoException | undefined)?.syscall ?? '';
  }
}

/** What can be known without touching anything, so that all of it is reported at once. */
export function preflight(ports: readonly PortPlan[], resources: readonly Resource[]): Problem[] {
  if (ports.length > 0 && !existsSync('/dev/net/tun')) {
    return [locatePort(ports[0]!, resources, '', NO_TUN)];
  }
  return ports.flatMap((port) => {
    const message = port.tap.netns === null ? null : unreachable(port.tap.netns);
    return message === null ? [] : [locatePort(port, resources, 'spec.netns', message)];
  });
}

/** Why a namespace cannot be entered, as far as its path tells; null when nothing speaks against it. */
function unreachable(netns: string): string | null {
  try {
    statSync(netns);
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') return noNamespace(netns);
    const right = netns.startsWith('/proc/') ? 'CAP_SYS_PTRACE' : 'root';
    return `permission denied for namespace ${netns}; the daemon needs ${right} to see it`;
  }
}

export async function explain(failure: DeviceFailure, resources: readonly Resource[]): Promise<Problem> {
  return 'port' in failure.device
    ? explainPort(failure, failure.device.port, resources)
    : explainUnderlay(failure, failure.device.underlay, resources);
}

/** What the host's kernel refused for the sake of a port. */
export function explainHost(failure: HostFailure, resources: readonly Resource[]): Problem {
  const resource = resources.find((r) => r.kind === 'Port' && r.name === failure.port);
  if (resource === undefined) return { file: '', line: 0, column: 0, path: '', message: failure.message };
  return problemIn(resource, '', failure.message);
}

const NO_TUN =
  '/dev/net/tun is missing; load the module with: modprobe tun, or pass the device into this container';
const NO_RIGHTS = 'needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)';

function noNamespace(path: string): string {
  const name = namedIn(path);
  const advice = name ? `create it with: ip netns add ${name}` : 'give the name or path of one that does';
  return `namespace ${path} does not exist; ${advice}`;
}

/** `ip netns` leaves the plain file behind when its mount is lost. */
function notNamespace(path: string): string {
  const name = namedIn(path);
  const advice = name
    ? `make it again with: ip netns del ${name} && ip netns add ${name}`
    : 'give the name or path of one';
  return `${path} is not a network namespace; ${advice}`;
}

/** X of /run/netns/X. */
const namedIn = (path: string): string | undefined => /^\/(?:var\/)?run\/netns\/([^/]+)$/.exec(path)?.[1];

function explainPort(failure: DeviceFailure, port: PortPlan, resources: readonly Resource[]): Problem {
  const { netns, name } = port.tap;
  const at = (path: string, message: string): Problem => locatePort(port, resources, path, message);
  const where = netns ?? 'the daemon’s own namespace';
  if (failure.attempt.startsWith('add default route') && failure.errno === 'EEXIST') {
    const attached = resources.some((r) => isPort(r, port) && attachedIn(r.origin.file));
    const advice = attached ? 'attach with --no-default-route' : 'set defaultRoute: false';
    return at('spec.defaultRoute', `${where} has a default route already; ${advice}`);
  }
  if (/^add address .*:/.test(failure.attempt) && failure.errno === 'EACCES') {
    return at(
      'spec.addresses',
      `IPv6 is disabled in ${where}; see: sysctl net.ipv6.conf.default.disable_ipv6`,
    );
  }
  switch (failure.errno) {
    case 'EPERM':
    case 'EACCES':
      return at('', `cannot make interface ${name} in ${where}: ${NO_RIGHTS}`);
    case 'EEXIST':
    case 'EBUSY':
      return at(
        'spec.interface',
        `${where} has an interface ${name} already; choose another name or remove that one`,
      );
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      if (netns !== null && !existsSync(netns)) return at('spec.netns', noNamespace(netns));
      if (!existsSync('/dev/net/tun') || failure.errno !== 'ENOENT') return at('', NO_TUN);
      break;
    case 'EINVAL':
      if (netns !== null && failure.attempt.startsWith('setns')) {
        return at('spec.netns', notNamespace(netns));
      }
  }
  return at('', `cannot make interface ${name} in ${where}: ${failure.message}`);
}

async function explainUnderlay(
  failure: DeviceFailure,
  underlay: UnderlayPlan,
  resources: readonly Resource[],
): Promise<Problem> {
  const { address, port } = underlay.options;
  const network = resources.find((r) => r.kind === 'Network' && r.spec.vxlan.port === port);
  const host = resources.find((r) => r.kind === 'Host');
  const at = (resource: Resource | undefined, path: string, message: string): Problem =>
    resource ? problemIn(resource, path, message) : { file: '', line: 0, column: 0, path, message };
  switch (failure.errno) {
    case 'EADDRINUSE': {
      if (failure.attempt.includes('source ports')) {
        const [first, last] = underlay.options.sourcePorts;
        const message = `too few free UDP ports on ${address} between ${first} and ${last}; give a wider range`;
        return at(network, 'spec.vxlan.sourcePorts', message);
      }
      const owner = await kernelVxlanOn(port);
      const who = owner
        ? `the kernel vxlan device ${owner} owns it; choose another port or remove it with: ip link del ${owner}`
        : `another program has it; see: ss -lunp 'sport = :${port}', or choose another port`;
      return at(network, 'spec.vxlan.port', `UDP port ${port} is in use on ${address}: ${who}`);
    }
    case 'EADDRNOTAVAIL': {
      const path = address.includes(':') ? 'spec.underlay.address6' : 'spec.underlay.address';
      return at(host, path, `${address} is not an address of this host; see: ip address show`);
    }
    case 'EPERM':
    case 'EACCES':
      return at(network, 'spec.vxlan.port', `cannot open UDP port ${port} on ${address}: ${NO_RIGHTS}`);
    default:
      return at(network, 'spec.vxlan', `cannot open UDP port ${port} on ${address}: ${failure.message}`);
  }
}

function locatePort(port: PortPlan, resources: readonly Resource[], path: string, message: string): Problem {
  const resource = resources.find((r) => isPort(r, port));
  return resource ? problemIn(resource, path, message) : { file: '', line: 0, column: 0, path, message };
}

const isPort = (resource: Resource, port: PortPlan): boolean =>
  resource.kind === 'Port' && resource.name === port.config.name;

/** Name of the kernel vxlan device on this UDP port of the daemon's namespace (V34, P12). */
async function kernelVxlanOn(port: number): Promise<string | null> {
  const text = await new Promise<string>((resolve) => {
    execFile('ip', ['-j', '-d', 'link', 'show', 'type', 'vxlan'], { timeout: 2000 }, (error, stdout) =>
      resolve(error ? '' : stdout),
    );
  });
  try {
    const links = JSON.parse(text) as { ifname?: string; linkinfo?: { info_data?: { port?: number } } }[];
    return links.find((link) => link.linkinfo?.info_data?.port === port)?.ifname ?? null;
  } catch {
    return null;
  }
}
