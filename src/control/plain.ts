/**
 * Services and EndpointSlices as kubectl prints them, read without making objects of what is not used: a hundred
 * thousand in a second. Whatever is unusual — a field of another type, an address to be warned of, a second address
 * family — is left to the schemas, which alone know what is right and what to say of it. `test/control/json.test.ts`
 * holds both to the same result.
 */
import { unusualKind, type Words } from '../wire/address.ts';
import { ENDPOINT_WORDS, healthOf, stateOf } from './endpoints.ts';
import { END, type JsonCursor } from './json.ts';
import type { JsonText } from './json-document.ts';
import { Key } from './plain-keys.ts';
import { PlainResource, PlainSliceSpec } from './plain-resource.ts';
import type { EndpointPort, ServicePort, ServiceSpec } from './types.ts';

/** M11: longer slices are warned of. */
const MOST_ENDPOINTS = 100;
/** Words of endpoints that share one memory; a text has more than 4 bytes for each. */
const POOL_WORDS = 1 << 16;
/** M9: others are warned of. */
const FIRST_NODE_PORT = 30_000;
const LAST_NODE_PORT = 32_767;
const IPV4_HIGH = 0xffff;

const WORDS = 256;
const OWN_PREFIX = Buffer.from('twill/');
const NO_RANGES: ServiceSpec['sourceRanges'] = [];

/** Reads one item after the other. Fields are what was read of the present one. */
export class PlainReader {
  private kind = '';
  private apiVersion = '';
  private name = '';
  private namespace = '';
  private service = '';
  private addressType = '';
  private hasVip = false;
  private vipWord = 0;
  private internalLocal = false;
  private externalLocal = false;
  private ports: ServicePort[] = [];
  private nodes: string[] = [];
  private type = '';
  private hasSpec = false;
  private hasStatus = false;
  private isSlice = false;
  private words: Int32Array;
  private used = 0;
  private first = 0;
  /** Words seen, each in the place its letters choose. */
  private readonly known: (string | undefined)[] = new Array(WORDS).fill(undefined);
  private lastPorts: readonly ServicePort[] = [];
  private lastSlicePorts: readonly EndpointPort[] = [];
  private lastNodes: readonly string[] = [];

  constructor(
    private readonly text: JsonText,
    private readonly cursor: JsonCursor,
  ) {
    this.words = new Int32Array(Math.min(POOL_WORDS, text.bytes.length >> 2));
  }

  /** @returns null when the object at `start` is not of the usual form. */
  read(start: number): PlainResource | null {
    const { cursor } = this;
    this.kind = this.apiVersion = this.name = this.service = this.addressType = this.type = '';
    this.namespace = 'default';
    this.ports = [];
    this.nodes = [];
    this.hasSpec =
      this.hasStatus =
      this.isSlice =
      this.hasVip =
      this.internalLocal =
      this.externalLocal =
        false;
    if (this.used + MOST_ENDPOINTS * ENDPOINT_WORDS > POOL_WORDS) {
      this.words = new Int32Array(POOL_WORDS);
      this.used = 0;
    }
    this.first = this.used;
    cursor.moveTo(start);
    cursor.open();
    for (let key = cursor.nextKey(); key !== END; key = cursor.nextKey()) this.top(key);
    if (cursor.failed || this.name === '' || this.namespace === '') return null;
    const end = cursor.at;
    if (this.kind === 'Service' && this.apiVersion === 'v1') {
      if (!this.hasSpec || this.isSlice || !this.hasVip || !areDistinct(this.ports)) return null;
      if (this.wantsPorts()) return null;
      const words: Words = [0, 0, IPV4_HIGH, this.vipWord];
      const spec: ServiceSpec = {
        addresses: [{ kind: 'clusterIP', words }],
        ports: this.servicePorts(),
        affinity: 0,
        internalLocal: this.internalLocal,
        externalLocal: this.externalLocal,
        sourceRanges: NO_RANGES,
        healthCheckNodePort: 0,
      };
      return new PlainResource('Service', this.namespace, this.name, spec, this.text, start, end);
    }
    if (this.kind !== 'EndpointSlice' || this.apiVersion !== 'discovery.k8s.io/v1') return null;
    if (this.hasSpec || this.hasStatus || this.service === '' || this.addressType !== 'IPv4') return null;
    const { text } = this;
    const words = this.words.subarray(this.first, this.used);
    const spec = new PlainSliceSpec(
      this.service,
      this.slicePorts(),
      words,
      this.sharedNodes(),
      text,
      start,
      end,
    );
    return new PlainResource('EndpointSlice', this.namespace, this.name, spec, text, start, end);
  }

  private top(key: number): void {
    switch (key) {
      case Key.API_VERSION:
        this.apiVersion = this.word();
        break;
      case Key.KIND:
        this.kind = this.word();
        break;
      case Key.METADATA:
        this.object(this.metadata);
        break;
      case Key.SPEC:
        this.hasSpec = true;
        this.object(this.serviceSpec);
        break;
      case Key.STATUS:
        this.hasStatus = true;
        this.object(this.status);
        break;
      case Key.ADDRESS_TYPE:
        this.isSlice = true;
        this.addressType = this.word();
        break;
      case Key.PORTS:
        this.isSlice = true;
        this.list(this.port);
        break;
      case Key.ENDPOINTS:
        this.isSlice = true;
        this.list(this.endpoint);
        if (this.used - this.first > MOST_ENDPOINTS * ENDPOINT_WORDS) this.cursor.fail();
        break;
      default:
        this.cursor.fail();
    }
  }

  /** Past the value of a key from `first` to `end`: known, and of no use. Another is not the usual. */
  private idle(key: number, first: Key, end: Key): void {
    if (key >= first && key < end) this.cursor.skip();
    else this.cursor.fail();
  }

  private metadata(key: number): void {
    switch (key) {
      case Key.NAME:
        this.name = this.string();
        break;
      case Key.NAMESPACE:
        this.namespace = this.word();
        break;
      case Key.LABELS:
        this.object(this.label);
        break;
      case Key.ANNOTATIONS:
        this.object(this.annotation);
        break;
      default:
        this.idle(key, Key.IDLE_METADATA, Key.IDLE_SPEC);
    }
  }

  private label(key: number): void {
    if (key === Key.SERVICE_NAME) this.service = this.string();
    else if (key >= Key.UNUSUAL) this.cursor.fail();
    else this.cursor.skipString();
  }

  private annotation(key: number): void {
    // `twill/…` is for Twill, whatever it says.
    const isOwn =
      this.text.bytes.compare(
        OWN_PREFIX,
        0,
        OWN_PREFIX.length,
        this.cursor.keyAt + 1,
        this.cursor.keyAt + 1 + OWN_PREFIX.length,
      ) === 0;
    if (key >= Key.UNUSUAL || isOwn) this.cursor.fail();
    else this.cursor.skipString();
  }

  private status(key: number): void {
    if (key === Key.LOAD_BALANCER) this.object(this.nothing);
    else this.idle(key, Key.CONDITIONS, Key.READY);
  }

  private nothing(): void {
    this.cursor.fail();
  }

  /** S38: what it leaves open is allocated elsewhere. */
  private wantsPorts(): boolean {
    if (this.type !== 'NodePort' && this.type !== 'LoadBalancer') return false;
    if (this.type === 'LoadBalancer' && this.externalLocal) return true;
    for (const { nodePort } of this.ports) if (nodePort === 0) return true;
    return false;
  }

  private serviceSpec(key: number): void {
    switch (key) {
      case Key.TYPE:
        this.type = this.oneOf('ClusterIP', 'NodePort', 'LoadBalancer');
        break;
      case Key.CLUSTER_IP:
        this.vip();
        break;
      case Key.CLUSTER_IPS: {
        let count = 0;
        this.cursor.openList();
        for (; this.cursor.nextItem(count === 0); count++) this.vip();
        if (count !== 1) this.cursor.fail();
        break;
      }
      case Key.PORTS:
        this.list(this.port);
        break;
      case Key.INTERNAL_POLICY:
        this.internalLocal = this.oneOf('Cluster', 'Local') === 'Local';
        break;
      case Key.EXTERNAL_POLICY:
        this.externalLocal = this.oneOf('Cluster', 'Local') === 'Local';
        break;
      case Key.SESSION_AFFINITY:
        this.only('None');
        break;
      case Key.IP_FAMILIES: {
        let count = 0;
        this.cursor.openList();
        for (; this.cursor.nextItem(count === 0); count++) this.only('IPv4');
        if (count > 1) this.cursor.fail();
        break;
      }
      case Key.IP_FAMILY_POLICY:
        this.only('SingleStack');
        break;
      case Key.BALANCER_NODE_PORTS:
        this.boolean();
        break;
      default:
        this.idle(key, Key.IDLE_SPEC, Key.IDLE_ENDPOINT);
    }
  }

  /** clusterIP and clusterIPs[0]; they agree. */
  private vip(): void {
    const address = this.address();
    if ((this.hasVip && this.vipWord !== address) || isUnusual(address)) this.cursor.fail();
    this.hasVip = true;
    this.vipWord = address;
  }

  private port(): void {
    const { cursor } = this;
    let name: string | undefined;
    let protocol: ServicePort['protocol'] = 'TCP';
    let port = 0;
    let nodePort = 0;
    cursor.open();
    for (let key = cursor.nextKey(); key !== END; key = cursor.nextKey()) {
      if (key === Key.NAME) name = this.word();
      else if (key === Key.PROTOCOL) protocol = this.oneOf('TCP', 'UDP', 'SCTP');
      else if (key === Key.PORT) port = this.number();
      else if (key === Key.NODE_PORT && this.hasSpec) nodePort = this.nodePort();
      else this.idle(key, this.hasSpec ? Key.TARGET_PORT : Key.APP_PROTOCOL, Key.IDLE_METADATA);
    }
    // A slice's port without name is skipped with a warning, a Service's has the empty name.
    if (port < 1 || port > 65_535 || (name === undefined && !this.hasSpec)) cursor.fail();
    this.ports.push({ name: name ?? '', protocol, port, nodePort });
  }

  private nodePort(): number {
    const port = this.number();
    if (port !== 0 && (port < FIRST_NODE_PORT || port > LAST_NODE_PORT)) this.cursor.fail();
    return port;
  }

  private endpoint(): void {
    const { cursor } = this;
    let address: number | undefined;
    let health = healthOf(true, true, false);
    let node = -1;
    cursor.open();
    for (let key = cursor.nextKey(); key !== END; key = cursor.nextKey()) {
      switch (key) {
        case Key.ADDRESSES: {
          let count = 0;
          cursor.openList();
          for (; cursor.nextItem(count === 0); count++) address = this.address();
          if (count !== 1) cursor.fail();
          break;
        }
        case Key.CONDITIONS:
          health = this.conditions();
          break;
        case Key.NODE_NAME:
          node = this.node();
          break;
        default:
          this.idle(key, Key.IDLE_ENDPOINT, Key.UNUSUAL);
      }
    }
    if (address === undefined || isUnusual(address) || this.used + ENDPOINT_WORDS > this.words.length) {
      cursor.fail();
      return;
    }
    const { words } = this;
    words[this.used++] = 0;
    words[this.used++] = 0;
    words[this.used++] = IPV4_HIGH;
    words[this.used++] = address;
    words[this.used++] = stateOf(health, node);
  }

  /** @returns its place among the nodes of the slice */
  private node(): number {
    const name = this.word();
    const known = this.nodes.indexOf(name);
    return known >= 0 ? known : this.nodes.push(name) - 1;
  }

  private conditions(): number {
    const { cursor } = this;
    let ready = true;
    let serving = true;
    let terminating = false;
    cursor.open();
    for (let key = cursor.nextKey(); key !== END; key = cursor.nextKey()) {
      if (key === Key.READY) ready = this.boolean();
      else if (key === Key.SERVING) serving = this.boolean();
      else if (key === Key.TERMINATING) terminating = this.boolean();
      else cursor.fail();
    }
    return healthOf(ready, serving, terminating);
  }

  private object(field: (this: this, key: number) => void): void {
    const { cursor } = this;
    cursor.open();
    for (let key = cursor.nextKey(); key !== END; key = cursor.nextKey()) field.call(this, key);
  }

  private list(item: (this: this) => void): void {
    const { cursor } = this;
    cursor.openList();
    for (let first = true; cursor.nextItem(first); first = false) item.call(this);
  }

  /** The ports, or those of the item before when they are the same: neighbours often are alike. */
  private servicePorts(): readonly ServicePort[] {
    const { ports, lastPorts } = this;
    const isSame = ports.every((port, i) => port.nodePort === lastPorts[i]?.nodePort);
    if (!isSame || !areAlike(ports, lastPorts)) this.lastPorts = ports;
    return this.lastPorts;
  }

  private slicePorts(): readonly EndpointPort[] {
    if (!areAlike(this.ports, this.lastSlicePorts)) {
      this.lastSlicePorts = this.ports.map(({ name, protocol, port }) => ({ name, protocol, port }));
    }
    return this.lastSlicePorts;
  }

  private sharedNodes(): readonly string[] {
    const { nodes, lastNodes } = this;
    let isSame = nodes.length === lastNodes.length;
    for (let i = 0; isSame && i < nodes.length; i++) isSame = nodes[i] === lastNodes[i];
    if (!isSame) this.lastNodes = nodes;
    return this.lastNodes;
  }

  private string(): string {
    const from = this.cursor.at + 1;
    if (!this.cursor.skipString()) this.cursor.fail();
    return this.cursor.failed ? '' : this.text.bytes.toString('latin1', from, this.cursor.at - 1);
  }

  /** The same for a word that many items have: one string for all of them. */
  private word(): string {
    const from = this.cursor.at + 1;
    if (!this.cursor.skipString()) this.cursor.fail();
    if (this.cursor.failed) return '';
    const { bytes } = this.text;
    const to = this.cursor.at - 1;
    const place = (to - from + bytes[from]! * 7 + bytes[to - 1]! * 31) & (WORDS - 1);
    const known = this.known[place];
    if (known !== undefined && isText(bytes, from, to, known)) return known;
    const word = bytes.toString('latin1', from, to);
    this.known[place] = word;
    return word;
  }

  private oneOf<W extends string>(...words: readonly W[]): W {
    const text = this.word();
    const word = words.find((candidate) => candidate === text);
    if (word === undefined) this.cursor.fail();
    return word ?? words[0]!;
  }

  /** This string and no other. */
  private only(word: string): void {
    const from = this.cursor.at + 1;
    const isPlain = this.cursor.skipString();
    if (!isPlain || !isText(this.text.bytes, from, this.cursor.at - 1, word)) this.cursor.fail();
  }

  private boolean(): boolean {
    const isTrue = this.text.bytes[this.cursor.at] === 0x74;
    if (!isTrue && this.text.bytes[this.cursor.at] !== 0x66) this.cursor.fail();
    this.cursor.skip();
    return isTrue;
  }

  /** A whole number of few digits; −1 for another. */
  private number(): number {
    const { bytes } = this.text;
    const from = this.cursor.at;
    this.cursor.skip();
    let value = 0;
    for (let at = from; at < this.cursor.at; at++) {
      const digit = bytes[at]! - 0x30;
      if (digit < 0 || digit > 9 || at - from > 5) return -1;
      value = value * 10 + digit;
    }
    return value;
  }

  /** An IPv4 address in its canonical form, as int32. */
  private address(): number {
    const { cursor } = this;
    const { bytes } = this.text;
    let at = cursor.at + 1;
    let value = 0;
    if (!cursor.isString) cursor.fail();
    for (let part = 0; part < 4; part++) {
      const from = at;
      let byte = 0;
      for (; at - from < 3 && bytes[at]! >= 0x30 && bytes[at]! <= 0x39; at++)
        byte = byte * 10 + bytes[at]! - 0x30;
      const isCanonical = at > from && byte < 256 && (bytes[from] !== 0x30 || at === from + 1);
      if (!isCanonical || bytes[at] !== (part < 3 ? 0x2e : 0x22)) cursor.fail();
      value = (value << 8) | byte;
      at++;
    }
    if (!cursor.failed) cursor.at = at;
    return value;
  }
}

const isUnusual = (address: number): boolean => unusualKind([0, 0, 0xffff, address]) !== null;

function isText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (text.length !== to - from) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[from + i]) return false;
  return true;
}

/** M9, for the usual few ports. */
function areAlike(a: readonly EndpointPort[], b: readonly EndpointPort[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const [one, two] = [a[i]!, b[i]!];
    if (one.name !== two.name || one.port !== two.port || one.protocol !== two.protocol) return false;
  }
  return true;
}

function areDistinct(ports: readonly ServicePort[]): boolean {
  for (let i = 0; i < ports.length; i++) {
    const { name, port, protocol, nodePort } = ports[i]!;
    if (ports.length > 1 && name === '') return false;
    for (let j = 0; j < i; j++) {
      const other = ports[j]!;
      const isSamePort = other.port === port || (nodePort !== 0 && other.nodePort === nodePort);
      if (other.name === name || (isSamePort && other.protocol === protocol)) return false;
    }
  }
  return true;
}
