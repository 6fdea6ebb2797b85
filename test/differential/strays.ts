/** Frames that belong to no connection: ordinary ones, rare ones, broken ones. */
import { arp, echoRequest, ethernet, icmp, internetChecksum, ipv4, ipv6, tcp, udp } from '../frames.ts';
import type { Random } from '../random.ts';
import type { Outgoing } from './connection.ts';
import { CLIENTS } from './services.ts';
import { GATEWAY_MAC, gatewayOf, isOnOneLink, isPod, MTU, STATIONS, type Station, station } from './world.ts';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const VIP = '10.96.0.10';
/** A known ClusterIP has no such port. */
const UNDEFINED_PORT = 81;
const WEIGHTS = {
  ...{
    echo: 20,
    echoGateway: 6,
    closedGateway: 4,
    routed: 8,
    arpStation: 8,
    arpGateway: 4,
    announcement: 3,
    arpReply: 3,
  },
  ...{
    unknown: 6,
    moved: 6,
    toMoved: 6,
    broadcast: 6,
    multicast: 4,
    groupSource: 2,
    reserved: 2,
    staticMove: 2,
  },
  ...{
    tagged: 5,
    priorityTag: 2,
    short: 3,
    otherType: 4,
    lastHop: 3,
    noRoute: 4,
    undefinedPort: 6,
    echoVip: 3,
  },
  ...{
    midStream: 4,
    fragment: 3,
    fragmentToVip: 3,
    brokenIp: 3,
    badSum: 3,
    tooBig: 3,
    padded: 4,
    gatewayFromTunnel: 2,
  },
  ...{ unicastToGateway: 2, protocol: 2, protocolToVip: 2, bootp: 1, ipv6: 8 },
};

export class Strays {
  readonly #random: Random;
  #port = 1024;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): Outgoing {
    const kind = this.#random.weighted(WEIGHTS);
    return { label: kind, ...this.#make(kind) };
  }

  #make(kind: keyof typeof WEIGHTS): Omit<Outgoing, 'label'> {
    const random = this.#random;
    const pod = random.pick(STATIONS.filter(({ place }) => isPod(place)));
    const from = random.chance(80) ? pod : random.pick(STATIONS);
    const to = random.pick(STATIONS.filter((other) => other !== from && isOnOneLink(other.ip, from.ip)));
    const client = station(random.pick(CLIENTS));
    const send = (source: Station, frame: Uint8Array) => ({ place: source.place, frame });
    const bridged = (packet: readonly number[]) =>
      send(from, ethernet({ src: from.mac, dst: to.mac }, packet));
    const routed = (packet: readonly number[]) =>
      send(pod, ethernet({ src: pod.mac, dst: GATEWAY_MAC }, packet));
    const toVip = (packet: readonly number[]) =>
      send(client, ethernet({ src: client.mac, dst: GATEWAY_MAC }, packet));
    const [sport, dport] = [this.#nextPort(), UNDEFINED_PORT];
    const raw = (type: number, dst: string, src = from.mac, length = 46 + random.below(60)) =>
      send(from, ethernet({ src, dst, type }, bytes(random, length)));
    switch (kind) {
      case 'echo':
        return bridged(echoRequest(from.ip, to.ip));
      case 'echoGateway':
        return routed(echoRequest(pod.ip, gatewayOf(pod)));
      case 'closedGateway': {
        const packet = { from: pod.ip, to: gatewayOf(pod), sport, dport };
        return routed(random.chance(50) ? udp(packet) : tcp(packet));
      }
      case 'routed': {
        const beyond = random.pick(STATIONS.filter((other) => !isOnOneLink(other.ip, pod.ip)));
        return routed(udp({ from: pod.ip, to: beyond.ip, sport, dport }));
      }
      case 'arpStation':
        return send(from, arp({ op: 'request', senderMac: from.mac, senderIp: from.ip, targetIp: to.ip }));
      case 'arpGateway':
        return send(
          from,
          arp({ op: 'request', senderMac: from.mac, senderIp: from.ip, targetIp: gatewayOf(from) }),
        );
      case 'announcement':
        return send(from, arp({ op: 'request', senderMac: from.mac, senderIp: from.ip, targetIp: from.ip }));
      case 'arpReply': {
        const [senderMac, targetMac] = [from.mac, to.mac];
        return send(from, arp({ op: 'reply', senderMac, senderIp: from.ip, targetMac, targetIp: to.ip }));
      }
      case 'unknown':
        return raw(0x88b5, `02:aa:00:00:00:${hexByte(random.below(256))}`);
      case 'moved':
        return raw(0x88b5, random.chance(30) ? BROADCAST : to.mac, wanderer(random));
      case 'toMoved':
        return raw(0x88b5, wanderer(random));
      case 'broadcast':
        return send(
          from,
          ethernet(
            { src: from.mac, dst: BROADCAST },
            udp({ from: from.ip, to: '255.255.255.255', sport, dport }),
          ),
        );
      case 'multicast':
        return send(
          from,
          ethernet(
            { src: from.mac, dst: '01:00:5e:00:00:fb' },
            udp({ from: from.ip, to: '224.0.0.251', sport, dport }),
          ),
        );
      case 'groupSource':
        return raw(0x88b5, to.mac, random.pick(['01:00:00:00:00:01', BROADCAST, '00:00:00:00:00:00']));
      case 'reserved':
        return raw(0x88b5, `01:80:c2:00:00:${hexByte(random.pick([0, 1, 2, 3, 14, 16, 32]))}`);
      case 'staticMove':
        return raw(0x88b5, to.mac, random.pick(STATIONS.filter(({ place }) => place !== from.place)).mac);
      case 'tagged':
        return send(from, tagged(1 + random.below(4094), from, random.chance(50) ? to.mac : BROADCAST));
      case 'priorityTag':
        return send(from, tagged(0, from, to.mac));
      case 'short':
        return raw(random.pick([0x0800, 0x88b5, 0x0806]), to.mac, from.mac, random.below(20));
      case 'otherType':
        return raw(random.pick([0x0020, 0x88cc, 0x86dd, 0x8100, 0x9000]), to.mac);
      case 'lastHop': {
        const beyond = random.pick(STATIONS.filter((other) => other !== pod));
        const where = random.pick([beyond.ip, VIP, '10.11.12.13']);
        return routed(udp({ from: pod.ip, to: where, sport, dport, ttl: random.below(2) }));
      }
      case 'noRoute':
        return routed(udp({ from: pod.ip, to: '10.11.12.13', sport, dport }));
      case 'undefinedPort': {
        const packet = { from: client.ip, to: VIP, sport, dport };
        return toVip(random.chance(50) ? udp(packet) : tcp(packet));
      }
      case 'echoVip':
        return toVip(echoRequest(client.ip, VIP));
      case 'midStream':
        return toVip(
          tcp({
            from: client.ip,
            to: VIP,
            sport,
            dport: 80,
            flags: random.pick(['A', 'PA', 'FA', 'SA', 'R']),
          }),
        );
      case 'fragment':
        return bridged(
          ipv4(
            { from: from.ip, to: to.ip, protocol: 17, id: sport, fragment: random.pick([0x2000, 0x0010]) },
            bytes(random, 64),
          ),
        );
      case 'fragmentToVip':
        return toVip(
          ipv4(
            { from: client.ip, to: VIP, protocol: 17, id: sport, fragment: random.pick([0x2000, 0x0010]) },
            bytes(random, 64),
          ),
        );
      case 'brokenIp':
        return (random.chance(50) ? bridged : routed)(
          broken(random, udp({ from: pod.ip, to: to.ip, sport, dport })),
        );
      case 'badSum': {
        const packet = udp({ from: pod.ip, to: random.pick([to.ip, VIP]), sport, dport });
        packet[10]! ^= 0x55;
        return (random.chance(50) ? bridged : routed)(packet);
      }
      case 'tooBig': {
        const beyond = random.pick(STATIONS.filter((other) => !isOnOneLink(other.ip, pod.ip)));
        const [isRouted, fragment] = [random.chance(50), 0x4000];
        const big = { sport, dport, fragment, payload: new Uint8Array(MTU - 28 + 5 + random.below(40)) };
        return isRouted
          ? routed(udp({ from: pod.ip, to: beyond.ip, ...big }))
          : bridged(udp({ from: from.ip, to: to.ip, ...big }));
      }
      case 'padded':
        return bridged([
          ...udp({ from: from.ip, to: to.ip, sport, dport, payload: [1] }),
          ...bytes(random, 17),
        ]);
      case 'gatewayFromTunnel': {
        const far = station('far');
        return send(far, ethernet({ src: far.mac, dst: GATEWAY_MAC }, echoRequest(far.ip, gatewayOf(far))));
      }
      case 'unicastToGateway':
        return send(pod, ethernet({ src: pod.mac, dst: GATEWAY_MAC, type: 0x88b5 }, bytes(random, 50)));
      case 'protocol':
        return routed(
          ipv4(
            { from: pod.ip, to: random.pick(STATIONS.filter((s) => s !== pod)).ip, protocol: 50 },
            bytes(random, 32),
          ),
        );
      case 'protocolToVip':
        return toVip(ipv4({ from: client.ip, to: VIP, protocol: 50 }, bytes(random, 32)));
      case 'ipv6': {
        const packet = ipv6(
          { from: `fd00::${sport}`, to: `fd00::${dport}`, protocol: 17 },
          bytes(random, 40),
        );
        const dst = random.pick([to.mac, '33:33:00:00:00:fb']);
        return send(from, ethernet({ src: from.mac, dst, type: 0x86dd }, packet));
      }
      case 'bootp':
        return send(
          from,
          ethernet(
            { src: from.mac, dst: BROADCAST },
            udp({ from: '0.0.0.0', to: '255.255.255.255', sport: 68, dport: 67 }),
          ),
        );
    }
  }

  #nextPort(): number {
    this.#port = this.#port >= 9999 ? 1024 : this.#port + 1;
    return this.#port;
  }
}

const hexByte = (value: number): string => value.toString(16).padStart(2, '0');
/** A station that speaks now here, now there. */
const wanderer = (random: Random): string => `02:bb:00:00:00:${hexByte(random.below(16))}`;
const bytes = (random: Random, length: number): number[] => Array.from({ length }, () => random.below(256));

const tagged = (vlan: number, from: Station, dst: string): Uint8Array =>
  ethernet({ src: from.mac, dst, type: 0x8100 }, [
    ...[vlan >> 8, vlan & 255, 8, 0],
    ...icmp(from.ip, from.ip, [8, 0, 0, 0, 0, 1, 0, 1]),
  ]);

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
