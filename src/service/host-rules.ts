import type { CidrConfig, HostConfig } from '../dataplane/config.ts';
import { isInPrefixes, PREFIX_WORDS } from './prefixes.ts';

/** N26: outside the ports the kernel picks from, and outside the node ports. */
const NAT_PORTS = [61_000, 65_535] as const;

const wordsOf = (prefixes: readonly CidrConfig[] | undefined): Int32Array<ArrayBuffer> =>
  Int32Array.from((prefixes ?? []).flatMap(({ address, prefix }) => [...address, prefix]));

/** What the Host resource says about services. Lists are short and searched from the front. */
export class HostRules {
  masqueradeAll = false;
  /** Are addresses of services that none has silent (S15)? */
  isClosed = false;
  /** First and last port for translated sources, and whether any of them will do (N26). */
  firstPort: number = NAT_PORTS[0];
  lastPort: number = NAT_PORTS[1];
  isRandom = true;
  /** Addresses where node ports answer, 4 words each. */
  private nodes = new Int32Array(0);
  private services = new Int32Array(0);
  private clusters = new Int32Array(0);
  /** Are pods known by their addresses, or only by their ports? */
  private isByAddress = false;

  set(host: HostConfig): void {
    this.nodes = Int32Array.from((host.nodeAddresses ?? []).flat());
    this.services = wordsOf(host.serviceCIDRs);
    this.clusters = wordsOf(host.clusterCIDRs);
    this.isClosed = host.unallocatedVIP === 'drop';
    this.isByAddress = host.localDetect === 'clusterCIDR';
    this.masqueradeAll = host.masqueradeAll === true;
    [this.firstPort, this.lastPort] = host.natPorts ?? NAT_PORTS;
    this.isRandom = host.natRandom !== false;
  }

  isNode(w0: number, w1: number, w2: number, w3: number): boolean {
    const { nodes } = this;
    for (let i = 0; i < nodes.length; i += 4) {
      if (nodes[i + 3] === w3 && nodes[i + 2] === w2 && nodes[i + 1] === w1 && nodes[i] === w0) return true;
    }
    return false;
  }

  /** Is it an address of services, which nobody reaches but through one? */
  isReserved(w0: number, w1: number, w2: number, w3: number): boolean {
    const { services } = this;
    return this.isClosed && isInPrefixes(services, 0, services.length / PREFIX_WORDS, w0, w1, w2, w3);
  }

  /** Is it a pod's, wherever it comes from (S21 b)? */
  isPod(w0: number, w1: number, w2: number, w3: number): boolean {
    const { clusters } = this;
    return this.isByAddress && isInPrefixes(clusters, 0, clusters.length / PREFIX_WORDS, w0, w1, w2, w3);
  }
}
