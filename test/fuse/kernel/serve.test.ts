import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test, vi } from 'vitest';
import { opcode } from '../../../fs/fuse/kernel/abi.ts';
import { nameFromText } from '../../../fs/name.ts';
import type { Caller, Vfs } from '../../../fs/vfs.ts';
import { delayed, MemoryVfs } from '../../support/memory-vfs.ts';
import { cursor, FakeKernel, parseAttr, parseDirents, parseEntry, request, u32, u64 } from './wire.ts';

const root: Caller = { uid: 0, gid: 0, groups: [0], pid: 1, access: 'kernel' };
const createIn = (flags = 2, mode = 0o644) => [u32(flags), u32(mode), u32(0), u32(0)] as const;
const readIn = (handle: number, offset: number, size: number) =>
  [u64(handle), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0)] as const;
const writeIn = (handle: number, offset: number, data: Uint8Array, flags = 0) =>
  [u64(handle), u64(offset), u32(data.length), u32(flags), u64(0), u32(0), u32(0), data] as const;

async function create(kernel: FakeKernel, name: string, mode = 0o644) {
  const { payload } = await kernel.ask('create', {}, ...createIn(2, mode), name);
  return { ...parseEntry(payload), handle: Number(payload.readBigUInt64LE(128)) };
}

/** A Vfs some of whose operations are replaced. */
function withOverrides(vfs: Vfs, overrides: Partial<Vfs>): Vfs {
  return new Proxy(vfs, {
    get(target, key) {
      const override: unknown = Reflect.get(overrides, key);
      if (override !== undefined) return override;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe.each([
  ['answered at once', (vfs: MemoryVfs): Vfs => vfs],
  ['answered later', (vfs: MemoryVfs): Vfs => delayed(vfs, () => Promise.resolve())],
])('requests %s', (_how, wrap) => {
  test('a file is created, written, read and closed', async () => {
    const memory = new MemoryVfs();
    const kernel = new FakeKernel(wrap(memory));
    const { nodeId, handle } = await create(kernel, 'f');
    const written = await kernel.ask('write', { nodeId }, ...writeIn(handle, 3, Buffer.from('abc')));
    expect(written.payload.readUInt32LE(0)).toBe(3);
    const read = await kernel.ask('read', { nodeId }, ...readIn(handle, 1, 100));
    expect(read.payload.toString('latin1')).toBe('\0\0abc');
    expect((await kernel.ask('release', { nodeId }, u64(handle), u32(0), u32(0), u64(0))).error).toBe(0);
    expect(memory.openFiles).toBe(0);
  });

  test('replies carry the number of their request, one reply each', async () => {
    const kernel = new FakeKernel(wrap(new MemoryVfs()));
    const uniques = ['a', 'b', 'c'].map((name) => kernel.post('mkdir', {}, u32(0o755), u32(0), name));
    uniques.push(kernel.post('lookup', {}, 'missing'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(kernel.replies.map((reply) => reply.unique).toSorted((a, b) => a - b)).toEqual(uniques);
  });

  test('an entry counts as one reference, FORGET gives back no more than was taken', async () => {
    const memory = new MemoryVfs();
    const kernel = new FakeKernel(wrap(memory));
    const { nodeId, handle } = await create(kernel, 'f');
    await kernel.ask('lookup', {}, 'f');
    await kernel.ask('release', {}, u64(handle), u32(0), u32(0), u64(0));
    await kernel.ask('unlink', {}, 'f');
    kernel.post('forget', { nodeId }, u64(1));
    expect(memory.inodes).toBe(2);
    kernel.post('batchForget', {}, u32(2), u32(0), u64(nodeId), u64(99), u64(123456), u64(1));
    expect(memory.inodes).toBe(1);
  });

  test('what the kernel does not take is taken back: references and open files', async () => {
    const memory = new MemoryVfs();
    const kernel = new FakeKernel(wrap(memory));
    kernel.takes = false;
    kernel.post('create', {}, ...createIn(), 'f');
    kernel.post('mkdir', {}, u32(0o755), u32(0), 'd');
    await new Promise((resolve) => setTimeout(resolve, 5));
    kernel.post('lookup', {}, 'f');
    kernel.post('opendir', {}, u32(0), u32(0));
    await new Promise((resolve) => setTimeout(resolve, 5));
    kernel.takes = true;
    expect(memory.openFiles).toBe(0);
    await kernel.ask('unlink', {}, 'f');
    await kernel.ask('rmdir', {}, 'd');
    expect(memory.inodes).toBe(1);
  });

  test('the end of the mount gives everything back', async () => {
    const memory = new MemoryVfs();
    const kernel = new FakeKernel(wrap(memory));
    await create(kernel, 'f');
    await kernel.ask('lookup', {}, 'f');
    await kernel.ask('unlink', {}, 'f');
    kernel.server.stop();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect([memory.openFiles, memory.inodes]).toEqual([0, 1]);
  });

  test('READDIR fills the size asked for and goes on after the last entry', async () => {
    const kernel = new FakeKernel(wrap(new MemoryVfs()));
    const names = Array.from({ length: 300 }, (_, i) => `${'n'.repeat(i % 50)}${i}`);
    for (const name of names) await kernel.ask('mkdir', {}, u32(0o755), u32(0), name);
    const handle = Number((await kernel.ask('opendir', {}, u32(0), u32(0))).payload.readBigUInt64LE(0));
    const seen: string[] = [];
    for (let cookie = 0; ; ) {
      const { payload } = await kernel.ask('readdir', {}, ...readIn(handle, cookie, 4096));
      expect(payload.length).toBeLessThanOrEqual(4096);
      const entries = parseDirents(payload);
      if (entries.length === 0) break;
      for (const entry of entries) {
        seen.push(entry.name);
        expect(entry.type).toBe(4); // DT_DIR
        cookie = entry.cookie;
      }
    }
    expect(seen).toEqual(['.', '..', ...names]);
  });

  test("READDIRPLUS counts a lookup for each entry, but not for '.' and '..'", async () => {
    const memory = new MemoryVfs();
    const kernel = new FakeKernel(wrap(memory));
    const { nodeId } = parseEntry((await kernel.ask('mkdir', {}, u32(0o755), u32(0), 'd')).payload);
    kernel.post('forget', { nodeId }, u64(1));
    const handle = Number((await kernel.ask('opendir', {}, u32(0), u32(0))).payload.readBigUInt64LE(0));
    const { payload } = await kernel.ask('readdirplus', {}, ...readIn(handle, 0, 4096));
    expect(parseDirents(payload, true).map(({ name, nodeId: node }) => [name, node])).toEqual([
      ['.', 0],
      ['..', 0],
      ['d', nodeId],
    ]);
    await kernel.ask('rmdir', {}, 'd');
    expect(memory.inodes).toBe(2);
    kernel.post('forget', { nodeId }, u64(1));
    expect(memory.inodes).toBe(1);
  });

  test('a file that goes while a directory is listed with attributes is listed without', async () => {
    const memory = new MemoryVfs();
    for (const name of ['a', 'b']) memory.mkdir(memory.rootIno, nameFromText(name), 0o755, root);
    const listing = withOverrides(wrap(memory), {
      readdir: async (handle, cookie, limit) => {
        const page = memory.readdir(handle, cookie, limit);
        memory.rmdir(memory.rootIno, nameFromText('a'));
        return page;
      },
    });
    const kernel = new FakeKernel(listing);
    const handle = Number((await kernel.ask('opendir', {}, u32(0), u32(0))).payload.readBigUInt64LE(0));
    const { error, payload } = await kernel.ask('readdirplus', {}, ...readIn(handle, 0, 4096));
    expect(error).toBe(0);
    const entries = parseDirents(payload, true).map(({ name, nodeId }) => [name, nodeId === 0]);
    expect(entries).toEqual([
      ['.', true],
      ['..', true],
      ['a', true],
      ['b', false],
    ]);
  });

  test('extended attributes: a size of 0 asks for the length, a size too small is ERANGE', async () => {
    const kernel = new FakeKernel(wrap(new MemoryVfs()));
    await kernel.ask('setxattr', {}, u32(5), u32(0), 'user.a', Buffer.from('value'));
    await kernel.ask('setxattr', {}, u32(0), u32(0), 'user.b');
    expect((await kernel.ask('getxattr', {}, u32(0), u32(0), 'user.a')).payload.readUInt32LE(0)).toBe(5);
    expect((await kernel.ask('getxattr', {}, u32(4), u32(0), 'user.a')).error).toBe('ERANGE');
    expect((await kernel.ask('getxattr', {}, u32(5), u32(0), 'user.a')).payload.toString()).toBe('value');
    expect((await kernel.ask('listxattr', {}, u32(0), u32(0))).payload.readUInt32LE(0)).toBe(14);
    expect((await kernel.ask('listxattr', {}, u32(13), u32(0))).error).toBe('ERANGE');
    expect((await kernel.ask('listxattr', {}, u32(14), u32(0))).payload.toString()).toBe('user.a\0user.b\0');
    expect((await kernel.ask('getxattr', {}, u32(0), u32(0), 'user.c')).error).toBe('ENODATA');
  });

  test('a filesystem whose root is not inode 1 shows it as node 1, and an inode 1 as the number of the root', async () => {
    const kernel = new FakeKernel(wrap(new MemoryVfs(50)));
    const { payload } = await kernel.ask('getattr', { nodeId: 1 }, u32(0), u32(0), u64(0));
    expect(parseAttr(payload.subarray(16)).ino).toBe(50);
    expect(parseEntry((await kernel.ask('lookup', { nodeId: 1 }, '.')).payload).nodeId).toBe(1);
    expect(kernel.server.nodeId(1)).toBe(50);
    expect(kernel.server.nodeId(51)).toBe(51);
  });

  test('writing takes set-user-ID when the kernel says that the writer may not keep it', async () => {
    const kernel = new FakeKernel(wrap(new MemoryVfs()));
    const { nodeId, handle } = await create(kernel, 'f', 0o6755);
    const mode = async (): Promise<number> => {
      const { payload } = await kernel.ask('getattr', { nodeId }, u32(0), u32(0), u64(0));
      return parseAttr(payload.subarray(16)).mode & 0o7777;
    };
    await kernel.ask('write', { nodeId }, ...writeIn(handle, 0, Buffer.from('x')));
    expect(await mode()).toBe(0o6755);
    await kernel.ask('write', { nodeId }, ...writeIn(handle, 0, Buffer.from('x'), 4));
    expect(await mode()).toBe(0o755);
    // A new mode is noticed although the inode was found without privileges before.
    const chmod = [u32(1), u32(0), u64(0), u64(0), u64(0), u64(0), u64(0), u64(0), u32(0), u32(0), u32(0)];
    await kernel.ask('setattr', { nodeId }, ...chmod, u32(0o4755), u32(0), u32(0), u32(0), u32(0));
    await kernel.ask('write', { nodeId }, ...writeIn(handle, 0, Buffer.from('x'), 4));
    expect(await mode()).toBe(0o755);
  });
});

test.each([
  ['a POLL, which the kernel then answers itself', 40, 'ENOSYS'],
  ['a lock, which the kernel then keeps itself', 31, 'ENOSYS'],
  ['a FLUSH, so that the kernel saves itself the next ones', opcode.flush, 'ENOSYS'],
  ['an IOCTL', opcode.ioctl, 'ENOTTY'],
  ['an opcode from the future', 1000, 'ENOSYS'],
])('%s', async (_what, code, error) => {
  const kernel = new FakeKernel(new MemoryVfs());
  expect((await kernel.ask(code, {}, new Uint8Array(64))).error).toBe(error);
});

test.each([
  ['WRITE', 'write', writeIn(1, 2 ** 53, Buffer.from('x')), 'EFBIG'],
  ['FALLOCATE', 'fallocate', [u64(1), u64(2 ** 52), u64(2 ** 53), u32(0), u32(0)], 'EFBIG'],
  ['LSEEK', 'lseek', [u64(1), u64(2 ** 60), u32(3), u32(0)], 'ENXIO'],
] as const)('%s beyond the largest file is %s', async (_op, name, fields, error) => {
  expect((await new FakeKernel(new MemoryVfs()).ask(name, {}, ...fields)).error).toBe(error);
});

test('READ beyond the largest file finds its end', async () => {
  const kernel = new FakeKernel(new MemoryVfs());
  const { nodeId, handle } = await create(kernel, 'f');
  const { error, payload } = await kernel.ask('read', { nodeId }, ...readIn(handle, 2 ** 62, 4096));
  expect([error, payload.length]).toEqual([0, 0]);
});

test('a fault of the filesystem that is no errno is EIO to the caller and a warning to the operator', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  try {
    const broken = withOverrides(new MemoryVfs(), {
      statfs: () => {
        throw new TypeError('oops');
      },
      syncfs: () => Promise.reject(new TypeError('later')),
    });
    const kernel = new FakeKernel(broken);
    expect((await kernel.ask('statfs', {})).error).toBe('EIO');
    expect((await kernel.ask('syncfs', {}, u64(0))).error).toBe('EIO');
    expect(warned).toHaveBeenCalledTimes(2);
  } finally {
    warned.mockRestore();
  }
});

test('the caller is who the header says, its access checked by the kernel', async () => {
  const callers: Caller[] = [];
  const memory = new MemoryVfs();
  const kernel = new FakeKernel(
    withOverrides(memory, {
      mkdir: (parent, name, mode, by) => {
        callers.push(by);
        return memory.mkdir(parent, name, mode, by);
      },
    }),
  );
  await kernel.ask('mkdir', { uid: 1000, gid: 100, pid: 7 }, u32(0o755), u32(0), 'a');
  await kernel.ask('mkdir', { uid: 0, gid: 0, pid: 8 }, u32(0o755), u32(0), 'b');
  expect(callers).toEqual([
    { uid: 1000, gid: 100, groups: [100], pid: 7, access: 'kernel' },
    { uid: 0, gid: 0, groups: [0], pid: 8, access: 'kernel' },
  ]);
});

function stalling() {
  const memory = new MemoryVfs();
  let release = nothing;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { memory, kernel: new FakeKernel(delayed(memory, () => gate)), release: () => release() };
}

function nothing(): void {}

describe('a request that waits', () => {
  test('keeps its bytes until it is served, if it is a WRITE', async () => {
    const { memory, kernel, release } = stalling();
    const { attr, handle } = memory.create(1, nameFromText('f'), 0o644, 2, root);
    const bytes = request('write', { nodeId: attr.ino }, ...writeIn(handle, 0, Buffer.from('data')));
    let free = false;
    void kernel.server.serve(cursor(bytes))?.then(() => {
      free = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(free).toBe(false);
    release();
    await expect.poll(() => free).toBe(true);
  });

  test('is let go with EINTR when its caller is dead, and what comes later is dropped', async () => {
    const { kernel, release } = stalling();
    const unique = kernel.post('getattr', { pid: 2 ** 22 + 1 }, u32(0), u32(0), u64(0));
    kernel.post('interrupt', { unique: unique + 1 }, u64(unique));
    expect(kernel.replies).toMatchObject([{ unique, error: 'EINTR' }]);
    release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(kernel.replies.length).toBe(1);
  });

  test('is let go when it is a READ, and its data goes nowhere', async () => {
    const { memory, kernel, release } = stalling();
    const { attr, handle } = memory.create(1, nameFromText('f'), 0o644, 2, root);
    const unique = kernel.post('read', { nodeId: attr.ino, pid: 2 ** 22 + 1 }, ...readIn(handle, 0, 10));
    kernel.post('interrupt', { unique: unique + 1 }, u64(unique));
    release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(kernel.replies).toMatchObject([{ unique, error: 'EINTR' }]);
  });

  test('goes on after an INTERRUPT when its caller lives: the signal was another', async () => {
    const { kernel, release } = stalling();
    const unique = kernel.post('getattr', { pid: process.pid }, u32(0), u32(0), u64(0));
    kernel.post('interrupt', { unique: unique + 1 }, u64(unique));
    expect(kernel.replies).toEqual([]);
    release();
    await expect.poll(() => kernel.replies).toMatchObject([{ unique, error: 0 }]);
  });

  test('is not let go when it changes something', async () => {
    const { kernel, release } = stalling();
    const unique = kernel.post('mkdir', { pid: 2 ** 22 + 1 }, u32(0o755), u32(0), 'd');
    kernel.post('interrupt', { unique: unique + 1 }, u64(unique));
    expect(kernel.replies).toEqual([]);
    release();
    await expect.poll(() => kernel.replies).toMatchObject([{ unique, error: 0 }]);
  });

  test('is answered at once by an interrupt that comes too late: with nothing', async () => {
    const kernel = new FakeKernel(new MemoryVfs());
    const unique = kernel.post('getattr', {}, u32(0), u32(0), u64(0));
    kernel.post('interrupt', { unique: unique + 1 }, u64(unique));
    expect(kernel.replies.length).toBe(1);
  });
});

describe('hostile requests', () => {
  property.prop([
    fc.array(
      fc.tuple(fc.integer({ min: 1, max: 55 }), fc.integer({ min: 0, max: 5 }), fc.uint8Array({ maxLength: 150 })),
      { maxLength: 60 },
    ),
  ])('are each answered at most once, and the next good one is served', async (requests) => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      const kernel = new FakeKernel(new MemoryVfs());
      for (const [code, nodeId, bytes] of requests) kernel.post(code, { nodeId }, bytes);
      const counts = new Map<number, number>();
      for (const { unique } of kernel.replies) counts.set(unique, (counts.get(unique) ?? 0) + 1);
      expect([...counts.values()].every((count) => count === 1)).toBe(true);
      expect((await kernel.ask('getattr', { nodeId: 1 }, u32(0), u32(0), u64(0))).error).toBe(0);
      expect(warned).not.toHaveBeenCalled();
    } finally {
      warned.mockRestore();
    }
  });

  test('without a whole header get no answer, for they have no number', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const kernel = new FakeKernel(new MemoryVfs());
    expect(kernel.server.serve(cursor(Buffer.alloc(39)))).toBeUndefined();
    expect(kernel.replies).toEqual([]);
    expect(warned).toHaveBeenCalledTimes(1);
    warned.mockRestore();
  });
});
