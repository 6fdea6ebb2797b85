import type { Results } from '../results.ts';
export const renderPerformance = (results: Results): string => JSON.stringify(results);
