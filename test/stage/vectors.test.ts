import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { deltaHalf, fold, sumBytes, updateField } from '../../src/wire/checksum.ts';
import { address4, Fabric, MACS, macOf, network, peer, port, service } from '../fabric.ts';
import { ethernet, hex, internetChecksum, readIpv4, toHex } from '../frames.ts';

/** The addresses of the vectors: clients 10.244.1.0/24 here, backends 10.244.2.0/24 behind p. */
function cluster(...more: Op[]): Fabric {
  const fabric = new Fabric();
  fabric.dataplane.apply([
    {
      op: 'network',
      network: network({
        subnets: [{ address: address4('10.244.0.0'), prefix: 96 + 16, gateway: address4('10.244.1.1') }],
      }),
    },
    { op: 'port', port: port('a', { addresses: [address4('10.244.1.7')] }) },
    {
      op: 'peer',
      peer: peer('p', { static: [{ network: 0, mac: macOf(MACS.far), address: address4('10.244.2.9') }] }),
    },
    ...more,
  ]);
  fabric.wait(4000);
  return fabric;
}

const web = (backends = [{ address: address4('10.244.2.9'), port: 8080 }]): Op => ({
  op: 'service',
  service: service({ vip: address4('10.96.12.34'), port: 80, backends }),
});
const dns: Op = {
  op: 'service',
  service: service({
    vip: address4('10.96.0.10'),
    port: 53,
    protocol: 17,
    backends: [{ address: address4('10.244.2.9'), port: 5300 }],
  }),
};
const toGateway = (packet: string) => ethernet({ src: MACS.a, dst: MACS.gateway }, hex(packet));
const packetOf = (frame: Uint8Array) => toHex(readIpv4(frame).packet);

const K5_IN = '4500002812344000400606200af401070a600c229c40005011223344000000005002faf0b17e0000';
const K5_OUT = '450000281234' + '40003f0610a50af401070af402099c401f9011223344000000005002faf09bc30000';

describe('known-answer vectors', () => {
  it('K1, V8: a datagram of Open vSwitch is decapsulated', () => {
    const frame = hex(
      'aa55aa550000001b213cab6408004500004e00010000401173e90101025c0101025812b512b5003a02320800000000007b00' +
        'fe71d883724fbeb6f4e1494a08004500001c0001000040013ede1e0000011e0000020000ffff00000000',
    );
    const payload = frame.subarray(14 + 20 + 8);
    const fabric = new Fabric();
    fabric.dataplane.apply([
      { op: 'network', network: network({ vni: 123 }) },
      { op: 'peer', peer: peer('p', { addresses: [address4('1.1.2.92')] }) },
    ]);
    const sent = fabric.fromUnderlay('1.1.2.92', payload);
    expect(sent.map((s) => s.to).sort()).toEqual(['a', 'b', 'c']);
    for (const { frame: inner } of sent) {
      expect(toHex(inner)).toBe(
        'fe71d883724fbeb6f4e1494a08004500001c0001000040013ede1e0000011e0000020000ffff00000000',
      );
    }
  });

  it('K4, V1: the payload that carries a broadcast ARP request', () => {
    const payload =
      '0800000000002a00ffffffffffff020000002a0108060001080006040001020000002a01ac1e2a0a000000000000ac1e2a14';
    const fabric = new Fabric();
    const sent = fabric.from('a', hex(payload.slice(16)));
    const datagrams = sent.filter(({ to }) => to === 'p' || to === 'q').map(({ raw }) => toHex(raw.bytes));
    expect(datagrams).toEqual([payload, payload]);
  });

  it('K5, N40: a SYN is translated to its backend and routed once', () => {
    const fabric = cluster(web());
    const [sent] = fabric.from('a', toGateway(K5_IN));
    expect([sent!.to, packetOf(sent!.frame)]).toEqual(['p', K5_OUT]);
  });

  it('K6, N2: its SYN+ACK is undone, bridged', () => {
    const fabric = cluster(web());
    fabric.from('a', toGateway(K5_IN));
    const reply = hex('45000028000040003f0622d90af402090af401071f909c4055667788112233455012faf0cec30000');
    const [sent] = fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.a }, reply));
    expect([sent!.to, packetOf(sent!.frame)]).toEqual([
      'a',
      '45000028000040003f0619540a600c220af4010700509c4055667788112233455012faf0e47e0000',
    ]);
  });

  it('K8, A15: a port announces its address, three times', () => {
    const fabric = new Fabric();
    const address = { address: address4('172.30.42.0'), prefix: 120, gateway: address4('172.30.42.1') };
    fabric.dataplane.apply([
      { op: 'network', network: network({ subnets: [address] }) },
      {
        op: 'port',
        port: port('a', { mac: macOf('02:00:00:00:2a:01'), addresses: [address4('172.30.42.10')] }),
      },
    ]);
    const announced = fabric.wait(10_000).filter(({ to }) => to === 'b');
    const garp = 'ffffffffffff020000002a0108060001080006040001020000002a01ac1e2a0a000000000000ac1e2a0a';
    expect(announced.map(({ frame }) => toHex(frame))).toEqual([garp, garp, garp]);
  });

  it('K11, N41: a UDP checksum of 0 stays 0', () => {
    const fabric = cluster(dns);
    const [sent] = fabric.from(
      'a',
      toGateway('4500002200014000401124660af401070a60000a14e90035000e00007477696c6c21'),
    );
    expect(packetOf(sent!.frame)).toBe(
      '4500002200' + '0140003f1122d30af401070af4020914e914b4000e00007477696c6c21',
    );
  });

  it('K11, N41: a sum that becomes 0 is sent as ffff', () => {
    const fabric = cluster(dns);
    const [sent] = fabric.from(
      'a',
      toGateway('4500001e000140004011246a0af401070a60000a14e90035000a1712bd45'),
    );
    expect(packetOf(sent!.frame)).toBe('4500001e000140003f1122d70af401070af4020914e914b4000affffbd45');
  });

  it.each([
    ['of 20 bytes', 0, '2297', '1912'],
    ['of 2916 bytes, a super-frame', 2896, '2de7', '2462'],
  ])('K12, N42: the partial checksum of a segment %s', (_, payload, before, after) => {
    const fabric = cluster(web());
    const frame = Uint8Array.from([...toGateway(K5_IN), ...new Array(payload).fill(0)]);
    frame.set([(40 + payload) >> 8, (40 + payload) & 255, ...frame.subarray(18, 24), 0, 0], 16);
    const header = internetChecksum(frame.subarray(14, 34));
    frame.set([header >> 8, header & 255], 24);
    frame.set(hex(before), 50);
    const gso = payload > 0 ? { gsoType: 1, gsoSize: 1410 } : {};
    const [sent] = fabric.from('a', frame, { csumStart: 34, csumOffset: 16, ...gso });
    expect(sent!.to).toBe('p');
    expect(toHex(sent!.frame.subarray(50, 52))).toBe(after);
    expect(readIpv4(sent!.frame).dport).toBe(8080);
  });

  it('K14, N34: frag-needed about a packet larger than the overlay MTU', () => {
    const fabric = cluster();
    const packet = Uint8Array.from([
      ...hex('450005dc0009400040111c110af401070af4020914e914b405c80000'),
      ...new Uint8Array(1472),
    ]);
    // Offloaded, so that no more than header and 8 bytes are quoted.
    const [error] = fabric.from('a', ethernet({ src: MACS.a, dst: MACS.far }, packet), {
      csumStart: 34,
      csumOffset: 6,
    });
    expect(packetOf(error!.frame)).toBe(
      '4500003800000000400162d60af401010af401070304c7ec000005aa' +
        '450005dc0009400040111c110af401070af4020914e914b405c80000',
    );
  });

  it('K15, S16: the reset that rejects a SYN when the Service has no endpoint', () => {
    const fabric = cluster(web([]));
    const [reset] = fabric.from('a', toGateway(K5_IN));
    expect([reset!.to, packetOf(reset!.frame)]).toEqual([
      'a',
      '4500002800004000400618540a600c220af4010700509c40000000001122334550140000ac5c0000',
    ]);
  });

  it('K17, N40: the examples of RFC 1071 and RFC 1624', () => {
    const words = hex('0001f203f4f5f6f7');
    expect(~fold(sumBytes(new DataView(words.buffer), 0, 8)) & 0xffff).toBe(0x220d);
    expect(updateField(0xdd2f, deltaHalf(0x5555, 0x3285))).toBe(0x0000);
  });
});
