/** Which CPUs there are. */
import { readFileSync } from 'node:fs';

/** @returns why the dataplane cannot be pinned to a CPU, or null. @param online as the kernel lists it, such as "0-3,8" */
export function cpuRefusal(cpu: number, online: string = onlineCpus()): string | null {
  const ranges = online.split(',').map((range) => range.split('-').map(Number));
  if (ranges.some(([first = 0, last = first]) => cpu >= first && cpu <= last)) return null;
  return `--cpu ${cpu}: there is no such CPU; this machine has ${online}`;
}

const onlineCpus = (): string => readFileSync('/sys/devices/system/cpu/online', 'utf8').trim();
