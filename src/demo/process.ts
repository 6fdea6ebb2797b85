/** Processes by identity: a pid alone may be somebody else's by the time it is used. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Survives in a file: enough to recognise the process again from another program. */
export interface ProcessRecord {
  readonly pid: number;
  /** Clock ticks from boot to its start, field 22 of /proc/PID/stat. */
  readonly start: string;
  /** /proc/sys/kernel/random/boot_id: start times are per boot. */
  readonly boot: string;
  /** A word of its command line. */
  readonly marker: string;
}

export function recordOf(pid: number, marker: string): ProcessRecord {
  return { pid, start: statOf(pid)?.start ?? '', boot: bootId(), marker };
}

/** True while exactly this process lives. A zombie is dead: pid 1 may not reap. */
export function isAlive(record: ProcessRecord): boolean {
  const stat = statOf(record.pid);
  if (!stat || stat.state === 'Z' || stat.state === 'X') return false;
  if (stat.start !== record.start || record.boot !== bootId()) return false;
  try {
    return readFileSync(`/proc/${record.pid}/cmdline`, 'utf8').split('\0').includes(record.marker);
  } catch {
    return false;
  }
}

export function signal(record: ProcessRecord, name: NodeJS.Signals): void {
  if (!isAlive(record)) return;
  try {
    process.kill(record.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** SIGTERM to all, and SIGKILL to those that are still there after `graceMs`. */
export async function endProcesses(records: readonly ProcessRecord[], graceMs = 5000): Promise<void> {
  for (const record of records) signal(record, 'SIGTERM');
  if (await allGone(records, graceMs)) return;
  for (const record of records) signal(record, 'SIGKILL');
  await allGone(records, 2000);
}

async function allGone(records: readonly ProcessRecord[], withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (records.some(isAlive)) {
    if (performance.now() > deadline) return false;
    await sleep(10);
  }
  return true;
}

function statOf(pid: number): { state: string; start: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // the second field is a name in parentheses that may hold anything
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0]!, start: fields[19]! };
  } catch {
    return undefined;
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
