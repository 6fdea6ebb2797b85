/** What takes one generation to the next, and what a person is told about it. */
import { isDeepStrictEqual } from 'node:util';
import type { Op } from '../dataplane/config.ts';
import { PlainResource } from './plain-resource.ts';
import type { Action, Generation, Plan, PortPlan, Resource } from './types.ts';

/**
 * The least that must be done; nothing at all between equal generations.
 *
 * Ops: removals (ports, peers, networks), then host, networks, peers, ports. A port whose
 * TAP or network changes is removed and added again under its id. A device that is replaced has a new device
 * id, yet claims the same interface name or UDP port: its predecessor in `removePorts` or `closeUnderlays`
 * must be closed before it can be made.
 */
export function diff(running: Generation | null, next: Generation): Plan {
  const ports = comparePorts(running?.ports ?? [], next.ports);
  const networks = compare(running?.networks ?? [], next.networks, sameName);
  const peers = compare(running?.peers ?? [], next.peers, sameName);
  const underlays = compare(keyed(running?.underlays ?? []), keyed(next.underlays), () => false);
  const hostChanged = !isDeepStrictEqual(running?.host, next.host);
  const ops: Op[] = [
    ...ports.removed.map(({ config }): Op => ({ op: 'remove-port', id: config.id })),
    ...peers.removed.map(({ id }): Op => ({ op: 'remove-peer', id })),
    ...networks.removed.map(({ id }): Op => ({ op: 'remove-network', id })),
    ...(hostChanged ? [{ op: 'host', host: next.host } satisfies Op] : []),
    ...networks.changed.map((network): Op => ({ op: 'network', network })),
    ...peers.changed.map((peer): Op => ({ op: 'peer', peer })),
    ...ports.changed.map(({ config }): Op => ({ op: 'port', port: config })),
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

/** What a person is told about a resource that takes the place of another. */
export function actionOf(before: Resource | undefined, after: Resource | undefined): Action {
  if (after === undefined) return 'deleted';
  if (before === undefined) return 'created';
  return sameContent(before, after) ? 'unchanged' : 'configured';
}

/** Whether two resources of one name mean the same, however they are written. */
export function sameContent(a: Resource, b: Resource): boolean {
  if (a instanceof PlainResource && b instanceof PlainResource) {
    // One changed endpoint is told without reading either text again.
    if (a.isLike(b)) return true;
    if (!a.mayMean(b)) return false;
  }
  const same = (x: unknown, y: unknown) => isDeepStrictEqual(x, y);
  return same(contentOf(a), contentOf(b)) && same(a.labels, b.labels) && same(a.annotations, b.annotations);
}

function contentOf(resource: Resource): unknown {
  if (resource.kind !== 'EndpointSlice') return resource.spec;
  const { service, addressType, ports, endpoints, weight } = resource.spec;
  return { service, addressType, ports, endpoints, weight };
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
