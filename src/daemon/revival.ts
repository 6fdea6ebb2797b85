/** Devices that are gone while their resources are not: every transaction tries to bring them back. */
import type { Logger } from 'pino';
import { formatProblem } from '../control/problem.ts';
import type { Generation, Resource } from '../control/types.ts';
import type { Executor } from './executor.ts';
import { DeviceFailure, explain, preflight } from './failures.ts';

/** @returns why some are still gone, one line each */
export async function reviveGone(
  executor: Executor,
  { ports, underlays }: Generation,
  resources: readonly Resource[],
  log: Logger,
): Promise<string[]> {
  const lines: string[] = [];
  const tries = underlays.map((underlay) => () => executor.reviveUnderlay(underlay));
  for (const port of ports.filter((each) => !executor.isOpen(each))) {
    const absent = preflight([port], resources);
    lines.push(...absent.map(formatProblem));
    if (absent.length > 0) continue;
    tries.push(async () => {
      await executor.revive(port);
      log.info({ port: port.config.name }, 'port is back');
    });
  }
  for (const attempt of tries) {
    try {
      await attempt();
    } catch (error) {
      const known = error instanceof DeviceFailure;
      lines.push(known ? formatProblem(await explain(error, resources)) : String(error));
    }
  }
  return lines;
}
