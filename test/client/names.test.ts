/** What node:fs/promises does with paths, here. */
import { constants } from 'node:fs';
import { describe, expect } from 'vitest';
import type { Dirent } from '../../client/index.ts';
import { pattern, statusOf, test } from './rig.ts';

const where = (entry: Dirent): string => `${entry.parentPath}/${entry.name}`;

describe('trees', () => {
  test('are made, listed and removed', async ({ rig }) => {
    const client = await rig.connect();
    expect(await client.mkdir('/a/b/c', { recursive: true })).toBe('/a');
    expect(await client.mkdir('/a/b/d/e', { recursive: true, mode: 0o700 })).toBe('/a/b/d');
    expect(await client.mkdir('/a/b/d/e', { recursive: true })).toBeUndefined();
    for (const path of ['/a/1', '/a/b/2', '/a/b/c/3']) await client.writeFile(path, path);
    await client.symlink('/a', '/a/b/loop');
    expect(await statusOf(client.mkdir('/a/1/x', { recursive: true }))).toBe('NOTDIR');
    expect(await statusOf(client.mkdir('/a/1', { recursive: true }))).toBe('EXIST');

    const all = ['1', 'b', 'b/2', 'b/c', 'b/c/3', 'b/d', 'b/d/e', 'b/loop'];
    expect((await client.readdir('/a', { recursive: true })).toSorted()).toEqual(all);
    expect((await client.readdir('/a/', { recursive: true })).toSorted()).toEqual(all);
    const entries = await client.readdir('/a', { recursive: true, withFileTypes: true });
    expect(
      entries
        .filter((entry) => entry.isDirectory())
        .map(where)
        .toSorted(),
    ).toEqual(['/a/b', '/a/b/c', '/a/b/d', '/a/b/d/e']);
    expect(entries.filter((entry) => entry.isSymbolicLink()).map(where)).toEqual(['/a/b/loop']);

    expect(await statusOf(client.rm('/a'))).toBe('ISDIR');
    await client.rm('/a/b', { recursive: true });
    expect(await client.readdir('/a')).toEqual(['1']);
    expect(await statusOf(client.rm('/a/none'))).toBe('NOENT');
    await client.rm('/a/none', { force: true });
    await client.rm('/a/1');
    await client.rm('/a', { recursive: true, force: true });
    expect(await client.readdir('/')).toEqual([]);
  });

  test('a directory is read a page at a time', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('/many');
    const names = Array.from({ length: 1100 }, (_, index) => `${index}`);
    for (const name of names) await client.mkdir(`/many/${name}`);
    const found: string[] = [];
    for await (const entry of await client.opendir('/many')) found.push(entry.name);
    expect(found.toSorted()).toEqual(names.toSorted());
    const dir = await client.opendir('/many');
    const [first, second] = await Promise.all([dir.read(), dir.read()]);
    expect(first?.name).not.toBe(second?.name);
    await dir.close();
    expect(await statusOf(dir.read())).toBe('CLOSED');
    expect(await statusOf(client.opendir('/none'))).toBe('NOENT');
  });

  test('temporary directories have names of their own', async ({ rig }) => {
    const client = await rig.connect();
    const [one, two] = await Promise.all([client.mkdtemp('/tmp-'), client.mkdtemp('/tmp-')]);
    expect(one).toMatch(/^\/tmp-[A-Za-z0-9]{6}$/);
    expect(one).not.toBe(two);
    expect((await client.stat(one)).mode & 0o7777).toBe(0o700);
  });
});

async function* pieces() {
  for (let index = 0; index < 3; index++) yield `${index}`;
}

describe('whole files', () => {
  test('are written, read, appended to and replaced', async ({ rig }) => {
    const client = await rig.connect();
    await client.writeFile('f', 'äöü');
    expect(await client.readFile('f', 'utf8')).toBe('äöü');
    expect(await client.readFile('f', { encoding: 'hex' })).toBe('c3a4c3b6c3bc');
    await client.writeFile('f', new Uint32Array([1]), { mode: 0o600 });
    expect(await client.readFile('f')).toEqual(Buffer.from([1, 0, 0, 0]));
    await client.appendFile('f', Buffer.from([2]));
    await client.writeFile('f', [Buffer.from([3]), Buffer.from([4])], { flag: 'a' });
    expect([...(await client.readFile('f'))]).toEqual([1, 0, 0, 0, 2, 3, 4]);
    expect(await statusOf(client.writeFile('f', '', { flag: 'wx' }))).toBe('EXIST');
    expect(await statusOf(client.readFile('none'))).toBe('NOENT');
    await client.writeFile('f', pieces());
    expect(await client.readFile('f', 'utf8')).toBe('012');
  });

  test('are copied on the same blocks, into a new file or over another, with what is not synced', async ({ rig }) => {
    const client = await rig.connect({ uid: 0, gid: 0 });
    const file = await client.open('from', 'w+', 0o640);
    await file.write(pattern(100_000, 1), 0, 100_000, 0);
    await client.copyFile('from', 'new');
    expect((await client.map('new'))[0]?.shares).toBe(2);
    await client.writeFile('old', pattern(200_000, 2), { mode: 0o600 });
    const old = await client.open('old', 'r+');
    await old.write(pattern(4096, 3), 0, 4096, 150_000);
    const { ino } = await client.stat('old');
    await client.copyFile('from', 'old');
    expect(await client.stat('old')).toMatchObject({ ino, size: 100_000, mode: 0o100600 });
    for (const copy of ['new', 'old']) expect((await client.readFile(copy)).equals(pattern(100_000, 1))).toBe(true);
    expect((await old.readFile()).equals(pattern(100_000, 1))).toBe(true);
    expect(await statusOf(client.copyFile('from', 'old', constants.COPYFILE_EXCL))).toBe('EXIST');
    await client.copyFile('from', 'from');
    expect((await client.readFile('from')).equals(pattern(100_000, 1))).toBe(true);
    await client.writeFile('from', '');
    await client.copyFile('from', 'old');
    expect((await client.stat('old')).size).toBe(0);
  });
});

test('attributes by path, of the file or of the link itself', async ({ rig }) => {
  const client = await rig.connect({ uid: 0, gid: 0 });
  await client.writeFile('f', 'x');
  await client.symlink('f', 'l');
  await client.chmod('l', 0o604);
  await client.chown('l', 7, 8);
  await client.lchown('l', 9, 10);
  await client.utimes('l', 1, '2');
  await client.lutimes('l', 3, new Date(4000));
  expect(await client.stat('l')).toMatchObject({ mode: 0o100604, uid: 7, gid: 8, atimeMs: 1000, mtimeMs: 2000 });
  expect(await client.lstat('l')).toMatchObject({ uid: 9, gid: 10, mtimeMs: 4000 });
  expect(await statusOf(client.chmod('f', '8'))).toBe('ARGUMENT');
  expect(await statusOf(client.utimes('f', Number.NaN, 1))).toBe('ARGUMENT');
  expect(await statusOf(client.chown('f', -1, 0))).toBe('ARGUMENT');

  const alice = await rig.connect({ uid: 1000, gid: 1000, groups: [] });
  await alice.access('f');
  await alice.access('f', constants.R_OK);
  expect(await statusOf(alice.access('f', constants.R_OK | constants.W_OK))).toBe('ACCESS');
  expect(await statusOf(alice.access('none'))).toBe('NOENT');
  expect(await statusOf(alice.chmod('f', 0o777))).toBe('PERM');
});

test('extended attributes', async ({ rig }) => {
  const client = await rig.connect();
  await client.writeFile('f', '');
  await client.setxattr('f', 'user.a', 'one');
  await client.setxattr('f', 'user.b', Buffer.from([0, 255]));
  expect((await client.getxattr('f', 'user.a')).toString()).toBe('one');
  expect([...(await client.getxattr('f', 'user.b'))]).toEqual([0, 255]);
  expect((await client.listxattr('f')).toSorted()).toEqual(['user.a', 'user.b']);
  expect(await statusOf(client.setxattr('f', 'user.a', '', { mode: 'create' }))).toBe('EXIST');
  await client.removexattr('f', 'user.a');
  await expect(client.getxattr('f', 'user.a')).rejects.toMatchObject({
    code: 'ENODATA',
    syscall: 'getxattr',
    path: 'f',
  });
  expect(await statusOf(client.setxattr('f', 'user.a', '', { mode: 'replace' }))).toBe('NOXATTR');
});

test('realpath is the way without symbolic links', async ({ rig }) => {
  const client = await rig.connect();
  await client.mkdir('/a/b', { recursive: true });
  await client.writeFile('/a/b/f', '');
  await client.symlink('../a/./b', '/a/up');
  await client.symlink('/a/up', '/abs');
  await client.symlink('self', '/self');
  for (const path of ['/abs/f', 'a/up/../b/f', '/a//b/f', '/a/up/f', '../a/b/../../abs/f']) {
    expect(await client.realpath(path), path).toBe('/a/b/f');
  }
  expect(await client.realpath('/abs/')).toBe('/a/b');
  expect(await client.realpath('..')).toBe('/');
  expect(await statusOf(client.realpath('/self'))).toBe('LOOP');
  expect(await statusOf(client.realpath('/a/none'))).toBe('NOENT');
  expect(await statusOf(client.realpath('/a/b/f/'))).toBe('NOTDIR');
});
