import { describe, expect, it } from 'vitest';
import { quantity } from '../../bench/report/figures.ts';
import { renderPage } from '../../bench/report/page.ts';
import { renderPerformance } from '../../bench/report/performance.ts';
import { logTicks, ticks } from '../../bench/report/svg.ts';
import { renderTable } from '../../bench/report/table.ts';
import type { Results } from '../../bench/results.ts';
import { targetRows } from '../../bench/targets.ts';
import { cell, results, run } from '../bench-results.ts';

const percentiles = { p50: 20, p99: 60, p99_9: 90 };

/** Something of every kind. */
function some(): Results {
  const rounds = [0, 1, 2];
  const tcp = rounds.flatMap((round) => [
    run('twill', round, 9 + round, { cpuPerGigabyte: 1.1 }),
    run('kernel', round, 10, { cpuPerGigabyte: 0.9 }),
    run('reference', round, 9, { foreign: 0.2 }),
  ]);
  const datagrams = [
    run('twill', 0, 400, { loss: 0.1, cpuPerMillion: 3 }),
    run('kernel', 0, 300, { loss: 0 }),
  ];
  const latency = [
    run('twill', 0, 30, { percentiles, guards: { ...run('', 0, 0).guards, deoptimisations: 1 } }),
    run('kernel', 0, 20, { percentiles }),
  ];
  const services = (size: number) =>
    cell(`connections-${size}/same/unpinned`, [run('twill', 0, 2e4), run('twill-direct', 0, 21e3)], {
      group: 'services',
      title: `new connections, ${size} services`,
      unit: 'conn/s',
    });
  return results(
    [
      cell('tcp-1/same/unpinned', tcp),
      cell('datagrams-64x1/same/unpinned', datagrams, { group: 'datagrams', unit: 'kpps' }),
      cell('rr-udp/same/unpinned', latency, { group: 'latency', unit: 'µs', better: 'less' }),
      services(1),
      services(10_000),
    ],
    {
      memory: [
        { scene: 'bridge hit', what: 'flows', size: 1, nsPerFrame: 25, margin: 1 },
        { scene: 'bridge hit', what: 'flows', size: 1_000_000, nsPerFrame: 60, margin: 1 },
        { scene: 'flood to all peers', what: 'peers', size: 1, nsPerFrame: 40, margin: 1 },
        { scene: 'flood to all peers', what: 'peers', size: 64, nsPerFrame: 900, margin: 1 },
      ],
      idle: { core: 0.001, residentBytes: 90e6, seconds: 3 },
      notes: ['<script>alert(1)</script> & "more"'],
    },
  );
}

/** Names of elements that were closed in another order than they were opened. */
function misnested(html: string): string[] {
  const open: string[] = [];
  const wrong: string[] = [];
  const body = html.replace(/<style>.*?<\/style>/s, '<style></style>');
  for (const [, slash, name] of body.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
    if (name === 'meta') continue;
    if (slash === '') open.push(name!);
    else if (open.pop() !== name) wrong.push(name!);
  }
  return [...wrong, ...open];
}

describe('the page', () => {
  const html = renderPage(some());

  it('is well-formed and whole by itself', () => {
    expect(misnested(html)).toEqual([]);
    expect(misnested('<p><b></p></b>')).not.toEqual([]);
    expect(html).not.toMatch(/(?:src|href)=|url\(|@import|<script/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('escapes what comes from outside', () => {
    expect(html).toContain('A &#60;fast&#62; processor');
    expect(html).toContain('bridge &#38; VXLAN');
    expect(html).not.toContain('<script>');
  });

  it('has a picture of every kind', () => {
    expect(html).toContain('class="bar c-twill"');
    expect(html).toContain('class="curve c-twill"');
    expect(html).toContain('class="interval"');
    expect(html.match(/<svg/g)!.length).toBeGreaterThanOrEqual(7);
  });

  it('is drawn of nothing too', () => expect(misnested(renderPage(results()))).toEqual([]));
});

describe('the table', () => {
  const text = renderTable(some());

  it('keeps to 80 columns', () => {
    for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  it('says who was skipped, what was disturbed, which guard was broken', () => {
    expect(text).toContain('skipped: tinc: tincd is not installed');
    expect(text).toMatch(/! 3 of 17 runs had more than 1\s% foreign load/);
    expect(text).toContain('twill: 1 deoptimisation');
  });
});

it('performance.md has a row per contender and no broken table', () => {
  const text = renderPerformance(some(), 'bench/results/x.json');
  expect(text).toContain('Generated from `x.json`');
  expect(text).toMatch(/\| 1 TCP stream, same host, unpinned \| Twill \| 10 Gbit\/s \|/);
  const rows = text.split('\n').filter((line) => line.startsWith('|'));
  for (const block of text.split('\n\n').filter((part) => part.startsWith('|'))) {
    const widths = new Set(
      block
        .trim()
        .split('\n')
        .map((line) => line.split('|').length),
    );
    expect([...widths], block).toHaveLength(1);
  }
  expect(rows.length).toBeGreaterThan(40);
});

describe('targets', () => {
  const row = (from: Results, path: string, words: string) =>
    targetRows(from).find((one) => one.path === path && `${one.requirement}${one.aim}`.includes(words));

  it('are judged by the median ratio', () => {
    const from = some();
    expect(row(from, 'same-host TCP, 1 stream', 'bare C')).toMatchObject({
      verdict: 'met',
      layout: 'unpinned',
    });
    expect(row(from, 'same-host TCP, 1 stream', 'kernel bridge')).toMatchObject({ verdict: 'aim' });
    expect(row(from, 'same-host TCP, 1 stream', 'vde')).toMatchObject({ verdict: 'unknown' });
    expect(row(from, '64-byte datagrams, same host, 1 flow', 'kernel')).toMatchObject({ verdict: 'aim' });
    expect(row(from, 'logic in memory, 1 M flows in random order', '3')).toMatchObject({ verdict: 'met' });
    expect(row(from, 'round trip added, same host', '15')).toMatchObject({
      verdict: 'met',
      measured: '10 µs',
    });
    expect(row(from, 'idle daemon, processor', '0.5')).toMatchObject({ verdict: 'met' });
  });

  it('flatness needs the largest number of services', () => {
    const path = 'new connections/s through a ClusterIP';
    const size = (count: number, rate: number) =>
      cell(`connections-${count}/same/unpinned`, [run('twill', 0, rate), run('twill-direct', 0, 100)]);
    expect(row(some(), path, 'flat')).toMatchObject({ verdict: 'unknown' });
    const flat = results([size(1, 99), size(100_000, 91)]);
    expect(row(flat, path, 'flat')).toMatchObject({ verdict: 'met' });
    const steep = results([size(1, 99), size(100_000, 70)]);
    expect(row(steep, path, 'flat')).toMatchObject({ verdict: 'missed' });
  });

  it('the best of several contenders counts', () => {
    const tcp = cell('tcp-1/cross/unpinned', [run('twill', 0, 6), run('ovs', 0, 0.5), run('tinc', 0, 2)]);
    const best = row(results([tcp]), 'cross-host TCP, 1 stream', 'best of');
    expect(best).toMatchObject({ verdict: 'missed', measured: '3 × (1 pair)' });
  });
});

it.each([
  [0, '0'],
  [2, '2'],
  [0.1234, '0.12'],
  [12.345, '12.3'],
  [123.45, '123'],
  [12345.6, '12 346'],
  [1234567, '1 234 567'],
  [Number.NaN, '–'],
])('quantity(%d) is %s', (value, expected) => expect(quantity(value)).toBe(expected));

it('axes hold all values and stay short', () => {
  for (const most of [0.003, 0.9, 7, 17.3, 99, 1234]) {
    const marks = ticks(most);
    expect(marks[0]).toBe(0);
    expect(marks.at(-1)).toBeGreaterThanOrEqual(most);
    expect(marks.length).toBeLessThanOrEqual(8);
  }
  expect(logTicks(0.3, 40)).toEqual([0.2, 0.5, 1, 2, 5, 10, 20, 50]);
});
