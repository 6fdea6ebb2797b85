/**
 * A laboratory of network namespaces: wires, commands, daemons. Everything it makes is in its ledger, so that
 * `dispose` (or, if the program ends before, its exit) leaves nothing behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ledger } from './ledger.ts';
import { endProcesses, isAlive, type ProcessRecord } from './process.ts';

export interface LabOptions {
  /** Put before every namespace's name. */
  readonly prefix: string;
  /** For logs, sockets and the ledger; made here, removed by `dispose`. */
  readonly directory: string;
  /** The package's directory: where dist/ is. */
  readonly root: string;
}

export interface Finished {
  /** Exit code; 128 + n after signal n or a timeout. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** ms */
  readonly timeout?: number;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface WireEnd {
  /** Full name of the namespace. */
  readonly namespace: string;
  readonly name: string;
  /** With prefix length. */
  readonly address?: string;
  readonly mtu?: number;
}

/** A process that outlives the call that started it; its output is a file. */
export interface Background {
  readonly record: ProcessRecord;
  readonly log: string;
  /** Output so far, both streams. */
  output(): string;
  /** Resolves once `test` likes the output. @throws Error with the output when it ends or takes too long. */
  waitFor(test: (output: string) => boolean, timeoutMs?: number): Promise<void>;
  /** SIGTERM, then SIGKILL; the exit code, or null when a signal ended it. */
  stop(graceMs?: number): Promise<number | null>;
}

export interface Daemon extends Background {
  readonly namespace: string;
  readonly socket: string;
}

const COMMAND_MS = 20_000;
const READY_MS = 15_000;

export class Lab {
  readonly prefix: string;
  readonly directory: string;
  readonly root: string;
  readonly #ledger: Ledger;
  readonly #running = new Set<ChildProcess>();
  readonly #atExit = (): void => this.#ledger.removeAllNow();
  #kept = false;
  #closed = false;

  constructor(options: LabOptions) {
    this.prefix = options.prefix;
    this.directory = options.directory;
    this.root = options.root;
    this.#ledger = Ledger.create(options.directory);
    process.on('exit', this.#atExit);
  }

  get processes(): readonly ProcessRecord[] {
    return [...this.#ledger.processes];
  }

  /** Makes the namespace PREFIX+name, with its loopback up. @returns the full name */
  async namespace(name: string): Promise<string> {
    this.#open();
    const full = this.prefix + name;
    this.#ledger.addNamespace(full);
    await this.ip(null, 'netns', 'add', full);
    await this.ip(full, 'link', 'set', 'lo', 'up');
    return full;
  }

  /** Joins two namespaces by a veth pair, both ends up. */
  async wire(a: WireEnd, b: WireEnd): Promise<void> {
    const end = (side: WireEnd): string[] => ['name', side.name, 'netns', side.namespace];
    await this.ip(null, 'link', 'add', ...end(a), 'type', 'veth', 'peer', ...end(b));
    for (const side of [a, b]) {
      if (side.mtu !== undefined) {
        await this.ip(side.namespace, 'link', 'set', 'dev', side.name, 'mtu', String(side.mtu));
      }
      if (side.address !== undefined) {
        await this.ip(side.namespace, 'address', 'add', side.address, 'dev', side.name, 'nodad');
      }
      await this.ip(side.namespace, 'link', 'set', 'dev', side.name, 'up');
    }
  }

  /** Runs `ip`, in a namespace or (null) in ours. @throws Error with its words when it fails */
  async ip(namespace: string | null, ...args: readonly string[]): Promise<string> {
    return this.must(null, ['ip', ...(namespace === null ? [] : ['-n', namespace]), ...args]);
  }

  /** Runs a command to its end; a failure is a result, not an exception. */
  async run(namespace: string | null, argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
    this.#open();
    const [file, ...args] = inside(namespace, argv);
    return new Promise((resolve, reject) => {
      const child = spawn(file!, args, { env: environment(argv, options.env), detached: true });
      this.#running.add(child);
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
      child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
      child.stdin.on('error', () => {});
      child.stdin.end(options.input ?? '');
      const timer = setTimeout(() => child.kill('SIGKILL'), options.timeout ?? COMMAND_MS);
      child.on('error', (error) => {
        clearTimeout(timer);
        this.#running.delete(child);
        reject(error);
      });
      child.on('close', (code) => {
        clearTimeout(timer);
        this.#running.delete(child);
        const text = (chunks: Buffer[]): string => Buffer.concat(chunks).toString('utf8');
        resolve({ code: code ?? 137, stdout: text(out), stderr: text(err) });
      });
    });
  }

  /** Like `run`, but only success is a result. @returns its standard output */
  async must(namespace: string | null, argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(namespace, argv, options);
    if (code !== 0) {
      throw new Error(
        `${argv.join(' ')}: exit ${code}: ${lastLines(stderr.trim() === '' ? stdout : stderr, 5)}`,
      );
    }
    return stdout;
  }

  /** Starts a command that stays, in the laboratory's directory; `name` names its log. */
  start(
    namespace: string | null,
    name: string,
    argv: readonly string[],
    env?: Record<string, string>,
  ): Background {
    this.#open();
    const log = join(this.directory, `${name}.log`);
    const [file, ...args] = inside(namespace, argv);
    const fd = openSync(log, 'a', 0o600);
    const child = spawn(file!, args, {
      cwd: this.directory,
      env: environment(argv, env),
      stdio: ['ignore', fd, fd],
      detached: true,
    });
    closeSync(fd);
    child.on('error', () => {});
    if (child.pid === undefined) throw new Error(`${file} cannot be started`);
    // `ip netns exec` becomes the command, so its last word is in both command lines
    const record = this.#ledger.addProcess(child.pid, args.at(-1) ?? file!);
    child.unref();
    return background(record, child, log, name);
  }

  /** Starts `twill up` in a namespace and waits until every port forwards. `engine` are flags of node's own. */
  async daemon(
    namespace: string,
    name: string,
    files: readonly string[],
    engine: readonly string[] = [],
  ): Promise<Daemon> {
    const socket = join(this.directory, `${name}.sock`);
    const program = join(this.root, 'dist/src/program/twill.js');
    const paths = files.flatMap((file) => ['-f', file]);
    const started = this.start(namespace, name, [
      process.execPath,
      ...engine,
      program,
      'up',
      '--socket',
      socket,
      ...paths,
    ]);
    await started.waitFor(isReady, READY_MS);
    return { ...started, namespace, socket };
  }

  /** Writes a file into the laboratory's directory. @returns its path */
  file(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text);
    return path;
  }

  /** Runs `twill` with a daemon's socket. */
  async twill(daemon: Pick<Daemon, 'socket'>, ...args: readonly string[]): Promise<Finished> {
    const program = join(this.root, 'dist/src/program/twill.js');
    return this.run(null, [process.execPath, program, ...args], { env: { TWILL_SOCKET: daemon.socket } });
  }

  /** Leaves everything as it is when this program ends. */
  keep(): void {
    this.#kept = true;
    process.off('exit', this.#atExit);
  }

  /** Removes everything. Safe to repeat, and after a failure at any point. */
  async dispose(): Promise<void> {
    if (this.#kept) return;
    this.#closed = true;
    for (const child of this.#running) child.kill('SIGKILL');
    while (this.#running.size > 0) await sleep(5);
    await this.#ledger.removeAll();
    process.off('exit', this.#atExit);
  }

  #open(): void {
    if (this.#closed) throw new Error('the laboratory is closed');
  }
}

function inside(namespace: string | null, argv: readonly string[]): string[] {
  return namespace === null ? [...argv] : ['ip', 'netns', 'exec', namespace, ...argv];
}

/**
 * Ours, less what would point a program at other daemons or slow its start; and, for a command that runs no Node.js,
 * less the sanitizers that test-asan loads into it.
 */
function environment(
  argv: readonly string[],
  extra: Readonly<Record<string, string>> = {},
): NodeJS.ProcessEnv {
  const {
    TWILL_SOCKET: _s,
    NOTIFY_SOCKET: _n,
    NODE_EXTRA_CA_CERTS: _c,
    NODE_OPTIONS: _o,
    LD_PRELOAD: preload,
    ...rest
  } = process.env;
  const sanitizers = preload !== undefined && argv.includes(process.execPath) ? { LD_PRELOAD: preload } : {};
  return { ...rest, ...sanitizers, LC_ALL: 'C', ...extra };
}

function isReady(output: string): boolean {
  return output.split('\n').some((line) => line.includes('"msg":"ready"'));
}

export function lastLines(text: string, count: number): string {
  return text.trim().split('\n').slice(-count).join('\n');
}

function background(record: ProcessRecord, child: ChildProcess, log: string, name: string): Background {
  const output = (): string => readFileSync(log, 'utf8');
  return {
    record,
    log,
    output,
    async waitFor(test, timeoutMs = 5000) {
      const deadline = performance.now() + timeoutMs;
      while (!test(output())) {
        if (child.exitCode !== null || child.signalCode !== null) {
          throw new Error(
            `${name} ended (exit ${child.exitCode ?? child.signalCode}): ${lastLines(output(), 5)}`,
          );
        }
        if (performance.now() > deadline) {
          throw new Error(`${name} not ready within ${timeoutMs / 1000} s: ${lastLines(output(), 5)}`);
        }
        await sleep(10);
      }
    },
    async stop(graceMs = 5000) {
      if (isAlive(record)) {
        const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
        child.ref();
        await endProcesses([record], graceMs);
        await Promise.race([exited, sleep(500)]);
      }
      return child.exitCode;
    },
  };
}
