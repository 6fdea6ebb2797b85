/** What the demo claims, each with the traffic that proves it. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';
import { ADDRESS, type Fabric, MTU, type Place, PREFIX, SERVER_PORT, SHOP, STICKY } from './fabric.ts';
import type { Daemon } from './lab.ts';
import { iperf, ping } from './measure.ts';
import type { Counts } from './pod.ts';

export interface Proof {
  readonly claim: string;
  /** @returns the figure; @throws Error saying what was seen instead */
  readonly prove: (fabric: Fabric) => Promise<string>;
}

const PINGS = 20;
const CONNECTIONS = 20;
const STREAM_SECONDS = 2;
/** Largest ICMP payload that fits: less IPv4 and ICMP headers. */
const FULL_SIZE = MTU - 28;

export const PROOFS: readonly Proof[] = [
  { claim: 'ping a1 → a2, same host', prove: (f) => ping(f, 'a1', ADDRESS.a2, { count: PINGS }) },
  { claim: 'ping a1 → b1, other host', prove: (f) => ping(f, 'a1', ADDRESS.b1, { count: PINGS }) },
  {
    claim: `ping a1 → b1, ${MTU} bytes, unfragmented`,
    prove: (f) => ping(f, 'a1', ADDRESS.b1, { count: PINGS, size: FULL_SIZE }),
  },
  { claim: 'ping a1 → gateway', prove: (f) => ping(f, 'a1', '10.77.0.1', { count: PINGS }) },
  { claim: 'TCP a1 → a2, same host', prove: (f) => iperf(f, 'a1', 'a2', STREAM_SECONDS) },
  { claim: 'TCP a2 → a1, same host', prove: (f) => iperf(f, 'a2', 'a1', STREAM_SECONDS) },
  { claim: 'TCP a1 → b1, other host', prove: (f) => iperf(f, 'a1', 'b1', STREAM_SECONDS) },
  { claim: 'TCP b1 → a1, other host', prove: (f) => iperf(f, 'b1', 'a1', STREAM_SECONDS) },
  { claim: 'ARP from scratch, same and other host', prove: resolve },
  { claim: 'broadcast reaches each blue pod once, no red', prove: broadcast },
  {
    claim: 'ClusterIP from a1: round robin over both hosts',
    prove: (f) => roundRobin(f, 'a1', SHOP, { a2: CONNECTIONS / 2, b1: CONNECTIONS / 2 }),
  },
  {
    claim: 'ClusterIP from b1, itself a backend',
    prove: (f) => roundRobin(f, 'b1', SHOP, { a2: CONNECTIONS / 2, b1: CONNECTIONS / 2 }),
  },
  { claim: 'session affinity: one client, one backend', prove: affinity },
  { claim: 'isolation: same addresses, other network', prove: isolation },
  { claim: 'twill apply, live: a2 leaves the service', prove: withoutOneBackend },
  { claim: 'twill apply, live: a2 comes back', prove: withBothBackends },
  { claim: 'twill apply, live: host alpha joins blue', prove: join },
  {
    claim: 'ClusterIP from host alpha',
    prove: (f) => roundRobin(f, 'alpha', SHOP, { a2: CONNECTIONS / 2, b1: CONNECTIONS / 2 }),
  },
  // beta has no way back to a pod's own address
  { claim: 'ping a1 → outside, as host alpha', prove: (f) => ping(f, 'a1', '192.0.2.2', { count: PINGS }) },
  { claim: 'twill status on both hosts: healthy', prove: healthy },
];

async function resolve(fabric: Fabric): Promise<string> {
  const resolved: string[] = [];
  for (const pod of ['a2', 'b1'] as const) {
    await fabric.lab.ip(`${PREFIX}a1`, 'neigh', 'flush', 'all');
    await ping(fabric, 'a1', ADDRESS[pod], { count: 1 });
    const [link] = JSON.parse(await fabric.lab.ip(PREFIX + pod, '-j', 'link', 'show', 'eth0')) as {
      address: string;
    }[];
    const known = JSON.parse(await fabric.lab.ip(`${PREFIX}a1`, '-j', 'neigh', 'show', ADDRESS[pod])) as {
      lladdr?: string;
    }[];
    const mac = known[0]?.lladdr ?? 'nothing';
    if (mac !== link?.address) throw new Error(`${ADDRESS[pod]} resolved to ${mac}, is ${link?.address}`);
    resolved.push(`${pod} ${mac}`);
  }
  return resolved.join(', ');
}

async function broadcast(fabric: Fabric): Promise<string> {
  const text = `hello-${process.pid}`;
  await fabric.shout('a1', text);
  const receivers = ['a2', 'b1'] as const;
  const deadline = performance.now() + 2000;
  while (receivers.some((pod) => fabric.heard(pod, text) === 0) && performance.now() < deadline)
    await sleep(10);
  // time for a copy that should not be
  await sleep(200);
  const counts = (['a2', 'b1', 'r1', 'r2'] as const).map((pod) => ({ pod, count: fabric.heard(pod, text) }));
  const figure = counts.map(({ pod, count }) => `${pod} ${count}`).join(', ');
  const right = counts.every(({ pod, count }) => count === (pod === 'a2' || pod === 'b1' ? 1 : 0));
  if (!right) throw new Error(`received: ${figure}; expected a2 1, b1 1, r1 0, r2 0`);
  return figure;
}

/** `expected`: connections by backend. */
async function roundRobin(
  fabric: Fabric,
  from: Place,
  vip: string,
  expected: Readonly<Record<string, number>>,
): Promise<string> {
  const counts = await fabric.connect(from, vip, 80, CONNECTIONS);
  const figure = describe(counts);
  if (describe({ ...counts, answers: expected, failed: 0 }) !== figure) {
    throw new Error(`${figure}; expected ${describe({ ...counts, answers: expected, failed: 0 })}`);
  }
  return `${CONNECTIONS} connections: ${figure}`;
}

function describe({ answers, failed, firstFailure }: Counts): string {
  const parts = Object.keys(answers)
    .sort()
    .map((name) => `${name} ${answers[name]}`);
  if (failed > 0) parts.push(`failed ${failed} (${firstFailure})`);
  return parts.join(', ');
}

async function affinity(fabric: Fabric): Promise<string> {
  const counts = await fabric.connect('a1', STICKY, 80, CONNECTIONS);
  const names = Object.keys(counts.answers);
  if (counts.failed > 0 || names.length !== 1) throw new Error(describe(counts));
  return `${CONNECTIONS} of ${CONNECTIONS} on ${names[0]}`;
}

/** r1 and r2 have the addresses of a1 and b1; 10.77.0.12 is only in blue. */
async function isolation(fabric: Fabric): Promise<string> {
  const blue = await fabric.connect('a1', ADDRESS.b1, SERVER_PORT, CONNECTIONS / 2);
  const red = await fabric.connect('r1', ADDRESS.r2, SERVER_PORT, CONNECTIONS / 2);
  const figure = `a1 met ${describe(blue)}; r1 met ${describe(red)}`;
  if (blue.answers.b1 !== CONNECTIONS / 2 || red.answers.r2 !== CONNECTIONS / 2) throw new Error(figure);
  const { code } = await fabric.lab.run(`${PREFIX}r1`, ['ping', '-q', '-c', '1', '-W', '1', ADDRESS.a2]);
  if (code === 0) throw new Error(`${ADDRESS.a2}, a blue address, answered a red pod`);
  return figure;
}

async function withoutOneBackend(fabric: Fabric): Promise<string> {
  const slice = exampleOf<{ endpoints: Endpoint[] }>(fabric, 'services.yaml', 'EndpointSlice', 'shop-1');
  const endpoints = slice.endpoints.filter((endpoint) => !endpoint.addresses.includes(ADDRESS.a2));
  const file = fabric.lab.file('shop-1.json', JSON.stringify({ ...slice, endpoints }));
  await apply(fabric, fabric.daemons, file, 'endpointslice/shop-1 configured');
  return roundRobin(fabric, 'a1', SHOP, { b1: CONNECTIONS });
}

/** A document of an example, as written. */
function exampleOf<T extends object>(fabric: Fabric, file: string, kind: string, name: string): T {
  const documents = parseAllDocuments(readFileSync(fabric.example(file), 'utf8'));
  const found = documents
    .map((document) => document.toJS() as T & { kind?: string; metadata?: { name?: string } })
    .find((document) => document.kind === kind && document.metadata?.name === name);
  if (!found) throw new Error(`examples/${file} has no ${kind} ${name}`);
  return found;
}

interface Endpoint {
  readonly addresses: readonly string[];
}

async function withBothBackends(fabric: Fabric): Promise<string> {
  await apply(fabric, fabric.daemons, fabric.example('services.yaml'), 'endpointslice/shop-1 configured');
  return roundRobin(fabric, 'a1', SHOP, { a2: CONNECTIONS / 2, b1: CONNECTIONS / 2 });
}

/** The host gets a port of its own in the network, and the network a way out by it. */
async function join(fabric: Fabric): Promise<string> {
  const blue = exampleOf<{ spec: object }>(fabric, 'alpha.yaml', 'Network', 'blue');
  const open = { ...blue, spec: { ...blue.spec, nat: { masquerade: true } } };
  const port = {
    apiVersion: 'twill/v1alpha1',
    kind: 'Port',
    metadata: { name: 'alpha' },
    spec: { network: 'blue', addresses: [ADDRESS.alpha] },
  };
  const file = fabric.lab.file(
    'host.yaml',
    [open, port].map((document) => JSON.stringify(document)).join('\n---\n'),
  );
  await apply(fabric, [fabric.alpha], file, 'port/alpha created');
  return `ping alpha → b1: ${await ping(fabric, 'alpha', ADDRESS.b1, { count: PINGS })}`;
}

async function apply(
  fabric: Fabric,
  daemons: readonly Daemon[],
  file: string,
  expected: string,
): Promise<void> {
  for (const daemon of daemons) {
    const { code, stdout, stderr } = await fabric.lab.twill(daemon, 'apply', '-f', file);
    if (code !== 0) throw new Error(`apply: exit ${code}: ${stderr.trim()}`);
    if (!stdout.split('\n').includes(expected)) throw new Error(`apply said: ${stdout.trim()}`);
  }
}

async function healthy(fabric: Fabric): Promise<string> {
  const ask = async (daemon: Daemon): Promise<string> => {
    const { code, stdout, stderr } = await fabric.lab.twill(daemon, 'status', '-o', 'json');
    if (stdout === '') throw new Error(stderr.trim());
    const status = JSON.parse(stdout) as { host: string; problems: string[]; counts: Record<string, number> };
    if (code !== 0) throw new Error(`${status.host}: ${status.problems.join('; ')}`);
    return `${status.host} ${status.counts.ports} ports, ${status.counts.peers} peer`;
  };
  return `${await ask(fabric.alpha)}; ${await ask(fabric.beta)}`;
}
