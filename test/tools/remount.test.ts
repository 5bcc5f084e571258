/** mount -o remount: mount(8), "remount", for what FUSE lets change. */
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canMount, type Outcome, Sandbox } from './sandbox.ts';

describe.runIf(canMount)('a remount', () => {
  let box: Sandbox;
  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
  });
  afterEach(() => box.remove());

  const remount = (options: string, image = box.image): Promise<Outcome> =>
    box.run('mount', image, box.mountPoint, '-o', `remount,${options}`);

  async function flags(): Promise<readonly string[]> {
    const line = (await readFile('/proc/self/mounts', 'utf8')).split('\n').find((l) => l.includes(box.mountPoint));
    return (line?.split(' ')[3] ?? '').split(',').filter((flag) => /^(r[ow]|no.*)$/.test(flag));
  }

  test('to ro refuses changes, to rw allows them again, and the daemon lives on', async () => {
    await box.mount();
    await writeFile(box.path('file'), 'before');
    const daemons = await box.daemons();
    expect(await remount('ro')).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect(await flags()).toEqual(['ro']);
    await expect(writeFile(box.path('file'), 'after')).rejects.toMatchObject({ code: 'EROFS' });
    expect(await readFile(box.path('file'), 'utf8')).toBe('before');
    expect(await remount('rw')).toMatchObject({ code: 0 });
    await writeFile(box.path('file'), 'after');
    expect(await box.daemons()).toEqual(daemons);

    expect(await remount('ro')).toMatchObject({ code: 0 });
    await box.umount();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0, stdout: /: clean, 2 files/ });
    await box.mount();
    expect(await readFile(box.path('file'), 'utf8')).toBe('after');
  });

  test('has the flags that it names, and takes what mount(8) hands back of those shown', async () => {
    await box.mount('-o', 'nosuid');
    expect(await remount('nosuid,noexec,user_id=0,default_permissions,allow_other,max_read=1048576')).toMatchObject({
      code: 0,
    });
    expect(await flags()).toEqual(['rw', 'nosuid', 'noexec']);
    expect(await remount('nosuid,exec')).toMatchObject({ code: 0 });
    expect(await flags()).toEqual(['rw', 'nosuid']);
    expect(await box.run('iopmemfs', 'mount', box.image, box.mountPoint, '-o', 'remount,ro')).toMatchObject({
      code: 0,
    });
    expect(await flags()).toEqual(['ro']);
  });

  test('with -f looks, and changes nothing', async () => {
    await box.mount();
    expect(await box.run('mount', '-f', box.image, box.mountPoint, '-o', 'remount,ro')).toMatchObject({ code: 0 });
    expect(await flags()).toEqual(['rw']);
  });

  test('to ro is EBUSY while a file is open for writing', async () => {
    await box.mount();
    const file = await open(box.path('file'), 'w');
    try {
      expect(await remount('ro')).toMatchObject({ code: 32, stderr: /files are open for writing \(EBUSY\)/ });
    } finally {
      await file.close();
    }
    expect(await flags()).toEqual(['rw']);
  });

  test('to rw of what the daemon may only read is EROFS', async () => {
    await box.mount('-o', 'ro');
    expect(await remount('rw')).toMatchObject({ code: 32, stderr: /opened the device to read only.*\(EROFS\)/ });
    expect(await flags()).toEqual(['ro']);
  });

  test('of what is not mounted there, or of another device, is EINVAL', async () => {
    expect(await remount('ro')).toMatchObject({ code: 32, stderr: /is not mounted here \(EINVAL\)/ });
    await box.mount();
    expect(await remount('ro', join(box.dir, 'other'))).toMatchObject({
      code: 32,
      stderr: /other is not mounted here \(EINVAL\)/,
    });
    expect(await flags()).toEqual(['rw']);
  });

  test('with an option that nobody knows is a wrong call', async () => {
    await box.mount();
    expect(await remount('wat')).toMatchObject({ code: 1, stderr: /unknown mount option "wat"/ });
  });
});
