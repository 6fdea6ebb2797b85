/** ARP as it passes: answered, suppressed, flooded, learned from (A1, A3, A5–A8, A10, A11, A16). */
import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { NeighborRow } from '../../src/dataplane/messages.ts';
import { Global } from '../../src/telemetry/counters.ts';
import { address4, Fabric, IPS, MACS, macOf, network, peer, port, type Sent } from '../fabric.ts';
import { type ArpFields, arp, echoRequest, ethernet, hex, ip4, mac, toHex } from '../frames.ts';

const names = (sent: readonly Sent[]): string[] => sent.map(({ to }) => to).sort();
const having = (...ops: Op[]): Fabric => new Fabric([...Fabric.standing(), ...ops]);
const ask = (targetIp: string, more: Partial<ArpFields> = {}): Uint8Array =>
  arp({ op: 'request', senderMac: MACS.a, senderIp: IPS.a, targetIp, ...more });
const reply = (fields: Omit<ArpFields, 'op'>): Uint8Array => arp({ op: 'reply', ...fields });
const FLOODED = ['b', 'c', 'p', 'q'];
const PROBE = { senderIp: '0.0.0.0' };
const bindingOf = (fabric: Fabric, ip: string, net = 'blue'): NeighborRow | undefined =>
  (dump(fabric.dataplane, 'neighbors') as NeighborRow[]).find((row) => row.ip === ip && row.network === net);
/** Makes `far` known: its address from ARP, its place from the same frame. */
const withFar = (...ops: Op[]): Fabric => {
  const fabric = having(...ops);
  fabric.fromPeer('p', reply({ senderMac: MACS.far, senderIp: IPS.far, targetMac: MACS.b, targetIp: IPS.b }));
  return fabric;
};

describe('which ARP is looked into', () => {
  const variants: [string, number, number[]][] = [
    ['hardware type 6', 0, [0, 6]],
    ['protocol IPv6', 2, [0x86, 0xdd]],
    ['hardware length 8', 4, [8]],
    ['protocol length 16', 5, [16]],
    ['operation 0', 6, [0, 0]],
    ['operation 3 (RARP)', 6, [0, 3]],
    ['operation 8 (InARP)', 6, [0, 8]],
    ['operation 257', 6, [1, 1]],
  ];
  for (const [name, at, bytes] of variants) {
    it(`A1: ${name} is bridged untouched, even about the gateway`, () => {
      const fabric = new Fabric();
      const odd = ask(IPS.gateway, { senderIp: '10.77.0.88' });
      odd.set(bytes, 14 + at);
      const sent = fabric.from('a', odd);
      expect(names(sent)).toEqual(FLOODED);
      expect(toHex(sent[0]!.frame)).toBe(toHex(odd));
      expect(bindingOf(fabric, '10.77.0.88')).toBeUndefined();
    });
  }

  it('A1: 27 bytes are too few, 28 are enough', () => {
    const fabric = new Fabric();
    expect(names(fabric.from('a', ask(IPS.gateway).subarray(0, 41)))).toEqual(FLOODED);
    expect(names(fabric.from('a', ask(IPS.gateway).subarray(0, 42)))).toEqual(['a']);
  });
});

describe('the gateway answers', () => {
  it('A3, A16: exactly once, to the asker, with the gateway MAC, whatever the peers do', () => {
    const fabric = new Fabric();
    const sent = fabric.from('a', ask(IPS.gateway));
    expect(names(sent)).toEqual(['a']);
    expect(toHex(sent[0]!.frame)).toBe(
      toHex(reply({ senderMac: MACS.gateway, senderIp: IPS.gateway, targetMac: MACS.a, targetIp: IPS.a })),
    );
    expect(sent[0]!.frame.length).toBe(42);
  });

  it('A3: for every subnet of the network', () => {
    const fabric = new Fabric();
    const [sent] = fabric.from('a', ask('10.78.0.1'));
    expect([...sent!.frame.subarray(28, 32)]).toEqual(ip4('10.78.0.1'));
  });

  it('A3: each network with its own MAC', () => {
    const fabric = new Fabric();
    const [sent] = fabric.from('r', ask(IPS.gateway, { senderMac: MACS.r }));
    expect([...sent!.frame.subarray(22, 28)]).toEqual(mac(MACS.redGateway));
    expect(names(fabric.from('r', ask('10.78.0.1', { senderMac: MACS.r })))).toEqual(['p']);
  });

  it('A3: a unicast question, to the gateway’s MAC or another, is answered too', () => {
    const fabric = new Fabric();
    for (const dst of [MACS.gateway, MACS.b]) {
      expect(names(fabric.from('a', ask(IPS.gateway, { dst })))).toEqual(['a']);
    }
  });

  it('A3: asked from a tunnel it stays silent; that host has a gateway of its own', () => {
    const fabric = new Fabric();
    const question = ask(IPS.gateway, { senderMac: MACS.far, senderIp: IPS.far });
    expect(fabric.fromPeer('p', question)).toEqual([]);
    expect(fabric.drops()).toEqual({ GATEWAY_FROM_TUNNEL: 1 });
    expect(bindingOf(fabric, IPS.far)).toBeUndefined();
  });

  it('A3: a claim of the gateway address from a tunnel is dropped', () => {
    const fabric = new Fabric();
    const poison = reply({ senderMac: MACS.far, senderIp: IPS.gateway, targetMac: MACS.a, targetIp: IPS.a });
    expect(fabric.fromPeer('p', poison)).toEqual([]);
    expect(fabric.drops()).toEqual({ SPOOF_GATEWAY: 1 });
  });

  it('A4: the gateway answers with the MAC its network is configured with', () => {
    const fabric = having({ op: 'network', network: network({ gatewayMac: macOf('02:ab:cd:00:00:99') }) });
    const [sent] = fabric.from('a', ask(IPS.gateway));
    expect([...sent!.frame.subarray(6, 12)]).toEqual(mac('02:ab:cd:00:00:99'));
    expect([...sent!.frame.subarray(22, 28)]).toEqual(mac('02:ab:cd:00:00:99'));
  });

  it('A7: a probe for the gateway address is defended', () => {
    const fabric = new Fabric();
    const sent = fabric.from('a', ask(IPS.gateway, PROBE));
    expect(names(sent)).toEqual(['a']);
    expect([...sent[0]!.frame.subarray(20, 42)]).toEqual([
      ...[0, 2],
      ...mac(MACS.gateway),
      ...ip4(IPS.gateway),
      ...mac(MACS.a),
      ...[0, 0, 0, 0],
    ]);
  });
});

describe('suppression', () => {
  it('A5, A16: a question for a station behind a tunnel is answered here and enters no tunnel', () => {
    const fabric = withFar();
    const sent = fabric.from('a', ask(IPS.far));
    expect(names(sent)).toEqual(['a']);
    expect(toHex(sent[0]!.frame)).toBe(
      toHex(reply({ senderMac: MACS.far, senderIp: IPS.far, targetMac: MACS.a, targetIp: IPS.a })),
    );
  });

  it('A5: also for a station of `Peer.static` that has never been heard', () => {
    const entry = { network: 0, mac: macOf(MACS.far), address: address4(IPS.far) };
    const fabric = having({ op: 'peer', peer: peer('p', { static: [entry] }) });
    expect(names(fabric.from('a', ask(IPS.far)))).toEqual(['a']);
  });

  it('A5: a question for a station on a local port stays local', () => {
    expect(names(new Fabric().from('a', ask(IPS.b)))).toEqual(['b', 'c']);
  });

  it('A5: a question that came through a tunnel is not answered, but delivered', () => {
    const fabric = withFar();
    const question = ask(IPS.far, { senderMac: MACS.other, senderIp: IPS.other });
    expect(names(fabric.fromPeer('q', question))).toEqual(['a', 'b', 'c']);
  });

  it('A5: a question for somebody unknown is flooded', () => {
    expect(names(new Fabric().from('a', ask('10.77.0.99')))).toEqual(FLOODED);
  });

  it('A5: known by address but no longer by place is unknown', () => {
    const fabric = withFar();
    fabric.advance(300_000);
    expect(bindingOf(fabric, IPS.far)?.mac).toBe(MACS.far);
    expect(names(fabric.from('a', ask(IPS.far)))).toEqual(FLOODED);
  });

  it('A5: switched off, every question is flooded', () => {
    const fabric = withFar({ op: 'network', network: network({ arpSuppression: false }) });
    expect(names(fabric.from('a', ask(IPS.far)))).toEqual(FLOODED);
    expect(names(fabric.from('a', ask(IPS.b)))).toEqual(FLOODED);
    expect(names(fabric.from('a', ask(IPS.gateway)))).toEqual(['a']);
  });

  it('B17, A5: what one network knows is not answered in another', () => {
    const fabric = withFar();
    expect(names(fabric.from('r', ask(IPS.far, { senderMac: MACS.r })))).toEqual(['p']);
  });

  it('A6: a unicast question is forwarded and never answered for', () => {
    const fabric = withFar();
    const question = ask(IPS.far, { dst: MACS.far });
    const sent = fabric.from('a', question);
    expect(names(sent)).toEqual(['p']);
    expect(toHex(sent[0]!.frame)).toBe(toHex(question));
    expect(names(fabric.from('a', ask(IPS.b, { dst: MACS.b })))).toEqual(['b']);
  });

  it.each(['127.0.0.1', '224.0.0.1', '255.255.255.255'])('A12: %s is never answered for', (target) => {
    const fabric = withFar();
    const claim = reply({ senderMac: MACS.far, senderIp: target, targetMac: MACS.b, targetIp: IPS.b });
    fabric.fromPeer('p', claim);
    expect(names(fabric.from('a', ask(target)))).toEqual(FLOODED);
  });

  it('A7: probes are flooded, never answered for, and teach nothing', () => {
    const fabric = withFar();
    for (const target of [IPS.far, IPS.b, '10.77.0.99']) {
      expect(names(fabric.from('a', ask(target, PROBE)))).toEqual(FLOODED);
    }
    expect(bindingOf(fabric, '0.0.0.0')).toBeUndefined();
    expect(bindingOf(fabric, '10.77.0.99')).toBeUndefined();
  });

  it('A8: an announcement is flooded into tunnels, moves its station and updates the tables', () => {
    const fabric = withFar();
    const garp = arp({ op: 'request', senderMac: MACS.far, senderIp: IPS.far, targetIp: IPS.far });
    expect(names(fabric.from('a', garp))).toEqual(FLOODED);
    expect(fabric.counters.globals[Global.MAC_MOVES]).toBe(1);
    expect(names(fabric.from('c', ethernet({ src: MACS.c, dst: MACS.far, type: 0x88b5 })))).toEqual(['a']);
    const asReply = reply({
      senderMac: MACS.other,
      senderIp: IPS.far,
      targetIp: IPS.far,
      dst: 'ff:ff:ff:ff:ff:ff',
    });
    expect(names(fabric.from('b', asReply))).toEqual(['a', 'c', 'p', 'q']);
    expect(bindingOf(fabric, IPS.far)?.mac).toBe(MACS.other);
  });
});

describe('authority', () => {
  const claims = (fabric: Fabric, ip: string): void => {
    fabric.fromPeer('q', reply({ senderMac: MACS.other, senderIp: ip, targetMac: MACS.a, targetIp: IPS.a }));
  };
  const farOfP: Op = {
    op: 'peer',
    peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4(IPS.far) }] }),
  };

  it('A10: what is heard does not change a port’s binding, and is counted', () => {
    const fabric = new Fabric();
    claims(fabric, IPS.b);
    fabric.advance(100);
    expect(bindingOf(fabric, IPS.b)).toMatchObject({ mac: MACS.b, source: 'port', state: 'permanent' });
    expect(fabric.counters.globals[Global.NEIGHBOR_CONFLICTS]).toBe(1);
  });

  it('A10: nor one of `Peer.static`', () => {
    const fabric = having(farOfP);
    claims(fabric, IPS.far);
    fabric.advance(100);
    expect(bindingOf(fabric, IPS.far)).toMatchObject({ mac: MACS.far, source: 'peer' });
    expect(fabric.counters.globals[Global.NEIGHBOR_CONFLICTS]).toBe(1);
  });

  it('A10: a true word about a configured address is no conflict', () => {
    const fabric = new Fabric();
    fabric.from('b', ask(IPS.a, { senderMac: MACS.b, senderIp: IPS.b }));
    fabric.advance(100);
    expect(fabric.counters.globals[Global.NEIGHBOR_CONFLICTS]).toBe(0);
  });

  it('A10: configuration replaces what was heard', () => {
    const fabric = new Fabric();
    claims(fabric, IPS.far);
    expect(bindingOf(fabric, IPS.far)).toMatchObject({ mac: MACS.other, source: 'learned' });
    fabric.dataplane.apply([farOfP]);
    expect(bindingOf(fabric, IPS.far)).toMatchObject({ mac: MACS.far, source: 'peer' });
  });

  it('A10: a port outranks `Peer.static`', () => {
    const entry = { network: 0, mac: macOf(MACS.far), address: address4(IPS.b) };
    const fabric = having({ op: 'peer', peer: peer('p', { static: [entry] }) });
    expect(bindingOf(fabric, IPS.b)).toMatchObject({ mac: MACS.b, source: 'port' });
  });

  it('A10: ports that swap their addresses in one transaction both keep a binding', () => {
    const fabric = new Fabric();
    fabric.dataplane.apply([
      { op: 'port', port: port('a', { addresses: [address4(IPS.b)] }) },
      { op: 'port', port: port('b', { addresses: [address4(IPS.a)] }) },
    ]);
    expect(bindingOf(fabric, IPS.a)).toMatchObject({ mac: MACS.b, source: 'port' });
    expect(bindingOf(fabric, IPS.b)).toMatchObject({ mac: MACS.a, source: 'port' });
  });

  it('A10: the gateway’s addresses are not up for claims: a packet to them never leaves', () => {
    const fabric = new Fabric();
    fabric.from('b', ask('10.77.0.99', { senderMac: MACS.b, senderIp: IPS.gateway }));
    expect(names(fabric.from('a', ask(IPS.gateway)))).toEqual(['a']);
    const sent = fabric.from(
      'a',
      ethernet({ src: MACS.a, dst: MACS.gateway }, echoRequest(IPS.a, IPS.gateway)),
    );
    expect(names(sent)).toEqual(['a']);
  });
});

describe('snooping', () => {
  const heard: [string, Uint8Array, boolean][] = [
    ['a question', ask('10.77.0.99', { senderIp: '10.77.0.50' }), true],
    [
      'a reply',
      reply({ senderMac: MACS.a, senderIp: '10.77.0.50', targetMac: MACS.b, targetIp: IPS.b }),
      true,
    ],
    ['an announcement', ask('10.77.0.50', { senderIp: '10.77.0.50' }), true],
    ['a sender of the second subnet', ask('10.77.0.99', { senderIp: '10.78.0.50' }), true],
    ['a sender outside every subnet', ask('10.77.0.99', { senderIp: '10.99.0.50' }), false],
    ['a probe', ask('10.77.0.50', PROBE), false],
  ];
  for (const [name, bytes, isLearned] of heard) {
    it(`A11: ${name} ${isLearned ? 'teaches a binding' : 'teaches none'}`, () => {
      const fabric = new Fabric();
      fabric.from('a', bytes);
      const learned = (dump(fabric.dataplane, 'neighbors') as NeighborRow[]).filter(
        ({ source }) => source === 'learned',
      );
      expect(learned.map(({ mac: heardMac }) => heardMac)).toEqual(isLearned ? [MACS.a] : []);
    });
  }

  it('A11: a later word replaces an earlier one', () => {
    const fabric = withFar();
    fabric.fromPeer('q', ask('10.77.0.99', { senderMac: MACS.other, senderIp: IPS.far }));
    expect(bindingOf(fabric, IPS.far)?.mac).toBe(MACS.other);
  });

  it('A11: refused ARP teaches nothing', () => {
    const fabric = having({ op: 'port', port: port('a', { antiSpoof: 'strict' }) });
    fabric.from('a', ask('10.77.0.99', { senderIp: '10.77.0.50' }));
    expect(fabric.drops()).toEqual({ SPOOF_ARP: 1 });
    expect(bindingOf(fabric, '10.77.0.50')).toBeUndefined();
  });

  it('A11: bounded: the binding confirmed longest ago makes room', () => {
    const wide = network({
      subnets: [{ address: address4('10.64.0.0'), prefix: 106, gateway: address4(IPS.gateway) }],
    });
    const fabric = having({ op: 'network', network: wide });
    const nth = (n: number) => `10.79.${n >>> 8}.${n & 255}`;
    const say = (n: number) => ask('10.77.0.99', { senderIp: nth(n), dst: MACS.b });
    for (let n = 0; n < 8192; n++) fabric.card.receive({ device: 10, bytes: say(n) });
    fabric.settle();
    fabric.from('a', say(0));
    fabric.from('a', say(9000));
    expect(bindingOf(fabric, nth(9000))).toBeDefined();
    expect(bindingOf(fabric, nth(0))).toBeDefined();
    expect(bindingOf(fabric, nth(1))).toBeUndefined();
    expect(bindingOf(fabric, nth(2))).toBeDefined();
    expect(bindingOf(fabric, IPS.b)).toMatchObject({ source: 'port' });
  });
});

it('A15: the announcement of the semantics’ example is byte for byte ours', () => {
  const k8 = hex('ffffffffffff020000002a0108060001080006040001020000002a01ac1e2a0a000000000000ac1e2a0a');
  const fabric = new Fabric();
  fabric.dataplane.apply([
    {
      op: 'port',
      port: port('a', { mac: macOf('02:00:00:00:2a:01'), addresses: [address4('172.30.42.10')] }),
    },
  ]);
  const times: number[] = [];
  for (let i = 0; i < 60; i++) {
    const copies = fabric.advance(100).filter(({ frame }) => toHex(frame) === toHex(k8));
    expect(names(copies.filter(({ to }) => to !== 'a'))).toEqual(copies.length > 0 ? FLOODED : []);
    if (copies.length > 0) times.push(fabric.card.now);
  }
  expect(times.map((at) => at - times[0]!)).toEqual([0, 1000, 2000]);
});
