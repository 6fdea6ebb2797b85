/** What crosses the host's uplink, or meets the host itself. */
import { type Draw, type Kinds, VIP } from './draw.ts';
import { datagram, type Ends, segment } from './packets.ts';
import { externalIPs } from './spec.ts';
import { echo, syn } from './strays-ip.ts';
import { NODE, of } from './world.ts';

const NODE_PORT = 30_000;
/** Of the service whose ClusterIP is `VIP`, which has no port 81. */
const EXTERNAL = externalIPs(0);

const node = (draw: Draw): string => of(NODE, draw.family);
const some = (draw: Draw, ends: Ends): number[] => (draw.random.chance(50) ? datagram(ends) : syn(ends));
/** From a pod or from outside. */
const toHost = (draw: Draw, packet: (from: string) => number[]) =>
  draw.random.chance(50)
    ? draw.routed(packet(draw.address(draw.pod)))
    : draw.inward(packet(draw.address(draw.outsider)));

export const OUTER: Kinds = {
  egress: [8, (draw) => draw.routed(some(draw, draw.ends(draw.pod, draw.address(draw.outsider))))],
  ingress: [8, (draw) => draw.inward(some(draw, draw.ends(draw.outsider, draw.address(draw.pod))))],
  nodeClosed: [
    4,
    (draw) => toHost(draw, (from) => some(draw, { from, to: node(draw), sport: draw.port, dport: 81 })),
  ],
  nodeEcho: [4, (draw) => toHost(draw, (from) => echo(from, node(draw)))],
  undefinedOuter: [
    4,
    (draw) => {
      const to = of(draw.random.chance(50) ? VIP : EXTERNAL, draw.family);
      return draw.inward(some(draw, draw.ends(draw.outsider, to)));
    },
  ],
  undefinedExternal: [
    4,
    (draw) => draw.routed(some(draw, draw.ends(draw.client, of(EXTERNAL, draw.family))), draw.client),
  ],
  midStreamOuter: [
    4,
    (draw) => {
      const isNode = draw.random.chance(50);
      const to = isNode ? node(draw) : of(VIP, draw.family);
      const flags = draw.random.pick(['A', 'PA', 'FA', 'SA', 'R']);
      const ends = { ...draw.ends(draw.outsider, to), dport: isNode ? NODE_PORT : 80 };
      return draw.inward(segment({ ...ends, flags, seq: 1000, ack: 0 }));
    },
  ],
  lastHopOuter: [
    3,
    (draw) => {
      const to = draw.random.pick([of(EXTERNAL, draw.family), node(draw), draw.address(draw.pod)]);
      const hops = draw.random.below(3);
      return draw.inward(datagram({ ...draw.ends(draw.outsider, to), dport: 81, hops }));
    },
  ],
  tooBigOuter: [
    2,
    (draw) => {
      const payload = new Uint8Array(1420 + draw.random.below(20));
      return draw.inward(datagram({ ...draw.ends(draw.outsider, draw.address(draw.pod)), payload }));
    },
  ],
};
