/**
 * JSON texts byte by byte: where values begin and end, without making objects of them.
 *
 * Only what is JSON beyond doubt is read: a syntax error, a key written twice or with escapes, or more levels than
 * MOST_LEVELS make `failed` true, and the caller reads the text some other way that says what is wrong.
 */
/** Kubernetes objects have about ten. */
export const MOST_LEVELS = 100;
/** Keys of all open objects together. */
const MOST_KEYS = 4096;

const enum Byte {
  QUOTE = 0x22,
  COMMA = 0x2c,
  MINUS = 0x2d,
  POINT = 0x2e,
  ZERO = 0x30,
  NINE = 0x39,
  COLON = 0x3a,
  OPEN_LIST = 0x5b,
  ESCAPE = 0x5c,
  CLOSE_LIST = 0x5d,
  OPEN = 0x7b,
  CLOSE = 0x7d,
}

/** Of a table of keys: many more than keys, so that nearly every one is alone. */
const PLACES = 1024;

/** Keys a reader wants to tell apart: `nextKey` gives their position in the list, from 1. */
export class Keys {
  private readonly table = new Uint8Array(PLACES);
  private readonly hashes: Int32Array;
  private readonly names: readonly Buffer[];

  constructor(names: readonly string[]) {
    this.names = names.map((name) => Buffer.from(name));
    this.hashes = Int32Array.from(this.names, (name) => hashOf(name, 0, name.length));
    this.hashes.forEach((hash, i) => {
      let at = hash & (PLACES - 1);
      while (this.table[at] !== 0) at = (at + 1) & (PLACES - 1);
      this.table[at] = i + 1;
    });
  }

  /** 0 when it is none of them. */
  find(bytes: Uint8Array, from: number, to: number, hash: number): number {
    for (let at = hash & (PLACES - 1); this.table[at] !== 0; at = (at + 1) & (PLACES - 1)) {
      const key = this.table[at]! - 1;
      const name = this.names[key]!;
      if (this.hashes[key] !== hash || name.length !== to - from) continue;
      let i = 0;
      while (i < name.length && name[i] === bytes[from + i]) i++;
      if (i === name.length) return this.table[at]!;
    }
    return 0;
  }
}

export const UNKNOWN = 0;
export const END = -1;

/** A text and the place reading has come to. */
export class JsonCursor {
  at = 0;
  failed = false;
  /** Where the last key begins, its quote included. */
  keyAt = 0;
  private keyEnd = 0;
  private keyHash = 0;
  private level = 0;
  /** Of the keys of all open objects: a hash, and where it begins. */
  private seen = new Int32Array(32 * 2);
  private seenCount = 0;
  /** [level]: `seenCount` when its object was opened. */
  private readonly opened = new Int32Array(MOST_LEVELS + 2);

  constructor(
    readonly bytes: Buffer,
    private readonly keys: Keys,
  ) {}

  /** Starts anew somewhere else. */
  moveTo(at: number): void {
    this.at = at;
    this.failed = false;
    this.level = 0;
    this.seenCount = 0;
  }

  get isObject(): boolean {
    return this.bytes[this.at] === Byte.OPEN;
  }

  get isList(): boolean {
    return this.bytes[this.at] === Byte.OPEN_LIST;
  }

  get isString(): boolean {
    return this.bytes[this.at] === Byte.QUOTE;
  }

  /** Past blanks. */
  blanks(): void {
    const { bytes } = this;
    let { at } = this;
    for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; ) {
      byte = bytes[++at];
    }
    this.at = at;
  }

  fail(): void {
    this.failed = true;
  }

  private reject(): false {
    this.failed = true;
    return false;
  }

  /** Into the object that begins here; then `nextKey` until END. */
  open(): void {
    if (this.bytes[this.at] !== Byte.OPEN || ++this.level > MOST_LEVELS) {
      this.fail();
      return;
    }
    this.opened[this.level] = this.seenCount;
    this.at++;
  }

  /** To the value of the next key of the open object. @returns its number, UNKNOWN, or END: behind the object */
  nextKey(): number {
    if (!this.advance()) return END;
    return this.keys.find(this.bytes, this.keyAt + 1, this.keyEnd, this.keyHash);
  }

  /** To the value of the next key, whichever it is. @returns whether there is one */
  private advance(): boolean {
    if (this.failed) return false;
    const { bytes } = this;
    const first = this.opened[this.level]!;
    this.blanks();
    if (bytes[this.at] === Byte.CLOSE) {
      this.seenCount = first;
      this.level--;
      this.at++;
      return false;
    }
    if (this.seenCount > first) {
      if (bytes[this.at] !== Byte.COMMA) return this.reject();
      this.at++;
      this.blanks();
    }
    if (bytes[this.at] !== Byte.QUOTE) return this.reject();
    this.keyAt = this.at;
    const from = ++this.at;
    let hash = 0;
    let byte = bytes[from]!;
    while (byte !== Byte.QUOTE) {
      if (byte === Byte.ESCAPE || byte < 0x20 || byte === undefined) return this.reject();
      hash = (Math.imul(hash, 31) + byte) | 0;
      byte = bytes[++this.at]!;
    }
    const to = this.at++;
    this.keyEnd = to;
    this.keyHash = hash;
    if (this.seenCount * 2 === this.seen.length && !this.seeMore()) return this.reject();
    const { seen } = this;
    for (let i = first; i < this.seenCount; i++) {
      if (seen[i * 2] === hash && this.isKey(seen[i * 2 + 1]!, from, to)) return this.reject();
    }
    const place = this.seenCount++ * 2;
    seen[place] = hash;
    seen[place + 1] = from;
    this.blanks();
    if (bytes[this.at] !== Byte.COLON) return this.reject();
    this.at++;
    this.blanks();
    return true;
  }

  /** Into the list that begins here; then `nextItem` until false, with `first` true once. */
  openList(): void {
    if (this.bytes[this.at] !== Byte.OPEN_LIST || ++this.level > MOST_LEVELS) this.fail();
    else this.at++;
  }

  nextItem(first: boolean): boolean {
    if (this.failed) return false;
    this.blanks();
    if (this.bytes[this.at] === Byte.CLOSE_LIST) {
      this.level--;
      this.at++;
      return false;
    }
    if (!first) {
      if (this.bytes[this.at] !== Byte.COMMA) {
        this.fail();
        return false;
      }
      this.at++;
      this.blanks();
      if (this.bytes[this.at] === Byte.CLOSE_LIST) {
        this.fail();
        return false;
      }
    }
    return true;
  }

  /** Past the value that begins here, whatever it is. */
  skip(): void {
    switch (this.bytes[this.at]) {
      case Byte.QUOTE:
        this.skipString();
        return;
      case Byte.OPEN:
        this.open();
        while (this.advance()) this.skip();
        return;
      case Byte.OPEN_LIST:
        this.openList();
        for (let first = true; this.nextItem(first); first = false) this.skip();
        return;
      case 0x74:
        this.word('true');
        return;
      case 0x66:
        this.word('false');
        return;
      case 0x6e:
        this.word('null');
        return;
      default:
        this.skipNumber();
    }
  }

  /** Past a string. @returns whether it is plain ASCII without escapes */
  skipString(): boolean {
    const { bytes } = this;
    if (bytes[this.at] !== Byte.QUOTE) {
      this.fail();
      return false;
    }
    let at = this.at + 1;
    let union = 0;
    let escapes = false;
    for (let byte = bytes[at]!; byte !== Byte.QUOTE; byte = bytes[++at]!) {
      if (byte === undefined || byte < 0x20) {
        this.fail();
        return false;
      }
      union |= byte;
      if (byte !== Byte.ESCAPE) continue;
      escapes = true;
      const kind = bytes[++at]!;
      const isUnicode = kind === 0x75 && /^[\da-f]{4}$/i.test(bytes.toString('latin1', at + 1, at + 5));
      if (!isUnicode && ESCAPES[kind] !== 1) {
        this.fail();
        return false;
      }
    }
    this.at = at + 1;
    return union < 0x80 && !escapes;
  }

  /** Whether the key at `at` is the one in these bytes. */
  private isKey(at: number, from: number, to: number): boolean {
    const { bytes } = this;
    for (let i = from; i <= to; i++) if (bytes[at + i - from] !== bytes[i]) return false;
    return true;
  }

  private seeMore(): boolean {
    const { seen } = this;
    if (seen.length === MOST_KEYS * 2) return false;
    this.seen = new Int32Array(seen.length * 2);
    this.seen.set(seen);
    return true;
  }

  private word(text: string): void {
    for (let i = 0; i < text.length; i++) {
      if (this.bytes[this.at + i] !== text.charCodeAt(i)) {
        this.fail();
        return;
      }
    }
    this.at += text.length;
  }

  private skipNumber(): void {
    const { bytes } = this;
    if (bytes[this.at] === Byte.MINUS) this.at++;
    const first = this.at;
    this.digits();
    if (bytes[first] === Byte.ZERO && this.at > first + 1) this.fail();
    if (bytes[this.at] === Byte.POINT) {
      this.at++;
      this.digits();
    }
    if ((bytes[this.at]! | 0x20) === 0x65) {
      const sign = bytes[++this.at];
      if (sign === Byte.MINUS || sign === 0x2b) this.at++;
      this.digits();
    }
  }

  /** At least one. */
  private digits(): void {
    const { bytes } = this;
    const first = this.at;
    while (bytes[this.at]! >= Byte.ZERO && bytes[this.at]! <= Byte.NINE) this.at++;
    if (this.at === first) this.fail();
  }
}

/** [byte]: 1 for what may follow a backslash by itself. */
const ESCAPES = new Uint8Array(256);
for (const byte of Buffer.from('"\\/bfnrt')) ESCAPES[byte] = 1;

function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0;
  for (let i = from; i < to; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
  return hash;
}
