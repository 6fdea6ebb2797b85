import { int32 } from '../table/memory.ts';
import { Protocol } from '../wire/ipv4.ts';

const PORTS = 65_536;
/** TCP, UDP, any other. */
const PROTOCOLS = 3;

/** Node ports: (family, protocol, port) → service id, a word each: 1.5 MiB, of which only what is used is resident. */
export class NodePorts {
  /** [family, protocol, port]: service id + 1, 0 = none. */
  private readonly owner = int32(2 * PROTOCOLS * PORTS);
  count = 0;

  /** @returns a service id, or −1. */
  find(is6: boolean, protocol: number, port: number): number {
    return this.owner[placeOf(is6, protocol, port)]! - 1;
  }

  /** Gives a port to a service; another loses it. */
  add(is6: boolean, protocol: number, port: number, service: number): void {
    const at = placeOf(is6, protocol, port);
    if (this.owner[at] === 0) this.count++;
    this.owner[at] = service + 1;
  }

  /** Takes a port from a service, if it still has it. */
  remove(is6: boolean, protocol: number, port: number, service: number): void {
    const at = placeOf(is6, protocol, port);
    if (this.owner[at] !== service + 1) return;
    this.owner[at] = 0;
    this.count--;
  }
}

function placeOf(is6: boolean, protocol: number, port: number): number {
  const kind = protocol === Protocol.TCP ? 0 : protocol === Protocol.UDP ? 1 : 2;
  return ((is6 ? PROTOCOLS : 0) + kind) * PORTS + port;
}
