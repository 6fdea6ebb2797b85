/** `twill attach`: a Port without writing YAML. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { AttachRequest, PortStatus, ResourceItem } from '../../control/protocol.ts';
import { call } from '../client.ts';
import type { Context } from '../context.ts';
import { type ClientOptions, outputOption, socketOption, socketPath, timeoutOption } from '../options.ts';

interface Options extends ClientOptions {
  readonly network: string;
  readonly name?: string;
  readonly interface?: string;
  readonly address?: string;
  readonly defaultRoute: boolean;
  readonly output: string;
}

export function registerAttach(program: Command, context: Context): void {
  program
    .command('attach')
    .summary('give a namespace an interface in a network')
    .description('Gives a namespace an interface in a network: a Port without writing YAML.')
    .argument('<netns>', 'a name under /run/netns, or a path such as /proc/PID/ns/net')
    .requiredOption('--network <name>', 'the network to join')
    .option('--name <name>', "the port's name (default: chosen from the namespace)")
    .option('--interface <name>', 'the name inside the namespace (default: eth0)')
    .option('--address <address>', 'IP address (default: the lowest free one of each family)')
    .option('--no-default-route', 'leave the namespace the default route it has')
    .addOption(outputOption(['table', 'json', 'yaml']))
    .addOption(socketOption())
    .addOption(timeoutOption(30))
    .action(async (netns: string, options: Options) => {
      const request: AttachRequest = {
        // the daemon's working directory is not ours
        netns: netns.includes('/') ? resolve(netns) : netns,
        network: options.network,
        ...(options.name !== undefined && { name: options.name }),
        ...(options.interface !== undefined && { interface: options.interface }),
        ...(options.address !== undefined && { address: options.address }),
        ...(!options.defaultRoute && { defaultRoute: false }),
      };
      const target = { socket: socketPath(context, options), timeout: options.timeout };
      const { port } = await call<{ port: ResourceItem }>(target, 'POST', '/v1/attach', request);
      if (options.output === 'json') context.stdout.write(`${JSON.stringify(port, null, 2)}\n`);
      else if (options.output === 'yaml') context.stdout.write((await import('yaml')).stringify(port));
      else context.stdout.write(`port/${port.metadata.name} created${details(port)}\n`);
    });
}

/** " (eth0, 10.77.0.11, 02:…, MTU 1450)", as far as known. */
function details(port: ResourceItem): string {
  const spec = (port.spec ?? {}) as { interface?: string; addresses?: readonly unknown[] };
  const status = (port.status ?? {}) as Partial<PortStatus>;
  const known = [
    spec.interface,
    ...(spec.addresses ?? []).map(String),
    status.mac,
    status.mtu === undefined ? undefined : `MTU ${status.mtu}`,
  ].filter((part) => part !== undefined);
  return known.length > 0 ? ` (${known.join(', ')})` : '';
}
