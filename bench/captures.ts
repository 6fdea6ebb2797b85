/**
 * `twill bench --captures`: a slice of every workload as it passes Twill's namespaces, each checksum in it verified by
 * tshark. Across hosts on the wire, whose ends finish no checksums: what is caught is what would leave a network card.
 * On one host in the server's pod: there a checksum may be promised instead, the field then holding the sum of the
 * pseudo-header, since whoever takes the frame off the TAP has been told that it is partial.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../src/demo/lab.ts';
import { type Built, findCommand, type Route } from './contender.ts';
import { twill } from './contenders/twill.ts';
import { isSelected, matrix, type Planned } from './matrix.ts';
import { withLab } from './network.ts';
import { SERVER_PORT, SERVICE_PORT, vip } from './rulesets.ts';
import { twillSite } from './sites.ts';
import { connections } from './tools.ts';

/** What tshark says of a slice. */
export interface Verdict {
  readonly frames: number;
  /** Checksums that are right; that are left to the receiver. */
  readonly right: number;
  readonly promised: number;
  /** Numbers of frames with a wrong one, in the file. */
  readonly wrong: readonly number[];
}

/** Into the workload, ms: the first packets have made way for the usual ones. */
const LEAD_MS = 300;
const FRAMES = 1000;
const SERVICES = 100;

interface Workload {
  readonly id: string;
  readonly route: Route;
  readonly run: () => Promise<unknown>;
}

/** @param print takes a line per workload. @returns whether every checksum was right */
export async function checkCaptures(
  only: readonly string[],
  onOpen: (lab: Lab) => void,
  print: (line: string) => void,
): Promise<boolean> {
  const missing = ['tcpdump', 'tshark', 'ethtool'].find((name) => findCommand(name) === undefined);
  if (missing !== undefined) throw new Error(`${missing} is not installed: apt-get install ${missing}`);
  const cells = matrix('full').filter(
    ({ cell, contenders }) =>
      contenders.includes('twill') && cell.layout === 'unpinned' && isSelected(only, cell.id, cell.group),
  );
  let isSound = true;
  const check = async (lab: Lab, workload: Workload): Promise<void> => {
    const { frames, right, promised, wrong } = await catchSlice(lab, workload);
    const bad = wrong.length === 0 ? '0 wrong' : `${wrong.length} WRONG, the first in frame ${wrong[0]}`;
    print(`${workload.id}: ${frames} frames, ${right} sums right, ${promised} promised, ${bad}`);
    if (wrong.length > 0 || right + promised === 0) isSound = false;
  };
  for (const mtu of [1500, 9000]) {
    const planned = cells.filter(({ cell }) => cell.mtu === mtu);
    if (planned.length === 0) continue;
    await withLab(onOpen, async (lab) => {
      const built = await twill.build(lab, mtu);
      for (const host of built.cross!.hosts) await lab.must(host, ['ethtool', '-K', 'up0', 'tx', 'off']);
      for (const one of planned) await check(lab, workloadOf(lab, built, one));
    });
  }
  const id = `connections-${SERVICES}/same/unpinned`;
  if (isSelected(only, id, 'services')) {
    await withLab(onOpen, async (lab) => {
      const { route, load } = await twillSite(lab);
      await load!(SERVICES, 10_000);
      const to = { to: vip(SERVICES - 1), port: SERVICE_PORT, serverPort: SERVER_PORT };
      const run = () => connections({ lab, layout: 'unpinned' }, route, { ...to, seconds: 1 });
      await check(lab, { id, route, run });
    });
  }
  return isSound;
}

function workloadOf(lab: Lab, built: Built, { cell, measure }: Planned): Workload {
  const route = built[cell.path as 'same' | 'cross']!;
  return { id: cell.id, route, run: () => measure({ lab, layout: 'unpinned' }, route) };
}

let slices = 0;

async function catchSlice(lab: Lab, { route, run }: Workload): Promise<Verdict> {
  const [, other] = route.hosts;
  const [namespace, link] = other === undefined ? [route.server, 'eth0'] : [other, 'up0'];
  const name = `slice-${slices++}`;
  const file = join(lab.directory, `${name}.pcap`);
  const options = [
    '-n',
    '-U',
    '--immediate-mode',
    '-s',
    '0',
    '-B',
    '32768',
    '-Z',
    'root',
    '-c',
    String(FRAMES),
  ];
  const traffic = run();
  // awaited below, and no surprise if it fails before
  traffic.catch(() => {});
  await sleep(LEAD_MS);
  const dump = lab.start(namespace, name, ['tcpdump', '-i', link, ...options, '-w', file, 'ip']);
  try {
    await traffic;
  } finally {
    await dump.stop(2000);
  }
  return verify(lab, file, other === undefined);
}

const FIELDS = [
  ...['ip.checksum.status', 'tcp.checksum.status', 'udp.checksum.status', 'icmp.checksum.status'],
  ...['tcp.checksum', 'udp.checksum', 'ip.src', 'ip.dst', 'ip.proto', 'ip.len', 'ip.hdr_len'],
] as const;
const PREFERENCES = [
  ...['ip.check_checksum:TRUE', 'tcp.check_checksum:TRUE', 'udp.check_checksum:TRUE'],
  ...['ip.defragment:FALSE', 'tcp.desegment_tcp_streams:FALSE'],
];
const GOOD = '1';
const BAD = '0';

/** @param file pcap; @param mayPromise whether a partial checksum is as right as a complete one */
export async function verify(lab: Pick<Lab, 'must'>, file: string, mayPromise: boolean): Promise<Verdict> {
  const words = [
    ...['tshark', '-n', '-r', file, '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=a'],
    ...FIELDS.flatMap((field) => ['-e', field]),
    ...PREFERENCES.flatMap((preference) => ['-o', preference]),
  ];
  const lines = (await lab.must(null, words, { timeout: 60_000 })).split('\n').filter((line) => line !== '');
  let right = 0;
  let promised = 0;
  const wrong: number[] = [];
  for (const [i, line] of lines.entries()) {
    const values = line.split('|').map((value) => (value === '' ? [] : value.split(',')));
    const [ip, ...l4] = values.slice(0, 4) as [string[], ...string[][]];
    const statuses = l4.flat();
    right += [...ip, ...statuses].filter((status) => status === GOOD).length;
    const bad = statuses.filter((status) => status === BAD).length;
    if (bad === 1 && mayPromise && isPromised(values)) promised++;
    else if (bad > 0) wrong.push(i + 1);
    if (ip.includes(BAD)) wrong.push(i + 1);
  }
  return { frames: lines.length, right, promised, wrong };
}

/** Does the checksum field of a packet without tunnel hold the sum of its pseudo-header? */
function isPromised(values: readonly string[][]): boolean {
  const [tcp, udp, [src], [dst], [protocol], [length], [header]] = values.slice(4) as [
    ...[string[], string[], string[], string[], string[], string[], string[]],
  ];
  const words = [src!, dst!].flatMap((address) => {
    const [a, b, c, d] = address.split('.').map(Number) as [number, number, number, number];
    return [(a << 8) | b, (c << 8) | d];
  });
  let sum = words.reduce((total, word) => total + word, Number(protocol) + Number(length) - Number(header));
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum === Number(tcp[0] ?? udp[0]);
}
