/** What the kernel knows of a mapping of the device. */
import { readFileSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDevice } from '../../fs/bar/open.ts';

test('no child process inherits it: what it could reach ends with the process that made it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'iopmemfs-mapping-'));
  try {
    const image = join(dir, 'image');
    const file = await open(image, 'w');
    await file.truncate(1 << 20);
    await file.close();
    const device = await openDevice(image, { writable: true });
    try {
      const [, mapping = ''] = readFileSync('/proc/self/smaps', 'utf8').split(image);
      expect(/^VmFlags: (.*)$/m.exec(mapping)?.[1]?.split(' '), 'proc_pid_smaps(5): do not copy on fork').toContain(
        'dc',
      );
    } finally {
      await device.close();
    }
  } finally {
    await rm(dir, { recursive: true });
  }
});
