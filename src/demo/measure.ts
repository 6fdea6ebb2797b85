/** Real clients in a pod, and the figures they print. */
import { ADDRESS, type Fabric, type Place, type Pod, PREFIX } from './fabric.ts';
import { lastLines } from './lab.ts';

export interface PingOptions {
  readonly count: number;
  /** Bytes of payload, sent with "don't fragment". */
  readonly size?: number;
}

/** @returns "20 of 20, 0.12 ms"; @throws Error when one is lost */
export async function ping(
  fabric: Fabric,
  from: Place,
  address: string,
  options: PingOptions,
): Promise<string> {
  const count = String(options.count);
  const size = options.size === undefined ? [] : ['-M', 'do', '-s', String(options.size)];
  const argv = ['ping', '-q', '-n', '-c', count, '-i', '0.02', '-W', '1', ...size, address];
  const { stdout, stderr } = await fabric.lab.run(PREFIX + from, argv);
  const received = /(\d+) received/.exec(stdout)?.[1] ?? '0';
  if (received !== count) {
    throw new Error(`${received} of ${count} answered${stderr === '' ? '' : `: ${lastLines(stderr, 1)}`}`);
  }
  const average = /= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1];
  return `${received} of ${count}, ${Number(average).toFixed(2)} ms`;
}

interface IperfReport {
  readonly error?: string;
  readonly end?: {
    readonly sum_received?: { readonly bits_per_second: number };
    readonly sum_sent?: { readonly retransmits?: number };
  };
}

/** One TCP stream from one pod to another. @returns "9.41 Gbit/s" */
export async function iperf(fabric: Fabric, from: Pod, to: Pod, seconds: number): Promise<string> {
  const server = fabric.lab.start(PREFIX + to, `iperf3-${from}-${to}`, [
    'iperf3',
    '-s',
    '-1',
    '--forceflush',
  ]);
  try {
    await server.waitFor((text) => text.includes('listening'));
    const argv = ['iperf3', '-J', '-c', ADDRESS[to], '-t', String(seconds), '--connect-timeout', '3000'];
    const { stdout } = await fabric.lab.run(PREFIX + from, argv);
    const report = JSON.parse(stdout) as IperfReport;
    if (report.error) throw new Error(report.error);
    const rate = report.end?.sum_received?.bits_per_second ?? 0;
    if (!(rate > 0)) throw new Error('no byte arrived');
    return `${(rate / 1e9).toFixed(2)} Gbit/s, ${report.end?.sum_sent?.retransmits ?? 0} retransmits`;
  } finally {
    await server.stop(200);
  }
}
