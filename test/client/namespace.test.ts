import { describe, expect } from 'vitest';
import { n, root } from '../support/filesystem.ts';
import { pattern, statusOf, test } from './rig.ts';

describe('paths', () => {
  test('begin at the root, with a slash or without', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('/a');
    await client.mkdir('a/b');
    const { ino } = await client.stat('/a/b');
    for (const path of ['a/b', '//a///b', 'a/./b', 'a/b/.', 'a/b/../b', '../a/b', 'a/b/', '/a/b/../../a/b']) {
      expect((await client.stat(path)).ino, path).toBe(ino);
    }
    expect((await client.stat('/')).isDirectory()).toBe(true);
    expect((await client.stat('..')).ino).toBe((await client.stat('/')).ino);
  });

  test('follow symbolic links, relative to where they stand and absolute from the root', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('a');
    await client.mkdir('a/b');
    const file = await client.open('a/file', 'w');
    await file.close();
    await client.symlink('../file', 'a/b/up');
    await client.symlink('/a/file', 'absolute');
    await client.symlink('a/b', 'directory');
    for (const path of ['a/b/up', 'absolute', 'directory/up', 'directory/../file']) {
      expect((await client.stat(path)).ino, path).toBe(file.ino);
    }
    expect((await client.lstat('absolute')).isSymbolicLink()).toBe(true);
    expect((await client.lstat('directory/')).isDirectory()).toBe(true);
    expect(await client.readlink('a/b/up')).toBe('../file');
  });

  test('that lead in circles end with ELOOP after 40 links, and 40 are enough', async ({ rig }) => {
    const client = await rig.connect();
    await client.symlink('b', 'a');
    await client.symlink('a', 'b');
    await expect(client.stat('a')).rejects.toMatchObject({ code: 'ELOOP', syscall: 'stat', path: 'a' });
    await expect(client.open('a')).rejects.toMatchObject({ code: 'ELOOP', syscall: 'open' });
    const file = await client.open('0', 'w');
    await file.close();
    for (let link = 1; link <= 41; link++) await client.symlink(`${link - 1}`, `${link}`);
    expect((await client.stat('40')).ino).toBe(file.ino);
    expect(await statusOf(client.stat('41'))).toBe('LOOP');
    await (await client.open('40')).close();
    expect(await statusOf(client.open('41'))).toBe('LOOP');
  });

  test('fail as node fs would', async ({ rig }) => {
    const client = await rig.connect();
    await (await client.open('file', 'w')).close();
    await client.mkdir('dir');
    await client.symlink('nowhere', 'dangling');
    const codes: [() => Promise<unknown>, string][] = [
      [() => client.stat('missing'), 'ENOENT'],
      [() => client.stat(''), 'ENOENT'],
      [() => client.stat('dangling'), 'ENOENT'],
      [() => client.stat('file/x'), 'ENOTDIR'],
      [() => client.stat('file/'), 'ENOTDIR'],
      [() => client.open('dir'), 'EISDIR'],
      [() => client.open('dir', 'w'), 'EISDIR'],
      [() => client.open('/'), 'EISDIR'],
      [() => client.open('missing', 'r+'), 'ENOENT'],
      [() => client.open('file', 'wx'), 'EEXIST'],
      [() => client.open('missing/x', 'w'), 'ENOENT'],
      [() => client.mkdir('dir'), 'EEXIST'],
      [() => client.mkdir('/'), 'EEXIST'],
      [() => client.unlink('dir'), 'EISDIR'],
      [() => client.rmdir('file'), 'ENOTDIR'],
      [() => client.rmdir('missing'), 'ENOENT'],
      [() => client.readlink('file'), 'EINVAL'],
      [() => client.readdir('file'), 'ENOTDIR'],
      [() => client.stat('x'.repeat(256)), 'ENAMETOOLONG'],
      [() => client.stat('x/'.repeat(2048)), 'ENAMETOOLONG'],
      [() => client.stat('nul\0'), 'EINVAL'],
      [() => client.symlink('x'.repeat(4096), 'long'), 'ENAMETOOLONG'],
      [() => client.truncate('file', -1), 'EINVAL'],
      [() => client.truncate('dir', 0), 'EISDIR'],
    ];
    for (const [index, [work, code]] of codes.entries()) {
      await expect(work(), `case ${index}`).rejects.toMatchObject({ name: 'ClientError', code });
    }
  });

  test('open with w creates through a symbolic link, with wx it does not follow one', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('dir');
    await client.symlink('dir/target', 'link');
    expect(await statusOf(client.open('link', 'wx'))).toBe('EXIST');
    const file = await client.open('link', 'w', 0o600);
    await file.close();
    expect((await client.lstat('dir/target')).mode & 0o7777).toBe(0o600);
  });
});

describe('directories', () => {
  test('are listed whole, however many entries', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('many');
    const names = Array.from({ length: 2500 }, (_, index) => `entry-${index}`);
    const { ino } = await client.stat('many');
    for (const name of names) await rig.lab.vfs.mknod(ino, n(name), 0o100644, 0, root);
    expect((await client.readdir('many')).toSorted()).toEqual(names.toSorted());
    expect(await client.readdir('/')).toEqual(['many']);
  });

  test('with types, and names of any bytes', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('dir');
    await client.symlink('dir', 'link');
    await (await client.open('füße 靴', 'w')).close();
    const entries = await client.readdir('/', { withFileTypes: true });
    const types = new Map(entries.map(({ name, type }) => [name, type]));
    expect(types).toEqual(
      new Map([
        ['dir', 0o040000],
        ['link', 0o120000],
        ['füße 靴', 0o100000],
      ]),
    );
    const file = entries.find(({ name }) => name.startsWith('f'));
    expect(Buffer.from(file?.nameBytes ?? []).toString('utf8')).toBe('füße 靴');
  });
});

test('rename, link, unlink and rmdir do what their names say', async ({ rig }) => {
  const client = await rig.connect();
  await client.mkdir('a');
  const file = await client.open('a/one', 'w');
  await file.close();
  await client.link('a/one', 'two');
  expect((await client.stat('two')).nlink).toBe(2);
  await client.rename('a/one', 'three');
  expect(await statusOf(client.stat('a/one'))).toBe('NOENT');
  expect((await client.stat('three')).ino).toBe(file.ino);
  await (await client.open('victim', 'w')).close();
  await client.rename('three', 'victim');
  expect((await client.stat('victim')).ino).toBe(file.ino);
  await client.unlink('victim');
  await client.unlink('two');
  expect(await statusOf(client.rmdir('/'))).toBe('INVAL');
  await client.rmdir('a');
  expect(await client.readdir('/')).toEqual([]);
});

test('map shows every extent with its place', async ({ rig }) => {
  const client = await rig.connect();
  const file = await client.open('data', 'w');
  await file.write(pattern(8192, 1), 0, 8192, 0);
  await file.write(pattern(4096, 2), 0, 4096, 1 << 20);
  const extents = await client.map('data');
  expect(extents.map(({ offset, unwritten, shares }) => ({ offset, unwritten, shares }))).toEqual(
    expect.arrayContaining([
      { offset: 0, unwritten: false, shares: 1 },
      { offset: 1 << 20, unwritten: false, shares: 1 },
    ]),
  );
});

test('the state of filesystem and server', async ({ rig }) => {
  const client = await rig.connect({ owner: 'me' });
  expect(await client.statfs()).toMatchObject({ bsize: 4096, nameMax: 255 });
  const status = await client.admin.status();
  expect(status.filesystem.uuid).toBe(rig.lab.fs.uuid);
  expect(status.clients.map(({ owner }) => Buffer.from(owner).toString())).toEqual(['me']);
});

test('acts for the user it was connected as', async ({ rig }) => {
  const superuser = await rig.connect({ uid: 0, gid: 0 });
  await superuser.mkdir('private', 0o700);
  await superuser.mkdir('group', 0o770);
  await rig.lab.vfs.setattr((await superuser.stat('group')).ino, { gid: 50 }, root);
  const alice = await rig.connect({ uid: 1000, gid: 1000, groups: [50] });
  await expect(alice.readdir('private')).rejects.toMatchObject({ code: 'EACCES' });
  expect(await alice.readdir('group')).toEqual([]);
  const file = await alice.open('group/mine', 'w');
  expect(await file.stat()).toMatchObject({ uid: 1000 });
});
