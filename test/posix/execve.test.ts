/** execve(2) of programs on the mount, and chroot(2) into it. */
import { once } from 'node:events';
import { chmod, copyFile, mkdtemp, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

async function program(name: string, directory: string): Promise<string> {
  const path = join(directory, name);
  await copyFile(`/bin/${name}`, path);
  await chmod(path, 0o755);
  return path;
}

/** The exit code and the output, or the errno of execve. */
async function execute(path: string, ...args: readonly string[]): Promise<unknown> {
  try {
    const { code, stdout } = await fs.box.command(path, ...args);
    return { code, stdout };
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
}

/** What happens to a program that runs, and to one that is open for writing. */
async function busy(directory: string): Promise<object> {
  const cat = await program('cat', directory);
  const running = fs.box.interactive(cat);
  const output = once(running.stdout, 'data');
  running.stdin.write('still\n');
  await output; // it runs
  const opened = await fs.root.open(cat, O_WRONLY);
  if (typeof opened === 'number') await must(fs.root.close(opened));
  const truncated = await fs.root.truncate(cat, 1_000_000);
  await unlink(cat);
  running.stdin.end();
  const [code] = await once(running, 'close');

  const again = await program('cat', directory);
  const fd = await must(fs.root.open(again, O_RDWR));
  const written = await execute(again);
  await must(fs.root.close(fd));
  return {
    open: typeof opened === 'number' ? 0 : opened,
    truncated,
    code,
    written,
    output: String((await output)[0]),
    afterwards: await execute(again, '/dev/null'),
  };
}

describe.skipIf(!canMount)('execve', () => {
  test('runs programs and scripts', async () => {
    const dir = await fs.directory();
    const echo = await program('echo', dir);
    expect(await execute(echo, 'a', 'b')).toEqual({ code: 0, stdout: 'a b\n' });
    await writeFile(`${dir}/script`, `#!${echo} from\n`, { mode: 0o755 });
    expect(await execute(`${dir}/script`, 'x')).toEqual({ code: 0, stdout: `from ${dir}/script x\n` });
    await fs.remount();
    expect(await execute(echo, 'again')).toEqual({ code: 0, stdout: 'again\n' });
  });

  test('EACCES: not executable, a directory, a mount with noexec', async () => {
    const dir = await fs.directory();
    const echo = await program('echo', dir);
    await chmod(echo, 0o644);
    expect(await execute(echo)).toBe('EACCES');
    expect(await execute(dir)).toBe('EACCES');
    await chmod(echo, 0o755);
    await fs.remount('-o', 'noexec');
    try {
      expect(await execute(echo)).toBe('EACCES');
    } finally {
      await fs.remount();
    }
    expect(await execute(echo)).toMatchObject({ code: 0 });
  });

  test('ETXTBSY as on other filesystems: what runs is not written to, what is written to does not run', async () => {
    // Kernels differ (6.11 and 6.12 let a program that runs be written to).
    const local = await mkdtemp(join(tmpdir(), 'iopmemfs-execve-'));
    onTestFinished(() => rm(local, { recursive: true, force: true }));
    const [expected, found] = [await busy(local), await busy(await fs.directory())];
    expect(found).toEqual(expected);
    expect(found).toMatchObject({ written: 'ETXTBSY', output: 'still\n' });
  });
});

describe.skipIf(!canMount)('chroot', () => {
  test('makes a directory of the mount the root, which ".." does not leave', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`, 0o644, 'inside');
    const { ino } = await stat(dir);
    const by = (await fs.another()).as(fs.root.identity);
    expect(await by.chroot(`${dir}/missing`)).toBe('ENOENT');
    expect(await by.chroot(`${dir}/file`)).toBe('ENOTDIR');
    expect(await by.chroot(dir)).toBe(0);
    expect(await by.chdir('/')).toBe(0);
    for (const path of ['/', '/..', '../../..']) expect(await must(by.stat(path))).toMatchObject({ ino });
    const fd = await must(by.open('/file', O_RDONLY));
    expect(String(await must(by.read(fd, 100)))).toBe('inside');
    await must(by.close(fd));
    await must(by.close(await must(by.open('/new', O_CREAT | O_WRONLY, 0o644))));
    expect((await stat(`${dir}/new`)).isFile()).toBe(true);
    expect(await fs.alice.chroot(dir)).toBe('EPERM');
  });
});
