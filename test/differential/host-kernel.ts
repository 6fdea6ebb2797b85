/**
 * The kernel of Twill's host: an uplink to the outside, the link of the host port, and between the two the table, the
 * routes and the sysctls that the daemon's own code makes.
 */
import { type HostPlan, hostPlan } from '../../src/control/host-plan.ts';
import type { Replacement } from '../../src/control/services.ts';
import type { Resource } from '../../src/control/types.ts';
import { Faces } from '../../src/daemon/faces.ts';
import { HostSide } from '../../src/daemon/host-side.ts';
import type { HostSystem } from '../../src/daemon/host-system.ts';
import { Node, neighbour } from './node.ts';
import { familyOf, GATEWAY_MAC, GATEWAYS, HOST_PORT, MTU, STATIONS } from './world.ts';

const [UPLINK, LINK] = [0, 1];

export interface FromHost {
  /** Frames to Twill, and to the outside. */
  readonly inward: readonly Uint8Array[];
  readonly outward: readonly Uint8Array[];
}

export class HostKernel {
  readonly #node = new Node();
  readonly #faces = new Faces();
  readonly #side: HostSide;

  /** @param resources of the fabric, with a host port */
  constructor(resources: readonly Resource[]) {
    const plan = hostPlan(resources);
    this.#side = new HostSide(systemOf(this.#node, plan.ports[0]!.interface), '/differential');
    try {
      this.#build(plan);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  fromOutside(frame: Uint8Array): FromHost {
    this.#node.send(UPLINK, frame);
    return this.#received();
  }

  fromTwill(frame: Uint8Array): FromHost {
    this.#node.send(LINK, frame);
    return this.#received();
  }

  /** What nobody caused. */
  discard(): void {
    this.#node.receive();
  }

  commit(replacements: readonly Replacement[]): void {
    const change = this.#faces.commit(replacements);
    if (change) this.#side.serve(change);
    const { problems } = this.#side;
    if (problems.length > 0) throw new Error(problems.join('\n'));
  }

  close(): void {
    this.#node.close();
  }

  #build(plan: HostPlan): void {
    this.#node.set();
    this.#node.uplink(UPLINK);
    const name = plan.ports[0]!.interface;
    const addresses = HOST_PORT.addresses.map((address) => ({
      address,
      prefix: familyOf(address) === 4 ? 24 : 64,
    }));
    const index = this.#node.link(LINK, { name, mac: HOST_PORT.mac, mtu: MTU, addresses });
    this.#node.ip([...GATEWAYS.map((address) => neighbour(address, GATEWAY_MAC, name)), ...stationsBy(name)]);
    this.#side.apply(plan, () => index);
    this.#node.late();
  }

  #received(): FromHost {
    const arrived = this.#node.receive();
    const from = (wanted: number) =>
      arrived.filter(({ device }) => device === wanted).map(({ frame }) => frame);
    return { inward: from(LINK!), outward: from(UPLINK!) };
  }
}

/** The daemon's system calls, made in the namespace. @param link the only one that routes go by */
const systemOf = (node: Node, link: string): HostSystem => ({
  nft: (script) => node.nft(script),
  table: () => null,
  sysctl: (name) => node.run(['sysctl', '-n', name]).trim(),
  setSysctl: (name, value) => void node.run(['sysctl', '-qw', `${name}=${value}`]),
  changeRoute(add, { to, prefix, via, source }) {
    const way = ['via', via, 'dev', link, 'onlink', 'src', source];
    node.ip([['route', add ? 'add' : 'del', `${to}/${prefix}`, ...way]]);
  },
});

/** Stations as the host knows them, so that it asks nobody. */
export const stationsBy = (link: string): string[][] =>
  STATIONS.flatMap(({ ip, ip6, mac }) => [ip, ip6].map((address) => neighbour(address, mac, link)));
