/** The machine a result belongs to, and how busy it is: whole-machine CPU time, steal, and load that is not ours. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  /** "2 sockets × 4 cores × 2 threads, …", as lscpu tells it. */
  readonly layout: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  /** ns per dependent multiplication: compares machines, see `yardstick`. */
  readonly yardstick: number;
  /** What the two layouts mean here. */
  readonly layouts: { readonly unpinned: string; readonly pinned: string };
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    layout: layout(),
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    yardstick: yardstick(),
    layouts: {
      unpinned: 'the kernel places every process',
      pinned: canPin() ? 'daemons on CPU 1; clients and servers on CPU 0' : 'not run: one CPU',
    },
  };
}

export const canPin = (): boolean => cpus().length >= 2;

function layout(): string {
  try {
    const text = execFileSync('lscpu', { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
    const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '?';
    const count = (name: string, noun: string): string => {
      const number = field(name);
      return `${number} ${noun}${number === '1' ? '' : 's'}`;
    };
    return [
      count('Socket\\(s\\)', 'socket'),
      count('Core\\(s\\) per socket', 'core'),
      count('Thread\\(s\\) per core', 'thread'),
    ]
      .join(' × ')
      .concat(`, L2 ${field('L2 cache')}, hypervisor ${field('Hypervisor vendor')}`);
  } catch {
    return 'unknown';
  }
}

/**
 * How fast this machine is at what the packet path does: ns per step of a chain of dependent multiplications, each
 * 3 cycles plus the loop's own. Clouds differ by a factor of three; compare figures through it.
 */
function yardstick(): number {
  const steps = 30_000_000;
  let x = 1;
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < steps; i++) x = Math.imul(x, 0x9e3779b1) ^ i;
    best = Math.min(best, Number(process.hrtime.bigint() - start) / steps);
  }
  return x === 0 ? Number.NaN : best;
}

export interface Use {
  /** CPU-seconds of the whole machine, interrupts included. */
  readonly cpuSeconds: number;
  /** Shares of the machine's time. */
  readonly steal: number;
  readonly foreign: number;
}

/** USER_HZ: what /proc counts in; 100 on every Linux that runs Node. */
const TICKS = 100;

interface Reading {
  readonly busy: number;
  readonly stolen: number;
  readonly total: number;
  /** Ticks of every process that is not ours. */
  readonly foreign: ReadonlyMap<number, number>;
}

/** Reads the machine's clocks now; the function it returns tells what was used since. */
export function meter(isOurs: (pid: number, parent: number) => boolean): () => Use {
  const before = read(isOurs);
  return () => {
    const after = read(isOurs);
    const total = Math.max(1, after.total - before.total);
    let foreign = 0;
    for (const [pid, ticks] of after.foreign) foreign += Math.max(0, ticks - (before.foreign.get(pid) ?? 0));
    return {
      cpuSeconds: (after.busy - before.busy) / TICKS,
      steal: (after.stolen - before.stolen) / total,
      foreign: foreign / total,
    };
  };
}

function read(isOurs: (pid: number, parent: number) => boolean): Reading {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!;
  const [user, nice, system, idle, wait, irq, softirq, steal] = line.trim().split(/\s+/).slice(1).map(Number);
  const busy = user! + nice! + system! + irq! + softirq!;
  const foreign = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const process = processTicks(Number(name));
    // kernel threads may well be doing our work
    if (process && process.parent !== 2 && Number(name) !== 2 && !isOurs(Number(name), process.parent)) {
      foreign.set(Number(name), process.ticks);
    }
  }
  return { busy, stolen: steal!, total: busy + idle! + wait! + steal!, foreign };
}

/** Own time and that of ended children, in ticks; undefined when it is gone. */
export function processTicks(pid: number): { ticks: number; parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    return { ticks, parent: Number(fields[1]) };
  } catch {
    return undefined;
  }
}

/** CPU time of all threads of a process, ns: finer than ticks, for those that do next to nothing. */
export function processNanoseconds(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0]))
    .reduce((sum, ns) => sum + ns, 0);
}

/** Bytes of memory a process keeps in use. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? 0) * 1024;
}
