import { describe, expect, it } from 'vitest';
import { si } from '../../src/program/figures.ts';
import { twill } from './harness.ts';

const COMMANDS = [
  'up',
  'check',
  'apply',
  'delete',
  'get',
  'explain',
  'status',
  'attach',
  'detach',
  'demo',
  'bench',
  'version',
];
const CLIENT_VERBS = ['apply', 'delete', 'get', 'explain', 'status', 'attach', 'detach'];

describe('help', () => {
  it('names every command, on standard output, with exit code 0', async () => {
    const { code, stdout, stderr } = await twill(['--help']);
    expect([code, stderr]).toEqual([0, '']);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    expect(stdout).toContain('0 done, 1 failed, 2 wrong usage');
  });

  it.each(COMMANDS)('twill %s --help says what it does within 80 columns', async (command) => {
    const { code, stdout } = await twill([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: twill ${command}`);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });

  it.each(CLIENT_VERBS)('twill %s takes --socket and --timeout', async (command) => {
    const { stdout } = await twill([command, '--help']);
    expect(stdout).toContain('--socket <path>');
    expect(stdout).toContain('--timeout <time>');
  });

  it('twill get --help lists the kinds', async () => {
    const { stdout } = await twill(['get', '--help']);
    for (const kind of ['networks', 'services', 'fdb', 'flows', 'drops']) expect(stdout).toContain(kind);
  });
});

describe('wrong usage is exit code 2, with nothing on standard output', () => {
  it.each([
    ['no command', [], 'Usage: twill'],
    ['an unknown command', ['statsu'], 'Did you mean status?'],
    ['an unknown option', ['status', '--sokcet', 'x'], 'Did you mean --socket?'],
    ['up without files', ['up'], '--filename'],
    ['check without files', ['check'], '--filename'],
    ['apply without files', ['apply'], '--filename'],
    ['get without a kind', ['get'], "missing required argument 'kind'"],
    ['get of too much', ['get', 'networks', 'blue', 'red'], 'too many arguments'],
    ['a kind with a typo', ['get', 'netwroks'], 'unknown kind "netwroks" (Did you mean networks?)'],
    ['no kind at all', ['get', 'xyzzyx'], 'kinds: hosts, networks'],
    [
      'a format that is none',
      ['get', 'networks', '-o', 'xml'],
      'Allowed choices are table, wide, json, yaml',
    ],
    ['a name twice', ['get', 'network/blue', 'red'], 'drop "red"'],
    ['a namespace where there is none', ['get', 'networks', '-n', 'x'], 'no namespace'],
    ['delete of live state', ['delete', 'flows', 'x'], 'live state'],
    ['delete without a name', ['delete', 'network'], 'twill delete network NAME'],
    ['delete with half a name', ['delete', 'network/'], 'twill delete network NAME'],
    ['attach without a network', ['attach', 'web'], '--network'],
    ['detach without a name', ['detach'], "missing required argument 'name'"],
    ['a duration that is none', ['status', '--timeout', 'soon'], '"soon" is not a duration'],
    ['a duration of nothing', ['status', '--timeout', '0'], '"0" is not a duration'],
    ['a CPU that is none', ['up', '-f', 'x', '--cpu', '-1'], ''],
    ['--keep and --down', ['demo', '--keep', '--down'], 'exclude each other'],
  ])('%s', async (_name, args, message) => {
    const { code, stdout, stderr } = await twill(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
    if (args.length > 0) expect(stderr).toMatch(/^twill: /);
  });
});

describe('version', () => {
  it('names twill, node and the kernel', async () => {
    const { code, stdout } = await twill(['version']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^twill \d+\.\d+\.\d+ \(node \d+\.\d+\.\d+, linux \S+, addon (not )?built\)\n$/);
  });

  it('is an option too', async () => {
    for (const option of ['--version', '-V']) {
      const { code, stdout } = await twill([option]);
      expect([code, stdout]).toEqual([0, expect.stringMatching(/^twill \d+\.\d+\.\d+\n$/)]);
    }
  });

  it('is JSON and YAML on request', async () => {
    const { stdout } = await twill(['version', '-o', 'json']);
    expect(Object.keys(JSON.parse(stdout) as object)).toEqual(['twill', 'node', 'kernel', 'addon']);
    expect((await twill(['version', '-o', 'yaml'])).stdout).toMatch(/^twill: /);
  });
});

describe('figures', () => {
  it('are whole below 1000', () => {
    expect([0, 1.002, 999.4, 999.6, 1234, 5_250_000].map(si)).toEqual([
      '0',
      '1',
      '999',
      '1.00k',
      '1.23k',
      '5.25M',
    ]);
  });
});
