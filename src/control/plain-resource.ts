/**
 * Services and EndpointSlices that stay the text they came in (`plain.ts`), each one object: of a hundred thousand,
 * every object more is one more for the collector to move.
 */
import { DEFAULT_WEIGHT } from '../service/record.ts';
import { parsePath } from './document.ts';
import { ENDPOINT_WORDS, isReady } from './endpoints.ts';
import type { JsonText } from './json-document.ts';
import { endpointSliceSchema, endpointSliceSpec } from './schema/endpoint-slice.ts';
import type { EndpointPort, EndpointSliceSpec, Origin, ServicePort, ServiceSpec } from './types.ts';

const IPV4_HIGH = 0xffff;
const NO_RANGES: ServiceSpec['sourceRanges'] = [];

/** What is not used of it is read again by whoever wants it. */
export abstract class PlainResource {
  constructor(
    readonly namespace: string,
    readonly name: string,
    private readonly source: JsonText,
    private readonly start: number,
    readonly end: number,
  ) {}

  abstract readonly kind: 'Service' | 'EndpointSlice';
  abstract readonly spec: ServiceSpec | EndpointSliceSpec;

  get isPlain(): true {
    return true;
  }

  /** Whether both came in the same words. */
  isLike(other: PlainResource): boolean {
    const { bytes } = this.source;
    return bytes.compare(other.source.bytes, other.start, other.end, this.start, this.end) === 0;
  }

  /** False when they certainly mean different things. */
  abstract mayMean(other: PlainResource): boolean;

  get document(): Readonly<Record<string, unknown>> {
    return JSON.parse(this.source.text(this.start, this.end)) as Readonly<Record<string, unknown>>;
  }

  get labels(): Readonly<Record<string, string>> {
    return (this.document.metadata as { labels?: Record<string, string> }).labels ?? {};
  }

  get annotations(): Readonly<Record<string, string>> {
    return (this.document.metadata as { annotations?: Record<string, string> }).annotations ?? {};
  }

  get origin(): Origin {
    return this.source.origin(this.start);
  }

  locate(path: string): Origin {
    return this.source.locate(this.start, parsePath(path), false);
  }
}

/** A Service with one IPv4 ClusterIP. */
export class PlainService extends PlainResource {
  constructor(
    namespace: string,
    name: string,
    private readonly vip: number,
    private readonly ports: readonly ServicePort[],
    private readonly internalLocal: boolean,
    private readonly externalLocal: boolean,
    source: JsonText,
    start: number,
    end: number,
  ) {
    super(namespace, name, source, start, end);
  }

  get kind(): 'Service' {
    return 'Service';
  }

  mayMean(other: PlainResource): boolean {
    return other instanceof PlainService && other.vip === this.vip;
  }

  /** Made when asked for: what lives short costs next to nothing. */
  get spec(): ServiceSpec {
    return {
      addresses: [{ kind: 'clusterIP', words: [0, 0, IPV4_HIGH, this.vip] }],
      ports: this.ports,
      affinity: 0,
      internalLocal: this.internalLocal,
      externalLocal: this.externalLocal,
      sourceRanges: NO_RANGES,
      healthCheckNodePort: 0,
    };
  }
}

/** A slice of IPv4 endpoints without hints, which is its own spec. */
export class PlainSlice extends PlainResource implements EndpointSliceSpec {
  /** @param pool where `used` words of endpoints begin at `first` */
  constructor(
    namespace: string,
    name: string,
    readonly service: string,
    readonly ports: readonly EndpointPort[],
    readonly nodes: readonly string[],
    private readonly pool: Int32Array,
    private readonly first: number,
    private readonly used: number,
    source: JsonText,
    start: number,
    end: number,
  ) {
    super(namespace, name, source, start, end);
  }

  get kind(): 'EndpointSlice' {
    return 'EndpointSlice';
  }

  get spec(): EndpointSliceSpec {
    return this;
  }

  get addressType(): 'IPv4' {
    return 'IPv4';
  }

  get weight(): number {
    return DEFAULT_WEIGHT;
  }

  get words(): Int32Array {
    return this.pool.subarray(this.first, this.first + this.used);
  }

  mayMean(other: PlainResource): boolean {
    if (!(other instanceof PlainSlice) || other.used !== this.used) return false;
    const [own, theirs] = [this.words, other.words];
    for (let i = 0; i < own.length; i++) if (own[i] !== theirs[i]) return false;
    return true;
  }

  get ready(): number {
    const { words } = this;
    let count = 0;
    for (let i = ENDPOINT_WORDS - 1; i < words.length; i += ENDPOINT_WORDS) if (isReady(words[i]!)) count++;
    return count;
  }

  get endpoints(): EndpointSliceSpec['endpoints'] {
    return endpointSliceSpec(endpointSliceSchema.parse(this.document)).endpoints;
  }
}
