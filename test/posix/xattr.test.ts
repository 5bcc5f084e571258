/** xattr(7): setxattr(2), getxattr(2), listxattr(2), removexattr(2). */
import { describe, expect, test } from 'vitest';
import { O_RDWR, S_IFIFO, XATTR_CREATE, XATTR_REPLACE } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

async function newFile(mode = 0o644): Promise<string> {
  const dir = await fs.directory();
  await makeFile(fs.alice, `${dir}/file`, mode);
  return `${dir}/file`;
}

describe.skipIf(!canMount)('setxattr', () => {
  failsOnBadPaths(fs, (by, path) => by.setxattr(path, 'user.x', 'value'));
  failsOnMissing(fs, (by, path) => by.setxattr(path, 'user.x', 'value'));

  test('keeps bytes of any value and length, by name and by descriptor', async () => {
    const path = await newFile();
    const fd = await must(fs.alice.open(path, O_RDWR));
    const values = [Buffer.alloc(0), Buffer.from([0, 1, 255, 0]), Buffer.alloc(4096, 7), Buffer.alloc(65_536, 8)];
    for (const value of values) {
      expect(await fs.alice.setxattr(path, 'user.x', value)).toBe(0);
      expect(await fs.alice.getxattr(path, 'user.x')).toEqual(value);
      expect(await fs.alice.fsetxattr(fd, 'user.y', value)).toBe(0);
      expect(await fs.alice.getxattr(path, 'user.y')).toEqual(value);
    }
    await must(fs.alice.close(fd));
  });

  test('XATTR_CREATE only makes, XATTR_REPLACE only replaces', async () => {
    const path = await newFile();
    expect(await fs.alice.setxattr(path, 'user.x', '1', XATTR_REPLACE)).toBe('ENODATA');
    expect(await fs.alice.setxattr(path, 'user.x', '1', XATTR_CREATE)).toBe(0);
    expect(await fs.alice.setxattr(path, 'user.x', '2', XATTR_CREATE)).toBe('EEXIST');
    expect(await fs.alice.setxattr(path, 'user.x', '3', XATTR_REPLACE)).toBe(0);
    expect(String(await fs.alice.getxattr(path, 'user.x'))).toBe('3');
  });

  test('changes ctime and no other time', async () => {
    const path = await newFile();
    const before = await must(fs.root.stat(path));
    await must(fs.alice.setxattr(path, 'user.x', 'value'));
    const after = await must(fs.root.stat(path));
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(after).toMatchObject({ mtime: before.mtime, atime: before.atime });
    await must(fs.alice.removexattr(path, 'user.x'));
    expect((await must(fs.root.stat(path))).ctime).toBeGreaterThan(after.ctime);
  });

  test('follows a symbolic link, or with lsetxattr not', async () => {
    const path = await newFile();
    await must(fs.alice.symlink('file', `${path}-link`));
    expect(await fs.alice.setxattr(`${path}-link`, 'user.x', 'value')).toBe(0);
    expect(String(await fs.alice.getxattr(path, 'user.x'))).toBe('value');
    expect(await fs.root.lsetxattr(`${path}-link`, 'trusted.x', 'of the link')).toBe(0);
    expect(String(await fs.root.lgetxattr(`${path}-link`, 'trusted.x'))).toBe('of the link');
    expect(await fs.root.getxattr(path, 'trusted.x')).toBe('ENODATA');
    expect(await fs.root.lremovexattr(`${path}-link`, 'trusted.x')).toBe(0);
  });

  test('user: by whoever may write, read by whoever may read', async () => {
    const path = await newFile(0o644);
    expect(await fs.bob.setxattr(path, 'user.x', 'value')).toBe('EACCES');
    await must(fs.alice.setxattr(path, 'user.x', 'value'));
    expect(String(await fs.bob.getxattr(path, 'user.x'))).toBe('value');
    expect(await fs.bob.removexattr(path, 'user.x')).toBe('EACCES');
    await must(fs.alice.chmod(path, 0o622));
    expect(await fs.bob.getxattr(path, 'user.x')).toBe('EACCES');
    expect(await fs.bob.setxattr(path, 'user.x', 'changed')).toBe(0);
  });

  test('EPERM: user attributes of what is neither file nor directory', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    await must(fs.alice.symlink('target', `${dir}/link`));
    expect(await fs.alice.setxattr(`${dir}/fifo`, 'user.x', 'value')).toBe('EPERM');
    expect(await fs.alice.lsetxattr(`${dir}/link`, 'user.x', 'value')).toBe('EPERM');
    expect(await fs.alice.setxattr(dir, 'user.x', 'value')).toBe(0);
  });

  test('EPERM: user attributes of a sticky directory by others than its owner', async () => {
    const dir = await fs.directory();
    await must(fs.root.chmod(dir, 0o1777));
    expect(await fs.alice.setxattr(dir, 'user.x', 'value')).toBe('EPERM');
    expect(await fs.root.setxattr(dir, 'user.x', 'value')).toBe(0);
  });

  test('trusted: for root alone, who alone sees it listed', async () => {
    const path = await newFile();
    expect(await fs.alice.setxattr(path, 'trusted.x', 'value')).toBe('EPERM');
    expect(await fs.root.setxattr(path, 'trusted.x', 'value')).toBe(0);
    expect(await fs.alice.getxattr(path, 'trusted.x')).toBe('ENODATA');
    await must(fs.alice.setxattr(path, 'user.x', 'value'));
    expect(await fs.alice.listxattr(path)).toEqual(['user.x']);
    expect((await must(fs.root.listxattr(path))).sort()).toEqual(['trusted.x', 'user.x']);
  });

  test('security: set by root, read by all', async () => {
    const path = await newFile();
    expect(await fs.alice.setxattr(path, 'security.x', 'value')).toBe('EPERM');
    expect(await fs.root.setxattr(path, 'security.x', 'value')).toBe(0);
    expect(String(await fs.bob.getxattr(path, 'security.x'))).toBe('value');
  });

  test('EOPNOTSUPP: other namespaces, or none', async () => {
    const path = await newFile();
    for (const name of ['other.x', 'x', 'user', 'system.x'])
      expect(await fs.root.setxattr(path, name, 'value')).toBe('EOPNOTSUPP');
  });

  test('EINVAL: a namespace without a name; ERANGE: a name of 256 bytes, or none; E2BIG: 64 KiB and one byte', async () => {
    const path = await newFile();
    expect(await fs.alice.setxattr(path, 'user.', 'value')).toBe('EINVAL');
    expect(await fs.alice.setxattr(path, `user.${'n'.repeat(250)}`, 'value')).toBe(0);
    expect(await fs.alice.setxattr(path, `user.${'n'.repeat(251)}`, 'value')).toBe('ERANGE');
    expect(await fs.alice.setxattr(path, '', 'value')).toBe('ERANGE');
    expect(await fs.alice.setxattr(path, 'user.x', Buffer.alloc(65_537))).toBe('E2BIG');
    expect(await fs.alice.setxattr(path, 'user.x', 'value', XATTR_CREATE | XATTR_REPLACE)).not.toBe(0);
    expect(await fs.alice.setxattr(path, 'user.x', 'value', 4)).toBe('EINVAL');
  });

  test('ENOSPC: more names than a list can hold', async () => {
    const path = await newFile();
    let set: number | string = 0;
    let count = 0;
    while (set === 0 && count < 300)
      set = await fs.alice.setxattr(path, `user.${'n'.repeat(245)}-${1000 + count++}`, '');
    expect(set).toBe('ENOSPC');
    expect(await fs.alice.listxattr(path)).toHaveLength(count - 1);
  });
});

describe.skipIf(!canMount)('getxattr', () => {
  failsOnBadPaths(fs, (by, path) => by.getxattr(path, 'user.x'));
  failsOnMissing(fs, (by, path) => by.getxattr(path, 'user.x'));

  test('ENODATA: not there; ERANGE: the buffer is too small; the length alone', async () => {
    const path = await newFile();
    await must(fs.alice.setxattr(path, 'user.x', 'value'));
    expect(await fs.alice.getxattr(path, 'user.y')).toBe('ENODATA');
    expect(await fs.alice.getxattr(path, 'user.x', 4)).toBe('ERANGE');
    expect(String(await fs.alice.getxattr(path, 'user.x', 5))).toBe('value');
    expect(await fs.alice.getxattrLength(path, 'user.x')).toBe(5);
    expect(await fs.alice.getxattr(path, 'other.x')).toBe('EOPNOTSUPP');
  });
});

describe.skipIf(!canMount)('listxattr and removexattr', () => {
  failsOnBadPaths(fs, (by, path) => by.listxattr(path));
  failsOnMissing(fs, (by, path) => by.removexattr(path, 'user.x'));

  test('list every name once; removed ones are gone', async () => {
    const path = await newFile();
    expect(await fs.alice.listxattr(path)).toEqual([]);
    const names = Array.from({ length: 50 }, (_, i) => `user.name-${i}`);
    for (const name of names) await must(fs.alice.setxattr(path, name, name));
    expect((await must(fs.alice.listxattr(path))).sort()).toEqual([...names].sort());
    expect(await fs.alice.listxattr(path, 10)).toBe('ERANGE');
    expect(await fs.alice.listxattrLength(path)).toBe(names.reduce((sum, name) => sum + name.length + 1, 0));
    for (const name of names.slice(1)) expect(await fs.alice.removexattr(path, name)).toBe(0);
    expect(await fs.alice.listxattr(path)).toEqual(['user.name-0']);
    expect(await fs.alice.removexattr(path, 'user.name-1')).toBe('ENODATA');
  });

  test('attributes follow the file under other names, and outlive a remount', async () => {
    const path = await newFile();
    await must(fs.alice.setxattr(path, 'user.x', 'value'));
    await must(fs.alice.link(path, `${path}-link`));
    await must(fs.alice.rename(path, `${path}-new`));
    expect(String(await fs.alice.getxattr(`${path}-link`, 'user.x'))).toBe('value');
    await fs.remount();
    expect(String(await fs.alice.getxattr(`${path}-new`, 'user.x'))).toBe('value');
  });
});
