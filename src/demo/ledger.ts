/**
 * What a laboratory has made on this machine: namespaces, processes, its directory. Written to
 * `DIRECTORY/state.json` before each thing is made, so that another program can remove it all after this one
 * was killed.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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

  /** A new ledger in a directory that nobody else can have prepared. @throws Error when somebody has */
  static create(directory: string): Ledger {
    try {
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (!isPrivate(directory)) throw notOurs(directory);
    }
    const owner = recordOf(process.pid, process.argv[0] ?? '');
    const ledger = new Ledger(directory, { owner, namespaces: [], processes: [] });
    ledger.#save();
    return ledger;
  }

  /** The ledger an earlier program left there, if any. @throws Error when the directory is not ours. */
  static open(directory: string): Ledger | undefined {
    let text: string;
    try {
      if (!isPrivate(directory)) throw notOurs(directory);
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

/** A directory of this user that no other can write to; a link to one is none. @throws ENOENT */
function isPrivate(directory: string): boolean {
  const stat = lstatSync(directory);
  return stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o022) === 0;
}

const notOurs = (directory: string): Error =>
  new Error(`${directory} is not a directory of this user alone; remove it`);
