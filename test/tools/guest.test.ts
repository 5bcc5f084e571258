/** Somebody who is not root, on a mount of root's: the daemon does not answer them, the mount does. */
import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Outcome, outcomeOf, Sandbox } from './sandbox.ts';
import { canMountAsUser, ordinaryUser, Userland } from './userland.ts';

describe.runIf(canMountAsUser)("an ordinary user on root's mount", () => {
  let box: Sandbox;
  let land: Userland;
  beforeEach(async () => {
    box = await Sandbox.create();
    await chmod(box.dir, 0o755);
    await box.must('mkfs', box.image);
    await box.mount();
    await mkdir(box.path('own'));
    await writeFile(box.path('own', 'file'), Buffer.alloc(8192, 1));
    for (const path of [box.path('own'), box.path('own', 'file')])
      await chown(path, ordinaryUser.uid, ordinaryUser.gid);
    await mkdir(join(box.dir, 'land'));
    land = await Userland.create(join(box.dir, 'land'));
  });
  afterEach(async () => {
    land.end();
    await box.remove();
  });

  const asUser = (...command: readonly string[]): Promise<Outcome> => {
    const [first = '', ...rest] = land.commandLine(box.dir, command);
    return outcomeOf(spawn(first, rest, { env: { PATH: process.env.PATH, IOPMEMFS_RUN: join(box.dir, 'run') } }));
  };
  const iopmemfs = (...args: readonly string[]) => asUser(land.node, join(land.programs, 'iopmemfs.js'), ...args);

  test('sees where the blocks of a file of theirs lie, as root does', async () => {
    const file = await open(box.path('own', 'file'), 'r+');
    for (let block = 0; block < 1200; block += 2) await file.write('x', block * 4096); // more than one value holds
    await file.close();
    const { stdout } = await iopmemfs('map', '--json', box.path('own', 'file'));
    expect(JSON.parse(stdout)).toEqual(
      JSON.parse(await box.must('iopmemfs', 'map', '--json', box.path('own', 'file'))),
    );
    await chmod(box.path('own', 'file'), 0);
    await chown(box.path('own', 'file'), 0, 0);
    expect(await iopmemfs('map', box.path('own', 'file'))).toMatchObject({ code: 1, stderr: /\(EACCES\)/ });
  });

  test('makes, lists and deletes snapshots of their directories, and of no others', async () => {
    for (const name of ['b', 'a']) {
      expect(await iopmemfs('snapshot', 'create', box.path('own'), name)).toMatchObject({ code: 0, stderr: '' });
    }
    const listed = JSON.parse((await iopmemfs('snapshot', 'list', '--json', box.path('own'))).stdout);
    expect(listed).toEqual(JSON.parse(await box.must('iopmemfs', 'snapshot', 'list', '--json', box.path('own'))));
    expect(listed.map(({ name }: { readonly name: string }) => name)).toEqual(['b', 'a']);
    expect(await iopmemfs('snapshot', 'create', box.path('own'), 'a')).toMatchObject({ code: 1, stderr: /\(EEXIST\)/ });
    expect(await iopmemfs('snapshot', 'delete', box.path('own'), 'b')).toMatchObject({ code: 0, stderr: '' });
    expect(await box.must('iopmemfs', 'snapshot', 'list', box.path('own'))).not.toContain(' b\n');
    expect(await iopmemfs('snapshot', 'create', box.mountPoint, 'a')).toMatchObject({
      code: 1,
      stderr: /\((EPERM|EACCES)\)/,
    });
  });

  test('is told whom the daemon answers', async () => {
    const refused = {
      code: 1,
      stderr: `iopmemfs: ${box.mountPoint}: its daemon answers only root and the user who runs it (EACCES)\n`,
    };
    for (const args of [
      ['status', box.mountPoint],
      ['quota', 'show', box.path('own')],
      ['tune', box.mountPoint],
      ['clone', '-r', box.path('own'), box.path('own', 'copy')],
    ]) {
      expect(await iopmemfs(...args)).toMatchObject(refused);
    }
  });

  test('finds it among all that run, although it does not answer', async () => {
    expect(await iopmemfs('status')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`mounted on ${box.mountPoint}, answers only`),
    });
    const [shown] = JSON.parse((await iopmemfs('status', '--json')).stdout);
    expect(shown).toMatchObject({ mountPoint: box.mountPoint, filesystem: { device: box.image } });
    expect(await iopmemfs('quota', 'show')).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  test('cannot unmount it, and is told why', async () => {
    expect(await iopmemfs('umount', box.mountPoint)).toMatchObject({
      code: 32,
      stderr: /somebody else mounted it: only they and root unmount it \(EPERM\)/,
    });
  });
});
