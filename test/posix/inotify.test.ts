/** inotify(7), and leases: fcntl(2) F_SETLEASE. */
import { describe, expect, test } from 'vitest';
import {
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  IN_ATTRIB,
  IN_CREATE,
  IN_DELETE,
  IN_MODIFY,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
} from './support/constants.ts';
import { canMount, filesystems, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';
import { decodeEvents } from './support/structs.ts';

const fs = mounted();

describe.skipIf(!canMount).each(filesystems)('on %s', (filesystem) => {
  test('inotify sees what is done to names, contents and attributes', async () => {
    const dir = await fs.directoryOn(filesystem);
    const watcher = await must(fs.alice.inotify(O_NONBLOCK));
    const mask = IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO;
    await must(fs.alice.watch(watcher, dir, mask));
    await makeFile(fs.alice, `${dir}/file`, 0o600, 'content');
    await must(fs.alice.rename(`${dir}/file`, `${dir}/other`));
    await must(fs.alice.truncate(`${dir}/other`, 3));
    await must(fs.alice.unlink(`${dir}/other`));
    const events = decodeEvents(await must(fs.alice.read(watcher, 4096)));
    expect(events.map(({ mask: kind, name }) => [kind, name])).toEqual([
      [IN_CREATE, 'file'],
      [IN_MODIFY, 'file'],
      [IN_ATTRIB, 'file'],
      [IN_MOVED_FROM, 'file'],
      [IN_MOVED_TO, 'other'],
      [IN_MODIFY, 'other'],
      [IN_DELETE, 'other'],
    ]);
    expect(await fs.alice.read(watcher, 4096)).toBe('EAGAIN');
    await must(fs.alice.close(watcher));
  });

  test('inotify: ENOENT, EACCES, EINVAL', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.root, `${dir}/private`, 0o600);
    const watcher = await must(fs.alice.inotify(O_NONBLOCK));
    expect(await fs.alice.watch(watcher, `${dir}/missing`, IN_MODIFY)).toBe('ENOENT');
    expect(await fs.alice.watch(watcher, `${dir}/private`, IN_MODIFY)).toBe('EACCES');
    expect(await fs.alice.watch(watcher, dir, 0)).toBe('EINVAL');
    await must(fs.alice.close(watcher));
  });

  test("a lease is the owner's, and only where nobody else has the file open", async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`);
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDWR));
    expect(await fs.bob.lease(fd, F_WRLCK)).toBe('EACCES');
    expect(await fs.alice.lease(fd, F_RDLCK)).toBe('EAGAIN');
    expect(await fs.alice.lease(fd, F_WRLCK)).toBe(0);
    expect(await fs.alice.getLease(fd)).toBe(F_WRLCK);
    expect(await fs.alice.lease(fd, F_UNLCK)).toBe(0);
    const second = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    expect(await fs.alice.lease(fd, F_WRLCK)).toBe('EAGAIN');
    await must(fs.alice.close(fd));
    expect(await fs.alice.lease(second, F_RDLCK)).toBe(0);
    expect(await fs.alice.lease(second, F_UNLCK)).toBe(0);
    await must(fs.alice.close(second));
  });
});
