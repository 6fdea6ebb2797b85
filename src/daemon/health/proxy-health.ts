/** `/healthz` and `/livez` as kube-proxy answers them (S35; pkg/proxy/healthcheck/proxy_health.go). */
import type { Answer } from './listener.ts';
import type { Progress } from './progress.ts';

const OK = 200;
const UNAVAILABLE = 503;
const NOT_FOUND = 404;

/**
 * Until something is in force `/healthz` is 503. kube-proxy says 200 while it starts, since what its last run left still
 * forwards; Twill leaves nothing.
 * @param isNodeEligible false while this host's Node is being deleted: no new traffic should be sent here
 */
export function answerHealth(path: string, progress: Progress, isNodeEligible: boolean): Answer {
  if (path !== '/healthz' && path !== '/livez')
    return { status: NOT_FOUND, type: 'text/plain', body: 'not found\n' };
  const takesTraffic = isNodeEligible && progress.lastApplied > 0;
  const isHealthy = !progress.isStuck && (path === '/livez' || takesTraffic);
  const time = (seconds: number): string => new Date(seconds * 1000).toISOString();
  const body = {
    lastUpdated: time(progress.lastApplied),
    currentTime: time(Date.now() / 1000),
    ...(path === '/healthz' && { nodeEligible: isNodeEligible }),
  };
  return {
    status: isHealthy ? OK : UNAVAILABLE,
    type: 'application/json',
    headers: { 'x-content-type-options': 'nosniff' },
    body: JSON.stringify(body),
  };
}
