/**
 * TCP throughput between namespaces: Twill beside the Linux kernel on the same machine, in interleaved pairs
 * (Twill, kernel, kernel, Twill), everything unpinned. What counts is the ratio inside a pair.
 *
 *   same host    pod – Twill – pod            beside   pod – veth – kernel bridge – veth – pod
 *   cross host   pod – Twill ══ Twill – pod   beside   pod – kernel VXLAN ══ kernel VXLAN – pod
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Lab } from '../src/demo/lab.ts';

export interface Comparison {
  path: 'same host' | 'cross host';
  /** Gbit/s of every run, in pairs. */
  twill: number[];
  kernel: number[];
}

interface Route {
  client: string;
  server: string;
  address: string;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MTU = 1450;

const hostYaml = (host: 1 | 2, pods: readonly string[], prefix: string): string => `
{"apiVersion":"twill/v1alpha1","kind":"Host","metadata":{"name":"h${host}"},"spec":{"underlay":{"address":"192.0.2.${host}"}}}
---
{"apiVersion":"twill/v1alpha1","kind":"Network","metadata":{"name":"blue"},"spec":{"vxlan":{"vni":42},"subnets":[{"cidr":"10.77.0.0/24","gateway":"10.77.0.1"}]}}
---
{"apiVersion":"twill/v1alpha1","kind":"Peer","metadata":{"name":"other"},"spec":{"addresses":["192.0.2.${3 - host}"]}}
${pods
  .map(
    (pod, i) => `---
{"apiVersion":"twill/v1alpha1","kind":"Port","metadata":{"name":"${pod}"},"spec":{"network":"blue","netns":"${prefix}${pod}","addresses":["10.77.0.${host * 10 + i}"]}}`,
  )
  .join('\n')}
`;

/** Two Twill hosts: pods t1, t2 on the first, t3 on the second. */
async function buildTwill(lab: Lab): Promise<{ same: Route; cross: Route }> {
  for (const name of ['th1', 'th2', 't1', 't2', 't3']) await lab.namespace(name);
  const wire = (host: number) => ({
    namespace: `${lab.prefix}th${host}`,
    name: 'up0',
    address: `192.0.2.${host}/24`,
  });
  await lab.wire(wire(1), wire(2));
  const files = [
    lab.file('h1.yaml', hostYaml(1, ['t1', 't2'], lab.prefix)),
    lab.file('h2.yaml', hostYaml(2, ['t3'], lab.prefix)),
  ];
  await lab.daemon(`${lab.prefix}th1`, 'th1', [files[0]!]);
  await lab.daemon(`${lab.prefix}th2`, 'th2', [files[1]!]);
  const pod = (name: string) => lab.prefix + name;
  return {
    same: { client: pod('t1'), server: pod('t2'), address: '10.77.0.11' },
    cross: { client: pod('t1'), server: pod('t3'), address: '10.77.0.20' },
  };
}

/** The same with the kernel: a bridge per host, veth to the pods, a VXLAN device between the hosts. */
async function buildKernel(lab: Lab): Promise<{ same: Route; cross: Route }> {
  for (const name of ['kh1', 'kh2', 'k1', 'k2', 'k3']) await lab.namespace(name);
  const wire = (host: number) => ({
    namespace: `${lab.prefix}kh${host}`,
    name: 'up0',
    address: `192.0.2.${host}/24`,
  });
  await lab.wire(wire(1), wire(2));
  for (const host of [1, 2]) {
    const ns = `${lab.prefix}kh${host}`;
    await lab.ip(ns, 'link', 'add', 'br0', 'type', 'bridge');
    await lab.ip(ns, 'link', 'set', 'br0', 'up');
    const vxlan = ['type', 'vxlan', 'id', '42', 'dstport', '4789', 'local', `192.0.2.${host}`];
    await lab.ip(ns, 'link', 'add', 'vx0', ...vxlan, 'remote', `192.0.2.${3 - host}`);
    await lab.ip(ns, 'link', 'set', 'vx0', 'master', 'br0', 'up');
  }
  const pods = [
    ['k1', 1, '10.77.0.10'],
    ['k2', 1, '10.77.0.11'],
    ['k3', 2, '10.77.0.20'],
  ] as const;
  for (const [pod, host, address] of pods) {
    const ns = `${lab.prefix}kh${host}`;
    const inner = { namespace: lab.prefix + pod, name: 'eth0', address: `${address}/24`, mtu: MTU };
    await lab.wire(inner, { namespace: ns, name: pod, mtu: MTU });
    await lab.ip(ns, 'link', 'set', pod, 'master', 'br0');
  }
  const pod = (name: string) => lab.prefix + name;
  return {
    same: { client: pod('k1'), server: pod('k2'), address: '10.77.0.11' },
    cross: { client: pod('k1'), server: pod('k3'), address: '10.77.0.20' },
  };
}

/** One TCP stream for some seconds. @returns Gbit/s received */
async function iperf(lab: Lab, route: Route, seconds: number, name: string): Promise<number> {
  const server = lab.start(route.server, name, ['iperf3', '-s', '-1', '--forceflush']);
  try {
    await server.waitFor((text) => text.includes('listening'));
    const words = ['iperf3', '-J', '-c', route.address, '-t', String(seconds), '-O', '1'];
    const report = JSON.parse(await lab.must(route.client, words, { timeout: 60_000 }));
    return report.end.sum_received.bits_per_second / 1e9;
  } finally {
    await server.stop(500);
  }
}

/** @param pairs of runs per path; @param seconds per run; @param progress called before every run. */
export async function runNamespaceBench(
  pairs: number,
  seconds: number,
  progress: (text: string) => void,
): Promise<Comparison[]> {
  const directory = mkdtempSync(join(tmpdir(), 'twill-bench-'));
  const lab = new Lab({ prefix: `twb${process.pid}-`, directory, root: ROOT });
  try {
    const twill = await buildTwill(lab);
    const kernel = await buildKernel(lab);
    const results: Comparison[] = [];
    for (const path of ['same', 'cross'] as const) {
      const result: Comparison = { path: `${path} host`, twill: [], kernel: [] };
      for (let pair = 0; pair < pairs; pair++) {
        // ABBA: drift of the machine falls on both alike.
        for (const who of pair % 2 === 0 ? (['twill', 'kernel'] as const) : (['kernel', 'twill'] as const)) {
          progress(`${path} host, pair ${pair + 1} of ${pairs}: ${who}`);
          const route = (who === 'twill' ? twill : kernel)[path];
          result[who].push(await iperf(lab, route, seconds, `${who}-${path}-${pair}`));
        }
      }
      results.push(result);
    }
    return results;
  } finally {
    await lab.dispose();
    rmSync(directory, { recursive: true, force: true });
  }
}
