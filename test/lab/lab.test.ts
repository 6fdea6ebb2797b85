import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { Ledger } from '../../src/demo/ledger.ts';
import { isAlive, recordOf } from '../../src/demo/process.ts';
import { CANNOT, type TestLab, testLab } from './lab.ts';

describe('a process is known by more than its pid', () => {
  it('lives, and is no longer the same once it ended', async () => {
    const child = spawn('sleep', ['61.5'], { stdio: 'ignore' });
    await new Promise((resolve) => child.once('spawn', resolve));
    const record = recordOf(child.pid!, '61.5');
    expect(isAlive(record)).toBe(true);
    expect(isAlive({ ...record, marker: '61.6' })).toBe(false);
    expect(isAlive({ ...record, start: '1' })).toBe(false);
    expect(isAlive({ ...record, boot: 'another' })).toBe(false);
    child.kill();
    await new Promise((resolve) => child.once('exit', resolve));
    expect(isAlive(record)).toBe(false);
  });
});

describe('a ledger', () => {
  it('is found again by another program, ends only what it recorded, and removes itself', async () => {
    const home = mkdtempSync(join(tmpdir(), 'twill-ledger-'));
    onTestFinished(() => rmSync(home, { recursive: true }));
    const directory = join(home, 'here');
    mkdirSync(join(home, 'elsewhere'));
    expect(Ledger.open(directory)).toBeUndefined();
    symlinkSync(join(home, 'elsewhere'), directory);
    expect(() => Ledger.create(directory)).toThrow('is not a directory of this user alone; remove it');
    expect(() => Ledger.open(directory)).toThrow('is not a directory of this user alone');
    rmSync(directory);
    const ours = spawn('sleep', ['62.5'], { stdio: 'ignore' });
    const other = spawn('sleep', ['63.5'], { stdio: 'ignore' });
    await Promise.all([ours, other].map((child) => new Promise((resolve) => child.once('spawn', resolve))));
    Ledger.create(directory).addProcess(ours.pid!, '62.5');
    const exited = new Promise((resolve) => ours.once('exit', resolve));
    const found = Ledger.open(directory);
    expect(found?.processes.map(({ pid }) => pid)).toEqual([ours.pid]);
    expect(found?.owned).toBeUndefined();
    await found?.removeAll();
    await exited;
    expect(existsSync(directory)).toBe(false);
    expect(other.exitCode).toBeNull();
    other.kill();
  });
});

describe.skipIf(CANNOT !== null)('a laboratory', () => {
  let lab: TestLab;
  afterEach(async () => lab.dispose());

  it('wires namespaces, runs commands, captures, and leaves nothing', async () => {
    lab = testLab();
    const before = lab.snapshot();
    const [a, b] = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.wire(
      { namespace: a, name: 'eth0', address: '192.0.2.1/24', mtu: 1400 },
      { namespace: b, name: 'eth0', address: '192.0.2.2/24', mtu: 1400 },
    );
    const capture = await lab.capture(b, 'eth0', ['icmp']);
    await lab.must(a, ['ping', '-c', '2', '-i', '0.05', '-W', '2', '192.0.2.2']);
    const packets = await capture.decode(['ip.src', 'icmp.type'], 'icmp.type == 8');
    expect(packets).toEqual([
      { 'ip.src': ['192.0.2.1'], 'icmp.type': ['8'] },
      { 'ip.src': ['192.0.2.1'], 'icmp.type': ['8'] },
    ]);
    expect(lab.snapshot().namespaces).toEqual([a, b]);
    await lab.dispose();
    expect(lab.snapshot()).toEqual(before);
    expect(existsSync(lab.directory)).toBe(false);
  });

  it('has kernel VXLAN peers and bridges', async () => {
    lab = testLab();
    const [a, b] = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.wire(
      { namespace: a, name: 'up', address: '192.0.2.1/24' },
      { namespace: b, name: 'up', address: '192.0.2.2/24' },
    );
    const tunnel = { name: 'vx', vni: 42 };
    await lab.vxlan({
      ...tunnel,
      namespace: a,
      local: '192.0.2.1',
      remote: '192.0.2.2',
      address: '10.1.0.1/24',
    });
    await lab.vxlan({ ...tunnel, namespace: b, local: '192.0.2.2', remote: '192.0.2.1' });
    await lab.bridge(b, 'br0', ['vx']);
    await lab.ip(b, 'address', 'add', '10.1.0.2/24', 'dev', 'br0');
    await lab.must(a, ['ping', '-c', '1', '-W', '2', '10.1.0.2']);
  });

  it('tells a failure from a result, and refuses work once it is closed', async () => {
    lab = testLab();
    expect(await lab.run(null, ['sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({
      code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    await expect(lab.must(null, ['sh', '-c', 'echo why >&2; exit 3'])).rejects.toThrow('exit 3: why');
    const slow = await lab.run(null, ['sleep', '30'], { timeout: 50 });
    expect(slow.code).toBe(137);
    const quick = lab.start(null, 'quick', ['sh', '-c', 'echo gone']);
    await expect(quick.waitFor((text) => text.includes('never'))).rejects.toThrow('gone');
    await lab.dispose();
    await expect(lab.namespace('late')).rejects.toThrow('closed');
  });
});
