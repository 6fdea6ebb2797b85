/**
 * The kernel's side: one host with a bridge that is the gateway, a TAP per pod, a VXLAN device, and the rules of
 * `rules.ts`.
 */
import { ethernet, macText, udp } from '../frames.ts';
import { type Arrived, Node, neighbour } from './node.ts';
import { base, update } from './rules.ts';
import type { Change } from './spec.ts';
import {
  BEYOND,
  type Delivery,
  familyOf,
  GATEWAY_MAC,
  GATEWAYS,
  HOST_ADDRESS,
  HOST_PORT,
  hasHost,
  isBridged,
  type Mode,
  MTU,
  NODE_MAC,
  OUTSIDE,
  PEERS,
  PODS,
  SERVICE_CIDRS,
  STATIONS,
  VNI,
  VXLAN_PORT,
  type World,
} from './world.ts';

const UPLINK = PODS.length;
const peerMac = (address: string): string => `02:00:00:00:99:0${address.split('.')[3]}`;
const PREFIX = { 4: 24, 6: 64 } as const;

export class KernelWorld implements World {
  readonly #node = new Node();

  constructor(mode: Mode) {
    try {
      this.#build(mode);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  send(place: string, frames: readonly Uint8Array[]): Delivery[] {
    this.#node.receive(); // what came meanwhile is nobody's answer
    const pod = PODS.indexOf(place as (typeof PODS)[number]);
    for (const frame of frames)
      this.#node.send(pod < 0 ? UPLINK : pod, place in PEERS ? outer(place, frame) : frame);
    return this.#node.receive().map(delivery).filter(isCaused);
  }

  /** What comes when one waits. */
  late(): Delivery[] {
    return this.#node.late().map(delivery).filter(isCaused);
  }

  change(change: Change): void {
    this.#node.nft(update(change));
  }

  close(): void {
    this.#node.close();
  }

  #build(mode: Mode): void {
    const filters = isBridged(mode) ? 1 : 0;
    const tables = ['iptables', 'ip6tables', 'arptables'];
    this.#node.set(Object.fromEntries(tables.map((name) => [`net.bridge.bridge-nf-call-${name}`, filters])));
    for (const [device, name] of PODS.entries())
      this.#node.link(device, { name, mac: `02:00:00:00:98:0${device}`, mtu: MTU });
    this.#node.uplink(UPLINK);
    const bridge = ['forward_delay', '0', 'mcast_snooping', '0', 'ageing_time', '100000000'];
    const vxlan = ['id', `${VNI}`, 'local', HOST_ADDRESS, 'dstport', `${VXLAN_PORT}`, 'learning'];
    this.#node.ip([
      ['link', 'add', 'br0', 'address', GATEWAY_MAC, 'type', 'bridge', ...bridge],
      ['link', 'add', 'vx0', 'mtu', `${MTU}`, 'type', 'vxlan', ...vxlan],
      ...[...PODS, 'vx0'].map((name) => ['link', 'set', 'dev', name, 'master', 'br0', 'up']),
      ['link', 'set', 'dev', 'br0', 'up'],
      ...GATEWAYS.map((address) => [
        ...['address', 'add', `${address}/${PREFIX[familyOf(address)]}`, 'dev', 'br0'],
      ]),
      ...STATIONS.flatMap(({ ip, ip6, mac }) => [ip, ip6].map((address) => neighbour(address, mac, 'br0'))),
      ...Object.values(PEERS).map((address) => neighbour(address, peerMac(address), 'uplink')),
      ...SERVICE_CIDRS.map((cidr, i) => ['route', 'add', cidr, 'via', BEYOND.addresses[i]!]),
    ]);
    this.#node.bridge([
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
    if (hasHost(mode)) this.#addHost();
    this.#node.nft(base(mode));
    this.late();
  }

  /**
   * The addresses of Twill's host port are the host's, though it speaks by the gateway's where it may choose; so is the
   * port's MAC, for which the bridge has no second place.
   */
  #addHost(): void {
    this.#node.ip(
      HOST_PORT.addresses.map((address) => [
        ...(familyOf(address) === 4
          ? ['address', 'add', `${address}/32`, 'dev', 'br0']
          : ['address', 'add', `${address}/128`, 'dev', 'br0', 'preferred_lft', '0']),
      ]),
    );
    this.#node.nft(`
table bridge host {
  chain prerouting {
    type filter hook prerouting priority dstnat - 20
    ether daddr ${HOST_PORT.mac} ether daddr set ${GATEWAY_MAC} meta pkttype set host
  }
}
`);
  }
}

function delivery({ device, frame }: Arrived): Delivery {
  if (device !== UPLINK) return { to: PODS[device]!, frame };
  const isTunnelled = frame[12] === 8 && frame[23] === 17 && ((frame[36]! << 8) | frame[37]!) === VXLAN_PORT;
  return isTunnelled ? unwrapped(frame) : { to: OUTSIDE, frame };
}

/** Reports of multicast groups (MLD, behind a hop-by-hop header) come when the kernel likes. */
const isCaused = ({ frame }: Delivery): boolean =>
  !(frame[12] === 0x86 && frame[13] === 0xdd && frame[20] === 0 && (frame[62] === 143 || frame[62] === 131));

/** The datagram a peer sends. */
function outer(peer: string, frame: Uint8Array): Uint8Array {
  const payload = [8, 0, 0, 0, 0, VNI >> 8, VNI & 255, 0, ...frame];
  const from = PEERS[peer]!;
  return ethernet(
    { src: peerMac(from), dst: NODE_MAC },
    udp({ from, to: HOST_ADDRESS, sport: 50_000, dport: VXLAN_PORT, payload }),
  );
}

function unwrapped(datagram: Uint8Array): Delivery {
  const mac = macText(datagram.subarray(0, 6));
  const peer = Object.entries(PEERS).find(([, address]) => peerMac(address) === mac);
  return { to: peer?.[0] ?? `underlay ${mac}`, frame: datagram.subarray(14 + 20 + 8 + 8) };
}
