/** Services of SCTP: associations through them, their states, and the one sum that covers ports and no addresses. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { address4, type Fabric, IPS, MACS, type Sent, service } from '../fabric.ts';
import { address6, dual, IPS6 } from '../fabric6.ts';
import { checksumsAreRight, ethernet, icmp, ipv4, readIpv4 } from '../frames.ts';
import {
  addressBytes,
  chunk,
  crc32c,
  data,
  initiate,
  readSctp,
  type SctpFields,
  sctp,
  sctpBytes,
} from '../sctp.ts';

const VIP = '10.96.0.10';
const VIP6 = 'fd00:96::10';
const CLIENT = 0x11111111;
const SERVER = 0x22222222;

const shop = (overrides: Partial<ServiceConfig> = {}): Op => ({
  op: 'service',
  service: service({
    id: 1,
    name: 'default/signal:s1',
    protocol: 132,
    port: 36_412,
    backends: [{ address: address4(IPS.b), port: 8080 }],
    ...overrides,
  }),
});
const shop6 = shop({
  id: 2,
  name: 'default/signal:s1',
  vip: address6(VIP6),
  backends: [{ address: address6(IPS6.b), port: 8080 }],
});
const host = (timeouts: object = {}): Op => ({
  op: 'host',
  host: { underlayAddresses: [], vxlanPorts: [4789], maxFlows: 1024, ...timeouts },
});

/** An association of `a` with the service, whose endpoint is `b`. */
class Association {
  readonly fabric: Fabric;
  readonly isV6: boolean;
  constructor({ isV6 = false, ops = [shop(), shop6] as readonly Op[] } = {}) {
    this.isV6 = isV6;
    this.fabric = dual(...ops);
  }

  client(tag: number, ...chunks: number[][]): Sent[] {
    return this.send('a', { tag, chunks });
  }

  server(tag: number, ...chunks: number[][]): Sent[] {
    return this.send('b', { tag, chunks });
  }

  send(side: 'a' | 'b', fields: Partial<SctpFields> & Pick<SctpFields, 'tag' | 'chunks'>): Sent[] {
    const ips = this.isV6 ? IPS6 : IPS;
    const type = this.isV6 ? 0x86dd : 0x0800;
    const vip = this.isV6 ? VIP6 : VIP;
    if (side === 'a') {
      const packet = sctp({ from: ips.a, to: vip, sport: 40_000, dport: 36_412, ...fields });
      return this.fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway, type }, packet));
    }
    const packet = sctp({ from: ips.b, to: ips.a, sport: 8080, dport: 40_000, ...fields });
    return this.fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a, type }, packet));
  }

  establish(): this {
    this.client(0, initiate('INIT', CLIENT));
    this.server(CLIENT, initiate('INIT ACK', SERVER));
    this.client(SERVER, chunk('COOKIE ECHO', [1, 2, 3, 4]));
    this.server(CLIENT, chunk('COOKIE ACK'));
    return this;
  }

  get flows(): FlowRow[] {
    return dump(this.fabric.dataplane, 'flows') as FlowRow[];
  }

  get state(): string {
    return this.flows[0]?.state ?? 'none';
  }
}

const STATES = [
  'closed',
  'cookie-wait',
  'cookie-echoed',
  'established',
  'shutdown-sent',
  'shutdown-recd',
  'shutdown-ack-sent',
];
const SHORT: Readonly<Record<string, string>> = {
  CL: 'closed',
  CW: 'cookie-wait',
  CE: 'cookie-echoed',
  ES: 'established',
  SS: 'shutdown-sent',
  SR: 'shutdown-recd',
  SA: 'shutdown-ack-sent',
};
/** What leads there. */
function inState(state: string): Association {
  const one = new Association();
  one.client(0, initiate('INIT', CLIENT));
  const steps: (() => void)[] = [
    () => one.server(CLIENT, initiate('INIT ACK', SERVER)),
    () => one.client(SERVER, chunk('COOKIE ECHO')),
    () => one.server(CLIENT, chunk('COOKIE ACK')),
  ];
  const at = STATES.indexOf(state);
  for (const step of steps.slice(0, Math.min(at, 3))) step();
  if (state === 'shutdown-sent' || state === 'shutdown-ack-sent')
    one.client(SERVER, chunk('SHUTDOWN', [0, 0, 0, 1]));
  if (state === 'shutdown-recd') one.server(CLIENT, chunk('SHUTDOWN', [0, 0, 0, 1]));
  if (state === 'shutdown-ack-sent') one.server(CLIENT, chunk('SHUTDOWN ACK'));
  expect(one.state).toBe(state);
  return one;
}

describe('N32: translation', () => {
  it.each([[false], [true]])(
    'N32: ports and addresses both ways, the sum right at every step (IPv6: %s)',
    (isV6) => {
      const one = new Association({ isV6 });
      const ips = isV6 ? IPS6 : IPS;
      const steps: [() => Sent[], boolean, string][] = [
        [() => one.client(0, initiate('INIT', CLIENT)), true, 'closed'],
        [() => one.server(CLIENT, initiate('INIT ACK', SERVER)), false, 'cookie-wait'],
        [() => one.client(SERVER, chunk('COOKIE ECHO', [9, 8, 7])), true, 'cookie-echoed'],
        [() => one.server(CLIENT, chunk('COOKIE ACK')), false, 'established'],
        [() => one.client(SERVER, data([1, 2, 3, 4, 5])), true, 'established'],
        [
          () => one.server(CLIENT, chunk('SACK', new Array(12).fill(0)), data(new Array(1200).fill(7))),
          false,
          'established',
        ],
        [() => one.client(SERVER, chunk('SHUTDOWN', [0, 0, 0, 1])), true, 'shutdown-sent'],
        [() => one.server(CLIENT, chunk('SHUTDOWN ACK')), false, 'shutdown-ack-sent'],
        [() => one.client(SERVER, chunk('SHUTDOWN COMPLETE')), true, 'closed'],
      ];
      for (const [step, isThere, state] of steps) {
        const sent = step();
        expect(sent.map(({ to }) => to)).toEqual([isThere ? 'b' : 'a']);
        const seen = readSctp(sent[0]!.frame);
        expect(seen).toMatchObject(
          isThere
            ? {
                from: addressBytes(ips.a),
                to: addressBytes(ips.b),
                sport: 40_000,
                dport: 8080,
                isRight: true,
              }
            : {
                from: addressBytes(isV6 ? VIP6 : VIP),
                to: addressBytes(ips.a),
                sport: 36_412,
                dport: 40_000,
                isRight: true,
              },
        );
        expect(one.state).toBe(state);
      }
      expect(one.flows).toMatchObject([{ protocol: 'sctp', service: 'default/signal:s1' }]);
      expect(one.fabric.drops()).toEqual({});
    },
  );

  it('N31, N32: of a client that is its own endpoint both ends change, and the sum with them', () => {
    const one = new Association({ ops: [shop({ backends: [{ address: address4(IPS.a), port: 8080 }] })] });
    const [sent] = one.client(0, initiate('INIT', CLIENT));
    expect(readSctp(sent!.frame)).toMatchObject({
      ...{ from: addressBytes(IPS.gateway), to: addressBytes(IPS.a), dport: 8080, isRight: true },
    });
  });

  it('N40: a wrong sum stays equally wrong, 0 stays none, and Ethernet padding does not count', () => {
    const one = new Association().establish();
    const chunks = [data([1])];
    const right = readSctp(one.send('a', { tag: SERVER, chunks })[0]!.frame).sum;
    const given = crc32c([...sctpBytes({ sport: 40_000, dport: 36_412, tag: SERVER, chunks, sum: 0 })]);
    const wrong = readSctp(one.send('a', { tag: SERVER, chunks, sum: given ^ 0x1234 })[0]!.frame);
    expect([wrong.isRight, wrong.sum]).toEqual([false, (right ^ 0x1234) >>> 0]);
    expect(readSctp(one.send('a', { tag: SERVER, chunks, sum: 0 })[0]!.frame).sum).toBe(0);
    const packet = sctp({ from: IPS.a, to: VIP, sport: 40_000, dport: 36_412, tag: SERVER, chunks });
    const padded = ethernet({ src: MACS.a, dst: MACS.gateway }, [...packet, 1, 2, 3, 4, 5]);
    expect(readSctp(one.fabric.from('a', padded)[0]!.frame)).toMatchObject({ sum: right, isRight: true });
  });

  it('N36, N32: fragments of a packet get one translation and one right sum', () => {
    const one = new Association().establish();
    const chunks = [data(new Array(1500).fill(3))];
    const bytes = sctpBytes({ sport: 40_000, dport: 36_412, tag: SERVER, chunks });
    const part = (at: number, end: number, isMore: boolean) =>
      ethernet(
        { src: MACS.a, dst: MACS.gateway },
        ipv4(
          { from: IPS.a, to: VIP, protocol: 132, id: 5, fragment: (isMore ? 0x2000 : 0) | (at >> 3) },
          bytes.slice(at, end),
        ),
      );
    expect(one.fabric.from('a', part(800, bytes.length, false))).toEqual([]);
    const sent = one.fabric.from('a', part(0, 800, true));
    expect(sent.map(({ to }) => to)).toEqual(['b', 'b']);
    const whole = sent.flatMap(({ frame }) => [...readIpv4(frame).body]);
    const joined = Uint8Array.from([
      ...new Uint8Array(12),
      8,
      0,
      ...ipv4({ from: IPS.a, to: IPS.b, protocol: 132 }, whole),
    ]);
    expect(readSctp(joined)).toMatchObject({ dport: 8080, isRight: true });
  });

  it('N45, N46: an ICMP error about a packet reaches its sender in its own terms', () => {
    const one = new Association().establish();
    const there = readIpv4(one.client(SERVER, data([1, 2, 3]))[0]!.frame);
    const quoted = [...there.packet.subarray(0, 28)];
    const error = icmp('192.0.2.254', IPS.a, [3, 4, 0, 0, 0, 0, 5, 120, ...quoted]);
    const [back] = one.fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, error));
    const seen = readIpv4(back!.frame);
    expect([seen.from, seen.icmp, checksumsAreRight(seen.packet)]).toEqual([VIP, '3/4', true]);
    expect([...seen.body.subarray(8 + 16, 8 + 24)]).toEqual([...addressBytes(VIP), 0x9c, 0x40, 0x8e, 0x3c]);
  });
});

describe('S15, S16: what else a service answers', () => {
  it('S16: without endpoints the client is told by ICMP, as kube-proxy’s reject does', () => {
    const one = new Association({ ops: [shop({ backends: [] })] });
    const sent = one.client(0, initiate('INIT', CLIENT));
    expect(sent.map(({ to, frame }) => [to, readIpv4(frame).icmp])).toEqual([['a', '3/3']]);
    expect(one.fabric.drops()).toEqual({ NO_ENDPOINT: 1 });
  });

  it('S15: another port of the address is refused, and a cut-off header dropped', () => {
    const one = new Association();
    const fields = { from: IPS.a, to: VIP, sport: 1, dport: 2, tag: 0, chunks: [initiate('INIT', 1)] };
    const [refused] = one.fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, sctp(fields)));
    expect(readIpv4(refused!.frame).icmp).toBe('3/3');
    const short = ipv4({ from: IPS.a, to: VIP, protocol: 132 }, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(one.fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, short))).toEqual([]);
    expect(one.fabric.drops()).toEqual({ NO_SUCH_SERVICE_PORT: 1, BAD_IP_HEADER: 1 });
  });

  it('S17: a node port of SCTP is another than that of TCP', () => {
    const node = { nodeAddresses: [address4('192.0.2.1')] };
    const one = new Association({ ops: [host(node), shop({ nodePort: 30_036 })] });
    const to = { to: '192.0.2.1', dport: 30_036 };
    const [sent] = one.send('a', { tag: 0, chunks: [initiate('INIT', CLIENT)], ...to });
    expect(readSctp(sent!.frame)).toMatchObject({ to: addressBytes(IPS.b), dport: 8080, isRight: true });
  });
});

describe('N12: states of an association', () => {
  /** nf_conntrack_proto_sctp.c, sctp_conntracks, as printed there: rows of chunks, columns of STATES. */
  const TABLE = `
    client INIT              CL CW CE ES CL CL SA
    client INIT ACK          CL CW CE ES SS SR SA
    client ABORT             CL CL CL CL CL CL CL
    client SHUTDOWN          CL CW CE SS SS SR SA
    client SHUTDOWN ACK      CL CW CE ES SA SA SA
    client ERROR             CL CW CE ES SS SR SA
    client COOKIE ECHO       CL CE CE ES SS SR SA
    client COOKIE ACK        CL CW ES ES SS SR SA
    client SHUTDOWN COMPLETE CL CW CE ES SS SR CL
    client HEARTBEAT         CL CW CE ES SS SR SA
    client HEARTBEAT ACK     CL CW CE ES SS SR SA
    client DATA              CL CW CE ES SS SR SA
    client SACK              CL CW CE ES SS SR SA
    client 128               CL CW CE ES SS SR SA
    server INIT              CL CW CE ES SS SR SA
    server INIT ACK          CW CW CE ES SS SR SA
    server ABORT             CL CL CL CL CL CL CL
    server SHUTDOWN          CL CW CE SR SS SR SA
    server SHUTDOWN ACK      CL CW CE ES SA SA SA
    server ERROR             CL CW CL ES SS SR SA
    server COOKIE ECHO       CL CE CE ES SS SR SA
    server COOKIE ACK        CL CW ES ES SS SR SA
    server SHUTDOWN COMPLETE CL CW CE ES SS SR CL
    server HEARTBEAT         CL CW CE ES SS SR SA
    server HEARTBEAT ACK     CL CW CE ES SS SR SA
    server DATA              CL CW CE ES SS SR SA
    server SACK              CL CW CE ES SS SR SA`
    .trim()
    .split('\n')
    .map(
      (line) =>
        /^(client|server) (.+?)\s+((?:[A-Z]{2} ?){7})$/.exec(line.trim())!.slice(1) as [
          string,
          string,
          string,
        ],
    );

  it.each(TABLE)('N12: %s %s', (side, type, row) => {
    row
      .trim()
      .split(' ')
      .forEach((next, i) => {
        const one = inState(STATES[i]!);
        const isClient = side === 'client';
        // Before the responder has spoken, nobody knows the tag the initiator is to use.
        const own = isClient ? (i === 0 ? 0 : SERVER) : CLIENT;
        const peer = isClient ? CLIENT : SERVER;
        const isHandshake = type === 'INIT' || type === 'INIT ACK';
        const bytes = isHandshake
          ? initiate(type, peer)
          : type === 'DATA'
            ? data([1])
            : chunk(type, [0, 0, 0, 1]);
        const sent = one.send(isClient ? 'a' : 'b', { tag: type === 'INIT' ? 0 : own, chunks: [bytes] });
        expect([STATES[i], sent.length, one.state]).toEqual([STATES[i], 1, SHORT[next]]);
      });
  });

  it.each([
    ['data', data([1])],
    ['SHUTDOWN', chunk('SHUTDOWN', [0, 0, 0, 1])],
    ['COOKIE ECHO', chunk('COOKIE ECHO')],
    ['ABORT', chunk('ABORT')],
    ['SHUTDOWN COMPLETE', chunk('SHUTDOWN COMPLETE')],
    ['an INIT', initiate('INIT', 5)],
  ])('N13: %s with another tag is dropped and changes nothing', (_what, bytes) => {
    const one = new Association().establish();
    expect(one.client(0x33333333, bytes)).toEqual([]);
    expect([one.state, one.fabric.drops()]).toEqual(['established', { FLOW_INVALID: 1 }]);
  });

  it('N13: ABORT and SHUTDOWN COMPLETE may reflect the tag when they say so (T)', () => {
    const one = new Association().establish();
    expect(one.client(CLIENT, chunk('ABORT', [], 0))).toEqual([]);
    expect(one.client(CLIENT, chunk('ABORT', [], 1))).toHaveLength(1);
    expect(one.state).toBe('closed');
  });

  it.each([
    ['no chunk', []],
    ['a chunk of no length', [[0, 0, 0, 0]]],
    ['an INIT beside another', [initiate('INIT', 1), data([1])]],
    ['another before an INIT', [chunk('SACK', [0, 0]), initiate('INIT', 1)]],
    ['a COOKIE ACK that is not first', [chunk('SACK', [0, 0]), chunk('COOKIE ACK')]],
    ['a cut-off INIT ACK', [chunk('INIT ACK', [0, 0, 0, 1])]],
  ])('N13: %s is dropped', (_what, chunks) => {
    const one = new Association().establish();
    expect(one.client(SERVER, ...chunks)).toEqual([]);
    expect([one.state, one.fabric.drops()]).toEqual(['established', { FLOW_INVALID: 1 }]);
  });

  it('N16: what is no INIT by itself begins nothing', () => {
    const one = new Association();
    const odd = [
      [data([1])],
      [chunk('HEARTBEAT')],
      [initiate('INIT', 1), data([1])],
      [chunk('INIT', [0, 0, 0, 1])],
    ];
    for (const chunks of odd) expect(one.client(0, ...chunks)).toEqual([]);
    expect(one.client(7, initiate('INIT', 1))).toEqual([]);
    expect([one.flows, one.fabric.drops()]).toEqual([[], { FLOW_INVALID: 5 }]);
  });

  it('N18: an association that begins anew on both sides is found by its heartbeats', () => {
    const one = new Association().establish();
    const [fresh, other] = [0x44444444, 0x55555555];
    expect(one.client(fresh, chunk('HEARTBEAT', [1, 2, 3, 4]))).toHaveLength(1);
    expect(one.server(other, chunk('HEARTBEAT ACK', [1, 2, 3, 4]))).toHaveLength(1);
    expect(one.server(other, data([1]))).toHaveLength(1);
    expect(one.server(CLIENT, data([1]))).toEqual([]);
    const forged = new Association().establish();
    expect(forged.server(other, chunk('HEARTBEAT ACK', [1, 2, 3, 4]))).toEqual([]);
    expect(forged.server(CLIENT, data([1]))).toHaveLength(1);
  });

  it.each([
    ['closed', 10],
    ['cookie-wait', 3],
    ['cookie-echoed', 3],
    ['established', 210],
    ['shutdown-sent', 3],
    ['shutdown-recd', 3],
    ['shutdown-ack-sent', 3],
  ])('N20: %s is forgotten after %d s', (state, seconds) => {
    const one = inState(state);
    one.fabric.wait((seconds - 1) * 1000);
    expect(one.state).toBe(state);
    one.fabric.wait(12_000);
    expect(one.state).toBe('none');
  });

  it('N20: an INIT said again keeps nothing alive; configured times are taken', () => {
    const one = new Association();
    for (let i = 0; i < 4; i++) {
      one.client(0, initiate('INIT', CLIENT));
      one.fabric.wait(3000);
    }
    one.fabric.wait(10_000);
    expect(one.state).toBe('none');
  });
});

it('N13: whatever chunks say, a packet goes on or is dropped, and nothing is read beyond it', () => {
  const one = new Association().establish();
  const bytes = fc.uint8Array({ minLength: 0, maxLength: 64 });
  const known = fc.constantFrom(...[0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 255]);
  const odd = fc.tuple(known, fc.nat(255), fc.nat(40), bytes).map(([type, flags, length, rest]) => {
    return [type, flags, 0, length, ...rest];
  });
  fc.assert(
    fc.property(
      fc.array(odd, { maxLength: 6 }),
      fc.constantFrom(0, CLIENT, SERVER, 5),
      fc.boolean(),
      (chunks, tag, isClient) => {
        // The fabric checks after every frame that all packets are accounted for.
        const sent = one.send(isClient ? 'a' : 'b', { tag, chunks });
        expect(sent.length).toBeLessThanOrEqual(1);
        if (sent.length === 1) expect(readSctp(sent[0]!.frame).isRight || one.flows.length === 0).toBe(true);
      },
    ),
    { numRuns: 400 },
  );
});

const hasTshark = spawnSync('tshark', ['--version']).status === 0;
it.skipIf(!hasTshark)('N32: tshark finds every sum right that leaves', () => {
  const frames: Uint8Array[] = [];
  for (const isV6 of [false, true]) {
    const one = new Association({ isV6 });
    for (const sent of [
      one.client(0, initiate('INIT', CLIENT)),
      one.server(CLIENT, initiate('INIT ACK', SERVER)),
      one.client(SERVER, chunk('COOKIE ECHO', [1, 2, 3, 4, 5])),
      one.server(CLIENT, chunk('COOKIE ACK'), data([1, 2, 3])),
      one.client(SERVER, data(new Array(1333).fill(9))),
    ])
      frames.push(sent[0]!.frame);
  }
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(1, 20);
  const records = frames.flatMap((frame) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, Buffer.from(frame)];
  });
  const directory = mkdtempSync(join(tmpdir(), 'twill-sctp-'));
  try {
    const file = join(directory, 'out.pcap');
    writeFileSync(file, Buffer.concat([header, ...records]));
    const args = [
      '-n',
      '-r',
      file,
      '-o',
      'sctp.checksum:CRC 32c',
      '-T',
      'fields',
      '-e',
      'sctp.checksum.status',
    ];
    const verdicts = execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    expect(verdicts.trim().split('\n')).toEqual(frames.map(() => '1'));
  } finally {
    rmSync(directory, { recursive: true });
  }
});
