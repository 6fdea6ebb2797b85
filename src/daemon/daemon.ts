/**
 * `twill up`: the life of one daemon.
 *
 *   read → check → claim the socket → worker → health ports → first generation → control socket → ready
 *   SIGHUP   reads the files again; a bad file changes nothing
 *   SIGTERM, SIGINT   removes every device and the socket file, 0; a second one leaves at once, 1
 *   worker dead       the same clean-up, 70: the supervisor starts another
 *
 * Devices live as long as their descriptors, so even `kill -9` leaves nothing but the socket file and, where the host
 * has a port, the nftables table and the sysctls it names; the next start puts all of that right.
 */
import { rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import type { Logger } from 'pino';
import { loadNative, type Native } from '../card/native.ts';
import { formatProblem } from '../control/problem.ts';
import type { DataplaneEvent } from '../dataplane/messages.ts';
import { Counters } from '../telemetry/counters.ts';
import { Api } from './api.ts';
import { cpuRefusal } from './cpus.ts';
import { DataplaneProxy } from './dataplane-proxy.ts';
import { openEcho } from './echo.ts';
import { Files, type Read } from './files.ts';
import { healthFacts } from './health/facts.ts';
import { Health } from './health/health.ts';
import { HostSide } from './host-side.ts';
import { hostSystem } from './host-system.ts';
import { createLog, type LogLevel } from './log.ts';
import { Manager } from './manager.ts';
import { Supervisor } from './notify.ts';
import { PeerPaths } from './peer-paths.ts';
import { Precedence } from './precedence.ts';
import { Prober } from './probes.ts';
import { Rejected, refuse } from './rejected.ts';
import { Sampler } from './sampler.ts';
import { ControlServer } from './server.ts';
import { claimSocket } from './socket-file.ts';
import { Views } from './views.ts';

export interface DaemonOptions {
  /** Files, directories, or "-". */
  readonly paths: readonly string[];
  readonly socket: string;
  /** Of the program, for `status`. */
  readonly version: string;
  readonly logLevel?: LogLevel;
  /** CPU for the dataplane worker. */
  readonly cpu?: number;
  /** Another worker file, for tests. */
  readonly workerEntry?: URL;
}

/** How long a deleted namespace may go unnoticed. */
const SWEEP_MS = 1000;
const FAILED = 1;
const CRASHED = 70;

/** @returns the exit code, when everything is closed. */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  const files = new Files(options.paths);
  const found = files.read();
  if ('problems' in found) return complain(found.problems.map(formatProblem));
  const log = createLog(options.logLevel ?? 'info', process.stderr.isTTY === true);
  let daemon: Daemon;
  try {
    daemon = new Daemon(loadNative(), options, files, log);
  } catch (error) {
    return complain([textOf(error)]);
  }
  return daemon.run(found.read);
}

/** Packets go before configuration: reading a hundred thousand services must not hold up the worker on few CPUs. */
const CONTROL_NICE = 10;

class Daemon {
  readonly #native: Native;
  readonly #options: DaemonOptions;
  readonly #files: Files;
  readonly #log: Logger;
  readonly #supervisor: Supervisor;
  readonly #counters = new Counters();
  readonly #sampler = new Sampler(this.#counters, performance.now());
  readonly #started = performance.now();
  #dataplane: DataplaneProxy | undefined;
  #precedence: Precedence | undefined;
  #hostSide: HostSide | undefined;
  #manager: Manager | undefined;
  #prober: Prober | undefined;
  #peerPaths: PeerPaths | undefined;
  #server: ControlServer | undefined;
  #health: Health | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  /** Exit code, once something ended the daemon. */
  #end: (code: number) => void = () => {};
  readonly #ended = new Promise<number>((resolve) => {
    this.#end = resolve;
  });
  #signals = 0;
  /** Set first when it ends: what a start under way finds after every wait. */
  #closing = false;
  #starting: Promise<void> = Promise.resolve();

  constructor(native: Native, options: DaemonOptions, files: Files, log: Logger) {
    this.#native = native;
    this.#options = options;
    this.#files = files;
    this.#log = log;
    this.#supervisor = new Supervisor(native);
  }

  async run(read: Read): Promise<number> {
    const handlers = {
      SIGTERM: () => this.#onSignal('SIGTERM'),
      SIGINT: () => this.#onSignal('SIGINT'),
      SIGHUP: () => void this.#reload(),
      uncaughtException: (error: Error) => this.#crash(error, 'internal error'),
    };
    for (const [name, handler] of Object.entries(handlers)) process.on(name, handler);
    try {
      this.#starting = this.#start(read);
      const failed = this.#starting.then(
        () => new Promise<never>(() => {}),
        (error: unknown) =>
          // A start that is being ended fails; that is no news.
          this.#closing ? FAILED : complain(error instanceof Rejected ? error.errors : [textOf(error)]),
      );
      const code = await Promise.race([failed, this.#ended]);
      await this.#close(code);
      return code;
    } finally {
      for (const [name, handler] of Object.entries(handlers)) process.off(name, handler);
    }
  }

  async #start({ sources, parsed }: Read): Promise<void> {
    const { socket, cpu = -1, workerEntry } = this.#options;
    const refusal = cpu < 0 ? null : cpuRefusal(cpu);
    if (refusal !== null) throw new Rejected([refusal]);
    await claimSocket(socket);
    if (this.#closing) return;
    const dataplane = await DataplaneProxy.start({
      native: this.#native,
      counters: this.#counters.buffer,
      cpu,
      onEvent: (event) => this.#onEvent(event),
      onCrash: (error) => this.#crash(error, 'dataplane worker died'),
      ...(workerEntry && { entry: workerEntry }),
    });
    this.#dataplane = dataplane;
    const precedence = new Precedence(this.#native, dataplane.thread, this.#log);
    this.#precedence = precedence;
    // This thread alone: on Linux a priority is a thread's, and the worker's is set already.
    setPriority(CONTROL_NICE);
    if (this.#closing) return;
    const echo = await openEcho();
    const prober = new Prober({
      echo,
      linkMtu: (address) => this.#native.routeTo(address).mtu,
      onPathMtu: (peer, pathMtu) => {
        this.#log.info({ peer, pathMtu }, 'path MTU');
        this.#peerPaths?.limit(peer, pathMtu);
      },
      onReachable: (peer, reachable) => {
        if (reachable) this.#log.info({ peer }, 'peer answers');
        else this.#log.warn({ peer }, 'peer does not answer ICMP echo');
      },
    });
    this.#prober = prober;
    if (this.#closing) return;
    const health = new Health(
      healthFacts(() => this.#manager),
      this.#counters,
      this.#log,
    );
    this.#health = health;
    // A port that is taken is found out before anything is made.
    refuse(await health.start(parsed.resources.find((resource) => resource.kind === 'Host')!));
    if (this.#closing) return;
    const hostSide = new HostSide(hostSystem(this.#native), socket);
    this.#hostSide = hostSide;
    hostSide.recover();
    const manager = new Manager({
      kernel: this.#native,
      dataplane,
      host: hostSide,
      log: this.#log,
      onChange: () => this.#peerPaths!.follow(),
      observer: health.progress,
    });
    this.#manager = manager;
    this.#peerPaths = new PeerPaths(manager, prober, this.#log);
    const { warnings } = await manager.load(sources, parsed);
    for (const warning of warnings) this.#log.warn(warning);
    await health.settled();
    if (this.#closing) return;
    const views = new Views({
      manager,
      dataplane,
      counters: this.#counters,
      sampler: this.#sampler,
      prober,
      health,
      version: this.#options.version,
      started: this.#started,
    });
    const api = new Api(manager, dataplane, views);
    const log = this.#log;
    this.#server = await ControlServer.listen({
      socket,
      log,
      handle: (request) => precedence.during(async () => api.handle(request)),
    });
    if (this.#closing) return;
    this.#sampler.start();
    this.#sweeper = setInterval(() => {
      manager.sweep().catch((error) => log.error({ err: error }, 'port gone'));
    }, SWEEP_MS).unref();
    const { counts, host } = views.status();
    log.info({ host, ...counts, probing: prober.text, socket }, 'ready');
    this.#supervisor.ready(`${counts.ports} ports, ${counts.peers} peers, ${counts.services} services`);
  }

  #onSignal(signal: string): void {
    this.#signals++;
    if (this.#signals > 1) {
      // The kernel closes what is open, and with it goes every device.
      this.#hostSide?.close();
      if (this.#server) rmSync(this.#options.socket, { force: true });
      process.exit(FAILED);
    }
    this.#log.info({ signal }, 'stopping');
    this.#supervisor.stopping();
    this.#end(0);
  }

  #crash(error: Error, what: string): void {
    try {
      this.#log.fatal({ err: error }, what);
    } catch {
      // It must end whether or not anybody can read why.
    }
    this.#end(CRASHED);
  }

  async #reload(): Promise<void> {
    // Before 'ready' the files have just been read.
    const manager = this.#manager;
    if (!this.#server || !manager || !this.#precedence || this.#signals > 0 || this.#closing) return;
    this.#supervisor.reloading();
    try {
      const { changes, warnings } = await this.#precedence.during(async () =>
        manager.load(this.#files.again()),
      );
      for (const warning of warnings) this.#log.warn(warning);
      const changed = changes.filter((change) => change.action !== 'unchanged').length;
      this.#log.info({ changed }, 'reloaded');
    } catch (error) {
      if (error instanceof Rejected) for (const line of error.errors) this.#log.error(line);
      else this.#log.error({ err: error }, 'reload failed');
      this.#log.error('reload refused: nothing has changed');
    }
    if (this.#signals === 0) this.#supervisor.ready('reloaded');
  }

  #onEvent(event: DataplaneEvent): void {
    switch (event.kind) {
      case 'port-gone':
        this.#manager
          ?.portGone(event.location)
          .catch((error) => this.#log.error({ err: error }, 'port gone'));
        break;
      case 'path-mtu':
        this.#peerPaths?.suspect(event.location);
        break;
      case 'loop': {
        const { kind: _, ...where } = event;
        this.#log.warn(where, 'loop: a local address came back through a tunnel');
      }
    }
  }

  /**
   * The start may still be under way: without its worker it gets no further than its next wait. What it made
   * meanwhile is stopped after it, so everything here may be done twice.
   */
  async #close(code: number): Promise<void> {
    this.#closing = true;
    await this.#stop(code);
    await this.#starting.catch(() => {});
    await this.#stop(code);
    if (this.#server) this.#log.info({ code }, 'stopped');
  }

  async #stop(code: number): Promise<void> {
    this.#sampler.stop();
    clearInterval(this.#sweeper);
    this.#peerPaths?.close();
    this.#prober?.close();
    await this.#server?.close();
    await this.#health?.close();
    await this.#dataplane?.stop();
    if (code === CRASHED) this.#manager?.closeNow();
    else await this.#manager?.close();
  }
}

/** As every other command does. @returns FAILED */
function complain(lines: readonly string[]): number {
  for (const line of lines) process.stderr.write(`twill: ${line}\n`);
  return FAILED;
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
