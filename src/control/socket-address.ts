/** An IP address with a port, as people write the ends of a flow. */
import { AddressError, contains, familyOf, formatWords, parseAddress, type Words } from '../wire/address.ts';

export { AddressError, contains, familyOf, parseAddress };

export interface SocketAddress {
  readonly words: Words;
  /** 0 = not said. */
  readonly port: number;
}

/** "10.0.0.5:4321", "[fd00::5]:80"; without a port also "10.0.0.5", "fd00::5". @throws AddressError */
export function parseSocketAddress(text: string): SocketAddress {
  const match = /^\[(?<six>[^\]]+)\](?::(?<port>\w+))?$|^(?<four>[^:]+):(?<number>\w+)$/.exec(text);
  const { six, four, port, number } = match?.groups ?? {};
  return { words: parseAddress(six ?? four ?? text).words, port: readPort(text, port ?? number) };
}

export function formatSocketAddress({ words, port }: SocketAddress): string {
  const address = formatWords(words);
  if (port === 0) return address;
  return familyOf(words) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

function readPort(text: string, digits: string | undefined): number {
  if (digits === undefined) return 0;
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new AddressError(`"${text}" has no port from 1 to 65535 behind its address`);
}
