/** The program `bin/twill` runs. */
import { processContext } from './context.ts';
import { run } from './run.ts';

// A reader that has seen enough (`twill get flows | head`) is no failure of ours.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

process.exitCode = await run(process.argv.slice(2), processContext());
