/** Who may import whom: the shape of the program, held by a test. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SRC = join(ROOT, 'src');

interface Import {
  /** Relative to src: "bridge/fdb.ts". */
  readonly file: string;
  readonly folder: string;
  /** Relative to src, "../bench/x.ts", or a package: "yaml", "node:fs". */
  readonly target: string;
  readonly isPackage: boolean;
  readonly isType: boolean;
}

interface Layer {
  /** What it is, for the message. */
  readonly why: string;
  /** Folders or files of src; "type:" in front allows types only. Its own folder is always allowed. */
  readonly src: readonly string[];
  /** Packages; a package may be bound to one file: "ip-num@address.ts". */
  readonly packages: readonly string[];
}

const STAGE_WHY =
  'a stage knows packets and tables, not other stages; dataplane/pipeline.ts puts them in order';
const STAGE = [
  'wire',
  'packet',
  'table',
  'telemetry',
  'fabric',
  'card/layout.ts',
  'type:dataplane/config.ts',
];
const stage = (...more: string[]): Layer => ({ why: STAGE_WHY, src: [...STAGE, ...more], packages: [] });

const LAYERS: Record<string, Layer> = {
  wire: { why: 'formats stand on nothing', src: [], packages: ['ip-num@address.ts'] },
  table: { why: 'data structures stand on nothing', src: [], packages: [] },
  telemetry: { why: 'counters and reasons stand on nothing', src: [], packages: [] },
  types: { why: 'declarations of foreign packages', src: [], packages: ['node:events'] },
  card: { why: 'a card moves bytes and knows no protocol', src: [], packages: ['node:*@native.ts'] },
  fabric: {
    why: 'what all stages know of ports, peers and networks',
    src: ['telemetry', 'type:dataplane/config.ts'],
    packages: [],
  },
  packet: {
    why: 'packets know formats and the fabric, no stage',
    src: ['wire', 'telemetry', 'card/layout.ts', 'fabric'],
    packages: [],
  },
  bridge: stage(),
  neigh: stage(),
  overlay: stage(),
  conntrack: stage(),
  service: stage('conntrack'),
  gateway: stage('neigh'),
  fastpath: {
    why: 'repeats what the stages decided: it reads their tables and leaves every decision to them',
    src: [...STAGE.slice(0, -1), 'bridge', 'neigh', 'gateway', 'overlay', 'conntrack', 'service'],
    packages: [],
  },
  dataplane: {
    why: 'the itinerary knows the stages; nothing above it',
    src: [
      ...['wire', 'telemetry', 'fabric', 'packet', 'card'],
      ...['bridge', 'neigh', 'overlay', 'conntrack', 'service', 'gateway', 'fastpath', 'table'],
    ],
    packages: ['node:worker_threads@worker.ts', 'node:v8@worker.ts', 'node:vm@worker.ts'],
  },
  control: {
    why: 'from documents to configuration: it touches neither kernel nor packets',
    src: [
      ...['wire', 'telemetry', 'card/layout.ts', 'service/record.ts'],
      ...['type:card/native.ts', 'type:dataplane'],
    ],
    packages: ['zod', 'yaml', 'node:buffer', 'node:crypto', 'node:fs', 'node:os', 'node:path', 'node:util'],
  },
  daemon: {
    why: 'runs the control plane beside the worker, which it knows by messages and configuration only',
    src: [
      ...['control', 'telemetry', 'card/native.ts', 'wire/address.ts'],
      ...['type:dataplane/messages.ts', 'type:dataplane/config.ts', 'dataplane/worker.js'],
    ],
    packages: ['pino', 'zod', 'raw-socket@echo.ts', 'prom-client@health/metrics.ts', 'node:*'],
  },
  demo: {
    why: 'a guest: it drives the program from outside',
    src: [],
    packages: ['yaml', 'node:*'],
  },
  program: {
    why: 'the command line: control for what it prints, daemon and demo for what it starts',
    src: ['control', 'daemon', 'demo', 'type:dataplane'],
    packages: ['commander', 'yaml', 'node:*'],
  },
};

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

/** Every import, re-export, dynamic import and require of a source text. */
function importsOf(file: string, text: string): Import[] {
  const code = text.replace(/\/\*.*?\*\//gs, '').replace(/^\s*\/\/.*$/gm, '');
  const patterns = [
    /^\s*(?:import|export)\s+(?<type>type\s+)?(?<names>[^'";]*?)\s*from\s*'(?<from>[^']+)'/gm,
    /^\s*import\s*'(?<from>[^']+)'/gm,
    /(?<type>typeof\s+)?\b(?:import|require)\(\s*'(?<from>[^']+)'\s*\)/g,
    /\bnew URL\(\s*'(?<from>[^']+\.[jt]s)'/g,
  ];
  return patterns.flatMap((pattern) =>
    [...code.matchAll(pattern)].map(({ groups }) => {
      const { from = '', type, names = '' } = groups!;
      const isPackage = !from.startsWith('.');
      const specifiers = /^\{(.*)\}$/s
        .exec(names.trim())?.[1]
        ?.split(',')
        .map((part) => part.trim()) ?? [''];
      const isAllTypes = specifiers.filter((part) => part !== '').every((part) => part.startsWith('type '));
      return {
        file,
        folder: file.split('/')[0]!,
        target: isPackage ? from : relative(SRC, join(SRC, dirname(file), from)),
        isPackage,
        isType: type !== undefined || (names !== '' && specifiers[0] !== '' && isAllTypes),
      };
    }),
  );
}

function isAllowed(layer: Layer, { file, folder, target, isPackage, isType }: Import): boolean {
  if (isPackage) {
    return layer.packages.some((entry) => {
      const [name, only] = entry.split('@') as [string, string | undefined];
      const matches = name.endsWith('*') ? target.startsWith(name.slice(0, -1)) : target === name;
      return matches && (only === undefined || file === `${folder}/${only}`);
    });
  }
  if (target.startsWith('..')) return false;
  if (target.split('/')[0] === folder) return true;
  return layer.src.some((entry) => {
    const typesOnly = entry.startsWith('type:');
    const path = typesOnly ? entry.slice(5) : entry;
    return (isType || !typesOnly) && (target === path || target.startsWith(`${path}/`));
  });
}

const all = files.flatMap((file) => importsOf(file, readFileSync(join(SRC, file), 'utf8')));
const complain = ({ file, target, isType }: Import, why: string): string =>
  `src/${file} imports ${isType ? 'types of ' : ''}${target}: ${why}`;

describe('imports', () => {
  it('are found in every form', () => {
    const text = [
      "import { a } from './a.ts';",
      "import {\n  type B,\n  c,\n} from '../wire/b.ts';",
      "import type { D } from '../wire/d.ts';",
      "import { type E, type F } from '../wire/e.ts';",
      "export * from '../wire/f.ts';",
      "import '../wire/g.ts';",
      "const h = await import('../wire/h.ts');",
      "type I = typeof import('raw-socket');",
      "// import { j } from '../wire/j.ts';",
      "export type { K } from '../wire/k.ts';",
      "import yaml, { l } from 'yaml';",
    ].join('\n');
    expect(
      importsOf('table/x.ts', text)
        .map(({ target, isType }) => `${target} ${isType}`)
        .sort(),
    ).toEqual(
      [
        ...['table/a.ts false', 'wire/b.ts false', 'wire/d.ts true', 'wire/e.ts true', 'wire/f.ts false'],
        ...['wire/g.ts false', 'wire/h.ts false', 'raw-socket true', 'wire/k.ts true', 'yaml false'],
      ].sort(),
    );
    expect(all.length).toBeGreaterThan(300);
  });

  it('every folder of src has its place', () => {
    expect([...new Set(files.map((file) => file.split('/')[0]!))].sort()).toEqual(Object.keys(LAYERS).sort());
  });

  for (const [folder, layer] of Object.entries(LAYERS)) {
    it(`${folder}: ${layer.why}`, () => {
      const wrong = all.filter((one) => one.folder === folder && !isAllowed(layer, one));
      expect(wrong.map((one) => complain(one, layer.why))).toEqual([]);
    });

    it(`${folder} is allowed nothing it does not use`, () => {
      const mine = all.filter((one) => one.folder === folder && one.target.split('/')[0] !== folder);
      // All stages share one set, so that the next stage need not ask.
      const own = layer.why === STAGE_WHY ? layer.src.slice(STAGE.length) : layer.src;
      const unused = own.filter((entry) => {
        const others = {
          ...layer,
          src: own.filter((other) => other !== entry).concat(layer.src.slice(own.length)),
        };
        return layer.why === STAGE_WHY
          ? !mine.some((one) => one.target.startsWith(`${entry}/`))
          : mine.every((one) => one.isPackage || isAllowed(others, one));
      });
      const unusedPackages = layer.packages.filter((entry) => {
        const others = { ...layer, packages: layer.packages.filter((other) => other !== entry) };
        return mine.every((one) => !one.isPackage || isAllowed(others, one));
      });
      expect([...unused, ...unusedPackages]).toEqual([]);
    });
  }

  it('only card/native.ts loads the addon', () => {
    const loads = files.filter((file) =>
      /\bcreateRequire\(|\bdlopen\(|\brequire\(/.test(readFileSync(join(SRC, file), 'utf8')),
    );
    expect(loads).toEqual(['card/native.ts']);
  });

  it('nothing in src imports test or bench', () => {
    const wrong = all.filter(({ target }) => target.startsWith('..'));
    expect(wrong.map((one) => complain(one, 'src stands alone'))).toEqual([]);
  });
});
