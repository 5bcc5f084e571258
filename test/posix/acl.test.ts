/** POSIX access control lists, as acl(5) has them and setfacl(1) sets them. */
import { describe, expect, test } from 'vitest';
import { type Entry, encodeAcl, parseAcl } from './support/acl.ts';
import { O_RDONLY, O_RDWR, S_IFMT } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();
const access = 'system.posix_acl_access';
const byDefault = 'system.posix_acl_default';

const permissionsOf = async (path: string): Promise<number> => (await must(fs.root.stat(path))).mode & ~S_IFMT;
const aclOf = async (path: string, name = access): Promise<readonly Entry[] | string> => {
  const value = await fs.root.getxattr(path, name);
  return typeof value === 'string' ? value : parseAcl(value);
};
const set = (by: Caller, path: string, acl: string, name = access) => by.setxattr(path, name, encodeAcl(acl));
const opens = async (by: Caller, path: string, flags: number): Promise<boolean> => {
  const fd = await by.open(path, flags);
  if (typeof fd === 'number') await must(by.close(fd));
  return fd !== 'EACCES';
};

describe.skipIf(!canMount)('an access list', () => {
  test('lets in a user and a group that the mode does not, as far as the mask goes', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.root, path, 0o600);
    expect(await set(fs.root, path, 'u::rw-,u:4001:rw-,g::---,g:4002:r--,m::rw-,o::---')).toBe(0);
    expect(await permissionsOf(path)).toBe(0o660);
    expect([await opens(fs.alice, path, O_RDWR), await opens(fs.bob, path, O_RDONLY)]).toEqual([true, true]);
    expect(await opens(fs.bob, path, O_RDWR)).toBe(false);
    const stranger = fs.alice.with({ uid: 4003, gid: 4003, groups: [] });
    expect(await opens(stranger, path, O_RDONLY)).toBe(false);
    await must(fs.root.chmod(path, 0o640));
    expect([await opens(fs.alice, path, O_RDWR), await opens(fs.alice, path, O_RDONLY)]).toEqual([false, true]);
  });

  test('keeps out a user whom the mode lets in', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`, 0o644);
    await must(set(fs.root, `${dir}/file`, 'u::rw-,u:4001:---,g::r--,m::r--,o::r--'));
    expect([await opens(fs.alice, `${dir}/file`, O_RDONLY), await opens(fs.bob, `${dir}/file`, O_RDONLY)]).toEqual([
      false,
      true,
    ]);
  });

  test('guards directories: searching and making names', async () => {
    const dir = await fs.directory();
    await must(fs.root.mkdir(`${dir}/d`, 0o700));
    await must(set(fs.root, `${dir}/d`, 'u::rwx,u:4001:rwx,u:4002:r-x,g::---,m::rwx,o::---'));
    await makeFile(fs.alice, `${dir}/d/file`);
    expect(await opens(fs.bob, `${dir}/d/file`, O_RDONLY)).toBe(true);
    expect(await fs.bob.unlink(`${dir}/d/file`)).toBe('EACCES');
    expect(await fs.alice.unlink(`${dir}/d/file`)).toBe(0);
  });

  test('chmod changes owner, mask and others of it, and nobody by name', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o600);
    await must(set(fs.alice, `${dir}/file`, 'u::rw-,u:4002:rwx,g::r-x,m::rwx,o::---'));
    await must(fs.alice.chmod(`${dir}/file`, 0o754));
    expect(await aclOf(`${dir}/file`)).toEqual(parseAcl(encodeAcl('u::rwx,u:4002:rwx,g::r-x,m::r-x,o::r--')));
  });

  test('that says no more than the mode becomes the mode', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o600);
    await must(set(fs.alice, `${dir}/file`, 'u::rwx,g::r-x,o::--x'));
    expect(await permissionsOf(`${dir}/file`)).toBe(0o751);
    expect(await aclOf(`${dir}/file`)).toBe('ENODATA');
    expect(await fs.alice.listxattr(`${dir}/file`)).toEqual([]);
  });

  test('removed, leaves the mode; that removed which is not there is no error', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o600);
    await must(set(fs.alice, `${dir}/file`, 'u::rw-,u:4002:rw-,g::---,m::rw-,o::---'));
    expect(await fs.alice.listxattr(`${dir}/file`)).toEqual([access]);
    expect(await fs.alice.removexattr(`${dir}/file`, access)).toBe(0);
    expect(await permissionsOf(`${dir}/file`)).toBe(0o660);
    expect(await aclOf(`${dir}/file`)).toBe('ENODATA');
    expect(await fs.alice.removexattr(`${dir}/file`, access)).toBe(0);
  });

  test('EPERM: set by whoever does not own the file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o666);
    expect(await set(fs.bob, `${dir}/file`, 'u::rw-,g::rw-,o::rw-')).toBe('EPERM');
    expect(await fs.bob.removexattr(`${dir}/file`, access)).toBe('EPERM');
  });

  test('takes set-group-ID where its setter is not in the group of the file', async () => {
    const dir = await fs.directory();
    for (const { gid, kept } of [
      { gid: 4002, kept: 0 },
      { gid: 4100, kept: 0o2000 },
    ]) {
      const path = `${dir}/${gid}`;
      await makeFile(fs.root, path);
      await must(fs.root.chown(path, 4001, gid));
      await must(fs.root.chmod(path, 0o2755));
      await must(set(fs.alice, path, 'u::rwx,u:4002:r-x,g::r-x,m::r-x,o::r-x'));
      expect(await permissionsOf(path)).toBe(0o755 | kept);
    }
  });

  test('outlives a remount', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o600);
    const acl = 'u::rw-,u:4002:r--,g::---,m::r--,o::---';
    await must(set(fs.alice, `${dir}/file`, acl));
    await fs.remount();
    expect(await aclOf(`${dir}/file`)).toEqual(parseAcl(encodeAcl(acl)));
    expect(await opens(fs.bob, `${dir}/file`, O_RDONLY)).toBe(true);
  });
});

describe.skipIf(!canMount)('a default list', () => {
  const acl = 'u::rwx,u:4002:rwx,g::r-x,m::rwx,o::---';

  test('goes to new files instead of the umask, as far as their mode asks for it', async () => {
    const dir = await fs.directory();
    await must(set(fs.root, dir, acl, byDefault));
    await makeFileOf(fs.alice.with({ umask: 0o077 }), `${dir}/file`, 0o664);
    expect(await permissionsOf(`${dir}/file`)).toBe(0o660);
    expect(await aclOf(`${dir}/file`)).toEqual(parseAcl(encodeAcl('u::rw-,u:4002:rwx,g::r-x,m::rw-,o::---')));
    expect(await opens(fs.bob, `${dir}/file`, O_RDWR)).toBe(true);
    expect(await aclOf(`${dir}/file`, byDefault)).toBe('ENODATA');
  });

  test('goes to new directories, as access list and as default', async () => {
    const dir = await fs.directory();
    await must(set(fs.root, dir, acl, byDefault));
    await must(fs.alice.mkdir(`${dir}/d`, 0o777));
    expect(await permissionsOf(`${dir}/d`)).toBe(0o770);
    expect(await aclOf(`${dir}/d`)).toEqual(parseAcl(encodeAcl(acl)));
    expect(await aclOf(`${dir}/d`, byDefault)).toEqual(parseAcl(encodeAcl(acl)));
    await must(fs.alice.mkdir(`${dir}/d/e`, 0o700));
    expect(await aclOf(`${dir}/d/e`)).toEqual(parseAcl(encodeAcl('u::rwx,u:4002:rwx,g::r-x,m::---,o::---')));
  });

  test('of nobody by name is just another umask', async () => {
    const dir = await fs.directory();
    await must(set(fs.root, dir, 'u::rwx,g::r-x,o::r-x', byDefault));
    await makeFileOf(fs.alice.with({ umask: 0o077 }), `${dir}/file`, 0o666);
    expect(await permissionsOf(`${dir}/file`)).toBe(0o644);
    expect(await aclOf(`${dir}/file`)).toBe('ENODATA');
  });

  test('says nothing about the directory itself, nor about symbolic links', async () => {
    const dir = await fs.directory();
    await must(set(fs.root, dir, acl, byDefault));
    expect(await permissionsOf(dir)).toBe(0o777);
    await must(fs.alice.symlink('target', `${dir}/link`));
    expect((await must(fs.root.lstat(`${dir}/link`))).mode & ~S_IFMT).toBe(0o777);
  });

  test('EACCES: on a file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await set(fs.alice, `${dir}/file`, acl, byDefault)).toBe('EACCES');
  });
});

describe.skipIf(!canMount)('a list that is none', () => {
  test.for([
    ['no mask where a user has a name', 'u::rw-,u:4002:r--,g::---,o::---'],
    ['no owner', 'g::r--,o::r--'],
    ['no others', 'u::rw-,g::r--'],
    ['two owners', 'u::rw-,u::rw-,g::r--,o::r--'],
  ])('EINVAL: %s', async ([, acl = '']) => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await set(fs.alice, `${dir}/file`, acl)).toBe('EINVAL');
  });

  test('EINVAL: bytes at random', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.alice.setxattr(`${dir}/file`, access, Buffer.from([2, 0, 0, 0, 1]))).toBe('EINVAL');
  });
});

async function makeFileOf(by: Caller, path: string, mode: number): Promise<void> {
  await must(by.close(await must(by.open(path, O_RDWR | 0o100, mode))));
}
