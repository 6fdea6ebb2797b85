/**
 * Several switches on in-memory cards, joined by an underlay that hands every datagram to the host it is addressed
 * to, in virtual time. Pods answer ARP, echo and SYN like ordinary stations, and keep what they received.
 *
 *   host i   192.0.2.(i + 1)       network 0 (VNI 42) and 1 (VNI 43), both 10.77.0.0/16, gateway 10.77.0.1
 *   pod n    10.77.1.(n + 1)       02:00:00:<network>:01:<n + 1>
 */
import { Control, TxStatus } from '../../src/card/layout.ts';
import { MemoryCard, type MemoryFrame } from '../../src/card/memory-card.ts';
import type { Op, ServiceConfig } from '../../src/dataplane/config.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { COUNTER_FIELDS, Counter, Counters, FIRST_PEER, FIRST_PORT } from '../../src/telemetry/counters.ts';
import { address4, MACS, macOf, network } from '../fabric.ts';
import { arp, ethernet, icmp, macText, readIpv4, tcp } from '../frames.ts';

const UNDERLAY = 900;
const FIRST_DEVICE = 10;
/** More datagrams than any test sends at once: a loop multiplies them without end. */
const MOST_IN_FLIGHT = 2000;
export const GATEWAY_IP = '10.77.0.1';
export const SYN_PORT = 8080;

export interface Pod {
  name: string;
  host: number;
  network: number;
  ip: string;
  mac: string;
  device: number;
  received: Uint8Array[];
  /** IP → MAC, as its kernel would know. */
  arpCache: Map<string, string>;
  /** A silent pod receives and never answers. */
  silent: boolean;
}

interface Host {
  card: MemoryCard;
  counters: Counters;
  dataplane: Dataplane;
  dead: boolean;
}

const underlayOf = (host: number) => `192.0.2.${host + 1}`;
const networkOf = (id: number, host: number) =>
  network({
    id,
    name: id === 0 ? 'blue' : 'red',
    vni: 42 + id,
    subnets: [{ address: address4('10.77.0.0'), prefix: 96 + 16, gateway: address4(GATEWAY_IP) }],
    gatewayMac: macOf(id === 0 ? MACS.gateway : MACS.redGateway),
    routerMac: macOf(`02:77:00:00:${id.toString(16)}a:${(host + 1).toString(16)}`),
  });

export class Mesh {
  readonly hosts: Host[] = [];
  readonly pods: Pod[] = [];
  /** Datagrams that crossed the underlay since the last `forget`. */
  datagrams = 0;
  private wire: { to: number; frame: MemoryFrame }[] = [];

  /** @param pods network of every pod of each host */
  constructor(pods: readonly (readonly number[])[]) {
    pods.forEach((networks, host) => {
      networks.forEach((id, index) => {
        const n = this.pods.length + 1;
        this.pods.push({
          name: `pod${n - 1}`,
          host,
          network: id,
          ip: `10.77.1.${n}`,
          mac: `02:00:00:0${id}:01:${n.toString(16).padStart(2, '0')}`,
          device: FIRST_DEVICE + index,
          received: [],
          arpCache: new Map(),
          silent: false,
        });
      });
    });
    pods.forEach((_, host) => {
      this.addHost(host, pods.length);
    });
    this.wait(4000);
    this.forget();
  }

  private addHost(host: number, count: number): void {
    const card = new MemoryCard();
    const counters = new Counters();
    const dataplane = new Dataplane(card, counters, 0x5eed + host);
    const others = Array.from({ length: count }, (_, i) => i).filter((i) => i !== host);
    const ops: Op[] = [
      {
        op: 'host',
        host: { underlayAddresses: [address4(underlayOf(host))], vxlanPorts: [4789], maxFlows: 4096 },
      },
      { op: 'network', network: networkOf(0, host) },
      { op: 'network', network: networkOf(1, host) },
      ...others.map((other): Op => {
        const address = address4(underlayOf(other));
        const memberships = [0, 1].map((id) => ({
          network: id,
          remote: other * 2 + id,
          address,
          port: 4789,
        }));
        const id = FIRST_PEER + other;
        return {
          op: 'peer',
          peer: {
            id,
            name: `host${other}`,
            addresses: [address],
            memberships,
            flood: true,
            static: [],
            pathMtu: 0,
          },
        };
      }),
      ...this.pods.filter((pod) => pod.host === host).map((pod): Op => this.portOp(pod)),
    ];
    dataplane.apply(ops);
    card.onSend = (frame) => {
      if (this.hosts[host]!.dead) return TxStatus.SENT;
      if (frame.device === UNDERLAY) {
        this.datagrams++;
        this.wire.push({
          to: (frame.remote![3] & 255) - 1,
          frame: { ...frame, device: UNDERLAY, remote: address4(underlayOf(host)) },
        });
        return TxStatus.SENT;
      }
      const pod = this.pods.find((other) => other.host === host && other.device === frame.device);
      if (!pod) return TxStatus.GONE;
      pod.received.push(frame.bytes);
      this.answer(pod, frame.bytes);
      return TxStatus.SENT;
    };
    this.hosts.push({ card, counters, dataplane, dead: false });
  }

  private portOp(pod: Pod): Op {
    return {
      op: 'port',
      port: {
        id: FIRST_PORT + pod.device - FIRST_DEVICE,
        name: pod.name,
        network: pod.network,
        device: pod.device,
        mac: macOf(pod.mac),
        addresses: [address4(pod.ip)],
        antiSpoof: 'strict',
        mtu: 1450,
      },
    };
  }

  /** Takes a pod away from its host and starts it on another, with its addresses. */
  move(pod: Pod, host: number): void {
    const id = FIRST_PORT + pod.device - FIRST_DEVICE;
    this.hosts[pod.host]!.dataplane.apply([{ op: 'remove-port', id }]);
    const used = this.pods.filter((other) => other.host === host).map((other) => other.device);
    pod.host = host;
    pod.device = Math.max(FIRST_DEVICE, ...used.map((device) => device + 1));
    this.hosts[host]!.dataplane.apply([this.portOp(pod)]);
  }

  /** Tells every host of a Service. */
  serve(...services: ServiceConfig[]): void {
    for (const { dataplane } of this.hosts) {
      dataplane.apply(services.map((service) => ({ op: 'service', service })));
    }
  }

  send(pod: Pod, frame: Uint8Array): void {
    this.hosts[pod.host]!.card.receive({ device: pod.device, bytes: frame });
  }

  /** An IPv4 packet of a pod: its kernel asks for the MAC first, and sends through the gateway what is not local. */
  sendIp(pod: Pod, to: string, packet: ArrayLike<number>): void {
    const next = to.startsWith('10.77.') ? to : GATEWAY_IP;
    if (!pod.arpCache.has(next)) {
      this.send(pod, arp({ op: 'request', senderMac: pod.mac, senderIp: pod.ip, targetIp: next }));
      this.settle();
    }
    const dst = pod.arpCache.get(next);
    if (dst === undefined) return;
    this.send(pod, ethernet({ src: pod.mac, dst }, packet));
    this.settle();
  }

  ping(from: Pod, to: string, sequence = 1): void {
    this.sendIp(
      from,
      to,
      icmp(from.ip, to, [8, 0, 0, 0, 0x77, 0x11, sequence >> 8, sequence & 255, 1, 2, 3]),
    );
  }

  /** Opens a connection to address:port. @returns the SYN+ACKs and resets the client received for it. */
  connect(from: Pod, to: string, sport: number, dport: number): ReturnType<typeof readIpv4>[] {
    const before = from.received.length;
    this.sendIp(from, to, tcp({ from: from.ip, to, sport, dport, seq: 100 }));
    return from.received
      .slice(before)
      .filter(isIpv4)
      .map(readIpv4)
      .filter(({ protocol, dport: port }) => protocol === 6 && port === sport);
  }

  /** Runs every host until nothing moves. */
  settle(): void {
    for (let rounds = 0; rounds < 200; rounds++) {
      let moved = this.wire.length;
      if (moved > MOST_IN_FLIGHT) break;
      for (const { to, frame } of this.wire.splice(0)) {
        const host = this.hosts[to];
        if (host && !host.dead) host.card.receive(frame);
      }
      for (const { card, dataplane } of this.hosts) {
        moved += card.pending;
        do dataplane.turn();
        while (card.pending > 0);
      }
      if (moved === 0 && this.wire.length === 0) {
        this.checkBalance();
        return;
      }
    }
    throw new Error('the mesh does not come to rest: a loop');
  }

  /** Virtual time, in the steps of an idle daemon. */
  wait(ms: number, step = 500): void {
    for (let left = ms; left > 0; left -= step) {
      for (const { card } of this.hosts) card.now = (card.now + Math.min(step, left)) | 0;
      this.settle();
    }
  }

  forget(): void {
    this.datagrams = 0;
    for (const pod of this.pods) pod.received.length = 0;
  }

  /** M15 on every host. */
  private checkBalance(): void {
    this.hosts.forEach(({ card, counters: { values } }, host) => {
      let held = 0;
      for (let row = Counter.HELD as number; row < values.length; row += COUNTER_FIELDS) held += values[row]!;
      const free = card.memory.control[Control.FREE_COUNT]!;
      if (free + held !== 1024) throw new Error(`host ${host} lost ${1024 - free - held} slots`);
    });
  }

  private answer(pod: Pod, frame: Uint8Array): void {
    const type = (frame[12]! << 8) | frame[13]!;
    const isMine = macText(frame.subarray(0, 6)) === pod.mac;
    if (type === 0x0806) this.answerArp(pod, frame);
    else if (type === 0x0800 && isMine && !pod.silent) this.answerIp(pod, frame);
  }

  private answerArp(pod: Pod, frame: Uint8Array): void {
    const senderMac = macText(frame.subarray(22, 28));
    const senderIp = frame.subarray(28, 32).join('.');
    if (senderIp !== '0.0.0.0') pod.arpCache.set(senderIp, senderMac);
    if (pod.silent || frame[21] !== 1 || senderIp === pod.ip || frame.subarray(38, 42).join('.') !== pod.ip)
      return;
    this.send(
      pod,
      arp({ op: 'reply', senderMac: pod.mac, senderIp: pod.ip, targetMac: senderMac, targetIp: senderIp }),
    );
  }

  private answerIp(pod: Pod, frame: Uint8Array): void {
    const { from, to, icmp: kind, flags, sport, dport, seq, src, body } = readIpv4(frame);
    if (to !== pod.ip) return;
    const back = (packet: ArrayLike<number>) => {
      // Its kernel would have the sender's MAC in its cache; the gateway's when the packet was routed.
      const dst = from.startsWith('10.77.') && pod.arpCache.get(from) ? pod.arpCache.get(from)! : src;
      this.send(pod, ethernet({ src: pod.mac, dst }, packet));
    };
    if (kind === '8/0') back(icmp(pod.ip, from, [0, 0, 0, 0, ...body.subarray(4)]));
    if (flags === 'S' && dport === SYN_PORT) {
      back(tcp({ from: pod.ip, to: from, sport: dport, dport: sport, flags: 'SA', seq: 5000, ack: seq + 1 }));
    }
  }
}

export const isIpv4 = (frame: Uint8Array): boolean => frame[12] === 8 && frame[13] === 0;
export const isArp = (frame: Uint8Array): boolean => frame[12] === 8 && frame[13] === 6;
