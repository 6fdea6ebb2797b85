/** `twill detach`: takes a Port away, however it was made. */
import type { Command } from 'commander';
import type { ApplyResponse } from '../../control/protocol.ts';
import { call } from '../client.ts';
import type { Context } from '../context.ts';
import { type ClientOptions, socketOption, socketPath, timeoutOption } from '../options.ts';
import { printChanges } from './apply.ts';

export function registerDetach(program: Command, context: Context): void {
  program
    .command('detach')
    .summary('remove a port and its interface')
    .description('Removes a port and its interface.')
    .argument('<name>', 'the port')
    .addOption(socketOption())
    .addOption(timeoutOption())
    .action(async (name: string, options: ClientOptions) => {
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      printChanges(context, await call<ApplyResponse>(target, 'POST', '/v1/detach', { name }));
    });
}
