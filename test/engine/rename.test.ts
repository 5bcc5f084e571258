/** rename(2) and renameat2(2). */
import { describe, expect } from 'vitest';
import type { RenameMode, Vfs } from '../../fs/vfs.ts';
import { errnoOfCall, n, readAll, root, writeFile } from '../support/filesystem.ts';
import { at, list, makeDir, makeFile, test } from './fixture.ts';

async function rename(vfs: Vfs, from: string, to: string, mode: RenameMode = 'replace'): Promise<void> {
  const [fromDir, fromName] = await split(vfs, from);
  const [toDir, toName] = await split(vfs, to);
  await vfs.rename(fromDir, n(fromName), toDir, n(toName), mode, root);
}

async function split(vfs: Vfs, path: string): Promise<[parent: number, name: string]> {
  const parts = path.split('/');
  const name = parts.pop() ?? '';
  return [(await at(vfs, parts.join('/'))).ino, name];
}

describe('a file', () => {
  test('moves with its inode, its links and its content', async ({ lab }) => {
    const { vfs } = lab;
    const ino = await writeFile(vfs, 'a', Buffer.from('content'));
    await vfs.link(ino, vfs.rootIno, n('other'), root);
    await makeDir(vfs, 'd');
    const before = await vfs.getattr(ino, root);
    await rename(vfs, 'a', 'd/b');
    await lab.remount();
    const after = await at(lab.vfs, 'd/b');
    expect(after).toMatchObject({ ino, nlink: 2, mtime: before.mtime });
    expect(after.ctime).not.toEqual(before.ctime);
    expect(await errnoOfCall(() => at(lab.vfs, 'a'))).toBe('ENOENT');
    expect((await readAll(lab.vfs, ino)).toString()).toBe('content');
  });

  test('takes the place of another, whose blocks come back', async ({ lab }) => {
    const { vfs } = lab;
    const a = await writeFile(vfs, 'a', Buffer.alloc(4096, 1));
    await vfs.syncfs();
    const { free } = lab.fs.status().blocks;
    const b = await writeFile(vfs, 'b', Buffer.alloc(40_960, 2));
    await rename(vfs, 'a', 'b');
    await vfs.syncfs();
    expect((await at(vfs, 'b')).ino).toBe(a);
    expect(await errnoOfCall(() => vfs.getattr(b, root))).toBe('ESTALE');
    expect(lab.fs.status().blocks.free).toBe(free);
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'b']);
  });

  test('takes only the name of one that has others, or is open', async ({ vfs }) => {
    await makeFile(vfs, 'a');
    const b = await writeFile(vfs, 'b', Buffer.from('still here'));
    await vfs.link(b, vfs.rootIno, n('b2'), root);
    await rename(vfs, 'a', 'b');
    expect(await at(vfs, 'b2')).toMatchObject({ ino: b, nlink: 1 });
    const handle = await vfs.open(b, 0, root);
    await makeFile(vfs, 'c');
    await rename(vfs, 'c', 'b2');
    expect((await vfs.getattr(b, root)).nlink).toBe(0);
    expect(await vfs.read(handle, 0, 100, root, (pieces) => Buffer.concat(pieces).toString())).toBe('still here');
    await vfs.release(handle);
  });

  test('onto another name of itself: nothing happens, both names stay', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'a');
    await vfs.link(ino, vfs.rootIno, n('b'), root);
    await rename(vfs, 'a', 'b');
    await rename(vfs, 'a', 'a');
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'a', 'b']);
    expect((await at(vfs, 'a')).nlink).toBe(2);
  });

  test('ENOENT, EISDIR, ENOTDIR', async ({ vfs }) => {
    await makeFile(vfs, 'f');
    await makeDir(vfs, 'd');
    expect(await errnoOfCall(() => rename(vfs, 'x', 'y'))).toBe('ENOENT');
    expect(await errnoOfCall(() => rename(vfs, 'f', 'd'))).toBe('EISDIR');
    expect(await errnoOfCall(() => rename(vfs, 'd', 'f'))).toBe('ENOTDIR');
    expect(await errnoOfCall(() => rename(vfs, 'f', 'f/x'))).toBe('ENOTDIR');
  });
});

describe('a directory', () => {
  test("moves with its content; its '..' and both parents' links follow", async ({ lab }) => {
    const { vfs } = lab;
    await makeDir(vfs, 'a');
    const moved = await makeDir(vfs, 'a/moved');
    await makeFile(vfs, 'a/moved/f');
    await makeDir(vfs, 'b');
    await rename(vfs, 'a/moved', 'b/here');
    await lab.remount();
    expect(await at(lab.vfs, 'b/here')).toMatchObject({ ino: moved, nlink: 2 });
    expect((await at(lab.vfs, 'a')).nlink).toBe(2);
    expect((await at(lab.vfs, 'b')).nlink).toBe(3);
    expect((await lab.vfs.lookup(moved, '..', root)).ino).toBe((await at(lab.vfs, 'b')).ino);
    expect(await list(lab.vfs, moved)).toEqual(['.', '..', 'f']);
  });

  test('keeps the links of its parent where it only changes its name', async ({ vfs }) => {
    await makeDir(vfs, 'a');
    await rename(vfs, 'a', 'b');
    expect((await at(vfs, '')).nlink).toBe(3);
  });

  test('takes the place of an empty one, in another directory and in its own', async ({ vfs }) => {
    await makeDir(vfs, 'a');
    await makeDir(vfs, 'a/from');
    const empty = await makeDir(vfs, 'empty');
    await rename(vfs, 'a/from', 'empty');
    expect((await at(vfs, '')).nlink).toBe(4);
    expect((await at(vfs, 'a')).nlink).toBe(2);
    expect(await errnoOfCall(() => vfs.getattr(empty, root))).toBe('ESTALE');
    await rename(vfs, 'a', 'empty');
    expect((await at(vfs, '')).nlink).toBe(3);
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'empty']);
  });

  test('ENOTEMPTY where the other one holds something, also its own ancestor', async ({ lab }) => {
    const { vfs } = lab;
    await makeDir(vfs, 'a');
    await makeDir(vfs, 'a/b');
    await makeDir(vfs, 'a/b/c');
    await makeDir(vfs, 'd');
    expect(await errnoOfCall(() => rename(vfs, 'd', 'a'))).toBe('ENOTEMPTY');
    expect(await errnoOfCall(() => rename(vfs, 'a/b/c', 'a'))).toBe('ENOTEMPTY');
    await lab.remount();
    expect(await errnoOfCall(() => rename(lab.vfs, 'd', 'a'))).toBe('ENOTEMPTY');
  });

  test('EINVAL into itself, at any depth', async ({ vfs }) => {
    await makeDir(vfs, 'a');
    await makeDir(vfs, 'a/b');
    await makeDir(vfs, 'a/b/c');
    expect(await errnoOfCall(() => rename(vfs, 'a', 'a/x'))).toBe('EINVAL');
    expect(await errnoOfCall(() => rename(vfs, 'a', 'a/b/c/x'))).toBe('EINVAL');
    expect(await errnoOfCall(() => rename(vfs, 'a', 'a/b'))).toBe('EINVAL');
    expect(await errnoOfCall(() => rename(vfs, 'a', 'a'))).toBeUndefined();
  });

  test('ENOENT into one that was removed while open', async ({ vfs }) => {
    const gone = await makeDir(vfs, 'gone');
    await makeFile(vfs, 'f');
    const handle = await vfs.opendir(gone, root);
    await vfs.rmdir(vfs.rootIno, n('gone'), root);
    expect(await errnoOfCall(() => vfs.rename(vfs.rootIno, n('f'), gone, n('f'), 'replace', root))).toBe('ENOENT');
    await vfs.release(handle);
  });
});

describe('RENAME_NOREPLACE', () => {
  test('EEXIST where the new name is taken, even by the same file', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'a');
    await vfs.link(ino, vfs.rootIno, n('same'), root);
    await makeDir(vfs, 'd');
    for (const to of ['same', 'd', 'a']) {
      expect(await errnoOfCall(() => rename(vfs, 'a', to, 'noreplace')), to).toBe('EEXIST');
    }
    await rename(vfs, 'a', 'free', 'noreplace');
    expect((await at(vfs, 'free')).ino).toBe(ino);
  });
});

describe('RENAME_EXCHANGE', () => {
  test('two files change their names', async ({ lab }) => {
    const a = await makeFile(lab.vfs, 'a');
    await makeDir(lab.vfs, 'd');
    const b = await makeFile(lab.vfs, 'd/b');
    await rename(lab.vfs, 'a', 'd/b', 'exchange');
    await lab.remount();
    expect(await at(lab.vfs, 'a')).toMatchObject({ ino: b, nlink: 1 });
    expect(await at(lab.vfs, 'd/b')).toMatchObject({ ino: a, nlink: 1 });
  });

  test("a directory and a file: the directory's '..' and the links of the parents follow", async ({ vfs }) => {
    await makeDir(vfs, 'p');
    const dir = await makeDir(vfs, 'p/dir');
    await makeFile(vfs, 'p/dir/inside');
    const file = await makeFile(vfs, 'file');
    await rename(vfs, 'p/dir', 'file', 'exchange');
    expect((await at(vfs, 'p/dir')).ino).toBe(file);
    expect((await at(vfs, 'file/inside')).nlink).toBe(1);
    expect((await vfs.lookup(dir, '..', root)).ino).toBe(vfs.rootIno);
    expect((await at(vfs, 'p')).nlink).toBe(2);
    expect((await at(vfs, '')).nlink).toBe(4);
  });

  test('two directories, neither of them empty', async ({ vfs }) => {
    await makeDir(vfs, 'p');
    await makeDir(vfs, 'q');
    const a = await makeDir(vfs, 'p/a');
    const b = await makeDir(vfs, 'q/b');
    await makeFile(vfs, 'p/a/in-a');
    await makeFile(vfs, 'q/b/in-b');
    await rename(vfs, 'p/a', 'q/b', 'exchange');
    expect(await list(vfs, (await at(vfs, 'p/a')).ino)).toEqual(['.', '..', 'in-b']);
    expect((await vfs.lookup(a, '..', root)).ino).toBe((await at(vfs, 'q')).ino);
    expect((await vfs.lookup(b, '..', root)).ino).toBe((await at(vfs, 'p')).ino);
    expect((await at(vfs, 'p')).nlink).toBe(3);
  });

  test('ENOENT where one is missing, EINVAL where one lies in the other, either way round', async ({ vfs }) => {
    await makeDir(vfs, 'a');
    await makeDir(vfs, 'a/b');
    await makeFile(vfs, 'a/b/f');
    expect(await errnoOfCall(() => rename(vfs, 'a', 'x', 'exchange'))).toBe('ENOENT');
    expect(await errnoOfCall(() => rename(vfs, 'x', 'a', 'exchange'))).toBe('ENOENT');
    expect(await errnoOfCall(() => rename(vfs, 'a', 'a/b/f', 'exchange'))).toBe('EINVAL');
    expect(await errnoOfCall(() => rename(vfs, 'a/b/f', 'a', 'exchange'))).toBe('EINVAL');
    expect(await errnoOfCall(() => rename(vfs, 'a/b', 'a', 'exchange'))).toBe('EINVAL');
  });

  test('of two names of one file changes nothing', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'a');
    await vfs.link(ino, vfs.rootIno, n('b'), root);
    const before = [await at(vfs, ''), await at(vfs, 'a')];
    await rename(vfs, 'a', 'b', 'exchange');
    expect([await at(vfs, ''), await at(vfs, 'b')]).toEqual(before);
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'a', 'b']);
  });
});

describe('RENAME_WHITEOUT', () => {
  const whiteout = { mode: 0o020000, rdev: 0, nlink: 1 };

  test('leaves a character device 0:0 of the caller under the old name', async ({ lab }) => {
    await makeDir(lab.vfs, 'd');
    const ino = await makeFile(lab.vfs, 'd/a');
    await makeFile(lab.vfs, 'b');
    const caller = { ...root, uid: 7, gid: 8 };
    await lab.vfs.setattr((await at(lab.vfs, 'd')).ino, { mode: 0o777 }, root);
    await lab.vfs.setattr(lab.vfs.rootIno, { mode: 0o777 }, root);
    await lab.vfs.rename((await at(lab.vfs, 'd')).ino, n('a'), lab.vfs.rootIno, n('b'), 'whiteout', caller);
    await lab.remount();
    expect((await at(lab.vfs, 'b')).ino).toBe(ino);
    expect(await at(lab.vfs, 'd/a')).toMatchObject({ ...whiteout, uid: 7, gid: 8 });
  });

  test('a directory moves with what is in it; in its own directory the links stay', async ({ vfs }) => {
    await makeDir(vfs, 'd');
    await makeFile(vfs, 'd/inside');
    await rename(vfs, 'd', 'e', 'whiteout');
    expect(await at(vfs, 'd')).toMatchObject(whiteout);
    expect((await at(vfs, 'e/inside')).nlink).toBe(1);
    expect((await at(vfs, '')).nlink).toBe(3);
  });

  test('with RENAME_NOREPLACE: EEXIST, and nothing is left', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'a');
    await makeFile(vfs, 'b');
    expect(await errnoOfCall(() => rename(vfs, 'a', 'b', 'noreplace-whiteout'))).toBe('EEXIST');
    expect((await at(vfs, 'a')).ino).toBe(ino);
    await rename(vfs, 'a', 'c', 'noreplace-whiteout');
    expect(await at(vfs, 'a')).toMatchObject(whiteout);
  });

  test('of two names of one file changes nothing', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'a');
    await vfs.link(ino, vfs.rootIno, n('b'), root);
    await rename(vfs, 'a', 'b', 'whiteout');
    expect(await at(vfs, 'a')).toMatchObject({ ino, nlink: 2 });
  });
});
