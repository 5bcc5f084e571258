import { readFileSync, readlinkSync } from 'node:fs';

let here: string | undefined;

/**
 * What EXCHANGE_ID calls a process: this run of the kernel, this namespace of process numbers, and its number there. undefined: it
 * has no name, since /proc is not there.
 */
export function processName(pid: number): string | undefined {
  try {
    here ??= `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`;
    return `${here} ${pid}`;
  } catch {
    return undefined;
  }
}
