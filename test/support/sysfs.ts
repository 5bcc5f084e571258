/** Trees as sysfs shows PCI functions. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

export interface RecordedFunction {
  /** Below /sys/devices: the root bus, then each bridge, then the function. */
  readonly path: string;
  /** Vendor and device. */
  readonly ids: readonly [number, number];
  readonly class: number;
  /** Control register of its access control services, if it has them. */
  readonly acs?: number;
}

/** @param dir an empty folder, for /sys */
export async function recordSysfs(dir: string, functions: readonly RecordedFunction[]): Promise<void> {
  await mkdir(join(dir, 'bus/pci/devices'), { recursive: true });
  for (const each of functions) {
    const folder = join(dir, 'devices', each.path);
    await mkdir(folder, { recursive: true });
    const [vendor, device] = each.ids;
    await writeFile(join(folder, 'vendor'), `0x${hex(vendor, 4)}\n`);
    await writeFile(join(folder, 'device'), `0x${hex(device, 4)}\n`);
    await writeFile(join(folder, 'class'), `0x${hex(each.class, 6)}\n`);
    await writeFile(join(folder, 'config'), configOf(each));
    await symlink(folder, join(dir, 'bus/pci/devices', basename(each.path)));
  }
}

/** With an extended capability in front of the one that counts, as real functions have. */
function configOf({ acs }: RecordedFunction): Buffer {
  const config = Buffer.alloc(4096);
  const [aer, acsAt] = [0x100, 0x148];
  config.writeUInt32LE(((acs === undefined ? 0 : acsAt << 20) | 0x0002_0001) >>> 0, aer);
  if (acs === undefined) return config;
  config.writeUInt32LE(0x0001_000d, acsAt);
  config.writeUInt16LE(acs, acsAt + 6);
  return config;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
