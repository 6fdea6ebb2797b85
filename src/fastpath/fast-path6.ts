import { Control } from '../card/layout.ts';
import type { Flows } from '../conntrack/flows.ts';
import { FLOW_WORDS, Flow, TUPLE_STEP, trafficAt } from '../conntrack/row.ts';
import { Line, ORIGINAL, Ready, reverseTuple, TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import type { Locations } from '../fabric/locations.ts';
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
import { Protocol } from '../wire/ipv4.ts';
import { IPV6_BYTES, Ipv6, isLinkLocal } from '../wire/ipv6.ts';
import { Tcp, TcpFlag } from '../wire/tcp.ts';
import { UDP_BYTES, Udp } from '../wire/udp.ts';
import { VXLAN_BYTES, VXLAN_FLAGS } from '../wire/vxlan.ts';
import { createCommon, STATE_FLAGS, update, VXLAN_I_FLAG } from './common.ts';
import type { Family } from './families.ts';
import { createLookAhead, FEW } from './look-ahead.ts';
import { Hop, type NextHops } from './next-hops.ts';
import { Path, type Paths, Role } from './paths.ts';
import { createTracked } from './tracked.ts';

/** Ethernet, IPv6 without extension headers, UDP: the shortest frame looked at. */
const SHORTEST = 62;
const IP = ETHERNET_BYTES;
const L4 = IP + IPV6_BYTES;
const SOURCE = IP + Ipv6.SOURCE;
const DESTINATION = IP + Ipv6.DESTINATION;
/** Words as they stand on the wire, read on a little-endian machine. */
const ETHERTYPE = 0xdd86;
const VERSION_6 = 0x60;
const MAPPED = 0xffff0000 | 0;
/** One hop less, in the word of payload length, next header and hop limit. */
const ONE_HOP = 0x01000000;
/** UDP ports 547 → 546, which admission judges (B25). */
const DHCPV6_REPLY = 0x02230222;

const halves = (word: number): number => (word & 0xffff) + (word >>> 16);

/**
 * The fast path of IPv6: what fast-path.ts does for IPv4, and only that, so that both read the same tables and promise
 * the same. Looked at: IPv6 without extension headers, TCP and UDP, from ports and from peers. Addresses of four words
 * cost a second cache line of a flow and of a next hop, and whether a port may use its source is asked for each frame
 * that does not repeat the one before.
 */
export function createFastPath6(
  packets: Packets,
  networks: Networks,
  locations: Locations,
  flows: Flows,
  judge: Judge,
  paths: Paths,
  hops: NextHops,
  epochs: Epochs,
  vxlanPort: Uint8Array,
  runs: Runs,
  seed: number,
): Family {
  const { view, words, memory } = packets;
  const { control, rx, device, start, length, fault, csumStart, csumOffset, gsoSize, tos } = memory;
  const { txSlot, txDevice, txStart, txLength, txRemote, txTos, txEntropy } = memory;
  const { from: runFrom, to: runTo, rx: runRx, tx: runTx } = runs;
  const { roles, sourceMask, scope: scopeOf, rows: path } = paths;
  const hop = hops.rows;
  const epoch = epochs.of;
  const hasher = new Hasher(seed);
  const { admits, advance, renew } = createTracked(packets, flows);
  const { segment, close } = createCommon(packets, runs);
  const ahead = createLookAhead(flows, 1);
  const { hashes, likely } = ahead;
  /** 1: the burst before had about as many flows as frames. */
  const mixed = new Int32Array(1);
  /** Tuple of the frame at hand, and of what answers it. */
  const tuple = new Int32Array(TUPLE_WORDS);
  const reply = new Int32Array(TUPLE_WORDS);
  /** Source and destination of the frame before, as on the wire. */
  const addresses = new Int32Array(8);

  function run(first: number, last: number, now: number): number {
    const isTracking = flows.count > 0;
    const { lines } = flows;
    // Many flows in one burst: their memory is asked for at once, not one after the other.
    const isMixed = isTracking && mixed[0] !== 0 && last - first >= FEW;
    if (isMixed) lookAhead(first, last);
    let lookups = 0;
    // Frames of one burst often share path, addresses, ports and so flow and next hop: the previous answer is then still
    // true.
    let p = 0;
    let h = 0;
    let isHopKnown = false;
    let id = -1;
    let isRenewed = false;
    let isKnown = false;
    let lastPorts = 0;
    let lastProtocol = 0;
    /** Flow hash of such a frame as it leaves (V4), −1 = not asked for yet. */
    let entropy = -1;
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
      const second = words[w + 5]!;
      const payload = ((second << 8) & 0xff00) | ((second >>> 8) & 0xff);
      const protocol = (second >>> 16) & 0xff;
      if (words[w + 3]! >>> 16 !== ETHERTYPE || (words[w + 4]! & 0xf0) !== VERSION_6) break;
      if (size < SHORTEST || payload > size - L4) break;
      const ports = view.getInt32(at + L4);
      if (protocol === Protocol.UDP) {
        if (payload < UDP_BYTES) break;
        if (role === Role.PORT && (vxlanPort[ports & 0xffff] !== 0 || ports === DHCPV6_REPLY)) break;
      } else if (protocol !== Protocol.TCP || payload < 20) break;
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
        isKnown = false;
        if (p < 0) break;
      }
      const network = path[p + Path.NETWORK]!;
      if (role === Role.TUNNEL && !isFinished(slot, w, at, size, network, protocol, payload)) break;
      if (path[p + Path.SEEN] !== now && !paths.renew(p, now)) break;
      let to = path[p + Path.TO]!;
      if (!isKnown || ports !== lastPorts || protocol !== lastProtocol || !hasAddresses(w)) {
        if (isMapped(w + 6) || isMapped(w + 10)) break;
        if (sourceMask[dev] !== 0 && !isOwn(path[p + Path.FROM]!, at)) break; // B24
        if (to === GATEWAY && isLinkLocal(view.getInt32(at + SOURCE))) break;
        readTuple(at, (network << 8) | protocol, ports);
        id = -1;
        if (isTracking) {
          lookups++;
          if (isMixed && likely[i]! >= 0 && flows.isTuple(likely[i]!, tuple)) id = likely[i]!;
          else id = flows.seek(tuple);
        }
        if (id < 0 && isTracking && protocol === Protocol.UDP) {
          // Its answers might be taken for those of a service: service/open.ts gives it another port.
          reverseTuple(tuple, reply);
          if (flows.seek(reply) >= 0) break;
        }
        if (id < 0 && to === GATEWAY && isConcerned()) break;
        if (id >= 0 && !admits(id, protocol, now)) break;
        isRenewed = false;
        isHopKnown = false;
        entropy = -1;
        keepAddresses(w);
        isKnown = true;
        lastPorts = ports;
        lastProtocol = protocol;
      }
      if (isTracking) {
        if (id >= 0) {
          if (to !== GATEWAY && (id & 1) === ORIGINAL && flows.service[id >> 1] !== NO_SERVICE) break; // N6
          if (protocol === Protocol.TCP) {
            if ((view.getUint8(at + L4 + Tcp.FLAGS) & STATE_FLAGS) !== TcpFlag.ACK) break;
          } else if (csumStart[slot] === 0 && words[w + 15]! >>> 16 === 0) break; // N41
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
        if (second >>> 24 <= 1) break; // N7
        if (!isHopKnown || hop[h + Hop.EPOCH] !== epoch[network]) {
          h = nextHop(h, network, at, id, now);
          if (h < 0) break;
          isHopKnown = true;
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
        } else if (!advance(at + L4, payload, id, now)) break; // N13
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
        if (entropy < 0)
          entropy = (id >= 0 ? lines[id * TUPLE_STEP + Line.ENTROPY]! : flowHash(at, protocol, ports)) >>> 1;
        encapsulate(tx, at, size, network, remote);
        txEntropy[tx] = entropy; // V4
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
      readTuple(
        at,
        scopeOf[device[slot]!]! | view.getUint8(at + IP + Ipv6.NEXT_HEADER),
        view.getInt32(at + L4),
      );
      hashes[i] = flows.hash(tuple);
    }
    ahead.run(first, last);
  }

  /** Has a frame the source and destination of the one before? */
  function hasAddresses(w: number): boolean {
    const source =
      (words[w + 6]! ^ addresses[0]!) |
      (words[w + 7]! ^ addresses[1]!) |
      (words[w + 8]! ^ addresses[2]!) |
      (words[w + 9]! ^ addresses[3]!);
    const destination =
      (words[w + 10]! ^ addresses[4]!) |
      (words[w + 11]! ^ addresses[5]!) |
      (words[w + 12]! ^ addresses[6]!) |
      (words[w + 13]! ^ addresses[7]!);
    return (source | destination) === 0;
  }

  function keepAddresses(w: number): void {
    addresses[0] = words[w + 6]!;
    addresses[1] = words[w + 7]!;
    addresses[2] = words[w + 8]!;
    addresses[3] = words[w + 9]!;
    addresses[4] = words[w + 10]!;
    addresses[5] = words[w + 11]!;
    addresses[6] = words[w + 12]!;
    addresses[7] = words[w + 13]!;
  }

  /** Is the address at word `w` ::ffff:a.b.c.d, which the stages do not take for one? */
  function isMapped(w: number): boolean {
    return words[w + 2] === MAPPED && (words[w]! | words[w + 1]!) === 0;
  }

  function isOwn(port: number, at: number): boolean {
    return locations.ownsAddress6(
      port,
      view.getInt32(at + SOURCE),
      view.getInt32(at + SOURCE + 4),
      view.getInt32(at + SOURCE + 8),
      view.getInt32(at + SOURCE + 12),
    );
  }

  /** May the destination in `tuple` be a service's? */
  function isConcerned(): boolean {
    return judge.isConcerned(
      tuple[Word.DESTINATION_HIGH]!,
      tuple[Word.DESTINATION_HIGH + 1]!,
      tuple[Word.DESTINATION_HIGH + 2]!,
      tuple[Word.DESTINATION]!,
    );
  }

  /**
   * The next hop of a packet, that of what it becomes if it has a flow.
   * @param before row that may still be right
   * @param id −1 = no flow
   */
  function nextHop(before: number, network: number, at: number, id: number, now: number): number {
    const { lines } = flows;
    const line = (id ^ 1) * TUPLE_STEP;
    const w0 = id >= 0 ? lines[line + Word.SOURCE_HIGH]! : view.getInt32(at + DESTINATION);
    const w1 = id >= 0 ? lines[line + Word.SOURCE_HIGH + 1]! : view.getInt32(at + DESTINATION + 4);
    const w2 = id >= 0 ? lines[line + Word.SOURCE_HIGH + 2]! : view.getInt32(at + DESTINATION + 8);
    const w3 = id >= 0 ? lines[line + Word.SOURCE]! : view.getInt32(at + DESTINATION + 12);
    const isSame =
      hop[before + Hop.ADDRESS] === w3 &&
      hop[before + Hop.NETWORK] === network &&
      hop[before + Hop.EPOCH] === epoch[network] &&
      hop[before + Hop.ADDRESS_HIGH + 2] === w2 &&
      hop[before + Hop.ADDRESS_HIGH + 1] === w1 &&
      hop[before + Hop.ADDRESS_HIGH] === w0;
    return isSame ? before : hops.find6(network, w0, w1, w2, w3, now);
  }

  function readTuple(at: number, scope: number, ports: number): void {
    tuple[Word.SCOPE] = scope;
    tuple[Word.PORTS] = ports;
    tuple[Word.SOURCE_HIGH] = view.getInt32(at + SOURCE);
    tuple[Word.SOURCE_HIGH + 1] = view.getInt32(at + SOURCE + 4);
    tuple[Word.SOURCE_HIGH + 2] = view.getInt32(at + SOURCE + 8);
    tuple[Word.SOURCE] = view.getInt32(at + SOURCE + 12);
    tuple[Word.DESTINATION_HIGH] = view.getInt32(at + DESTINATION);
    tuple[Word.DESTINATION_HIGH + 1] = view.getInt32(at + DESTINATION + 4);
    tuple[Word.DESTINATION_HIGH + 2] = view.getInt32(at + DESTINATION + 8);
    tuple[Word.DESTINATION] = view.getInt32(at + DESTINATION + 12);
  }

  /** One packet of an established flow: its traffic, its ends, its checksum (N40–N43). */
  function translate(slot: number, at: number, size: number, id: number): void {
    const { lines, traffic } = flows;
    const line = id * TUPLE_STEP;
    const count = trafficAt(id);
    traffic[count]!++;
    traffic[count + 1]! += size;
    const other = (id ^ 1) * TUPLE_STEP;
    const isBoth = lines[(id >> 1) * FLOW_WORDS + Flow.SNAT] !== 0;
    if (isBoth || (id & 1) !== ORIGINAL)
      setAddress(at + SOURCE, other + Word.DESTINATION_HIGH, lines[line + Line.SOURCE]!);
    if (isBoth || (id & 1) === ORIGINAL)
      setAddress(at + DESTINATION, other + Word.SOURCE_HIGH, lines[line + Line.DESTINATION]!);
    view.setInt32(at + L4, lines[line + Line.PORTS]!);
    const deltas = lines[line + Line.DELTAS]!;
    const w = at >> 2;
    const isPartial = csumStart[slot] !== 0; // N42: ports are no part of a pseudo-header
    if (((words[w + 5]! >>> 16) & 0xff) === Protocol.TCP) {
      const word = words[w + 18]!;
      const field = word & 0xffff;
      const next = isPartial ? fold(field + (deltas & 0xffff)) : update(field, deltas >>> 16);
      words[w + 18] = (word & 0xffff0000) | next;
      return;
    }
    const word = words[w + 15]!;
    const field = word >>> 16;
    const next = isPartial ? fold(field + (deltas & 0xffff)) : update(field, deltas >>> 16) || 0xffff; // N41
    words[w + 15] = (word & 0xffff) | (next << 16);
  }

  /** @param high where the first three words stand */
  function setAddress(at: number, high: number, low: number): void {
    const { lines } = flows;
    view.setInt32(at, lines[high]!);
    view.setInt32(at + 4, lines[high + 1]!);
    view.setInt32(at + 8, lines[high + 2]!);
    view.setInt32(at + 12, low);
  }

  /** New Ethernet addresses and one hop less (N7, A14). The two bytes before the frame are headroom. */
  function route(w: number, h: number): void {
    words[w] = hop[h + Hop.W0]!;
    words[w + 1] = hop[h + Hop.W1]!;
    words[w + 2] = hop[h + Hop.W2]!;
    words[w + 3] = hop[h + Hop.W3]!;
    words[w + 5] = words[w + 5]! - ONE_HOP;
  }

  /** What overlay/encap.ts does, for an IPv6 packet with ports. */
  function encapsulate(tx: number, at: number, size: number, network: number, remote: number): void {
    const dscp = networks.tos[network]!;
    const inner = (view.getUint16(at + IP) >>> 4) & 0xff;
    view.setInt32(at - VXLAN_BYTES, VXLAN_FLAGS);
    view.setInt32(at - 4, networks.vni[network]! << 8);
    txStart[tx] = at - VXLAN_BYTES;
    txLength[tx] = size + VXLAN_BYTES;
    txRemote[tx] = remote;
    txTos[tx] = dscp < 0 ? inner : dscp | (inner & 3); // V7, V12
  }

  function flowHash(at: number, protocol: number, ports: number): number {
    return hasher.of10(
      protocol,
      ports,
      view.getInt32(at + SOURCE),
      view.getInt32(at + SOURCE + 4),
      view.getInt32(at + SOURCE + 8),
      view.getInt32(at + SOURCE + 12),
      view.getInt32(at + DESTINATION),
      view.getInt32(at + DESTINATION + 4),
      view.getInt32(at + DESTINATION + 8),
      view.getInt32(at + DESTINATION + 12),
    );
  }

  /** Has a decapsulated frame nothing left for overlay/inner.ts to do? */
  function isFinished(
    slot: number,
    w: number,
    at: number,
    size: number,
    network: number,
    protocol: number,
    payload: number,
  ): boolean {
    const outer = tos[slot]! & 3;
    if (outer !== 0 && outer !== ((view.getUint16(at + IP) >>> 4) & 3)) return false; // V12
    const isTcp = protocol === Protocol.TCP;
    if (isTcp && gsoSize[slot] === 0 && size - IP > networks.mtu[network]!) return false; // V26
    const source =
      halves(words[w + 6]!) + halves(words[w + 7]!) + halves(words[w + 8]!) + halves(words[w + 9]!);
    const destination =
      halves(words[w + 10]!) + halves(words[w + 11]!) + halves(words[w + 12]!) + halves(words[w + 13]!);
    const pseudo = fold(source + destination + (protocol << 8) + swap16(payload));
    if (pseudo !== (isTcp ? words[w + 18]! & 0xffff : words[w + 15]! >>> 16)) return true;
    // A partial checksum: is it known to be one?
    return csumStart[slot] === L4 && csumOffset[slot] === (isTcp ? Tcp.CHECKSUM : Udp.CHECKSUM);
  }

  return { run };
}
