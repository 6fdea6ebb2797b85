/** `twill delete`: takes one resource away from the running daemon. */
import type { Command } from 'commander';
import type { ApplyResponse } from '../../control/protocol.ts';
import { call } from '../client.ts';
import type { Context } from '../context.ts';
import { Usage } from '../failure.ts';
import { isNamespaced, parseReference, RESOURCE_KINDS } from '../kinds.ts';
import { type ClientOptions, socketOption, socketPath, timeoutOption } from '../options.ts';
import { printChanges } from './apply.ts';

interface Options extends ClientOptions {
  readonly namespace?: string;
}

export function registerDelete(program: Command, context: Context): void {
  program
    .command('delete')
    .summary('delete a resource of the running daemon')
    .description('Deletes a resource of the running daemon.')
    .argument('<kind>', 'network, port, peer, service, endpointslice, node, servicecidr; or KIND/NAME')
    .argument('[name]')
    .option('-n, --namespace <name>', 'of a Service or EndpointSlice (default: default)')
    .addOption(socketOption())
    .addOption(timeoutOption())
    .action(async (kindText: string, nameText: string | undefined, options: Options) => {
      const { kind, name } = parseReference(kindText, nameText, RESOURCE_KINDS);
      if (!name) throw new Usage(`which of the ${kind}? twill delete ${kindText.replace(/\/$/, '')} NAME`);
      if (options.namespace !== undefined && !isNamespaced(kind)) {
        throw new Usage(`${kind} have no namespace; drop --namespace`);
      }
      const query = isNamespaced(kind)
        ? `?namespace=${encodeURIComponent(options.namespace ?? 'default')}`
        : '';
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      const path = `/v1/${kind}/${encodeURIComponent(name)}${query}`;
      printChanges(context, await call<ApplyResponse>(target, 'DELETE', path));
    });
}
