import { readFileSync } from 'node:fs';

/** On Linux: a UUID that is another one each time the machine starts (random(4)). */
const bootIdFile = '/proc/sys/kernel/random/boot_id';

/** Which start of this machine it runs in, 16 bytes; none where the system does not say. */
export function bootId(): Uint8Array {
  try {
    const hex = readFileSync(bootIdFile, 'latin1').replaceAll('-', '').trim();
    return /^[0-9a-f]{32}$/.test(hex) ? Buffer.from(hex, 'hex') : new Uint8Array();
  } catch {
    return new Uint8Array();
  }
}
