/** Values of a document in its usual form (`plain.ts`): what is read of another is not used, the cursor has failed. */
import { unusualKind } from '../wire/address.ts';
import { END, type JsonCursor } from './json.ts';
import type { JsonText } from './json-document.ts';

const WORDS = 256;

export class PlainValues {
  /** Words seen, each in the place its letters choose. */
  private readonly known: (string | undefined)[] = new Array(WORDS).fill(undefined);

  constructor(
    protected readonly text: JsonText,
    protected readonly cursor: JsonCursor,
  ) {}

  protected object(field: (this: this, key: number) => void): void {
    const { cursor } = this;
    cursor.open();
    for (let key = cursor.nextKey(); key !== END; key = cursor.nextKey()) field.call(this, key);
  }

  protected list(item: (this: this) => void): void {
    const { cursor } = this;
    cursor.openList();
    for (let first = true; cursor.nextItem(first); first = false) item.call(this);
  }

  /** @param likely if it is this word, it is this very string */
  protected string(likely = ''): string {
    const from = this.cursor.at + 1;
    if (!this.cursor.skipString()) this.cursor.fail();
    if (this.cursor.failed) return '';
    const { bytes } = this.text;
    const to = this.cursor.at - 1;
    return isText(bytes, from, to, likely) ? likely : bytes.toString('latin1', from, to);
  }

  /** The same for a word that many items have: one string for all of them. */
  protected word(): string {
    const from = this.cursor.at + 1;
    if (!this.cursor.skipString()) this.cursor.fail();
    if (this.cursor.failed) return '';
    const { bytes } = this.text;
    const to = this.cursor.at - 1;
    const place = (to - from + bytes[from]! * 7 + bytes[to - 1]! * 31) & (WORDS - 1);
    const known = this.known[place];
    if (known !== undefined && isText(bytes, from, to, known)) return known;
    const word = bytes.toString('latin1', from, to);
    this.known[place] = word;
    return word;
  }

  protected oneOf<W extends string>(...words: readonly W[]): W {
    const text = this.word();
    const word = words.find((candidate) => candidate === text);
    if (word === undefined) this.cursor.fail();
    return word ?? words[0]!;
  }

  /** This string and no other. */
  protected only(word: string): void {
    const from = this.cursor.at + 1;
    const isPlain = this.cursor.skipString();
    if (!isPlain || !isText(this.text.bytes, from, this.cursor.at - 1, word)) this.cursor.fail();
  }

  protected boolean(): boolean {
    const isTrue = this.text.bytes[this.cursor.at] === 0x74;
    if (!isTrue && this.text.bytes[this.cursor.at] !== 0x66) this.cursor.fail();
    this.cursor.skip();
    return isTrue;
  }

  /** A whole number of few digits; −1 for another. */
  protected number(): number {
    const { bytes } = this.text;
    const from = this.cursor.at;
    this.cursor.skip();
    let value = 0;
    for (let at = from; at < this.cursor.at; at++) {
      const digit = bytes[at]! - 0x30;
      if (digit < 0 || digit > 9 || at - from > 5) return -1;
      value = value * 10 + digit;
    }
    return value;
  }

  /** An IPv4 address in its canonical form, as int32. */
  protected address(): number {
    const { cursor } = this;
    const { bytes } = this.text;
    let at = cursor.at + 1;
    let value = 0;
    if (!cursor.isString) cursor.fail();
    for (let part = 0; part < 4; part++) {
      const from = at;
      let byte = 0;
      for (; at - from < 3 && bytes[at]! >= 0x30 && bytes[at]! <= 0x39; at++)
        byte = byte * 10 + bytes[at]! - 0x30;
      const isCanonical = at > from && byte < 256 && (bytes[from] !== 0x30 || at === from + 1);
      if (!isCanonical || bytes[at] !== (part < 3 ? 0x2e : 0x22)) cursor.fail();
      value = (value << 8) | byte;
      at++;
    }
    if (!cursor.failed) cursor.at = at;
    return value;
  }
}

/** Of an IPv4 address as int32. */
export const isUnusual = (address: number): boolean => unusualKind([0, 0, 0xffff, address]) !== null;

function isText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (text.length !== to - from) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[from + i]) return false;
  return true;
}
