/** splice(2), sendfile(2): through pipes and from file to file; posix_fadvise(2). */
import { describe, expect, test } from 'vitest';
import { O_APPEND, O_CLOEXEC, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } from './support/constants.ts';
import { canMount, filesystems, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const content = Buffer.alloc(20_000, 'content ');

describe.skipIf(!canMount).each(filesystems)('splice on %s', (filesystem) => {
  test('takes from a file what a pipe holds, and puts it into another file', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/from`, 0o644, String(content));
    const from = await must(fs.alice.open(`${dir}/from`, O_RDONLY));
    const to = await must(fs.alice.open(`${dir}/to`, O_CREAT | O_RDWR, 0o644));
    const [reader, writer] = await must(fs.alice.pipe(O_CLOEXEC));
    for (let done = 0; done < content.length; ) {
      const taken = await must(fs.alice.splice(from, done, writer, undefined, 8192));
      expect(taken).toBeGreaterThan(0);
      for (let put = 0; put < taken; ) {
        const count = await must(fs.alice.splice(reader, undefined, to, done + put, taken - put));
        expect(count).toBeGreaterThan(0);
        put += count;
      }
      done += taken;
    }
    expect(await fs.alice.splice(from, content.length, writer, undefined, 8192)).toBe(0);
    expect((await must(fs.alice.pread(to, 30_000, 0))).equals(content)).toBe(true);
    // What is in the pipe keeps its bytes when the file changes, or it does not: but it is all there.
    expect(await fs.alice.splice(from, 0, writer, undefined, 4096)).toBe(4096);
    expect((await must(fs.alice.read(reader, 4096))).length).toBe(4096);
    for (const fd of [from, to, reader, writer]) await must(fs.alice.close(fd));
  });

  test('EINVAL: neither is a pipe, or the file appends; EBADF; EAGAIN: nothing in the pipe', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDWR));
    const appender = await must(fs.alice.open(`${dir}/file`, O_WRONLY | O_APPEND));
    const [reader, writer] = await must(fs.alice.pipe(O_NONBLOCK));
    expect(await fs.alice.splice(fd, 0, fd, 0, 100)).toBe('EINVAL');
    expect(await fs.alice.splice(appender, 0, writer, undefined, 100)).toBe('EBADF');
    expect(await fs.alice.splice(reader, undefined, fd, 0, 100)).toBe('EAGAIN');
    await must(fs.alice.write(writer, 'x'));
    expect(await fs.alice.splice(reader, undefined, appender, undefined, 1)).toBe('EINVAL');
    for (const each of [fd, appender, reader, writer]) await must(fs.alice.close(each));
  });

  test('sendfile copies from the position on, file to file, and says where the file ends', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/from`, 0o644, String(content));
    const from = await must(fs.alice.open(`${dir}/from`, O_RDONLY));
    const to = await must(fs.alice.open(`${dir}/to`, O_CREAT | O_RDWR, 0o644));
    let done = 0;
    for (let count = -1; count !== 0; done += count) count = await must(fs.alice.sendfile(to, from, 1 << 20));
    expect(done).toBe(content.length);
    expect((await must(fs.alice.pread(to, 30_000, 0))).equals(content)).toBe(true);
    expect(await fs.alice.sendfile(from, to, 1)).toBe('EBADF');
    for (const fd of [from, to]) await must(fs.alice.close(fd));
  });

  test('posix_fadvise changes nothing that can be read; EINVAL, EBADF, ESPIPE', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`, 0o644, String(content));
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDWR));
    await must(fs.alice.pwrite(fd, 'new', 5000));
    // NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, NOREUSE
    for (const advice of [0, 1, 2, 3, 4, 5]) expect(await fs.alice.posixFadvise(fd, 0, 0, advice)).toBe(0);
    const expected = Buffer.from(content);
    expected.write('new', 5000);
    expect((await must(fs.alice.pread(fd, 30_000, 0))).equals(expected)).toBe(true);
    expect(await fs.alice.posixFadvise(fd, 0, 0, 99)).toBe('EINVAL');
    expect(await fs.alice.posixFadvise(fd, 0, -1, 0)).toBe('EINVAL');
    const [reader, writer] = await must(fs.alice.pipe(0));
    expect(await fs.alice.posixFadvise(reader, 0, 0, 0)).toBe('ESPIPE');
    for (const each of [fd, reader, writer]) await must(fs.alice.close(each));
    expect(await fs.alice.posixFadvise(fd, 0, 0, 0)).toBe('EBADF');
  });
});
