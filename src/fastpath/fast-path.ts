import { Control } from '../card/layout.ts';
import type { Flows } from '../conntrack/flows.ts';
import { TUPLE_STEP, trafficAt } from '../conntrack/row.ts';
import { isTuple4, Line, ORIGINAL, Ready, Word } from '../conntrack/tuple.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Packets } from '../packet/packets.ts';
import type { Runs } from '../packet/runs.ts';
import { NO_SERVICE } from '../service/open.ts';
import type { Judge } from '../service/verdict.ts';
import type { Epochs } from '../table/epochs.ts';
import { Hasher } from '../table/hash.ts';
import { FIRST_PEER, GATEWAY } from '../telemetry/counters.ts';
import { fold, swap16 } from '../wire/checksum.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { IPV4_BYTES, Ipv4, Protocol } from '../wire/ipv4.ts';
import { Tcp, TcpFlag } from '../wire/tcp.ts';
import { Udp } from '../wire/udp.ts';
import { VXLAN_BYTES, VXLAN_FLAGS } from '../wire/vxlan.ts';
import { createCommon, STATE_FLAGS, update, VXLAN_I_FLAG } from './common.ts';
import type { Family } from './families.ts';
import { createLookAhead, FEW } from './look-ahead.ts';
import { Hop, type NextHops } from './next-hops.ts';
import { Path, type Paths, Role } from './paths.ts';
import { createTracked } from './tracked.ts';

/** Ethernet, IPv4 without options, UDP: the shortest frame looked at. */
const SHORTEST = 42;
const IP = ETHERNET_BYTES;
const L4 = IP + 20;
/** Words as they stand on the wire, read on a little-endian machine. */
const ETHERTYPE = 0x0008;
const IPV4_NO_OPTIONS = 0x45;
const FRAGMENT = 0xff3f0000 | 0;
/** ~old + new of TTL − 1 in wire order. */
const TTL_DELTA = 0xfffe;
/** UDP ports 67 → 68, which admission judges (B25). */
const DHCP_REPLY = 0x00430044;

/** Ports of the opposite direction. */
const swap = (ports: number): number => (ports << 16) | (ports >>> 16);

export interface FastPath {
  /** To be called when networks, ports or peers changed. */
  configure(): void;
  /**
   * Turns the head of the received packets [first, last) into transmit requests and into runs, behind those there are.
   * @returns one past the head.
   */
  run(first: number, last: number, now: number): number;
}

/**
 * The longest head of a group of packets that needs no decision goes straight to the card: each of its frames repeats what the
 * tables say already, by a path (paths.ts), where its connection is translated a flow (conntrack/flows.ts), and where
 * it is routed a next hop (next-hops.ts).
 *
 * The first frame that does not qualify and everything behind it take the stages. So frames keep their order (B18),
 * the stages stay the only ones that decide, and a turn does exactly what turns without the fast path would do: one
 * over each frame of the head, one over the rest.
 *
 * Looked at: IPv4 without options or fragments (IPv6: fast-path6.ts), TCP and UDP, from ports and from peers. Left to the stages:
 * whatever might be dropped, answered, learned or flooded, and every segment that could move a connection's state.
 *
 * A closure and not a class: there is one per thread, so the optimiser takes the columns it holds for constants.
 *
 * @param vxlanPort UDP ports of VXLAN: what a pod sends there is judged (B26).
 */
export function createFastPath(
  packets: Packets,
  networks: Networks,
  flows: Flows,
  judge: Judge,
  paths: Paths,
  hops: NextHops,
  epochs: Epochs,
  vxlanPort: Uint8Array,
  runs: Runs,
  seed: number,
): Family {
  const { view, words } = packets;
  const { memory } = packets;
  const { control, rx, device, start, length, fault, csumStart, csumOffset, gsoSize, tos } = memory;
  const { txSlot, txDevice, txStart, txLength, txRemote, txTos, txEntropy } = memory;
  const { from: runFrom, to: runTo, rx: runRx, tx: runTx } = runs;
  const { roles, sourceMask, scope: scopeOf, rows: path } = paths;
  const hop = hops.rows;
  const epoch = epochs.of;
  const { admits, advance, renew } = createTracked(packets, flows);
  const { segment, close } = createCommon(packets, runs);
  const hasher = new Hasher(seed);
  const ahead = createLookAhead(flows, 0);
  const { hashes, likely } = ahead;
  /** 1: the burst before had about as many flows as frames. */
  const mixed = new Int32Array(1);

  function run(first: number, last: number, now: number): number {
    const { lines } = flows;
    const isTracking = flows.count > 0;
    // Many flows in one burst: their memory is asked for at once, not one after the other.
    const isMixed = isTracking && mixed[0] !== 0 && last - first >= FEW;
    if (isMixed) lookAhead(first, last);
    let lookups = 0;
    // Frames of one burst often share path, flow and next hop: the previous answer is then still true.
    let p = 0;
    let h = 0;
    let id = -1;
    let isRenewed = false;
    let lastScope = -1;
    let lastPorts = 0;
    let lastSource = 0;
    let lastDestination = 0;
    let lastFrom = -1;
    let lastTo = -1;
    let bytes = 0;
    let current = runs.count - 1;
    let i = first;
    let tx = control[Control.TX_COUNT]!;
    for (; i < last; i++, tx++) {
      const slot = rx[i]!;
      const dev = device[slot]!;
      const role = roles[dev]!;
      let at = start[slot]!;
      let size = length[slot]!;
      if (fault[slot] !== 0 || (at & 3) !== 2) break;
      let key0: number;
      let key4 = 0;
      let key5 = 0;
      if (role === Role.PORT) {
        key0 = (words[at >> 2]! & 0xffff0000) | dev;
        key4 = sourceMask[dev]!;
        if (key4 !== 0) key4 = view.getInt32(at + IP + Ipv4.SOURCE);
      } else {
        if (role !== Role.TUNNEL) break;
        at += VXLAN_BYTES;
        size -= VXLAN_BYTES;
        key0 = words[at >> 2]!;
        key4 = paths.outerSource(slot, dev);
        key5 = words[(at >> 2) - 1]!;
        if (words[(at >> 2) - 2]! >>> 16 !== VXLAN_I_FLAG || (key5 & 0xffff) !== 0) break; // V20, V23
        if (key4 === 0) break;
        key5 |= dev;
      }
      const w = at >> 2;
      const top = words[w + 4]!;
      const third = words[w + 6]!;
      const total = ((top >>> 8) & 0xff00) | (top >>> 24);
      const protocol = (third >>> 8) & 0xff;
      if (words[w + 3]! >>> 16 !== ETHERTYPE) break;
      if ((top & 0xff) !== IPV4_NO_OPTIONS || (words[w + 5]! & FRAGMENT) !== 0) break;
      if (size < SHORTEST || total > size - IP) break;
      const ports = view.getInt32(at + L4);
      if (protocol === Protocol.UDP) {
        if (total < 28) break;
        if (role === Role.PORT && (vxlanPort[ports & 0xffff] !== 0 || ports === DHCP_REPLY)) break;
      } else if (protocol !== Protocol.TCP || total < 40) break;
      if (
        path[p + 1] !== words[w + 1] ||
        path[p + 2] !== words[w + 2] ||
        path[p + 3] !== words[w + 3] ||
        path[p] !== key0 ||
        path[p + 4] !== key4 ||
        path[p + 5] !== key5 ||
        path[p + Path.EPOCH] !== epoch[path[p + Path.NETWORK]!]
      ) {
        p = paths.find(key0, words[w + 1]!, words[w + 2]!, words[w + 3]!, key4, key5, at, dev, now);
        if (p < 0) break;
      }
      const network = path[p + Path.NETWORK]!;
      if (role === Role.TUNNEL && !isFinished(slot, w, size, network, protocol, total)) break;
      if (path[p + Path.SEEN] !== now && !paths.renew(p, now)) break;
      let to = path[p + Path.TO]!;
      if (isTracking) {
        const scope = (network << 8) | protocol;
        const source = view.getInt32(at + IP + Ipv4.SOURCE);
        const destination = view.getInt32(at + IP + Ipv4.DESTINATION);
        if (
          ports !== lastPorts ||
          source !== lastSource ||
          destination !== lastDestination ||
          scope !== lastScope
        ) {
          id = isMixed ? likely[i]! : -1;
          if (id < 0 || !isTuple(id, scope, ports, source, destination))
            id = flows.find4(scope, ports, source, destination);
          // Its answers might be taken for those of a service: service/open.ts gives it another port.
          if (
            id < 0 &&
            protocol === Protocol.UDP &&
            flows.find4(scope, swap(ports), destination, source) >= 0
          )
            break;
          if (id >= 0 && !admits(id, protocol, now)) break;
          isRenewed = false;
          lookups++;
          lastPorts = ports;
          lastSource = source;
          lastDestination = destination;
          lastScope = scope;
        }
        if (id >= 0) {
          if (to !== GATEWAY && (id & 1) === ORIGINAL && flows.service[id >> 1] !== NO_SERVICE) break; // N6
          if (protocol === Protocol.TCP && ((words[w + 12]! >>> 8) & STATE_FLAGS) !== TcpFlag.ACK) break;
          if (lines[id * TUPLE_STEP + Line.READY] === Ready.TURNED) to = GATEWAY; // S21
        } else if (protocol === Protocol.TCP && (view.getUint8(at + L4 + Tcp.FLAGS) & TcpFlag.SYN) !== 0)
          break;
      }
      const isRouted = to === GATEWAY;
      const packet = gsoSize[slot] === 0 ? size - IP : segment(slot, at + csumStart[slot]!);
      if (!isRouted) {
        if (packet > path[p + Path.MTU]!) break; // B20
        txDevice[tx] = path[p + Path.DEVICE]!;
      } else {
        if ((third & 0xff) <= 1) break; // N7
        // The header’s checksum (RFC 1812 §5.2.2), written out: 1 to 2 ns, a call 4.
        const second = words[w + 5]!;
        const fourth = words[w + 7]!;
        const fifth = words[w + 8]!;
        const low =
          (top & 0xffff) + (second & 0xffff) + (third & 0xffff) + (fourth & 0xffff) + (fifth & 0xffff);
        const sum = low + (top >>> 16) + (second >>> 16) + (third >>> 16) + (fourth >>> 16) + (fifth >>> 16);
        if ((sum & 0xffff) + (sum >>> 16) !== 0xffff) break;
        const destination = view.getInt32(at + IP + Ipv4.DESTINATION);
        const next = id >= 0 ? lines[id * TUPLE_STEP + Line.DESTINATION]! : destination;
        if (id < 0 && judge.isConcerned4(destination)) break;
        if (
          hop[h + Hop.ADDRESS] !== next ||
          hop[h + Hop.NETWORK] !== network ||
          hop[h + Hop.EPOCH] !== epoch[network]
        ) {
          h = hops.find(network, next, now);
          if (h < 0) break;
        }
        if (hop[h + Hop.SEEN] !== now && !hops.renew(h, now)) break;
        to = hop[h + Hop.TO]!;
        if (packet > hop[h + Hop.MTU]! || (role === Role.TUNNEL && to >= FIRST_PEER)) break; // B20, V31
        const isStrange = path[p + Path.FROM] === to || (role === Role.TUNNEL && id < 0);
        if (hop[h + Hop.IS_OUT] !== 0 && isStrange) break; // A4
        txDevice[tx] = hop[h + Hop.DEVICE]!;
      }
      if (id >= 0) {
        if (protocol !== Protocol.TCP) {
          if (!isRenewed) renew(id >> 1, now);
          isRenewed = true;
        } else if (!advance(at + L4, total - IPV4_BYTES, id, now)) break; // N13
        translate(slot, at, size, id);
      }
      if (isRouted) route(w, h);

      // Nothing stops the frame from here on.
      txSlot[tx] = slot;
      txStart[tx] = at;
      txLength[tx] = size;
      if (role === Role.TUNNEL) {
        start[slot] = at;
        length[slot] = size;
      }
      if (to >= FIRST_PEER) {
        const remote = isRouted ? hop[h + Hop.REMOTE]! : path[p + Path.REMOTE]!;
        encapsulate(tx, at, size, (top >>> 8) & 0xff, protocol, network, remote, id);
      }
      const from = path[p + Path.FROM]!;
      if (from !== lastFrom || to !== lastTo) {
        if (lastFrom >= 0) close(current, i, bytes);
        current++;
        runFrom[current] = from;
        runTo[current] = to;
        runRx[current] = i;
        runTx[current] = tx;
        bytes = 0;
        lastFrom = from;
        lastTo = to;
      }
      bytes += size;
    }
    if (lastFrom >= 0) close(current, i, bytes);
    mixed[0] = lookups * 2 > i - first ? 1 : 0;
    runs.count = current + 1;
    control[Control.TX_COUNT] = tx;
    return i;
  }

  function lookAhead(first: number, last: number): void {
    for (let i = first; i < last; i++) {
      const slot = rx[i]!;
      const at = start[slot]!;
      hashes[i] = hasher.of4(
        scopeOf[device[slot]!]! | view.getUint8(at + IP + Ipv4.PROTOCOL),
        view.getInt32(at + L4),
        view.getInt32(at + IP + Ipv4.SOURCE),
        view.getInt32(at + IP + Ipv4.DESTINATION),
      );
    }
    ahead.run(first, last);
  }

  function isTuple(id: number, scope: number, ports: number, source: number, destination: number): boolean {
    const { lines } = flows;
    const line = id * TUPLE_STEP;
    return (
      lines[line + Word.PORTS] === ports &&
      lines[line + Word.SOURCE] === source &&
      lines[line + Word.DESTINATION] === destination &&
      lines[line] === scope &&
      isTuple4(lines, line)
    );
  }

  /** One packet of an established flow: its traffic, its ends, its checksums (N40–N43). */
  function translate(slot: number, at: number, size: number, id: number): void {
    const { lines, traffic } = flows;
    const line = id * TUPLE_STEP;
    const count = trafficAt(id);
    traffic[count]!++;
    traffic[count + 1]! += size;
    view.setInt32(at + IP + Ipv4.SOURCE, lines[line + Line.SOURCE]!);
    view.setInt32(at + IP + Ipv4.DESTINATION, lines[line + Line.DESTINATION]!);
    view.setInt32(at + L4, lines[line + Line.PORTS]!);
    const deltas = lines[line + Line.DELTAS]!;
    const w = at >> 2;
    const third = words[w + 6]!;
    words[w + 6] = (third & 0xffff) | (update(third >>> 16, deltas & 0xffff) << 16);
    const isPartial = csumStart[slot] !== 0; // N42: ports are no part of a pseudo-header
    if (((third >>> 8) & 0xff) === Protocol.TCP) {
      const word = words[w + 13]!;
      const field = word & 0xffff;
      const next = isPartial ? fold(field + (deltas & 0xffff)) : update(field, deltas >>> 16);
      words[w + 13] = (word & 0xffff0000) | next;
      return;
    }
    const word = words[w + 10]!;
    const field = word >>> 16;
    if (isPartial) {
      words[w + 10] = (word & 0xffff) | (fold(field + (deltas & 0xffff)) << 16);
    } else if (field !== 0) {
      const next = update(field, deltas >>> 16);
      words[w + 10] = (word & 0xffff) | ((next === 0 ? 0xffff : next) << 16); // N41
    }
  }

  /** New Ethernet addresses and TTL − 1 (N7, A14). The two bytes before the frame are headroom. */
  function route(w: number, h: number): void {
    words[w] = hop[h + Hop.W0]!;
    words[w + 1] = hop[h + Hop.W1]!;
    words[w + 2] = hop[h + Hop.W2]!;
    words[w + 3] = hop[h + Hop.W3]!;
    const third = words[w + 6]!;
    words[w + 6] = ((third & 0xffff) - 1) | (update(third >>> 16, TTL_DELTA) << 16);
  }

  /** What overlay/encap.ts does, for an IPv4 packet with ports. */
  function encapsulate(
    tx: number,
    at: number,
    size: number,
    inner: number,
    protocol: number,
    network: number,
    remote: number,
    id: number,
  ): void {
    const dscp = networks.tos[network]!;
    view.setInt32(at - VXLAN_BYTES, VXLAN_FLAGS);
    view.setInt32(at - 4, networks.vni[network]! << 8);
    txStart[tx] = at - VXLAN_BYTES;
    txLength[tx] = size + VXLAN_BYTES;
    txRemote[tx] = remote;
    txTos[tx] = dscp < 0 ? inner : dscp | (inner & 3); // V7, V12
    const entropy =
      id >= 0
        ? flows.lines[id * TUPLE_STEP + Line.ENTROPY]!
        : hasher.of4(
            view.getInt32(at + IP + Ipv4.SOURCE),
            view.getInt32(at + IP + Ipv4.DESTINATION),
            protocol,
            view.getInt32(at + L4),
          );
    txEntropy[tx] = entropy >>> 1; // V4
  }

  /** Has a decapsulated frame nothing left for overlay/inner.ts to do? */
  function isFinished(
    slot: number,
    w: number,
    size: number,
    network: number,
    protocol: number,
    total: number,
  ): boolean {
    const outer = tos[slot]! & 3;
    if (outer !== 0 && outer !== ((words[w + 4]! >>> 8) & 3)) return false; // V12
    const isTcp = protocol === Protocol.TCP;
    if (isTcp && gsoSize[slot] === 0 && size - IP > networks.mtu[network]!) return false; // V26
    const source = words[w + 7]!;
    const destination = words[w + 8]!;
    const addresses = (source & 0xffff) + (source >>> 16) + (destination & 0xffff) + (destination >>> 16);
    const pseudo = fold(addresses + (protocol << 8) + swap16(total - 20));
    if (pseudo !== (isTcp ? words[w + 13]! & 0xffff : words[w + 10]! >>> 16)) return true;
    // A partial checksum: is it known to be one?
    return csumStart[slot] === L4 && csumOffset[slot] === (isTcp ? Tcp.CHECKSUM : Udp.CHECKSUM);
  }

  return { run };
}
