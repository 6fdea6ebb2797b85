import { trafficAt } from '../conntrack/row.ts';
import { SCTP_STATE_NAMES, SctpState } from '../conntrack/sctp.ts';
import { TCP_STATE_NAMES } from '../conntrack/tcp-state.ts';
import { UdpState } from '../conntrack/timeouts.ts';
import { Word } from '../conntrack/tuple.ts';
import { NO_SERVICE } from '../service/open.ts';
import { describeWhy } from '../service/why.ts';
import { formatAddress } from '../wire/address.ts';
import { Protocol } from '../wire/ipv4.ts';
import type { Dataplane } from './dataplane.ts';
import type { FlowRow } from './messages.ts';

export const seconds = (ms: number): number => Math.max(0, Math.round(ms / 100) / 10);

/** "10.77.0.11:40000", "[fd00::11]:40000" */
export function endText(w0: number, w1: number, w2: number, w3: number, port: number): string {
  const text = formatAddress(w0, w1, w2, w3);
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
}

const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  [Protocol.TCP]: 'tcp',
  [Protocol.UDP]: 'udp',
  [Protocol.SCTP]: 'sctp',
  [Protocol.ICMP]: 'icmp',
};

export const protocolText = (protocol: number): string => PROTOCOL_NAMES[protocol] ?? String(protocol);

/** A flow for people. */
export function flowRow({ pipeline, now }: Dataplane, row: number): FlowRow {
  const { flows, services, networks } = pipeline;
  const original = row * 2;
  const reply = original + 1;
  const ports = flows.word(original, Word.PORTS);
  const replyPorts = flows.word(reply, Word.PORTS);
  const scope = flows.word(original, Word.SCOPE);
  const end = (id: number, high: number, low: number, port: number): string =>
    endText(
      flows.word(id, high),
      flows.word(id, high + 1),
      flows.word(id, high + 2),
      flows.word(id, low),
      port,
    );
  const client = end(original, Word.SOURCE_HIGH, Word.SOURCE, ports >>> 16);
  const seen = end(reply, Word.DESTINATION_HIGH, Word.DESTINATION, replyPorts & 0xffff);
  return {
    network: networks.names[scope >>> 8]!,
    protocol: protocolText(scope & 0xff),
    client,
    service: serviceText(flows.service[row]!, flows.generation[row]!),
    generation: flows.version[row]!,
    vip: end(original, Word.DESTINATION_HIGH, Word.DESTINATION, ports & 0xffff),
    backend: end(reply, Word.SOURCE_HIGH, Word.SOURCE, replyPorts >>> 16),
    snat: seen === client ? null : seen,
    why: describeWhy(flows.how[row]!, flows.why[row]!),
    state: stateText(flows.stateOf(row)),
    age: seconds(flows.age(row, now)),
    expires: seconds(flows.left(row, now)),
    drain: flows.ends[row] === 0 ? null : seconds((flows.ends[row]! - now) | 0),
    packets: flows.traffic[trafficAt(original)]!,
    bytes: flows.traffic[trafficAt(original) + 1]!,
    replyPackets: flows.traffic[trafficAt(reply)]!,
    replyBytes: flows.traffic[trafficAt(reply) + 1]!,
  };

  function serviceText(id: number, generation: number): string {
    if (id === NO_SERVICE) return '(direct)';
    return generation === services.generation[id] ? services.name(id) : '(removed)';
  }
}

function stateText(state: number): string {
  if (state === UdpState.UNREPLIED) return 'unreplied';
  if (state >= SctpState.CLOSED) return SCTP_STATE_NAMES[state - SctpState.CLOSED]!;
  return state === UdpState.REPLIED ? 'replied' : TCP_STATE_NAMES[state]!;
}
