import { existsSync } from 'node:fs';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeNewerSuperblocks } from './newer.ts';
import { canMount, Sandbox } from './sandbox.ts';

let box: Sandbox;
beforeEach(async () => {
  box = await Sandbox.create(1 << 20);
});
afterEach(() => box.remove());

const uuid = '01234567-89ab-cdef-0123-456789abcdef';

test('makes a filesystem and prints a table; metadata goes to a folder of its UUID', async () => {
  const { code, stdout, stderr } = await box.run('mkfs', '-L', 'scratch', '-U', uuid, box.image);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^meta-data=.*image +uuid=01234567-.* label="scratch"$/m);
  expect(stdout).toMatch(/^data +=.*bsize=4096 +blocks=256, size=1048576, usable=254, reserved=0%$/m);
  expect(await readdir(box.state)).toEqual([uuid]);
  expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
});

test('--json says the same with stable keys, -q nothing', async () => {
  const made: unknown = JSON.parse(await box.must('mkfs', '--json', '--volatile', '-U', uuid, box.image));
  expect(made).toMatchObject({
    device: box.image,
    uuid,
    label: '',
    blockSize: 4096,
    blocks: 256,
    volatile: true,
    metadata: join(box.state, uuid),
    dryRun: false,
  });
  expect(await box.run('mkfs', '-q', '-f', box.image)).toMatchObject({ code: 0, stdout: '' });
});

test.for([
  ['too small', 61_440, /61440 bytes are too small: at least 65536 are needed \(EINVAL\)/],
  ['not a multiple of the block size', 1_000_000, /1000000 bytes are not a multiple of the block size 4096 \(EINVAL\)/],
  ['empty', 0, /is empty \(EINVAL\)/],
] as const)('an image that is %s is refused and stays as it is', async ([, size, message]) => {
  await box.makeImage(box.image, size);
  const { code, stdout, stderr } = await box.run('mkfs', box.image);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(message);
  expect(stderr).toContain(box.image);
  expect(await readFile(box.image)).toEqual(Buffer.alloc(size));
  expect(existsSync(box.state)).toBe(false);
});

test('a second time is refused with two lines and exit code 1; -f overwrites', async () => {
  await box.must('mkfs', '-L', 'first', '-U', uuid, box.image);
  const before = await readFile(box.image);
  const { code, stderr } = await box.run('mkfs', box.image);
  expect(code).toBe(1);
  expect(stderr).toBe(
    `mkfs.iopmemfs: ${box.image}: seems to hold an iopmemfs filesystem, label "first", UUID ${uuid} (EEXIST)\n` +
      'mkfs.iopmemfs: use -f to overwrite it\n',
  );
  expect((await readFile(box.image)).equals(before)).toBe(true);

  const again = await box.run('mkfs', '-f', box.image);
  expect(again.code).toBe(0);
  expect(again.stderr).toMatch(new RegExp(`still in .*${uuid}: remove it if no copy`));
  expect(await readdir(box.state)).toHaveLength(2); // a copy of the device may still need the old one
});

test('what seems to be another filesystem is refused without -f', async () => {
  const image = await open(box.image, 'r+');
  await image.write(Buffer.from('XFSB'), 0, 4, 0);
  await image.close();
  expect(await box.run('mkfs', box.image)).toMatchObject({ code: 1, stderr: /XFS filesystem/ });
  expect(await box.run('mkfs', '-f', box.image)).toMatchObject({ code: 0 });
});

test('a filesystem of a newer version is refused without -f', async () => {
  await writeNewerSuperblocks(box.image, 1 << 20, 2);
  expect(await box.run('mkfs', box.image)).toMatchObject({ code: 1, stderr: /of a newer version \(2\)/ });
});

test('a dry run checks and prints, and writes nothing', async () => {
  const { code, stdout } = await box.run('mkfs', '-n', box.image);
  expect(code).toBe(0);
  expect(stdout).toContain('bsize=4096');
  expect(await readFile(box.image)).toEqual(Buffer.alloc(1 << 20));
  expect(existsSync(box.state)).toBe(false);
  await box.makeImage(box.image, 4096);
  expect(await box.run('mkfs', '-N', box.image)).toMatchObject({ code: 1 });
});

test('metadata of another filesystem is never overwritten, not even with -f', async () => {
  const meta = join(box.dir, 'meta');
  await box.must('mkfs', '--meta', meta, '-U', uuid, box.image);
  const other = join(box.dir, 'other');
  await box.makeImage(other, 1 << 20);
  const { code, stderr } = await box.run('mkfs', '-f', '--meta', meta, other);
  expect(code).toBe(1);
  expect(stderr).toMatch(new RegExp(`already holds the metadata of filesystem ${uuid}: .* \\(EEXIST\\)`));
  expect(await box.run('fsck', '--meta', meta, box.image)).toMatchObject({ code: 0 });
  // The directory of the very filesystem that is overwritten is replaced.
  expect(await box.run('mkfs', '-f', '--meta', meta, box.image)).toMatchObject({ code: 0 });
});

test.for([
  ['a missing image', ['nowhere'], /nowhere: no such file or directory \(ENOENT\)$/m],
  ['a directory', ['mnt'], /is a directory, not a device or an image \(EISDIR\)/],
  ['another block size', ['-b', '8k', 'image'], /block size 8192 is not supported: only 4096 is \(EINVAL\)/],
  ['a block size that is no size', ['-b', '4x', 'image'], /"4x" is not a size/],
  ['a UUID that is none', ['-U', 'xyz', 'image'], /"xyz" is not a UUID \(EINVAL\)/],
  ['a long label', ['-L', 'x'.repeat(65), 'image'], /the label takes at most 64 bytes/],
  ['no device', [], /missing required argument 'device'/],
  ['an unknown option', ['--what', 'image'], /unknown option '--what'/],
] as const)('%s is refused with a clear message', async ([, args, message]) => {
  expect(await box.run('mkfs', ...args)).toMatchObject({ code: 1, stdout: '', stderr: message });
});

test.runIf(canMount)('a device in use is refused, also with -f', async () => {
  await box.must('mkfs', box.image);
  await box.mount();
  await writeFile(box.path('file'), 'kept');
  const { code, stderr } = await box.run('mkfs', '-f', box.image);
  expect(code).toBe(1);
  expect(stderr).toMatch(/in use by another daemon \(process \d+\): umount .*mnt first \(EBUSY\)/);
  expect(await readFile(box.path('file'), 'utf8')).toBe('kept');
});

test('-V prints the version, --help the exit codes', async () => {
  expect((await box.must('mkfs', '-V')).trim()).toMatch(/^\d+\.\d+\.\d+$/);
  expect(await box.must('mkfs', '--help')).toContain('Exit code: 0');
});
