/** The order in which a packet is judged, and what nobody looks at on its way. */
import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/config.ts';
import { address4, Fabric, IPS, MACS, port, type Sent, service } from '../fabric.ts';
import { checksumsAreRight, ethernet, readIpv4, tcp, udp } from '../frames.ts';
import { udp6 } from '../frames6.ts';

const VIP = '10.96.0.10';
const shop: Op = {
  op: 'service',
  service: service({ backends: [{ address: address4(IPS.b), port: 8080 }] }),
};
const guarded: Op = {
  op: 'port',
  port: port('a', { antiSpoof: 'strict', addresses: [address4(IPS.a)] }),
};
const fabricWith = (...ops: Op[]): Fabric => new Fabric([...Fabric.standing(), ...ops]);
const names = (sent: readonly Sent[]): string[] => sent.map(({ to }) => to).sort();
const flows = (fabric: Fabric): number => fabric.dataplane.pipeline.flows.count;

describe('the order', () => {
  it('N1: who lies about its address opens no flow', () => {
    const fabric = fabricWith(guarded, shop);
    const syn = tcp({ from: '10.77.0.99', to: VIP, sport: 4000, dport: 80 });
    expect(fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, syn))).toEqual([]);
    expect([fabric.drops(), flows(fabric)]).toEqual([{ SPOOF_IP: 1 }, 0]);
  });

  it('N1: the flow comes before the service: a living one keeps its endpoint when the service has another', () => {
    const fabric = fabricWith(shop);
    const ask = () =>
      fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, tcp({ from: IPS.a, to: VIP, sport: 4000, dport: 80 })),
      );
    expect(names(ask())).toEqual(['b']);
    const moved = service({ backends: [{ address: address4(IPS.c), port: 8080 }] });
    fabric.dataplane.apply([{ op: 'service', service: moved }]);
    expect(names(ask())).toEqual(['b']);
  });

  it('N1: translation comes before the next hop: a VIP needs no route', () => {
    const fabric = fabricWith(shop);
    const to = (address: string, dport: number) =>
      fabric.from(
        'a',
        ethernet({ src: MACS.a, dst: MACS.gateway }, udp({ from: IPS.a, to: address, sport: 1, dport })),
      );
    expect(readIpv4(to('198.51.100.1', 80)[0]!.frame).icmp).toBe('3/0');
    fabric.wait(1100); // one error a second to one address (N10)
    expect(readIpv4(to(VIP, 81)[0]!.frame).icmp).toBe('3/3');
  });

  it('N1: what comes through a tunnel is matched with flows, and opens none', () => {
    const fabric = fabricWith(shop);
    const syn = tcp({ from: IPS.far, to: VIP, sport: 4000, dport: 80 });
    fabric.fromPeer('p', ethernet({ src: MACS.far, dst: MACS.router }, syn));
    expect(flows(fabric)).toBe(0);
  });
});

describe('payload', () => {
  it('N32: addresses in it are nobody’s business: an FTP command passes as it is', () => {
    const fabric = fabricWith(shop);
    const payload = new TextEncoder().encode(`PORT ${IPS.a.replaceAll('.', ',')},15,160\r\n`);
    const ends = { from: IPS.a, to: VIP, sport: 4000, dport: 80 };
    const send = (fields: { flags: string; seq: number; ack?: number; payload?: Uint8Array }) =>
      fabric.from('a', ethernet({ src: MACS.a, dst: MACS.gateway }, tcp({ ...ends, ...fields })));
    send({ flags: 'S', seq: 1000 });
    const back = tcp({ from: IPS.b, to: IPS.a, sport: 8080, dport: 4000, flags: 'SA', seq: 7, ack: 1001 });
    fabric.from('b', ethernet({ src: MACS.b, dst: MACS.a }, back));
    const [sent] = send({ flags: 'PA', seq: 1001, ack: 8, payload });
    const { packet, body, to } = readIpv4(sent!.frame);
    expect([to, checksumsAreRight(packet)]).toEqual([IPS.b, true]);
    expect([...body.subarray(20)]).toEqual([...payload]);
  });
});

describe('group traffic', () => {
  it.each([
    ['DHCP', '255.255.255.255', 'ff:ff:ff:ff:ff:ff', 67],
    ['mDNS', '224.0.0.251', '01:00:5e:00:00:fb', 5353],
    ['LLMNR', '224.0.0.252', '01:00:5e:00:00:fc', 5355],
  ])('A18: %s is flooded like any group traffic', (_name, to, dst, dport) => {
    const fabric = new Fabric();
    const packet = udp({ from: IPS.a, to, sport: dport + 1, dport });
    expect(names(fabric.from('a', ethernet({ src: MACS.a, dst }, packet)))).toEqual(['b', 'c', 'p', 'q']);
  });

  it('A18: so is IPv6 mDNS', () => {
    const fabric = new Fabric();
    const packet = udp6({ from: 'fe80::a', to: 'ff02::fb', sport: 5353, dport: 5353 });
    const frame = ethernet({ src: MACS.a, dst: '33:33:00:00:00:fb', type: 0x86dd }, packet);
    expect(names(fabric.from('a', frame))).toEqual(['b', 'c', 'p', 'q']);
  });
});
