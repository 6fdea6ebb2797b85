import { describe, expect, it } from 'vitest';
import { countCollections, countDeoptimisations, parseSnmp, violations } from '../../bench/guards.ts';
import { meter } from '../../bench/machine.ts';
import { run } from '../bench-results.ts';

describe('/proc/net/snmp', () => {
  it('is read by name: checksum errors of all protocols, overruns of UDP', () => {
    const text = [
      'Ip: Forwarding DefaultTTL',
      'Ip: 1 64',
      'Tcp: InSegs InErrs InCsumErrors',
      'Tcp: 10 0 3',
      'Udp: InDatagrams RcvbufErrors InCsumErrors',
      'Udp: 10 7 2',
      'UdpLite: InDatagrams RcvbufErrors InCsumErrors',
      'UdpLite: 0 9 0',
      '',
    ].join('\n');
    expect(parseSnmp(text)).toEqual({ checksum: 5, overruns: 7 });
  });
});

describe('the engine’s traces', () => {
  it('collections count in the packet thread only', () => {
    const log = [
      '[7362:0x19ef7060]      74 ms: Scavenge 7.2 (15.1) -> 7.1 (15.6) MB, 0.64 / 0.00 ms',
      '{"level":"info","msg":"ready"}',
      '[7362:0x7f8cfc000f30]      674 ms: Mark-Compact 7.1 (15.4) -> 6.7 (15.4) MB, 5.35 / 0.00 ms',
      '[7362:0x7f8cfc000f30]      700 ms: Scavenge 7.2 (15.1) -> 7.1 (15.6) MB, 0.64 / 0.00 ms',
    ].join('\n');
    expect(countCollections(log)).toBe(2);
  });

  it('a deoptimisation is a bailout, not its end or its dependents', () => {
    const trace = [
      '[bailout (kind: deopt-eager, reason: wrong map): begin. deoptimizing 0x1 <JSFunction run (sfi = 0x2)>]',
      '[marking dependent code 0x1 <Code TURBOFAN> for deoptimization, reason: code dependencies]',
      '[bailout end. took 0.1 ms]',
      '[bailout (kind: deopt-lazy, reason: (unknown)): begin. deoptimizing 0x1 <JSFunction run (sfi = 0x2)>]',
    ].join('\n');
    expect(countDeoptimisations(trace)).toBe(2);
  });
});

it('violations are what must be zero, in words', () => {
  const { guards } = run('twill', 0, 1);
  expect(violations({ ...guards, retransmits: 5, drops: { TX_BUSY: 3 } })).toEqual([]);
  expect(violations({ ...guards, checksumErrors: 1, deoptimisations: 2 })).toEqual([
    '1 checksum error',
    '2 deoptimisations',
  ]);
});

it('the meter sees time of processes that are not ours as foreign', () => {
  const burn = (): void => {
    const end = performance.now() + 150;
    while (performance.now() < end);
  };
  const isOurs = (pid: number): boolean => pid === process.pid;
  const own = meter(isOurs);
  burn();
  const ours = own();
  const other = meter(() => false);
  burn();
  const theirs = other();
  expect(theirs.foreign).toBeGreaterThan(0.005);
  expect(ours.cpuSeconds).toBeGreaterThan(0.05);
});
