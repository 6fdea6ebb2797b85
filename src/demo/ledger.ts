/**
 * What a laboratory has made on this machine: namespaces, processes, its directory. Written to
 * `DIRECTORY/state.json` before each thing is made, so that another program can remove it all after this one
 * was killed.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endProcesses, isAlive, type ProcessRecord, recordOf, signal } from './process.ts';

interface State {
  readonly owner: ProcessRecord;
  readonly namespaces: string[];
  readonly processes: ProcessRecord[];
}

export class Ledger {
  readonly directory: string;
  readonly #state: State;

  /** A new ledger in a new directory. */
  static create(directory: string): Ledger {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    const owner = recordOf(process.pid, process.argv[0] ?? '');
    const ledger = new Ledger(directory, { owner, namespaces: [], processes: [] });
    ledger.#save();
    return ledger;
  }

  /** The ledger an earlier program left there, if any. @throws Error when the directory is not ours. */
  static open(directory: string): Ledger | undefined {
    let text: string;
    try {
      const stat = lstatSync(directory);
      if (!stat.isDirectory() || stat.uid !== process.getuid?.()) {
        throw new Error(`${directory} is not a directory of this user; remove it`);
      }
      text = readFileSync(join(directory, 'state.json'), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return new Ledger(directory, JSON.parse(text) as State);
  }

  private constructor(directory: string, state: State) {
    this.directory = directory;
    this.#state = state;
  }

  /** The program that made it still runs, and it is not this one. */
  get owned(): number | undefined {
    const { owner } = this.#state;
    return owner.pid !== process.pid && isAlive(owner) ? owner.pid : undefined;
  }

  get namespaces(): readonly string[] {
    return this.#state.namespaces;
  }

  get processes(): readonly ProcessRecord[] {
    return this.#state.processes;
  }

  addNamespace(name: string): void {
    this.#state.namespaces.push(name);
    this.#save();
  }

  addProcess(pid: number, marker: string): ProcessRecord {
    const record = recordOf(pid, marker);
    this.#state.processes.push(record);
    this.#save();
    return record;
  }

  /** Ends the processes, then deletes the namespaces and the directory. Safe to repeat. */
  async removeAll(): Promise<void> {
    await endProcesses(this.#state.processes);
    this.#removeThings();
  }

  /** The same at once, for `process.on('exit')`. */
  removeAllNow(): void {
    for (const record of this.#state.processes) signal(record, 'SIGKILL');
    this.#removeThings();
  }

  #removeThings(): void {
    for (const name of this.#state.namespaces)
      spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
    this.#state.namespaces.length = 0;
    this.#state.processes.length = 0;
    rmSync(this.directory, { recursive: true, force: true });
  }

  #save(): void {
    const path = join(this.directory, 'state.json');
    writeFileSync(`${path}.new`, JSON.stringify(this.#state), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}
