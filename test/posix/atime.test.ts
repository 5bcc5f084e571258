/** When reading marks the time of access: mount(8) relatime, strictatime, noatime, nodiratime; open(2) O_NOATIME. */
import { describe, expect, test } from 'vitest';
import { O_DIRECTORY, O_NOATIME, O_RDONLY } from './support/constants.ts';
import { canMount, isRemote, type Mounted, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

/** Over a server readings on the device mark nothing, and others what the server's options say (docs/remote-mount.md). */
const testMarks = test.skipIf(isRemote);

/** How often each of three readings in a row moves the time of access. */
async function readings(fs: Mounted, path: string, read: () => Promise<unknown>): Promise<readonly boolean[]> {
  const moved: boolean[] = [];
  for (let i = 0; i < 3; i++) {
    const before = await must(fs.root.lstat(path));
    await read();
    const after = await must(fs.root.lstat(path));
    expect(after).toMatchObject({ mtime: before.mtime, ctime: before.ctime });
    moved.push(after.atime > before.atime);
  }
  return moved;
}

function readerOf(fs: Mounted, path: string, flags = 0) {
  return async (): Promise<void> => {
    const fd = await must(fs.alice.open(path, O_RDONLY | flags));
    await must(fs.alice.read(fd, 100));
    await must(fs.alice.close(fd));
  };
}

function listerOf(fs: Mounted, path: string) {
  return async (): Promise<void> => {
    const fd = await must(fs.alice.open(path, O_RDONLY | O_DIRECTORY));
    await must(fs.alice.getdents(fd));
    await must(fs.alice.close(fd));
  };
}

describe.skipIf(!canMount)('relatime, the default', () => {
  const fs = mounted();

  testMarks('the first reading after a change of the file moves it, also of what the kernel has cached', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path, 0o644, 'content');
    expect(await readings(fs, path, readerOf(fs, path))).toEqual([true, false, false]);
    const fd = await must(fs.alice.open(path, 2));
    await must(fs.alice.pwrite(fd, 'changed', 0));
    await must(fs.alice.close(fd));
    expect(await readings(fs, path, readerOf(fs, path))).toEqual([true, false, false]);
    await must(fs.alice.chmod(path, 0o600));
    expect(await readings(fs, path, readerOf(fs, path))).toEqual([true, false, false]);
  });

  testMarks('a reading more than a day after the last moves it', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path, 0o644, 'content');
    const now = BigInt(Date.now()) * 1_000_000n;
    await must(fs.alice.utimens(path, now - 25n * 3_600_000_000_000n, 0n));
    expect((await readings(fs, path, readerOf(fs, path)))[0]).toBe(true);
  });

  test('listing a directory, and reading a symbolic link', async () => {
    const dir = await fs.directory();
    await must(fs.alice.symlink('target', `${dir}/link`));
    expect(await readings(fs, dir, listerOf(fs, dir))).toEqual([true, false, false]);
    expect((await readings(fs, `${dir}/link`, () => fs.alice.readlink(`${dir}/link`)))[0]).toBe(true);
  });

  testMarks('not by O_NOATIME', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path, 0o644, 'content');
    expect(await readings(fs, path, readerOf(fs, path, O_NOATIME))).toEqual([false, false, false]);
  });
});

describe.skipIf(!canMount)('strictatime', () => {
  const fs = mounted({ options: 'strictatime' });

  testMarks('every reading moves it', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    expect(await readings(fs, `${dir}/file`, readerOf(fs, `${dir}/file`))).toEqual([true, true, true]);
    expect(await readings(fs, dir, listerOf(fs, dir))).toEqual([true, true, true]);
  });
});

describe.skipIf(!canMount)('noatime', () => {
  const fs = mounted({ options: 'noatime' });

  testMarks('no reading moves it, of neither files nor directories', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    expect(await readings(fs, `${dir}/file`, readerOf(fs, `${dir}/file`))).toEqual([false, false, false]);
    expect(await readings(fs, dir, listerOf(fs, dir))).toEqual([false, false, false]);
  });
});

describe.skipIf(!canMount)('nodiratime', () => {
  const fs = mounted({ options: 'nodiratime' });

  testMarks('readings of files move theirs, listings do not', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    expect(await readings(fs, `${dir}/file`, readerOf(fs, `${dir}/file`))).toEqual([true, false, false]);
    expect(await readings(fs, dir, listerOf(fs, dir))).toEqual([false, false, false]);
  });
});
