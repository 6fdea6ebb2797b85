/** What the tests of this folder share: documents as YAML, traffic between pods, and what came of it. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { type Background, CANNOT, type CapturedPacket, type Daemon, ROOT, type TestLab } from '../lab/lab.ts';
import type { Answers, Echoes, Heard, Transfer } from './pod.ts';

/** For `describe.skipIf`. Where everything must be able to run, a reason to skip is a failure. */
export const SKIP = CANNOT !== null;
if (SKIP && process.env.CI === 'true') throw new Error(`these tests cannot run here: ${CANNOT}`);

const POD = join(ROOT, 'dist/test/netns/pod.js');
/** TCP and UDP, of every pod's server. */
export const SERVER = 7000;
export const MIB = 1 << 20;

type Spec = Readonly<Record<string, unknown>>;

/** Documents → the text of one file. */
export function yaml(...documents: readonly unknown[]): string {
  return documents.map((document) => JSON.stringify(document)).join('\n---\n');
}

const own = (kind: string, name: string, spec: Spec): Spec => ({
  apiVersion: 'twill/v1alpha1',
  kind,
  metadata: { name },
  spec,
});

export const host = (name: string, address: string, address6?: string): Spec =>
  own('Host', name, { underlay: { address, ...(address6 && { address6 }) } });

export const peer = (name: string, address: string, more: Spec = {}): Spec =>
  own('Peer', name, { addresses: [address], ...more });

export const network = (name: string, vni: number, vxlan: Spec = {}, more: Spec = {}): Spec =>
  own('Network', name, {
    vxlan: { vni, ...vxlan },
    subnets: [{ cidr: '10.77.0.0/24', gateway: '10.77.0.1' }],
    ...more,
  });

export const port = (name: string, net: string, netns: string, address: string, more: Spec = {}): Spec =>
  own('Port', name, { network: net, netns, interface: 'eth0', addresses: [address], ...more });

export const service = (name: string, clusterIP: string, more: Spec = {}): Spec => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: {
    clusterIP,
    ports: [
      { name: 'tcp', port: 80, protocol: 'TCP' },
      { name: 'udp', port: 80, protocol: 'UDP' },
    ],
    ...more,
  },
});

export const slice = (of: string, ...addresses: readonly string[]): Spec => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${of}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': of } },
  addressType: 'IPv4',
  ports: [
    { name: 'tcp', port: SERVER, protocol: 'TCP' },
    { name: 'udp', port: SERVER, protocol: 'UDP' },
  ],
  endpoints: addresses.map((address) => ({ addresses: [address] })),
});

/** Servers in pods, by name. */
export class Servers {
  readonly #lab: TestLab;
  readonly #running = new Map<string, Background>();

  constructor(lab: TestLab) {
    this.#lab = lab;
  }

  /** Starts a server in each namespace, named as the key. */
  async start(namespaces: Readonly<Record<string, string>>): Promise<void> {
    const started = Object.entries(namespaces).map(async ([name, namespace]) => {
      const argv = [process.execPath, POD, 'serve', name, String(SERVER)];
      const server = this.#lab.start(namespace, `pod-${name}`, argv);
      this.#running.set(name, server);
      await server.waitFor((text) => text.includes('serving'));
    });
    await Promise.all(started);
  }

  /** How many datagrams with this text the pod received. */
  heard(name: string, text: string): number {
    const lines = this.#running.get(name)?.output().split('\n') ?? [];
    return lines.filter((line) => line.startsWith(`shout ${text} from`)).length;
  }
}

async function pod<T>(
  lab: TestLab,
  namespace: string,
  words: readonly (string | number)[],
  timeout = 15_000,
): Promise<T> {
  const argv = [process.execPath, POD, ...words.map(String)];
  return JSON.parse(await lab.must(namespace, argv, { timeout })) as T;
}

export const who = (lab: TestLab, from: string, to: string, count: number, at = SERVER): Promise<Answers> =>
  pod(lab, from, ['who', to, at, count]);

export const udp = (
  lab: TestLab,
  from: string,
  to: string,
  sizes: readonly number[],
  at = SERVER,
): Promise<Echoes> => pod(lab, from, ['udp', to, at, ...sizes]);

export const spread = (lab: TestLab, from: string, to: string, count: number): Promise<Echoes> =>
  pod(lab, from, ['spread', to, SERVER, count]);

export const shout = (lab: TestLab, from: string, to: string, text: string, count: number): Promise<string> =>
  pod(lab, from, ['shout', to, SERVER, text, count]);

export const put = (
  lab: TestLab,
  from: string,
  to: string,
  bytes: number,
  more: { at?: number; ms?: number; timeout?: number } = {},
): Promise<Transfer> =>
  pod(lab, from, ['put', to, more.at ?? SERVER, bytes, 1 + (bytes % 97), more.ms ?? 0], more.timeout);

/** Datagrams nobody waits for. @returns how many */
export const pour = (
  lab: TestLab,
  from: string,
  to: string,
  flows: number,
  count: number,
  sizes: readonly number[],
): Promise<number> => pod(lab, from, ['pour', to, SERVER, flows, count, ...sizes]);

/** UDP_SEGMENT, which Node.js does not offer. Arguments: address, port, calls, datagram size, bytes in each call. */
const SEGMENTED_SEND = `
import hashlib, json, random, socket, struct, sys, time
address, port, calls, size, total = sys.argv[1], *map(int, sys.argv[2:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((address, port))
stream, sha, count = random.Random(size), hashlib.sha256(), 0
for _ in range(calls):
    data = stream.getrandbits(8 * total).to_bytes(total, "big")
    for at in range(0, total, size):
        part = data[at : at + size]
        sha.update(struct.pack("!I", len(part)) + part)
        count += 1
    s.sendmsg([data], [(socket.IPPROTO_UDP, 103, struct.pack("H", size))])
    time.sleep(0.004)
print(json.dumps({"datagrams": count, "sha": sha.hexdigest()}))
`;

let hearing = 9000;

/** UDP super-frames from one pod to the application of another. @returns what left and what arrived */
export async function segmented(
  lab: TestLab,
  from: string,
  receiver: { namespace: string; address: string },
  { calls, size, total }: { calls: number; size: number; total: number },
): Promise<{ sent: Heard; heard: Heard }> {
  const [at, count] = [hearing++, calls * Math.ceil(total / size)];
  const argv = [process.execPath, POD, 'hear', String(at), String(count)];
  const ear = lab.start(receiver.namespace, `hear-${at}`, argv);
  await ear.waitFor((text) => text.includes('hearing'));
  const words = [receiver.address, at, calls, size, total].map(String);
  const sent = JSON.parse(await lab.must(from, ['python3', '-c', SEGMENTED_SEND, ...words])) as Heard;
  await ear.waitFor((text) => text.includes('}'), 12_000);
  return { sent, heard: JSON.parse(ear.output().split('\n')[1]!) as Heard };
}

export const get = (lab: TestLab, from: string, to: string, bytes: number, at = SERVER): Promise<Transfer> =>
  pod(lab, from, ['get', to, at, bytes, 1 + (bytes % 89)]);

/** A file each way, compared byte for byte; says how fast it was. */
export async function bothWays(
  lab: TestLab,
  from: string,
  to: string,
  bytes: number,
  title: string,
): Promise<void> {
  const [out, back] = [await put(lab, from, to, bytes), await get(lab, from, to, bytes)];
  for (const transfer of [out, back]) {
    expect(transfer.bytes).toBe(bytes);
    expect(transfer.received).toBe(transfer.sent);
  }
  console.log(`${title}: ${rate(out)} there, ${rate(back)} back`);
}

export const rate = ({ bytes, seconds }: Transfer): string =>
  `${((bytes * 8) / seconds / 1e9).toFixed(2)} Gbit/s`;

/**
 * Answers received. `size` is that of the whole IP packet, sent with "don't fragment". Once it has had an answer, ping
 * waits for its last ones no longer than its interval, which a busy machine may sleep through: those it gave up on are
 * asked for again, with a second each. An answer missing between others is missing.
 */
export async function ping(
  lab: TestLab,
  from: string,
  to: string,
  options: { count?: number; size?: number; tos?: number } = {},
): Promise<number> {
  const { count = 5, size, tos } = options;
  const header = to.includes(':') ? 48 : 28;
  const run = async (times: number): Promise<number[]> => {
    const { stdout } = await lab.run(from, [
      ...['ping', '-n', '-c', String(times), '-i', '0.02', '-W', '1'],
      ...(size === undefined ? [] : ['-M', 'do', '-s', String(size - header)]),
      ...(tos === undefined ? [] : ['-Q', String(tos)]),
      to,
    ]);
    return [...stdout.matchAll(/bytes from .*icmp_seq=(\d+)(?!.*DUP)/g)].map(([, seq]) => Number(seq));
  };
  const answered = await run(count);
  let received = answered.length;
  if (received === 0 || Math.max(...answered) !== received) return received;
  while (received < count && (await run(1)).length === 1) received++;
  return received;
}

/** `twill get KIND -o json` */
export async function items<T>(lab: TestLab, daemon: Pick<Daemon, 'socket'>, kind: string): Promise<T[]> {
  const { code, stdout, stderr } = await lab.twill(daemon, 'get', kind, '-o', 'json');
  if (code !== 0) throw new Error(stderr);
  const list = JSON.parse(stdout) as T[] | { items: T[] };
  return Array.isArray(list) ? list : list.items;
}

/** `twill apply` of a text. @returns its lines */
export async function apply(
  lab: TestLab,
  daemon: Pick<Daemon, 'socket'>,
  name: string,
  text: string,
): Promise<string[]> {
  const { code, stdout, stderr } = await lab.twill(daemon, 'apply', '-f', lab.file(name, text));
  if (code !== 0) throw new Error(`apply: exit ${code}: ${stderr}`);
  return stdout.trim().split('\n');
}

/** Asks until the answer is right. @throws with the last answer */
export async function until<T>(
  ask: () => T | Promise<T>,
  isRight: (answer: T) => boolean,
  ms = 5000,
): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`after ${ms} ms it is still ${JSON.stringify(answer)}`);
    await sleep(50);
  }
}

/** tshark, told to verify every checksum it can. */
export const VERIFY = ['ip.check_checksum', 'udp.check_checksum', 'tcp.check_checksum'].flatMap((name) => [
  '-o',
  `${name}:TRUE`,
]);

/** A field of the outer header and the same of the inner one. */
export const outer = (packet: CapturedPacket, field: string): string | undefined => packet[field]?.[0];
export const inner = (packet: CapturedPacket, field: string): string | undefined => packet[field]?.[1];
