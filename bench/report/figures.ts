/** Figures as people read them: three digits that matter, thin spaces between thousands. */

export function quantity(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value);
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return '–';
  if (size >= 1000)
    return Math.round(value)
      .toString()
      .replace(/\B(?=(\d{3})+$)/g, ' ');
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

export const percent = (share: number): string => `${quantity(share * 100)}\u00a0%`;

export const pathTitle = (path: string): string =>
  path === 'same' ? 'same host' : path === 'cross' ? 'across hosts' : '';
