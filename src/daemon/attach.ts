/** A Port without YAML: the document that `twill attach` means. */
import { isIPv6 } from 'node:net';
import { basename } from 'node:path';
import { addressesNear } from '../control/endpoints.ts';
import { attachedFile } from '../control/problem.ts';
import type { AttachRequest } from '../control/protocol.ts';
import type { Resource, Source } from '../control/types.ts';
import { Rejected } from './rejected.ts';

/** Addresses looked at before giving up; a pod network seldom has larger subnets. */
const MAX_TRIES = 1 << 16;

export interface Attachment {
  readonly name: string;
  readonly source: Source;
}

/**
 * @param resources the running set
 * @param heard addresses seen on the network, so that a pod of another host is not doubled
 * @throws Rejected
 */
export function attachment(
  request: AttachRequest,
  resources: readonly Resource[],
  heard: readonly string[],
): Attachment {
  const network = resources.find((r) => r.kind === 'Network' && r.name === request.network);
  if (network?.kind !== 'Network') {
    const names = resources.filter((r) => r.kind === 'Network').map((r) => r.name);
    throw new Rejected([
      `no network ${request.network}; there ${names.length > 0 ? `is ${names.join(', ')}` : 'is none'}`,
    ]);
  }
  const name = request.name ?? nameFor(request.netns);
  if (resources.some((r) => r.kind === 'Port' && r.name === name)) {
    throw new Rejected(
      [`port ${name} exists already; choose another --name, or first: twill detach ${name}`],
      409,
    );
  }
  const addresses = request.address === undefined ? [] : [request.address];
  for (const { cidr } of request.address === undefined ? firstOfEachFamily(network.spec.subnets) : []) {
    const address = lowestFree(cidr, usedIn(request.network, cidr, resources, heard));
    if (address === null) throw new Rejected([`no free address in ${cidr} of network ${request.network}`]);
    addresses.push(address);
  }
  const defaultRoute = request.defaultRoute ?? !hasDefaultRoute(request.netns, resources);
  const document = {
    apiVersion: 'twill/v1alpha1',
    kind: 'Port',
    metadata: { name },
    spec: {
      network: request.network,
      netns: request.netns,
      interface: request.interface ?? 'eth0',
      ...(addresses.length === 0 ? {} : { addresses }),
      ...(defaultRoute ? {} : { defaultRoute: false }),
    },
  };
  return { name, source: { file: attachedFile(name), text: JSON.stringify(document, null, 2) } };
}

function firstOfEachFamily<T extends { readonly cidr: string }>(subnets: readonly T[]): T[] {
  const is6 = ({ cidr }: T) => cidr.includes(':');
  return subnets.filter((subnet) => subnets.find((other) => is6(other) === is6(subnet)) === subnet);
}

/** "web" for /run/netns/web, "pid-7" for /proc/7/ns/net. */
function nameFor(netns: string): string {
  const pid = /^\/proc\/(\d+)\//.exec(netns)?.[1];
  return pid === undefined ? basename(netns) : `pid-${pid}`;
}

/** A second interface of a pod does not compete for its default route. */
function hasDefaultRoute(netns: string, resources: readonly Resource[]): boolean {
  const path = netns.startsWith('/') ? netns.replace(/^\/var\/run\//, '/run/') : `/run/netns/${netns}`;
  return resources.some((r) => r.kind === 'Port' && r.spec.netns === path && r.spec.defaultRoute);
}

/** What a BlockList answers; of one with a hundred thousand rules every answer takes long. */
interface Taken {
  check(address: string, family: 'ipv4' | 'ipv6'): boolean;
}

/** Addresses of the network that somebody has, in canonical text. */
function usedIn(
  network: string,
  cidr: string,
  resources: readonly Resource[],
  heard: readonly string[],
): Taken {
  const used = new Set<string>();
  const add = (text: string): void => void used.add(text.split('/')[0]!);
  for (const resource of resources) {
    if (resource.kind === 'Network' && resource.name === network) {
      for (const { gateway } of resource.spec.subnets) add(gateway);
    }
    if (resource.kind === 'Port' && resource.spec.network === network) {
      for (const { address } of resource.spec.addresses) add(address);
    }
    if (resource.kind === 'Peer') for (const { ip } of resource.spec.static) if (ip !== undefined) add(ip);
    if (resource.kind === 'EndpointSlice')
      for (const address of addressesNear(resource, cidr, MAX_TRIES)) add(address);
  }
  for (const address of heard) add(address);
  return { check: (address) => used.has(address) };
}

/** The first address after the subnet's own that is not used; the last of an IPv4 subnet is its broadcast. */
export function lowestFree(cidr: string, used: Taken): string | null {
  const [base, length] = cidr.split('/') as [string, string];
  const v6 = isIPv6(base);
  const size = 2n ** BigInt((v6 ? 128 : 32) - Number(length));
  const first = toNumber(base, v6);
  const usable = v6 ? size : size - 1n;
  for (let i = 1n; i < usable && i <= MAX_TRIES; i++) {
    const address = toText(first + i, v6);
    if (!used.check(address, v6 ? 'ipv6' : 'ipv4')) return address;
  }
  return null;
}

function toNumber(text: string, v6: boolean): bigint {
  if (!v6) return text.split('.').reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const [head = '', tail] = text.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

function toText(value: bigint, v6: boolean): string {
  if (!v6) return [24n, 16n, 8n, 0n].map((shift) => Number((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
