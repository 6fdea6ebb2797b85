/** Text → documents: YAML or JSON, several per text, `kind: List` unfolded, with the position of every node. */
import type { CST, Document, Node } from 'yaml';
import { Composer, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, Parser } from 'yaml';
import { MOST_LEVELS } from './json.ts';
import { readJson } from './json-document.ts';
import type { PlainResource } from './plain-resource.ts';
import type { Origin, Problem, Source } from './types.ts';

/** Keys and indices from the root of a document. */
export type Path = readonly (string | number)[];

export interface RawDocument {
  readonly value: Readonly<Record<string, unknown>>;
  readonly origin: Origin;
  /** Position of the value at a path, or of the nearest enclosing node that exists. */
  locate(path: Path): Origin;
  /** Position of the key of the last step. */
  locateKey(path: Path): Origin;
}

export interface ReadDocuments {
  readonly documents: readonly (RawDocument | PlainResource)[];
  readonly problems: readonly Problem[];
}

/** Empty documents are skipped; a document with a syntax error contributes problems only. */
export function readDocuments(source: Source): ReadDocuments {
  const json = readJson(source);
  if (json !== null) return { documents: json, problems: [] };
  const documents: RawDocument[] = [];
  const problems: Problem[] = [];
  const lines = new LineCounter();
  const at = (offset: number): Origin => {
    const { line, col } = lines.linePos(offset);
    return { file: source.file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const tooDeep = (offset: number): void => {
    problems.push({ ...at(offset), path: '', message: `is nested more than ${MOST_LEVELS} levels deep` });
  };
  for (const document of compose(source.text, lines, tooDeep)) {
    for (const fault of [...document.errors, ...document.warnings]) {
      problems.push({ ...at(fault.pos[0]), path: '', message: syntaxMessage(fault.code, fault.message) });
    }
    if (document.errors.length > 0 || document.contents === null) continue;
    const root: Node = document.contents;
    if (isScalar(root) && root.value === null) continue;
    unfold(root, document, at, documents, problems);
  }
  return { documents, problems };
}

/**
 * The composer calls itself for every level, and out of stack it takes the whole process along. The parser
 * before it does not, so what it found is measured in between.
 */
function* compose(
  text: string,
  lines: LineCounter,
  tooDeep: (offset: number) => void,
): Generator<Document.Parsed> {
  const composer = new Composer({ lineCounter: lines, prettyErrors: false });
  for (const token of new Parser(lines.addNewLine).parse(text)) {
    if (isDeep(token)) tooDeep(token.offset);
    else yield* composer.next(token);
  }
  yield* composer.end(false, text.length);
}

function isDeep(token: CST.Token): boolean {
  let level: (CST.Token | null | undefined)[] = [token];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MOST_LEVELS) return true;
    level = level.flatMap((each) => {
      if (each?.type === 'document') return [each.value];
      return each && 'items' in each ? each.items.flatMap(({ key, value }) => [key, value]) : [];
    });
  }
  return false;
}

/** "spec.subnets[0].cidr" ⇄ ['spec', 'subnets', 0, 'cidr']. */
export function formatPath(path: Path): string {
  return path
    .map((step, i) => (typeof step === 'number' ? `[${step}]` : i === 0 ? step : `.${step}`))
    .join('');
}

export function parsePath(path: string): Path {
  const steps = path.match(/[^.[\]]+/g) ?? [];
  return steps.map((step) => (/^\d+$/.test(step) ? Number(step) : step));
}

function unfold(
  root: Node,
  document: Document,
  at: (offset: number) => Origin,
  documents: RawDocument[],
  problems: Problem[],
): void {
  const origin = at(root.range?.[0] ?? 0);
  let value: unknown;
  try {
    value = root.toJS(document);
  } catch (error) {
    problems.push({ ...origin, path: '', message: `cannot be expanded: ${(error as Error).message}` });
    return;
  }
  if (!isMap(root) || !isRecord(value)) {
    const message = 'is not a resource; a resource is a mapping with apiVersion, kind, metadata and spec';
    problems.push({ ...origin, path: '', message });
    return;
  }
  const list = listKind(value);
  const items = root.get('items', true);
  if (list !== null && isSeq(items)) {
    for (const item of items.items) {
      if (isNode(item)) unfold(item, document, at, documents, problems);
    }
    return;
  }
  const find = (path: Path, wantKey: boolean) => at(offsetOf(root, document, path, wantKey));
  documents.push({
    value,
    origin,
    locate: (path) => find(path, false),
    locateKey: (path) => find(path, true),
  });
}

/** "List", "ServiceList", … of a value that has items. */
function listKind(value: Readonly<Record<string, unknown>>): string | null {
  const kind = value.kind;
  return typeof kind === 'string' && kind.endsWith('List') && Array.isArray(value.items) ? kind : null;
}

function offsetOf(root: Node, document: Document, path: Path, wantKey: boolean): number {
  let node: Node = root;
  let offset = root.range?.[0] ?? 0;
  for (const [i, step] of path.entries()) {
    let next: unknown;
    let key: unknown;
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => (isScalar(item.key) ? String(item.key.value) : '') === String(step),
      );
      if (pair === undefined) break;
      key = pair.key;
      next = pair.value;
    } else if (isSeq(node)) {
      next = node.items[Number(step)];
    }
    if (isAlias(next)) next = next.resolve(document);
    const keyOffset = isNode(key) ? key.range?.[0] : undefined;
    // An absent value (`key:` and nothing) has no place of its own: point at its key.
    const empty = isScalar(next) && next.value === null && next.source === '';
    const useKey = !isNode(next) || empty || (wantKey && i === path.length - 1);
    offset = (useKey ? keyOffset : (next as Node).range?.[0]) ?? offset;
    if (!isNode(next)) break;
    node = next;
  }
  return offset;
}

function syntaxMessage(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key occurs twice in one mapping; keep one';
  return `not valid YAML: ${message.charAt(0).toLowerCase()}${message.slice(1)}`;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
