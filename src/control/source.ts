/** PATHs on the command line → texts to read. */
import { isUtf8 } from 'node:buffer';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Problem, Source } from './types.ts';

const ENDINGS = ['.yaml', '.yml', '.json'];

export interface ReadSources {
  readonly sources: readonly Source[];
  readonly problems: readonly Problem[];
}

/**
 * Reads files, directories (their *.yaml, *.yml and *.json, sorted, not recursive) and "-" (standard input).
 * What cannot be read is a problem; the rest is still returned.
 */
export function readSources(paths: readonly string[]): ReadSources {
  const sources: Source[] = [];
  const problems: Problem[] = [];
  for (const path of paths) {
    try {
      for (const file of filesOf(path)) {
        try {
          sources.push(new FileSource(file === '-' ? '<stdin>' : file, readBytes(file)));
        } catch (error) {
          problems.push(unreadable(file, error));
        }
      }
    } catch (error) {
      problems.push(unreadable(path, error));
    }
  }
  return { sources, problems };
}

function filesOf(path: string): string[] {
  if (path === '-' || !statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => ENDINGS.some((ending) => name.endsWith(ending)));
  if (names.length === 0) throw new Error(`holds no ${ENDINGS.map((e) => `*${e}`).join(', ')} file`);
  return names.sort().map((name) => join(path, name));
}

/** A file as it was read; a text of it is made when somebody wants one. */
class FileSource implements Source {
  constructor(
    readonly file: string,
    readonly bytes: Buffer,
  ) {}

  get text(): string {
    return this.bytes.toString().replace(/^\ufeff/, '');
  }
}

/** @throws Error when the bytes are not UTF-8. */
function readBytes(file: string): Buffer {
  const bytes = readFileSync(file === '-' ? 0 : file);
  if (!isUtf8(bytes)) throw Object.assign(new Error(), { code: 'ERR_ENCODING_INVALID_ENCODED_DATA' });
  return bytes;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EISDIR: 'is a directory',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'is not UTF-8 text',
};

function unreadable(file: string, error: unknown): Problem {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = (code !== undefined && REASONS[code]) || message;
  // `-f "$UNSET"`
  return { file: file || '""', line: 0, column: 0, path: '', message: `cannot be read: ${reason}` };
}
