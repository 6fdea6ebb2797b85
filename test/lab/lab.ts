/**
 * A laboratory for tests: namespaces named `tw<pid>-…`, wires, bridges, kernel VXLAN peers, captures, daemons.
 *
 *   const lab = testLab();
 *   afterAll(() => lab.dispose());
 *   const a = await lab.namespace('a');
 *
 * Tests say `describe.skipIf(CANNOT !== null)`.
 */
import { accessSync, constants, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Background, type Daemon, Lab } from '../../src/demo/lab.ts';

export type { Background, Daemon, Finished, RunOptions, WireEnd } from '../../src/demo/lab.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Why namespace tests cannot run here; null when they can. */
export const CANNOT: string | null = reason();

function reason(): string | null {
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return null;
  } catch {
    return 'needs /dev/net/tun';
  }
}

export interface VxlanPeer {
  /** Full name of the namespace it lives in. */
  readonly namespace: string;
  readonly name: string;
  readonly vni: number;
  readonly local: string;
  /** Where unknown destinations are sent. */
  readonly remote: string;
  readonly port?: number;
  /** With prefix length. */
  readonly address?: string;
  /** Further arguments of `ip link add … type vxlan`. */
  readonly options?: readonly string[];
}

/** Field name → values, as `tshark -T json -e` gives them. */
export type CapturedPacket = Readonly<Record<string, readonly string[]>>;

export interface Capture {
  /** Stops, and decodes what matches a display filter. */
  decode(fields: readonly string[], filter?: string, more?: readonly string[]): Promise<CapturedPacket[]>;
  readonly file: string;
}

/** What is there: compare before and after. */
export interface Snapshot {
  readonly namespaces: readonly string[];
  /** Links of the test's own namespace. */
  readonly links: readonly string[];
  /** Command lines that name the laboratory's directory: daemons, captures. */
  readonly processes: readonly string[];
}

let laboratories = 0;

export function testLab(): TestLab {
  return new TestLab();
}

export class TestLab extends Lab {
  #files = 0;

  constructor() {
    super({
      prefix: `tw${process.pid}-${laboratories === 0 ? '' : `${laboratories}-`}`,
      directory: mkdtempSync(join(tmpdir(), 'twill-lab-')),
      root: ROOT,
    });
    laboratories++;
  }

  /** Starts `twill up` with this text; see `Lab.daemon`. The program is the built one: `make build`. */
  async daemonWith(namespace: string, name: string, yaml: string): Promise<Daemon> {
    return this.daemon(namespace, name, [this.file(`${name}.yaml`, yaml)]);
  }

  /** A kernel bridge, up, with these links of its namespace as ports. */
  async bridge(namespace: string, name: string, ports: readonly string[] = []): Promise<void> {
    await this.ip(namespace, 'link', 'add', name, 'type', 'bridge', 'forward_delay', '0');
    for (const port of ports) await this.ip(namespace, 'link', 'set', 'dev', port, 'master', name, 'up');
    await this.ip(namespace, 'link', 'set', 'dev', name, 'up');
  }

  /** The kernel's own VXLAN device: a peer to interoperate with. */
  async vxlan(peer: VxlanPeer): Promise<void> {
    const tunnel = ['id', String(peer.vni), 'local', peer.local, 'remote', peer.remote];
    const port = ['dstport', String(peer.port ?? 4789)];
    const type = ['type', 'vxlan', ...tunnel, ...port, ...(peer.options ?? [])];
    await this.ip(peer.namespace, 'link', 'add', peer.name, ...type);
    if (peer.address !== undefined) {
      await this.ip(peer.namespace, 'address', 'add', peer.address, 'dev', peer.name);
    }
    await this.ip(peer.namespace, 'link', 'set', 'dev', peer.name, 'up');
  }

  /** Starts tcpdump; frames that pass after this returns are caught. */
  async capture(namespace: string, link: string, filter: readonly string[] = []): Promise<Capture> {
    const name = `capture-${this.#files++}`;
    const file = join(this.directory, `${name}.pcap`);
    const argv = [
      'tcpdump',
      '-i',
      link,
      '-n',
      '-U',
      '--immediate-mode',
      '-s',
      '0',
      '-Z',
      'root',
      '-w',
      file,
      ...filter,
    ];
    const dump: Background = this.start(namespace, name, argv);
    await dump.waitFor((text) => text.includes('listening on'));
    return {
      file,
      decode: async (fields, display, more = []) => {
        await settled(file);
        await dump.stop();
        const wanted = fields.flatMap((field) => ['-e', field]);
        const matching = display === undefined ? [] : ['-Y', display];
        const argv = ['tshark', '-n', '-r', file, '-T', 'json', ...wanted, ...matching, ...more];
        const packets = JSON.parse(await this.must(null, argv)) as { _source: { layers?: CapturedPacket } }[];
        return packets.map((packet) => packet._source.layers ?? {});
      },
    };
  }

  snapshot(): Snapshot {
    return {
      namespaces: list('/run/netns').filter((name) => name.startsWith(this.prefix)),
      links: links(),
      processes: list('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map(commandLine)
        .filter((line) => line.includes(this.directory)),
    };
  }
}

/** Resolves when tcpdump has written what it has seen: it forgets what is still on its way when stopped. */
async function settled(file: string): Promise<void> {
  for (let before = -1, size = 0; before !== size; ) {
    before = size;
    await sleep(150);
    size = statSync(file).size;
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** /proc/self/net follows the namespace; /sys/class/net shows the one it was mounted in. */
function links(): string[] {
  const lines = readFileSync('/proc/self/net/dev', 'utf8').trim().split('\n').slice(2);
  return lines.map((line) => line.split(':')[0]!.trim()).sort();
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
