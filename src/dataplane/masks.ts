import type { Flows } from '../conntrack/flows.ts';
import { Word } from '../conntrack/tuple.ts';
import type { Address, NetworkConfig, Op, PortConfig } from './config.ts';

/** Rows looked at between two turns, about 100 µs; and what removing one costs, in rows looked at. */
const ROWS_PER_STEP = 8192;
const REMOVAL = 16;

/** Networks and ports by id. */
export interface Members {
  readonly networks: ReadonlyMap<number, NetworkConfig>;
  readonly ports: ReadonlyMap<number, PortConfig>;
}

/** An address of this host in a network, behind which services hide clients (service/snat.ts). */
interface Mask {
  readonly network: number;
  readonly address: Address;
}

/** Every one there is: of host ports, and of gateways (N31). */
export function masksOf({ networks, ports }: Members): Mask[] {
  const ofGateways = [...networks.values()].flatMap(({ id, subnets }) =>
    subnets.map(({ gateway }) => ({ network: id, address: gateway })),
  );
  const hosts = [...ports.values()].filter(({ isHost }) => isHost === true);
  const ofHosts = hosts.flatMap(({ network, addresses }) =>
    addresses.map((address) => ({ network, address })),
  );
  return [...ofGateways, ...ofHosts];
}

/** Those that `after` lacks. */
export const lostMasks = (before: readonly Mask[], after: readonly Mask[]): Mask[] =>
  before.filter((mask) => !after.some((other) => isSame(mask, other)));

const isSame = (a: Mask, b: Mask): boolean =>
  a.network === b.network && a.address.every((word, i) => word === b.address[i]);

/** What the members become by ops. */
export function membersAfter({ networks, ports }: Members, ops: readonly Op[]): Members {
  const after = { networks: new Map(networks), ports: new Map(ports) };
  for (const op of ops) {
    if (op.op === 'network') after.networks.set(op.network.id, op.network);
    else if (op.op === 'remove-network') after.networks.delete(op.id);
    else if (op.op === 'port') after.ports.set(op.port.id, op.port);
    else if (op.op === 'remove-port') after.ports.delete(op.id);
  }
  return after;
}

/** Was the source of a flow translated to one of these addresses? */
export function isBehind(flows: Flows, row: number, masks: readonly Mask[]): boolean {
  if (!flows.isSnat(row)) return false;
  const reply = row * 2 + 1;
  const network = flows.word(reply, Word.SCOPE) >>> 8;
  const [w0, w1, w2, w3] = [
    flows.word(reply, Word.DESTINATION_HIGH),
    flows.word(reply, Word.DESTINATION_HIGH + 1),
    flows.word(reply, Word.DESTINATION_HIGH + 2),
    flows.word(reply, Word.DESTINATION),
  ];
  return masks.some(
    ({ network: of, address: [a, b, c, d] }) =>
      of === network && d === w3 && c === w2 && b === w1 && a === w0,
  );
}

/**
 * Removes the flows behind addresses that are gone, whose answers nobody would get any more (N29; as
 * net/netfilter/nf_nat_masquerade.c does when an address is taken from an interface). A step per `next()`.
 */
export function* unmask(flows: Flows, masks: readonly Mask[], clock: { readonly now: number }) {
  if (masks.length === 0) return;
  for (let row = 0; row < flows.extent; yield) {
    for (let budget = ROWS_PER_STEP; budget > 0 && row < flows.extent; row++, budget--) {
      if (!flows.isLive(row, clock.now) || !isBehind(flows, row, masks)) continue;
      flows.remove(row);
      budget -= REMOVAL;
    }
  }
}
