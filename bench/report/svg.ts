/** Small parts of SVG and HTML as text. Everything that comes from outside goes through `escaped`. */

export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

type Attributes = Readonly<Record<string, string | number>>;

/** An element; `content` is markup already. */
export function element(name: string, attributes: Attributes, content = ''): string {
  const words = Object.entries(attributes).map(([key, value]) => {
    const text = typeof value === 'number' ? String(Number(value.toFixed(2))) : escaped(value);
    return ` ${key}="${text}"`;
  });
  return `<${name}${words.join('')}>${content}</${name}>`;
}

export const line = (x1: number, y1: number, x2: number, y2: number, className: string): string =>
  element('line', { x1, y1, x2, y2, class: className });

export const text = (x: number, y: number, content: string, className = '', anchor = 'start'): string =>
  element('text', { x, y, class: className, 'text-anchor': anchor }, escaped(content));

/** @param title what a screen reader says */
export function picture(width: number, height: number, title: string, parts: readonly string[]): string {
  return element(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title, style: `max-width:${width}px` },
    parts.join(''),
  );
}

export type Scale = (value: number) => number;

export function linear([a, b]: readonly [number, number], [from, to]: readonly [number, number]): Scale {
  return (value) => from + ((value - a) / (b - a || 1)) * (to - from);
}

/** Values must be positive. */
export function logarithmic(domain: readonly [number, number], range: readonly [number, number]): Scale {
  const inner = linear([Math.log(domain[0]), Math.log(domain[1])], range);
  return (value) => inner(Math.log(value));
}

/** About `count` round numbers from 0 to at least `most`. */
export function ticks(most: number, count = 5): number[] {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  const list: number[] = [];
  for (let i = 0; i === 0 || list.at(-1)! < most - step * 1e-9; i++)
    list.push(Number((i * step).toPrecision(12)));
  return list;
}

/** Powers of ten, with their double and fivefold when there are few, that hold least … most. */
export function logTicks(least: number, most: number): number[] {
  const low = Math.floor(Math.log10(least));
  const high = Math.ceil(Math.log10(most));
  const parts = high - low <= 3 ? [1, 2, 5] : [1];
  const list: number[] = [];
  for (let power = low; power <= high; power++) list.push(...parts.map((part) => part * 10 ** power));
  const first = list.findLastIndex((tick) => tick <= least);
  const last = list.findIndex((tick) => tick >= most);
  return list.slice(Math.max(0, first), last < 0 ? undefined : last + 1);
}
