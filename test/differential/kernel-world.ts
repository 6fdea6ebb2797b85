/**
 * The kernel's side: one namespace with a bridge that is the gateway, a TAP per pod, a VXLAN device, and the rules of
 * `rules.ts`. Whatever a frame causes has happened when writing it to its TAP returns; only what the kernel does in
 * the background comes later.
 */
import { spawnSync } from 'node:child_process';
import { Control } from '../../src/card/layout.ts';
import { loadNative } from '../../src/card/native.ts';
import { NativeCard } from '../../src/card/native-card.ts';
import { Namespace, put, queue, release, tap } from '../card/kernel.ts';
import { ethernet, internetChecksum, macText, udp } from '../frames.ts';
import { BASE, update } from './rules.ts';
import {
  type Change,
  type Delivery,
  GATEWAY_MAC,
  GATEWAYS,
  HOST_ADDRESS,
  MTU,
  PEERS,
  PODS,
  SERVICE_CIDR,
  STATIONS,
  VNI,
  VXLAN_PORT,
  type World,
} from './world.ts';

const UNDERLAY = PODS.length;
const UNDERLAY_MAC = '02:00:00:00:99:01';
const ROUTER_BEYOND = '192.0.2.254';
const peerMac = (address: string): string => `02:00:00:00:99:0${address.split('.')[3]}`;

/** Waiting for what the kernel does in the background; ms. */
const PATIENCE = 40;

/** Nothing times out, nothing is limited by the second, no packet is sent unasked. */
const SETTINGS = {
  'net.ipv4.ip_forward': 1,
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
};

export class KernelWorld implements World {
  readonly #namespace = new Namespace();
  readonly #card = new NativeCard();
  readonly #descriptors: number[] = [];

  /** @param filtersBridged bridged frames pass netfilter too (br_netfilter), as kube-proxy asks for. */
  constructor(filtersBridged: boolean) {
    try {
      this.#build(filtersBridged);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  send(place: string, frames: readonly Uint8Array[]): Delivery[] {
    this.#receive(); // what came meanwhile is nobody's answer
    const pod = PODS.indexOf(place as (typeof PODS)[number]);
    const device = pod < 0 ? UNDERLAY : pod;
    for (const frame of frames) {
      const slot = put(this.#card, pod < 0 ? outer(place, frame) : frame);
      queue(this.#card, slot, { device });
      this.#card.flush();
      release(this.#card, slot);
    }
    return this.#receive();
  }

  /** What comes when one waits. */
  late(): Delivery[] {
    const deliveries: Delivery[] = [];
    const end = performance.now() + PATIENCE;
    while (performance.now() < end) deliveries.push(...this.#receive());
    return deliveries;
  }

  change(change: Change): void {
    this.#nft(update(change));
  }

  close(): void {
    this.#card.close();
    for (const fd of this.#descriptors) loadNative().close(fd);
    this.#namespace.delete();
  }

  #build(filtersBridged: boolean): void {
    for (const [device, name] of PODS.entries())
      this.#tap(device, { name, mac: `02:00:00:00:98:0${device}`, mtu: MTU });
    const addresses = [{ address: HOST_ADDRESS, prefix: 24 }];
    this.#tap(UNDERLAY, { name: 'uplink', mac: UNDERLAY_MAC, mtu: 1500, addresses });
    const filters = filtersBridged ? 1 : 0;
    const settings = [
      ...Object.entries(SETTINGS),
      ...['iptables', 'ip6tables', 'arptables'].map((tables) => [
        `net.bridge.bridge-nf-call-${tables}`,
        filters,
      ]),
    ];
    this.#namespace.exec('sysctl', '-qw', ...settings.map(([key, value]) => `${key}=${value}`));
    const bridge = ['forward_delay', '0', 'mcast_snooping', '0', 'ageing_time', '100000000'];
    const vxlan = ['id', `${VNI}`, 'local', HOST_ADDRESS, 'dstport', `${VXLAN_PORT}`, 'learning'];
    this.#batch('ip', [
      ['link', 'add', 'br0', 'address', GATEWAY_MAC, 'type', 'bridge', ...bridge],
      ['link', 'add', 'vx0', 'mtu', `${MTU}`, 'type', 'vxlan', ...vxlan],
      ...[...PODS, 'vx0'].map((name) => ['link', 'set', 'dev', name, 'master', 'br0', 'up']),
      ['link', 'set', 'dev', 'br0', 'up'],
      ...GATEWAYS.map((address) => ['address', 'add', `${address}/24`, 'dev', 'br0']),
      ...STATIONS.map(({ ip, mac }) => neighbour(ip, mac, 'br0')),
      ...Object.values(PEERS).map((address) => neighbour(address, peerMac(address), 'uplink')),
      neighbour(ROUTER_BEYOND, peerMac('0.0.0.9'), 'uplink'),
      ['route', 'add', SERVICE_CIDR, 'via', ROUTER_BEYOND],
    ]);
    this.#batch('bridge', [
      ...STATIONS.filter(({ place }) => place in PEERS).flatMap(({ mac, place }) => [
        ['fdb', 'add', mac, 'dev', 'vx0', 'master', 'static', 'sticky'],
        ['fdb', 'add', mac, 'dev', 'vx0', 'dst', PEERS[place]!, 'self', 'permanent'],
      ]),
      ...STATIONS.filter(({ place }) => !(place in PEERS)).map(({ mac, place }) => [
        ...['fdb', 'add', mac, 'dev', place, 'master', 'static', 'sticky'],
      ]),
      ...Object.values(PEERS).map((address) => [
        ...['fdb', 'append', '00:00:00:00:00:00', 'dev', 'vx0', 'dst', address, 'self'],
      ]),
    ]);
    this.#nft(BASE);
    this.late();
  }

  #tap(device: number, options: Parameters<typeof tap>[1]): void {
    const { fd } = loadNative().createTap(tap(this.#namespace.path, options));
    this.#descriptors.push(fd);
    this.#card.addTap(device, fd);
  }

  #batch(tool: 'ip' | 'bridge', lines: readonly (readonly string[])[]): void {
    run(this.#namespace.name, [tool, '-batch', '-'], lines.map((words) => words.join(' ')).join('\n'));
  }

  #nft(text: string): void {
    run(this.#namespace.name, ['nft', '-f', '-'], text);
  }

  #receive(): Delivery[] {
    const { memory } = this.#card;
    const deliveries: Delivery[] = [];
    memory.control[Control.TIMEOUT] = 0;
    for (let n = this.#card.poll(); n > 0; n = this.#card.poll()) {
      for (let i = 0; i < n; i++) {
        const slot = memory.rx[i]!;
        const frame = this.#finished(slot);
        const device = memory.device[slot]!;
        if (device !== UNDERLAY) deliveries.push({ to: PODS[device]!, frame });
        else if (isTunnelled(frame)) deliveries.push(unwrapped(frame));
        else deliveries.push({ to: 'uplink', frame });
        release(this.#card, slot);
      }
    }
    return deliveries;
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

const neighbour = (ip: string, mac: string, device: string): string[] => [
  ...['neigh', 'replace', ip, 'lladdr', mac, 'dev', device, 'nud', 'permanent'],
];

function run(namespace: string, argv: readonly string[], input: string): void {
  const { status, stderr } = spawnSync('ip', ['netns', 'exec', namespace, ...argv], {
    input,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${argv.join(' ')}: ${stderr}\n${input}`);
}

/** The datagram a peer sends. */
function outer(peer: string, frame: Uint8Array): Uint8Array {
  const payload = [8, 0, 0, 0, 0, VNI >> 8, VNI & 255, 0, ...frame];
  const from = PEERS[peer]!;
  return ethernet(
    { src: peerMac(from), dst: UNDERLAY_MAC },
    udp({ from, to: HOST_ADDRESS, sport: 50_000, dport: VXLAN_PORT, payload }),
  );
}

const isTunnelled = (frame: Uint8Array): boolean =>
  frame[23] === 17 && ((frame[36]! << 8) | frame[37]!) === VXLAN_PORT;

function unwrapped(datagram: Uint8Array): Delivery {
  const mac = macText(datagram.subarray(0, 6));
  const peer = Object.entries(PEERS).find(([, address]) => peerMac(address) === mac);
  return { to: peer?.[0] ?? `underlay ${mac}`, frame: datagram.subarray(14 + 20 + 8 + 8) };
}
