/** open(2), without O_TMPFILE, O_APPEND and O_DIRECT, which have files of their own. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  S_IFIFO,
  S_IFREG,
  S_IFSOCK,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();

/** Opens and closes again: 0 or the errno. */
async function opens(by: Caller, path: string, flags: number, mode = 0): Promise<number | string> {
  const fd = await by.open(path, flags, mode);
  return typeof fd === 'number' ? by.close(fd) : fd;
}

describe.skipIf(!canMount)('open', () => {
  failsOnBadPaths(fs, (by, path) => by.open(path, O_RDONLY));
  failsOnMissing(fs, (by, path) => by.open(path, O_RDONLY));
});

describe.skipIf(!canMount)('open with O_CREAT', () => {
  failsOnBadPaths(fs, (by, path) => by.open(path, O_CREAT | O_RDWR, 0o644));
  failsWithoutWritableParent(fs, (by, path) => by.open(path, O_CREAT | O_RDWR, 0o644));

  test('makes an empty file, through the umask, and changes the directory', async () => {
    const dir = await fs.directory();
    for (const umask of [0, 0o022, 0o077, 0o151]) {
      const before = await must(fs.root.stat(dir));
      const path = `${dir}/${umask}`;
      expect(await opens(fs.alice.with({ umask }), path, O_CREAT | O_WRONLY, 0o777)).toBe(0);
      const made = await must(fs.root.stat(path));
      expect(made).toMatchObject({ mode: S_IFREG | (0o777 & ~umask), nlink: 1, size: 0, blocks: 0, uid: 4001 });
      expect([made.atime, made.mtime, made.ctime]).toEqual([made.btime, made.btime, made.btime]);
      expect((await must(fs.root.stat(dir))).mtime).toBeGreaterThan(before.mtime);
    }
  });

  test('the mode rules later opens, not the one that makes the file', async () => {
    const dir = await fs.directory();
    const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR, 0));
    expect(await fs.alice.write(fd, 'content')).toBe(7);
    expect(String(await fs.alice.pread(fd, 7, 0))).toBe('content');
    await must(fs.alice.close(fd));
    expect(await opens(fs.alice, `${dir}/file`, O_RDONLY)).toBe('EACCES');
    expect(await opens(fs.root, `${dir}/file`, O_RDWR)).toBe(0);
  });

  test('leaves a file that is there as it is', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o640, 'content');
    const before = await must(fs.root.stat(`${dir}/file`));
    expect(await opens(fs.alice, `${dir}/file`, O_CREAT | O_WRONLY, 0o777)).toBe(0);
    expect(await fs.root.stat(`${dir}/file`)).toEqual(before);
  });

  test('the group is that of a set-group-ID directory, else of the process', async () => {
    const dir = await fs.directory();
    await opens(fs.alice, `${dir}/own`, O_CREAT | O_WRONLY, 0o644);
    await must(fs.root.chown(dir, 0, 4100));
    await must(fs.root.chmod(dir, 0o2777));
    await opens(fs.alice, `${dir}/inherited`, O_CREAT | O_WRONLY, 0o644);
    expect(await fs.root.stat(`${dir}/own`)).toMatchObject({ gid: 4001 });
    expect(await fs.root.stat(`${dir}/inherited`)).toMatchObject({ gid: 4100, mode: S_IFREG | 0o644 });
  });

  test('a set-group-ID program for a group one is not in is not made', async () => {
    const dir = await fs.directory();
    await must(fs.root.chown(dir, 0, 4100));
    await must(fs.root.chmod(dir, 0o2777));
    await opens(fs.bob, `${dir}/foreign`, O_CREAT | O_WRONLY, 0o2755);
    await opens(fs.alice, `${dir}/member`, O_CREAT | O_WRONLY, 0o2755);
    expect(await fs.root.stat(`${dir}/foreign`)).toMatchObject({ mode: S_IFREG | 0o755 });
    expect(await fs.root.stat(`${dir}/member`)).toMatchObject({ mode: S_IFREG | 0o2755 });
  });

  test('EEXIST: O_EXCL, also on a symbolic link to nowhere', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    await must(fs.alice.symlink('target', `${dir}/dangling`));
    for (const name of ['file', 'directory', 'dangling'])
      expect(await fs.alice.open(`${dir}/${name}`, O_CREAT | O_EXCL | O_RDONLY, 0o644)).toBe('EEXIST');
    expect(await opens(fs.alice, `${dir}/dangling`, O_CREAT | O_WRONLY, 0o644)).toBe(0);
    expect(await fs.root.stat(`${dir}/target`)).toMatchObject({ mode: S_IFREG | 0o644 });
  });
});

describe.skipIf(!canMount)('open: permissions', () => {
  test('EACCES: read and write each ask for their bit, by owner, group and others', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.root, path);
    await must(fs.root.chown(path, 4001, 4002));
    const stranger = fs.alice.with({ uid: 4003, gid: 4003, groups: [] });
    const asks = [
      { flags: O_RDONLY, bits: 4 },
      { flags: O_WRONLY, bits: 2 },
      { flags: O_RDWR, bits: 6 },
    ];
    const classes = [
      { by: fs.alice, shift: 6 },
      { by: fs.bob, shift: 3 },
      { by: stranger, shift: 0 },
    ];
    for (let bits = 0; bits < 8; bits++) {
      for (const { by, shift } of classes) {
        // The bits of the other classes say nothing.
        await must(fs.root.chmod(path, (0o777 & ~(7 << shift)) | (bits << shift)));
        for (const ask of asks)
          expect(await opens(by, path, ask.flags)).toBe((bits & ask.bits) === ask.bits ? 0 : 'EACCES');
        await must(fs.root.chmod(path, 0));
        for (const ask of asks) expect(await opens(fs.root, path, ask.flags)).toBe(0);
      }
    }
  });

  test('EACCES: O_TRUNC writes, even with O_RDONLY', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`, 0o644, 'content');
    expect(await fs.alice.open(`${dir}/file`, O_RDONLY | O_TRUNC)).toBe('EACCES');
    expect(await fs.root.stat(`${dir}/file`)).toMatchObject({ size: 7 });
  });

  test('EPERM: O_NOATIME is for the owner', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644);
    expect(await opens(fs.alice, `${dir}/file`, O_RDONLY | O_NOATIME)).toBe(0);
    expect(await fs.bob.open(`${dir}/file`, O_RDONLY | O_NOATIME)).toBe('EPERM');
  });

  test('a supplementary group counts', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    await must(fs.root.chown(`${dir}/file`, 0, 4100));
    await must(fs.root.chmod(`${dir}/file`, 0o060));
    expect(await opens(fs.alice, `${dir}/file`, O_RDWR)).toBe(0);
    expect(await opens(fs.bob, `${dir}/file`, O_RDWR)).toBe('EACCES');
  });
});

describe.skipIf(!canMount)('open: flags and kinds', () => {
  test('O_TRUNC empties, frees the blocks, and changes mtime and ctime', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'x'.repeat(10_000));
    const before = await must(fs.root.stat(`${dir}/file`));
    expect(before.blocks).toBeGreaterThan(0);
    expect(await opens(fs.alice, `${dir}/file`, O_WRONLY | O_TRUNC)).toBe(0);
    const after = await must(fs.root.stat(`${dir}/file`));
    expect(after).toMatchObject({ size: 0, blocks: 0, ino: before.ino });
    expect(after.mtime).toBeGreaterThan(before.mtime);
    expect(after.ctime).toBeGreaterThan(before.ctime);
  });

  test('EISDIR: a directory opened for writing, or to be made', async () => {
    const dir = await fs.directory();
    for (const flags of [O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDONLY | O_CREAT])
      expect(await fs.root.open(dir, flags, 0o644)).toBe('EISDIR');
    expect(await opens(fs.alice, dir, O_RDONLY)).toBe(0);
    expect(await opens(fs.alice, dir, O_RDONLY | O_DIRECTORY)).toBe(0);
  });

  test('ENOTDIR: O_DIRECTORY on anything else', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
    for (const name of ['file', 'fifo', 'file/'])
      expect(await fs.alice.open(`${dir}/${name}`, O_RDONLY | O_DIRECTORY | O_NONBLOCK)).toBe('ENOTDIR');
  });

  test('ELOOP: O_NOFOLLOW on a symbolic link', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('file', `${dir}/link`));
    expect(await fs.alice.open(`${dir}/link`, O_RDONLY | O_NOFOLLOW)).toBe('ELOOP');
    expect(await opens(fs.alice, `${dir}/link`, O_PATH | O_NOFOLLOW)).toBe(0);
    expect(await opens(fs.alice, `${dir}/link`, O_RDONLY)).toBe(0);
  });

  test('ENXIO: a fifo without a reader, and a socket', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
    await must(fs.alice.mknod(`${dir}/socket`, S_IFSOCK | 0o644));
    expect(await fs.alice.open(`${dir}/fifo`, O_WRONLY | O_NONBLOCK)).toBe('ENXIO');
    expect(await opens(fs.alice, `${dir}/fifo`, O_RDONLY | O_NONBLOCK)).toBe(0);
    expect(await fs.alice.open(`${dir}/socket`, O_RDONLY)).toBe('ENXIO');
  });

  test('what is written to a fifo comes out of it', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
    const reader = await must(fs.alice.open(`${dir}/fifo`, O_RDONLY | O_NONBLOCK));
    const writer = await must(fs.alice.open(`${dir}/fifo`, O_WRONLY));
    expect(await fs.alice.write(writer, 'through')).toBe(7);
    expect(String(await fs.alice.read(reader, 100))).toBe('through');
    for (const fd of [reader, writer]) await must(fs.alice.close(fd));
  });

  test('ETXTBSY: a program that runs, opened for writing', async () => {
    const dir = await fs.directory();
    await copyFile('/bin/sleep', `${dir}/program`);
    await must(fs.root.chmod(`${dir}/program`, 0o755));
    const child = spawn(`${dir}/program`, ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    try {
      expect(await fs.root.open(`${dir}/program`, O_WRONLY)).toBe('ETXTBSY');
      expect(await fs.root.truncate(`${dir}/program`, 0)).toBe('ETXTBSY');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    expect(await opens(fs.root, `${dir}/program`, O_WRONLY)).toBe(0);
  });

  test('a directory descriptor leads to what is below it, wherever it moved', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/a`, 0o755));
    await makeFile(fs.alice, `${dir}/a/file`, 0o644, 'found');
    const at = await must(fs.alice.open(`${dir}/a`, O_RDONLY | O_DIRECTORY));
    await must(fs.alice.rename(`${dir}/a`, `${dir}/b`));
    const fd = await must(fs.alice.openat(at, 'file', O_RDONLY));
    expect(String(await fs.alice.read(fd, 10))).toBe('found');
    for (const each of [fd, at]) await must(fs.alice.close(each));
  });
});
