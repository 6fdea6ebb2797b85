/** Quantities as people read them, short enough for a column. */

/** Seconds → "0s", "59s", "3m", "2h", "4d"; null → "-". */
export function age(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '-';
  const s = Math.max(0, Math.floor(seconds));
  if (s < 120) return `${s}s`;
  if (s < 7200) return `${Math.floor(s / 60)}m`;
  if (s < 172_800) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86_400)}d`;
}

/** 1234 → "1.23k"; whole below 1000. */
export function si(value: number | null | undefined): string {
  if (value === null || value === undefined) return '-';
  let rest = value;
  for (const prefix of ['', 'k', 'M', 'G', 'T']) {
    if (Math.abs(rest) < 999.5) {
      return prefix === '' ? String(Math.round(rest)) : `${rest.toPrecision(3)}${prefix}`;
    }
    rest /= 1000;
  }
  return `${rest.toPrecision(3)}P`;
}

/** Milliseconds of a round trip. */
export function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return '-';
  return value < 10 ? `${value.toFixed(2)}ms` : `${value.toFixed(0)}ms`;
}
