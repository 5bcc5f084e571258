/** File capabilities (capabilities(7), security.capability) go with every change of the content or the owner, as on ext4. */
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_DIRECT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { type Caller, must } from './support/process.ts';

/** Opens the file, does something, closes it. */
const opened =
  (flags: number, work: (by: Caller, fd: number) => Promise<unknown>) =>
  async (by: Caller, path: string): Promise<void> => {
    const fd = await must(by.open(path, flags));
    await work(by, fd);
    await must(by.close(fd));
  };

const page = Buffer.alloc(4096, 'y');
describe.each(['rw', 'direct_io'])('on a mount with -o %s', (options) => {
  const fs = mounted({ options });
  const attribute = 'security.capability';

  /** struct vfs_cap_data, revision 2: cap_net_raw, permitted and effective. */
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');

  async function capable(mode = 0o777): Promise<string> {
    const path = `${await fs.directory()}/program`;
    const fd = await must(fs.alice.open(path, O_CREAT | O_WRONLY, mode));
    await must(fs.alice.write(fd, Buffer.alloc(8192, 'x')));
    await must(fs.alice.chmod(path, mode));
    await must(fs.alice.close(fd));
    await must(fs.root.setxattr(path, attribute, capability, 0));
    return path;
  }

  const isCapable = async (path: string): Promise<boolean> => Buffer.isBuffer(await fs.root.getxattr(path, attribute));

  const changes: readonly (readonly [string, (by: Caller, path: string) => Promise<unknown>])[] = [
    ['write(2)', opened(O_WRONLY, (by, fd) => must(by.pwrite(fd, 'y', 0)))],
    ['write(2) for direct I/O', opened(O_WRONLY | O_DIRECT, (by, fd) => must(by.pwrite(fd, page, 0)))],
    ['open(2) with O_TRUNC', opened(O_WRONLY | O_TRUNC, async () => undefined)],
    ['truncate(2)', (by, path) => must(by.truncate(path, 100))],
    ['fallocate(2)', opened(O_WRONLY, (by, fd) => must(by.fallocate(fd, 0, 0, 20_000)))],
    ['copy_file_range(2)', opened(O_RDWR, (by, fd) => must(by.copyFileRange(fd, 0, fd, 4096, 100)))],
  ];

  describe.skipIf(!canMount)('the capabilities of a program', () => {
    test.for(changes)('go with %s by its owner, and by root', async ([, change]) => {
      for (const by of [fs.alice, fs.root]) {
        const path = await capable();
        await change(by, path);
        expect(await isCapable(path)).toBe(false);
        // Set again, they are found again: nothing is remembered of the file that is not so any more.
        await must(fs.root.setxattr(path, attribute, capability, 0));
        await change(by, path);
        expect(await isCapable(path)).toBe(false);
      }
    });

    test('go with chown(2)', async () => {
      const path = await capable();
      await must(fs.root.chown(path, 4002, 4002));
      expect(await isCapable(path)).toBe(false);
    });

    test('stay with what does not change the content', async () => {
      const path = await capable();
      await opened(O_RDONLY, (by, fd) => must(by.pread(fd, 100, 0)))(fs.alice, path);
      await must(fs.alice.chmod(path, 0o700));
      await must(fs.alice.rename(path, `${path}2`));
      await opened(O_WRONLY, async () => undefined)(fs.alice, `${path}2`);
      expect(await isCapable(`${path}2`)).toBe(true);
    });

    test('and set-user-ID go both with a write of another', async () => {
      const path = await capable(0o4777);
      await opened(O_WRONLY | O_DIRECT, (by, fd) => must(by.pwrite(fd, page, 0)))(fs.bob, path);
      expect([await isCapable(path), await fs.root.mode(path)]).toEqual([false, 0o100777]);
    });
  });
});
