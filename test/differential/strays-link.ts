/** Frames the bridge has to do with: ordinary ones, rare ones, broken ones. */
import { arp, echoRequest, ethernet, icmp, udp } from '../frames.ts';
import { solicitation } from '../frames6.ts';
import { BROADCAST, type Draw, type Kinds } from './draw.ts';
import { GATEWAY_MAC, gatewayOf, STATIONS, type Station, station } from './world.ts';

const ask = (draw: Draw, targetIp: string) => {
  const { from } = draw;
  return draw.send(from, arp({ op: 'request', senderMac: from.mac, senderIp: from.ip, targetIp }));
};
const group = (draw: Draw, dst: string, to: string) => {
  const { from, port: sport } = draw;
  return draw.bridged(udp({ from: from.ip, to, sport, dport: 81 }), dst);
};

export const LINK: Kinds = {
  arpStation: [8, (draw) => ask(draw, draw.to.ip)],
  arpGateway: [4, (draw) => ask(draw, gatewayOf(draw.from))],
  announcement: [3, (draw) => ask(draw, draw.from.ip)],
  arpReply: [
    3,
    (draw) => {
      const [sender, target] = [draw.from, draw.to];
      const ends = { senderMac: sender.mac, senderIp: sender.ip, targetMac: target.mac, targetIp: target.ip };
      return draw.send(sender, arp({ op: 'reply', ...ends }));
    },
  ],
  askStation: [4, (draw) => draw.send(draw.from, asking(draw.from, draw.to.ip6))],
  unknown: [6, (draw) => draw.raw(0x88b5, `02:aa:00:00:00:${hexByte(draw.random.below(256))}`)],
  moved: [6, (draw) => draw.raw(0x88b5, draw.random.chance(30) ? BROADCAST : draw.to.mac, wanderer(draw))],
  toMoved: [6, (draw) => draw.raw(0x88b5, wanderer(draw))],
  broadcast: [6, (draw) => group(draw, BROADCAST, '255.255.255.255')],
  multicast: [4, (draw) => group(draw, '01:00:5e:00:00:fb', '224.0.0.251')],
  groupSource: [
    2,
    (draw) => {
      const source = draw.random.pick(['01:00:00:00:00:01', BROADCAST, '00:00:00:00:00:00']);
      return draw.raw(0x88b5, draw.to.mac, source);
    },
  ],
  reserved: [
    2,
    (draw) => draw.raw(0x88b5, `01:80:c2:00:00:${hexByte(draw.random.pick([0, 1, 2, 3, 14, 16, 32]))}`),
  ],
  staticMove: [
    2,
    (draw) => {
      const others = STATIONS.filter(({ place }) => place !== draw.from.place);
      return draw.raw(0x88b5, draw.to.mac, draw.random.pick(others).mac);
    },
  ],
  tagged: [
    5,
    (draw) => {
      const vlan = 1 + draw.random.below(4094);
      return draw.send(draw.from, tagged(vlan, draw.from, draw.random.chance(50) ? draw.to.mac : BROADCAST));
    },
  ],
  priorityTag: [2, (draw) => draw.send(draw.from, tagged(0, draw.from, draw.to.mac))],
  short: [
    3,
    (draw) => {
      const type = draw.random.pick([0x0800, 0x88b5, 0x0806]);
      return draw.raw(type, draw.to.mac, draw.from.mac, draw.random.below(20));
    },
  ],
  otherType: [4, (draw) => draw.raw(draw.random.pick([0x0020, 0x88cc, 0x86dd, 0x8100, 0x9000]), draw.to.mac)],
  padded: [
    4,
    (draw) => {
      const packet = udp({ from: draw.from.ip, to: draw.to.ip, sport: draw.port, dport: 81, payload: [1] });
      return draw.bridged([...packet, ...draw.bytes(17)]);
    },
  ],
  gatewayFromTunnel: [
    2,
    (draw) => {
      const far = station('far');
      return draw.routed(echoRequest(far.ip, gatewayOf(far)), far);
    },
  ],
  unicastToGateway: [
    2,
    (draw) => {
      const { pod } = draw;
      return draw.send(pod, ethernet({ src: pod.mac, dst: GATEWAY_MAC, type: 0x88b5 }, draw.bytes(50)));
    },
  ],
  bootp: [
    1,
    (draw) => draw.bridged(udp({ from: '0.0.0.0', to: '255.255.255.255', sport: 68, dport: 67 }), BROADCAST),
  ],
};

const hexByte = (value: number): string => value.toString(16).padStart(2, '0');
/** A station that speaks now here, now there. */
const wanderer = ({ random }: Draw): string => `02:bb:00:00:00:${hexByte(random.below(16))}`;

const asking = (from: Station, target: string): Uint8Array =>
  solicitation({ src: from.mac, from: from.ip6, target });

const tagged = (vlan: number, from: Station, dst: string): Uint8Array =>
  ethernet({ src: from.mac, dst, type: 0x8100 }, [
    ...[vlan >> 8, vlan & 255, 8, 0],
    ...icmp(from.ip, from.ip, [8, 0, 0, 0, 0, 1, 0, 1]),
  ]);
