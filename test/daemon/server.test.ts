import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Api } from '../../src/daemon/api.ts';
import { Manager } from '../../src/daemon/manager.ts';
import { Prober } from '../../src/daemon/probes.ts';
import { Sampler } from '../../src/daemon/sampler.ts';
import { ControlServer } from '../../src/daemon/server.ts';
import { claimSocket } from '../../src/daemon/socket-file.ts';
import { Views } from '../../src/daemon/views.ts';
import { Counters } from '../../src/telemetry/counters.ts';
import { FakeDataplane, FakeKernel, fakeHost, HOST, network, peer, port, silent, source } from './fakes.ts';

const MAX_BODY = 1 << 20;
const REQUEST_MS = 500;

let folder: string;
let path: string;
let server: ControlServer;
let manager: Manager;
let dataplane: FakeDataplane;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), `twill-server-${process.pid}-`));
  path = join(folder, 'run', 'twill.sock');
  const kernel = new FakeKernel();
  dataplane = new FakeDataplane(kernel);
  manager = new Manager({ kernel, dataplane, host: fakeHost(), log: silent });
  await manager.load([source('base.yaml', HOST, network(), peer(), port('web', '10.77.0.11'))]);
  const counters = new Counters();
  const sampler = new Sampler(counters, 0);
  const prober = new Prober({ echo: 'off (test)', linkMtu: () => 1500, onPathMtu: () => {} });
  const views = new Views({
    manager,
    dataplane,
    counters,
    sampler,
    prober,
    health: { problems: [] },
    version: '0.0.0',
    started: 0,
  });
  const api = new Api(manager, dataplane, views);
  await claimSocket(path);
  server = await ControlServer.listen({
    socket: path,
    log: silent,
    handle: async (request) => api.handle(request),
    requestMs: REQUEST_MS,
    maxBodyBytes: MAX_BODY,
  });
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

interface Answer {
  readonly status: number;
  // Tests look into answers of every shape.
  readonly body: Record<string, unknown>;
}

function call(method: string, url: string, body?: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath: path, method, path: url, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode!, body: JSON.parse(text || '{}') }));
    });
    request.on('error', reject);
    request.end(typeof body === 'string' || body === undefined ? body : JSON.stringify(body));
  });
}

/** Writes bytes and returns what comes back until the server closes. */
function raw(bytes: Buffer | string, end = false): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
    if (end) socket.end(bytes);
    else socket.write(bytes);
  });
}

const alive = async (): Promise<void> => expect((await call('GET', '/v1/status')).status).toBe(200);

describe('the routes', () => {
  it('answers status and every kind', async () => {
    const { status, body } = await call('GET', '/v1/status');
    expect(status).toBe(200);
    expect(body).toMatchObject({ healthy: true, host: 'alpha', pid: process.pid, probing: 'off (test)' });
    expect(body.counts).toEqual({ networks: 1, ports: 1, peers: 1, services: 0, flows: 0 });
    for (const kind of [
      'hosts',
      'networks',
      'ports',
      'peers',
      'services',
      'endpointslices',
      'fdb',
      'neighbors',
      'flows',
    ]) {
      expect((await call('GET', `/v1/${kind}`)).body.items, kind).toBeInstanceOf(Array);
    }
  });

  it('shows a document with its live state', async () => {
    const { body } = await call('GET', '/v1/ports');
    expect(body.items).toMatchObject([
      {
        apiVersion: 'twill/v1alpha1',
        kind: 'Port',
        metadata: { name: 'web' },
        spec: { network: 'blue', interface: 'if-web' },
        status: { state: 'up', mtu: 1450, rxFrames: 0, dropped: 0 },
      },
    ]);
  });

  it('applies, dry or not, and deletes', async () => {
    const sources = [source('db.yaml', port('db', '10.77.0.12'))];
    expect((await call('POST', '/v1/apply', { sources, dryRun: true })).body.changes).toMatchObject([
      { action: 'created' },
    ]);
    expect(manager.find('Port', '', 'db')).toBeUndefined();
    expect((await call('POST', '/v1/apply', { sources })).status).toBe(200);
    expect((await call('DELETE', '/v1/ports/db')).body.changes).toMatchObject([
      { name: 'db', action: 'deleted' },
    ]);
    expect(await call('DELETE', '/v1/ports/db')).toEqual({ status: 404, body: { errors: ['no Port db'] } });
    expect((await call('DELETE', '/v1/networks/blue')).status).toBe(422);
  });

  it('refuses a bad resource with its place', async () => {
    const { status, body } = await call('POST', '/v1/apply', {
      sources: [{ file: 'x.yaml', text: 'kind: Port' }],
    });
    expect(status).toBe(422);
    expect((body.errors as string[])[0]).toMatch(/^x\.yaml:1:/);
  });

  it('attaches at the lowest free address, several at once, and detaches', async () => {
    dataplane.dumps.neighbors = [{ network: 'blue', ip: '10.77.0.3' }];
    const attach = (name: string) =>
      call('POST', '/v1/attach', {
        netns: '/proc/self/ns/net',
        network: 'blue',
        name,
        interface: `i${name}`,
      });
    const answers = await Promise.all(['one', 'two'].map(attach));
    expect(answers.map((answer) => answer.body.port)).toMatchObject([
      { metadata: { name: 'one' }, spec: { addresses: ['10.77.0.2'] }, status: { state: 'up' } },
      { metadata: { name: 'two' }, spec: { addresses: ['10.77.0.4'] } },
    ]);
    expect((await attach('one')).status).toBe(409);
    expect((await call('POST', '/v1/detach', { name: 'one' })).status).toBe(200);
    expect((await call('POST', '/v1/attach', { netns: 'x', network: 'green' })).body.errors).toEqual([
      'no network green; there is blue',
    ]);
  });

  it('streams long lists whole', async () => {
    dataplane.dumps.fdb = Array.from({ length: 25_000 }, (_, i) => ({
      network: 'blue',
      mac: `m${i}`,
      peer: 'beta',
    }));
    const { body } = await call('GET', '/v1/fdb');
    expect(body.items).toEqual(dataplane.dumps.fdb);
    const { body: peers } = await call('GET', '/v1/peers');
    expect(peers.items).toMatchObject([
      { status: { macs: 25_000, networks: ['blue'], reachable: 'off', lastHeard: null } },
    ]);
  });
});

describe('what a client gets wrong', () => {
  const cases: { what: string; method: string; url: string; body?: unknown; status: number; says: RegExp }[] =
    [
      { what: 'unknown path', method: 'GET', url: '/v1/nothing', status: 404, says: /no such path/ },
      { what: 'unknown version', method: 'GET', url: '/v2/status', status: 404, says: /no such path/ },
      { what: 'bad escape', method: 'GET', url: '/v1/%zz', status: 404, says: /no such path/ },
      { what: 'double slash', method: 'GET', url: '//', status: 400, says: /not a path/ },
      {
        what: 'prototype names',
        method: 'DELETE',
        url: '/v1/constructor/x',
        status: 404,
        says: /no such path/,
      },
      { what: 'wrong method', method: 'POST', url: '/v1/status', status: 405, says: /takes GET, not POST/ },
      { what: 'delete of live state', method: 'DELETE', url: '/v1/fdb/x', status: 404, says: /no such path/ },
      { what: 'no body', method: 'POST', url: '/v1/apply', status: 400, says: /needs a JSON body/ },
      {
        what: 'no JSON',
        method: 'POST',
        url: '/v1/apply',
        body: '{"sources":',
        status: 400,
        says: /not JSON/,
      },
      {
        what: 'wrong shape',
        method: 'POST',
        url: '/v1/apply',
        body: { sources: 'x' },
        status: 400,
        says: /^sources: /,
      },
      {
        what: 'wrong depth',
        method: 'POST',
        url: '/v1/apply',
        body: { sources: [{ file: 1 }] },
        status: 400,
        says: /^sources\.0\.file: /,
      },
      {
        what: 'unknown key',
        method: 'POST',
        url: '/v1/attach',
        body: { netns: 'a', network: 'b', ip: 'c' },
        status: 400,
        says: /ip/,
      },
      { what: 'an array', method: 'POST', url: '/v1/detach', body: [], status: 400, says: /./ },
      { what: 'null', method: 'POST', url: '/v1/detach', body: 'null', status: 400, says: /./ },
    ];
  for (const { what, method, url, body, status, says } of cases) {
    it(what, async () => {
      const answer = await call(method, url, body);
      expect(answer.status).toBe(status);
      expect((answer.body.errors as string[])[0]).toMatch(says);
    });
  }

  it('a body that says it is too large', async () => {
    const text = await raw(`POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: ${MAX_BODY + 1}\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    await alive();
  });

  it('a body that is too large without saying so', async () => {
    const head = 'POST /v1/apply HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n';
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    expect(await raw(head + chunk.repeat(32))).toMatch(/^(HTTP\/1\.1 413 |$)/);
    await alive();
  });

  it('half a header and half a body are dropped in time', async () => {
    const started = performance.now();
    const texts = await Promise.all([
      raw('GET /v1/sta'),
      raw('POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"sou'),
      raw(''),
    ]);
    expect(performance.now() - started).toBeLessThan(REQUEST_MS * 10);
    for (const text of texts) expect(text).toMatch(/^(HTTP\/1\.1 408 |$)/);
    await alive();
  });

  it('a client that leaves in the middle of a body', async () => {
    for (let i = 0; i < 20; i++) {
      const socket = connect(path);
      socket.on('error', () => {});
      socket.write('POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"sou', () =>
        socket.destroy(),
      );
    }
    await alive();
  });

  it('more connections than there may be', async () => {
    const sockets = Array.from({ length: 300 }, () => connect(path).on('error', () => {}));
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await alive();
  });

  it('random bytes, raw and after a valid beginning', async () => {
    const starts = [
      '',
      'GET /v1/status HTTP/1.1\r\n',
      'POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 64\r\n\r\n',
    ];
    for (let i = 0; i < 60; i++) {
      await raw(Buffer.concat([Buffer.from(starts[i % 3]!), randomBytes(64 + ((i * 37) % 4000))]), true);
    }
    await alive();
  });
});

describe('the socket file', () => {
  it('is for its owner only, in a directory others may enter', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'run')).mode & 0o777).toBe(0o755);
  });

  it('of a live daemon is respected', async () => {
    await expect(claimSocket(path)).rejects.toThrow(
      `another twill daemon (pid ${process.pid}) is running on ${path}`,
    );
    expect(existsSync(path)).toBe(true);
  });

  it('of somebody else’s program is respected', async () => {
    const other = join(folder, 'other.sock');
    const listener = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => listener.listen(other, resolve));
    try {
      await expect(claimSocket(other)).rejects.toThrow(`another program is listening on ${other}`);
    } finally {
      listener.close();
    }
  });

  it('that is an ordinary file is not removed', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'mine');
    await expect(claimSocket(file)).rejects.toThrow('is not a socket');
    expect(existsSync(file)).toBe(true);
  });

  it('is gone after close', async () => {
    await server.close();
    expect(existsSync(path)).toBe(false);
  });
});
