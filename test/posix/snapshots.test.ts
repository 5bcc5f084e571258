/** Snapshots in `.snapshots` and clones of trees, through the kernel: what programs see of them. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, PROT_READ, PROT_WRITE } from './support/constants.ts';
import { canMount, isRemote, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const MAP_SHARED = 1;
/** For what starts programs and daemons again and again, in ms: seconds each on a machine that has much else to do. */
const programsMs = 300_000;
const fs = mounted();

/** Inodes in use. */
async function inodesUsed(): Promise<number> {
  const { files, filesFree } = await must(fs.root.statfs(fs.box.mountPoint));
  return files - filesFree;
}

/** Everything deleted goes in the background, when the kernel has let go of it. */
async function expectInodes(inodes: number, when: string): Promise<void> {
  for (let looks = 0; looks < 4000 && (await inodesUsed()) !== inodes; looks++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await inodesUsed(), when).toBe(inodes);
}

async function fileBlocks(): Promise<number> {
  const shown: { readonly filesystem: { readonly blocks: { readonly file: number } } } = JSON.parse(
    await fs.box.must('iopmemfs', 'status', fs.box.mountPoint, '--json'),
  );
  return shown.filesystem.blocks.file;
}

function sorted(text: string): string[] {
  return text.split('\n').filter(Boolean).sort();
}

async function out(command: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await fs.box.command(command, ...args);
  expect({ code, stderr }, `${command} ${args.join(' ')}`).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** Directories d0, d1, …, in each files f0, f1, … of a few bytes that tell which it is. */
async function makeTree(top: string, directories: number, files: number): Promise<void> {
  await mkdir(top);
  for (let d = 0; d < directories; d++) {
    await mkdir(join(top, `d${d}`));
    for (let f = 0; f < files; f++) await writeFile(join(top, `d${d}`, `f${f}`), `${d} ${f}`);
  }
}

describe.skipIf(!canMount)('.snapshots', () => {
  test('mkdir makes a snapshot, which shows the tree as it was; rmdir deletes it', async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 3, 4);
    await out('ln', '-s', 'd0/f0', `${dir}/t/link`);
    await out('cp', '-a', `${dir}/t`, `${dir}/kept`);
    const inodes = await inodesUsed();
    expect(await fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755)).toBe(0);
    await writeFile(`${dir}/t/d0/f0`, 'something else');
    await out('rm', '-r', `${dir}/t/d1`);
    await writeFile(`${dir}/t/new`, 'new');
    expect(await out('diff', '-r', `${dir}/kept`, `${dir}/t/.snapshots/s`)).toBe('');
    expect(await fs.root.rmdir(`${dir}/t/.snapshots/s`)).toBe(0);
    expect(await fs.root.stat(`${dir}/t/.snapshots/s`)).toBe('ENOENT');
    await out('rm', '-r', `${dir}/t`);
    await expectInodes(inodes - 17, 'all of both is gone');
  });

  test('no program finds it by itself: find, du, ls, cp -a, tar', async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 1, 2);
    await must(fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755));
    const names = ['t', 't/d0', 't/d0/f0', 't/d0/f1'];
    expect(sorted(await out('find', `${dir}/t`))).toEqual(names.map((name) => `${dir}/${name}`));
    expect(await out('ls', '-A', `${dir}/t`)).toBe('d0\n');
    await out('cp', '-a', `${dir}/t`, `${dir}/copy`);
    expect(sorted(await out('find', `${dir}/copy`)).length).toBe(names.length);
    await out('tar', '-C', dir, '-cf', `${dir}/t.tar`, 't');
    expect(sorted(await out('tar', '-tf', `${dir}/t.tar`)).length).toBe(names.length);
    expect(sorted(await out('du', '-a', `${dir}/t`)).length).toBe(names.length);
    expect(await out('ls', '-A', `${dir}/t/.snapshots`)).toBe('s\n');
  });

  test('paths through it: getcwd, "..", and renames of the directory above', async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 1, 1);
    await must(fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755));
    const inside = `${dir}/t/.snapshots/s/d0`;
    expect(await out('sh', '-c', `cd ${inside} && /bin/pwd && cd ../../.. && /bin/pwd && ls`)).toBe(
      `${inside}\n${dir}/t\nd0\n`,
    );
    await must(fs.root.rename(`${dir}/t`, `${dir}/u`));
    expect(await readFile(`${dir}/u/.snapshots/s/d0/f0`, 'utf8')).toBe('0 0');
    await out('rm', '-r', `${dir}/u/d0`);
    expect(await fs.root.rmdir(`${dir}/u`)).toBe('ENOTEMPTY');
    await must(fs.root.rmdir(`${dir}/u/.snapshots/s`));
    expect(await fs.root.rmdir(`${dir}/u`)).toBe(0);
  });

  test('is the owner’s to write to, and cannot be made, renamed or removed', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/a`, 0o777));
    await must(fs.root.chmod(`${dir}/a`, 0o777));
    expect(await fs.bob.mkdir(`${dir}/a/.snapshots/s`, 0o755)).toBe('EACCES');
    expect(await fs.alice.mkdir(`${dir}/a/.snapshots/s`, 0o755)).toBe(0);
    expect(await fs.alice.mkdir(`${dir}/a/.snapshots/s`, 0o755)).toBe('EEXIST');
    expect(await fs.bob.rmdir(`${dir}/a/.snapshots/s`)).toBe('EACCES');
    expect(await fs.alice.mkdir(`${dir}/a/.snapshots`, 0o755)).toBe('EEXIST');
    expect(await fs.alice.rmdir(`${dir}/a/.snapshots`)).toBe('EBUSY');
    expect(await fs.alice.rename(`${dir}/a/.snapshots`, `${dir}/a/other`)).toBe('EBUSY');
    expect(await fs.alice.open(`${dir}/a/.snapshots/file`, O_CREAT | O_WRONLY, 0o644)).toBe('EROFS');
    expect(await fs.alice.rmdir(`${dir}/a/.snapshots/s`)).toBe(0);
    expect(await fs.alice.rmdir(`${dir}/a/.snapshots/s`)).toBe('ENOENT');
  });
});

describe.skipIf(!canMount)('a snapshot', () => {
  test('EROFS: whatever would change something in it, for root as well', async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 1, 2);
    await must(fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755));
    const inside = `${dir}/t/.snapshots/s`;
    const file = `${inside}/d0/f0`;
    const before = await must(fs.root.stat(file));
    const changes: Record<string, () => Promise<unknown>> = {
      open: () => fs.root.open(file, O_RDWR),
      append: () => fs.root.open(file, O_WRONLY | 0o2000),
      'open and truncate': () => fs.root.open(file, O_RDONLY | O_TRUNC),
      create: () => fs.root.open(`${inside}/new`, O_CREAT | O_WRONLY, 0o644),
      truncate: () => fs.root.truncate(file, 1),
      chmod: () => fs.root.chmod(file, 0o600),
      chown: () => fs.root.chown(file, 1, 1),
      utimensat: () => fs.root.touch(file),
      setxattr: () => fs.root.setxattr(file, 'user.x', 'x'),
      unlink: () => fs.root.unlink(file),
      rmdir: () => fs.root.rmdir(`${inside}/d0`),
      mkdir: () => fs.root.mkdir(`${inside}/new`, 0o755),
      mknod: () => fs.root.mknod(`${inside}/new`, 0o010644),
      symlink: () => fs.root.symlink('x', `${inside}/new`),
      link: () => fs.root.link(file, `${dir}/new`),
      'link into it': () => fs.root.link(`${dir}/t/d0/f0`, `${inside}/new`),
      rename: () => fs.root.rename(file, `${inside}/new`),
      'rename out of it': () => fs.root.rename(file, `${dir}/new`),
      'rename into it': () => fs.root.rename(`${dir}/t/d0/f0`, `${inside}/new`),
    };
    for (const [name, change] of Object.entries(changes)) expect(await change(), name).toBe('EROFS');
    expect(await readFile(file, 'utf8')).toBe('0 0');
    expect(await must(fs.root.stat(file)), 'the time of access as well').toEqual(before);
  });

  test('its files can be mapped, executed and cloned', async () => {
    const dir = await fs.directory();
    await must(fs.root.mkdir(`${dir}/t`, 0o755));
    await writeFile(`${dir}/t/program`, '#!/bin/sh\necho ran\n', { mode: 0o755 });
    await must(fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755));
    await must(fs.root.unlink(`${dir}/t/program`));
    const program = `${dir}/t/.snapshots/s/program`;
    expect(await out(program)).toBe('ran\n');
    const fd = await must(fs.root.open(program, O_RDONLY));
    const address = await must(fs.root.mmap(4096, PROT_READ, MAP_SHARED, fd));
    expect((await fs.root.peek(address, 9)).toString()).toBe('#!/bin/sh');
    expect(await fs.root.mmap(4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd)).toBe('EACCES');
    await must(fs.root.munmap(address, 4096));
    await must(fs.root.close(fd));
    await fs.box.must('iopmemfs', 'clone', program, `${dir}/restored`);
    expect(await out(`${dir}/restored`)).toBe('ran\n');
  });

  // A server cannot ask the kernel of another machine to write its pages back (docs/remote-mount.md).
  test.skipIf(isRemote)('what was stored through a mapping is in it, and in a clone of the tree', async () => {
    const dir = await fs.directory();
    await must(fs.root.mkdir(`${dir}/t`, 0o755));
    const fd = await must(fs.root.open(`${dir}/t/f`, O_CREAT | O_RDWR, 0o644));
    await must(fs.root.pwrite(fd, Buffer.alloc(8192, '.'), 0));
    const address = await must(fs.root.mmap(8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd));
    const copies = [
      ['first', 't/.snapshots/a/f', () => must(fs.root.mkdir(`${dir}/t/.snapshots/a`, 0o755))],
      ['again', 't/.snapshots/b/f', () => fs.box.must('iopmemfs', 'snapshot', 'create', `${dir}/t`, 'b')],
      ['third', 'u/f', () => fs.box.must('iopmemfs', 'clone', '-r', `${dir}/t`, `${dir}/u`)],
    ] as const;
    for (const [stored, path, copy] of copies) {
      await fs.root.poke(address + 5000, stored);
      await copy();
      expect((await readFile(`${dir}/${path}`)).subarray(5000, 5005).toString(), path).toBe(stored);
    }
    await must(fs.root.munmap(address, 8192));
    await must(fs.root.close(fd));
  });

  test('deleted while it is in use: what is open can be read to its end, and then its blocks come back', async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 1, 1);
    const inodes = await inodesUsed();
    await must(fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755));
    const fd = await must(fs.root.open(`${dir}/t/.snapshots/s/d0/f0`, O_RDONLY));
    await must(fs.root.rmdir(`${dir}/t/.snapshots/s`));
    expect(String(await fs.root.read(fd, 100))).toBe('0 0');
    await expectInodes(inodes + 3, 'the file, and the directories that the kernel keeps it in');
    await must(fs.root.close(fd));
    await expectInodes(inodes, 'after the close');
  });
});

describe.skipIf(!canMount)('iopmemfs snapshot and clone -r', () => {
  test('create, list, delete; the kernel sees it at once', { timeout: programsMs }, async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 2, 3);
    const inodes = await inodesUsed();
    expect(await fs.root.stat(`${dir}/t/.snapshots/one`)).toBe('ENOENT');
    expect(await fs.box.must('iopmemfs', 'snapshot', 'create', `${dir}/t`, 'one')).toBe('');
    const made: unknown = JSON.parse(await fs.box.must('iopmemfs', 'snapshot', 'create', `${dir}/t`, 'two', '--json'));
    expect(made).toEqual({ name: 'two', path: `${dir}/t/.snapshots/two` });
    expect(await out('diff', '-r', `${dir}/t`, `${dir}/t/.snapshots/one`), 'the kernel knows all of it').toBe('');
    const listed = await fs.box.must('iopmemfs', 'snapshot', 'list', `${dir}/t`);
    expect(listed).toMatch(/^CREATED +NAME\n\S+Z +one\n\S+Z +two\n$/);
    const found: unknown = JSON.parse(await fs.box.must('iopmemfs', 'snapshot', 'list', `${dir}/t`, '--json'));
    expect(found).toMatchObject([{ name: 'one' }, made]);
    for (const name of ['one', 'two']) await fs.box.must('iopmemfs', 'snapshot', 'delete', `${dir}/t`, name);
    expect(await fs.root.stat(`${dir}/t/.snapshots/one`)).toBe('ENOENT');
    expect(await fs.box.must('iopmemfs', 'snapshot', 'list', `${dir}/t`)).toBe('');
    await expectInodes(inodes, 'both are gone');
  });

  test('errors: exit code 1 and the reason', { timeout: programsMs }, async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    await must(fs.root.mkdir(`${dir}/t`, 0o755));
    await must(fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755));
    const errors: readonly (readonly [RegExp, ...string[]])[] = [
      [/EEXIST/, 'snapshot', 'create', `${dir}/t`, 's'],
      [/ENOENT/, 'snapshot', 'delete', `${dir}/t`, 'none'],
      [/ENOTDIR/, 'snapshot', 'create', `${dir}/file`, 's'],
      [/ENOENT/, 'snapshot', 'create', `${dir}/t/.snapshots/s`, 's'],
      [/ENOTDIR/, 'clone', '-r', `${dir}/file`, `${dir}/u`],
    ];
    for (const [reason, ...args] of errors) {
      const { code, stderr } = await fs.box.run('iopmemfs', ...args);
      expect(code, args.join(' ')).toBe(1);
      expect(stderr, args.join(' ')).toMatch(reason);
    }
  });

  test('clone -r: the same tree, to be written; into a directory that is there, by its name', {
    timeout: programsMs,
  }, async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 2, 3);
    const blocks = await fileBlocks();
    await fs.box.must('iopmemfs', 'clone', '-r', `${dir}/t`, `${dir}/u`);
    expect(await out('diff', '-r', `${dir}/t`, `${dir}/u`)).toBe('');
    expect(await fileBlocks()).toBe(blocks);
    await writeFile(`${dir}/u/d0/f0`, 'changed');
    expect(await readFile(`${dir}/t/d0/f0`, 'utf8')).toBe('0 0');
    const made: unknown = JSON.parse(
      await fs.box.must('iopmemfs', 'clone', '--recursive', `${dir}/t`, `${dir}/u`, '--json'),
    );
    expect(made).toEqual({ source: `${dir}/t`, path: `${dir}/u/t` });
    expect(await readFile(`${dir}/u/t/d1/f2`, 'utf8')).toBe('1 2');
  });
});

describe.skipIf(!canMount)('a daemon that is killed', () => {
  test('while a snapshot is made and while one is removed: whole or not there, and nothing is lost', {
    timeout: programsMs,
  }, async () => {
    const dir = await fs.directory();
    await makeTree(`${dir}/t`, 8, 50);
    await out('sync', dir); // fsync(2): the kernel tells FUSE nothing of syncfs(2)
    const inodes = await inodesUsed();
    for (let round = 0; round < 2; round++) {
      const other = await fs.another();
      const made = other.as(fs.root.identity).mkdir(`${dir}/t/.snapshots/s`, 0o755);
      // Sooner or later in it; all that is asked holds at any moment.
      for (let turn = 0; turn < round * 4; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
      await fs.crash();
      await Promise.allSettled([made]);
      const files = await out('find', `${dir}/t/.snapshots`, '-type', 'f');
      expect([0, 400], `files in round ${round}`).toContain(files.split('\n').length - 1);
      if (files === '') await must(fs.root.mkdir(`${dir}/t/.snapshots/s`, 0o755));
      await must(fs.root.rmdir(`${dir}/t/.snapshots/s`));
      await fs.crash();
      if ((await fs.root.stat(`${dir}/t/.snapshots/s`)) !== 'ENOENT')
        await must(fs.root.rmdir(`${dir}/t/.snapshots/s`));
      await expectInodes(inodes, `round ${round}`);
      expect((await out('find', `${dir}/t`, '-type', 'f')).split('\n').length - 1).toBe(400);
    }
    await fs.box.umount();
    await fs.box.must('fsck', fs.box.image);
    await fs.box.mount();
  });
});
