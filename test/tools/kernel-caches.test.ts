import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FsError } from '../../fs/errors.ts';
import type { Mounted } from '../../fs/fuse/driver.ts';
import { nameFromText } from '../../fs/name.ts';
import { KernelCaches } from '../../tools/lib/kernel-caches.ts';

/** How long a peer waits for the kernel: the mount is one that answers as the test wants it. */
let caches: KernelCaches;
let announce: () => Promise<void>;
const entry = (): Promise<void> => announce();
beforeEach(() => {
  vi.useFakeTimers();
  const mounted: Mounted = {
    mountPoint: '/nowhere',
    unmount: () => Promise.resolve(),
    invalidate: entry,
    invalidateAttributes: entry,
    invalidateEntry: entry,
    removeEntry: entry,
  };
  caches = new KernelCaches();
  caches.attach(Promise.resolve(mounted));
});
afterEach(() => vi.useRealTimers());

/** Announces a change; answers whether the peer is answered by now. */
function changed(): () => boolean {
  let isAnswered = false;
  void caches.name(1, nameFromText('name')).then(() => {
    isAnswered = true;
  });
  return () => isAnswered;
}

test('a peer is answered when the kernel has been told', async () => {
  announce = () => Promise.resolve();
  const isAnswered = changed();
  await vi.advanceTimersByTimeAsync(1);
  expect(isAnswered()).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

test('a peer is answered after a second where the kernel takes longer', async () => {
  announce = () => new Promise(() => undefined);
  const isAnswered = changed();
  await vi.advanceTimersByTimeAsync(990);
  expect(isAnswered()).toBe(false);
  await vi.advanceTimersByTimeAsync(20);
  expect(isAnswered()).toBe(true);
});

test('a peer waits as long as too many announcements do', async () => {
  announce = () => Promise.reject(new FsError('EAGAIN'));
  const isAnswered = changed();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(isAnswered()).toBe(false);
  announce = () => Promise.resolve();
  await vi.advanceTimersByTimeAsync(100);
  expect(isAnswered()).toBe(true);
});
