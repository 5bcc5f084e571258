/** Replies that the kernel may apply after what changed meanwhile. What the kernel's part is, is in unapplied.ts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { accessTimes } from '../../../fs/fuse/kernel/access-times.ts';
import { kernelLimits } from '../../../fs/fuse/kernel/limits.ts';
import { Repeats } from '../../../fs/fuse/kernel/repeats.ts';
import { Unapplied } from '../../../fs/fuse/kernel/unapplied.ts';
import { MemoryVfs } from '../../support/memory-vfs.ts';
import { FakeKernel, parseEntry, u32, u64 } from './wire.ts';

const [one, other] = [71, 72];
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
/** A process that never sleeps, so that nobody knows whether it has applied its reply. */
function busy(): number {
  const child = spawn('sh', ['-c', 'while :; do :; done']);
  children.push(child);
  return child.pid ?? 0;
}

describe('a request that changes what the kernel only marks as out of date', () => {
  let kernel: FakeKernel;
  beforeEach(() => {
    kernel = new FakeKernel(new MemoryVfs(), { accessTimes: accessTimes([]), directIo: false, announced: true });
  });
  /** Nodes whose attributes the kernel was told to forget: messages that no request asked for. */
  const told = (): readonly number[] =>
    kernel.replies.filter(({ unique }) => unique === 0).map(({ payload }) => Number(payload.readBigUInt64LE(0)));
  const make = async (pid: number, name: string): Promise<number> =>
    parseEntry((await kernel.ask('mkdir', { pid }, u32(0o755), u32(0), name)).payload).nodeId;
  const getattr = (pid: number, nodeId: number) => kernel.ask('getattr', { pid, nodeId }, u32(0), u32(0), u64(0));

  test('tells it to forget what another thread has asked for, once', async () => {
    await getattr(one, 1);
    await make(other, 'a');
    expect(told()).toEqual([1]);
    await make(other, 'b');
    expect(told()).toEqual([1]);
  });

  test('says nothing of what its own thread asked for', async () => {
    await getattr(one, 1);
    await make(one, 'a');
    expect(told()).toEqual([]);
  });

  test('says nothing once the other thread has asked for something else', async () => {
    const nodeId = await make(one, 'a');
    await getattr(other, 1);
    await getattr(other, nodeId);
    await make(one, 'b');
    expect(told()).toEqual([]);
  });

  test.each([
    [
      'setxattr',
      (nodeId: number) => kernel.ask('setxattr', { pid: other, nodeId }, u32(1), u32(0), 'user.a', new Uint8Array([1])),
    ],
    ['removexattr', (nodeId: number) => kernel.ask('removexattr', { pid: other, nodeId }, 'user.b')],
    ['rename', () => kernel.ask('rename', { pid: other }, u64(1), 'a', 'b')],
    ['exchange', () => kernel.ask('rename2', { pid: other }, u64(1), u32(2), u32(0), 'second', 'a')],
  ])('%s counts for the inode itself', async (_name, change) => {
    const pid = busy();
    const nodeId = await make(one, 'a');
    await kernel.ask('setxattr', { pid: one, nodeId }, u32(1), u32(0), 'user.b', new Uint8Array([1]));
    await make(one, 'second');
    await kernel.ask('lookup', { pid }, 'a');
    expect((await change(nodeId)).error).toBe(0);
    expect(told()).toContain(nodeId);
  });

  test('a listing by another thread is about each of its files', async () => {
    const nodeId = await make(one, 'a');
    const { payload } = await kernel.ask('opendir', { pid: other }, u32(0), u32(0));
    const handle = Number(payload.readBigUInt64LE(0));
    await kernel.ask('readdirplus', { pid: other }, u64(handle), u64(0), u32(4096), u32(0), u64(0), u32(0), u32(0));
    await kernel.ask('setxattr', { pid: one, nodeId }, u32(1), u32(0), 'user.a', new Uint8Array([1]));
    expect(told()).toEqual([nodeId]);
  });

  test('of a thread in another PID namespace every reply counts', async () => {
    await getattr(0, 1);
    await make(0, 'a');
    expect(told()).toEqual([1]);
  });
});

describe('replies that an announcement may miss', () => {
  test('are those about the inode, or about the name', () => {
    const unapplied = new Unapplied();
    unapplied.entry(one, 5, 'name', 6);
    unapplied.listing(other, [7, 6]);
    expect([5, 6, 7].map((ino) => unapplied.ofInode(ino).length)).toEqual([0, 2, 1]);
    expect(unapplied.ofName(5, 'name').length).toBe(1);
    expect(unapplied.ofName(5, 'other').length).toBe(0);
    unapplied.attributes(one, 9); // it has asked again
    expect(unapplied.ofInode(6).length).toBe(1);
    expect(unapplied.ofName(5, 'name').length).toBe(0);
  });

  test('are over when their thread asked again, sleeps or is gone', async () => {
    const unapplied = new Unapplied();
    const sleeper = spawn('sleep', ['1000']);
    children.push(sleeper);
    const pids = [busy(), busy(), sleeper.pid ?? 0, 2 ** 22 + 1]; // no process has a number that large
    for (const pid of pids) unapplied.attributes(pid, 6);
    const standing = unapplied.ofInode(6);
    unapplied.attributes(pids[1] ?? 0, 7);
    await expect
      .poll(() => standing.map(({ isOver }) => isOver), { timeout: 20_000 })
      .toEqual([false, true, true, true]);
  });

  test('are remembered of so many threads, the one that asked longest ago first forgotten', () => {
    const unapplied = new Unapplied();
    for (let pid = 1; pid <= kernelLimits.threadsNoted + 10; pid++) unapplied.attributes(pid, 6);
    expect(unapplied.ofInode(6).length).toBe(kernelLimits.threadsNoted);
    for (let pid = 1; pid <= kernelLimits.strangersNoted + 10; pid++) unapplied.attributes(0, 7);
    expect(unapplied.ofInode(7).length).toBe(kernelLimits.strangersNoted);
    unapplied.listing(
      1,
      Array.from({ length: kernelLimits.listedNoted + 1 }, () => 8),
    );
    expect([6, 7, 8].map((ino) => unapplied.ofInode(ino).length)).toEqual([0, 0, 1]);
  });

  test('counts come out right whatever comes and goes', () => {
    const unapplied = new Unapplied();
    unapplied.listing(one, [7, 7, 8]);
    expect(unapplied.hasOthers(one)).toBe(false);
    expect(unapplied.isOvertaking(other, 7)).toBe(true);
    expect(unapplied.isOvertaking(other, 7)).toBe(false);
    expect(unapplied.isOvertaking(other, 8)).toBe(true);
    expect(unapplied.hasOthers(other)).toBe(false);
    for (const ino of [9, 10, 11]) unapplied.attributes(one, ino);
    expect(unapplied.hasOthers(one)).toBe(false);
    expect(unapplied.ofInode(9)).toEqual([]);
  });
});

describe('an announcement that a reply may miss', () => {
  let repeats: Repeats;
  let given = 0;
  const give = (): Promise<void> => {
    given++;
    return Promise.resolve();
  };
  beforeEach(() => {
    vi.useFakeTimers();
    repeats = new Repeats();
    given = 0;
  });
  afterEach(() => {
    repeats.stop();
    vi.useRealTimers();
  });

  test('is given once more after a second, though the thread has asked again by then', () => {
    const unapplied = new Unapplied();
    unapplied.attributes(one, 6);
    repeats.add('6', unapplied.ofInode(6), give);
    unapplied.attributes(one, 7);
    vi.advanceTimersByTime(kernelLimits.repeatMs - 1);
    expect(given).toBe(0);
    vi.advanceTimersByTime(10 * kernelLimits.repeatMs);
    expect(given).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is given again each second, then more rarely, until the thread asks again', () => {
    const unapplied = new Unapplied();
    const pid = busy();
    unapplied.attributes(pid, 6);
    repeats.add('6', unapplied.ofInode(6), give);
    vi.advanceTimersByTime(8 * kernelLimits.repeatMs);
    expect(given).toBe(8);
    vi.advanceTimersByTime(100 * kernelLimits.repeatMs);
    expect(given).toBeGreaterThan(16);
    expect(given).toBeLessThan(50);
    const before = given;
    unapplied.attributes(pid, 7);
    vi.advanceTimersByTime(100 * kernelLimits.repeatMs);
    expect(given).toBe(before + 1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is not given for longer than the kernel believes anything', () => {
    const unapplied = new Unapplied();
    unapplied.attributes(busy(), 6);
    repeats.add('6', unapplied.ofInode(6), give);
    vi.advanceTimersByTime(2000 * kernelLimits.believedSec);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('that failed is given until it succeeds', async () => {
    let failures = 3;
    repeats.add('6', [], () => {
      given++;
      return failures-- > 0 ? Promise.reject(new Error('no memory')) : Promise.resolve();
    });
    await vi.advanceTimersByTimeAsync(10 * kernelLimits.repeatMs);
    expect(given).toBe(4);
    expect(vi.getTimerCount()).toBe(0);
  });
});
