/** name_to_handle_at(2), open_by_handle_at(2): what nfsd and backup programs find a file again by. */
import { describe, expect, test } from 'vitest';
import { AT_EMPTY_PATH, O_DIRECTORY, O_RDONLY } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

async function openByHandle(handle: Uint8Array): Promise<number | string> {
  const mount = await must(fs.root.open(fs.box.mountPoint, O_RDONLY | O_DIRECTORY));
  const fd = await fs.root.openByHandle(mount, handle, O_RDONLY);
  await must(fs.root.close(mount));
  return fd;
}

describe.skipIf(!canMount)('a file handle', () => {
  test('leads to the file wherever it moved, and after a remount', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    const handle = await must(fs.root.nameToHandle(`${dir}/file`, 0));
    const directory = await must(fs.root.nameToHandle(dir, 0));
    await must(fs.alice.rename(`${dir}/file`, `${dir}/moved`));
    for (const again of [false, true]) {
      if (again) await fs.remount();
      const fd = await must(openByHandle(handle));
      expect(String(await fs.root.pread(fd, 100, 0))).toBe('content');
      const at = await must(openByHandle(directory));
      expect((await must(fs.root.getdents(at))).map((entry) => entry.name)).toEqual(['.', '..', 'moved']);
      for (const each of [fd, at]) await must(fs.root.close(each));
    }
  });

  test('of an open file without a name leads to it while it is open; then it is ESTALE', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    const open = await must(fs.root.open(`${dir}/file`, O_RDONLY));
    const handle = await must(fs.root.nameToHandle(`/proc/self/fd/${open}`, AT_EMPTY_PATH | 0x400));
    await must(fs.alice.unlink(`${dir}/file`));
    const fd = await must(openByHandle(handle));
    expect(await fs.root.fstat(fd)).toMatchObject({ nlink: 0, size: 7 });
    for (const each of [open, fd]) await must(fs.root.close(each));
    // The kernel says later that the last descriptor is closed; one that is got meanwhile must not keep the file.
    const tried = async () => {
      const found = await openByHandle(handle);
      if (typeof found === 'number') await must(fs.root.close(found));
      return found;
    };
    await expect.poll(tried).toBe('ESTALE');
  });

  test('EPERM: opened by an ordinary user', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const handle = await must(fs.alice.nameToHandle(`${dir}/file`, 0));
    const mount = await must(fs.alice.open(fs.box.mountPoint, O_RDONLY | O_DIRECTORY));
    expect(await fs.alice.openByHandle(mount, handle, O_RDONLY)).toBe('EPERM');
    await must(fs.alice.close(mount));
  });
});
