/** Removes what a demo that was kept, or killed, left on the machine. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ledger } from './ledger.ts';
import type { Screen } from './steps.ts';

/** One place on this machine, as are the namespaces' names: there is one demo at a time. */
export function demoDirectory(): string {
  return process.getuid?.() === 0 ? '/run/twill-demo' : join(tmpdir(), 'twill-demo');
}

/** Removes an earlier demo's things. @throws Error when that demo is still at work */
export async function removeEarlier(): Promise<boolean> {
  const ledger = Ledger.open(demoDirectory());
  if (!ledger) return false;
  if (ledger.owned !== undefined)
    throw new Error(`another demo is running (pid ${ledger.owned}); wait for it`);
  await ledger.removeAll();
  return true;
}

/** `twill demo --down`. @returns the exit code */
export async function tearDown(screen: Screen): Promise<number> {
  try {
    screen.write((await removeEarlier()) ? 'demo removed\n' : 'no demo is up\n');
    return 0;
  } catch (error) {
    process.stderr.write(`twill: ${(error as Error).message}\n`);
    return 1;
  }
}
