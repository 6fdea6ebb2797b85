import { defineConfig } from 'vitest/config';

/** Folders whose tests make namespaces, devices or daemons: one file at a time, after the others. */
const SYSTEM = ['test/{card,daemon,differential,lab,netns,system,interop}/**/*.test.ts'];
const settings = { pool: 'forks', testTimeout: 20_000, hookTimeout: 30_000 } as const;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...settings,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: SYSTEM,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...settings,
          name: 'system',
          include: SYSTEM,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
