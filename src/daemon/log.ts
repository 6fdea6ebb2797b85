/** Log lines on standard error: JSON, or one short line each where somebody watches a terminal. */
import { writeSync } from 'node:fs';
import { type Logger, pino } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Synchronous: the last line before a crash is the one that matters. */
export function createLog(level: LogLevel, pretty: boolean, fd = 2): Logger {
  const options = {
    level,
    base: { pid: process.pid },
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  if (pretty) return pino(options, prettyStream());
  const destination = pino.destination({ fd, sync: true });
  // A full disk or a log reader that went away: forwarding goes on.
  destination.on('error', () => {});
  return pino(options, destination);
}

const COLOURS: Readonly<Record<string, number>> = { debug: 36, info: 32, warn: 33, error: 31, fatal: 35 };

/** `12:30:05 info  ready  ports=2 socket=/run/twill/twill.sock` */
export function prettyLine(json: string, colour: boolean): string {
  const { time, level, msg, pid: _, err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const name = String(level).padEnd(5);
  const shown = colour ? `\x1b[${COLOURS[String(level)] ?? 37}m${name}\x1b[0m` : name;
  const rest = Object.entries(fields).map(([key, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return `${key}=${/[\s"]/.test(text) ? JSON.stringify(text) : text}`;
  });
  const stack = err === undefined ? '' : `\n${(err as { stack?: string }).stack ?? JSON.stringify(err)}`;
  return `${[String(time).slice(11, 19), shown, msg, rest.join(' ')].join(' ').trimEnd()}${stack}\n`;
}

function prettyStream(): { write(json: string): void } {
  const colour = !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  return {
    write: (json) => {
      try {
        writeSync(2, prettyLine(json, colour));
      } catch {
        // The terminal is gone; forwarding goes on.
      }
    },
  };
}
