/** The program as it is installed: bin/twill and what `make build` made. */
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FakeDaemon } from './harness.ts';

const TWILL = fileURLToPath(new URL('../../bin/twill', import.meta.url));
const EXAMPLE = fileURLToPath(new URL('../../examples/minimal.yaml', import.meta.url));

describe('bin/twill', () => {
  it('has the three exit codes', () => {
    const code = (...args: string[]): number | null => spawnSync(TWILL, args).status;
    expect([code('version'), code('status', '--socket', '/nowhere/s'), code('statsu')]).toEqual([0, 1, 2]);
  });

  it('reads standard input for -f -', () => {
    const text = 'kind: Nonsense\n';
    const { status, stderr } = spawnSync(TWILL, ['check', '-f', '-'], { input: text, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain('<stdin>:1:1');
  });

  it('checks a file', () => {
    expect(spawnSync(TWILL, ['check', '-f', EXAMPLE]).status).toBe(0);
  });

  it('stops quietly when its reader has seen enough', async () => {
    const daemon = new FakeDaemon();
    await daemon.listen();
    const row = { metadata: { name: 'x'.repeat(60) } };
    daemon.answer = () => ({ body: { items: Array.from({ length: 20_000 }, () => row) } });
    const child = spawn('bash', [
      '-c',
      `"${TWILL}" get networks --socket "${daemon.socket}" | head -n 1; exit "\${PIPESTATUS[0]}"`,
    ]);
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    await daemon.close();
    expect([code, stderr]).toEqual([0, '']);
  });

  it('loads neither zod nor yaml nor pino for a client verb', () => {
    const main = fileURLToPath(new URL('../../dist/src/program/twill.js', import.meta.url));
    const env = { ...process.env, NODE_DEBUG: 'esm', TWILL_SOCKET: '/nowhere/s' };
    const { stderr } = spawnSync(process.execPath, [main, 'status'], { env, encoding: 'utf8' });
    expect(stderr).toContain('commander');
    for (const name of ['zod', 'yaml', 'pino', 'ip-num'])
      expect(stderr).not.toContain(`node_modules/${name}/`);
  });
});
