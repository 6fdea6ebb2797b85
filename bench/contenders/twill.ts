/** Twill: two daemons, with the engine's own trace of collections and deoptimisations in their logs. */
import type { Lab } from '../../src/demo/lab.ts';
import { version } from '../../src/program/version.ts';
import { type Built, type Contender, PODS, Sites, underlayAddress, VNI } from '../contender.ts';
import { NO_SERVICES } from '../rulesets.ts';

/**
 * Collections go to the daemon's log, deoptimisations to a file per thread beside it; guards.ts reads both. Nothing
 * is written, and nothing slower, until something happens.
 */
export const TRACE = ['--trace-gc', '--trace-deopt', '--redirect-code-traces'] as const;

/** The configuration of one host: `more` are further documents. */
export function hostFile(host: 1 | 2, sites: Sites, more: readonly object[] = []): string {
  const document = (kind: string, name: string, spec: object): object => ({
    apiVersion: 'twill/v1alpha1',
    kind,
    metadata: { name },
    spec,
  });
  const pods = PODS.flatMap(({ host: where, address }, i) =>
    where === host
      ? [document('Port', `p${i}`, { network: 'blue', netns: sites.pod(i), addresses: [address] })]
      : [],
  );
  const other = host === 1 ? 2 : 1;
  const documents = [
    document('Host', `h${host}`, { underlay: { address: underlayAddress(host) } }),
    document('Network', 'blue', {
      vxlan: { vni: VNI },
      subnets: [{ cidr: '10.77.0.0/24', gateway: '10.77.0.1' }],
    }),
    document('Peer', 'other', { addresses: [underlayAddress(other)] }),
    ...pods,
    ...more,
  ];
  return documents.map((one) => JSON.stringify(one)).join('\n---\n');
}

export const twill: Contender = {
  name: 'twill',
  title: 'Twill',
  detail: 'a daemon per host, TAP ports, VXLAN',
  available: () => null,
  version,
  async build(lab: Lab, mtu: number): Promise<Built> {
    const sites = new Sites(lab, 't');
    await sites.make(mtu);
    const daemons = [];
    const files = [];
    for (const host of [1, 2] as const) {
      const file = lab.file(`t${host}.yaml`, hostFile(host, sites));
      const services = lab.file(`t${host}-services.json`, NO_SERVICES);
      files.push(services);
      daemons.push(await lab.daemon(sites.host(host), `t${host}`, [file, services], TRACE));
    }
    return {
      same: sites.route(1),
      cross: sites.route(2),
      daemons,
      sockets: daemons.map((daemon) => daemon.socket),
      files,
    };
  },
};
