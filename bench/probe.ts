/**
 * Sees when a Service leads somewhere else. `probe.js serve PORT LETTER …` answers every connection to a port with
 * its letter; `probe.js watch ADDRESS PORT` connects again and again and prints "LETTER NANOSECONDS" whenever
 * another letter answers, in the clock that all processes of a machine share.
 */
import { connect, createServer } from 'node:net';

const [mode, ...rest] = process.argv.slice(2);

if (mode === 'serve') serve(rest);
else await watch(rest[0]!, Number(rest[1]));

function serve(words: readonly string[]): void {
  let waiting = words.length / 2;
  for (let i = 0; i < words.length; i += 2) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(words[i + 1]);
    });
    server.listen(Number(words[i]), '0.0.0.0', () => {
      if (--waiting === 0) console.log('ready');
    });
  }
}

async function watch(address: string, port: number): Promise<void> {
  let last = '';
  for (;;) {
    const letter = await ask(address, port);
    if (letter === '' || letter === last) continue;
    console.log(`${letter} ${process.hrtime.bigint()}`);
    last = letter;
  }
}

/** @returns '' when nobody answered within a moment */
function ask(address: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const done = (letter: string): void => {
      socket.resetAndDestroy();
      resolve(letter);
    };
    socket.setTimeout(100, () => done(''));
    socket.on('error', () => done(''));
    socket.on('data', (bytes) => done(bytes.toString('latin1')));
  });
}
