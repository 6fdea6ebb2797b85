/** READY=1 as a supervisor receives it: over a datagram socket of its own, which Node cannot open. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadNative, type Native } from '../../src/card/native.ts';
import { Supervisor } from '../../src/daemon/notify.ts';

const folder = mkdtempSync(join(tmpdir(), `twill-notify-${process.pid}-`));
afterAll(() => rmSync(folder, { recursive: true }));

const RECEIVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind('\\0' + name[1:] if name[0] == '@' else name)
s.settimeout(10)
print('bound', flush=True)
for _ in range(3): print(s.recv(4096).decode().split('\\n')[0], flush=True)
`;

function addon(): Native | null {
  try {
    return loadNative();
  } catch {
    return null;
  }
}

const native = addon();
const usable = native !== null && spawnSync('python3', ['--version']).status === 0;
if (!usable && process.env.CI === 'true') throw new Error('needs python3 and the addon: make -C native');

for (const name of [join(folder, 'notify'), `@twill-notify-${process.pid}`]) {
  it.skipIf(!usable)(`a supervisor at ${name[0]} is told`, async () => {
    const receiver = spawn('python3', ['-c', RECEIVER, name]);
    try {
      let text = '';
      receiver.stdout.on('data', (chunk) => {
        text += chunk;
      });
      const ended = new Promise((resolve) => receiver.on('close', resolve));
      while (!text.includes('bound')) await new Promise((resolve) => setTimeout(resolve, 20));
      const supervisor = new Supervisor(native!, name);
      supervisor.ready('2 ports');
      supervisor.reloading();
      supervisor.stopping();
      await ended;
      expect(text.split('\n').slice(1, 4)).toEqual(['READY=1', 'RELOADING=1', 'STOPPING=1']);
    } finally {
      receiver.kill();
    }
    expect(() => new Supervisor(native!, join(folder, 'nobody')).stopping()).not.toThrow();
    expect(existsSync(join(folder, 'nobody'))).toBe(false);
  });
}
