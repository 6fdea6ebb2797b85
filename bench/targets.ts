/** What Twill is meant to reach, and whether it did: the rows a summary begins with. */
import { quantity } from './report/figures.ts';
import type { Cell, Churn, Layout, Ratio, Results } from './results.ts';
import { median } from './stats.ts';

export type Verdict = 'aim' | 'met' | 'missed' | 'unknown';

export interface TargetRow {
  readonly path: string;
  readonly layout: Layout | '';
  readonly requirement: string;
  /** Empty when it is the same, or there is none. */
  readonly aim: string;
  readonly measured: string;
  readonly verdict: Verdict;
}

interface RatioTarget {
  readonly path: string;
  readonly cell: string;
  /** The best of several counts. */
  readonly against: readonly string[];
  readonly words: string;
  readonly least?: number;
  readonly aim?: number;
}

const RATIOS: readonly RatioTarget[] = [
  ...((): RatioTarget[] => {
    const path = 'same-host TCP, 1 stream';
    const cell = 'tcp-1/same';
    return [
      { path, cell, against: ['reference'], words: 'bare C TAP loop', least: 0.95 },
      { path, cell, against: ['ovs-tso'], words: 'OVS with TSO', least: 1 },
      { path, cell, against: ['vde'], words: 'vde_switch', least: 3 },
      { path, cell, against: ['kernel'], words: 'kernel bridge', aim: 1 },
    ];
  })(),
  ...((): RatioTarget[] => {
    const path = 'cross-host TCP, 1 stream';
    const cell = 'tcp-1/cross';
    return [
      { path, cell, against: ['reference'], words: 'bare C VXLAN forwarder', least: 0.95 },
      { path, cell, against: ['ovs', 'ovs-tso', 'tinc'], words: 'best of OVS, tinc', least: 6 },
      { path, cell, against: ['kernel'], words: 'kernel VXLAN', aim: 1 },
    ];
  })(),
  ...(
    [
      ['same', 1, 1, 1.2],
      ['same', 1000, 0.7, 1],
      ['cross', 1, 1.5, 2],
      ['cross', 1000, 1, 1.5],
    ] as const
  ).map(
    ([path, flows, least, aim]): RatioTarget => ({
      path: `64-byte datagrams, ${path === 'same' ? 'same host' : 'cross host'}, ${flows === 1 ? '1 flow' : `${flows} flows`}`,
      cell: `datagrams-64x${flows}/${path}`,
      against: ['kernel'],
      words: path === 'same' ? 'kernel bridge' : 'kernel VXLAN',
      least,
      aim,
    }),
  ),
];

export function targetRows(results: Results): TargetRow[] {
  return [
    ...RATIOS.flatMap((target) => ratioRows(results, target)),
    ...connectionRows(results),
    ...changeRows(results),
    ...memoryRows(results),
    ...latencyRows(results),
    ...idleRows(results),
  ];
}

const LAYOUTS: readonly Layout[] = ['unpinned', 'pinned'];

const find = (results: Results, id: string): Cell | undefined => results.cells.find((cell) => cell.id === id);

const worst = (ratios: readonly Ratio[]): Ratio | undefined =>
  [...ratios].sort((a, b) => a.median - b.median)[0];

const spread = ({ median, low, high, pairs }: Ratio): string =>
  `${quantity(median)} × (${pairs === 1 ? '1 pair' : `${quantity(low)}–${quantity(high)}`})`;

function ratioRows(results: Results, target: RatioTarget): TargetRow[] {
  return LAYOUTS.flatMap((layout) => {
    const cell = find(results, `${target.cell}/${layout}`);
    const ratio = worst(cell?.ratios.filter(({ contender }) => target.against.includes(contender)) ?? []);
    if (layout === 'pinned' && !ratio) return [];
    return [
      row(target.path, layout, {
        least: target.least,
        aim: target.aim,
        measured: ratio?.median,
        text: ratio && spread(ratio),
        bound: (value) => `≥ ${value} × ${target.words}`,
        better: 'more',
      }),
    ];
  });
}

interface Judged {
  readonly least?: number | undefined;
  readonly aim?: number | undefined;
  readonly measured: number | undefined;
  readonly text: string | undefined;
  readonly bound: (value: number) => string;
  readonly better: 'more' | 'less';
}

function row(path: string, layout: Layout | '', judged: Judged): TargetRow {
  const { least, aim, measured, text, bound, better } = judged;
  const holds = (value: number | undefined): boolean =>
    value !== undefined &&
    measured !== undefined &&
    (better === 'more' ? measured >= value : measured <= value);
  let verdict: Verdict = 'missed';
  if (measured === undefined) verdict = 'unknown';
  else if (aim !== undefined && holds(aim)) verdict = 'aim';
  else if (least !== undefined && holds(least)) verdict = 'met';
  return {
    path,
    layout,
    requirement: least === undefined ? '' : bound(least),
    aim: aim === undefined ? '' : bound(aim),
    measured: text ?? 'not measured',
    verdict,
  };
}

const SERVICE_COUNT = 10_000;
const MANY_SERVICES = 100_000;

function connectionRows(results: Results): TargetRow[] {
  const path = 'new connections/s through a ClusterIP';
  const cell = find(results, `connections-${SERVICE_COUNT}/same/unpinned`);
  const against = (contender: string, words: string, least?: number, aim?: number): TargetRow => {
    const ratio = cell?.ratios.find((one) => one.contender === contender);
    const bound = (value: number): string => `≥ ${value} × ${words}`;
    return row(path, '', {
      least,
      aim,
      measured: ratio?.median,
      text: ratio && spread(ratio),
      bound,
      better: 'more',
    });
  };
  return [
    against('twill-direct', 'Twill direct', 0.9),
    flatness(results, path),
    against('iptables', 'iptables, 10 000 services', 1.2),
    against('nftables', 'nftables, 10 000 services', undefined, 1),
  ];
}

/** Connections relative to direct ones of the same rounds, over all numbers of services: how far from their middle. */
function flatness(results: Results, path: string): TargetRow {
  const relative = results.cells
    .filter(({ id }) => id.startsWith('connections-'))
    .flatMap(({ id, ratios }) => {
      const direct = ratios.find(({ contender }) => contender === 'twill-direct');
      return direct ? [{ size: Number(/-(\d+)\//.exec(id)![1]), ratio: direct.median }] : [];
    });
  const values = relative.map(({ ratio }) => ratio);
  const middle = (Math.max(...values) + Math.min(...values)) / 2;
  const isWhole = relative.length > 1 && relative.some(({ size }) => size === MANY_SERVICES);
  const deviation = isWhole ? (Math.max(...values) - middle) / middle : undefined;
  return row(path, '', {
    least: 0.1,
    measured: deviation,
    text: deviation === undefined ? undefined : `± ${quantity(deviation * 100)} %`,
    bound: (value) => `flat, ± ${value * 100} %, 1 to 100 000 services`,
    better: 'less',
  });
}

function changeRows(results: Results): TargetRow[] {
  const medianOf = (id: string, contender: string): number | undefined =>
    find(results, `${id}-${MANY_SERVICES}/same/unpinned`)?.series.find((one) => one.contender === contender)
      ?.median;
  const timed = (path: string, measured: number | undefined, least: number, unit: string): TargetRow =>
    row(path, '', {
      least,
      measured,
      text: measured === undefined ? undefined : `${quantity(measured)} ${unit}`,
      bound: (value) => `≤ ${value} ${unit}`,
      better: 'less',
    });
  return [
    timed('loading 100 000 services × 10 endpoints', medianOf('load', 'twill'), 2, 's'),
    timed('one endpoint change, 100 000 services', medianOf('change', 'twill'), 1, 'ms'),
    pauseRow(results, 'pause', 'twill', 'pause of the dataplane during changes'),
    pauseRow(results, 'pause', 'loading', 'pause of the dataplane while all are loaded anew'),
    pauseRow(results, 'churn', 'twill', 'pause of the dataplane, 1000 endpoint changes a second'),
    churnRow(results),
  ];
}

/** The longest trips beside changes less those without any, in pairs: what the machine does by itself is in both. */
function pauseRow(results: Results, name: string, who: string, path: string): TargetRow {
  const runs = find(results, `${name}-${MANY_SERVICES}/same/unpinned`)?.runs ?? [];
  const quiet = new Map(runs.filter((run) => run.contender === 'quiet').map((run) => [run.round, run.value]));
  const pairs = runs.flatMap((run) => {
    const without = run.contender === who ? quiet.get(run.round) : undefined;
    return without === undefined ? [] : [{ beside: run.value, without }];
  });
  const more = pairs.map(({ beside, without }) => beside - without);
  const measured = pairs.length === 0 ? undefined : Math.max(0, median(more));
  const of = (values: readonly number[]): string => quantity(median(values));
  return row(path, '', {
    least: 1,
    measured,
    text:
      measured === undefined
        ? undefined
        : `${quantity(measured)} ms (${quantity(Math.min(...more))}–${quantity(Math.max(...more))}; ` +
          `${of(pairs.map(({ beside }) => beside))} beside, ${of(pairs.map(({ without }) => without))} without)`,
    bound: (value) => `≤ ${value} ms`,
    better: 'less',
  });
}

/** As many changes a second as asked for may be missed by this share. */
const LATE = 0.01;
const CHANGES_PER_SECOND = 1000;

function churnRow(results: Results): TargetRow {
  const runs = find(results, `churn-${MANY_SERVICES}/same/unpinned`)?.runs ?? [];
  const churns = runs.flatMap(({ contender, churn }) => (contender === 'twill' && churn ? [churn] : []));
  const sum = (of: (churn: Churn) => number): number => churns.reduce((total, one) => total + of(one), 0);
  const [lost, astray] = [sum((one) => one.lost), sum((one) => one.astray)];
  const slowest = Math.min(...churns.map(({ changes }) => changes));
  const isWhole = slowest >= CHANGES_PER_SECOND * (1 - LATE);
  const words = `${lost} lost, ${astray} astray of ${quantity(sum(({ sent }) => sent))}, ${quantity(slowest)} changes/s`;
  return row('datagrams beside 1000 endpoint changes a second', '', {
    least: 0,
    measured: churns.length === 0 ? undefined : isWhole ? lost + astray : Number.POSITIVE_INFINITY,
    text: churns.length === 0 ? undefined : words,
    bound: () => 'none lost, none to a wrong endpoint',
    better: 'less',
  });
}

function memoryRows(results: Results): TargetRow[] {
  const at = (scene: string, size: 'least' | 'most'): number | undefined => {
    const rows = results.memory.filter((one) => one.scene === scene).sort((a, b) => a.size - b.size);
    return (size === 'least' ? rows[0] : rows.at(-1))?.nsPerFrame;
  };
  const minus = (a: number | undefined, b: number | undefined): number | undefined =>
    a === undefined || b === undefined ? undefined : Math.max(0, a - b);
  const bridge = at('bridge hit', 'least');
  const ns = (path: string, measured: number | undefined, least: number): TargetRow =>
    row(path, '', {
      least,
      aim: least / 2,
      measured,
      text: measured === undefined ? undefined : `${quantity(measured)} ns`,
      bound: (value) => `≤ ${value} ns`,
      better: 'less',
    });
  const many = results.memory
    .filter(({ what, size }) => what === 'flows' && size >= 1_000_000)
    .map(({ scene }) => scene);
  const growths = [...new Set(many)].flatMap((scene) => {
    const one = at(scene, 'least');
    const all = at(scene, 'most');
    const isSame = results.memory.filter((row) => row.scene === scene).length > 1;
    return one !== undefined && all !== undefined && one > 0 && isSame ? [all / one] : [];
  });
  const growth = growths.length === 0 ? undefined : Math.max(...growths);
  return [
    ns('logic in memory, bridge, per frame', bridge, 30),
    ns('logic in memory, + VXLAN', minus(at('bridge hit + VXLAN encap', 'least'), bridge), 20),
    ns('logic in memory, + ClusterIP hit', minus(at('ClusterIP flow hit', 'least'), bridge), 30),
    row('logic in memory, 1 M flows in random order', '', {
      least: 3,
      aim: 1.5,
      measured: growth,
      text: growth === undefined ? undefined : `${quantity(growth)} ×`,
      bound: (value) => `≤ ${value} × one flow`,
      better: 'less',
    }),
  ];
}

function latencyRows(results: Results): TargetRow[] {
  return (['same', 'cross'] as const).flatMap((path) =>
    LAYOUTS.flatMap((layout) => {
      const series = find(results, `rr-udp/${path}/${layout}`)?.series ?? [];
      const of = (name: string): number | undefined =>
        series.find(({ contender }) => contender === name)?.median;
      const ours = of('twill');
      const theirs = of('kernel');
      const added = ours === undefined || theirs === undefined ? undefined : ours - theirs;
      if (layout === 'pinned' && added === undefined) return [];
      return [
        row(`round trip added, ${path === 'same' ? 'same host' : 'cross host'}`, layout, {
          least: path === 'same' ? 15 : 40,
          measured: added,
          text: added === undefined ? undefined : `${quantity(added)} µs`,
          bound: (value) => `≤ ${value} µs over the kernel`,
          better: 'less',
        }),
      ];
    }),
  );
}

function idleRows({ idle }: Results): TargetRow[] {
  return [
    row('idle daemon, processor', '', {
      least: 0.5,
      measured: idle ? idle.core * 100 : undefined,
      text: idle ? `${quantity(idle.core * 100)} %` : undefined,
      bound: (value) => `< ${value} % of a core`,
      better: 'less',
    }),
    row('idle daemon, memory', '', {
      least: 120,
      measured: idle ? idle.residentBytes / 1e6 : undefined,
      text: idle ? `${quantity(idle.residentBytes / 1e6)} MB` : undefined,
      bound: (value) => `< ${value} MB resident`,
      better: 'less',
    }),
  ];
}
