/**
 * A namespace with TAPs that stands for a host's kernel. Whatever a frame causes has happened when writing it to its TAP
 * returns; only what the kernel does in the background comes later.
 */
import { spawnSync } from 'node:child_process';
import { Control } from '../../src/card/layout.ts';
import { loadNative, type TapOptions } from '../../src/card/native.ts';
import { NativeCard } from '../../src/card/native-card.ts';
import { Namespace, put, queue, release, tap } from '../card/kernel.ts';
import { ethernet, internetChecksum, readIpv4, udp } from '../frames.ts';
import { BEYOND, familyOf, NODE, NODE_MAC, OUTER_CIDRS, of } from './world.ts';

/** Waiting for what the kernel does in the background; ms. */
const PATIENCE = 40;

const FORWARDING = { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 };
/** Nothing times out, nothing is limited by the second, no packet is sent unasked. */
export const QUIET: Readonly<Record<string, number>> = {
  'net.ipv6.conf.all.disable_ipv6': 0,
  'net.ipv6.conf.default.disable_ipv6': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
  'net.ipv6.conf.default.addr_gen_mode': 1,
  'net.ipv6.icmp.ratelimit': 0,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  'net.ipv4.conf.all.send_redirects': 0,
  'net.ipv4.conf.default.send_redirects': 0,
  'net.ipv4.conf.all.arp_ignore': 1,
  'net.ipv4.icmp_ratemask': 0,
  'net.ipv4.icmp_msgs_per_sec': 1_000_000,
  'net.ipv4.icmp_msgs_burst': 1_000_000,
  'net.netfilter.nf_conntrack_tcp_loose': 0,
  'net.netfilter.nf_conntrack_udp_timeout': 86_400,
  'net.netfilter.nf_conntrack_udp_timeout_stream': 86_400,
  'net.netfilter.nf_conntrack_icmp_timeout': 86_400,
  'net.netfilter.nf_conntrack_icmpv6_timeout': 86_400,
};

export interface Arrived {
  readonly device: number;
  readonly frame: Uint8Array;
}

export class Node {
  readonly #namespace = new Namespace();
  readonly #card = new NativeCard();
  readonly #descriptors: number[] = [];

  get name(): string {
    return this.#namespace.name;
  }

  /** @param more further sysctls */
  set(more: Readonly<Record<string, number>> = {}): void {
    const all = Object.entries({ ...QUIET, ...FORWARDING, ...more });
    this.#namespace.exec('sysctl', '-qw', ...all.map(([key, value]) => `${key}=${value}`));
  }

  /** A link of the namespace whose other end is `device` here. @returns its index */
  link(device: number, options: Partial<TapOptions>): number {
    const { fd, index } = loadNative().createTap(tap(this.#namespace.path, options));
    this.#descriptors.push(fd);
    this.#card.addTap(device, fd);
    return index;
  }

  /** The way to everybody outside. */
  uplink(device: number): void {
    const addresses = NODE.map((address, i) => ({ address, prefix: i === 0 ? 24 : 64 }));
    this.link(device, { name: 'uplink', mac: NODE_MAC, mtu: 1500, addresses });
    this.ip(WAY_OUT);
  }

  /** @param lines arguments of `ip`, a command each */
  ip(lines: readonly (readonly string[])[]): void {
    this.#batch('ip', lines);
  }

  bridge(lines: readonly (readonly string[])[]): void {
    this.#batch('bridge', lines);
  }

  nft(text: string): void {
    this.run(['nft', '-f', '-'], text);
  }

  run(argv: readonly string[], input = ''): string {
    const all = ['netns', 'exec', this.#namespace.name, ...argv];
    const { status, stderr, stdout } = spawnSync('ip', all, { input, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${argv.join(' ')}: ${stderr}\n${input}`);
    return stdout;
  }

  send(device: number, frame: Uint8Array): void {
    const slot = put(this.#card, frame);
    queue(this.#card, slot, { device });
    this.#card.flush();
    release(this.#card, slot);
  }

  /** What has come out of the links. */
  receive(): Arrived[] {
    const { memory } = this.#card;
    const arrived: Arrived[] = [];
    memory.control[Control.TIMEOUT] = 0;
    for (let n = this.#card.poll(); n > 0; n = this.#card.poll()) {
      for (let i = 0; i < n; i++) {
        const slot = memory.rx[i]!;
        const device = memory.device[slot]!;
        const frames = memory.gsoSize[slot] === 0 ? [this.#finished(slot)] : this.#parted(slot);
        arrived.push(...frames.map((frame) => ({ device, frame })));
        release(this.#card, slot);
      }
    }
    return arrived;
  }

  /** What comes when one waits. */
  late(): Arrived[] {
    const arrived: Arrived[] = [];
    const end = performance.now() + PATIENCE;
    while (performance.now() < end) arrived.push(...this.receive());
    return arrived;
  }

  close(): void {
    this.#card.close();
    for (const fd of this.#descriptors) loadNative().close(fd);
    this.#namespace.delete();
  }

  #batch(tool: 'ip' | 'bridge', lines: readonly (readonly string[])[]): void {
    this.run([tool, '-batch', '-'], lines.map((words) => words.join(' ')).join('\n'));
  }

  /** The datagrams of IPv4 (those of tunnels, here) that the card merged: fragments that leave one behind the other. */
  #parted(slot: number): Uint8Array[] {
    const { memory } = this.#card;
    const size = memory.gsoSize[slot]!;
    const start = memory.start[slot]!;
    const frame = memory.bytes.slice(start, start + memory.length[slot]!);
    const { dst, src, body, packet: _, ...fields } = readIpv4(frame);
    const whole = body.subarray(8);
    return Array.from({ length: Math.ceil(whole.length / size) }, (_, i) =>
      ethernet({ src, dst }, udp({ ...fields, payload: whole.subarray(i * size, (i + 1) * size) })),
    );
  }

  /** A copy of the frame with its checksum complete. */
  #finished(slot: number): Uint8Array {
    const { memory } = this.#card;
    const start = memory.start[slot]!;
    const frame = memory.bytes.slice(start, start + memory.length[slot]!);
    const from = memory.csumStart[slot]!;
    if (from !== 0) {
      const sum = internetChecksum(frame.subarray(from));
      new DataView(frame.buffer).setUint16(from + memory.csumOffset[slot]!, sum);
    }
    return frame;
  }
}

export const neighbour = (address: string, mac: string, device: string): string[] => [
  ...['neigh', 'replace', address, 'lladdr', mac, 'dev', device, 'nud', 'permanent'],
];

/** To everybody outside. */
export const WAY_OUT: readonly (readonly string[])[] = [
  ...BEYOND.addresses.map((address) => neighbour(address, BEYOND.mac, 'uplink')),
  ...OUTER_CIDRS.map((cidr) => ['route', 'add', cidr, 'via', of(BEYOND.addresses, familyOf(cidr))]),
];
