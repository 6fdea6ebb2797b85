/** Services and EndpointSlices that stay the text they came in (`plain.ts`). */
import { DEFAULT_WEIGHT } from '../service/record.ts';
import { parsePath } from './document.ts';
import { ENDPOINT_WORDS, isReady } from './endpoints.ts';
import type { JsonText } from './json-document.ts';
import { endpointSliceSchema, endpointSliceSpec } from './schema/endpoint-slice.ts';
import type { EndpointSliceSpec, Origin, ServiceSpec } from './types.ts';

/** A resource that stays the text it came in; it is read again by whoever wants all of it. */
export class PlainResource {
  readonly isPlain = true;

  constructor(
    readonly kind: 'Service' | 'EndpointSlice',
    readonly namespace: string,
    readonly name: string,
    readonly spec: ServiceSpec | EndpointSliceSpec,
    private readonly source: JsonText,
    private readonly start: number,
    readonly end: number,
  ) {}

  /** Whether both came in the same words. */
  isLike(other: PlainResource): boolean {
    const { bytes } = this.source;
    return bytes.compare(other.source.bytes, other.start, other.end, this.start, this.end) === 0;
  }

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

/** What of a slice is read again only when somebody asks. */
export class PlainSliceSpec implements EndpointSliceSpec {
  readonly addressType = 'IPv4';
  readonly weight = DEFAULT_WEIGHT;

  constructor(
    readonly service: string,
    readonly ports: EndpointSliceSpec['ports'],
    readonly words: Int32Array,
    readonly nodes: readonly string[],
    private readonly source: JsonText,
    private readonly start: number,
    private readonly end: number,
  ) {}

  get ready(): number {
    let count = 0;
    for (let i = ENDPOINT_WORDS - 1; i < this.words.length; i += ENDPOINT_WORDS)
      if (isReady(this.words[i]!)) count++;
    return count;
  }

  get endpoints(): EndpointSliceSpec['endpoints'] {
    const document: unknown = JSON.parse(this.source.text(this.start, this.end));
    return endpointSliceSpec(endpointSliceSchema.parse(document)).endpoints;
  }
}
