/** `twill explain`: who answers a flow, and why. */
import type { Command } from 'commander';
import type { ExplainRequest, Explanation } from '../../control/protocol.ts';
import { call } from '../client.ts';
import type { Context } from '../context.ts';
import {
  type ClientOptions,
  type Format,
  outputOption,
  socketOption,
  socketPath,
  timeoutOption,
} from '../options.ts';

interface Options extends ClientOptions {
  readonly network?: string;
  readonly output: Format;
}

const EXAMPLES = `
  twill explain tcp 10.0.0.5:4321 10.96.0.10:80     a flow, living or not
  twill explain 10.0.0.5:4321                       the one flow from there
  twill explain udp 10.0.0.5 10.96.0.10:53          a new flow of that client

A line of "twill get flows" will do, and so will the endpoint instead of the
service's address. Of a flow that does not exist it says what would become of
its first packet now.`;

export function registerExplain(program: Command, context: Context): void {
  program
    .command('explain')
    .summary('say who answers a flow, and why')
    .description('Says which service, slice and endpoint answer a flow, and why that endpoint.')
    .argument('<flow...>', '[PROTOCOL] CLIENT[:PORT] [ADDRESS:PORT]')
    .option('--network <name>', 'of the client, when several networks have its address')
    .addOption(outputOption())
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addHelpText('after', EXAMPLES)
    .action(async (words: string[], options: Options) => {
      const { parseFlow } = await import('../flow-words.ts');
      const request: ExplainRequest = {
        ...parseFlow(words),
        ...(options.network !== undefined && { network: options.network }),
      };
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      const explanation = await call<Explanation>(target, 'POST', '/v1/explain', request);
      if (options.output === 'json') context.stdout.write(`${JSON.stringify(explanation, null, 2)}\n`);
      else if (options.output === 'yaml') context.stdout.write((await import('yaml')).stringify(explanation));
      else {
        const { renderExplanation } = await import('../explanation.ts');
        context.stdout.write(
          renderExplanation(explanation, context.stdout.columns, options.output === 'wide'),
        );
      }
    });
}
