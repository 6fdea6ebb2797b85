import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { z } from 'zod';
import { WEIGHT_ANNOTATION } from '../../src/control/schema/endpoint-slice.ts';
import { hostSchema } from '../../src/control/schema/host.ts';
import { networkSchema } from '../../src/control/schema/network.ts';
import { peerSchema } from '../../src/control/schema/peer.ts';
import { portSchema } from '../../src/control/schema/port.ts';
import { SERVICE_ANNOTATIONS } from '../../src/control/schema/service.ts';

const page = readFileSync(new URL('../../docs/resources.md', import.meta.url), 'utf8');
const sectionOf = (heading: string): string =>
  page.split(/^## /m).find((text) => text.startsWith(heading)) ?? '';
/** [field, default as written] of a section's table. */
const rows = (heading: string): [string, string][] =>
  [...sectionOf(heading).matchAll(/^\| `([^`]+)` \| ([^|]*) \|/gm)].map(([, name, value]) => [name!, value!]);

interface Definition {
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly innerType?: z.ZodType;
  readonly element?: z.ZodType;
}

/** Every field of a schema that holds no others: "vxlan.vni", "subnets[].cidr". */
function leaves(schema: z.ZodType, path = ''): string[] {
  const { shape, innerType, element } = schema._zod.def as Definition;
  if (innerType) return leaves(innerType, path);
  if (element) {
    const inside = leaves(element, `${path}[]`);
    return inside[0] === `${path}[]` ? [path] : inside;
  }
  if (!shape) return [path];
  return Object.entries(shape).flatMap(([key, value]) => leaves(value, path === '' ? key : `${path}.${key}`));
}

const withValue = (spec: object, [key = '', ...rest]: string[], value: unknown): object => {
  const inner = (spec as Record<string, object | undefined>)[key] ?? {};
  return { ...spec, [key]: rest.length === 0 ? value : withValue(inner, rest, value) };
};

describe.each([
  ['Host', hostSchema, { underlay: { address: '192.0.2.1' } }],
  ['Network', networkSchema, { vxlan: { vni: 42 } }],
  ['Port', portSchema, { network: 'blue', netns: 'web' }],
  ['Peer', peerSchema, { addresses: ['192.0.2.2'] }],
] as const)('docs/resources.md on %s', (kind, schema, least) => {
  const read = (spec: object) =>
    schema.parse({ apiVersion: 'twill/v1alpha1', kind, metadata: { name: 'x' }, spec }).spec;

  it('names every field there is, and no other', () => {
    const fields = leaves(schema.shape.spec);
    expect(fields.length).toBeGreaterThan(5);
    expect(
      rows(kind)
        .map(([name]) => name)
        .sort(),
    ).toEqual(fields.sort());
  });

  it('gives the defaults: who writes one changes nothing', () => {
    const written = rows(kind).flatMap(([name, text]) => {
      const [, value] = /^`(.*)`$/.exec(text) ?? [];
      return value === undefined ? [] : [[name, parse(value)] as const];
    });
    expect(written.length).toBeGreaterThan(1);
    for (const [name, value] of written)
      expect(read(withValue(least, name.split('.'), value)), name).toEqual(read(least));
  });
});

it('docs/resources.md names every annotation', () => {
  const known = [...Object.keys(SERVICE_ANNOTATIONS), WEIGHT_ANNOTATION];
  expect(rows('Kubernetes').map(([name]) => name)).toEqual(known);
});
