/** access(2), faccessat(2). */
import { describe, expect, test } from 'vitest';
import { AT_EACCESS, AT_SYMLINK_NOFOLLOW } from './support/constants.ts';
import { canMount, filesystems, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const [F_OK, X_OK, W_OK, R_OK] = [0, 1, 2, 4];

describe.skipIf(!canMount)('access', () => {
  failsOnBadPaths(fs, (by, path) => by.access(path, F_OK));
  failsOnMissing(fs, (by, path) => by.access(path, F_OK));

  test.for(filesystems)(
    'on %s asks the bits of owner, group and others, the first that fits alone',
    async (filesystem) => {
      const dir = await fs.directoryOn(filesystem);
      const path = `${dir}/file`;
      await makeFile(fs.root, path);
      await must(fs.root.chown(path, 4001, 4100));
      const member = fs.bob.with({ groups: [4100] });
      for (const bits of [0, 1, 2, 3, 4, 5, 6, 7]) {
        for (const asked of [R_OK, W_OK, X_OK, R_OK | W_OK, R_OK | W_OK | X_OK]) {
          const expected = (bits & asked) === asked ? 0 : 'EACCES';
          await must(fs.root.chmod(path, bits << 6));
          expect(await fs.alice.access(path, asked)).toBe(expected);
          await must(fs.root.chmod(path, bits << 3));
          expect(await member.access(path, asked)).toBe(expected);
          await must(fs.root.chmod(path, bits));
          expect(await fs.bob.access(path, asked)).toBe(expected);
          expect(await fs.alice.access(path, asked)).toBe('EACCES');
        }
      }
    },
  );

  test.for(filesystems)('on %s root may all, but run only what anybody may', async (filesystem) => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`, 0);
    expect(await fs.root.access(`${dir}/file`, R_OK | W_OK)).toBe(0);
    expect(await fs.root.access(`${dir}/file`, X_OK)).toBe('EACCES');
    await must(fs.root.chmod(`${dir}/file`, 0o010));
    expect(await fs.root.access(`${dir}/file`, X_OK)).toBe(0);
    await must(fs.alice.mkdir(`${dir}/directory`, 0));
    expect(await fs.root.access(`${dir}/directory`, R_OK | W_OK | X_OK)).toBe(0);
  });

  test.for(filesystems)(
    'on %s: EINVAL for a mode or flags there are none of; a symbolic link itself',
    async (filesystem) => {
      const dir = await fs.directoryOn(filesystem);
      await makeFile(fs.alice, `${dir}/file`, 0o600);
      await must(fs.alice.symlink('nowhere', `${dir}/link`));
      expect(await fs.alice.access(`${dir}/file`, 8)).toBe('EINVAL');
      expect(await fs.alice.faccessat(`${dir}/file`, R_OK, 1)).toBe('EINVAL');
      expect(await fs.alice.faccessat(`${dir}/file`, R_OK, AT_EACCESS)).toBe(0);
      expect(await fs.bob.faccessat(`${dir}/file`, R_OK, AT_EACCESS)).toBe('EACCES');
      expect(await fs.alice.access(`${dir}/link`, F_OK)).toBe('ENOENT');
      expect(await fs.alice.faccessat(`${dir}/link`, F_OK, AT_SYMLINK_NOFOLLOW)).toBe(0);
    },
  );
});
