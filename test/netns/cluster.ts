/**
 * A cluster for what Kubernetes' e2e tests assert: two nodes, each a daemon whose host takes part, and pods that serve
 * HTTP and UDP on 8080 and 8081 and tell their name.
 *
 *   world  192.0.2.9
 *   alpha  192.0.2.1   10.77.0.2   a1 10.77.0.11   a2 10.77.0.12
 *   beta   192.0.2.2   10.77.0.3   b1 10.77.0.13   b2 10.77.0.14
 */
import { join } from 'node:path';
import type { ApplyResponse } from '../../src/control/protocol.ts';
import { call } from '../../src/program/client.ts';
import { type Background, type Daemon, ROOT, type TestLab, testLab } from '../lab/lab.ts';
import type { Asked, Followed, Streamed } from './agnhost.ts';
import { network, peer, port, yaml } from './kit.ts';

export const PODS = { a1: '10.77.0.11', a2: '10.77.0.12', b1: '10.77.0.13', b2: '10.77.0.14' } as const;
export type PodName = keyof typeof PODS;
export const NODES = { alpha: '192.0.2.1', beta: '192.0.2.2' } as const;
export const IN_NETWORK = { alpha: '10.77.0.2', beta: '10.77.0.3' } as const;
export const WORLD = '192.0.2.9';
/** External addresses the world sends to a node. */
export const BEHIND = { alpha: '203.0.113.0/25', beta: '203.0.113.128/25' } as const;
/** Further addresses of the world. */
export const OTHER_CLIENTS = ['198.51.100.7'] as const;
/** What the pods listen on, TCP and UDP. */
export const [FIRST, SECOND] = [8080, 8081];
const AGENT = join(ROOT, 'dist/test/netns/agnhost.js');
const NAMES = Object.keys(PODS) as PodName[];
const nodeOf = (pod: PodName): 'alpha' | 'beta' => (pod.startsWith('a') ? 'alpha' : 'beta');

type Spec = Readonly<Record<string, unknown>>;

export const servicePort = (name: string, protocol: 'TCP' | 'UDP', number = 80, more: Spec = {}): Spec => ({
  name,
  protocol,
  port: number,
  ...more,
});
const BOTH = [servicePort('http', 'TCP'), servicePort('udp', 'UDP')];

export const service = (name: string, clusterIP: string, spec: Spec = {}, labels: Spec = {}): Spec => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'e2e', labels },
  spec: { clusterIP, ports: BOTH, ...spec },
});

export interface EndpointLook {
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly hints?: Spec;
}

/** A slice with some pods. @param pods names; with conditions where they are not simply ready */
export function endpoints(
  of: string,
  pods: readonly (PodName | readonly [PodName, EndpointLook])[],
  ports: readonly Spec[] = [servicePort('http', 'TCP', FIRST), servicePort('udp', 'UDP', FIRST)],
): Spec {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${of}-1`, namespace: 'e2e', labels: { 'kubernetes.io/service-name': of } },
    addressType: 'IPv4',
    ports,
    endpoints: pods.map((entry) => {
      const [pod, { hints, ...conditions }] = typeof entry === 'string' ? [entry, {} as EndpointLook] : entry;
      return { addresses: [PODS[pod]], nodeName: nodeOf(pod), conditions, ...(hints && { hints }) };
    }),
  };
}

const hostOf = (name: keyof typeof NODES, more: Spec): Spec => ({
  apiVersion: 'twill/v1alpha1',
  kind: 'Host',
  metadata: { name },
  spec: {
    underlay: { address: NODES[name] },
    nodeName: name,
    zone: `zone-${name}`,
    clusterCIDRs: ['10.77.0.0/24'],
    serviceCIDRs: ['10.96.0.0/16'],
    ...more,
  },
});

export class Cluster {
  readonly lab: TestLab = testLab();
  readonly ns: Record<string, string> = {};
  #daemons: Daemon[] = [];
  #held = 0;

  get daemons(): readonly Daemon[] {
    return this.#daemons;
  }

  /** @param more of both Hosts */
  async start(more: Spec = {}): Promise<void> {
    const { lab, ns } = this;
    for (const name of ['world', 'alpha', 'beta', ...NAMES]) ns[name] = await lab.namespace(name);
    for (const [name, address] of Object.entries(NODES)) {
      const inside = { namespace: ns[name]!, name: 'uplink', address: `${address}/24` };
      await lab.wire(inside, { namespace: ns.world!, name });
    }
    await lab.bridge(ns.world!, 'wire', ['alpha', 'beta']);
    await lab.ip(ns.world!, 'address', 'add', `${WORLD}/24`, 'dev', 'wire');
    for (const [name, prefix] of Object.entries(BEHIND))
      await lab.ip(ns.world!, 'route', 'add', prefix, 'via', NODES[name as keyof typeof NODES]);
    for (const address of OTHER_CLIENTS)
      await lab.ip(ns.world!, 'address', 'add', `${address}/32`, 'dev', 'lo');
    for (const name of ['alpha', 'beta']) await lab.ip(ns[name]!, 'route', 'add', 'default', 'via', WORLD);
    const started = NAMES.map((name) => this.#serve(name));
    [this.#daemons] = await Promise.all([
      Promise.all([this.#daemon('alpha', 'beta', more), this.#daemon('beta', 'alpha', more)]),
      ...started,
    ]);
  }

  #daemon(name: 'alpha' | 'beta', other: 'alpha' | 'beta', more: Spec): Promise<Daemon> {
    const own = { netns: undefined, interface: undefined };
    const documents = [
      hostOf(name, more),
      peer(other, NODES[other]),
      network('blue', 42, {}, { nat: { masquerade: true } }),
      port(name, 'blue', '', IN_NETWORK[name], own),
      ...NAMES.filter((pod) => nodeOf(pod) === name).map((pod) =>
        port(pod, 'blue', this.ns[pod]!, PODS[pod]),
      ),
    ];
    return this.lab.daemonWith(this.ns[name]!, `${name}-daemon`, yaml(...documents));
  }

  async #serve(name: PodName): Promise<void> {
    const argv = [process.execPath, AGENT, 'serve', name, String(FIRST), String(SECOND)];
    const server = this.lab.start(this.ns[name]!, `pod-${name}`, argv);
    await server.waitFor((text) => text.includes('serving'));
  }

  /** The same documents to both nodes. */
  async apply(...documents: readonly Spec[]): Promise<void> {
    const sources = [{ file: 'e2e.yaml', text: yaml(...documents) }];
    await this.#toBoth('POST', '/v1/apply', { sources });
  }

  /** To one node alone. */
  async applyOn(node: keyof typeof NODES, ...documents: readonly Spec[]): Promise<void> {
    const sources = [{ file: 'e2e.yaml', text: yaml(...documents) }];
    const { socket } = this.#daemons[node === 'alpha' ? 0 : 1]!;
    await call<ApplyResponse>({ socket, timeout: 10_000 }, 'POST', '/v1/apply', { sources });
  }

  async delete(kind: 'services' | 'endpointslices', name: string): Promise<void> {
    await this.#toBoth('DELETE', `/v1/${kind}/${name}?namespace=e2e`);
  }

  async #toBoth(method: string, path: string, body?: unknown): Promise<void> {
    const targets = this.#daemons.map(({ socket }) => ({ socket, timeout: 10_000 }));
    await Promise.all(targets.map((target) => call<ApplyResponse>(target, method, path, body)));
  }

  /** Asks who serves an address. @param from a pod, a node, or the world */
  ask(
    from: string,
    protocol: 'http' | 'udp',
    address: string,
    at: number,
    options: { count?: number; what?: 'hostname' | 'clientip'; local?: string } = {},
  ): Promise<Asked> {
    const { count = 4, what = 'hostname', local = '' } = options;
    return this.#run(from, ['ask', protocol, address, at, count, what, local]);
  }

  /** Names that answered, sorted; an error instead where there was one. */
  async who(...question: Parameters<Cluster['ask']>): Promise<string[]> {
    const { answers, errors } = await this.ask(...question);
    return [...Object.keys(answers), ...errors.slice(0, 1)].sort();
  }

  /**
   * What each client is answered, one client after the other: two of one node that ask at once may take turns exactly,
   * and each then meets every other endpoint only.
   */
  async each(
    clients: readonly string[],
    ...[protocol, address, at, options]: Parameters<Cluster['ask']> extends [string, ...infer Rest]
      ? Rest
      : never
  ): Promise<string[][]> {
    const found = [];
    for (const from of clients) found.push(await this.who(from, protocol, address, at, options));
    return found;
  }

  post(from: string, protocol: 'http' | 'udp', address: string, at: number, bytes: number): Promise<boolean> {
    return this.#run(from, ['post', protocol, address, at, bytes]);
  }

  follow(from: string, address: string, at: number, sourcePort: number, ms: number): Promise<Followed> {
    return this.#run(from, ['follow', address, at, sourcePort, ms]);
  }

  /** Numbered datagrams, one a millisecond. */
  stream(from: string, address: string, at: number, ms: number): Promise<Streamed> {
    return this.#run(from, ['stream', address, at, ms]);
  }

  /** One connection after the other. */
  asking(from: string, address: string, at: number, ms: number): Promise<Asked> {
    return this.#run(from, ['asking', address, at, ms]);
  }

  /** A connection that asks all the time; its output tells of each answer. */
  async hold(from: string, address: string, at: number): Promise<Background> {
    const argv = [process.execPath, AGENT, 'hold', address, String(at)];
    const held = this.lab.start(this.ns[from]!, `hold-${this.#held++}`, argv);
    await held.waitFor((text) => text.includes('answer'));
    return held;
  }

  async #run<T>(from: string, words: readonly (string | number)[]): Promise<T> {
    const argv = [process.execPath, AGENT, ...words.map(String)];
    return JSON.parse(await this.lab.must(this.ns[from]!, argv)) as T;
  }
}
