/** What load balancers and monitoring are told of, read from the running set. */
import type { Manager } from '../manager.ts';
import type { HealthFacts } from './health.ts';

/** @param manager undefined before there is one: nothing is known then */
export function healthFacts(manager: () => Manager | undefined): HealthFacts {
  return {
    host: () => manager()?.of('Host')[0],
    checks: () => manager()?.services.healthChecks() ?? [],
    nodeAddresses: () => manager()?.nodeAddresses ?? [],
    isNodeEligible: () => !manager()?.ownNode?.isLeaving,
    withoutLocalEndpoints: () => manager()?.services.withoutLocalEndpoints ?? { internal: 0, external: 0 },
    locations: () => {
      const { ports = [], peers = [] } = manager()?.generation ?? {};
      return new Map([...ports.map(({ config }) => config), ...peers].map(({ id, name }) => [id, name]));
    },
  };
}
