/** `twill status`: one screen; exit 0 only when healthy. */
import type { Command } from 'commander';
import type { Status } from '../../control/protocol.ts';
import { call } from '../client.ts';
import { type Context, paint } from '../context.ts';
import { age, milliseconds, si } from '../figures.ts';
import { type ClientOptions, outputOption, socketOption, socketPath, timeoutOption } from '../options.ts';
import type { Outcome } from '../run.ts';
import { type Column, renderTable, truncate } from '../table.ts';

/** Rows per table, so that all of it stays on a screen of 40 lines. */
const MOST_ROWS = 8;

interface Options extends ClientOptions {
  readonly output: string;
}

export function registerStatus(program: Command, context: Context, outcome: Outcome): void {
  program
    .command('status')
    .summary('health, ports, peers, rates and drops on one screen')
    .description('Shows health, ports, peers, rates and drops. Exits 0 only when healthy.')
    .addOption(outputOption(['table', 'json', 'yaml']))
    .addOption(socketOption())
    .addOption(timeoutOption())
    .action(async (options: Options) => {
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      const status = await call<Status>(target, 'GET', '/v1/status');
      if (options.output === 'json') context.stdout.write(`${JSON.stringify(status, null, 2)}\n`);
      else if (options.output === 'yaml') context.stdout.write((await import('yaml')).stringify(status));
      else context.stdout.write(screen(context, status));
      if (!status.healthy) outcome.code = 1;
    });
}

type PortRow = Status['ports'][number];
type PeerRow = Status['peers'][number];
type DropTotal = Status['drops'][number];

const PORTS: readonly Column<PortRow>[] = [
  { title: 'PORT', value: (row) => row.name },
  { title: 'NETWORK', value: (row) => row.network },
  { title: 'STATE', value: (row) => row.state },
  { title: 'RX/S', right: true, value: (row) => si(row.rxRate) },
  { title: 'TX/S', right: true, value: (row) => si(row.txRate) },
  { title: 'RX-BIT/S', right: true, value: (row) => si(row.rxBitRate) },
  { title: 'TX-BIT/S', right: true, value: (row) => si(row.txBitRate) },
];

const PEERS: readonly Column<PeerRow>[] = [
  { title: 'PEER', value: (row) => row.name },
  { title: 'REACHABLE', value: (row) => row.reachable },
  { title: 'RTT', right: true, value: (row) => milliseconds(row.rtt) },
  { title: 'RX/S', right: true, value: (row) => si(row.rxRate) },
  { title: 'TX/S', right: true, value: (row) => si(row.txRate) },
];

const DROPS: readonly Column<DropTotal>[] = [
  { title: 'DROPPED', value: (row) => row.reason },
  { title: 'COUNT', right: true, value: (row) => String(row.count) },
  { title: 'PER-S', right: true, value: (row) => si(row.rate) },
];

function screen(context: Context, status: Status): string {
  const colour = paint(context, context.stdout);
  const { counts } = status;
  const { columns } = context.stdout;
  const more = status.problems.length - MOST_ROWS;
  const verdict = status.healthy ? colour('green', '✔ healthy') : colour('red', '✖ not healthy');
  const lines = [
    `${verdict}  host ${status.host}, up ${age(status.uptime)}, twill ${status.version}, pid ${status.pid}`,
    ...status.problems.slice(0, MOST_ROWS).map((problem) => truncate(`  ${problem}`, columns)),
    ...(more > 0 ? [`  … and ${more} more: twill status -o json`] : []),
    `networks ${counts.networks}  ports ${counts.ports}  peers ${counts.peers}  services ${counts.services}  flows ${counts.flows}`,
    truncate(`peer probing: ${status.probing}`, columns),
    ...status.hostPorts.map((port, i) => truncate(hostPort(port, i === 0 ? status.hostRoutes : 0), columns)),
  ];
  const busiest = [...status.ports].sort(
    (a, b) =>
      Number(b.state === 'gone') - Number(a.state === 'gone') || b.rxRate + b.txRate - a.rxRate - a.txRate,
  );
  const blocks = [
    block(PORTS, busiest, columns, 'twill get ports'),
    block(PEERS, status.peers, columns, 'twill get peers'),
    block(DROPS, status.drops, columns, 'twill get drops'),
  ];
  return [`${lines.join('\n')}\n`, ...blocks.filter((text) => text !== '')].join('\n');
}

/** @param routes those that lead through it */
function hostPort(port: Status['hostPorts'][number], routes: number): string {
  const { interface: link, network, addresses, masquerade } = port;
  const how = `${masquerade ? ', masqueraded' : ''}${routes > 0 ? `, routes to services: ${routes}` : ''}`;
  return `the host in ${network}: ${link} ${addresses.join(' ')}${how}`;
}

function block<T>(columns: readonly Column<T>[], rows: readonly T[], width: number, all: string): string {
  if (rows.length === 0) return '';
  const more = rows.length - MOST_ROWS;
  const table = renderTable(columns, rows.slice(0, MOST_ROWS), width);
  return table + (more > 0 ? `… and ${more} more: ${all}\n` : '');
}
