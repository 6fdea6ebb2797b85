/** `twill get`: resources and live state of the running daemon. */
import type { Command } from 'commander';
import type { GetKind, LiveRow, ResourceItem } from '../../control/protocol.ts';
import { call } from '../client.ts';
import type { Context } from '../context.ts';
import { Failed, Usage } from '../failure.ts';
import { isNamespaced, isResource, KIND_HELP, parseReference } from '../kinds.ts';
import {
  type ClientOptions,
  type Format,
  outputOption,
  socketOption,
  socketPath,
  timeoutOption,
} from '../options.ts';
import { renderTable } from '../table.ts';

type Item = ResourceItem | LiveRow;

interface Options extends ClientOptions {
  readonly namespace?: string;
  readonly output: Format;
}

export function registerGet(program: Command, context: Context): void {
  program
    .command('get')
    .summary('list resources and live state')
    .description('Lists resources and live state of the running daemon.')
    .argument('<kind>', 'what to list; or KIND/NAME')
    .argument('[name]', 'only this one; for live state: rows that mention it')
    .option('-n, --namespace <name>', 'only Services or EndpointSlices of this namespace')
    .addOption(outputOption())
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addHelpText('after', `\n${KIND_HELP}`)
    .action(async (kindText: string, nameText: string | undefined, options: Options) => {
      const { kind, name } = parseReference(kindText, nameText);
      if (options.namespace !== undefined && !isNamespaced(kind)) {
        throw new Usage(`${kind} have no namespace; drop --namespace`);
      }
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      const { items } = await call<{ items: Item[] }>(target, 'GET', `/v1/${kind}`);
      await print(context, kind, await select(kind, items, name, options.namespace), options.output);
    });
}

async function select(
  kind: GetKind,
  items: readonly Item[],
  name: string | undefined,
  namespace: string | undefined,
): Promise<readonly Item[]> {
  const { VIEWS } = await import('../views.ts');
  const inScope = items.filter((item) => {
    if (namespace === undefined) return true;
    return ((item as ResourceItem).metadata.namespace ?? 'default') === namespace;
  });
  if (name === undefined) return inScope;
  const found = inScope.filter((item) => VIEWS[kind].names(item).includes(name));
  if (found.length > 0) return found;
  const what = isResource(kind) ? `${kind} "${name}"` : `${kind} with "${name}"`;
  const where = namespace === undefined ? '' : ` in namespace "${namespace}"`;
  throw new Failed(`${what} not found${where}`);
}

async function print(context: Context, kind: GetKind, items: readonly Item[], format: Format): Promise<void> {
  if (format === 'json') {
    context.stdout.write(`${JSON.stringify({ items }, null, 2)}\n`);
  } else if (format === 'yaml') {
    const { stringify } = await import('yaml');
    context.stdout.write(stringify({ items }));
  } else if (items.length === 0) {
    context.stderr.write(`no ${kind}\n`);
  } else {
    const { VIEWS } = await import('../views.ts');
    context.stdout.write(renderTable(VIEWS[kind].columns, items, context.stdout.columns, format === 'wide'));
  }
}
