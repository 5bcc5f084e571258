/** What path_resolution(7) lets every system call on a path fail with; each test file applies it to its call. */
import { expect, test } from 'vitest';
import { NAME_MAX, O_CREAT, O_WRONLY, PATH_MAX } from './constants.ts';
import type { Mounted } from './mounted.ts';
import { type Caller, must } from './process.ts';

/** The call on this path; it answers 0 or an errno. */
type Call = (by: Caller, path: string) => Promise<unknown>;

/** Errors of the components before the last, which no call escapes. */
export function failsOnBadPaths(fs: Mounted, call: Call): void {
  test('ENOENT: a component is missing, or the path is empty', async () => {
    const dir = await fs.directory();
    expect(await call(fs.alice, `${dir}/missing/name`)).toBe('ENOENT');
    expect(await call(fs.alice, '')).toBe('ENOENT');
    await fs.root.symlink(`${dir}/nowhere`, `${dir}/dangling`);
    expect(await call(fs.alice, `${dir}/dangling/name`)).toBe('ENOENT');
  });

  test('ENOTDIR: a component is not a directory', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    expect(await call(fs.alice, `${dir}/file/name`)).toBe('ENOTDIR');
  });

  test('ENAMETOOLONG: a name longer than NAME_MAX, a path longer than PATH_MAX', async () => {
    const dir = await fs.directory();
    const long = 'n'.repeat(NAME_MAX + 1);
    expect(await call(fs.alice, `${dir}/${long}`)).toBe('ENAMETOOLONG');
    expect(await call(fs.alice, `${dir}/${long}/name`)).toBe('ENAMETOOLONG');
    const path = `${dir}/${'./'.repeat(PATH_MAX)}`.slice(0, PATH_MAX - 2);
    expect(await call(fs.alice, `${path}/x`)).toBe('ENAMETOOLONG');
  });

  test('ELOOP: symbolic links that lead in a circle', async () => {
    const dir = await fs.directory();
    await fs.root.symlink(`${dir}/b`, `${dir}/a`);
    await fs.root.symlink(`${dir}/a`, `${dir}/b`);
    expect(await call(fs.alice, `${dir}/a/name`)).toBe('ELOOP');
  });

  test('EACCES: a component may not be searched', async () => {
    const dir = await fs.directory();
    await fs.root.mkdir(`${dir}/closed`, 0o755);
    await makeFile(fs.root, `${dir}/closed/name`, 0o666);
    await fs.root.chmod(`${dir}/closed`, 0o666);
    expect(await call(fs.alice, `${dir}/closed/name`)).toBe('EACCES');
  });
}

/** The last component has to be there. */
export function failsOnMissing(fs: Mounted, call: Call): void {
  test('ENOENT: the name is missing', async () => {
    const dir = await fs.directory();
    expect(await call(fs.alice, `${dir}/missing`)).toBe('ENOENT');
  });
}

/** The call adds or takes a name. */
export function failsWithoutWritableParent(fs: Mounted, call: Call): void {
  test('EACCES: the directory may not be written', async () => {
    const dir = await fs.directory();
    await fs.root.mkdir(`${dir}/root`, 0o755);
    expect(await call(fs.alice, `${dir}/root/name`)).toBe('EACCES');
    await fs.root.chmod(`${dir}/root`, 0o775);
    await fs.root.chown(`${dir}/root`, 0, fs.alice.identity.groups[0] ?? 0);
    expect(await call(fs.bob, `${dir}/root/name`)).toBe('EACCES');
    expect(await call(fs.alice, `${dir}/root/name`)).not.toBe('EACCES');
  });
}

/** An empty regular file. */
export async function makeFile(by: Caller, path: string, mode = 0o644, content = ''): Promise<void> {
  const fd = await must(by.open(path, O_CREAT | O_WRONLY, mode));
  if (content !== '') await must(by.write(fd, content));
  await must(by.chmod(path, mode));
  await must(by.close(fd));
}
