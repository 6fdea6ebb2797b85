import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { twill } from './harness.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'twill-check-'));
afterAll(() => rmSync(directory, { recursive: true }));

const file = (name: string, text: string): string => {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
};

const HOST =
  'apiVersion: twill/v1alpha1\nkind: Host\nmetadata: {name: h}\nspec: {underlay: {address: 192.0.2.1}}\n';

describe('check', () => {
  it.each([['alpha'], ['beta']])('examples/%s.yaml with the Services is right', async (host) => {
    const names = [host, 'services', 'algorithms'];
    const args = ['check', ...names.flatMap((name) => ['-f', join(EXAMPLES, `${name}.yaml`)])];
    const { code, stdout, stderr } = await twill(args);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^\d+ resources, no errors\n$/);
  });

  it.each([['minimal'], ['host'], ['dual-stack']])('examples/%s.yaml is right', async (name) => {
    expect((await twill(['check', '-f', join(EXAMPLES, `${name}.yaml`)])).code).toBe(0);
  });

  it('lists every error with its place, on standard error', async () => {
    const path = file(
      'bad.yaml',
      `${HOST}---\napiVersion: twill/v1alpha1\nkind: Network\nmetadata: {name: blue}\nspec:\n  vxlan: {vni: -1}\n  subnet: x\n`,
    );
    const { code, stdout, stderr } = await twill(['check', '-f', path]);
    expect([code, stdout]).toEqual([1, '']);
    const lines = stderr.trim().split('\n');
    expect(lines.length).toBeGreaterThanOrEqual(2);
    for (const line of lines) expect(line).toContain(`twill: ${path}:`);
    expect(stderr).toMatch(/bad\.yaml:10:\d+: spec\.vxlan\.vni: /);
  });

  it('judges what documents say of each other', async () => {
    const port =
      '---\napiVersion: twill/v1alpha1\nkind: Port\nmetadata: {name: web}\nspec: {network: blue, netns: web}\n';
    const { code, stderr } = await twill(['check', '-f', file('port.yaml', HOST + port)]);
    expect(code).toBe(1);
    expect(stderr).toContain('spec.network');
  });

  it('S38: says what Services would be given', async () => {
    const host = HOST.replace('}}', '}, serviceCIDRs: [10.96.0.0/16]}');
    const service =
      '---\napiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: x}\nspec: {type: NodePort, ports: [{port: 80}]}\n';
    const { code, stdout } = await twill(['check', '-f', file('open.yaml', host + service)]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^service\/x\/shop would be given clusterIP 10\.96\.\d+\.\d+, nodePort 3\d{4} for port 80\n2 resources, no errors\n$/,
    );
  });

  it('says what it skips, and is done', async () => {
    const pod = '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n';
    const { code, stderr } = await twill(['check', '-f', file('map.yaml', HOST + pod)]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning: .*ConfigMap/);
  });

  it('M3: warnings and errors come file by file as given, each from its first line to its last', async () => {
    const service = (name: string, spec: string) =>
      `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {${spec}}\n`;
    const skipped = '---\napiVersion: v1\nkind: Secret\nmetadata: {name: x}\n';
    const first = file(
      'z.yaml',
      HOST.replace('}}', '}, conntrack: {tcpLoose: true}}') +
        service('s', 'clusterIP: 010.96.0.1, ports: [{port: 80}]') +
        skipped +
        service('t', 'clusterIP: 10.96.0.1, slector: x, ports: [{port: 80, nodePort: 80}]'),
    );
    const second = file('a.yaml', skipped + service('u', 'clusterIP: 10.96.0.1, ports: [{port: 80}]'));
    const { code, stderr } = await twill(['check', '-f', first, second]);
    expect(code).toBe(0);
    const places = (text: string) =>
      text.split('\n').flatMap((line) => {
        const [, name, at, column] = /([az]\.yaml):(\d+):(\d+): /.exec(line) ?? [];
        return name === undefined ? [] : [{ name, line: Number(at), column: Number(column) }];
      });
    const told = places(stderr);
    expect(told.length).toBeGreaterThan(6);
    expect(told).toEqual(
      [...told].sort((a, b) => -a.name.localeCompare(b.name) || a.line - b.line || a.column - b.column),
    );
    expect(new Set(told.map(({ name }) => name)).size).toBe(2);
    const port = (name: string) =>
      `---\napiVersion: twill/v1alpha1\nkind: Port\nmetadata: {name: ${name}}\nspec: {network: no, netns: web}\n`;
    const network = (name: string) =>
      `---\napiVersion: twill/v1alpha1\nkind: Network\nmetadata: {name: ${name}}\nspec: {vxlan: {vni: 7}}\n`;
    const bad = file('z.yaml', HOST + port('p') + network('b') + port('q') + network('c'));
    const errors = places((await twill(['check', '-f', bad])).stderr);
    expect(errors.length).toBeGreaterThanOrEqual(3);
    expect(errors).toEqual([...errors].sort((a, b) => a.line - b.line));
  });

  it('says what it cannot read', async () => {
    const { code, stderr } = await twill(['check', '-f', join(directory, 'absent')]);
    expect(code).toBe(1);
    expect(stderr).toContain('absent: cannot be read');
    expect((await twill(['check', '-f', ''])).stderr).toBe(
      'twill: "": cannot be read: no such file or directory\n',
    );
  });
});
