/** What takes one generation to the next, and what a person is told about it. */
import { isDeepStrictEqual } from 'node:util';
import type { Op } from '../dataplane/config.ts';
import type { Action, Change, Generation, Plan, PortPlan, Resource } from './types.ts';

/**
 * The least that must be done; nothing at all between equal generations.
 *
 * Ops: removals (services, ports, peers, networks), then host, networks, peers, ports, services. A port whose
 * TAP or network changes is removed and added again under its id. A device that is replaced has a new device
 * id, yet claims the same interface name or UDP port: its predecessor in `removePorts` or `closeUnderlays`
 * must be closed before it can be made.
 */
export function diff(running: Generation | null, next: Generation): Plan {
  const ports = comparePorts(running?.ports ?? [], next.ports);
  const networks = compare(running?.networks ?? [], next.networks, sameName);
  const peers = compare(running?.peers ?? [], next.peers, sameName);
  const services = compare(
    running?.services ?? [],
    next.services,
    (a, b) => a.name === b.name && a.protocol === b.protocol,
  );
  const underlays = compare(keyed(running?.underlays ?? []), keyed(next.underlays), () => false);
  const hostChanged = !isDeepStrictEqual(running?.host, next.host);
  const ops: Op[] = [
    ...services.removed.map(({ id }): Op => ({ op: 'remove-service', id })),
    ...ports.removed.map(({ config }): Op => ({ op: 'remove-port', id: config.id })),
    ...peers.removed.map(({ id }): Op => ({ op: 'remove-peer', id })),
    ...networks.removed.map(({ id }): Op => ({ op: 'remove-network', id })),
    ...(hostChanged ? [{ op: 'host', host: next.host } satisfies Op] : []),
    ...networks.changed.map((network): Op => ({ op: 'network', network })),
    ...peers.changed.map((peer): Op => ({ op: 'peer', peer })),
    ...ports.changed.map(({ config }): Op => ({ op: 'port', port: config })),
    ...services.changed.map((service): Op => ({ op: 'service', service })),
  ];
  return {
    openUnderlays: underlays.changed.map(({ plan }) => plan),
    closeUnderlays: underlays.removed.map(({ plan }) => plan),
    createPorts: ports.created,
    removePorts: ports.destroyed,
    setMtu: ports.resized,
    ops,
  };
}

/** One line per object: the next set in its order, then what is gone. */
export function changesOf(running: readonly Resource[], next: readonly Resource[]): Change[] {
  const before = new Map(running.map((resource) => [identity(resource), resource]));
  const changes = next.map((resource): Change => {
    const old = before.get(identity(resource));
    before.delete(identity(resource));
    if (old === undefined) return change(resource, 'created');
    const same =
      isDeepStrictEqual(old.spec, resource.spec) &&
      isDeepStrictEqual(old.labels, resource.labels) &&
      isDeepStrictEqual(old.annotations, resource.annotations);
    return change(resource, same ? 'unchanged' : 'configured');
  });
  return [...changes, ...[...before.values()].map((resource) => change(resource, 'deleted'))];
}

interface Comparison<T> {
  /** Old objects whose id is given up. */
  readonly removed: readonly T[];
  /** New objects, and new states of kept ones. */
  readonly changed: readonly T[];
}

/** Objects by id; one id with another object behind it is a removal and an addition. */
function compare<T extends { readonly id: number }>(
  before: readonly T[],
  after: readonly T[],
  sameObject: (a: T, b: T) => boolean,
): Comparison<T> {
  const old = new Map(before.map((item) => [item.id, item]));
  const current = new Map(after.map((item) => [item.id, item]));
  const equal = (a: T | undefined, b: T | undefined) => isDeepStrictEqual(a, b);
  return {
    removed: before.filter((item) => {
      const now = current.get(item.id);
      return now === undefined || !(equal(item, now) || sameObject(item, now));
    }),
    changed: after.filter((item) => !equal(old.get(item.id), item)),
  };
}

interface PortComparison extends Comparison<PortPlan> {
  readonly created: readonly PortPlan[];
  readonly destroyed: readonly PortPlan[];
  readonly resized: readonly PortPlan[];
}

/** Ports by location, their TAPs by device id. */
function comparePorts(before: readonly PortPlan[], after: readonly PortPlan[]): PortComparison {
  const oldDevices = new Map(before.map((plan) => [plan.config.device, plan]));
  const newDevices = new Map(after.map((plan) => [plan.config.device, plan]));
  // A device id with another TAP behind it is another device.
  const sameTap = (a: PortPlan | undefined, b: PortPlan | undefined) =>
    a !== undefined && b !== undefined && isDeepStrictEqual({ ...a.tap, mtu: 0 }, { ...b.tap, mtu: 0 });
  const { removed, changed } = compare(
    before.map((plan) => ({ id: plan.config.id, config: plan.config, plan })),
    after.map((plan) => ({ id: plan.config.id, config: plan.config, plan })),
    (a, b) =>
      a.config.name === b.config.name &&
      a.config.network === b.config.network &&
      a.config.device === b.config.device &&
      sameTap(a.plan, b.plan),
  );
  return {
    removed: removed.map(({ plan }) => plan),
    changed: changed
      .filter(({ plan, id }) => {
        const old = before.find((other) => other.config.id === id);
        return !isDeepStrictEqual(old?.config, plan.config) || !sameTap(old, plan);
      })
      .map(({ plan }) => plan),
    created: after.filter((plan) => !sameTap(oldDevices.get(plan.config.device), plan)),
    destroyed: before.filter((plan) => !sameTap(plan, newDevices.get(plan.config.device))),
    resized: after.filter((plan) => {
      const old = oldDevices.get(plan.config.device);
      return sameTap(old, plan) && old!.tap.mtu !== plan.tap.mtu;
    }),
  };
}

function keyed<P extends { readonly device: number }>(plans: readonly P[]): { id: number; plan: P }[] {
  return plans.map((plan) => ({ id: plan.device, plan }));
}

function sameName(a: { readonly name: string }, b: { readonly name: string }): boolean {
  return a.name === b.name;
}

function identity({ kind, namespace, name }: Resource): string {
  return `${kind} ${namespace}/${name}`;
}

function change({ kind, namespace, name }: Resource, action: Action): Change {
  return { kind, namespace, name, action };
}
