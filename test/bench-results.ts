/** Results of a run that never was, for tests of what is made of them. */
import { type Cell, type Results, type Run, SCHEMA } from '../bench/results.ts';
import { finishCell } from '../bench/runner.ts';

export const run = (contender: string, round: number, value: number, more: Partial<Run> = {}): Run => ({
  contender,
  round,
  value,
  steal: 0,
  foreign: 0,
  guards: {
    retransmits: 0,
    drops: {},
    checksumErrors: 0,
    applicationOverruns: 0,
    daemonOverruns: 0,
    collections: 0,
    deoptimisations: 0,
  },
  ...more,
});

export const cell = (id: string, runs: Run[], more: Partial<Cell> = {}): Cell => {
  const [, path, layout] = id.split('/') as [string, Cell['path'], Cell['layout']];
  return {
    ...finishCell({
      ...{ id, group: 'tcp', title: '1 TCP stream', path, layout, mtu: 1500 },
      ...{ unit: 'Gbit/s', better: 'more', runs, notes: [] },
    }),
    ...more,
  };
};

export const results = (cells: Cell[] = [], more: Partial<Results> = {}): Results => ({
  schema: SCHEMA,
  started: '2026-01-02T03:04:05.678Z',
  mode: 'full',
  twill: '0.0.1',
  commit: 'abcdef0',
  seconds: 1100,
  aborted: null,
  machine: {
    cpu: 'A <fast> processor',
    cpus: 2,
    layout: '1 socket × 2 cores × 1 thread',
    memoryBytes: 8e9,
    kernel: '6.1.0',
    node: 'v20.0.0',
    yardstick: 1.2,
    layouts: { unpinned: 'the kernel places every process', pinned: 'daemons on CPU 1' },
  },
  contenders: [
    { name: 'twill', title: 'Twill', detail: 'daemons', version: '0.0.1', skipped: null },
    { name: 'kernel', title: 'Linux kernel', detail: 'bridge & VXLAN', version: '6.1.0', skipped: null },
    { name: 'tinc', title: 'tinc', detail: 'switch', version: '', skipped: 'tincd is not installed' },
  ],
  cells,
  memory: [],
  idle: null,
  notes: [],
  ...more,
});
