/** Lists that many plain documents have alike (`plain.ts`): neighbours share one. */
import type { EndpointPort, ServicePort } from './types.ts';

export class SharedLists {
  private lastPorts: readonly ServicePort[] = [];
  private lastSlicePorts: readonly EndpointPort[] = [];
  private lastNodes: readonly string[] = [];

  servicePorts(ports: readonly ServicePort[]): readonly ServicePort[] {
    const { lastPorts } = this;
    const isSame = ports.every((port, i) => port.nodePort === lastPorts[i]?.nodePort);
    if (!isSame || !areAlike(ports, lastPorts)) this.lastPorts = ports;
    return this.lastPorts;
  }

  slicePorts(ports: readonly EndpointPort[]): readonly EndpointPort[] {
    if (!areAlike(ports, this.lastSlicePorts)) {
      this.lastSlicePorts = ports.map(({ name, protocol, port }) => ({ name, protocol, port }));
    }
    return this.lastSlicePorts;
  }

  nodes(nodes: readonly string[]): readonly string[] {
    const { lastNodes } = this;
    let isSame = nodes.length === lastNodes.length;
    for (let i = 0; isSame && i < nodes.length; i++) isSame = nodes[i] === lastNodes[i];
    if (!isSame) this.lastNodes = nodes;
    return this.lastNodes;
  }
}

function areAlike(a: readonly EndpointPort[], b: readonly EndpointPort[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const [one, two] = [a[i]!, b[i]!];
    if (one.name !== two.name || one.port !== two.port || one.protocol !== two.protocol) return false;
  }
  return true;
}

/** M9, for the usual few ports. */
export function areDistinct(ports: readonly ServicePort[]): boolean {
  for (let i = 0; i < ports.length; i++) {
    const { name, port, protocol, nodePort } = ports[i]!;
    if (ports.length > 1 && name === '') return false;
    for (let j = 0; j < i; j++) {
      const other = ports[j]!;
      const isSamePort = other.port === port || (nodePort !== 0 && other.nodePort === nodePort);
      if (other.name === name || (isSamePort && other.protocol === protocol)) return false;
    }
  }
  return true;
}
