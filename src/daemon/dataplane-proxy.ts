/**
 * The main thread's side of the dataplane worker: requests by id, answers as promises, events as calls.
 *
 * The worker sleeps in the kernel, so every message is followed by a write to its eventfd. Two dumps of one
 * kind at a time are one dump: however many clients ask, the worker makes one list.
 */
import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { Native } from '../card/native.ts';
import type { Op } from '../dataplane/config.ts';
import type {
  AffinityRow,
  DataplaneEvent,
  DeviceChanges,
  DumpKind,
  FateRow,
  FdbRow,
  FlowAnswer,
  FlowQuestion,
  FlowRow,
  FromWorker,
  NeighborRow,
  ServiceBatch,
  ToWorker,
  WorkerInit,
} from '../dataplane/messages.ts';

export interface DumpRows {
  fdb: FdbRow;
  neighbors: NeighborRow;
  flows: FlowRow;
  affinities: AffinityRow;
}

/** What the rest of the daemon may ask of the worker; a fake in tests. */
export interface Dataplane {
  /**
   * All or nothing. Answers when all of it is in effect; `services` must not change any more.
   * @throws when the worker refuses
   */
  apply(devices: DeviceChanges, ops: readonly Op[], services?: ServiceBatch): Promise<void>;
  dump<K extends DumpKind>(what: K): Promise<readonly DumpRows[K][]>;
  explain(question: FlowQuestion): Promise<FlowAnswer>;
  /** Living flows to which a change would mean something; it is not made. */
  preview(services: ServiceBatch, ops: readonly Op[]): Promise<readonly FateRow[]>;
}

export interface DataplaneOptions {
  readonly native: Pick<Native, 'createWake' | 'wake' | 'close'>;
  readonly counters: SharedArrayBuffer;
  /** -1 = any. */
  readonly cpu: number;
  readonly onEvent: (event: DataplaneEvent) => void;
  /** The worker ended without being asked to. Called once. */
  readonly onCrash: (error: Error) => void;
  /** Another worker file, for tests. */
  readonly entry?: URL;
}

interface Pending {
  /** Of a listing that comes in slices. */
  readonly rows: unknown[];
  readonly resolve: (rows: readonly unknown[]) => void;
  readonly reject: (error: Error) => void;
}

const STOP_MS = 2000;

export class DataplaneProxy implements Dataplane {
  readonly #options: DataplaneOptions;
  readonly #worker: Worker;
  readonly #wake: number;
  readonly #pending = new Map<number, Pending>();
  readonly #dumps = new Map<DumpKind, Promise<readonly unknown[]>>();
  readonly #exited: Promise<void>;
  #thread = 0;
  #nextId = 1;
  #stopping = false;
  #dead: Error | undefined;

  /** @returns a worker that has said 'ready'. @throws when it ends before that */
  static async start(options: DataplaneOptions): Promise<DataplaneProxy> {
    let ready = false;
    let crash: (error: Error) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      crash = reject;
    });
    const onCrash = (error: Error): void => (ready ? options.onCrash(error) : crash(error));
    const proxy = new DataplaneProxy({ ...options, onCrash });
    const said = new Promise<void>((resolve) => {
      proxy.#worker.once('message', (message: Extract<FromWorker, { type: 'ready' }>) => {
        proxy.#thread = message.thread;
        ready = true;
        resolve();
      });
    });
    await Promise.race([said, failed]);
    return proxy;
  }

  private constructor(options: DataplaneOptions) {
    this.#options = options;
    this.#wake = options.native.createWake();
    const init: WorkerInit = {
      counters: options.counters,
      wake: this.#wake,
      cpu: options.cpu,
      seed: randomBytes(4).readInt32LE(),
    };
    this.#worker = new Worker(options.entry ?? new URL('../dataplane/worker.js', import.meta.url), {
      workerData: init,
      name: 'dataplane',
      // It makes next to nothing; of the usual 16 MB some 4 stay resident for what its start made.
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => this.#crashed(error));
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        options.native.close(this.#wake);
        this.#crashed(new Error(`the dataplane worker exited with code ${code}`));
        resolve();
      });
    });
  }

  /** Kernel id of the packets' thread. */
  get thread(): number {
    return this.#thread;
  }

  async apply(devices: DeviceChanges, ops: readonly Op[], services?: ServiceBatch): Promise<void> {
    await this.#ask((id) => ({ type: 'apply', id, devices, ops, ...(services && { services }) }));
  }

  async dump<K extends DumpKind>(what: K): Promise<readonly DumpRows[K][]> {
    let dump = this.#dumps.get(what);
    if (!dump) {
      dump = this.#ask((id) => ({ type: 'dump', id, what })).finally(() => this.#dumps.delete(what));
      this.#dumps.set(what, dump);
    }
    return (await dump) as readonly DumpRows[K][];
  }

  async explain(question: FlowQuestion): Promise<FlowAnswer> {
    const [answer] = await this.#ask((id) => ({ type: 'explain', id, question }));
    return answer as FlowAnswer;
  }

  async preview(services: ServiceBatch, ops: readonly Op[]): Promise<readonly FateRow[]> {
    const rows = await this.#ask((id) => ({ type: 'preview', id, services, ops }));
    return rows as readonly FateRow[];
  }

  /** Asks the worker to end, and ends it when it does not. Afterwards its descriptors may be closed. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (!this.#dead) this.#post({ type: 'stop' });
    const timer = setTimeout(() => void this.#worker.terminate(), STOP_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  #ask(message: (id: number) => ToWorker): Promise<readonly unknown[]> {
    if (this.#dead || this.#stopping)
      return Promise.reject(this.#dead ?? new Error('the daemon is stopping'));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { rows: [], resolve, reject });
      this.#post(message(id));
    });
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
    this.#options.native.wake(this.#wake);
  }

  #receive(message: FromWorker): void {
    if (message.type === 'ready') return;
    if (message.type === 'event') {
      this.#options.onEvent(message.event);
      return;
    }
    const pending = this.#pending.get(message.id);
    if (message.type === 'dump') {
      for (const row of message.rows) pending?.rows.push(row);
      if (message.more) return;
    }
    this.#pending.delete(message.id);
    if (message.type === 'failed') pending?.reject(new Error(message.message));
    else pending?.resolve(pending.rows);
  }

  #crashed(error: Error): void {
    if (this.#dead) return;
    this.#dead = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    if (!this.#stopping) this.#options.onCrash(error);
  }
}
