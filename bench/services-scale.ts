/**
 * Services by the hundred thousand: how long it takes to load them, how long one changed endpoint takes, and for how
 * long the dataplane stands still meanwhile. Needs no root; the worker's steps run in a thread of their own beside the
 * control plane, as in the daemon, without a card.
 *
 *   node dist/bench/services-scale.js [services] [endpoints]
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { MemoryCard } from '../src/card/memory-card.ts';
import { withoutDuplicates } from '../src/control/check.ts';
import { parseSources } from '../src/control/parse.ts';
import { type Replacement, ServiceBook } from '../src/control/services.ts';
import { NOWHERE } from '../src/control/surroundings.ts';
import type { Resource, Source } from '../src/control/types.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import type { ServiceBatch } from '../src/service/record.ts';
import { Counters } from '../src/telemetry/counters.ts';

/** Milliseconds each. */
export interface Phases {
  read: number;
  check: number;
  /** Judging, compiling and comparing. */
  stage: number;
  commit: number;
  /** From posting to the last step of the worker. */
  apply: number;
  total: number;
  /** Longest the worker was busy with the change between two turns. */
  longestPause: number;
}

/** `kubectl get services,endpointslices -A -o json` of so many Services, in one line. */
export function documents(services: number, endpoints: number, changed = -1): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i < services; i++) {
    parts.push(
      Buffer.from(`${i === 0 ? '' : ','}${serviceText(i)},${sliceText(i, endpoints, i === changed)}`),
    );
  }
  return Buffer.concat([
    Buffer.from('{"apiVersion":"v1","items":['),
    ...parts,
    Buffer.from('],"kind":"List"}'),
  ]);
}

const UID = '0c0a2f5e-1f5a-4a0e-9a57-7f1c1f6a0b11';

function serviceText(i: number): string {
  const vip = `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { creationTimestamp: '2025-01-01T00:00:00Z', name: `svc-${i}`, namespace: 'default', uid: UID },
    spec: {
      clusterIP: vip,
      clusterIPs: [vip],
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
      selector: { app: `svc-${i}` },
      sessionAffinity: 'None',
      type: 'ClusterIP',
    },
  });
}

function sliceText(i: number, endpoints: number, isChanged: boolean): string {
  return JSON.stringify({
    addressType: 'IPv4',
    apiVersion: 'discovery.k8s.io/v1',
    endpoints: Array.from({ length: endpoints }, (_, j) => ({
      addresses: [`10.77.${((i * endpoints + j) >> 8) & 255}.${(i * endpoints + j) & 255}`],
      conditions: { ready: !(isChanged && j === 0), serving: true, terminating: false },
      nodeName: 'node-1',
    })),
    kind: 'EndpointSlice',
    metadata: {
      labels: { 'kubernetes.io/service-name': `svc-${i}` },
      name: `svc-${i}-abcde`,
      namespace: 'default',
    },
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  });
}

/** A control plane and a dataplane with so many Services; `close` it. */
export class ScaledServices {
  readonly #book = new ServiceBook();
  readonly #running = new Map<string, Resource>();
  readonly #worker = new Worker(new URL(import.meta.url), { workerData: 'services-scale' });

  constructor(
    readonly services: number,
    readonly endpoints: number,
  ) {}

  /** All of them, from bytes to effect. */
  load(): Promise<Phases> {
    const bytes = documents(this.services, this.endpoints);
    return this.#apply({ file: 'services.json', text: '', bytes });
  }

  /** One endpoint of one Service stops being ready, or is again. */
  change(service: number, isReady = false): Promise<Phases> {
    const bytes = Buffer.from(sliceText(service, this.endpoints, !isReady));
    return this.#apply({ file: 'slice.json', text: '', bytes });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  async #apply(source: Source): Promise<Phases> {
    const start = performance.now();
    const { resources, problems } = parseSources([source]);
    const read = performance.now();
    const single = withoutDuplicates(resources, []);
    if (problems.length > 0) throw new Error(problems[0]!.message);
    const changes = single.map((after): Replacement => ({ before: this.#running.get(after.name), after }));
    const checked = performance.now();
    const staged = this.#book.stage(changes, NOWHERE, false);
    const stage = performance.now();
    const answer = new Promise<number>((resolve) => this.#worker.once('message', resolve));
    this.#worker.postMessage(staged.batch);
    staged.commit();
    for (const resource of single) this.#running.set(resource.name, resource);
    const commit = performance.now();
    const longestPause = await answer;
    const end = performance.now();
    return {
      read: read - start,
      check: checked - read,
      stage: stage - checked,
      commit: commit - stage,
      apply: end - stage,
      total: end - start,
      longestPause,
    };
  }
}

/** Loads `count` Services of `endpoints` endpoints each. */
export async function loadServices(count: number, endpoints: number): Promise<Phases> {
  const scaled = new ScaledServices(count, endpoints);
  try {
    return await scaled.load();
  } finally {
    await scaled.close();
  }
}

/** One endpoint change with `count` Services running: the median of `rounds`, each on another Service. */
export async function changeEndpoint(count = 100_000, endpoints = 10, rounds = 200): Promise<Phases> {
  const scaled = new ScaledServices(count, endpoints);
  try {
    await scaled.load();
    const all: Phases[] = [];
    for (let i = 0; i < rounds; i++) all.push(await scaled.change((i * 7919) % count));
    const median = (key: keyof Phases): number => all.map((p) => p[key]).sort((a, b) => a - b)[rounds >> 1]!;
    const keys = Object.keys(all[0]!) as (keyof Phases)[];
    return Object.fromEntries(keys.map((key) => [key, median(key)])) as unknown as Phases;
  } finally {
    await scaled.close();
  }
}

/** The worker's side: a dataplane that turns between steps and says how long the longest step took. */
function serve(): void {
  const dataplane = new Dataplane(new MemoryCard(), new Counters(), 0x5eed);
  parentPort!.on('message', (batch: ServiceBatch) => {
    let longest = 0;
    const steps = dataplane.steps([], batch);
    for (;;) {
      const start = performance.now();
      const { done } = steps.next();
      longest = Math.max(longest, performance.now() - start);
      if (done === true) break;
      dataplane.turn();
    }
    parentPort!.postMessage(longest);
  });
}

if (!isMainThread && workerData === 'services-scale') serve();
else if (process.argv[1] !== undefined && import.meta.url === `file://${process.argv[1]}`) {
  const [count = 100_000, endpoints = 10] = process.argv.slice(2).map(Number);
  const show = (what: string, phases: Phases): void => {
    const cells = Object.entries(phases).map(([name, ms]) => `${name} ${(ms as number).toFixed(2)}`);
    process.stdout.write(`${what}: ${cells.join(', ')} ms\n`);
  };
  show(`loading ${count} services of ${endpoints} endpoints`, await loadServices(count, endpoints));
  show('one endpoint change', await changeEndpoint(count, endpoints));
}
