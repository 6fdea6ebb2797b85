/**
 * Services and EndpointSlices as kubectl prints them, read without making objects of what is not used: a hundred
 * thousand in a second. Whatever is unusual — a field of another type, an address to be warned of, a second address
 * family — is left to the schemas, which alone know what is right and what to say of it. `test/control/json.test.ts`
 * holds both to the same result.
 */
import { ENDPOINT_WORDS, healthOf, stateOf } from './endpoints.ts';
import { END, type JsonCursor } from './json.ts';
import type { JsonText } from './json-document.ts';
import { Key } from './plain-keys.ts';
import { areDistinct, SharedLists } from './plain-lists.ts';
import { type PlainResource, PlainService, PlainSlice } from './plain-resource.ts';
import { isUnusual, PlainValues } from './plain-values.ts';
import type { ServicePort } from './types.ts';

/** M11: longer slices are warned of. */
const MOST_ENDPOINTS = 100;
/** Words of endpoints that share one memory; a text has more than 4 bytes for each. */
const POOL_WORDS = 1 << 16;
/** M9: others are warned of. */
const FIRST_NODE_PORT = 30_000;
const LAST_NODE_PORT = 32_767;
const OWN_PREFIX = Buffer.from('twill/');

/** Reads one item after the other. Fields are what was read of the present one. */
export class PlainReader extends PlainValues {
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
  private readonly shared = new SharedLists();
  /** Of the Service read last: its slice often follows. */
  private lastService = '';

  constructor(text: JsonText, cursor: JsonCursor) {
    super(text, cursor);
    this.words = new Int32Array(Math.min(POOL_WORDS, text.bytes.length >> 2));
  }

  /** @returns null when the object at `start` is not of the usual form. */
  read(start: number): PlainResource | null {
    const { cursor } = this;
    this.kind = this.apiVersion = this.name = this.service = this.addressType = this.type = '';
    this.namespace = 'default';
    this.ports = [];
    this.nodes = [];
    this.hasSpec = this.hasStatus = this.isSlice = this.hasVip = false;
    this.internalLocal = this.externalLocal = false;
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
    const { kind, apiVersion, namespace, name, text, shared } = this;
    if (kind === 'Service' && apiVersion === 'v1') {
      if (!this.hasSpec || this.isSlice || !this.hasVip) return null;
      if (this.ports.length === 0 || !areDistinct(this.ports)) return null;
      if (this.wantsPorts()) return null;
      this.lastService = name;
      const ports = shared.servicePorts(this.ports);
      const { vipWord, internalLocal, externalLocal } = this;
      return new PlainService(
        namespace,
        name,
        vipWord,
        ports,
        internalLocal,
        externalLocal,
        text,
        start,
        end,
      );
    }
    if (kind !== 'EndpointSlice' || apiVersion !== 'discovery.k8s.io/v1') return null;
    if (this.hasSpec || this.hasStatus || this.service === '' || this.addressType !== 'IPv4') return null;
    const ports = shared.slicePorts(this.ports);
    const nodes = shared.nodes(this.nodes);
    const { service, words, first } = this;
    const used = this.used - first;
    return new PlainSlice(namespace, name, service, ports, nodes, words, first, used, text, start, end);
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
    if (key === Key.SERVICE_NAME) this.service = this.string(this.lastService);
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
    words[this.used++] = 0xffff;
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
}
