import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkSet } from '../../src/control/check.ts';
import { compile } from '../../src/control/compile.ts';
import { parseSources } from '../../src/control/parse.ts';
import { formatProblem } from '../../src/control/problem.ts';
import { render } from '../../src/control/render.ts';
import { ServiceBook } from '../../src/control/services.ts';
import { readSources } from '../../src/control/source.ts';
import { NOWHERE } from '../../src/control/surroundings.ts';
import { ETHERNET, port, resources, service } from './fixture.ts';

const directory = mkdtempSync(join(tmpdir(), 'twill-'));
afterAll(() => rmSync(directory, { recursive: true }));

describe('readSources', () => {
  it('reads files, and the YAML and JSON of directories in order', () => {
    for (const name of ['b.yml', 'a.yaml', 'c.json', 'notes.txt'])
      writeFileSync(join(directory, name), `# ${name}`);
    const { sources, problems } = readSources([join(directory, 'notes.txt'), directory]);
    expect(problems).toEqual([]);
    expect(sources.map(({ text }) => text)).toEqual(['# notes.txt', '# a.yaml', '# b.yml', '# c.json']);
    expect(sources[1]!.file).toBe(join(directory, 'a.yaml'));
  });

  it('says what cannot be read and reads the rest', () => {
    const binary = join(directory, 'notes.txt');
    const { sources, problems } = readSources(['/nowhere/x.yaml', binary]);
    expect(sources).toHaveLength(1);
    expect(problems.map(formatProblem)).toEqual([
      '/nowhere/x.yaml: cannot be read: no such file or directory',
    ]);
    writeFileSync(binary, Buffer.from([0xff, 0xfe, 0x00]));
    expect(readSources([binary]).problems.map(formatProblem)).toEqual([
      `${binary}: cannot be read: is not UTF-8 text`,
    ]);
  });
});

describe('examples', () => {
  it.each([
    [['minimal.yaml'], 'host network port port'],
    [['alpha.yaml', 'services.yaml'], 'host network network peer port port port service service'],
    [['host.yaml', 'exposed.yaml'], 'host network port port service service'],
    [['beta.yaml', 'services.yaml'], 'host network network peer port port service service'],
  ])('%j are right', (files, ops) => {
    const { sources } = readSources(files.map((file) => join('examples', file)));
    const { resources, problems, warnings } = parseSources(sources);
    expect([...problems, ...warnings].map(formatProblem)).toEqual([]);
    expect(checkSet(resources)).toMatchObject({ problems: [], warnings: [] });
    const { networks, peers, ports } = compile(resources, ETHERNET, null);
    const changes = resources.map((after) => ({ before: undefined, after }));
    const { count } = new ServiceBook().stage(changes, NOWHERE, false).batch;
    const names = [
      'host',
      networks.map(() => 'network'),
      peers.map(() => 'peer'),
      ports.map(() => 'port'),
      Array.from({ length: count }, () => 'service'),
    ];
    expect(names.flat().join(' ')).toBe(ops);
  });
});

describe('render', () => {
  it('gives the document back with its namespace; Kubernetes’ status with it, Twill’s without', () => {
    const status = { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] } };
    const given = { ...service('s', { clusterIP: '10.96.0.1', extra: 1 }, { labels: { a: 'b' } }), status };
    expect(render(resources(given)[0]!)).toEqual({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 's', namespace: 'default', labels: { a: 'b' } },
      spec: { clusterIP: '10.96.0.1', extra: 1 },
      status,
    });
    const live = { ...port('web', { network: 'blue' }), status: { state: 'up' } };
    expect(render(resources(live)[0]!)).toEqual(port('web', { network: 'blue' }));
    expect(render(resources(port('web', { network: 'blue' }))[0]!)).toEqual(port('web', { network: 'blue' }));
  });

  it('what is printed can be applied again', () => {
    const [resource] = resources(port('web', { network: 'blue' }));
    const printed = { ...render(resource!), status: { state: 'up' } };
    expect(resources(printed)[0]!.spec).toEqual(resource!.spec);
  });
});
