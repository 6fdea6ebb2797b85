import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { address4, Fabric, IPS, MACS, type Sent, service } from '../fabric.ts';
import { ethernet, readIpv4, type TcpFields, tcp } from '../frames.ts';

const VIP = '10.96.0.10';
const SYN_SEQ = 1000;
const PEER_SEQ = 5000;

/** The state table of semantics N12, cell by cell as printed there; RST has its own tests. */
const STATES =
  'NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2'.split(' ');
const TABLE: Record<string, string[]> = {
  'initiator SYN': 'SYN_SENT SYN_SENT ign ign ign ign ign new new SYN_SENT2'.split(' '),
  'initiator SYN+ACK': 'inv inv ign ign ign ign ign ign ign SYN_RECV'.split(' '),
  'initiator FIN': 'inv inv FIN_WAIT FIN_WAIT LAST_ACK LAST_ACK LAST_ACK TIME_WAIT CLOSE inv'.split(' '),
  'initiator ACK':
    'rst inv ESTABLISHED ESTABLISHED CLOSE_WAIT CLOSE_WAIT TIME_WAIT TIME_WAIT CLOSE inv'.split(' '),
  'responder SYN': 'inv SYN_SENT2 inv inv inv inv inv inv inv SYN_SENT2'.split(' '),
  'responder SYN+ACK': 'inv SYN_RECV ign ign ign ign ign ign ign SYN_RECV'.split(' '),
  'responder FIN': 'inv inv FIN_WAIT FIN_WAIT LAST_ACK LAST_ACK LAST_ACK TIME_WAIT CLOSE inv'.split(' '),
  'responder ACK': 'inv ign SYN_RECV ESTABLISHED CLOSE_WAIT CLOSE_WAIT TIME_WAIT TIME_WAIT CLOSE ign'.split(
    ' ',
  ),
  'initiator none': new Array(10).fill('inv'),
  'responder none': new Array(10).fill('inv'),
};
/** Idle seconds of N20. */
const SECONDS: Record<string, number> = {
  SYN_SENT: 120,
  SYN_SENT2: 120,
  SYN_RECV: 60,
  ESTABLISHED: 86_400,
  FIN_WAIT: 120,
  CLOSE_WAIT: 3600,
  LAST_ACK: 30,
  TIME_WAIT: 120,
  CLOSE: 10,
};
/** Idle seconds, at most, once one side has sent more than three segments in a row that only repeat others (N20). */
const STALLED = 300;
const FLAGS: Record<string, string> = { SYN: 'S', 'SYN+ACK': 'SA', FIN: 'FA', ACK: 'A', none: '' };
const KINDS = Object.keys(TABLE);

/** A client port of `a` talking to the Service, whose only backend is `b`. */
class Connection {
  constructor(
    readonly fabric: Fabric,
    readonly sport: number,
  ) {}

  initiator(flags: string, fields: Partial<TcpFields> = {}): Sent[] {
    const packet = tcp({
      from: IPS.a,
      to: VIP,
      sport: this.sport,
      dport: 80,
      flags,
      seq: SYN_SEQ,
      ...fields,
    });
    return this.fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, packet));
  }

  responder(flags: string, fields: Partial<TcpFields> = {}): Sent[] {
    const packet = tcp({
      from: IPS.b,
      to: IPS.a,
      sport: 8080,
      dport: this.sport,
      flags,
      seq: PEER_SEQ,
      ...fields,
    });
    return this.fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, packet));
  }

  send(kind: string): Sent[] {
    const [side, what] = kind.split(' ') as ['initiator' | 'responder', string];
    return this[side](FLAGS[what]!);
  }

  /** Name of the state as N12 has it, NONE without a flow. */
  get state(): string {
    return this.row === undefined ? 'NONE' : this.row.state.replace('-', '_').toUpperCase();
  }

  get row(): FlowRow | undefined {
    const rows = dump(this.fabric.dataplane, 'flows') as FlowRow[];
    return rows.find((row) => row.client === `${IPS.a}:${this.sport}`);
  }

  /** Three-way handshake, as both ends number it. */
  establish(): this {
    this.initiator('S');
    this.responder('SA', { ack: SYN_SEQ + 1 });
    this.initiator('A', { seq: SYN_SEQ + 1, ack: PEER_SEQ + 1 });
    return this;
  }
}

let fabric: Fabric;
let port = 1024;
const fresh = () => new Connection(fabric, ++port);
beforeAll(() => {
  fabric = new Fabric();
  fabric.dataplane.apply([
    { op: 'service', service: service({ backends: [{ address: address4(IPS.b), port: 8080 }] }) },
  ]);
});

/** Segments that lead to each state. */
const PATHS: Record<string, string[]> = {
  NONE: [],
  SYN_SENT: ['initiator SYN'],
  SYN_RECV: ['initiator SYN', 'responder SYN+ACK'],
  ESTABLISHED: ['initiator SYN', 'responder SYN+ACK', 'initiator ACK'],
  FIN_WAIT: ['initiator SYN', 'responder SYN+ACK', 'initiator ACK', 'initiator FIN'],
  CLOSE_WAIT: ['initiator SYN', 'responder SYN+ACK', 'initiator ACK', 'responder FIN', 'initiator ACK'],
  LAST_ACK: ['initiator SYN', 'responder SYN+ACK', 'initiator ACK', 'initiator FIN', 'responder FIN'],
  TIME_WAIT: [
    'initiator SYN',
    'responder SYN+ACK',
    'initiator ACK',
    'initiator FIN',
    'responder FIN',
    'initiator ACK',
  ],
  SYN_SENT2: ['initiator SYN', 'responder SYN'],
};

/** What must leave the switch, checked against the verdict of the table. */
function judge(kind: string, verdict: string, state: string, sent: Sent[], sport: number): void {
  const side = kind.split(' ')[0];
  if (state === 'NONE' && side === 'responder') {
    // Without a flow it is plain bridged traffic, and never invalid (N5).
    expect(sent.map((s) => [s.to, readIpv4(s.frame).from])).toEqual([['a', IPS.b]]);
  } else if (state === 'NONE' && verdict !== 'SYN_SENT') {
    expect(sent.every((s) => s.to === 'a' && readIpv4(s.frame).flags.includes('R'))).toBe(true);
  } else if (verdict === 'inv') {
    expect(sent).toEqual([]);
  } else {
    expect(sent).toHaveLength(1);
    const { from, to, sport: source, dport } = readIpv4(sent[0]!.frame);
    if (side === 'initiator') {
      expect([sent[0]!.to, from, source, to, dport]).toEqual(['b', IPS.a, sport, IPS.b, 8080]);
    } else {
      expect([sent[0]!.to, from, source, to, dport]).toEqual(['a', VIP, 80, IPS.a, sport]);
    }
  }
}

describe('the TCP state table', () => {
  const cells = Object.keys(PATHS).flatMap((state) => KINDS.map((kind) => ({ state, kind })));
  it.each(cells)('N12: $kind in $state', ({ state, kind }) => {
    const connection = fresh();
    for (const step of PATHS[state]!) connection.send(step);
    expect(connection.state).toBe(state);
    const verdict = TABLE[kind]![STATES.indexOf(state)]!;
    judge(kind, verdict, state, connection.send(kind), connection.sport);
    const unchanged = ['ign', 'inv', 'rst'].includes(verdict);
    const next = unchanged ? state : verdict === 'new' ? 'SYN_SENT' : verdict;
    expect(connection.state).toBe(state === 'NONE' && kind.startsWith('responder') ? 'NONE' : next);
  });

  it.each(KINDS)('N12: %s in CLOSE', (kind) => {
    const connection = fresh().establish();
    connection.responder('RA', { seq: PEER_SEQ + 1 });
    expect(connection.state).toBe('CLOSE');
    const verdict = TABLE[kind]![STATES.indexOf('CLOSE')]!;
    judge(kind, verdict, 'CLOSE', connection.send(kind), connection.sport);
    expect(connection.state).toBe(verdict === 'new' ? 'SYN_SENT' : 'CLOSE');
  });

  it.each(['SF', 'SR', 'SFA', 'FR', 'F', 'P', 'SFRPA'])('N12: "%s" means nothing, in no state', (flags) => {
    for (const [state, path] of Object.entries(PATHS)) {
      const connection = fresh();
      for (const step of path) connection.send(step);
      const { sport } = connection;
      const refused = connection.initiator(flags, { seq: SYN_SEQ + 1, ack: PEER_SEQ + 1 });
      expect(refused.every(({ to, frame }) => to === 'a' && readIpv4(frame).flags.includes('R'))).toBe(true);
      if (state !== 'NONE') {
        expect(refused).toEqual([]);
        expect(connection.responder(flags, { seq: PEER_SEQ + 1, ack: SYN_SEQ + 1 })).toEqual([]);
      }
      expect(connection.state, `${sport}`).toBe(state);
    }
  });

  it('N12, N19, N20: any sequence of segments and pauses follows the table and its timers', () => {
    const step = fc.record({ kind: fc.constantFrom(...KINDS), pause: fc.constantFrom(0, 1, 9, 29, 61) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) => {
        const connection = fresh();
        let state = 'NONE';
        let deadline = 0;
        // All segments of a side carry the same numbers: each judged by the window repeats the one before it.
        let repeats = { side: '', count: 0 };
        for (const { kind, pause } of steps) {
          fabric.card.now += pause * 1000;
          const { now } = fabric.card;
          if (state !== 'NONE' && now >= deadline) state = 'NONE';
          const verdict = TABLE[kind]![STATES.indexOf(state)]!;
          judge(kind, verdict, state, connection.send(kind), connection.sport);
          if (state === 'NONE' && kind.startsWith('responder')) continue;
          if (!['ign', 'inv', 'rst'].includes(verdict)) {
            const [side, what] = kind.split(' ') as [string, string];
            if (state === 'NONE' || verdict === 'new') repeats = { side: '', count: 0 };
            state = verdict === 'new' ? 'SYN_SENT' : verdict;
            let seconds = SECONDS[state]!;
            if (what !== 'SYN') {
              repeats = { side, count: side === repeats.side ? repeats.count + 1 : 1 };
              if (repeats.count > 3) seconds = Math.min(seconds, STALLED);
            }
            deadline = now + seconds * 1000;
          }
          expect(connection.state).toBe(state);
          if (state !== 'NONE') expect(connection.row!.expires).toBe((deadline - now) / 1000);
        }
      }),
      { numRuns: 20000 },
    );
  });

  it.each(Object.keys(PATHS).filter((state) => state !== 'NONE'))(
    'N20: the idle time of %s, to the millisecond',
    (state) => {
      const connection = fresh();
      for (const step of PATHS[state]!) connection.send(step);
      fabric.advance(SECONDS[state]! * 1000 - 1);
      expect(connection.state).toBe(state);
      fabric.advance(1);
      expect(connection.state).toBe('NONE');
    },
  );
});

describe('resets', () => {
  it('N14: exactly the sequence last asked for ends the flow, from either side', () => {
    const byResponder = fresh().establish();
    const sent = byResponder.responder('R', { seq: PEER_SEQ + 1 });
    expect(readIpv4(sent[0]!.frame)).toMatchObject({ from: VIP, sport: 80, flags: 'R', seq: PEER_SEQ + 1 });
    expect(byResponder.state).toBe('CLOSE');
    const byInitiator = fresh().establish();
    byInitiator.initiator('RA', { seq: SYN_SEQ + 1, ack: PEER_SEQ + 1 });
    expect(byInitiator.state).toBe('CLOSE');
  });

  it.each([PEER_SEQ + 2, PEER_SEQ + 1000, PEER_SEQ + 1 + 0xfaf0])(
    'N14: sequence %i is inexact: forwarded, state and timer unchanged',
    (seq) => {
      const connection = fresh().establish();
      fabric.advance(5000);
      const before = connection.row!.expires;
      const sent = connection.responder('R', { seq });
      expect(readIpv4(sent[0]!.frame)).toMatchObject({ from: VIP, sport: 80, flags: 'R' });
      expect(connection.state).toBe('ESTABLISHED');
      expect(connection.row!.expires).toBe(before);
    },
  );

  it.each([PEER_SEQ, PEER_SEQ + 2 + 0xfaf0, PEER_SEQ - 100_000])(
    'N14: sequence %i is outside: dropped, the flow untouched',
    (seq) => {
      const connection = fresh().establish();
      fabric.advance(5000);
      const before = connection.row;
      expect(connection.responder('R', { seq: seq >>> 0 })).toEqual([]);
      expect(connection.row).toEqual(before);
    },
  );

  it('N12, N14: in CLOSE a reset in the window restarts the timer, one outside is dropped', () => {
    const connection = fresh().establish();
    connection.responder('R', { seq: PEER_SEQ + 1 });
    fabric.advance(5000);
    expect(connection.responder('R', { seq: PEER_SEQ + 9 })).toHaveLength(1);
    expect(connection.row).toMatchObject({ state: 'close', expires: 10 });
    expect(connection.responder('R', { seq: PEER_SEQ })).toEqual([]);
  });

  it('N14: data moves what is exact', () => {
    const connection = fresh().establish();
    connection.responder('A', { seq: PEER_SEQ + 1, ack: SYN_SEQ + 1, payload: new Array(100).fill(1) });
    connection.initiator('A', { seq: SYN_SEQ + 1, ack: PEER_SEQ + 101 });
    expect(connection.responder('R', { seq: PEER_SEQ + 1 })).toEqual([]);
    expect(connection.state).toBe('ESTABLISHED');
    connection.responder('R', { seq: PEER_SEQ + 101 });
    expect(connection.state).toBe('CLOSE');
  });

  it('N14: in SYN_SENT a reset must acknowledge the SYN', () => {
    const connection = fresh();
    connection.initiator('S');
    for (const fields of [
      { flags: 'R', seq: 0 },
      { flags: 'RA', ack: SYN_SEQ },
      { flags: 'RA', ack: SYN_SEQ + 2 },
    ]) {
      expect(connection.responder(fields.flags, fields)).toEqual([]);
      expect(connection.state).toBe('SYN_SENT');
    }
    const [refused] = connection.responder('RA', { seq: 0, ack: SYN_SEQ + 1 });
    expect(readIpv4(refused!.frame)).toMatchObject({ from: VIP, sport: 80, flags: 'RA', ack: SYN_SEQ + 1 });
    expect(connection.state).toBe('CLOSE');
  });

  it('N14: in SYN_SENT a reset that acknowledges a second SYN of another sequence counts too', () => {
    const connection = fresh();
    connection.initiator('S', { seq: 1 });
    connection.initiator('S', { seq: 7000 });
    connection.responder('RA', { seq: 0, ack: 7001 });
    expect(connection.state).toBe('CLOSE');
  });

  it('N14: sequence numbers wrap', () => {
    const connection = fresh();
    connection.initiator('S', { seq: 0xffffffff });
    connection.responder('RA', { seq: 0, ack: 0 });
    expect(connection.state).toBe('CLOSE');
  });

  it('N14, N20: a closed flow lives 10 s, and forwards the end of the conversation until then', () => {
    const connection = fresh().establish();
    connection.responder('R', { seq: PEER_SEQ + 1 });
    fabric.advance(9999);
    expect(connection.state).toBe('CLOSE');
    fabric.advance(1);
    expect(connection.state).toBe('NONE');
  });
});

describe('new flows', () => {
  const two = () => {
    const both = new Fabric();
    both.dataplane.apply([
      {
        op: 'service',
        service: service({
          backends: [IPS.b, IPS.c].map((ip) => ({ address: address4(ip), port: 8080 })),
        }),
      },
    ]);
    return both;
  };
  const backendOf = (sent: Sent[]) => sent[0]!.to;

  it('N15: a retransmitted SYN reaches the same backend and does not advance the round robin', () => {
    const both = two();
    const first = new Connection(both, 4000);
    const chosen = backendOf(first.initiator('S'));
    for (let i = 0; i < 5; i++) {
      both.advance(1000);
      expect(backendOf(first.initiator('S'))).toBe(chosen);
    }
    expect(backendOf(new Connection(both, 4001).initiator('S'))).not.toBe(chosen);
  });

  it('N15: a SYN in TIME_WAIT or CLOSE starts over with a new choice', () => {
    const both = two();
    const connection = new Connection(both, 4000);
    const answer = (flags: string, fields: Partial<TcpFields>) =>
      both.from(
        'b',
        ethernet(
          { src: MACS.b, dst: MACS.a },
          tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: 4000, flags, ...fields }),
        ),
      );
    expect(backendOf(connection.initiator('S'))).toBe('b');
    answer('SA', { seq: PEER_SEQ, ack: SYN_SEQ + 1 });
    connection.initiator('A', { seq: SYN_SEQ + 1, ack: PEER_SEQ + 1 });
    connection.initiator('FA', { seq: SYN_SEQ + 1, ack: PEER_SEQ + 1 });
    answer('FA', { seq: PEER_SEQ + 1, ack: SYN_SEQ + 2 });
    expect(backendOf(connection.initiator('S'))).toBe('b');
    connection.initiator('A', { seq: SYN_SEQ + 2, ack: PEER_SEQ + 2 });
    expect(connection.state).toBe('TIME_WAIT');
    expect(backendOf(connection.initiator('S'))).toBe('c');
    expect(connection.state).toBe('SYN_SENT');
    expect(connection.row!.packets).toBe(1);
  });

  it('N4, N26: a client port in use through a VIP reaches the backend directly by another', () => {
    const connection = fresh();
    const { sport } = connection;
    const direct = () =>
      readIpv4(
        fabric.from(
          'a',
          ethernet(
            { src: MACS.a, dst: MACS.b },
            tcp({ from: IPS.a, to: IPS.b, sport, dport: 8080, flags: 'S', seq: SYN_SEQ }),
          ),
        )[0]!.frame,
      );
    const answer = () => readIpv4(connection.responder('SA', { ack: SYN_SEQ + 1 })[0]!.frame);
    for (const step of PATHS.ESTABLISHED!) connection.send(step);
    const { from, sport: other } = direct();
    expect([from, other === sport]).toEqual([IPS.a, false]);
    expect(answer()).toMatchObject({ from: VIP, dport: sport });
    const [back] = fabric.from(
      'b',
      ethernet(
        { src: MACS.b, dst: MACS.a },
        tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: other, flags: 'SA', seq: 1, ack: SYN_SEQ + 1 }),
      ),
    );
    expect(readIpv4(back!.frame)).toMatchObject({ from: IPS.b, sport: 8080, dport: sport });
  });

  it('N4: a client port that was used through a VIP reaches the backend directly once that is over', () => {
    const connection = fresh();
    const { sport } = connection;
    for (const step of PATHS.TIME_WAIT!) connection.send(step);
    const syn = tcp({ from: IPS.a, to: IPS.b, sport, dport: 8080, flags: 'S', seq: SYN_SEQ });
    const [sent] = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.b }, syn));
    expect(readIpv4(sent!.frame)).toMatchObject({ sport, to: IPS.b });
    expect(connection.state).toBe('NONE');
    const answer = readIpv4(connection.responder('SA', { ack: SYN_SEQ + 1 })[0]!.frame);
    expect(answer).toMatchObject({ from: IPS.b, sport: 8080, to: IPS.a, dport: sport });
  });

  it.each(['A', 'FA', 'PA', 'F', ''])('N16: "%s" without a flow is reset at once and makes none', (flags) => {
    const connection = fresh();
    const sent = connection.initiator(flags, { ack: 77 });
    expect(sent.map((s) => s.to)).toEqual(['a']);
    expect(readIpv4(sent[0]!.frame)).toMatchObject({
      from: VIP,
      to: IPS.a,
      sport: 80,
      dport: connection.sport,
    });
    expect(readIpv4(sent[0]!.frame).flags).toContain('R');
    expect(connection.state).toBe('NONE');
  });

  it('N16: the reset takes its sequence from the acknowledgment, or acknowledges all it saw', () => {
    const acked = fresh().initiator('A', { ack: 77 });
    expect(readIpv4(acked[0]!.frame)).toMatchObject({ flags: 'R', seq: 77, ack: 0 });
    const bare = fresh().initiator('F', { payload: [1, 2, 3] });
    expect(readIpv4(bare[0]!.frame)).toMatchObject({ flags: 'RA', seq: 0, ack: SYN_SEQ + 4 });
  });

  it('N16: a reset is not answered by a reset', () => {
    expect(fresh().initiator('R')).toEqual([]);
    expect(fresh().initiator('RA')).toEqual([]);
  });

  it('N18: simultaneous open works', () => {
    const connection = fresh();
    connection.initiator('S');
    connection.responder('S');
    expect(connection.state).toBe('SYN_SENT2');
    connection.initiator('SA');
    connection.responder('SA');
    expect(connection.state).toBe('SYN_RECV');
    connection.initiator('A');
    expect(connection.state).toBe('ESTABLISHED');
  });
});
