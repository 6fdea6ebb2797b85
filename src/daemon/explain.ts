/** `twill explain`: what the dataplane says of a flow, beside the documents it follows from. */
import type { Candidate, ExplainRequest, Explanation } from '../control/protocol.ts';
import { endpointRefusal } from '../control/schema/endpoint-slice.ts';
import {
  AddressError,
  contains,
  familyOf,
  formatSocketAddress,
  parseAddress,
  parseSocketAddress,
  type SocketAddress,
} from '../control/socket-address.ts';
import type { EndpointSliceSpec, Resource, ResourceOf } from '../control/types.ts';
import type { FlowAnswer, FlowRow, ServicePortRow } from '../dataplane/messages.ts';
import { DROP_REASONS } from '../telemetry/drop.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import type { Manager } from './manager.ts';
import { Rejected } from './rejected.ts';

const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 };

type Endpoint = EndpointSliceSpec['endpoints'][number];

/** @throws Rejected: 404 when no flow fits, 422 when it must be said better */
export async function explain(
  manager: Manager,
  dataplane: Dataplane,
  request: ExplainRequest,
): Promise<Explanation> {
  const client = readEnd(request.client);
  const to = request.to === undefined ? null : readEnd(request.to);
  if (to && familyOf(to.words) !== familyOf(client.words)) {
    throw new Rejected([`${request.client} and ${request.to} are of two address families`]);
  }
  const { protocol } = request;
  if (protocol !== undefined && PROTOCOLS[protocol] === undefined) {
    throw new Rejected([`unknown protocol "${protocol}"; known: ${Object.keys(PROTOCOLS).join(', ')}`]);
  }
  const { all, home } = networksOf(manager, client, request.network);
  const answer = await dataplane.explain({
    networks: [...(home === undefined ? [] : [home.id]), ...all.map(({ id }) => id)],
    protocol: protocol === undefined ? 0 : PROTOCOLS[protocol]!,
    client: client.words,
    clientPort: client.port,
    to: to?.words ?? null,
    toPort: to?.port ?? 0,
  });
  if (answer.flows.length > 1) throw tooMany(answer.flows);
  const [flow] = answer.flows;
  if (flow) {
    return compose(manager, answer, flow, flow.network, flow.protocol, flow.client, flow.vip);
  }
  if (protocol === undefined || !to || to.port === 0) {
    const wanted = `twill explain tcp ${request.client} ADDRESS:PORT`;
    throw new Rejected([`no such flow; what would become of a new one says: ${wanted}`], 404);
  }
  if (home === undefined) {
    const names = all.map(({ name }) => name).join(', ');
    throw new Rejected([`no such flow, and ${request.client} may be in any of ${names}; add --network NAME`]);
  }
  return compose(
    manager,
    answer,
    null,
    home.name,
    protocol,
    formatSocketAddress(client),
    formatSocketAddress(to),
  );
}

function readEnd(text: string): SocketAddress {
  try {
    return parseSocketAddress(text);
  } catch (error) {
    throw error instanceof AddressError ? new Rejected([error.message], 400) : error;
  }
}

/** The networks a flow may be in, and the one a new flow of the client would be in, if that is clear. */
function networksOf(manager: Manager, { words }: SocketAddress, wanted: string | undefined) {
  const networks = manager.generation?.networks ?? [];
  const all = wanted === undefined ? networks : networks.filter(({ name }) => name === wanted);
  if (wanted !== undefined && all.length === 0) {
    const known = networks.map(({ name }) => name).join(', ') || 'none';
    throw new Rejected([`no network "${wanted}"; there are: ${known}`], 404);
  }
  const { subnets } = manager.surroundings;
  const having = all.filter(({ name }) =>
    subnets.some(({ network, cidr }) => network === name && contains(cidr, words)),
  );
  const candidates = having.length > 0 ? having : all;
  return { all, home: candidates.length === 1 ? candidates[0] : undefined };
}

function tooMany(flows: readonly FlowRow[]): Rejected {
  const lines = flows.map(
    ({ network, protocol, client, vip, backend }) =>
      `  ${protocol} ${client} ${vip} (${backend}) in ${network}`,
  );
  return new Rejected([
    'several flows fit; add what tells one apart, or a port of the client that is in none for a new flow:',
    ...lines,
  ]);
}

function compose(
  manager: Manager,
  answer: FlowAnswer,
  flow: FlowRow | null,
  network: string,
  protocol: string,
  client: string,
  to: string,
): Explanation {
  const { outlook, service } = answer;
  const documents = service && documentsOf(manager, service);
  const backend = flow ? flow.backend : (outlook?.backend ?? null);
  const why = flow ? flow.why : (outlook?.why ?? '');
  return {
    flow,
    network,
    protocol,
    client,
    to,
    outcome: flow ? 'accept' : (outlook?.outcome ?? 'pass'),
    reason: reasonOf(answer, flow),
    service: service && documents && serviceOf(service, documents.service),
    backend,
    candidates: service && documents ? candidatesOf(manager, service, documents, backend, why) : [],
  };
}

function reasonOf({ outlook, service }: FlowAnswer, flow: FlowRow | null): string {
  if (flow) {
    if (service) return `goes to ${flow.backend}, chosen by ${flow.why}`;
    const what = flow.service === '(removed)' ? 'its service is gone; it stays' : 'of no service';
    return `goes to ${flow.backend}, ${what}`;
  }
  if (outlook === null || outlook.outcome === 'pass') return 'no service’s address and port; routed as it is';
  if (outlook.outcome === 'accept') {
    return outlook.backend === null
      ? 'goes to an endpoint that chance or the client’s port will choose'
      : `goes to ${outlook.backend}, chosen by ${outlook.why}`;
  }
  const text = DROP_REASONS.find(({ name }) => name === outlook.reason)?.text ?? '';
  return `${outlook.outcome === 'reject' ? 'refused' : 'dropped'}, ${outlook.reason}: ${text}`;
}

interface Documents {
  readonly service: ResourceOf<'Service'>;
  readonly port: ResourceOf<'Service'>['spec']['ports'][number];
  readonly slices: readonly ResourceOf<'EndpointSlice'>[];
}

/** What the running set has under a service port's name; null when it has just gone. */
function documentsOf(manager: Manager, { name, protocol }: ServicePortRow): Documents | null {
  const [, namespace, own, label] = /^([^/]*)\/(.*):([^:]*)$/.exec(name) ?? [];
  if (namespace === undefined || own === undefined) return null;
  const service = manager.find('Service', namespace, own) as ResourceOf<'Service'> | undefined;
  const port = service?.spec.ports.find(
    (candidate) =>
      (candidate.name || String(candidate.port)) === label && candidate.protocol.toLowerCase() === protocol,
  );
  return service && port ? { service, port, slices: manager.slicesOf(namespace, own) } : null;
}

function serviceOf(row: ServicePortRow, service: Resource): NonNullable<Explanation['service']> {
  const { generation } = (service.document as { metadata: { generation?: unknown } }).metadata;
  return {
    name: `${service.namespace}/${service.name}`,
    port: row.name.slice(row.name.lastIndexOf(':') + 1),
    frontend: row.frontend,
    origin: service.origin,
    metadataGeneration: typeof generation === 'number' ? generation : null,
    generation: row.generation,
    algorithm: row.algorithm,
    set: row.set,
    since: row.since,
  };
}

function candidatesOf(
  manager: Manager,
  row: ServicePortRow,
  { port, slices }: Documents,
  backend: string | null,
  how: string,
): Candidate[] {
  const { nodeName } = manager.surroundings;
  const members = new Map(row.endpoints.map((endpoint) => [endpoint.address, endpoint]));
  const family = members.size > 0 ? familyIn([...members.keys()][0]!) : familyIn(backend ?? '');
  const seen = new Set<string>();
  const candidates: Candidate[] = [];
  for (const slice of slices) {
    const { addressType, endpoints, ports, weight } = slice.spec;
    if (addressType === 'FQDN' || (family !== null && addressType !== family)) continue;
    for (const { port: number } of ports.filter(
      (p) => p.name === port.name && p.protocol === port.protocol,
    )) {
      endpoints.forEach((endpoint, i) => {
        const refusal = endpointRefusal(endpoint.address, addressType);
        const address = refusal === null ? textOf(endpoint.address, number) : endpoint.address;
        const member = refusal === null ? members.get(address) : undefined;
        const isFirst = !seen.has(address);
        seen.add(address);
        const chosen = member !== undefined && isFirst && address === backend;
        const isNew = row.since?.came.includes(address) === true;
        const eligible = member !== undefined && isFirst && member.weight > 0 && member.reachable && !isNew;
        const absence = refusal ?? (isFirst ? absenceOf(endpoint, row, nodeName) : 'listed before');
        const hasLeft = isFirst && row.since?.left.includes(address) === true;
        const presence = member && (isNew ? 'no: came later' : presenceOf(member, chosen, how));
        candidates.push({
          address,
          slice: `${slice.namespace}/${slice.name}`,
          origin: slice.locate(`endpoints[${i}]`),
          ready: endpoint.ready,
          serving: endpoint.serving,
          terminating: endpoint.terminating,
          node: endpoint.nodeName ?? null,
          weight,
          eligible,
          chosen,
          why: ((isFirst ? presence : undefined) ?? absence) + (hasLeft ? '; was there then' : ''),
        });
      });
    }
  }
  return candidates;
}

const textOf = (address: string, port: number): string =>
  formatSocketAddress({ words: parseAddress(address).words, port });

const familyIn = (end: string): 'IPv4' | 'IPv6' | null =>
  end === '' ? null : end.startsWith('[') ? 'IPv6' : 'IPv4';

function presenceOf(
  { weight, reachable }: ServicePortRow['endpoints'][number],
  chosen: boolean,
  how: string,
): string {
  if (chosen) return weight === 0 ? 'chosen before its weight became 0' : `chosen: ${how}`;
  if (weight === 0) return 'no: weight 0';
  return reachable ? 'could be chosen' : 'no: not in the client’s network';
}

/** Why an endpoint is not in the set (S11–S14). */
function absenceOf(endpoint: Endpoint, { set }: ServicePortRow, nodeName: string): string {
  const { ready, serving, terminating, nodeName: node, hints } = endpoint;
  if (set === 'local' && (node === undefined || node !== nodeName))
    return `no: policy Local, on ${node ?? 'no node'}`;
  if (!ready && !serving) return terminating ? 'no: has ended' : 'no: not ready';
  if (!ready) return terminating ? 'no: terminating, others are ready' : 'no: not ready';
  if (hints && hints.nodes.length > 0) return `no: for node ${hints.nodes.join(', ')}`;
  if (hints && hints.zones.length > 0) return `no: for zone ${hints.zones.join(', ')}`;
  return 'no: another slice knows better';
}
