import type { Flows } from '../conntrack/flows.ts';
import { TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import { NO_SERVICE, NOBODY } from '../service/open.ts';
import { ALGORITHMS, BACKEND_WORDS, ServiceFlag } from '../service/record.ts';
import { EndpointSet } from '../service/services.ts';
import { Verdict } from '../service/verdict.ts';
import { describeWhy, How, packWhy } from '../service/why.ts';
import { DROP_REASONS, Drop } from '../telemetry/drop.ts';
import { sameWords } from '../wire/address.ts';
import type { Address } from './config.ts';
import type { Dataplane } from './dataplane.ts';
import { endText, flowRow, protocolText } from './flow-row.ts';
import {
  type FlowAnswer,
  type FlowQuestion,
  type FlowRow,
  type Frontend,
  MOST_MATCHES,
  type Outcome,
  type ServicePortRow,
  type Since,
} from './messages.ts';

/** Rows looked at between two turns: about 100 µs. */
const ROWS_PER_STEP = 8192;

const FRONTENDS: readonly Frontend[] = ['clusterIP', 'externalIP', 'loadBalancer', 'nodePort'];

/** One answer, and null for every step without one: what is known of a flow, or would become of its first packet. */
export function* answerRows(dataplane: Dataplane, question: FlowQuestion): Generator<FlowAnswer | null> {
  const { flows } = dataplane.pipeline;
  const { protocol, clientPort, to, toPort } = question;
  if (clientPort === 0 && protocol !== 0 && to !== null && toPort !== 0) {
    yield outlook(dataplane, question); // some flow of the client is asked about, not one there is
    return;
  }
  const found: FlowRow[] = [];
  let service: ServicePortRow | null = null;
  for (let row = 0; row < flows.extent; row++) {
    if (row % ROWS_PER_STEP === ROWS_PER_STEP - 1) yield null;
    if (!flows.isLive(row, dataplane.now) || !isMeant(flows, row, question)) continue;
    found.push(flowRow(dataplane, row));
    service = serviceOf(dataplane, row);
    if (found.length === MOST_MATCHES) break;
  }
  if (found.length > 0) yield { flows: found, service: found.length === 1 ? service : null, outlook: null };
  else yield outlook(dataplane, question);
}

function isMeant(flows: Flows, row: number, question: FlowQuestion): boolean {
  const { networks, protocol, client, clientPort, to, toPort } = question;
  const [original, reply] = [row * 2, row * 2 + 1];
  const ports = flows.word(original, Word.PORTS);
  if (clientPort !== 0 && ports >>> 16 !== clientPort) return false;
  if (!hasEnd(flows, original, Word.SOURCE_HIGH, Word.SOURCE, client)) return false;
  const scope = flows.word(original, Word.SCOPE);
  if (protocol !== 0 && (scope & 0xff) !== protocol) return false;
  if (!networks.includes(scope >>> 8)) return false;
  if (to === null) return true;
  const isService =
    hasEnd(flows, original, Word.DESTINATION_HIGH, Word.DESTINATION, to) &&
    (toPort === 0 || (ports & 0xffff) === toPort);
  const isEndpoint =
    hasEnd(flows, reply, Word.SOURCE_HIGH, Word.SOURCE, to) &&
    (toPort === 0 || flows.word(reply, Word.PORTS) >>> 16 === toPort);
  return isService || isEndpoint;
}

function hasEnd(flows: Flows, id: number, high: number, low: number, address: Address): boolean {
  if (flows.word(id, low) !== address[3]) return false;
  for (let i = 0; i < 3; i++) if (flows.word(id, high + i) !== address[i]) return false;
  return true;
}

/** The service a flow belongs to; null when it is gone, or there was none. */
function serviceOf(dataplane: Dataplane, row: number): ServicePortRow | null {
  const { flows, services } = dataplane.pipeline;
  const id = flows.service[row]!;
  if (id === NO_SERVICE || flows.generation[row] !== services.generation[id]) return null;
  const how = flows.how[row]!;
  const set = (how & How.LOCAL_SET) !== 0 ? EndpointSet.LOCAL : EndpointSet.CLUSTER;
  const network = flows.word(row * 2, Word.SCOPE) >>> 8;
  return servicePort(dataplane, id, set, how & How.KIND, network, flows.version[row]!);
}

/** The net change of a set after transaction `version`. */
function sinceOf({ pipeline }: Dataplane, id: number, set: EndpointSet, version: number): Since | null {
  const wasThere = new Map<string, boolean>();
  const isThere = new Map<string, boolean>();
  const isKnown = pipeline.history.since(id, set, version, (words, at, came) => {
    const text = endText(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!, words[at + 4]!);
    if (!wasThere.has(text)) wasThere.set(text, !came);
    isThere.set(text, came);
  });
  const changed = [...isThere].filter(([text, is]) => is !== wasThere.get(text));
  const those = (is: boolean): string[] => changed.filter(([, now]) => now === is).map(([text]) => text);
  return isKnown ? { came: those(true), left: those(false) } : null;
}

/** @param version transaction as of which a flow found it; absent: now */
function servicePort(
  dataplane: Dataplane,
  id: number,
  set: EndpointSet,
  kind: number,
  network: number,
  version?: number,
): ServicePortRow {
  const { services, chooser, nat } = dataplane.pipeline;
  const generation = chooser.versionOf(id);
  const isSame = version === undefined || version === generation;
  const endpoints: ServicePortRow['endpoints'][number][] = [];
  const size = services.size(id, set);
  for (let i = 0; i < size; i++) {
    const words = services.words(id);
    const at = services.first(id, set) + i * BACKEND_WORDS;
    endpoints.push({
      address: endText(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!, words[at + 4]! & 0xffff),
      weight: words[at + 4]! >>> 16,
      reachable: nat.isReachable(network, words, at),
    });
  }
  return {
    name: services.name(id),
    protocol: protocolText(services.protocol(id)),
    generation,
    algorithm: ALGORITHMS[(services.flags[id]! >>> ServiceFlag.ALGORITHM_SHIFT) & 3]!,
    frontend: FRONTENDS[kind]!,
    set: set === EndpointSet.LOCAL ? 'local' : 'cluster',
    endpoints,
    since: isSame ? { came: [], left: [] } : sinceOf(dataplane, id, set, version),
  };
}

/** What would become of a first packet now; nothing when it is not said of which. */
function outlook(dataplane: Dataplane, question: FlowQuestion): FlowAnswer {
  const { networks, protocol, to } = question;
  const network = networks[0];
  if (network === undefined || protocol === 0 || to === null)
    return { flows: [], service: null, outlook: null };
  const { judge, opener, services } = dataplane.pipeline;
  const tuple = tupleOf(question, network, to);
  const verdict = judge.judge(locationOf(dataplane, network, question.client), tuple);
  const refused = (outcome: Outcome, reason: Drop): FlowAnswer => ({
    flows: [],
    service: judge.service < 0 ? null : portOf(),
    outlook: { outcome, reason: DROP_REASONS[reason]!.name, backend: null, why: '' },
  });
  const portOf = () => servicePort(dataplane, judge.service, judge.set, judge.kind, network);
  if (verdict === Verdict.PASS) {
    return { flows: [], service: null, outlook: { outcome: 'pass', reason: null, backend: null, why: '' } };
  }
  if (verdict === Verdict.REJECT) return refused('reject', judge.reason);
  if (verdict === Verdict.DROP) return refused('drop', judge.reason);
  const index = opener.choose(tuple, dataplane.now);
  if (index < 0) return refused('reject', index === NOBODY ? Drop.NO_ENDPOINT : Drop.NO_ROUTE);
  const service = portOf();
  // What chance or an unknown port decides is not told beforehand.
  const isOpen =
    (opener.how & How.AFFINITY) === 0 &&
    (service.algorithm === 'random' || (service.algorithm === 'maglev' && question.clientPort === 0));
  const why = describeWhy(opener.how, packWhy(index, services.size(judge.service, judge.set)));
  const backend = isOpen ? null : service.endpoints[index]!.address;
  return {
    flows: [],
    service,
    outlook: { outcome: 'accept', reason: null, backend, why: isOpen ? '' : why },
  };
}

function tupleOf(question: FlowQuestion, network: number, to: Address): Int32Array {
  const { protocol, client, clientPort, toPort } = question;
  const tuple = new Int32Array(TUPLE_WORDS);
  tuple[Word.SCOPE] = (network << 8) | protocol;
  tuple[Word.PORTS] = (clientPort << 16) | toPort;
  tuple.set(client.slice(0, 3), Word.SOURCE_HIGH);
  tuple.set(to.slice(0, 3), Word.DESTINATION_HIGH);
  tuple[Word.SOURCE] = client[3];
  tuple[Word.DESTINATION] = to[3];
  return tuple;
}

/** Where packets of an address come from: its port, the host's when it is nobody's subnet, −1 = elsewhere. */
function locationOf({ ports, pipeline }: Dataplane, network: number, client: Address): number {
  for (const { id, network: of, addresses } of ports.values()) {
    if (of === network && addresses.some((address) => sameWords(address, client))) return id;
  }
  const isInside = pipeline.nat.subnetOf(network, client[0], client[1], client[2], client[3]) >= 0;
  return isInside ? -1 : pipeline.networks.hostPort[network]!;
}
