/** `twill demo`: builds the fabric, proves every path, removes everything. */
import { readdirSync } from 'node:fs';
import { Fabric, PREFIX } from './fabric.ts';
import { Lab } from './lab.ts';
import { isAlive } from './process.ts';
import { PROOFS } from './proofs.ts';
import { missing } from './requirements.ts';
import { type Screen, Steps } from './steps.ts';
import { demoDirectory, removeEarlier } from './tear-down.ts';

export interface DemoOptions {
  /** Leave it up. */
  readonly keep: boolean;
  readonly output: Screen;
  /** The package's directory. */
  readonly root: string;
}

/** @returns 0 only if every proof held and nothing was left behind. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const lines = missing(options.root);
  for (const line of lines) process.stderr.write(`twill demo: ${line}\n`);
  if (lines.length > 0) return 1;
  const steps = new Steps(options.output);
  try {
    if (await removeEarlier()) steps.say('(removed what an earlier demo had left)');
  } catch (error) {
    process.stderr.write(`twill demo: ${(error as Error).message}\n`);
    return 1;
  }
  const lab = new Lab({ prefix: PREFIX, directory: demoDirectory(), root: options.root });
  const interrupted = onInterrupt();
  try {
    const work = demonstrate(new Fabric(lab), steps, interrupted.signal);
    const up = await Promise.race([work, interrupted.promise.then(() => false)]);
    if (interrupted.signal.aborted) steps.say('\ninterrupted');
    if (options.keep && up && !interrupted.signal.aborted) {
      lab.keep();
      return summary(steps, keptText(lab.directory));
    }
    await cleanUp(lab, steps);
    // what was under way ends with its processes
    await work.catch(() => false);
    return interrupted.signal.aborted ? 1 : summary(steps, '');
  } finally {
    await lab.dispose();
    interrupted.release();
  }
}

/** @returns whether the fabric came up, so that there is something to keep */
async function demonstrate(fabric: Fabric, steps: Steps, stop: AbortSignal): Promise<boolean> {
  steps.say('twill demo: two hosts, three blue pods, two red pods with the same addresses\n');
  const step = (label: string, work: () => Promise<string>): Promise<boolean> =>
    steps.step(label, work, stop);
  const up =
    (await step('7 namespaces, underlay 192.0.2.0/24', async () => {
      await fabric.buildNamespaces();
      return 'MTU 1500';
    })) &&
    (await step('a daemon on each host', async () => {
      const begin = performance.now();
      await fabric.startDaemons();
      return `ready after ${((performance.now() - begin) / 1000).toFixed(1)} s`;
    })) &&
    (await step('a server in each pod', async () => {
      await fabric.startServers();
      return 'HTTP on port 8080';
    }));
  if (!up) return false;
  for (const { claim, prove } of PROOFS) {
    if (stop.aborted) break;
    await step(claim, () => prove(fabric));
  }
  return true;
}

async function cleanUp(lab: Lab, steps: Steps): Promise<void> {
  const processes = lab.processes;
  await steps.step('everything removed', async () => {
    await lab.dispose();
    const left = [
      ...processes.filter(isAlive).map(({ pid }) => `process ${pid}`),
      ...namespaces().map((name) => `namespace ${name}`),
    ];
    if (left.length > 0) throw new Error(`still there: ${left.join(', ')}`);
    return 'no namespace, process or file left';
  });
}

function namespaces(): string[] {
  try {
    return readdirSync('/run/netns').filter((name) => name.startsWith(PREFIX));
  } catch {
    return [];
  }
}

function summary(steps: Steps, more: string): number {
  const verdict = steps.failed === 0 ? 'every path works' : `${steps.failed} FAILED`;
  steps.say(
    `\n${steps.passed} of ${steps.passed + steps.failed} steps held: ${verdict} (${steps.seconds} s)${more}`,
  );
  return steps.failed === 0 ? 0 : 1;
}

function keptText(directory: string): string {
  const alpha = `--socket ${directory}/alpha.sock`;
  return `

It stays up. Try:
  ip netns exec ${PREFIX}a1 ping 10.77.0.13
  ip netns exec ${PREFIX}a1 curl http://10.96.0.10/
  ./bin/twill status ${alpha}
  ./bin/twill get fdb ${alpha}
  ./bin/twill get flows ${alpha}
Remove it with:
  ./bin/twill demo --down`;
}

/** The first SIGINT or SIGTERM resolves `promise`; clean-up is then under way and another changes nothing. */
function onInterrupt(): { readonly promise: Promise<void>; readonly signal: AbortSignal; release(): void } {
  const abort = new AbortController();
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  const handle = (): void => {
    abort.abort();
    resolve();
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, handle);
  return {
    promise,
    signal: abort.signal,
    release() {
      for (const name of names) process.off(name, handle);
    },
  };
}
