import { describe, expect, it } from 'vitest';
import { Flows } from '../../src/conntrack/flows.ts';
import { TcpState } from '../../src/conntrack/tcp-state.ts';
import { TUPLE_WORDS } from '../../src/conntrack/tuple.ts';
import type { Algorithm, ServiceConfig } from '../../src/dataplane/config.ts';
import { Chooser } from '../../src/service/choice/chooser.ts';
import { BACKEND_WORDS, RecordWriter } from '../../src/service/record.ts';
import { EndpointSet, Services } from '../../src/service/services.ts';
import { service } from '../fabric.ts';

const CLUSTER = EndpointSet.CLUSTER;
const LOCAL = EndpointSet.LOCAL;
type Weighted = readonly (readonly [host: number, weight: number])[];
const endpoints = (members: Weighted) =>
  members.map(([host, weight]) => ({
    address: [0, 0, 0xffff, 0x0a000000 | host] as const,
    port: 8080,
    weight,
  }));
const hosts = (...numbers: number[]): Weighted => numbers.map((host) => [host, 1]);

/** Services, flows and a chooser as a dataplane has them. */
class Choosing {
  readonly services = new Services(7);
  readonly flows = new Flows(100, 7);
  readonly chooser = new Chooser(this.services, this.flows, 7);
  private port = 1;

  put(cluster: Weighted, algorithm: Algorithm = 'roundRobin', more: Partial<ServiceConfig> = {}): void {
    const writer = new RecordWriter();
    writer.add(service({ backends: endpoints(cluster), algorithm, ...more }));
    const { records, ids, frontends } = writer.finish();
    for (const _ of this.services.grow(ids, frontends)) {
    }
    for (const _ of this.chooser.begin()) {
    }
    if (this.chooser.isSlow(records, 0)) for (const _ of this.chooser.prepare(records, 0));
    this.chooser.change(records, 0);
    this.services.put(records, 0);
  }

  /** A new flow of service 0. @returns its row, and the host it goes to */
  open(set = CLUSTER): { row: number; host: number } {
    const { services, chooser, flows } = this;
    const port = this.port++;
    const original = Int32Array.of(6, (port << 16) | 80, 1, 2, 0, 0, 0xffff, 0, 0, 0xffff);
    const index = chooser.pick(0, set, original);
    if (index < 0) return { row: -1, host: -1 };
    const words = services.words(0);
    const at = services.first(0, set) + index * BACKEND_WORDS;
    const reply = new Int32Array(TUPLE_WORDS);
    reply.set([6, (8080 << 16) | port, words[at + 3]!, 1, 0, 0, 0xffff, 0, 0, 0xffff]);
    const row = flows.add(original, reply, TcpState.SYN_SENT, 0);
    flows.service[row] = 0;
    flows.generation[row] = services.generation[0]!;
    chooser.opened(0, set, index);
    chooser.began(row);
    return { row, host: words[at + 3]! & 0xff };
  }

  hosts(count: number, set = CLUSTER): number[] {
    return Array.from({ length: count }, () => this.open(set).host);
  }
}

describe('a service port', () => {
  it('S24: goes round, by one index for each set; a change keeps it, the end of the Service does not', () => {
    const choosing = new Choosing();
    choosing.put(hosts(1, 2, 3), 'roundRobin', { local: endpoints(hosts(2, 3)) });
    expect([choosing.hosts(2), choosing.hosts(1, LOCAL)]).toEqual([[1, 2], [2]]);
    choosing.put(hosts(1, 2, 3, 4), 'roundRobin', { local: endpoints(hosts(2, 3)) });
    expect([choosing.hosts(2), choosing.hosts(2, LOCAL)]).toEqual([
      [3, 4],
      [3, 2],
    ]);
    choosing.chooser.remove(0);
    choosing.services.remove(0);
    expect(choosing.open().host).toBe(-1);
    choosing.put(hosts(1, 2, 3));
    expect(choosing.hosts(1)).toEqual([1]);
  });

  it('S24: weights take over when they differ, and leave when they no longer do', () => {
    const choosing = new Choosing();
    const weighted: Weighted = [
      [1, 3],
      [2, 0],
      [3, 1],
    ];
    choosing.put(weighted);
    expect(choosing.hosts(4).sort()).toEqual([1, 1, 1, 3]);
    choosing.put(hosts(1, 2, 3));
    expect(choosing.hosts(3)).toEqual([1, 2, 3]);
    choosing.put([
      [1, 0],
      [2, 0],
    ]);
    expect(choosing.open().host).toBe(-1);
  });

  it('has no endpoint where the set is empty or not computed', () => {
    for (const algorithm of ['roundRobin', 'random', 'maglev', 'leastConn'] as const) {
      const choosing = new Choosing();
      choosing.put([], algorithm);
      expect([choosing.open().host, choosing.open(LOCAL).host]).toEqual([-1, -1]);
      choosing.put(hosts(9), algorithm, { local: endpoints(hosts(8)) });
      expect([choosing.open().host, choosing.open(LOCAL).host]).toEqual([9, 8]);
    }
  });

  it('may change its algorithm at any time', () => {
    const choosing = new Choosing();
    for (const algorithm of ['maglev', 'leastConn', 'random', 'maglev', 'roundRobin', 'leastConn'] as const) {
      choosing.put(hosts(1, 2), algorithm);
      expect(new Set(choosing.hosts(8))).toEqual(new Set([1, 2]));
    }
  });
});

describe('Maglev', () => {
  it('sends a client to the same endpoint on every host, whatever its seed', () => {
    const [one, other] = [new Choosing(), new Choosing()];
    for (const choosing of [one, other]) choosing.put(hosts(1, 2, 3, 4, 5), 'maglev');
    other.put(hosts(1, 2, 3, 4), 'maglev');
    other.put(hosts(1, 2, 3, 4, 5), 'maglev');
    expect(one.hosts(60)).toEqual(other.hosts(60));
  });
});

describe('least connections', () => {
  it('counts a flow until it closes, expires, or is removed; once', () => {
    const choosing = new Choosing();
    choosing.put(hosts(1, 2, 3), 'leastConn');
    const rows = [choosing.open(), choosing.open(), choosing.open()].map(({ row }) => row);
    const { flows } = choosing;
    flows.refresh(rows[1]!, TcpState.ESTABLISHED, 0);
    flows.refresh(rows[1]!, TcpState.FIN_WAIT, 0);
    flows.refresh(rows[1]!, TcpState.TIME_WAIT, 0);
    expect(choosing.hosts(2).sort()).toEqual([1, 2]);
    flows.remove(rows[1]!);
    flows.remove(rows[2]!);
    expect(choosing.hosts(2)).toEqual([3, 2]);
    flows.sweep(250_000, 100); // all others expire
    expect(flows.count).toBe(0);
    expect(choosing.hosts(3).sort()).toEqual([1, 2, 3]);
  });

  it('counts a flow in both sets, and not where its endpoint came later', () => {
    const choosing = new Choosing();
    choosing.put(hosts(1, 2), 'leastConn', { local: endpoints(hosts(2)) });
    const first = choosing.open();
    expect([first.host, ...choosing.hosts(1, LOCAL)]).toEqual([1, 2]);
    choosing.put(hosts(1, 2), 'leastConn', { local: endpoints(hosts(1, 2)) });
    choosing.flows.remove(first.row);
    // Flows of 1 and 2 here: 0 and 1, then 1 and 1, then 1 and 2.
    expect(choosing.hosts(3, LOCAL)).toEqual([1, 2, 1]);
  });

  it('forgets nothing when its flows move to a larger table', () => {
    const choosing = new Choosing();
    choosing.put(hosts(1, 2), 'leastConn');
    const [one] = [choosing.open(), choosing.open()];
    choosing.flows.resize(200);
    for (let row = 0; row < choosing.flows.extent; row++) {
      if ((choosing.flows.word(row * 2 + 1, 2) & 0xff) === one!.host) choosing.flows.remove(row);
    }
    expect(choosing.hosts(2)).toEqual([1, 2]);
  });
});
