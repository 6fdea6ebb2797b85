/** docs/rules.md and the titles of the tests name the same rules. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** A title begins with the rules it proves: "B7: …", "B16, V31: …". */
const TITLE = /(['"`])(?<rules>[A-Z]\d+(?:, [A-Z]\d+)*): /g;
const LINE = /^\* (?<rule>[A-Z]\d+) — (?<text>.+) — (?<files>`test\/[^`]+`(?:, `test\/[^`]+`)*)$/;

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const rulesIn = (text: string): string[] =>
  [...text.matchAll(TITLE)].flatMap(({ groups }) => groups!.rules!.split(', '));

const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && file !== 'rules.test.ts')
  .map((file) => `test/${file}`);
const proofs = new Map(files.map((file) => [file, new Set(rulesIn(read(file)))]));
const proven = new Set([...proofs.values()].flatMap((rules) => [...rules]));

const lines = read('docs/rules.md')
  .split('\n')
  .filter((line) => line.startsWith('* '));
const listed = lines.map((line) => {
  const { rule = '', files: by = '' } = LINE.exec(line)?.groups ?? {};
  return { line, rule, files: by.split(', ').map((file) => file.slice(1, -1)) };
});

describe('docs/rules.md', () => {
  it('has one line per rule, each in the form "* B7 — what holds — `test/…`"', () => {
    expect(listed.filter(({ rule }) => rule === '').map(({ line }) => line)).toEqual([]);
    const numbers = listed.map(({ rule }) => rule);
    expect(numbers.filter((rule, i) => numbers.indexOf(rule) !== i)).toEqual([]);
  });

  it('lists only rules that the named tests prove', () => {
    const wrong = listed.flatMap(({ rule, files: by }) =>
      by
        .filter((file) => !existsSync(join(ROOT, file)) || !proofs.get(file)?.has(rule))
        .map((file) => `${rule}: no title in ${file} begins with it`),
    );
    expect(wrong).toEqual([]);
  });

  it('lists every rule that a test title names', () => {
    const known = new Set(listed.map(({ rule }) => rule));
    const unlisted = [...proven].filter((rule) => !known.has(rule));
    const where = (rule: string) => files.filter((file) => proofs.get(file)!.has(rule)).join(', ');
    expect(unlisted.map((rule) => `${rule} is in ${where(rule)}`)).toEqual([]);
  });

  it('is read the way titles are written', () => {
    const titles = "it('B7: a'); it(`B16, V30: x`); it(\"y B9: c\"); check('A1', []);";
    expect(rulesIn(titles)).toEqual(['B7', 'B16', 'V30']);
    expect(proven.size).toBeGreaterThan(100);
  });
});
