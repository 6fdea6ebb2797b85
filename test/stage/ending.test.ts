import { describe, expect, it } from 'vitest';
import type { OnEndpointRemoved, Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { FlowRow } from '../../src/dataplane/messages.ts';
import { address4, Fabric, IPS, MACS, type Sent, service } from '../fabric.ts';
import { address6, dual, IPS6 } from '../fabric6.ts';
import { checksumsAreRight, ethernet, readIpv4, tcp } from '../frames.ts';
import { checksumIsRight6, hex6, readIpv6, tcp6 } from '../frames6.ts';

const VIP = '10.96.0.10';
const backends = (...ips: string[]) => ips.map((ip) => ({ address: address4(ip), port: 8080 }));

/** Service 0 over these addresses. */
function put(
  fabric: Fabric,
  onEndpointRemoved: OnEndpointRemoved,
  ips: string[],
  more: Partial<ServiceConfig> = {},
) {
  const config = service({ backends: backends(...ips), onEndpointRemoved, ...more });
  fabric.dataplane.apply([{ op: 'service', service: config }]);
}

const fromClient = (
  fabric: Fabric,
  flags: string,
  seq: number,
  ack: number,
  bytes = 0,
  sport = 4000,
): Sent[] => {
  const payload = new Uint8Array(bytes);
  const packet = tcp({ from: IPS.a, to: VIP, sport, dport: 80, flags, seq, ack, payload });
  return fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, packet));
};
const fromEndpoint = (
  fabric: Fabric,
  flags: string,
  seq: number,
  ack: number,
  bytes = 0,
  dport = 4000,
): Sent[] => {
  const payload = new Uint8Array(bytes);
  const packet = tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport, flags, seq, ack, payload });
  return fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, packet));
};

/** A connection from a to b: 100 bytes there, 300 back, all acknowledged. */
function connect(fabric: Fabric, sport = 4000): void {
  fromClient(fabric, 'S', 1000, 0, 0, sport);
  fromEndpoint(fabric, 'SA', 5000, 1001, 0, sport);
  fromClient(fabric, 'A', 1001, 5001, 0, sport);
  fromClient(fabric, 'PA', 1001, 5001, 100, sport);
  fromEndpoint(fabric, 'PA', 5001, 1101, 300, sport);
  fromClient(fabric, 'A', 1101, 5301, 0, sport);
}

function connected(onEndpointRemoved: OnEndpointRemoved, more: Partial<ServiceConfig> = {}): Fabric {
  const fabric = new Fabric();
  put(fabric, onEndpointRemoved, [IPS.b], more);
  connect(fabric);
  return fabric;
}

const flows = (fabric: Fabric) => dump(fabric.dataplane, 'flows') as FlowRow[];
const resets = (sent: Sent[]) =>
  sent
    .map(({ to, frame }) => ({ ...readIpv4(frame), to }))
    .filter(({ flags }) => flags?.includes('R'))
    .sort((x, y) => x.to.localeCompare(y.to));

describe('onEndpointRemoved: reset', () => {
  it('S30: an endpoint that leaves: both sides get a reset with the number they wait for, in the name of the other', () => {
    const fabric = connected('reset');
    put(fabric, 'reset', [IPS.c]);
    const sent = resets(fabric.settle());
    expect(sent).toMatchObject([
      { to: 'a', from: VIP, sport: 80, dport: 4000, seq: 5301, ack: 1101, src: MACS.gateway, dst: MACS.a },
      {
        to: 'b',
        from: IPS.a,
        sport: 4000,
        dport: 8080,
        seq: 1101,
        ack: 5301,
        src: MACS.gateway,
        dst: MACS.b,
      },
    ]);
    for (const { packet } of sent) expect(checksumsAreRight(packet)).toBe(true);
    expect(flows(fabric)).toMatchObject([{ state: 'close' }]);
    expect(fabric.wait(3000)).toEqual([]);
  });

  it('S30: a segment that was on its way is answered by a reset that fits it, and never passes', () => {
    const fabric = connected('reset');
    put(fabric, 'reset', [IPS.c]);
    fabric.settle();
    expect(resets(fromClient(fabric, 'PA', 1101, 5200, 10))).toMatchObject([
      { to: 'a', from: VIP, seq: 5200 },
    ]);
    expect(resets(fromEndpoint(fabric, 'PA', 5301, 1090, 10))).toMatchObject([
      { to: 'b', from: IPS.a, seq: 1090 },
    ]);
    expect(fromEndpoint(fabric, 'R', 5301, 0)).toEqual([]);
    expect(fabric.drops()).toEqual({ FLOW_ENDED: 3 });
  });

  it('S30: the client may connect again at once, by the same port, and meets another endpoint', () => {
    const fabric = connected('reset');
    put(fabric, 'reset', [IPS.c]);
    fabric.settle();
    expect(fromClient(fabric, 'S', 9000, 0).map(({ to }) => to)).toEqual(['c']);
    expect(fromClient(fabric, 'S', 9000, 0, 0, 4001).map(({ to }) => to)).toEqual(['c']);
  });

  it('S30: the last endpoint, the port, the Service: whatever goes', () => {
    const gone: ((fabric: Fabric) => void)[] = [
      (fabric) => put(fabric, 'reset', []),
      (fabric) => put(fabric, 'reset', [IPS.b], { backends: [{ address: address4(IPS.b), port: 9090 }] }),
      (fabric) => fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]),
    ];
    for (const go of gone) {
      const fabric = connected('reset');
      go(fabric);
      expect(resets(fabric.settle()).map(({ to }) => to)).toEqual(['a', 'b']);
    }
  });

  it('S30: a client still waiting for its SYN to be answered is refused', () => {
    const fabric = new Fabric();
    put(fabric, 'reset', [IPS.b]);
    fromClient(fabric, 'S', 1000, 0);
    put(fabric, 'reset', [IPS.c]);
    expect(resets(fabric.settle())[0]).toMatchObject({ to: 'a', flags: 'RA', ack: 1001 });
  });

  it('S30: an endpoint that stays, or only takes no new flows, keeps its flows', () => {
    const fabric = connected('reset');
    put(fabric, 'reset', [IPS.b, IPS.c]);
    put(fabric, 'reset', [IPS.c], { serving: [address4(IPS.b), address4(IPS.c)] });
    put(fabric, 'reset', [], { backends: [{ address: address4(IPS.b), port: 8080, weight: 0 }] });
    expect(fabric.settle()).toEqual([]);
    expect(flows(fabric)).toMatchObject([{ state: 'established', drain: null }]);
  });

  it('S30: the same over IPv6', () => {
    const vip = 'fd00:96::10';
    const over6 = (ip: string, more: Partial<ServiceConfig> = {}): Op => ({
      op: 'service',
      service: service({
        vip: address6(vip),
        backends: [{ address: address6(ip), port: 8080 }],
        onEndpointRemoved: 'reset',
        ...more,
      }),
    });
    const fabric = dual(over6(IPS6.b));
    const frame = (src: string, dst: string, packet: number[]) =>
      ethernet({ src, dst, type: 0x86dd }, packet);
    const client = { from: IPS6.a, to: vip, sport: 4000, dport: 80 };
    const server = { from: IPS6.b, to: IPS6.a, sport: 8080, dport: 4000 };
    fabric.from('a', frame(MACS.a, MACS.gateway, tcp6({ ...client, flags: 'S', seq: 1000 })));
    fabric.from('b', frame(MACS.b, MACS.a, tcp6({ ...server, flags: 'SA', seq: 5000, ack: 1001 })));
    fabric.from('a', frame(MACS.a, MACS.gateway, tcp6({ ...client, flags: 'A', seq: 1001, ack: 5001 })));
    fabric.dataplane.apply([over6(IPS6.c)]);
    const sent = fabric.settle().map((one) => ({ ...readIpv6(one.frame), to: one.to }));
    expect(sent.sort((x, y) => x.to.localeCompare(y.to))).toMatchObject([
      { to: 'a', from: hex6(vip), sport: 80, dport: 4000, seq: 5001, ack: 1001 },
      { to: 'b', from: hex6(IPS6.a), sport: 4000, dport: 8080, seq: 1001, ack: 5001 },
    ]);
    for (const { packet } of sent) expect(checksumIsRight6(packet)).toBe(true);
  });

  it('S30: any number of connections, a bounded number a turn', () => {
    const fabric = new Fabric();
    put(fabric, 'reset', [IPS.b]);
    for (let i = 0; i < 300; i++) connect(fabric, 5000 + i);
    put(fabric, 'reset', [IPS.c]);
    let ended = 0;
    for (let turn = 0; turn < 6; turn++) {
      fabric.dataplane.turn();
      const sent = fabric.take().length;
      expect(sent).toBeLessThanOrEqual(128);
      ended += sent;
    }
    expect(ended).toBe(600);
  });

  it('S30, N23: a table that changes its size meanwhile hides no connection from its end', () => {
    const fabric = new Fabric();
    put(fabric, 'reset', [IPS.b]);
    put(fabric, 'keep', [IPS.b], { id: 1, name: 'default/other', vip: address4('10.96.0.11') });
    const asks = (sport: number, flags: string, seq: number, ack: number, to = VIP) =>
      fabric.from(
        'a',
        ethernet(
          { src: MACS.a, dst: MACS.gateway },
          tcp({ from: IPS.a, to, sport, dport: 80, flags, seq, ack }),
        ),
      );
    const open = (sport: number, to: string) => {
      asks(sport, 'S', 1000, 0, to);
      fromEndpoint(fabric, 'SA', 5000, 1001, 0, sport);
      asks(sport, 'A', 1001, 5001, to);
    };
    for (let i = 0; i < 300; i++) open(5000 + i, VIP);
    // The lowest rows go, and younger flows take them: rows are in no order of age.
    for (let i = 0; i < 100; i++) asks(5000 + i, 'R', 1001, 0);
    fabric.wait(30_000);
    for (let i = 0; i < 100; i++) open(6000 + i, '10.96.0.11');
    put(fabric, 'reset', [IPS.c]);
    fabric.dataplane.turn();
    fabric.dataplane.apply([
      { op: 'host', host: { underlayAddresses: [], vxlanPorts: [4789], maxFlows: 2048 } },
    ]);
    for (let turn = 0; turn < 6; turn++) fabric.dataplane.turn();
    const living = flows(fabric).filter(({ state }) => state === 'established');
    expect([...new Set(living.map(({ service }) => service))]).toEqual(['default/other']);
    expect(living).toHaveLength(100);
    expect(fabric.take()).toHaveLength(400);
  });
});

describe('onEndpointRemoved: drain', () => {
  it('S30: ends flows after the time, not before', () => {
    const fabric = connected('drain', { drain: 30_000 });
    put(fabric, 'drain', [IPS.c], { drain: 30_000 });
    expect(fabric.wait(29_000)).toEqual([]);
    expect(flows(fabric)).toMatchObject([{ state: 'established', drain: 1 }]);
    expect(fromClient(fabric, 'A', 1101, 5301).map(({ to }) => to)).toEqual(['b']);
    expect(resets(fabric.wait(1000)).map(({ to }) => to)).toEqual(['a', 'b']);
  });

  it('S30: leaves those that are over by then to their rest, and their ports to new ones', () => {
    const fabric = connected('drain', { drain: 30_000 });
    put(fabric, 'drain', [IPS.c], { drain: 30_000 });
    fabric.wait(20_000);
    fromClient(fabric, 'FA', 1101, 5301);
    fromEndpoint(fabric, 'FA', 5301, 1102);
    fromClient(fabric, 'A', 1102, 5302);
    expect(flows(fabric)).toMatchObject([{ state: 'time-wait', drain: 10 }]);
    expect(fabric.wait(20_000)).toEqual([]);
    expect(flows(fabric)).toMatchObject([{ state: 'time-wait', drain: null }]);
    expect(fromEndpoint(fabric, 'FA', 5301, 1102).map(({ to }) => to)).toEqual(['a']); // the last ACK was lost
    expect(fromClient(fabric, 'S', 9000, 0).map(({ to }) => to)).toEqual(['c']);
    expect(fabric.drops()).toEqual({});
  });

  it('S30: an endpoint that returns in time keeps its flows', () => {
    const fabric = connected('drain', { drain: 30_000 });
    put(fabric, 'drain', [IPS.c], { drain: 30_000 });
    fabric.wait(10_000);
    put(fabric, 'drain', [IPS.b, IPS.c], { drain: 30_000 });
    expect(fabric.wait(60_000)).toEqual([]);
    expect(flows(fabric)).toMatchObject([{ state: 'established', drain: null }]);
  });

  it('S30: what a later change says counts, if it is earlier', () => {
    const fabric = connected('drain', { drain: 30_000 });
    put(fabric, 'drain', [IPS.c], { drain: 30_000 });
    put(fabric, 'reset', [IPS.c]);
    expect(resets(fabric.settle()).map(({ to }) => to)).toEqual(['a', 'b']);
  });
});

describe('onEndpointRemoved: keep', () => {
  it('S30: nothing happens to established flows', () => {
    const fabric = connected('keep');
    put(fabric, 'keep', [IPS.c]);
    fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);
    expect(fabric.wait(60_000)).toEqual([]);
    expect(fromClient(fabric, 'A', 1101, 5301).map(({ to }) => to)).toEqual(['b']);
  });
});

describe('an id that another Service had before', () => {
  const remove = (fabric: Fabric) => fabric.dataplane.apply([{ op: 'remove-service', id: 0 }]);

  it('S30: flows that a Service left to live do not end with the next one of its id', () => {
    const fabric = connected('keep');
    remove(fabric);
    put(fabric, 'reset', [IPS.c]);
    remove(fabric);
    expect(resets(fabric.settle())).toEqual([]);
    expect(flows(fabric)).toMatchObject([{ state: 'established', drain: null }]);
  });

  it('S30: flows that a Service left to drain end, whatever becomes of the next one of its id', () => {
    const fabric = connected('drain', { drain: 30_000 });
    remove(fabric);
    put(fabric, 'reset', [IPS.c]);
    put(fabric, 'reset', [IPS.other]);
    expect(resets(fabric.wait(30_000)).map(({ to }) => to)).toEqual(['a', 'b']);
  });
});
