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

  it('says what it cannot read', async () => {
    const { code, stderr } = await twill(['check', '-f', join(directory, 'absent')]);
    expect(code).toBe(1);
    expect(stderr).toContain('absent: cannot be read');
  });
});
