/** zod issues → problems with a position and words for people. */
import { z } from 'zod';
import type { Path, RawDocument } from '../document.ts';
import { formatPath } from '../document.ts';
import { nearest, show } from '../problem.ts';
import type { Problem } from '../types.ts';

/** Checks a document (nulls count as absent) and collects every problem. */
export function validate<T>(schema: z.ZodType<T>, document: RawDocument, problems: Problem[]): T | undefined {
  const value = withoutNulls(document.value);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  for (const issue of result.error.issues) problems.push(...explain(issue, schema, document, value));
  return undefined;
}

function explain(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  document: RawDocument,
  value: unknown,
): Problem[] {
  const path = issue.path.filter((step) => typeof step !== 'symbol');
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path);
    return issue.keys.map((key) => {
      const at = [...path, key];
      return { ...document.locateKey(at), path: formatPath(at), message: unknownKey(key, known) };
    });
  }
  const message =
    issue.code === 'invalid_type'
      ? wrongShape(issue.expected, schemaAt(schema, path), valueAt(value, path))
      : issue.message;
  return [{ ...document.locate(path), path: formatPath(path), message }];
}

function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known);
  return near === undefined
    ? `unknown key; known here: ${known.join(', ')}`
    : `unknown key; did you mean ${near}?`;
}

function wrongShape(expected: string, schema: unknown, value: unknown): string {
  const shape =
    expected === 'array'
      ? `a list${suchAs(listLike(schema, value))}`
      : expected === 'object' || expected === 'record'
        ? `a mapping${suchAs(mappingLike(schema))}`
        : `a ${expected}`;
  return value === undefined ? `missing; add ${shape}` : `${show(value)} is not allowed; use ${shape}`;
}

const suchAs = (example: string): string => (example === '' ? '' : ` such as ${example}`);

/** A list of what was written without one, or of mappings with what they must have. */
function listLike(schema: unknown, value: unknown): string {
  const item = schema instanceof z.ZodArray ? mappingLike(unwrapped(schema.element)) : '';
  if (item !== '') return `[${item}]`;
  return typeof value === 'string' || typeof value === 'number' ? `[${value}]` : '';
}

/** "{cidr: …}" */
function mappingLike(schema: unknown): string {
  if (!(schema instanceof z.ZodObject)) return '';
  const shape: Readonly<Record<string, z.ZodType>> = schema.shape;
  const required = Object.keys(shape).filter((key) => !shape[key]!.safeParse(undefined).success);
  return required.length > 0 ? `{${required.map((key) => `${key}: …`).join(', ')}}` : '';
}

/** Keys the schema knows at a path. */
function keysAt(schema: z.ZodType, path: Path): string[] {
  const at = schemaAt(schema, path);
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function schemaAt(schema: z.ZodType, path: Path): unknown {
  let at: unknown = schema;
  for (const step of path) {
    at = unwrapped(at);
    if (at instanceof z.ZodObject) at = at.shape[String(step)];
    else if (at instanceof z.ZodArray) at = at.element;
  }
  return unwrapped(at);
}

function unwrapped(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrapped(schema.unwrap());
  }
  return schema instanceof z.ZodPipe ? unwrapped(schema.in) : schema;
}

export function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const step of path) at = (at as Record<string | number, unknown> | undefined)?.[step];
  return at;
}

/** A copy without keys whose value is null: as in Kubernetes, null is the same as absent. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, v]) => v !== null);
  return Object.fromEntries(entries.map(([k, v]) => [k, withoutNulls(v)]));
}
