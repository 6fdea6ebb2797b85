/** Packets of both families that belong to no connection: to neighbours, to the gateway, beyond it, to services. */
import { ethernet, internetChecksum, ipv4, ipv6, udp, withOptions } from '../frames.ts';
import type { Random } from '../random.ts';
import { type Draw, type Kinds, NOWHERE, UNDEFINED_PORT, VIP } from './draw.ts';
import { datagram, type Ends, message, segment } from './packets.ts';
import { type Family, GATEWAY_MAC, MTU, of, STATIONS } from './world.ts';

export const echo = (from: string, to: string): number[] =>
  message(from, to, [from.includes(':') ? 128 : 8, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3, 4]);
export const syn = (ends: Ends): number[] => segment({ ...ends, flags: 'S', seq: 1000, ack: 0 });
const vip = (draw: Draw): string => of(VIP, draw.family);
/** A protocol without a checksum, and one of nobody's. */
const [ESP, EXPERIMENTAL] = [50, 253];
/** Nothing of TCP's or UDP's. */
const other = (from: string, to: string, protocol: number, body: Uint8Array): number[] =>
  from.includes(':') ? ipv6({ from, to, protocol }, body) : ipv4({ from, to, protocol }, body);
/** A lone fragment, the first or a later one. */
function fragment(draw: Draw, to: string, from = draw.address(draw.from)): number[] {
  const isFirst = draw.random.chance(50);
  const { port: id, family } = draw;
  const body = draw.bytes(64);
  return family === 4
    ? ipv4({ from, to, protocol: 17, id, fragment: isFirst ? 0x2000 : 0x0010 }, body)
    : ipv6({ from, to, protocol: 44 }, [17, 0, 0, isFirst ? 1 : 0x80, 0, 0, id >> 8, id & 255, ...body]);
}

export const IP: Kinds = {
  echo: [20, (draw) => draw.bridged(echo(draw.address(draw.from), draw.address(draw.to)))],
  echoGateway: [6, (draw) => draw.routed(echo(draw.address(draw.pod), draw.gateway))],
  closedGateway: [
    4,
    (draw) => {
      const ends = draw.ends(draw.pod, draw.gateway);
      return draw.routed(draw.random.chance(50) ? datagram(ends) : syn(ends));
    },
  ],
  routed: [8, (draw) => draw.routed(datagram(draw.ends(draw.pod, draw.address(draw.beyond))))],
  lastHop: [
    3,
    (draw) => {
      const others = STATIONS.filter((station) => station !== draw.pod).map((station) =>
        draw.address(station),
      );
      const to = draw.random.pick([draw.random.pick(others), vip(draw), of(NOWHERE, draw.family)]);
      return draw.routed(datagram({ ...draw.ends(draw.pod, to), hops: draw.random.below(2) }));
    },
  ],
  noRoute: [4, (draw) => draw.routed(datagram(draw.ends(draw.pod, of(NOWHERE, draw.family))))],
  undefinedPort: [
    6,
    (draw) => {
      const ends = draw.ends(draw.client, vip(draw));
      return draw.routed(draw.random.chance(50) ? datagram(ends) : syn(ends), draw.client);
    },
  ],
  echoVip: [3, (draw) => draw.routed(echo(draw.address(draw.client), vip(draw)), draw.client)],
  midStream: [
    4,
    (draw) => {
      const flags = draw.random.pick(['A', 'PA', 'FA', 'SA', 'R']);
      const ends = { ...draw.ends(draw.client, vip(draw)), dport: 80 };
      return draw.routed(segment({ ...ends, flags, seq: 1000, ack: 0 }), draw.client);
    },
  ],
  fragment: [3, (draw) => draw.bridged(fragment(draw, draw.address(draw.to)))],
  fragmentToVip: [
    3,
    (draw) => draw.routed(fragment(draw, vip(draw), draw.address(draw.client)), draw.client),
  ],
  brokenIp: [
    3,
    (draw) => {
      const ends = { from: draw.pod.ip, to: draw.to.ip, sport: draw.port, dport: 81 };
      const packet = broken(draw.random, udp(ends));
      return draw.random.chance(50)
        ? draw.send(draw.from, ethernet({ src: draw.from.mac, dst: draw.to.mac }, packet))
        : draw.send(draw.pod, ethernet({ src: draw.pod.mac, dst: GATEWAY_MAC }, packet));
    },
  ],
  badSum: [
    3,
    (draw) => {
      const to = draw.random.pick([draw.to.ip, VIP[0]]);
      const packet = udp({ from: draw.pod.ip, to, sport: draw.port, dport: 81 });
      packet[10]! ^= 0x55;
      return draw.random.chance(50) ? draw.bridged(packet) : draw.routed(packet);
    },
  ],
  tooBig: [
    3,
    (draw) => {
      const payload = new Uint8Array(MTU - HEADERS[draw.family] + 5 + draw.random.below(40));
      return draw.random.chance(50)
        ? draw.routed(datagram({ ...draw.ends(draw.pod, draw.address(draw.beyond)), payload }))
        : draw.bridged(datagram({ ...draw.ends(draw.from, draw.address(draw.to)), payload }));
    },
  ],
  /** May be cut (N34), with options that are to be copied and others. */
  tooBigToCut: [
    4,
    (draw) => {
      const isRouted = draw.random.chance(75);
      const [from, to] = isRouted ? [draw.pod, draw.beyond] : [draw.from, draw.to];
      const payload = draw.bytes(MTU - HEADERS[4] + 1 + draw.random.below(3000));
      const ends = { from: from.ip, to: to.ip, sport: draw.port, dport: UNDEFINED_PORT };
      const plain = udp({ ...ends, id: draw.port, fragment: 0, payload });
      const packet = draw.random.chance(50) ? plain : withOptions(plain, OPTIONS);
      return isRouted ? draw.routed(packet) : draw.bridged(packet);
    },
  ],
  protocol: [
    2,
    (draw) => {
      const to = draw.random.pick(STATIONS.filter((station) => station !== draw.pod));
      return draw.routed(other(draw.address(draw.pod), draw.address(to), ESP, draw.bytes(32)));
    },
  ],
  protocolToVip: [
    2,
    (draw) => draw.routed(other(draw.address(draw.client), vip(draw), ESP, draw.bytes(32)), draw.client),
  ],
  unknown6: [
    4,
    (draw) => {
      const [from, to] = [`fd00::${draw.port}`, `fd00::${draw.random.below(9999)}`];
      const dst = draw.random.pick([draw.to.mac, '33:33:00:00:00:fb']);
      const isUdp = draw.random.chance(50);
      const packet = isUdp
        ? datagram({ from, to, sport: draw.port, dport: 81 })
        : other(from, to, EXPERIMENTAL, draw.bytes(40));
      return draw.bridged(packet, dst);
    },
  ],
};

/** Of a datagram. */
const HEADERS: Readonly<Record<Family, number>> = { 4: 28, 6: 48 };

/** Of experiments (RFC 4727), one not to be copied into fragments, one to be; and no operation. */
const OPTIONS = [0x1e, 4, 1, 2, 0x9e, 4, 3, 4, 1];

/** An IPv4 packet whose header contradicts itself. */
function broken(random: Random, packet: number[]): number[] {
  const [at, value] = random.pick([
    [0, 0x65],
    [0, 0x44],
    [0, 0x4f],
    [2, 0xff],
    [3, 0x10],
  ] as const);
  packet[at] = value;
  const header = packet.slice(0, 20).fill(0, 10, 12);
  const sum = internetChecksum(header);
  packet[10] = sum >> 8;
  packet[11] = sum & 255;
  return packet;
}
