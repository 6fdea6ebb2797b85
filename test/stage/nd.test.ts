/** IPv6 neighbour discovery as it passes, the half of ARP's rules that speaks of it (A2–A11, A13–A15, B24, B25). */
import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { dump } from '../../src/dataplane/dump.ts';
import type { NeighborRow } from '../../src/dataplane/messages.ts';
import { Counter, Global } from '../../src/telemetry/counters.ts';
import { Fabric, MACS, macOf, peer, port, type Sent } from '../fabric.ts';
import { address6, dual, dualNetwork, dualPort, IPS6, names } from '../fabric6.ts';
import { ethernet, hex, toHex } from '../frames.ts';
import {
  advertisement,
  checksumIsRight6,
  groupMac,
  hex6,
  icmp6,
  type NdFields,
  readIpv6,
  solicitation,
  solicitedNode,
  udp6,
} from '../frames6.ts';

const ask = (target: string, more: Partial<NdFields> = {}): Uint8Array =>
  solicitation({ src: MACS.a, from: IPS6.a, target, ...more });
const FLOODED = ['b', 'c', 'p', 'q'];
const STRANGER = '06:00:00:00:00:99';
const STATION = 'fd00:77::99';
const bindingOf = (fabric: Fabric, ip: string): NeighborRow | undefined =>
  (dump(fabric.dataplane, 'neighbors') as NeighborRow[]).find((row) => row.ip === ip);
const withFar = (...ops: Op[]): Fabric => {
  const fabric = dual(...ops);
  fabric.fromPeer('p', advertisement({ src: MACS.far, from: IPS6.far, target: IPS6.far }));
  fabric.take();
  return fabric;
};
/** Flags and target of an advertisement, and the MAC of its option. */
const told = ({ frame }: Sent) => {
  const { body, packet, ...rest } = readIpv6(frame);
  expect(checksumIsRight6(packet)).toBe(true);
  const option = Buffer.from(body.subarray(24)).toString('hex');
  return { ...rest, flags: body[4], target: Buffer.from(body.subarray(8, 24)).toString('hex'), option };
};
const linkOption = (kind: number, mac: string): string => `0${kind}01${mac.replaceAll(':', '')}`;

describe('what may be processed', () => {
  const good = ask(STATION);
  /** Changes a byte of the packet and makes the checksum right again. */
  const changed = (frame: Uint8Array, at: number, ...bytes: number[]): Uint8Array => {
    const copy = Uint8Array.from(frame);
    copy.set(bytes, at);
    const view = readIpv6(copy);
    const text = (address: string) => address.replace(/(....)(?!$)/g, '$1:');
    return ethernet(
      { src: view.src, dst: view.dst, type: 0x86dd },
      icmp6(text(view.from), text(view.to), view.body, view.hopLimit),
    );
  };
  const withChecksum = (frame: Uint8Array, add: number): Uint8Array => {
    const copy = Uint8Array.from(frame);
    copy[57]! += add;
    return copy;
  };
  const bad: [string, Uint8Array][] = [
    ['hop limit 254', ask(STATION, { hopLimit: 254 })],
    ['code 1', ask(STATION, { code: 1 })],
    ['a wrong checksum', withChecksum(good, 1)],
    [
      '23 bytes',
      ethernet(
        { src: MACS.a, dst: groupMac(solicitedNode(STATION)), type: 0x86dd },
        icmp6(IPS6.a, solicitedNode(STATION), [135, ...Array(22).fill(0)], 255),
      ),
    ],
    ['a multicast target', ask('ff02::99')],
    ['an option of length 0', changed(good, 14 + 40 + 25, 0)],
    ['an option that runs over the end', changed(good, 14 + 40 + 25, 2)],
    ['a solicitation from :: to somebody', ask(STATION, { from: '::', to: STATION, dst: MACS.b })],
    ['a solicitation from :: with a link-layer option', ask(STATION, { from: '::', link: MACS.a })],
    [
      'a multicast advertisement that says it was asked for',
      advertisement({ src: MACS.a, from: IPS6.a, target: IPS6.a, flags: 0x60 }),
    ],
  ];
  for (const [name, frame] of bad) {
    it(`A2: ${name} is dropped, from a port and from a tunnel`, () => {
      const fabric = dual();
      expect(fabric.from('a', frame)).toEqual([]);
      expect(
        fabric.fromPeer(
          'p',
          Uint8Array.from([...frame.subarray(0, 6), 2, 0, 0, 0, 1, 1, ...frame.subarray(12)]),
        ),
      ).toEqual([]);
      expect(fabric.drops()).toEqual({ BAD_ND: 2 });
    });
  }

  it('A2: what is right passes, with an option of an unknown kind too', () => {
    const fabric = dual();
    expect(names(fabric.from('a', good))).toEqual(FLOODED);
    expect(names(fabric.from('a', changed(good, 14 + 40 + 24, 14)))).toEqual(FLOODED);
    expect(fabric.drops()).toEqual({});
  });
});

describe('the gateway answers', () => {
  it('A3, A9: exactly once, to the asker, with the gateway MAC: S, O, and R', () => {
    const sent = dual().from('a', ask(IPS6.gateway));
    expect(names(sent)).toEqual(['a']);
    expect(told(sent[0]!)).toMatchObject({
      dst: MACS.a,
      src: MACS.gateway,
      from: hex6(IPS6.gateway),
      to: hex6(IPS6.a),
      hopLimit: 255,
      icmp: '136/0',
      flags: 0xe0,
      target: hex6(IPS6.gateway),
      option: linkOption(2, MACS.gateway),
    });
  });

  it('A3: for every subnet, and to a unicast question', () => {
    const fabric = dual();
    const other = fabric.from('a', ask(IPS6.gateway2));
    expect(told(other[0]!)).toMatchObject({
      target: hex6(IPS6.gateway2),
      option: linkOption(2, MACS.gateway),
    });
    const unicast = fabric.from('a', ask(IPS6.gateway, { dst: MACS.gateway, to: IPS6.gateway }));
    expect(names(unicast)).toEqual(['a']);
    expect(fabric.drops()).toEqual({});
  });

  it('A3: not through a tunnel, where a host of its own answers', () => {
    const fabric = dual();
    const question = solicitation({ src: MACS.far, from: IPS6.far, target: IPS6.gateway });
    expect(fabric.fromPeer('p', question)).toEqual([]);
    const claim = advertisement({ src: MACS.far, from: IPS6.gateway, target: IPS6.gateway });
    expect(fabric.fromPeer('p', claim)).toEqual([]);
    expect(fabric.drops()).toEqual({ GATEWAY_FROM_TUNNEL: 1, SPOOF_GATEWAY: 1 });
  });

  it('A7: a probe for the gateway’s address is answered to all nodes, unsolicited', () => {
    const sent = dual().from('a', ask(IPS6.gateway, { from: '::' }));
    expect(names(sent)).toEqual(['a']);
    expect(told(sent[0]!)).toMatchObject({
      dst: '33:33:00:00:00:01',
      to: hex6('ff02::1'),
      flags: 0xa0,
      target: hex6(IPS6.gateway),
    });
  });

  it('A14: the link-local address of the router MAC is answered for too, also through a tunnel', () => {
    const fabric = dual();
    const [answer] = fabric.from('a', ask(IPS6.router));
    expect(told(answer!)).toMatchObject({ src: MACS.router, option: linkOption(2, MACS.router) });
    const question = solicitation({
      src: MACS.far,
      from: IPS6.far,
      target: IPS6.router,
      to: IPS6.router,
      dst: MACS.router,
    });
    expect(names(fabric.fromPeer('p', question))).toEqual(['p']);
  });
});

describe('suppression', () => {
  it('A5, A9: a question for a station behind a tunnel is answered here and enters none', () => {
    const sent = withFar().from('a', ask(IPS6.far));
    expect(names(sent)).toEqual(['a']);
    expect(told(sent[0]!)).toMatchObject({
      dst: MACS.a,
      from: hex6(IPS6.far),
      to: hex6(IPS6.a),
      flags: 0x60,
      option: linkOption(2, MACS.far),
    });
  });

  it('A5: for a station on a local port it stays on local ports', () => {
    expect(names(dual().from('a', ask(IPS6.b)))).toEqual(['b', 'c']);
  });

  it('A5: for somebody unknown it is flooded; switched off, always', () => {
    expect(names(dual().from('a', ask(STATION)))).toEqual(FLOODED);
    const off = withFar({ op: 'network', network: dualNetwork({ arpSuppression: false }) });
    expect(names(off.from('a', ask(IPS6.far)))).toEqual(FLOODED);
  });

  it('A5: also for a station of `Peer.static` that was never heard', () => {
    const entry = { network: 0, mac: macOf(MACS.far), address: address6(IPS6.far) };
    const fabric = dual({ op: 'peer', peer: peer('p', { static: [entry] }) });
    expect(names(fabric.from('a', ask(IPS6.far)))).toEqual(['a']);
  });

  it('A6: a unicast question is forwarded, never answered for', () => {
    const sent = withFar().from('a', ask(IPS6.far, { dst: MACS.far, to: IPS6.far }));
    expect(names(sent)).toEqual(['p']);
  });

  it('A7: a probe is flooded and teaches nothing', () => {
    const fabric = withFar();
    expect(names(fabric.from('a', ask(IPS6.far, { from: '::' })))).toEqual(FLOODED);
    expect(bindingOf(fabric, IPS6.far)).toMatchObject({ mac: MACS.far });
  });

  it.each(['::1', 'fe80::21', '::'])('A12: %s is never answered for', (target) => {
    const fabric = withFar();
    fabric.fromPeer('p', advertisement({ src: MACS.far, from: IPS6.far, target }));
    expect(names(fabric.from('a', ask(target)))).toEqual(FLOODED);
  });

  it('A8: an announcement is flooded into tunnels, and moves its station', () => {
    const fabric = withFar();
    const news = advertisement({ src: MACS.far, from: IPS6.far, target: IPS6.far });
    expect(names(fabric.from('c', news))).toEqual(['a', 'b', 'p', 'q']);
    expect(fabric.counters.globals[Global.MAC_MOVES]).toBe(1);
  });
});

describe('bindings', () => {
  it('A11: are learned from solicitations and advertisements, inside the subnets only', () => {
    const fabric = dual();
    fabric.fromPeer('p', solicitation({ src: MACS.far, from: IPS6.far, target: STATION }));
    fabric.fromPeer('q', advertisement({ src: MACS.other, from: IPS6.other, target: IPS6.other }));
    fabric.fromPeer('q', solicitation({ src: MACS.other, from: 'fd00:99::1', target: STATION }));
    fabric.fromPeer('q', solicitation({ src: MACS.other, from: 'fe80::1', target: STATION }));
    expect(bindingOf(fabric, IPS6.far)).toMatchObject({ mac: MACS.far });
    expect(bindingOf(fabric, IPS6.other)).toMatchObject({ mac: MACS.other });
    expect(bindingOf(fabric, 'fd00:99::1')).toBeUndefined();
    expect(bindingOf(fabric, 'fe80::1')).toBeUndefined();
  });

  it('A11: an advertisement without O leaves another MAC where it is, one with O moves it', () => {
    const fabric = withFar();
    const news = (flags: number) => advertisement({ src: STRANGER, from: IPS6.far, target: IPS6.far, flags });
    fabric.fromPeer('p', news(0));
    expect(bindingOf(fabric, IPS6.far)).toMatchObject({ mac: MACS.far });
    fabric.fromPeer('p', news(0x20));
    expect(bindingOf(fabric, IPS6.far)).toMatchObject({ mac: STRANGER });
  });

  it('A10: a configured address stays where it is; the attempt is counted', () => {
    const fabric = dual();
    fabric.fromPeer('p', advertisement({ src: MACS.far, from: IPS6.a, target: IPS6.a }));
    fabric.advance(100);
    expect(bindingOf(fabric, IPS6.a)).toMatchObject({ mac: MACS.a, source: 'port' });
    expect(fabric.counters.globals[Global.NEIGHBOR_CONFLICTS]).toBe(1);
  });
});

describe('the daemon asks', () => {
  const packet = (n = 0): Uint8Array =>
    ethernet(
      { src: MACS.a, dst: MACS.gateway, type: 0x86dd },
      udp6({ from: IPS6.a, to: STATION, sport: 1000, dport: 2000, payload: [n] }),
    );
  const answer = (more: Partial<NdFields> = {}): Uint8Array =>
    advertisement({
      src: STRANGER,
      from: STATION,
      target: STATION,
      to: IPS6.router,
      dst: MACS.router,
      flags: 0x60,
      ...more,
    });
  const isNs = ({ frame }: Sent): boolean => frame[12] === 0x86 && frame[54] === 135;

  it('A14: everywhere, from the router MAC and its link-local address', () => {
    const sent = dual().from('a', packet());
    expect(names(sent)).toEqual(['a', 'b', 'c', 'p', 'q']);
    for (const one of sent) {
      expect(told(one)).toMatchObject({
        dst: groupMac(solicitedNode(STATION)),
        src: MACS.router,
        from: hex6(IPS6.router),
        to: hex6(solicitedNode(STATION)),
        hopLimit: 255,
        icmp: '135/0',
        target: hex6(STATION),
        option: linkOption(1, MACS.router),
      });
    }
  });

  it('A13: three times, a second apart, then every waiting packet is answered "address unreachable"', () => {
    const fabric = dual();
    fabric.from('a', packet());
    const times: number[] = [];
    let errors: Sent[] = [];
    for (let i = 0; i < 40; i++) {
      const sent = fabric.advance(100);
      if (sent.some(isNs)) times.push(i);
      errors = [...errors, ...sent.filter((one) => !isNs(one))];
    }
    expect(times).toEqual([9, 19]);
    expect(names(errors)).toEqual(['a']);
    expect(readIpv6(errors[0]!.frame)).toMatchObject({ icmp: '1/3', from: hex6(IPS6.gateway) });
    expect(fabric.drops()).toEqual({ NEIGHBOR_FAILED: 1 });
  });

  it('A13: what waits leaves in order when the answer comes, one hop further', () => {
    const fabric = dual();
    for (let n = 0; n < 4; n++) fabric.from('a', packet(n));
    expect(fabric.count('a', Counter.HELD)).toBe(4);
    const sent = fabric.from('b', answer());
    expect(sent.map(({ frame }) => frame[62])).toEqual([0, 1, 2, 3]);
    for (const { to, frame } of sent) {
      expect(to).toBe('b');
      expect(readIpv6(frame)).toMatchObject({ dst: STRANGER, src: MACS.gateway, hopLimit: 63 });
    }
    expect(fabric.count('a', Counter.HELD)).toBe(0);
  });

  it('A13: a MAC that grew old is verified by unicast while it stays in use; Linux answers without an option', () => {
    const fabric = dual();
    fabric.from('a', packet());
    fabric.from('b', answer());
    fabric.wait(46_000);
    const sent = fabric.from('a', packet(7));
    const question = sent.filter(isNs);
    expect(names(question)).toEqual(['b']);
    expect(told(question[0]!)).toMatchObject({ dst: STRANGER, to: hex6(STATION) });
    expect(sent.filter((one) => !isNs(one)).length).toBe(1);
    expect(bindingOf(fabric, STATION)).toMatchObject({ state: 'probing' });
    fabric.from('b', answer({ link: '', flags: 0x40 }));
    expect(bindingOf(fabric, STATION)).toMatchObject({ state: 'reachable', mac: STRANGER });
  });
});

describe('announcements', () => {
  it('A15, K9: three unsolicited advertisements a second apart, byte for byte', () => {
    const k9 = hex(
      '333300000001020000002a0186dd6000000000203afffd000042000000000000000000000010ff0200000000000000000000' +
        '0000000188002ff920000000fd0000420000000000000000000000100201020000002a01',
    );
    const fabric = new Fabric();
    fabric.dataplane.apply([
      {
        op: 'port',
        port: port('a', { mac: macOf('02:00:00:00:2a:01'), addresses: [address6('fd00:42::10')] }),
      },
    ]);
    const times: number[] = [];
    for (let i = 0; i < 40; i++) {
      const sent = fabric.advance(100).filter(({ frame }) => frame[12] === 0x86);
      if (sent.length === 0) continue;
      times.push(i);
      expect(names(sent)).toEqual(['a', 'b', 'c', 'p', 'q']);
      for (const { frame } of sent) expect(toHex(frame)).toBe(toHex(k9));
    }
    expect(times).toEqual([0, 10, 20]);
  });
});

describe('what a pod may claim', () => {
  const guarded = (antiSpoof: 'strict' | 'mac' | 'off'): Fabric =>
    dual({ op: 'port', port: dualPort('a', { antiSpoof }) });
  const na = (target: string, more: Partial<NdFields> = {}): Uint8Array =>
    advertisement({ src: MACS.a, from: IPS6.a, target, ...more });
  const PASS = 'pass';
  const rows: [string, Uint8Array, [string, string, string]][] = [
    ['its own address', na(IPS6.a), [PASS, PASS, PASS]],
    ['a link-local address', na('fe80::11'), [PASS, PASS, PASS]],
    ['a question in its own name', ask(STATION), [PASS, PASS, PASS]],
    ['a probe', ask(STATION, { from: '::' }), [PASS, PASS, PASS]],
    ['the gateway’s address', na(IPS6.gateway), ['SPOOF_GATEWAY', 'SPOOF_GATEWAY', PASS]],
    ['the router’s link-local address', na(IPS6.router), ['SPOOF_GATEWAY', 'SPOOF_GATEWAY', PASS]],
    [
      'the gateway’s address, as a source',
      ask(STATION, { from: IPS6.gateway }),
      ['SPOOF_IP', 'SPOOF_GATEWAY', PASS],
    ],
    ['another port’s address', na(IPS6.b), ['SPOOF_ARP', 'SPOOF_GATEWAY', PASS]],
    ['an address that is nobody’s', na('fd00:77::88'), ['SPOOF_ARP', PASS, PASS]],
    ['another MAC in an advertisement', na(IPS6.a, { link: STRANGER }), ['SPOOF_ARP', 'SPOOF_ARP', PASS]],
    ['another MAC in a solicitation', ask(STATION, { link: STRANGER }), ['SPOOF_ARP', 'SPOOF_ARP', PASS]],
    [
      'another MAC in a router solicitation',
      ethernet(
        { src: MACS.a, dst: '33:33:00:00:00:02', type: 0x86dd },
        icmp6('fe80::11', 'ff02::2', [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 6, 0, 0, 0, 0, 0x99], 255),
      ),
      ['SPOOF_ARP', 'SPOOF_ARP', PASS],
    ],
    [
      'a redirect',
      ethernet(
        { src: MACS.a, dst: MACS.b, type: 0x86dd },
        icmp6('fe80::11', IPS6.b, [137, ...Array(39).fill(0)], 255),
      ),
      ['ROGUE_SERVER', 'ROGUE_SERVER', PASS],
    ],
  ];
  for (const [name, frame, verdicts] of rows) {
    for (const [i, mode] of (['strict', 'mac', 'off'] as const).entries()) {
      it(`B24, B25: ${mode}: ${name} → ${verdicts[i]}`, () => {
        const fabric = guarded(mode);
        const sent = fabric.from('a', frame);
        if (verdicts[i] === PASS) {
          expect(fabric.drops()).toEqual({});
          expect(sent.length).toBeGreaterThan(0);
        } else {
          expect(sent).toEqual([]);
          expect(fabric.drops()).toEqual({ [verdicts[i]!]: 1 });
        }
      });
    }
  }

  it('B25: discovery hidden in a fragment cannot be judged and is dropped (RFC 6980)', () => {
    const fabric = guarded('mac');
    const fragment = [58, 0, 0, 1, 0, 0, 0, 7];
    const packet = icmp6(IPS6.a, 'ff02::1', [136, 0, 0, 0, 0x20, 0, 0, 0, ...Array(16).fill(0)], 255);
    const hidden = [...packet.slice(0, 40), ...fragment, ...packet.slice(40)];
    hidden[5]! += 8;
    hidden[6] = 44;
    expect(
      fabric.from('a', ethernet({ src: MACS.a, dst: '33:33:00:00:00:01', type: 0x86dd }, hidden)),
    ).toEqual([]);
    expect(fabric.drops()).toEqual({ BAD_ND: 1 });
  });
});
