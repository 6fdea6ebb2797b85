/** JSON texts → documents: values when they are asked for, positions when there is something to say. */
import type { Path, RawDocument } from './document.ts';
import { END, JsonCursor, Keys } from './json.ts';
import { PlainReader } from './plain.ts';
import { PLAIN_KEYS } from './plain-keys.ts';
import type { PlainResource } from './plain-resource.ts';
import type { Origin, Source } from './types.ts';

const NO_KEYS = new Keys([]);
const LIST_KEYS = new Keys(['kind', 'items']);
const enum ListKey {
  KIND = 1,
  ITEMS = 2,
}

/** The bytes of a source, and its lines. */
export class JsonText {
  readonly bytes: Buffer;
  readonly file: string;
  #lines: number[] | undefined;

  constructor(source: Source) {
    this.file = source.file;
    this.bytes = source.bytes ?? Buffer.from(source.text);
  }

  text(from: number, to: number): string {
    return this.bytes.toString('utf8', from, to);
  }

  /** Of a byte. */
  origin(at: number): Origin {
    this.#lines ??= lineStarts(this.bytes);
    let [low, high] = [0, this.#lines.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#lines[middle]! <= at) low = middle;
      else high = middle;
    }
    return { file: this.file, line: low + 1, column: this.text(this.#lines[low]!, at).length + 1 };
  }

  /** Position of a path below the value at `at`, or of the nearest enclosing value that exists. */
  locate(at: number, path: Path, wantKey: boolean): Origin {
    const cursor = new JsonCursor(this.bytes, NO_KEYS);
    cursor.moveTo(at);
    let found = at;
    for (const [i, step] of path.entries()) {
      const isThere = cursor.isObject ? this.#toKey(cursor, String(step)) : toItem(cursor, Number(step));
      if (!isThere) break;
      found = wantKey && i === path.length - 1 && typeof step === 'string' ? cursor.keyAt : cursor.at;
    }
    return this.origin(found);
  }

  #toKey(cursor: JsonCursor, key: string): boolean {
    const wanted = Buffer.from(JSON.stringify(key));
    cursor.open();
    while (cursor.nextKey() !== END) {
      if (wanted.compare(this.bytes, cursor.keyAt, cursor.keyAt + wanted.length) === 0) return true;
      cursor.skip();
    }
    return false;
  }
}

function toItem(cursor: JsonCursor, index: number): boolean {
  if (!cursor.isList) return false;
  cursor.openList();
  for (let i = 0; cursor.nextItem(i === 0); i++) {
    if (i === index) return true;
    cursor.skip();
  }
  return false;
}

function lineStarts(bytes: Buffer): number[] {
  const starts = [0];
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) starts.push(at + 1);
  return starts;
}

/**
 * The resource, or the items of the list, a text holds when it is one JSON object beyond doubt.
 * @returns null when it is anything else: whoever reads YAML can tell what
 */
export function readJson(source: Source): readonly (RawDocument | PlainResource)[] | null {
  const text = new JsonText(source);
  const cursor = new JsonCursor(text.bytes, LIST_KEYS);
  cursor.blanks();
  if (!cursor.isObject) return null;
  const start = cursor.at;
  let kind = '';
  let items: readonly (RawDocument | PlainResource)[] | null = null;
  cursor.open();
  for (let key = cursor.nextKey(); key !== END; key = cursor.nextKey()) {
    if (key === ListKey.ITEMS && cursor.isList) {
      items = readItems(text, cursor);
      if (items === null) return null;
      continue;
    }
    const from = cursor.at;
    cursor.skip();
    if (key === ListKey.KIND && text.bytes[from] === 0x22) kind = text.text(from + 1, cursor.at - 1);
  }
  const end = cursor.at;
  cursor.blanks();
  if (cursor.failed || cursor.at < text.bytes.length) return null;
  return items !== null && kind.endsWith('List') ? items : readOne(text, start, end);
}

/** A resource by itself. */
function readOne(text: JsonText, start: number, end: number): readonly (RawDocument | PlainResource)[] {
  const plain = new PlainReader(text, new JsonCursor(text.bytes, PLAIN_KEYS)).read(start);
  return [plain ?? rawDocument(text, start, end)];
}

function readItems(text: JsonText, cursor: JsonCursor): (RawDocument | PlainResource)[] | null {
  const items: (RawDocument | PlainResource)[] = [];
  const reader = new PlainReader(text, new JsonCursor(text.bytes, PLAIN_KEYS));
  cursor.openList();
  for (let first = true; cursor.nextItem(first); first = false) {
    const plain = reader.read(cursor.at);
    if (plain !== null) {
      items.push(plain);
      cursor.at = plain.end;
      continue;
    }
    const start = cursor.at;
    if (!cursor.isObject) return null;
    cursor.skip();
    if (cursor.failed) return null;
    const document = rawDocument(text, start, cursor.at);
    const { kind } = document.value;
    if (typeof kind === 'string' && kind.endsWith('List')) return null;
    items.push(document);
  }
  return items;
}

function rawDocument(text: JsonText, start: number, end: number): RawDocument {
  return {
    value: JSON.parse(text.text(start, end)) as Readonly<Record<string, unknown>>,
    origin: text.origin(start),
    locate: (path) => text.locate(start, path, false),
    locateKey: (path) => text.locate(start, path, true),
  };
}
