/** The life of a daemon with the real control plane, a kernel of paper and a worker that does as it is told. */
import { execFile } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FIELDS } from '../../src/card/layout.ts';
import type { Native } from '../../src/card/native.ts';
import { cpuRefusal } from '../../src/daemon/cpus.ts';
import { type DaemonOptions, runDaemon } from '../../src/daemon/daemon.ts';
import { createLog } from '../../src/daemon/log.ts';
import { Supervisor } from '../../src/daemon/notify.ts';
import { HOST, network, port } from './fakes.ts';

const folder = mkdtempSync(join(tmpdir(), `twill-daemon-${process.pid}-`));
const files = {
  addon: join(folder, 'addon.cjs'),
  worker: join(folder, 'worker.mjs'),
  base: join(folder, 'base.yaml'),
};
const socket = join(folder, 'run', 'twill.sock');

writeFileSync(
  files.addon,
  `const diary = (globalThis.twillDiary ??= { open: new Map(), told: [], made: [] });
   let next = 1000;
   const make = (name) => { diary.open.set(next, name); diary.made.push(name); return next++; };
   module.exports = {
     fields: ${JSON.stringify(Object.keys(FIELDS))},
     createTap: (o) => { if (o.name === 'if-end') process.emit('SIGTERM'); return { fd: make(o.name), index: 1 }; },
     openUnderlay: (o) => ({ rx: make('udp'), tx: [] }),
     setMtu() {}, routeTo: () => ({ interface: 'x', index: 1, mtu: 1500, source: '' }),
     close: (fd) => { if (!diary.open.delete(fd)) throw new Error('not open'); },
     createWake: () => make('wake'), wake() {}, pin() {}, setRealTime() {},
     notify: (socket, message) => diary.told.push(message.split('\\n')[0]),
   };`,
);
writeFileSync(
  files.worker,
  `import { parentPort } from 'node:worker_threads';
   parentPort.on('message', (m) => {
     if (m.type === 'stop') process.exit(0);
     if (m.type === 'dump') return parentPort.postMessage({ type: 'dump', id: m.id, rows: [] });
     if (m.ops.some((op) => op.op === 'port' && op.port.name === 'crash')) throw new Error('told to');
     parentPort.postMessage({ type: 'applied', id: m.id });
   });
   parentPort.postMessage({ type: 'ready', thread: 1 });`,
);

const diary = (): { open: Map<number, string>; told: string[]; made: string[] } =>
  ((globalThis as Record<string, unknown>).twillDiary ?? { open: new Map(), told: [], made: [] }) as never;
const names = (): string[] => [...diary().open.values()].sort();

function status(): Promise<{ ports: { name: string }[] } | null> {
  return new Promise((resolve) => {
    get({ socketPath: socket, path: '/v1/status', agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve(JSON.parse(text)));
    }).on('error', () => resolve(null));
  });
}

async function portsAre(...expected: string[]): Promise<void> {
  await vi.waitFor(
    async () => expect((await status())?.ports.map((p) => p.name).sort()).toEqual(expected),
    5000,
  );
}

const start = (more: Partial<DaemonOptions> = {}): Promise<number> =>
  runDaemon({
    paths: [files.base],
    socket,
    version: '0.0.0',
    logLevel: 'silent',
    workerEntry: pathToFileURL(files.worker),
    ...more,
  });

const write = (...documents: string[]): void => writeFileSync(files.base, documents.join('---\n'));
const web = port('web', '10.77.0.11');

let printed: string[];
let listeners: number;

beforeEach(() => {
  process.env.TWILL_ADDON = files.addon;
  process.env.NOTIFY_SOCKET = '/fake';
  printed = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  listeners = process.listenerCount('SIGTERM');
  write(HOST, network(), web);
  diary().told.length = 0;
});

afterEach(() => {
  vi.restoreAllMocks();
  delete process.env.NOTIFY_SOCKET;
  expect(diary().open.size).toBe(0);
  expect(existsSync(socket)).toBe(false);
  expect(process.listenerCount('SIGTERM')).toBe(listeners);
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('a daemon', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`says it is ready and leaves nothing behind on ${signal}`, async () => {
      const done = start();
      await portsAre('web');
      expect(names()).toEqual(['if-web', 'udp', 'wake']);
      await vi.waitFor(() => expect(diary().told).toEqual(['READY=1']));
      process.emit(signal);
      expect(await done).toBe(0);
      expect(diary().told).toEqual(['READY=1', 'STOPPING=1']);
    });
  }

  it('ends on a SIGTERM that comes while its devices are made, and never listens', async () => {
    write(HOST, network(), web, port('end', '10.77.0.14'));
    expect(await start()).toBe(0);
    expect(printed).toEqual([]);
    expect(diary().told).toEqual(['STOPPING=1']);
  });

  it('ends on a SIGTERM that comes while its worker starts', async () => {
    const done = start();
    await vi.waitFor(() => expect(names()).toContain('wake'), { interval: 1 });
    process.emit('SIGTERM');
    expect(await done).toBe(0);
    expect(printed).toEqual([]);
    expect(diary().told).toEqual(['STOPPING=1']);
  });

  it('reads its files again on SIGHUP; a bad file changes nothing', async () => {
    const done = start();
    await portsAre('web');
    write(HOST, network(), web, port('db', '10.77.0.12'));
    process.emit('SIGHUP');
    await portsAre('db', 'web');
    write(HOST, network(), 'kind: [');
    process.emit('SIGHUP');
    await vi.waitFor(() => expect(diary().told.filter((line) => line === 'READY=1')).toHaveLength(3));
    await portsAre('db', 'web');
    rmSync(files.base);
    process.emit('SIGHUP');
    await vi.waitFor(() => expect(diary().told.filter((line) => line === 'READY=1')).toHaveLength(4));
    await portsAre('db', 'web');
    write(HOST, network());
    process.emit('SIGHUP');
    await portsAre();
    expect(diary().told.slice(0, 3)).toEqual(['READY=1', 'RELOADING=1', 'READY=1']);
    process.emit('SIGTERM');
    expect(await done).toBe(0);
  });

  it('ends with 70 when its worker dies, with everything closed', async () => {
    const done = start();
    await portsAre('web');
    write(HOST, network(), web, port('crash', '10.77.0.13'));
    process.emit('SIGHUP');
    expect(await done).toBe(70);
  });

  it('ends with 1 when the worker dies at the start', async () => {
    write(HOST, network(), port('crash', '10.77.0.13'));
    expect(await start()).toBeGreaterThan(0);
  });

  it('refuses bad files with every error and touches nothing', async () => {
    write(HOST, network(), web.replace('blue', 'green'), 'kind: Pot\n');
    expect(await start()).toBe(1);
    expect(printed.length).toBeGreaterThanOrEqual(1);
    for (const line of printed) expect(line).toMatch(/^twill: \S+base\.yaml:\d+:\d+: .+\n$/);
    expect(diary().told).toEqual([]);
  });

  for (const field of ['health', 'metrics'] as const) {
    it(`S35, S36: a ${field} port that is taken ends the start before anything is made`, async () => {
      const taken = createServer();
      await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
      const { port: number } = taken.address() as AddressInfo;
      write(HOST.replace('}}', `}, ${field}: {bind: "127.0.0.1:${number}"}}`), network(), web);
      diary().made.length = 0;
      expect(await start()).toBe(1);
      await new Promise((resolve) => taken.close(resolve));
      expect(printed).toEqual([
        expect.stringMatching(
          new RegExp(
            `^twill: \\S+base\\.yaml:\\d+:\\d+: spec\\.${field}\\.bind: .* is in use by another process`,
          ),
        ),
      ]);
      expect(diary().made).toEqual(['wake']);
    });
  }

  it('names a CPU that is not there, and those that are', async () => {
    expect(await start({ cpu: 9999 })).toBe(1);
    expect(printed.join('')).toMatch(
      /^twill: --cpu 9999: there is no such CPU; this machine has \d[\d,-]*\n$/,
    );
    expect([0, 1, 2, 4, 5].map((cpu) => cpuRefusal(cpu, '0-1,4') === null)).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });

  it('refuses to start beside a live one, which goes on', async () => {
    const done = start();
    await portsAre('web');
    expect(await start()).toBe(1);
    expect(printed).toEqual([`twill: another twill daemon (pid ${process.pid}) is running on ${socket}\n`]);
    await portsAre('web');
    process.emit('SIGTERM');
    expect(await done).toBe(0);
  });

  it('removes the socket a dead one left', async () => {
    await staleSocket();
    const done = start();
    await portsAre('web');
    process.emit('SIGTERM');
    expect(await done).toBe(0);
  });
});

/** A socket file whose listener is dead: the holder is ended without the chance to remove it. */
async function staleSocket(): Promise<void> {
  const code = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await new Promise((resolve) => execFile(process.execPath, ['-e', code], resolve));
  expect(existsSync(socket)).toBe(true);
}

describe('the log', () => {
  it('a full disk ends nothing', async () => {
    const fd = openSync('/dev/full', 'w');
    const log = createLog('info', false, fd);
    for (let i = 0; i < 3; i++) {
      expect(() => log.warn('x')).not.toThrow();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    closeSync(fd);
  });
});

describe('sd_notify', () => {
  it('a supervisor that went away is no error', () => {
    const native: Pick<Native, 'notify'> = {
      notify: () => {
        throw new Error('ECONNREFUSED');
      },
    };
    new Supervisor(native, '/gone').ready('x');
    new Supervisor(native, '').ready('x');
  });
});
