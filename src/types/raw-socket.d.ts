/** The part of raw-socket 1.8 that the peer probes use; the package ships no types. */
declare module 'raw-socket' {
  import type { EventEmitter } from 'node:events';

  export const AddressFamily: { readonly IPv4: 1; readonly IPv6: 2 };
  export const Protocol: { readonly ICMP: 1; readonly ICMPv6: 58 };

  export interface Options {
    addressFamily?: 1 | 2;
    protocol?: number;
    /** Bytes of the one receive buffer; longer datagrams are cut. */
    bufferSize?: number;
  }

  /**
   * Events: 'message' (buffer, source address): the buffer is reused by the next message.
   * 'error' (Error), 'close'.
   */
  export interface Socket extends EventEmitter {
    /** `done` is called with an error that has no code, only strerror text. */
    send(
      buffer: Buffer,
      offset: number,
      length: number,
      address: string,
      done: (error: Error | null, bytes: number) => void,
    ): this;
    setOption(level: number, option: number, value: number): void;
    close(): this;
  }

  /** @throws Error "Operation not permitted" without CAP_NET_RAW. */
  export function createSocket(options?: Options): Socket;
  export function createChecksum(...buffers: Buffer[]): number;
  export function writeChecksum(buffer: Buffer, offset: number, checksum: number): Buffer;
}
