/** A mount with -o ro: whatever would change it is EROFS, and nothing else is. */
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFIFO } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();

const calls: readonly (readonly [string, (by: Caller, dir: string) => Promise<unknown>])[] = [
  ['open to write', (by, dir) => by.open(`${dir}/file`, O_WRONLY)],
  ['open to read and write', (by, dir) => by.open(`${dir}/file`, O_RDWR)],
  ['open to empty', (by, dir) => by.open(`${dir}/file`, O_RDONLY | O_TRUNC)],
  ['open to make', (by, dir) => by.open(`${dir}/new`, O_CREAT | O_WRONLY, 0o644)],
  ['mkdir', (by, dir) => by.mkdir(`${dir}/new`, 0o755)],
  ['mknod', (by, dir) => by.mknod(`${dir}/new`, S_IFIFO | 0o644)],
  ['symlink', (by, dir) => by.symlink('target', `${dir}/new`)],
  ['link', (by, dir) => by.link(`${dir}/file`, `${dir}/new`)],
  ['unlink', (by, dir) => by.unlink(`${dir}/file`)],
  ['rmdir', (by, dir) => by.rmdir(`${dir}/directory`)],
  ['rename', (by, dir) => by.rename(`${dir}/file`, `${dir}/new`)],
  ['chmod', (by, dir) => by.chmod(`${dir}/file`, 0o600)],
  ['chown', (by, dir) => by.chown(`${dir}/file`, -1, 4100)],
  ['truncate', (by, dir) => by.truncate(`${dir}/file`, 0)],
  ['utimensat', (by, dir) => by.utimens(`${dir}/file`, 1n, 2n)],
  ['setxattr', (by, dir) => by.setxattr(`${dir}/file`, 'user.x', 'value')],
  ['removexattr', (by, dir) => by.removexattr(`${dir}/file`, 'user.y')],
  ['access to write', (by, dir) => by.access(`${dir}/file`, 2)],
];

describe.skipIf(!canMount)('a read-only mount', () => {
  test('refuses changes, is read, and stays as it was', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    await must(fs.alice.setxattr(`${dir}/file`, 'user.y', 'value'));
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    await fs.remount('-o', 'ro');
    const before = await must(fs.root.stat(`${dir}/file`));
    for (const by of [fs.alice, fs.root]) {
      for (const [name, call] of calls)
        expect({ name, answer: await call(by, dir) }).toEqual({ name, answer: 'EROFS' });
    }
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    expect(String(await fs.alice.read(fd, 100))).toBe('content');
    expect(await fs.alice.fsync(fd)).toBe(0);
    expect(await fs.alice.access(`${dir}/file`, 4)).toBe(0);
    await must(fs.alice.close(fd));
    expect(await fs.root.stat(`${dir}/file`)).toEqual(before);
  });
});
