/** flock(2), fcntl(2) locks of ranges, those of a process and those of an open file. */
import { describe, expect, test } from 'vitest';
import {
  F_GETLK,
  F_OFD_SETLK,
  F_RDLCK,
  F_SETLK,
  F_SETLKW,
  F_UNLCK,
  F_WRLCK,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { type Caller, must, type Process } from './support/process.ts';

const fs = mounted();

interface Two {
  readonly path: string;
  readonly one: { by: Caller; fd: number };
  readonly two: { by: Caller; fd: number; process: Process };
}

/** A file open in two processes. */
async function twoProcesses(): Promise<Two> {
  const dir = await fs.directory();
  const path = `${dir}/file`;
  await makeFile(fs.alice, path, 0o666);
  const process = await fs.another();
  const other = process.as(fs.bob.identity);
  return {
    path,
    one: { by: fs.alice, fd: await must(fs.alice.open(path, O_RDWR)) },
    two: { by: other, fd: await must(other.open(path, O_RDWR)), process },
  };
}

const lock = (type: number, start: number, length: number) => ({ type, start, length });

describe.skipIf(!canMount)('flock', () => {
  test('many readers or one writer', async () => {
    const { one, two } = await twoProcesses();
    expect(await one.by.flock(one.fd, LOCK_SH)).toBe(0);
    expect(await two.by.flock(two.fd, LOCK_SH | LOCK_NB)).toBe(0);
    expect(await one.by.flock(one.fd, LOCK_EX | LOCK_NB)).toBe('EAGAIN');
    expect(await two.by.flock(two.fd, LOCK_UN)).toBe(0);
    expect(await one.by.flock(one.fd, LOCK_EX | LOCK_NB)).toBe(0);
    expect(await two.by.flock(two.fd, LOCK_SH | LOCK_NB)).toBe('EAGAIN');
    await must(one.by.close(one.fd));
    expect(await two.by.flock(two.fd, LOCK_EX | LOCK_NB)).toBe(0);
  });

  test('whoever waits gets it, also when its holder dies', async () => {
    const { one, two } = await twoProcesses();
    await must(two.by.flock(two.fd, LOCK_EX));
    const waiting = one.by.flock(one.fd, LOCK_EX);
    await two.process.end();
    expect(await waiting).toBe(0);
    await must(one.by.close(one.fd));
  });

  test('belongs to the open file, not to the process', async () => {
    const { path, one } = await twoProcesses();
    await must(one.by.flock(one.fd, LOCK_EX));
    const same = await must(one.by.dup(one.fd));
    const second = await must(one.by.open(path, O_RDWR));
    expect(await one.by.flock(same, LOCK_EX | LOCK_NB)).toBe(0);
    expect(await one.by.flock(second, LOCK_EX | LOCK_NB)).toBe('EAGAIN');
    for (const fd of [one.fd, same, second]) await must(one.by.close(fd));
  });
});

describe.skipIf(!canMount)('fcntl locks', () => {
  test('of ranges: conflicts only where they meet', async () => {
    const { one, two } = await twoProcesses();
    expect(await one.by.setLock(one.fd, F_SETLK, lock(F_WRLCK, 100, 100))).toBe(0);
    expect(await two.by.setLock(two.fd, F_SETLK, lock(F_WRLCK, 0, 100))).toBe(0);
    expect(await two.by.setLock(two.fd, F_SETLK, lock(F_WRLCK, 199, 10))).toBe('EAGAIN');
    expect(await two.by.setLock(two.fd, F_SETLK, lock(F_RDLCK, 150, 1))).toBe('EAGAIN');
    expect(await two.by.setLock(two.fd, F_SETLK, lock(F_WRLCK, 200, 0))).toBe(0);
    expect(await one.by.setLock(one.fd, F_SETLK, lock(F_UNLCK, 140, 20))).toBe(0);
    expect(await two.by.setLock(two.fd, F_SETLK, lock(F_RDLCK, 150, 1))).toBe(0);
    await must(one.by.close(one.fd));
  });

  test('F_GETLK says who stands in the way', async () => {
    const { one, two } = await twoProcesses();
    await must(one.by.setLock(one.fd, F_SETLK, lock(F_WRLCK, 10, 5)));
    expect(await two.by.getLock(two.fd, F_GETLK, lock(F_RDLCK, 0, 100))).toEqual({
      type: F_WRLCK,
      start: 10,
      length: 5,
      pid: fs.process.pid,
    });
    expect(await two.by.getLock(two.fd, F_GETLK, lock(F_RDLCK, 20, 5))).toMatchObject({ type: F_UNLCK });
    await must(one.by.close(one.fd));
  });

  test('F_SETLKW waits; closing any descriptor of the file gives up all locks of the process', async () => {
    const { path, one, two } = await twoProcesses();
    await must(one.by.setLock(one.fd, F_SETLK, lock(F_WRLCK, 0, 0)));
    const waiting = two.by.setLock(two.fd, F_SETLKW, lock(F_WRLCK, 0, 0));
    const second = await must(one.by.open(path, O_RDONLY));
    await must(one.by.close(second));
    expect(await waiting).toBe(0);
    expect(await one.by.setLock(one.fd, F_SETLK, lock(F_RDLCK, 0, 1))).toBe('EAGAIN');
    await must(one.by.close(one.fd));
  });

  test('EDEADLK: two that wait for each other', async () => {
    const { one, two } = await twoProcesses();
    await must(one.by.setLock(one.fd, F_SETLK, lock(F_WRLCK, 0, 1)));
    await must(two.by.setLock(two.fd, F_SETLK, lock(F_WRLCK, 1, 1)));
    // Whoever comes second is told, and steps back.
    const answers = await Promise.all(
      [
        { ...one, other: 1 },
        { ...two, other: 0 },
      ].map(async ({ by, fd, other }) => {
        const answer = await by.setLock(fd, F_SETLKW, lock(F_WRLCK, other, 1));
        if (answer === 'EDEADLK') await must(by.setLock(fd, F_SETLK, lock(F_UNLCK, 0, 0)));
        return answer;
      }),
    );
    expect(answers.map(String).sort()).toEqual(['0', 'EDEADLK']);
    await must(one.by.close(one.fd));
  });

  test('of an open file: two of one process exclude each other', async () => {
    const { path, one } = await twoProcesses();
    const second = await must(one.by.open(path, O_RDWR));
    expect(await one.by.setLock(one.fd, F_OFD_SETLK, lock(F_WRLCK, 0, 10))).toBe(0);
    expect(await one.by.setLock(second, F_OFD_SETLK, lock(F_WRLCK, 5, 10))).toBe('EAGAIN');
    await must(one.by.close(one.fd));
    expect(await one.by.setLock(second, F_OFD_SETLK, lock(F_WRLCK, 5, 10))).toBe(0);
    await must(one.by.close(second));
  });

  test('EBADF: to read asks for a descriptor for reading, to write for one for writing', async () => {
    const { path, one } = await twoProcesses();
    const reader = await must(one.by.open(path, O_RDONLY));
    const writer = await must(one.by.open(path, O_WRONLY));
    expect(await one.by.setLock(reader, F_SETLK, lock(F_WRLCK, 0, 1))).toBe('EBADF');
    expect(await one.by.setLock(writer, F_SETLK, lock(F_RDLCK, 0, 1))).toBe('EBADF');
    expect(await one.by.setLock(one.fd, F_SETLK, lock(F_WRLCK, -1, 1))).toBe('EINVAL');
    for (const fd of [one.fd, reader, writer]) await must(one.by.close(fd));
  });
});
