/** What carries the packets: Twill and those it is compared with, each in namespaces of its own. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Background, Lab } from '../src/demo/lab.ts';

/** From a client's namespace to a server's. */
export interface Route {
  readonly client: string;
  readonly server: string;
  /** The server's, as the client sees it. */
  readonly address: string;
  readonly clientAddress: string;
  /** The namespaces of the hosts between them. */
  readonly hosts: readonly string[];
}

export interface Built {
  readonly same?: Route;
  readonly cross?: Route;
  /** Processes that move packets; none for the kernel. */
  readonly daemons: readonly Background[];
  /** Control sockets, when the contender is Twill. */
  readonly sockets?: readonly string[];
  /** Files for Services, one per daemon, which reads it again on SIGHUP. */
  readonly files?: readonly string[];
}

export interface Contender {
  readonly name: string;
  readonly title: string;
  /** How it is set up, in a line. */
  readonly detail: string;
  /** Why it cannot take part, in a line; null when it can. */
  available(): string | null;
  version(): string;
  /** @param mtu of the underlay, bytes */
  build(lab: Lab, mtu: number): Promise<Built>;
}

/** Bytes that VXLAN over IPv4 adds to a frame. */
export const OVERHEAD = 50;

export const VNI = 42;

/** The pods of every contender: two on host 1, one on host 2. */
export const PODS = [
  { host: 1, address: '10.77.0.10' },
  { host: 1, address: '10.77.0.11' },
  { host: 2, address: '10.77.0.20' },
] as const;

export const underlayAddress = (host: number): string => `192.0.2.${host}`;

/** Names of the namespaces that belong to a contender: PREFIX + its letter + h1, h2, 0, 1, 2. */
export class Sites {
  readonly #lab: Lab;
  readonly #letter: string;

  constructor(lab: Lab, letter: string) {
    this.#lab = lab;
    this.#letter = letter;
  }

  host(number: 1 | 2): string {
    return `${this.#lab.prefix}${this.#letter}h${number}`;
  }

  pod(index: number): string {
    return `${this.#lab.prefix}${this.#letter}${index}`;
  }

  /** Two hosts and three pods; the hosts joined by a wire of `mtu` bytes, with addresses unless said otherwise. */
  async make(mtu: number, withAddresses = true): Promise<void> {
    for (const name of ['h1', 'h2', '0', '1', '2']) await this.#lab.namespace(this.#letter + name);
    const end = (host: 1 | 2) => ({
      namespace: this.host(host),
      name: 'up0',
      mtu,
      ...(withAddresses ? { address: `${underlayAddress(host)}/24` } : {}),
    });
    await this.#lab.wire(end(1), end(2));
  }

  route(server: 1 | 2): Route {
    return {
      client: this.pod(0),
      server: this.pod(server),
      address: PODS[server].address,
      clientAddress: PODS[0].address,
      hosts: server === 1 ? [this.host(1)] : [this.host(1), this.host(2)],
    };
  }
}

/** Where a command is, sbin included; undefined when it is not installed. */
export function findCommand(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** "X is not installed: make bench-deps", naming the first that is missing; null when all are there. */
export function missingCommand(...names: readonly string[]): string | null {
  const name = names.find((one) => findCommand(one) === undefined);
  return name === undefined ? null : `${name} is not installed: make bench-deps`;
}
