/** The attribute `cow` on a mount (docs/files.md): set by hand, by xattr and from a directory; and a daemon killed while it writes. */
import { describe, expect, test } from 'vitest';
import { O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TMPFILE } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must, type Process } from './support/process.ts';

const fs = mounted();
const attribute = 'system.iopmemfs.cow';
const MiB = 1 << 20;

/** Where the first byte of the file lies on the device. */
async function placeOf(path: string): Promise<number> {
  const [line = ''] = String(await must(fs.root.getxattr(path, 'system.iopmemfs.map'))).split('\n');
  const extent: { readonly storageOffset: number } = JSON.parse(line);
  return extent.storageOffset;
}

describe.skipIf(!canMount)('iopmemfs cow', () => {
  test('on, off, show, and all below with -R', async () => {
    const dir = await fs.directory();
    await must(fs.root.mkdir(`${dir}/sub`, 0o755));
    await must(fs.root.symlink('sub', `${dir}/link`));
    for (const name of ['file', 'sub/file']) {
      await must(fs.root.close(await must(fs.root.open(`${dir}/${name}`, O_CREAT | O_RDWR, 0o644))));
    }
    const paths = ['file', 'sub', 'sub/file'].map((name) => `${dir}/${name}`);
    const show = async () => {
      const shown: { path: string; cow: boolean }[] = JSON.parse(
        await fs.box.must('iopmemfs', 'cow', 'show', '--json', ...paths),
      );
      expect(shown.map(({ path }) => path)).toEqual(paths);
      return shown.map(({ cow }) => cow);
    };
    await fs.box.must('iopmemfs', 'cow', 'on', `${dir}/file`);
    expect(await show()).toEqual([true, false, false]);
    await fs.box.must('iopmemfs', 'cow', 'on', '-R', dir);
    expect(await show()).toEqual([true, true, true]);
    expect(await fs.box.must('iopmemfs', 'cow', 'show', dir)).toBe(`on  ${dir}\n`);
    await fs.box.must('iopmemfs', 'cow', 'off', ...paths);
    expect(await show()).toEqual([false, false, false]);
  });

  test('says what it cannot be set on', async () => {
    const { code, stderr } = await fs.box.run('iopmemfs', 'cow', 'on', '/proc/self');
    expect(code).toBe(1);
    expect(stderr).toContain('EOPNOTSUPP');
  });
});

describe.skipIf(!canMount)('a file that has it', () => {
  test('is overwritten elsewhere, appended to, and keeps it over a mount', async () => {
    const dir = await fs.directory();
    expect(await fs.alice.setxattr(dir, attribute, 'on')).toBe('EPERM');
    await must(fs.root.setxattr(dir, attribute, 'on'));
    const path = `${dir}/file`;
    const fd = await must(fs.alice.open(path, O_CREAT | O_RDWR | O_APPEND, 0o644));
    await must(fs.alice.write(fd, 'one'));
    await must(fs.alice.write(fd, 'two'));
    // What is not durable yet may be overwritten where it is.
    await must(fs.alice.fsync(fd));
    await must(fs.alice.close(fd));
    const before = await placeOf(path);
    const again = await must(fs.alice.open(path, O_RDWR));
    await must(fs.alice.pwrite(again, 'TWO', 3));
    expect(await placeOf(path)).not.toBe(before);
    expect(String(await must(fs.alice.pread(again, 100, 0)))).toBe('oneTWO');
    await must(fs.alice.close(again));
    await fs.remount();
    expect(String(await must(fs.alice.getxattr(path, attribute)))).toBe('on');
    const unnamed = await must(fs.alice.open(dir, O_TMPFILE | O_RDWR, 0o600));
    await must(fs.alice.close(unnamed));
  });

  test('holds one whole write after the daemon was killed in the midst of them', async () => {
    const dir = await fs.directory();
    await must(fs.root.setxattr(dir, attribute, 'on'));
    const path = `${dir}/file`;
    for (let round = 1; round <= 3; round++) {
      const writer = await fs.another(round);
      await writeUntilKilled(writer, path);
      await writer.end();
      const fd = await must(fs.root.open(path, O_RDONLY));
      const content = await must(fs.root.pread(fd, 2 * MiB, 0));
      await must(fs.root.close(fd));
      expect(content.length, `size in round ${round}`).toBe(MiB);
      expect(content.equals(Buffer.alloc(MiB, content[0])), `one write in round ${round}`).toBe(true);
    }
  }, 120_000);
});

/** Writes a mebibyte of one letter after the other, until the daemon is killed, and comes back. */
async function writeUntilKilled(writer: Process, path: string): Promise<void> {
  const by = writer.as(fs.root.identity);
  const fd = await must(by.open(path, O_CREAT | O_RDWR, 0o644));
  await must(by.pwrite(fd, Buffer.alloc(MiB, 'a'), 0));
  await must(by.fsync(fd));
  const write = (letter: number) => by.pwrite(fd, Buffer.alloc(MiB, letter), 0);
  for (let letter = 98; letter < 103; letter++) await must(write(letter));
  // Without a word to the writer, who goes on until the mount is gone.
  const writing = (async () => {
    for (let letter = 103; (await write(letter)) === MiB; letter = letter === 122 ? 97 : letter + 1);
  })();
  await fs.crash();
  await writing;
}
