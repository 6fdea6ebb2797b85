import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FIRST_PEER } from '../../src/telemetry/counters.ts';
import { address4, MACS, service } from '../fabric.ts';
import { arp, ethernet, macText, readIpv4, toHex, udp } from '../frames.ts';
import { GATEWAY_IP, isArp, isIpv4, Mesh, type Pod, SYN_PORT } from './mesh.ts';

const VIP = '10.96.0.10';
/** Two blue pods per host. */
const pairs = (hosts: number) => new Mesh(Array.from({ length: hosts }, () => [0, 0]));
const got = (pod: Pod, frame: Uint8Array) =>
  pod.received.filter((other) => toHex(other) === toHex(frame)).length;
const backends = (...pods: Pod[]) => pods.map((pod) => ({ address: address4(pod.ip), port: SYN_PORT }));
const icmpOf = (pod: Pod, kind: string) =>
  pod.received
    .filter(isIpv4)
    .map(readIpv4)
    .filter(({ icmp }) => icmp === kind);

describe.each([3, 5])('%i hosts', (count) => {
  it('V30, V31, V33: a broadcast arrives exactly once at every other pod', () => {
    const mesh = pairs(count);
    const frame = ethernet({ src: mesh.pods[0]!.mac, dst: 'ff:ff:ff:ff:ff:ff', type: 0x88b5 }, [1, 2, 3]);
    mesh.send(mesh.pods[0]!, frame);
    mesh.settle();
    expect(mesh.pods.map((pod) => got(pod, frame))).toEqual(mesh.pods.map((_, i) => (i === 0 ? 0 : 1)));
    expect(mesh.datagrams).toBe(count - 1);
  });

  it('V31, V33: N frames to an unknown address arrive exactly N times at every other pod, also with a dead host', () => {
    const mesh = pairs(count);
    mesh.hosts[1]!.dead = true;
    const [from] = mesh.pods;
    const frame = ethernet(
      { src: from!.mac, dst: '02:00:00:00:77:77' },
      udp({ from: from!.ip, to: '10.77.9.9', sport: 1, dport: 2 }),
    );
    for (let i = 0; i < 20; i++) mesh.send(from!, frame);
    mesh.settle();
    for (const pod of mesh.pods) {
      expect(got(pod, frame), pod.name).toBe(pod === from || pod.host === 1 ? 0 : 20);
    }
  });

  it('V28, B15: known unicast arrives once, at its owner, by one datagram', () => {
    const mesh = pairs(count);
    const [from] = mesh.pods;
    for (const to of mesh.pods.slice(1)) {
      const frame = ethernet(
        { src: from!.mac, dst: to.mac },
        udp({ from: from!.ip, to: to.ip, sport: 1, dport: 2 }),
      );
      mesh.forget();
      mesh.send(from!, frame);
      mesh.settle();
      expect(mesh.pods.filter((pod) => got(pod, frame) > 0)).toEqual([to]);
      expect(got(to, frame)).toBe(1);
      expect(mesh.datagrams).toBe(to.host === from!.host ? 0 : 1);
    }
  });

  it('B5, B3: a station that is silent for the ageing time is flooded to again', () => {
    const mesh = pairs(count);
    const [from] = mesh.pods;
    const to = mesh.pods.at(-1)!;
    const frame = ethernet(
      { src: from!.mac, dst: to.mac },
      udp({ from: from!.ip, to: to.ip, sport: 1, dport: 2 }),
    );
    const copies = () => {
      mesh.forget();
      mesh.send(from!, frame);
      mesh.settle();
      expect(got(to, frame)).toBe(1);
      return mesh.datagrams;
    };
    expect(copies()).toBe(1);
    // It only receives meanwhile, which refreshes nothing.
    for (let i = 0; i < 6; i++) {
      mesh.wait(50_000, 10_000);
      copies();
    }
    expect(copies()).toBe(count - 1);
  });

  it('B6, A15: a pod that moves to another host is found there at once', () => {
    const mesh = pairs(count);
    const [client] = mesh.pods;
    const moving = mesh.pods.at(-1)!;
    mesh.ping(client!, moving.ip);
    expect(icmpOf(client!, '0/0')).toHaveLength(1);
    mesh.move(moving, 1);
    mesh.wait(200, 100);
    mesh.forget();
    mesh.ping(client!, moving.ip, 2);
    expect(icmpOf(client!, '0/0')).toHaveLength(1);
    expect(icmpOf(moving, '8/0')).toHaveLength(1);
    for (const [i, { dataplane }] of mesh.hosts.entries()) {
      const mac = { hi: 0x0200, lo: Number.parseInt(moving.mac.replaceAll(':', '').slice(4), 16) | 0 };
      const at = dataplane.pipeline.bridge.fdbs[0]!.locate(mac.hi, mac.lo, dataplane.now);
      if (i === 1) expect(at).toBeLessThan(FIRST_PEER);
      else expect(at).toBe(FIRST_PEER + 1);
    }
  });

  it('V30: a dead host costs the others nothing', () => {
    const mesh = pairs(count);
    mesh.hosts[count - 1]!.dead = true;
    const alive = mesh.pods.filter((pod) => pod.host !== count - 1);
    let sequence = 0;
    for (const from of alive) for (const to of alive) if (from !== to) mesh.ping(from, to.ip, ++sequence);
    for (const pod of alive) expect(icmpOf(pod, '0/0')).toHaveLength(alive.length - 1);
  });

  it('A3, A14: every host answers for the gateway itself, with one MAC, and nothing enters a tunnel', () => {
    const mesh = pairs(count);
    for (const pod of mesh.pods) {
      mesh.ping(pod, GATEWAY_IP);
      expect(pod.arpCache.get(GATEWAY_IP)).toBe(MACS.gateway);
      expect(icmpOf(pod, '0/0')).toHaveLength(1);
    }
    expect(mesh.datagrams).toBe(0);
  });

  it('A5: a known station is answered for across hosts, also while its owner is down', () => {
    const mesh = pairs(count);
    const [asker] = mesh.pods;
    const owner = mesh.pods.at(-1)!;
    mesh.hosts[owner.host]!.dead = true;
    mesh.send(asker!, arp({ op: 'request', senderMac: asker!.mac, senderIp: asker!.ip, targetIp: owner.ip }));
    mesh.settle();
    const replies = asker!.received.filter((frame) => isArp(frame) && frame[21] === 2);
    expect(replies.map((frame) => macText(frame.subarray(22, 28)))).toEqual([owner.mac]);
    expect(mesh.datagrams).toBe(0);
    expect(mesh.pods.filter((pod) => pod !== asker && pod.received.length > 0)).toEqual([]);
  });

  it('A5, A7: an unknown address is asked for everywhere, once', () => {
    const mesh = pairs(count);
    const [asker] = mesh.pods;
    const question = arp({
      op: 'request',
      senderMac: asker!.mac,
      senderIp: asker!.ip,
      targetIp: '10.77.9.9',
    });
    mesh.send(asker!, question);
    mesh.settle();
    expect(mesh.pods.map((pod) => got(pod, question))).toEqual(
      mesh.pods.map((pod) => (pod === asker ? 0 : 1)),
    );
  });

  it('S20, S23, N2: a ClusterIP works from every host to backends on every host; nobody sees a backend’s address', () => {
    const mesh = pairs(count);
    const targets = mesh.pods.filter((_, i) => i % 2 === 1);
    mesh.serve(service({ backends: backends(...targets) }));
    mesh.forget();
    let sport = 10_000;
    for (const client of mesh.pods.filter((_, i) => i % 2 === 0)) {
      for (let i = 0; i < targets.length; i++) {
        const answers = mesh.connect(client, VIP, ++sport, 80);
        expect(answers.map(({ flags, from, sport: port, ack }) => [flags, from, port, ack])).toEqual([
          ['SA', VIP, 80, 101],
        ]);
      }
      const sources = client.received.filter(isIpv4).map((frame) => readIpv4(frame).from);
      expect(new Set(sources)).toEqual(new Set([VIP]));
    }
    for (const target of targets) {
      const syns = target.received
        .filter(isIpv4)
        .map(readIpv4)
        .filter(({ flags }) => flags === 'S');
      expect(syns.map(({ from }) => from).sort()).toEqual(
        mesh.pods
          .filter((_, i) => i % 2 === 0)
          .map((pod) => pod.ip)
          .sort(),
      );
    }
  });

  it('S24, N31: a pod may be its own backend, wherever the others are', () => {
    const mesh = pairs(count);
    mesh.serve(service({ backends: backends(...mesh.pods) }));
    for (let i = 0; i < mesh.pods.length; i++) {
      const [answer, ...more] = mesh.connect(mesh.pods[0]!, VIP, 20_000 + i, 80);
      expect(more).toEqual([]);
      expect(answer).toMatchObject({ flags: 'SA', from: VIP, sport: 80 });
    }
    const syns = mesh.pods.map((pod) =>
      pod.received
        .filter(isIpv4)
        .map(readIpv4)
        .filter(({ flags }) => flags === 'S'),
    );
    expect(syns.map((list) => list.length)).toEqual(mesh.pods.map(() => 1));
    expect(syns[0]![0]!.from).toBe(GATEWAY_IP);
  });

  it('S26, S27: affinity holds per client and host until its timeout', () => {
    const mesh = pairs(count);
    const targets = mesh.pods.filter((_, i) => i % 2 === 1);
    mesh.serve(service({ affinity: 10_000, backends: backends(...targets) }));
    const chosen = (client: Pod, sport: number) => {
      mesh.forget();
      expect(mesh.connect(client, VIP, sport, 80)).toHaveLength(1);
      return targets.findIndex((pod) =>
        pod.received.filter(isIpv4).some((frame) => readIpv4(frame).flags === 'S'),
      );
    };
    const client = mesh.pods[2]!;
    const first = chosen(client, 1);
    for (let i = 2; i < 8; i++) {
      mesh.wait(3000);
      expect(chosen(client, i)).toBe(first);
    }
    mesh.wait(10_000);
    expect(chosen(client, 9)).not.toBe(first);
  });

  it('S31: a UDP client reaches the replacement of a backend on any host', () => {
    const mesh = pairs(count);
    const [client] = mesh.pods;
    const [, old, , next] = mesh.pods;
    const ask = () => {
      mesh.forget();
      mesh.sendIp(client!, VIP, udp({ from: client!.ip, to: VIP, sport: 5353, dport: 53 }));
      return mesh.pods.filter((pod) =>
        pod.received.some((frame) => isIpv4(frame) && readIpv4(frame).sport === 5353),
      );
    };
    const dns = { name: 'default/dns:udp', port: 53, protocol: 17 };
    mesh.serve(service({ ...dns, backends: backends(old!) }));
    expect(ask()).toEqual([old]);
    mesh.serve(service({ ...dns, backends: backends(next!) }));
    expect(ask()).toEqual([next]);
  });
});

describe('isolation', () => {
  /** Blue and red pods in turn, so that both networks span all hosts. */
  const twins = () => {
    const mesh = new Mesh([
      [0, 1],
      [0, 1],
      [0, 1],
    ]);
    // The red pods take the addresses of the blue ones: same IPs, same MACs.
    for (let i = 1; i < mesh.pods.length; i += 2) {
      const [blue, red] = [mesh.pods[i - 1]!, mesh.pods[i]!];
      mesh.hosts[red.host]!.dataplane.apply([{ op: 'remove-port', id: 3 }]);
      red.ip = blue.ip;
      red.mac = blue.mac;
      red.arpCache.clear();
      mesh.move(red, red.host);
    }
    mesh.wait(4000);
    mesh.forget();
    return mesh;
  };

  it('B17, N3: two networks with equal addresses share nothing', () => {
    const mesh = twins();
    const [blue0, red0, blue1, red1, blue2, red2] = mesh.pods;
    mesh.ping(blue0!, blue1!.ip, 1);
    mesh.ping(red0!, red2!.ip, 2);
    const seen = (pod: Pod | undefined) =>
      pod!.received.filter(isIpv4).map((frame) => `${readIpv4(frame).icmp}`);
    expect([blue0, blue1, blue2, red0, red1, red2].map(seen)).toEqual([
      ['0/0'],
      ['8/0'],
      [],
      ['0/0'],
      [],
      ['8/0'],
    ]);
  });

  it('B17: a flood of one network never reaches the other', () => {
    const mesh = twins();
    const frame = ethernet({ src: mesh.pods[0]!.mac, dst: 'ff:ff:ff:ff:ff:ff', type: 0x88b5 }, [7]);
    mesh.send(mesh.pods[0]!, frame);
    mesh.settle();
    expect(mesh.pods.map((pod) => [pod.network, got(pod, frame)])).toEqual([
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 0],
      [0, 1],
      [1, 0],
    ]);
  });

  it('N3: one ClusterIP serves equal clients of both networks, each from its own network', () => {
    const mesh = twins();
    const [blue0, red0, blue1, red1] = mesh.pods;
    mesh.serve(service({ backends: backends(blue1!) }));
    for (const [client, own, other] of [
      [blue0, blue1, red1],
      [red0, red1, blue1],
    ] as const) {
      mesh.forget();
      expect(mesh.connect(client!, VIP, 4000, 80)).toMatchObject([{ flags: 'SA', from: VIP }]);
      expect([own, other].map((pod) => pod!.received.filter(isIpv4).length)).toEqual([1, 0]);
    }
  });
});

describe('any mesh', () => {
  it('B15, V28, V31: pods anywhere, pinging in any order, get every question and every answer exactly once', () => {
    const placement = fc.array(fc.array(fc.nat(1), { minLength: 1, maxLength: 3 }), {
      minLength: 2,
      maxLength: 4,
    });
    const pings = fc.array(fc.tuple(fc.nat(99), fc.nat(99), fc.nat(2)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(placement, pings, (hosts, order) => {
        const mesh = new Mesh(hosts);
        const asked = new Map<Pod, number>();
        const answered = new Map<Pod, number>();
        const count = (map: Map<Pod, number>, pod: Pod) => map.set(pod, (map.get(pod) ?? 0) + 1);
        order.forEach(([a, b, pause], sequence) => {
          const from = mesh.pods[a % mesh.pods.length]!;
          const same = mesh.pods.filter((pod) => pod.network === from.network && pod !== from);
          const to = same[b % Math.max(1, same.length)];
          if (!to) return;
          mesh.ping(from, to.ip, sequence);
          count(asked, to);
          count(answered, from);
          if (pause > 0) mesh.wait(pause * 1000);
        });
        for (const pod of mesh.pods) {
          expect(icmpOf(pod, '8/0')).toHaveLength(asked.get(pod) ?? 0);
          expect(icmpOf(pod, '0/0')).toHaveLength(answered.get(pod) ?? 0);
        }
      }),
      { numRuns: 12 },
    );
  }, 60_000);
});
