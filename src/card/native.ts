/**
 * Types of the addon in `native/`, and the only place that loads it.
 * Every function validates its arguments and throws an Error with `code` (errno name), `errno` and `syscall`.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FIELDS } from './layout.ts';

export interface InterfaceAddress {
  /** Text form, IPv4 or IPv6. */
  address: string;
  prefix: number;
}

export interface TapOptions {
  /** Path of the namespace file, or null for the caller's own. */
  netns: string | null;
  /** Interface name inside the namespace, 1–15 bytes. */
  name: string;
  /** "02:00:00:00:00:01" */
  mac: string;
  mtu: number;
  addresses: InterfaceAddress[];
  /** Default route next hops, one per family at most. */
  gateways: string[];
}

export interface UnderlayOptions {
  /** Local address to bind, IPv4 or IPv6 text. */
  address: string;
  /** UDP port to receive on. */
  port: number;
  /** Range the TX_SOCKETS transmit sockets are bound in (first free ports). */
  sourcePorts: [number, number];
  ttl: number;
  /** true sets DF (IP_PMTUDISC_DO), false lets the kernel fragment (IP_PMTUDISC_DONT). */
  df: boolean;
  /** false sends outer checksum 0 over IPv4 (SO_NO_CHECK). */
  checksum: boolean;
  /** Accept IPv6 datagrams with checksum 0. */
  zeroChecksum6: boolean;
}

export interface Underlay {
  rx: number;
  /** TX_SOCKETS descriptors. */
  tx: number[];
}

export interface Route {
  interface: string;
  index: number;
  mtu: number;
  /** Preferred source address, text; empty when the kernel names none. */
  source: string;
}

/** A route by a link of ours. All addresses of one family, in text form. */
export interface OwnRoute {
  readonly to: string;
  readonly prefix: number;
  /** Next hop, taken for a neighbour on the link whatever its addresses are. */
  readonly via: string;
  /** Preferred source. */
  readonly source: string;
  /** Of the link. */
  readonly index: number;
}

/** One card's calls, bound to its own region. `poll` and `flush` take no arguments and do not allocate. */
export interface NativeCardHandle {
  readonly buffer: ArrayBuffer;
  poll(): number;
  flush(): void;
  /** Adds a TAP descriptor; the card reads and writes it but never closes it. */
  addTap(device: number, fd: number): void;
  /** @param prefix bytes of tunnel header in front of every frame: what must be equal for datagrams to be merged. */
  addUnderlay(device: number, rx: number, tx: number[], prefix: number): void;
  /** Forgets the device; afterwards its descriptors may be closed. */
  remove(device: number): void;
  /** An eventfd that ends a sleeping poll. */
  setWake(fd: number): void;
  /** Releases epoll; the region lives until its ArrayBuffer is collected. */
  close(): void;
}

export interface Native {
  /** Names of the shared fields in C order, to compare with FIELDS. */
  readonly fields: readonly string[];
  /**
   * Makes a non-persistent TAP inside the namespace, all or nothing: IFF_VNET_HDR with the offloads the card
   * can finish, MAC, MTU, addresses, up, default routes. EEXIST when the name is taken.
   */
  createTap(options: TapOptions): { fd: number; index: number };
  /** Changes the MTU of a link in a namespace. */
  setMtu(netns: string | null, name: string, mtu: number): void;
  openUnderlay(options: UnderlayOptions): Underlay;
  /** The kernel's route towards an address (RTM_GETROUTE) and the MTU of its link. */
  routeTo(address: string): Route;
  /**
   * Adds or removes a route of the caller's namespace, owned by us (`ip route show proto 84`).
   * EEXIST: somebody has a route to there; ESRCH: there is none to remove.
   */
  changeRoute(add: boolean, route: OwnRoute): void;
  close(fd: number): void;
  createWake(): number;
  wake(fd: number): void;
  /** Sends one datagram to NOTIFY_SOCKET (path, or @abstract). */
  notify(socket: string, message: string): void;
  /** Pins the calling thread to a CPU. */
  pin(cpu: number): void;
  /** The kernel's id of the calling thread. */
  threadId(): number;
  /**
   * Whether a thread of this process (by its kernel id) goes before every one that is no real-time thread.
   * EPERM without CAP_SYS_NICE.
   */
  setRealTime(thread: number, on: boolean): void;
  /** @param offsets `cardOffsets()` */
  createCard(
    offsets: Int32Array,
    limits: {
      slots: number;
      slotBytes: number;
      headroom: number;
      burst: number;
      txMax: number;
      remotes: number;
      devices: number;
    },
  ): NativeCardHandle;
}

let loaded: Native | undefined;

/** Loads the addon once. @throws Error that says how to build it. */
export function loadNative(): Native {
  if (loaded) return loaded;
  const path = addonPath();
  if (!existsSync(path)) {
    throw new Error(`native addon not built: ${path} is missing; run make -C native (needs a C compiler)`);
  }
  const addon = createRequire(import.meta.url)(path) as Native;
  const expected = Object.keys(FIELDS).join();
  if (addon.fields.join() !== expected) {
    throw new Error(`native addon ${path} is from another version: run make -C native clean all`);
  }
  loaded = addon;
  return addon;
}

/** TWILL_ADDON names another build (the sanitizer one); else native/build of this checkout. */
function addonPath(): string {
  if (process.env.TWILL_ADDON) return process.env.TWILL_ADDON;
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'native', 'Makefile')) && root !== dirname(root)) root = dirname(root);
  return join(root, 'native', 'build', 'twill.node');
}
