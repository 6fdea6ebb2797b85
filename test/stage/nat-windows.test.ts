import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Gso } from '../../src/card/layout.ts';
import type { HostConfig } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { address4, Fabric, IPS, MACS, type Sent, service } from '../fabric.ts';
import { ethernet, partialSum, readIpv4, type TcpFields, tcp } from '../frames.ts';

const VIP = '10.96.0.10';
const CLIENT_SEQ = 1000;
const SERVER_SEQ = 5000;
/** Options of a SYN: window scale, SACK permitted. */
const scale = (shift: number) => [3, 3, shift];
const SACK_PERMITTED = [4, 2];
const u32 = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
const sack = (...edges: number[]) => [1, 1, 5, 2 + 4 * edges.length, ...edges.flatMap(u32)];

let fabric: Fabric;
beforeEach(() => {
  fabric = new Fabric();
  fabric.dataplane.apply([
    { op: 'service', service: service({ backends: [{ address: address4(IPS.b), port: 8080 }] }) },
  ]);
});

const client = (fields: Partial<TcpFields>, offload = {}): Sent[] => {
  const packet = tcp({ from: IPS.a, to: VIP, sport: 4000, dport: 80, flags: 'A', ...fields });
  return fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, packet), offload);
};
const server = (fields: Partial<TcpFields>, offload = {}): Sent[] => {
  const packet = tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: 4000, flags: 'A', ...fields });
  return fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, packet), offload);
};
const payload = (bytes: number) => new Array<number>(bytes).fill(1);
const row = (): FlowRow => (dump(fabric.dataplane, 'flows') as FlowRow[])[0]!;
const host = (overrides: Partial<HostConfig>) =>
  fabric.dataplane.apply([
    { op: 'host', host: { underlayAddresses: [], vxlanPorts: [4789], maxFlows: 1024, ...overrides } },
  ]);

const sevenSeconds = {
  tcpSynSent: 7000,
  tcpSynRecv: 7000,
  tcpEstablished: 7000,
  tcpFinWait: 7000,
  tcpCloseWait: 7000,
  tcpLastAck: 7000,
  tcpTimeWait: 7000,
  tcpClose: 7000,
  tcpUnacknowledged: 7000,
  sctpClosed: 7000,
  sctpCookieWait: 7000,
  sctpCookieEchoed: 7000,
  sctpEstablished: 7000,
  sctpShutdown: 7000,
  udpUnreplied: 7000,
  udpReplied: 7000,
};

/** A handshake; afterwards the client speaks from `c`, the server from `s`. */
function establish({
  c = CLIENT_SEQ,
  s = SERVER_SEQ,
  syn = {},
  synAck = {},
}: {
  c?: number;
  s?: number;
  syn?: Partial<TcpFields>;
  synAck?: Partial<TcpFields>;
} = {}): { c: number; s: number } {
  const next = { c: (c + 1) >>> 0, s: (s + 1) >>> 0 };
  expect(client({ flags: 'S', seq: c, ...syn })).toHaveLength(1);
  expect(server({ flags: 'SA', seq: s, ack: next.c, ...synAck })).toHaveLength(1);
  expect(client({ seq: next.c, ack: next.s, ...syn, options: [] })).toHaveLength(1);
  expect(row().state).toBe('established');
  return next;
}

/** Dropped under its name, and nothing of it left the switch. */
function expectRefused(sent: Sent[]): void {
  expect(sent).toEqual([]);
  expect(fabric.drops()).toEqual({ OUT_OF_WINDOW: 1 });
}

describe('the window', () => {
  it('N13: a segment beyond the window of its receiver never reaches it, translated or not', () => {
    const { c, s } = establish({ syn: { window: 1000 } });
    expect(server({ seq: s + 1000, ack: c, payload: payload(10) })).toHaveLength(1);
    expectRefused(server({ seq: s + 1001, ack: c, payload: payload(10) }));
  });

  it('N13: a segment of long ago is dropped', () => {
    const { c, s } = establish({ syn: { window: 1000 } });
    for (let i = 0; i < 4; i++) {
      server({ seq: s + i * 500, ack: c, payload: payload(500) });
      client({ seq: c, ack: s + (i + 1) * 500, window: 1000 });
    }
    expect(server({ seq: s + 500, ack: c, payload: payload(500) })).toHaveLength(1);
    expectRefused(server({ seq: s + 499, ack: c, payload: payload(500) }));
  });

  it('N13: an acknowledgment of what was never sent is dropped', () => {
    const { c, s } = establish();
    expect(server({ seq: s, ack: c })).toHaveLength(1);
    expectRefused(server({ seq: s, ack: c + 1 }));
  });

  it('N13: an acknowledgment may be as late as the widest window, and 66 000 bytes in any case', () => {
    const { c, s } = establish({ synAck: { window: 0xffff } });
    for (let at = 0; at < 70_000; at += 1400) {
      client({ seq: c + at, ack: s, payload: payload(1400) });
      server({ seq: s, ack: c + at + 1400, window: 0xffff });
    }
    expect(server({ seq: s, ack: c + 70_000 - 66_000 })).toHaveLength(1);
    expectRefused(server({ seq: s, ack: c + 70_000 - 66_001 }));
  });

  it('N13: what is dropped changes nothing and refreshes nothing', () => {
    const { c, s } = establish({ syn: { window: 1000 } });
    fabric.advance(5000);
    const before = row();
    expectRefused(server({ seq: s + 5000, ack: c, payload: payload(10) }));
    expect(row()).toEqual(before);
    expect(server({ seq: s + 5000 - 4000, ack: c })).toHaveLength(1);
  });

  it('N13: scaled windows count as scaled, the window of a SYN does not', () => {
    const { c, s } = establish({
      syn: { window: 1000, options: scale(7) },
      synAck: { window: 1000, options: scale(2) },
    });
    expect(server({ seq: s + 1000 * 128, ack: c, window: 0 })).toHaveLength(1);
    expect(server({ seq: s, ack: c, window: 1000 })).toHaveLength(1);
    expect(client({ seq: c + 4000, ack: s, window: 1000 })).toHaveLength(1);
    expectRefused(client({ seq: c + 4001, ack: s }));
  });

  it('N13: a scale that only one side offers is not in force', () => {
    const { c, s } = establish({ syn: { window: 1000, options: scale(7) } });
    expectRefused(server({ seq: s + 1001, ack: c }));
  });

  it('N13: a scale above 14 is 14', () => {
    const { c, s } = establish({ syn: { window: 1, options: scale(255) }, synAck: { options: scale(0) } });
    expect(server({ seq: s + (1 << 14), ack: c })).toHaveLength(1);
    expectRefused(server({ seq: s + (1 << 14) + 1, ack: c }));
  });

  it('N13: a SACK edge counts as an acknowledgment where SACK was agreed', () => {
    const sacked = { options: SACK_PERMITTED };
    const { c, s } = establish({ syn: sacked, synAck: { ...sacked, window: 1000 } });
    client({ seq: c, ack: s, payload: payload(500) });
    client({ seq: c + 500, ack: s, payload: payload(500) });
    expect(server({ seq: s, ack: c, window: 1000, options: sack(c + 500, c + 1000) })).toHaveLength(1);
    expect(client({ seq: c + 2000, ack: s })).toHaveLength(1);
    expectRefused(client({ seq: c + 2001, ack: s }));
  });

  it('N13: a SACK edge of what was never sent is dropped where SACK was agreed, and nothing elsewhere', () => {
    const sacked = { options: SACK_PERMITTED };
    const { c, s } = establish({ syn: sacked, synAck: sacked });
    expectRefused(server({ seq: s, ack: c, options: sack(c + 500, c + 1000) }));
    fabric = new Fabric();
    fabric.dataplane.apply([
      { op: 'service', service: service({ backends: [{ address: address4(IPS.b), port: 8080 }] }) },
    ]);
    establish();
    expect(server({ seq: s, ack: c, options: sack(c + 500, c + 1000) })).toHaveLength(1);
  });

  it('N13: sequence numbers wrap, in either direction', () => {
    const { c, s } = establish({
      c: 0xffffff00,
      s: 0xfffffff0,
      syn: { window: 1000 },
      synAck: { window: 1000 },
    });
    let [sent, got] = [c, s];
    for (let i = 0; i < 4; i++) {
      expect(client({ seq: sent, ack: got, window: 1000, payload: payload(300) })).toHaveLength(1);
      sent = (sent + 300) >>> 0;
      expect(server({ seq: got, ack: sent, window: 1000, payload: payload(200) })).toHaveLength(1);
      got = (got + 200) >>> 0;
    }
    expect(sent).toBeLessThan(2000);
    expectRefused(server({ seq: got, ack: (sent + 1) >>> 0 }));
  });

  it('N13: a super-frame counts with all its payload', () => {
    const { c, s } = establish({ synAck: { window: 0xffff } });
    const bytes = payload(20_000);
    const segment = tcp({
      from: IPS.a,
      to: VIP,
      sport: 4000,
      dport: 80,
      flags: 'A',
      seq: c,
      ack: s,
      payload: bytes,
    });
    const sum = partialSum(IPS.a, VIP, 6, segment.length - 20);
    segment.splice(36, 2, sum >>> 8, sum & 255);
    const offload = { csumStart: 34, csumOffset: 16, gsoType: Gso.TCPV4, gsoSize: 1400 };
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, segment), offload)).toHaveLength(1);
    expect(server({ seq: s, ack: c + 20_000 })).toHaveLength(1);
    expectRefused(server({ seq: s, ack: c + 20_001 }));
  });

  it('N13: a closed window admits the octet that probes it', () => {
    const { c, s } = establish({ syn: { window: 1000 } });
    server({ seq: s, ack: c, payload: payload(1000) });
    client({ seq: c, ack: s + 1000, window: 0 });
    expect(server({ seq: s + 1000, ack: c, payload: [1] })).toHaveLength(1);
    expect(server({ seq: s + 999, ack: c })).toHaveLength(1);
    expectRefused(server({ seq: s + 1002, ack: c }));
  });

  it('N13: a header longer than the segment, or shorter than a header, is invalid', () => {
    const { c, s } = establish();
    for (const words of [4, 6, 15]) {
      const segment = tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: 4000, flags: 'A', seq: s, ack: c });
      segment[32] = words << 4;
      expect(fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, segment))).toEqual([]);
    }
    expect(fabric.drops()).toEqual({ FLOW_INVALID: 3 });
  });

  it('N13: malformed options end the list and harm nobody', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 }), (options) => {
        const both = options.slice(0, 40);
        client({ flags: 'S', seq: CLIENT_SEQ, options: both });
        server({ flags: 'SA', seq: SERVER_SEQ, ack: CLIENT_SEQ + 1, options: both });
        client({ seq: CLIENT_SEQ + 1, ack: SERVER_SEQ + 1, options: both });
        expect(row().state).toMatch(/established|syn-/);
        client({ flags: 'R', seq: CLIENT_SEQ + 1 });
        fabric.advance(400_000);
      }),
      { numRuns: 200 },
    );
  });

  it('N13: liberal lets through what is out of the window, translated, and learns nothing from it', () => {
    const { c, s } = establish({ syn: { window: 1000 } });
    host({ tcpLiberal: true });
    const [sent] = server({ seq: s + 70_000, ack: c, payload: payload(10) });
    expect(readIpv4(sent!.frame)).toMatchObject({ from: VIP, sport: 80 });
    expect(readIpv4(server({ flags: 'R', seq: s + 70_000 })[0]!.frame)).toMatchObject({ from: VIP });
    expect(row().state).toBe('established');
    host({});
    expectRefused(client({ seq: c, ack: s + 70_010 }));
  });

  it('N13: what two ends of a connection do to each other over a network that loses and reorders passes', () => {
    const step = fc.record({
      who: fc.boolean(),
      bytes: fc.constantFrom(0, 1, 500, 1400),
      fate: fc.constantFrom('kept', 'kept', 'kept', 'lost', 'late', 'twice'),
      window: fc.constantFrom(0xffff, 4000, 1400, 0),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.nat(0xffffffff),
        fc.nat(0xffffffff),
        (steps, c0, s0) => {
          fabric.advance(400_000_000);
          const { c, s } = establish({ c: c0, s: s0 });
          const state = [
            { next: c, got: s, send: client },
            { next: s, got: c, send: server },
          ];
          // What each end may send: up to the last number its peer has room for.
          const limits = [(c + 0xfaf0) >>> 0, (s + 0xfaf0) >>> 0];
          const late: (() => void)[] = [];
          for (const { who, bytes, fate, window } of steps) {
            const me = who ? 0 : 1;
            const [mine, peer] = [state[me]!, state[me ^ 1]!];
            const room = (limits[me]! - mine.next) | 0;
            const length = Math.max(0, Math.min(bytes, room));
            const fields = { seq: mine.next, ack: mine.got, window, payload: payload(length) };
            const offered = (mine.got + window) >>> 0;
            mine.next = (mine.next + length) >>> 0;
            const deliver = (isLate: boolean) => {
              const sent = mine.send(fields);
              expect(sent, JSON.stringify({ ...fields, payload: length, me })).toHaveLength(1);
              if (fate === 'lost' && !isLate) return;
              if (fields.seq === peer.got) peer.got = (peer.got + length) >>> 0;
              if (((offered - limits[me ^ 1]!) | 0) > 0) limits[me ^ 1] = offered;
            };
            if (fate === 'late') late.push(() => deliver(true));
            else deliver(false);
            if (fate === 'twice') deliver(true);
            if (late.length > 2) late.shift()!();
            // What was lost is sent again from what the peer has got.
            if (fate === 'lost') mine.next = peer.got;
          }
          for (const deliver of late) deliver();
          client({ flags: 'R', seq: state[1]!.got });
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('connections that begin oddly', () => {
  it('N18: a client that lost its memory begins again on the port of a living connection', () => {
    establish();
    expect(client({ flags: 'S', seq: 900_000 })).toHaveLength(1);
    expect(row().state).toBe('established');
    const answer = server({ flags: 'SA', seq: 77_000_000, ack: 900_001 });
    expect(readIpv4(answer[0]!.frame)).toMatchObject({ from: VIP, flags: 'SA' });
    expect(row().state).toBe('syn-recv');
    expect(client({ seq: 900_001, ack: 77_000_001 })).toHaveLength(1);
    expect(row().state).toBe('established');
    expect(server({ seq: 77_000_001, ack: 900_001, payload: payload(10) })).toHaveLength(1);
    expect(fabric.drops()).toEqual({});
  });

  it('N18: an endpoint that still knows an older connection of these ports is reset, and the SYN gets through', () => {
    client({ flags: 'S', seq: 1000 });
    expect(server({ seq: 5_000, ack: 900_000 })).toHaveLength(1);
    expect(client({ flags: 'R', seq: 900_000 })).toHaveLength(1);
    expect(client({ flags: 'S', seq: 1000 })).toHaveLength(1);
    expect(server({ flags: 'SA', seq: 7000, ack: 1001 })).toHaveLength(1);
    expect(row().state).toBe('syn-recv');
    expect(fabric.drops()).toEqual({});
  });

  it('N18: a server that still knows the connection answers such a SYN with where it stands, and the client resets', () => {
    const { c, s } = establish();
    client({ flags: 'S', seq: 900_000 });
    expect(server({ seq: s, ack: c })).toHaveLength(1);
    expect(client({ flags: 'R', seq: c })).toHaveLength(1);
    expect(row().state).toBe('close');
    expect(client({ flags: 'S', seq: 900_000 })).toHaveLength(1);
    expect(row().state).toBe('syn-sent');
  });

  it('N18: an old SYN and its old answer, late, do not begin anything', () => {
    const { c, s } = establish();
    client({ seq: c, ack: s, payload: payload(1000) });
    client({ flags: 'S', seq: CLIENT_SEQ });
    server({ flags: 'SA', seq: SERVER_SEQ, ack: CLIENT_SEQ + 1 });
    expect(row().state).toBe('established');
    expect(client({ seq: c + 1000, ack: s, payload: payload(1000) })).toHaveLength(1);
    expect(server({ seq: s, ack: c + 2000 })).toHaveLength(1);
    expect(fabric.drops()).toEqual({});
  });

  it('N18: a lost handshake acknowledgment is made good by data', () => {
    client({ flags: 'S', seq: CLIENT_SEQ });
    server({ flags: 'SA', seq: SERVER_SEQ, ack: CLIENT_SEQ + 1 });
    expect(server({ flags: 'SA', seq: SERVER_SEQ, ack: CLIENT_SEQ + 1 })).toHaveLength(1);
    expect(client({ seq: CLIENT_SEQ + 1, ack: SERVER_SEQ + 1, payload: payload(100) })).toHaveLength(1);
    expect(server({ seq: SERVER_SEQ + 1, ack: CLIENT_SEQ + 101 })).toHaveLength(1);
    expect(row().state).toBe('established');
  });

  it('N18: simultaneous open agrees on scaled windows', () => {
    const [c, s] = [CLIENT_SEQ + 1, SERVER_SEQ + 1];
    client({ flags: 'S', seq: CLIENT_SEQ, window: 100, options: scale(4) });
    server({ flags: 'S', seq: SERVER_SEQ, window: 100, options: scale(4) });
    client({ flags: 'SA', seq: CLIENT_SEQ, ack: s, window: 100, options: scale(4) });
    server({ flags: 'SA', seq: SERVER_SEQ, ack: c, window: 100, options: scale(4) });
    client({ seq: c, ack: s, window: 100 });
    expect(row().state).toBe('established');
    expect(server({ seq: s + 1600, ack: c, window: 100 })).toHaveLength(1);
    expectRefused(server({ seq: s + 1601, ack: c }));
  });

  it('N13, N15: the last of several SYNs is the one that counts', () => {
    for (const seq of [0x70000000, 5, 0x90000000]) client({ flags: 'S', seq });
    expect(server({ flags: 'SA', seq: SERVER_SEQ, ack: 6 })).toEqual([]);
    expect(server({ flags: 'SA', seq: SERVER_SEQ, ack: 0x90000001 })).toHaveLength(1);
    expect(client({ seq: 0x90000001, ack: SERVER_SEQ + 1 })).toHaveLength(1);
    expect(row().state).toBe('established');
  });
});

describe('timers of TCP data', () => {
  it('N20: data that nobody acknowledges keeps the flow 300 s, its acknowledgment a day', () => {
    const { c, s } = establish();
    client({ seq: c, ack: s, payload: payload(10) });
    expect(row().expires).toBe(300);
    server({ seq: s, ack: c + 10 });
    expect(row().expires).toBe(86_400);
  });

  it('N20: so do more than three repetitions, and anything new undoes it', () => {
    const { c, s } = establish();
    const seen = Array.from({ length: 5 }, () => {
      client({ seq: c - 1, ack: s });
      return row().expires;
    });
    expect(seen).toEqual([86_400, 86_400, 86_400, 300, 300]);
    server({ seq: s, ack: c });
    expect(row().expires).toBe(86_400);
  });

  it('N20: timeouts are the host’s to set, from the next packet on', () => {
    const { c, s } = establish();
    host({ timeouts: sevenSeconds });
    expect(row().expires).toBe(86_400);
    client({ seq: c, ack: s });
    expect(row().expires).toBe(7);
    host({});
    client({ seq: c, ack: s });
    expect(row().expires).toBe(86_400);
  });

  it('N21: a flow whose source is translated has longer ones', () => {
    fabric.dataplane.apply([
      { op: 'service', service: service({ backends: [{ address: address4(IPS.a), port: 8080 }] }) },
    ]);
    host({ timeouts: sevenSeconds });
    client({ flags: 'S', seq: CLIENT_SEQ });
    expect(row()).toMatchObject({ snat: '10.77.0.1:4000', state: 'syn-sent', expires: 240 });
  });
});
