import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { cacheFlush } from '../../fs/bar/libc.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { conformance, deviceSize, type Subject, windowSize } from './conformance.ts';
import { createImage, disk, hardwareSubject, imageSubject, tmpfs } from './image.ts';

const run = promisify(execFile);

for (const accessWidth of [1, 4, 8] as const) {
  conformance(`an image on tmpfs, accessed by ${accessWidth}`, () => imageSubject(tmpfs, accessWidth));
  conformance(`memory of a PCI BAR, accessed by ${accessWidth}`, () => hardwareSubject('pci', accessWidth));
}
conformance('an image on a disk', () => imageSubject(disk, 1));
conformance('memory that libpmem flushes', () => hardwareSubject('devdax', 1), cacheFlush() === undefined);
conformance('a loop device', loopSubject, !(await loopDevicesWork()));

/** A loop device on an image: the kernel's own block device. */
async function loopSubject(): Promise<Subject> {
  const image = await createImage(disk, deviceSize);
  const { stdout } = await run('losetup', ['--find', '--show', image.path]);
  const path = stdout.trim();
  return {
    open: (options) => openDevice(path, { ...options, windowSize }),
    stored: () => readFile(image.path),
    remove: async () => {
      await run('losetup', ['--detach', path]);
      await image.remove();
    },
  };
}

async function loopDevicesWork(): Promise<boolean> {
  let subject: Subject | undefined;
  try {
    subject = await loopSubject();
    const device = await subject.open({ writable: true });
    await device.close();
    return true;
  } catch {
    return false;
  } finally {
    await subject?.remove();
  }
}
