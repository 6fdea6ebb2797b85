/**
 * The dataplane thread: poll, take the burst to completion, flush, sleep in the kernel when idle. It never
 * returns to the event loop; control messages are read when the wake descriptor says there are any.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Control, DeviceState } from '../card/layout.ts';
import { loadNative } from '../card/native.ts';
import { NativeCard } from '../card/native-card.ts';
import { Counters } from '../telemetry/counters.ts';
import { formatMac } from '../wire/address.ts';
import { VXLAN_BYTES } from '../wire/vxlan.ts';
import { Dataplane, HalfApplied } from './dataplane.ts';
import { dumpRows } from './dump.ts';
import { answerRows } from './explain.ts';
import type { DataplaneEvent, DumpRow, FromWorker, ToWorker, WorkerInit } from './messages.ts';
import { previewRows } from './preview.ts';

/** Longest sleep: time-driven work and a stop request wait at most this long. */
const SLEEP_MS = 100;
/** Empty polls before sleeping: a reply is often already on its way, and a wake-up costs more than a poll. */
const EMPTY_POLLS = 2;
const EVENT_INTERVAL_MS = 1000;
/** Rows of a listing made between two turns: about half a millisecond. */
const ROWS_PER_TURN = 64;
/** Under load, look for events every 1024 turns. */
const REPORT_MASK = 1023;

type Apply = Extract<ToWorker, { type: 'apply' }>;

const port = parentPort as MessagePort;
const init = workerData as WorkerInit;
const card = new NativeCard();
const { control, devices } = card.memory;
const dataplane = new Dataplane(card, new Counters(init.counters), init.seed);
const { pipeline } = dataplane;
let lastEvent = dataplane.now;
let goneSeen = 0;
/** Transactions under way, oldest first: one at a time, a step between two turns. */
const transactions: { id: number; steps: Generator<void> }[] = [];
/** Listings under way, oldest first. */
const listings: { id: number; rows: Generator<DumpRow | null> }[] = [];

const say = (message: FromWorker): void => port.postMessage(message);

/** @returns false when asked to stop. */
function drainMessages(): boolean {
  for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) {
    const message = got.message as ToWorker;
    if (message.type === 'stop') return false;
    const rows = listing(message);
    if (rows) listings.push({ id: message.id, rows });
    else if (message.type === 'apply') transactions.push({ id: message.id, steps: transaction(message) });
  }
  return true;
}

/** What a message asks for that is no change. */
function listing(message: ToWorker): Generator<DumpRow | null> | null {
  switch (message.type) {
    case 'dump':
      return dumpRows(dataplane, message.what);
    case 'explain':
      return answerRows(dataplane, message.question);
    case 'preview':
      return previewRows(dataplane, message.services, message.ops);
    default:
      return null;
  }
}

/** Devices that come, the change, devices that go. */
function* transaction({ devices: changes, ops, services }: Apply): Generator<void> {
  const { addTaps, addUnderlays, remove, removeIfGone = [] } = changes;
  for (const device of removeIfGone) {
    if (devices[device] !== DeviceState.GONE) throw new Error(`device ${device} is not gone`);
  }
  for (const { device, fd } of addTaps) card.addTap(device, fd);
  for (const { device, rx, tx } of addUnderlays) card.addUnderlay(device, rx, [...tx], VXLAN_BYTES);
  yield* dataplane.steps(ops, services);
  for (const device of [...remove, ...removeIfGone]) card.remove(device);
}

/** The next step of the oldest transaction. */
function advance(): void {
  const { id, steps } = transactions[0]!;
  try {
    if (steps.next().done !== true) return;
    say({ type: 'applied', id });
  } catch (error) {
    if (error instanceof HalfApplied) throw error; // ends the process; the supervisor starts a whole one
    say({ type: 'failed', id, message: error instanceof Error ? error.message : String(error) });
  }
  transactions.shift();
}

/** Reports what the control plane should know of, at most once a second. */
function report(): void {
  const { now } = dataplane;
  if (control[Control.GONE_COUNT] !== goneSeen) {
    goneSeen = control[Control.GONE_COUNT]!;
    for (const config of dataplane.ports.values()) {
      if (devices[config.device] === DeviceState.GONE) tell({ kind: 'port-gone', location: config.id });
    }
  }
  if (((now - lastEvent) | 0) < EVENT_INTERVAL_MS) return;
  const { loop } = pipeline.learn;
  if (loop.network >= 0) {
    const { names } = pipeline.locations;
    tell({
      kind: 'loop',
      network: pipeline.networks.names[loop.network]!,
      mac: formatMac(loop.hi, loop.lo),
      port: loop.port > 0 ? names[loop.port]! : 'gateway',
      peer: names[loop.peer]!,
    });
    loop.network = -1;
    lastEvent = now;
  }
  if (pipeline.transmit.tooBigPeer >= 0) {
    tell({ kind: 'path-mtu', location: pipeline.transmit.tooBigPeer });
    pipeline.transmit.tooBigPeer = -1;
    lastEvent = now;
  }
}

const tell = (event: DataplaneEvent): void => say({ type: 'event', event });

const isBusy = (empty: number): boolean =>
  empty < EMPTY_POLLS || pipeline.isBehind || transactions.length > 0 || listings.length > 0;

/** The next rows of the oldest listing. */
function list(): void {
  const { id, rows } = listings[0]!;
  const slice: DumpRow[] = [];
  let more = true;
  while (slice.length < ROWS_PER_TURN) {
    const next = rows.next();
    if (next.done) {
      more = false;
      break;
    }
    // null: nothing found so far, and it took a while.
    if (next.value === null) break;
    slice.push(next.value);
  }
  if (!more) listings.shift();
  say({ type: 'dump', id, rows: slice, more });
}

/** What the start left behind is collected here: else the engine does it among packets, in the first large change. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

function run(): void {
  let empty = 0;
  let turns = 0;
  for (;;) {
    control[Control.TIMEOUT] = isBusy(empty) ? 0 : SLEEP_MS;
    empty = pipeline.turn() > 0 ? 0 : empty + 1;
    if (control[Control.WOKEN] !== 0) {
      control[Control.WOKEN] = 0;
      if (!drainMessages()) return;
      empty = 0;
    }
    if (transactions.length > 0) advance();
    if (listings.length > 0) list();
    turns = (turns + 1) & REPORT_MASK;
    if (empty > 0 || turns === 0) report();
  }
}

card.setWake(init.wake);
if (init.cpu >= 0) loadNative().pin(init.cpu);
collectGarbage();
say({ type: 'ready', thread: loadNative().threadId() });
if (drainMessages()) run();
card.close();
port.close();
