/** Extended attributes: xattr(7), setxattr(2), getxattr(2), listxattr(2), removexattr(2). */
import { describe, expect } from 'vitest';
import { xattrRange } from '../../fs/format/keys.ts';
import { limits } from '../../fs/limits.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { Caller, Vfs } from '../../fs/vfs.ts';
import { alice, bob, errnoOfCall, Lab, n, root } from '../support/filesystem.ts';
import { makeDir, makeFile, pattern, test } from './fixture.ts';

function set(vfs: Vfs, ino: number, name: string, by: Caller = root, value = 'value'): Promise<string | undefined> {
  return errnoOfCall(() => vfs.setxattr(ino, name, Buffer.from(value), 'either', by));
}

test('what was set comes back, also after a remount; an empty value is a value', async ({ lab }) => {
  const ino = await makeFile(lab.vfs, 'f');
  await lab.vfs.setxattr(ino, 'user.a', Buffer.from([0, 255, 1]), 'either', root);
  await lab.vfs.setxattr(ino, 'user.empty', Buffer.alloc(0), 'either', root);
  await lab.remount();
  expect(Buffer.from(await lab.vfs.getxattr(ino, 'user.a', root))).toEqual(Buffer.from([0, 255, 1]));
  expect((await lab.vfs.getxattr(ino, 'user.empty', root)).length).toBe(0);
  expect([...(await lab.vfs.listxattr(ino, root))].sort()).toEqual(['user.a', 'user.empty']);
});

test('the value is copied: the caller may use its buffer again', async ({ vfs }) => {
  const ino = await makeFile(vfs, 'f');
  const value = Buffer.from('first');
  await vfs.setxattr(ino, 'user.a', value, 'either', root);
  value.fill(0);
  expect(Buffer.from(await vfs.getxattr(ino, 'user.a', root)).toString()).toBe('first');
});

test('XATTR_CREATE and XATTR_REPLACE: EEXIST, ENODATA', async ({ vfs }) => {
  const ino = await makeFile(vfs, 'f');
  const value = Buffer.from('x');
  expect(await errnoOfCall(() => vfs.setxattr(ino, 'user.a', value, 'replace', root))).toBe('ENODATA');
  expect(await errnoOfCall(() => vfs.setxattr(ino, 'user.a', value, 'create', root))).toBeUndefined();
  expect(await errnoOfCall(() => vfs.setxattr(ino, 'user.a', value, 'create', root))).toBe('EEXIST');
  expect(await errnoOfCall(() => vfs.setxattr(ino, 'user.a', value, 'replace', root))).toBeUndefined();
});

test('remove takes one away, ENODATA afterwards and for what never was', async ({ lab }) => {
  const ino = await makeFile(lab.vfs, 'f');
  await set(lab.vfs, ino, 'user.a');
  await set(lab.vfs, ino, 'user.b');
  await lab.remount();
  await lab.vfs.removexattr(ino, 'user.a', root);
  expect(await errnoOfCall(() => lab.vfs.removexattr(ino, 'user.a', root))).toBe('ENODATA');
  expect(await errnoOfCall(() => lab.vfs.getxattr(ino, 'user.a', root))).toBe('ENODATA');
  await lab.remount();
  expect(await lab.vfs.listxattr(ino, root)).toEqual(['user.b']);
});

test('every change is in ctime and the change attribute, not in mtime', async ({ vfs }) => {
  const ino = await makeFile(vfs, 'f');
  const before = await vfs.getattr(ino, root);
  await set(vfs, ino, 'user.a');
  const after = await vfs.getattr(ino, root);
  expect(after.change).toBeGreaterThan(before.change);
  expect(after.ctime).not.toEqual(before.ctime);
  expect(after.mtime).toEqual(before.mtime);
});

const longName = (i: number) => `user.${String(i).padStart(250, '0')}`;

describe('limits', () => {
  test('65 536 bytes are a value, one more is E2BIG', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const value = pattern(limits.xattrValueMax);
    await lab.vfs.setxattr(ino, 'user.big', value, 'either', root);
    await lab.remount();
    expect(Buffer.from(await lab.vfs.getxattr(ino, 'user.big', root)).equals(value)).toBe(true);
    const tooBig = Buffer.alloc(limits.xattrValueMax + 1);
    expect(await errnoOfCall(() => lab.vfs.setxattr(ino, 'user.big', tooBig, 'either', root))).toBe('E2BIG');
  });

  test('255 bytes are a name, one more is ERANGE', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    expect(await set(vfs, ino, `user.${'x'.repeat(250)}`)).toBeUndefined();
    expect(await set(vfs, ino, `user.${'x'.repeat(251)}`)).toBe('ERANGE');
  });

  test('names that listxattr could not return are ENOSPC; what is there can still be replaced', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    for (let i = 0; i < 256; i++) expect(await set(vfs, ino, longName(i), root, 'x')).toBeUndefined();
    expect(await set(vfs, ino, longName(256), root, 'x')).toBe('ENOSPC');
    expect(await set(vfs, ino, longName(0), root, 'replaced')).toBeUndefined();
    const listed = await vfs.listxattr(ino, root);
    expect(listed.reduce((sum, each) => sum + each.length + 1, 0)).toBe(limits.xattrListMax);
  });

  test('EINVAL for a namespace without a name and for NUL, which no record could hold', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    expect(await set(lab.vfs, ino, 'user.')).toBe('EINVAL');
    expect(await set(lab.vfs, ino, 'trusted.')).toBe('EINVAL');
    expect(await set(lab.vfs, ino, 'user.a\0b')).toBe('EINVAL');
    await lab.remount();
    expect(await lab.vfs.listxattr(ino, root)).toEqual([]);
  });
});

describe('namespaces', () => {
  test('user: with the permissions of the content', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f', 0o640);
    await vfs.setattr(ino, { uid: alice.uid, gid: alice.gid }, root);
    expect(await set(vfs, ino, 'user.a', alice)).toBeUndefined();
    expect(await set(vfs, ino, 'user.a', bob)).toBe('EACCES');
    expect(await errnoOfCall(() => vfs.removexattr(ino, 'user.a', bob))).toBe('EACCES');
    expect(await errnoOfCall(() => vfs.getxattr(ino, 'user.a', bob))).toBe('EACCES');
    expect(await vfs.listxattr(ino, bob)).toEqual(['user.a']);
  });

  test('user: EPERM on what is neither file nor directory', async ({ vfs }) => {
    const { ino } = await vfs.symlink(vfs.rootIno, n('l'), Buffer.from('target'), root);
    expect(await set(vfs, ino, 'user.a')).toBe('EPERM');
    expect(await set(vfs, ino, 'trusted.a')).toBeUndefined();
    expect(await set(vfs, await makeDir(vfs, 'd'), 'user.a')).toBeUndefined();
  });

  test('user: in a sticky directory for its owner only', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'tmp');
    await vfs.setattr(dir, { mode: 0o1777 }, root);
    expect(await set(vfs, dir, 'user.a', alice)).toBe('EPERM');
    await vfs.setattr(dir, { mode: 0o777 }, root);
    expect(await set(vfs, dir, 'user.a', alice)).toBeUndefined();
  });

  test('trusted: invisible to all but root', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f', 0o666);
    expect(await set(vfs, ino, 'trusted.a', alice)).toBe('EPERM');
    expect(await set(vfs, ino, 'trusted.a', root)).toBeUndefined();
    expect(await errnoOfCall(() => vfs.getxattr(ino, 'trusted.a', alice))).toBe('ENODATA');
    expect(await vfs.listxattr(ino, alice)).toEqual([]);
    expect(await vfs.listxattr(ino, root)).toEqual(['trusted.a']);
  });

  test('security: written by root, read by all', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f', 0o600);
    expect(await set(vfs, ino, 'security.selinux', alice)).toBe('EPERM');
    expect(await set(vfs, ino, 'security.selinux', root)).toBeUndefined();
    expect(Buffer.from(await vfs.getxattr(ino, 'security.selinux', bob)).toString()).toBe('value');
  });

  test('EOPNOTSUPP for all others', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    for (const name of ['system.nfs4_acl', 'other.a', 'user', 'nonsense']) {
      expect(await set(vfs, ino, name), name).toBe('EOPNOTSUPP');
    }
  });
});

test('the attributes of a file that goes leave the store, also those that nobody had asked for', async () => {
  const lab = await Lab.create();
  try {
    const [a, b] = [await makeFile(lab.vfs, 'a'), await makeFile(lab.vfs, 'b')];
    for (const ino of [a, b]) await set(lab.vfs, ino, 'user.x');
    await makeFile(lab.vfs, 'c');
    await lab.remount();
    await lab.vfs.unlink(lab.vfs.rootIno, n('a'), root);
    await lab.vfs.rename(lab.vfs.rootIno, n('c'), lab.vfs.rootIno, n('b'), 'replace', root);
    await lab.unmount();
    const store = await openLevelStore(lab.meta, { create: false });
    const { from, to } = xattrRange();
    let records = 0;
    for await (const page of store.range(from, to)) records += page.length;
    await store.close();
    expect(records).toBe(0);
  } finally {
    await lab.remove();
  }
});

test('setting while others load the attributes loses nothing', async ({ lab }) => {
  const ino = await makeFile(lab.vfs, 'f');
  await set(lab.vfs, ino, 'user.old');
  await lab.remount();
  const { vfs } = lab;
  await Promise.all([
    vfs.listxattr(ino, root),
    set(vfs, ino, 'user.new'),
    vfs.getxattr(ino, 'user.old', root),
    vfs.removexattr(ino, 'user.old', root),
    vfs.listxattr(ino, root),
  ]);
  expect(await vfs.listxattr(ino, root)).toEqual(['user.new']);
  await lab.remount();
  expect(await lab.vfs.listxattr(ino, root)).toEqual(['user.new']);
});
