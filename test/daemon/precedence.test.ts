/** Who goes first while the control plane works, asked of the kernel. */
import { readdirSync, readFileSync } from 'node:fs';
import pino from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { loadNative } from '../../src/card/native.ts';
import { Precedence } from '../../src/daemon/precedence.ts';
import { CANNOT } from '../lab/lab.ts';

const FIFO = 1;
const ORDINARY = 0;

/** Scheduling policy of a thread of this process: field 41 of stat, see proc_pid_stat(5). */
const policyOf = (thread: number): number => {
  const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38]);
};
const failing = (code: string) => ({
  setRealTime(): never {
    throw Object.assign(new Error(code), { code });
  },
});

let lines: string[] = [];
const log = pino({ base: null }, { write: (line: string) => void lines.push(line) });

describe.skipIf(CANNOT !== null)('precedence, for real', () => {
  const thread = CANNOT === null ? loadNative().threadId() : 0;

  it('makes the thread real-time while any work is under way, also when it fails, and an instant longer', async () => {
    const precedence = new Precedence(loadNative(), thread, log);
    let end: () => void = () => {};
    const long = precedence.during(() => new Promise<void>((resolve) => (end = resolve)));
    expect(policyOf(thread)).toBe(FIFO);
    await expect(precedence.during(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
    expect(policyOf(thread)).toBe(FIFO);
    end();
    await long;
    expect(policyOf(thread)).toBe(FIFO);
    await vi.waitFor(() => expect(policyOf(thread)).toBe(ORDINARY));
    expect(await precedence.during(async () => policyOf(thread))).toBe(FIFO);
    await vi.waitFor(() => expect(policyOf(thread)).toBe(ORDINARY));
  });

  it('touches no other thread, and none that is started meanwhile', async () => {
    const before = readdirSync('/proc/self/task').map(Number);
    await new Precedence(loadNative(), thread, log).during(async () => {
      const others = readdirSync('/proc/self/task').map(Number);
      expect(before.length).toBeGreaterThan(1);
      expect(others.filter((one) => one !== thread && policyOf(one) === FIFO)).toEqual([]);
    });
    await vi.waitFor(() => expect(policyOf(thread)).toBe(ORDINARY));
  });

  it('says so of a thread that is none', () => {
    expect(() => loadNative().setRealTime(0x7fffffff, true)).toThrow(/make thread 2147483647 real-time/);
  });
});

describe('precedence that is refused', () => {
  it('is warned of once, with its remedy, and the work is done', async () => {
    lines = [];
    const precedence = new Precedence(failing('EPERM'), 1, log);
    for (let i = 0; i < 3; i++) expect(await precedence.during(async () => i)).toBe(i);
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
      'packets may wait for changes of configuration: it needs CAP_SYS_NICE',
    ]);
  });

  it('is no news of a thread that has ended', async () => {
    lines = [];
    expect(await new Precedence(failing('ESRCH'), 1, log).during(async () => 7)).toBe(7);
    expect(lines).toEqual([]);
  });
});
