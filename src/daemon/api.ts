/** The routes of the control socket (`control/protocol.ts`). */
import type { ApplyResponse, AttachRequest, GetKind, ResourceItem } from '../control/protocol.ts';
import { GET_KINDS } from '../control/protocol.ts';
import { attachment } from './attach.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import { explain } from './explain.ts';
import type { Manager } from './manager.ts';
import { Rejected } from './rejected.ts';
import { readApply, readAttach, readDetach, readExplain } from './requests.ts';
import type { Request } from './server.ts';
import { RESOURCE_KINDS, type Views } from './views.ts';

type Method = (request: Request) => Promise<unknown>;

export class Api {
  readonly #manager: Manager;
  readonly #dataplane: Dataplane;
  readonly #views: Views;
  /** One attach at a time: each chooses among the addresses the ones before it left. */
  #attaching: Promise<unknown> = Promise.resolve();

  constructor(manager: Manager, dataplane: Dataplane, views: Views) {
    this.#manager = manager;
    this.#dataplane = dataplane;
    this.#views = views;
  }

  handle(request: Request): Promise<unknown> {
    const methods = this.#route(segments(request.path));
    if (!methods) throw new Rejected([`no such path: ${request.path}`], 404);
    const method = request.method === 'HEAD' ? undefined : methods[request.method];
    if (!method) {
      throw new Rejected(
        [`${request.path} takes ${Object.keys(methods).join(', ')}, not ${request.method}`],
        405,
      );
    }
    return method(request);
  }

  #route([version, noun, name, ...rest]: readonly string[]): Readonly<Record<string, Method>> | undefined {
    if (version !== 'v1' || noun === undefined || rest.length > 0) return undefined;
    if (name !== undefined) {
      const kind = kindOf(noun);
      if (!kind) return undefined;
      return { DELETE: (request) => this.#delete(kind, name, request.query.get('namespace')) };
    }
    switch (noun) {
      case 'status':
        return { GET: async () => this.#views.status() };
      case 'apply':
        return { POST: ({ body }) => this.#apply(body) };
      case 'explain':
        return { POST: ({ body }) => explain(this.#manager, this.#dataplane, readExplain(body)) };
      case 'attach':
        return { POST: ({ body }) => this.#attach(readAttach(body)) };
      case 'detach':
        return { POST: ({ body }) => this.#manager.remove('Port', '', readDetach(body).name) };
      default:
        return isGetKind(noun) ? { GET: async () => ({ items: await this.#views.items(noun) }) } : undefined;
    }
  }

  #apply(body: unknown): Promise<ApplyResponse> {
    const { sources, dryRun } = readApply(body);
    return this.#manager.apply(sources, dryRun);
  }

  #delete(
    kind: NonNullable<ReturnType<typeof kindOf>>,
    name: string,
    namespace: string | null,
  ): Promise<ApplyResponse> {
    const namespaced = kind === 'Service' || kind === 'EndpointSlice';
    return this.#manager.remove(kind, namespaced ? namespace || 'default' : '', name);
  }

  #attach(request: AttachRequest): Promise<{ port: ResourceItem }> {
    const attached = this.#attaching.then(() => this.#attachNow(request));
    this.#attaching = attached.catch(() => {});
    return attached;
  }

  async #attachNow(request: AttachRequest): Promise<{ port: ResourceItem }> {
    const neighbors = await this.#dataplane.dump('neighbors');
    const heard = neighbors.filter((row) => row.network === request.network).map((row) => row.ip);
    const { name, source } = attachment(request, this.#manager.resources, heard);
    await this.#manager.apply([source]);
    const port = await this.#views.item('Port', name);
    if (!port) throw new Rejected([`port ${name} was removed meanwhile`], 409);
    return { port };
  }
}

function segments(path: string): string[] {
  try {
    return path.split('/').slice(1).map(decodeURIComponent);
  } catch {
    throw new Rejected([`no such path: ${path}`], 404);
  }
}

const isGetKind = (noun: string): noun is GetKind => (GET_KINDS as readonly string[]).includes(noun);

const kindOf = (noun: string) => (isGetKind(noun) ? RESOURCE_KINDS[noun] : undefined);
