import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { echoRequest, readEcho } from '../../src/daemon/icmp.ts';

const ipv4 = (protocol: number, payload: Buffer): Buffer => {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header[9] = protocol;
  return Buffer.concat([header, payload]);
};

const ipv6 = (next: number, payload: Buffer): Buffer => {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header[6] = next;
  return Buffer.concat([header, payload]);
};

const as = (packet: Buffer, type: number, code = 0): Buffer => {
  const copy = Buffer.from(packet);
  copy[0] = type;
  copy[1] = code;
  return copy;
};

function onesSum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

describe('requests', () => {
  it('fill a packet of the asked size', () => {
    expect(echoRequest(4, 1, 1, 1500)).toHaveLength(1480);
    expect(echoRequest(6, 1, 1, 1500)).toHaveLength(1460);
    expect(echoRequest(4, 1, 1, 0)).toHaveLength(8);
  });

  it('over IPv4 carry a right checksum', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(0xffff), (id, sequence) => {
        expect(onesSum(echoRequest(4, id, sequence, 64))).toBe(0xffff);
      }),
    );
  });
});

describe('answers', () => {
  const v4 = echoRequest(4, 0x1234, 7, 64);
  const v6 = echoRequest(6, 0x1234, 7, 64);

  it('replies', () => {
    expect(readEcho(4, ipv4(1, as(v4, 0)))).toEqual({ kind: 'reply', id: 0x1234, sequence: 7 });
    expect(readEcho(6, as(v6, 129))).toEqual({ kind: 'reply', id: 0x1234, sequence: 7 });
  });

  it('RFC 1191: fragmentation needed, with the request it is about', () => {
    const error = Buffer.concat([Buffer.from([3, 4, 0, 0, 0, 0, 0x05, 0x78]), ipv4(1, v4.subarray(0, 8))]);
    expect(readEcho(4, ipv4(1, error))).toEqual({ kind: 'too-big', id: 0x1234, sequence: 7, mtu: 1400 });
    const other = Buffer.concat([error.subarray(0, 8), ipv4(17, v4.subarray(0, 8))]);
    expect(readEcho(4, ipv4(1, other))).toBeNull();
  });

  it('RFC 4443: packet too big', () => {
    const error = Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0x05, 0x00]), ipv6(58, v6)]);
    expect(readEcho(6, error)).toEqual({ kind: 'too-big', id: 0x1234, sequence: 7, mtu: 1280 });
  });

  it('other messages are not about us', () => {
    expect(readEcho(4, ipv4(1, v4))).toBeNull();
    expect(readEcho(4, ipv4(1, as(v4, 3, 1)))).toBeNull();
    expect(readEcho(6, v6)).toBeNull();
  });

  it('any bytes at all are survived', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4 as const, 6 as const),
        fc.uint8Array({ maxLength: 120 }),
        (family, bytes) => {
          readEcho(family, Buffer.from(bytes));
        },
      ),
      { numRuns: 2000 },
    );
    const error = ipv4(1, Buffer.concat([Buffer.from([3, 4, 0, 0, 0, 0, 5, 0x78]), ipv4(1, v4)]));
    for (let length = 0; length <= error.length; length++) readEcho(4, error.subarray(0, length));
  });
});
