/**
 * Watches the underlay path to every peer: reachability and round-trip time every PROBE_MS, path MTU every
 * DISCOVER_MS and when the dataplane met a smaller path. What it learns lowers the peer's path MTU (V17).
 *
 * Reachable: 'unknown' until the first answer or MISSES silent probes; 'yes' after an answer; 'no' after MISSES.
 *
 * Limits: one echo and one discovery in flight per peer, DISCOVERIES discoveries at once, at most 20 echoes
 * per discovery. Peers that answer no ICMP keep `pathMtu` null and are lowered by plateaus (RFC 1191 §7)
 * whenever the kernel refuses a size. Nothing here throws.
 */
import { isIPv6 } from 'node:net';
import type { Pinger } from './echo.ts';

export interface Target {
  readonly name: string;
  readonly address: string;
}

export interface PathState {
  readonly reachable: 'yes' | 'no' | 'unknown' | 'off';
  readonly rtt: number | null;
  readonly pathMtu: number | null;
}

export interface ProberOptions {
  /** A pinger, or why there is none. */
  readonly echo: Pinger | string;
  /** MTU of the link towards an address. @throws without a route */
  readonly linkMtu: (address: string) => number;
  /** Called when the usable path MTU of a peer changed; null = no limit known. */
  readonly onPathMtu: (peer: string, pathMtu: number | null) => void;
  /** Called when a peer answers for the first time, stops answering, or answers again. */
  readonly onReachable?: (peer: string, reachable: boolean) => void;
  /** Shorter in tests. */
  readonly probeMs?: number;
  readonly discoverMs?: number;
  readonly timeoutMs?: number;
}

const PROBE_MS = 5000;
const DISCOVER_MS = 60_000;
const TIMEOUT_MS = 1000;
const MISSES = 3;
const DISCOVERIES = 8;
const MAX_STEPS = 20;
/** A lowered path MTU that nothing confirms is forgotten after this (V17). */
const FORGET_MS = 600_000;
/** Refusals by the kernel come once per second; one discovery answers several. */
const SUSPECT_MS = 2000;
const SMALL_PACKET = 64;
/** An IPv4 length field ends here; nothing longer can be asked for. Loopback claims 65536. */
const LONGEST = 65_535;
const PLATEAUS = [9000, 4352, 2002, 1500, 1492, 1450, 1400, 1280, 1006, 576];

/** Smallest path MTU worth believing (V17). */
export const pathFloor = (address: string): number => (isIPv6(address) ? 1280 : 576);

class Path {
  target: Target;
  reachable: 'yes' | 'no' | 'unknown' = 'unknown';
  rtt: number | null = null;
  pathMtu: number | null = null;
  misses = 0;
  discovering = false;
  lastSuspect = Number.NEGATIVE_INFINITY;
  /** Told to `onPathMtu`; null = nothing. */
  limit: number | null = null;
  closed = false;
  probe: NodeJS.Timeout | undefined;
  discovery: NodeJS.Timeout | undefined;
  forget: NodeJS.Timeout | undefined;

  constructor(target: Target) {
    this.target = target;
  }

  /** Replaces the discovery that was planned. */
  schedule(ms: number, run: () => void): void {
    clearTimeout(this.discovery);
    if (!this.closed) this.discovery = setTimeout(run, ms).unref();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.probe);
    clearTimeout(this.discovery);
    clearTimeout(this.forget);
  }
}

export class Prober {
  readonly #options: ProberOptions;
  readonly #paths = new Map<string, Path>();
  #discoveries = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** "on", or "off (why)". */
  get text(): string {
    return typeof this.#options.echo === 'string' ? this.#options.echo : 'on';
  }

  state(peer: string): PathState {
    const path = this.#paths.get(peer);
    const off = typeof this.#options.echo === 'string';
    if (!path) return { reachable: off ? 'off' : 'unknown', rtt: null, pathMtu: null };
    return { reachable: off ? 'off' : path.reachable, rtt: path.rtt, pathMtu: path.pathMtu ?? path.limit };
  }

  /** Path MTU the peer is limited to now; null = no limit known. */
  limit(peer: string): number | null {
    return this.#paths.get(peer)?.limit ?? null;
  }

  /** Starts with new peers at once, forgets those not named, keeps the others. */
  setTargets(targets: readonly Target[]): void {
    const wanted = new Map(targets.map((target) => [target.name, target]));
    for (const [name, path] of this.#paths) {
      if (wanted.get(name)?.address === path.target.address) continue;
      path.close();
      this.#paths.delete(name);
      if (path.limit !== null && wanted.has(name)) this.#options.onPathMtu(name, null);
    }
    for (const target of targets) {
      if (this.#paths.has(target.name)) continue;
      const path = new Path(target);
      this.#paths.set(target.name, path);
      this.#probe(path);
    }
  }

  /** The kernel refused a size towards this peer. */
  suspect(peer: string): void {
    const path = this.#paths.get(peer);
    const now = performance.now();
    if (!path || now - path.lastSuspect < SUSPECT_MS) return;
    path.lastSuspect = now;
    if (typeof this.#options.echo !== 'string' && path.reachable === 'yes') {
      void this.#discover(path);
      return;
    }
    const current = path.limit ?? this.#linkMtu(path) ?? 1500;
    const floor = pathFloor(path.target.address);
    this.#limit(path, Math.max(floor, PLATEAUS.find((mtu) => mtu < current) ?? floor));
  }

  close(): void {
    for (const path of this.#paths.values()) path.close();
    this.#paths.clear();
    if (typeof this.#options.echo !== 'string') this.#options.echo.close();
  }

  #probe(path: Path): void {
    const { echo, probeMs = PROBE_MS, timeoutMs = TIMEOUT_MS } = this.#options;
    if (typeof echo === 'string' || path.closed) return;
    path.probe = setTimeout(() => this.#probe(path), probeMs).unref();
    void echo.ping(path.target.address, SMALL_PACKET, Math.min(probeMs, timeoutMs * 2)).then((result) => {
      if (path.closed) return;
      if (result.kind !== 'reply') {
        path.misses++;
        if (path.misses >= MISSES) this.#judge(path, 'no');
        return;
      }
      path.misses = 0;
      path.rtt = Math.round(result.rtt * 1000) / 1000;
      const first = path.reachable !== 'yes';
      this.#judge(path, 'yes');
      if (first) void this.#discover(path);
    });
  }

  #judge(path: Path, reachable: 'yes' | 'no'): void {
    if (path.reachable === reachable) return;
    path.reachable = reachable;
    this.#options.onReachable?.(path.target.name, reachable === 'yes');
  }

  async #discover(path: Path): Promise<void> {
    if (path.discovering || path.closed) return;
    const { discoverMs = DISCOVER_MS } = this.#options;
    if (this.#discoveries >= DISCOVERIES) {
      path.schedule(TIMEOUT_MS, () => void this.#discover(path));
      return;
    }
    path.discovering = true;
    this.#discoveries++;
    const found = await this.#search(path);
    this.#discoveries--;
    path.discovering = false;
    if (path.closed) return;
    if (found !== null) {
      path.pathMtu = found;
      const link = this.#linkMtu(path);
      this.#limit(path, link !== null && found >= Math.min(link, LONGEST) ? null : found);
    }
    path.schedule(discoverMs, () => {
      if (path.reachable === 'yes') void this.#discover(path);
    });
  }

  /** Largest size that is answered, exact to one byte, or null when not even the floor is. */
  async #search(path: Path): Promise<number | null> {
    const link = this.#linkMtu(path);
    if (link === null) return null;
    const floor = pathFloor(path.target.address);
    let high = Math.min(link, LONGEST);
    let low = floor - 1;
    let size = high;
    for (let step = 0; step < MAX_STEPS && low < high; step++) {
      const result = await this.#ask(path, size);
      if (path.closed) return null;
      if (result.kind === 'reply') low = size;
      else high = size - 1;
      const said = result.kind === 'too-big' ? result.mtu : 0;
      size = said > low && said <= high ? said : Math.max(floor, Math.ceil((low + high) / 2));
    }
    return low < floor ? null : low;
  }

  /** A lost packet is no proof of a small path: silence counts after two. */
  async #ask(path: Path, size: number): ReturnType<Pinger['ping']> {
    const { echo, timeoutMs = TIMEOUT_MS } = this.#options;
    if (typeof echo === 'string') return { kind: 'timeout' };
    const first = await echo.ping(path.target.address, size, timeoutMs);
    return first.kind === 'timeout' ? echo.ping(path.target.address, size, timeoutMs) : first;
  }

  #limit(path: Path, pathMtu: number | null): void {
    clearTimeout(path.forget);
    if (pathMtu !== null) {
      path.forget = setTimeout(() => {
        path.pathMtu = null;
        this.#limit(path, null);
      }, FORGET_MS).unref();
    }
    if (path.limit === pathMtu) return;
    path.limit = pathMtu;
    this.#options.onPathMtu(path.target.name, pathMtu);
  }

  #linkMtu(path: Path): number | null {
    try {
      return this.#options.linkMtu(path.target.address);
    } catch {
      return null;
    }
  }
}
