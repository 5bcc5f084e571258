/**
 * A process that mounts a filesystem and serves it until told to stop: `served.ts KIND MOUNTPOINT [OPTION…]`.
 * Apart from the test's own process, since a system call on a mount blocks the thread that would have to serve it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { mountKernel } from '../../../fs/fuse/kernel/index.ts';
import { nameFromText } from '../../../fs/name.ts';
import type { Caller, Vfs } from '../../../fs/vfs.ts';
import { delayed, MemoryVfs } from '../../support/memory-vfs.ts';

export type Kind = 'memory' | 'delayed' | 'engine';

/** What the test may ask of the process. */
export type Ask =
  | { readonly ask: 'unmount' }
  | { readonly ask: 'held' }
  /** Writes to a file in the root below the mount, as a peer would. */
  | { readonly ask: 'overwrite'; readonly name: string; readonly text: string }
  | { readonly ask: 'invalidate'; readonly name: string }
  | { readonly ask: 'remove'; readonly name: string }
  /** Makes a file in the root below the mount, as a peer would, and tells the kernel if it is to know. */
  | { readonly ask: 'make'; readonly name: string; readonly text: string; readonly announced: boolean }
  /** Changes the mode of a file in the root likewise, and tells the kernel. */
  | { readonly ask: 'chmod'; readonly name: string; readonly mode: number }
  /** How often names and attributes were asked for since it was last asked. */
  | { readonly ask: 'count' }
  /** From now on lookups answer what they find only when told so. */
  | { readonly ask: 'lookups'; readonly held: boolean }
  /** From now on reads wait until told otherwise. */
  | { readonly ask: 'stall'; readonly on: boolean };

export type Told =
  | { readonly told: 'ready' }
  | { readonly told: 'done' }
  | { readonly told: 'count'; readonly lookups: number; readonly getattrs: number }
  | { readonly told: 'held'; readonly inodes: number; readonly openFiles: number; readonly held: number }
  | { readonly told: 'unmounted'; readonly error: string | undefined };

const [kind, mountPoint = '', ...options] = process.argv.slice(2);
const by: Caller = { uid: 0, gid: 0, groups: [0], pid: 0, access: 'kernel' };
let stalled = false;
let unstall: () => void = () => undefined;
let unstalled = Promise.resolve();

function tell(told: Told): void {
  // The test may be gone by now.
  if (process.connected) process.send?.(told, () => undefined);
}

let [lookups, getattrs] = [0, 0];
let letGo: (() => void) | undefined;
let held: Promise<void> | undefined;

/** Counts what asks for names and attributes; while they are held, lookups keep what they have found to themselves. */
function counting(inner: Vfs): Vfs {
  return new Proxy(inner, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if (key === 'find') lookups++;
        if (key === 'getattr') getattrs++;
        const found: unknown = Reflect.apply(value, target, args);
        return key === 'find' && held !== undefined ? held.then(() => found) : found;
      };
    },
  });
}

const memory = new MemoryVfs(kind === 'delayed' ? 77 : 1);
const lab = kind === 'engine' ? await (await import('../../support/filesystem.ts')).Lab.create() : undefined;
const vfs: Vfs = lab?.vfs ?? stallingReads(kind === 'delayed' ? delayed(memory, () => sleep(1)) : memory);

/** Held back by a `stall`, as by a layout that a peer will not return. */
function stallingReads(inner: Vfs): Vfs {
  return new Proxy(inner, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (key !== 'read' || typeof value !== 'function') {
        return typeof value === 'function'
          ? (...args: unknown[]): unknown => Reflect.apply(value, target, args)
          : value;
      }
      return (...args: unknown[]): unknown => {
        if (!stalled) return Reflect.apply(value, target, args);
        return unstalled.then((): unknown => Reflect.apply(value, target, args));
      };
    },
  });
}

const mount = await mountKernel(counting(vfs), {
  mountPoint,
  source: 'test source',
  readOnly: options.includes('ro'),
  allowOther: true,
  directIo: options.includes('direct_io'),
  announced: options.includes('announced'),
  options: options.filter((option) => !['ro', 'direct_io', 'announced'].includes(option)),
  onUnmounted: (error) => {
    void (async () => {
      await lab?.remove();
      tell({ told: 'unmounted', error: error instanceof Error ? error.message : undefined });
    })();
  },
});

async function answer(ask: Ask): Promise<Told> {
  switch (ask.ask) {
    case 'unmount':
      await mount.unmount();
      return { told: 'done' };
    case 'held':
      return { told: 'held', inodes: memory.inodes, openFiles: memory.openFiles, held: memory.held };
    case 'overwrite': {
      const { ino } = await vfs.lookup(vfs.rootIno, nameFromText(ask.name), by);
      const handle = await vfs.open(ino, 1, by);
      await vfs.write(handle, 0, Buffer.from(ask.text), by);
      await vfs.release(handle);
      return { told: 'done' };
    }
    case 'invalidate': {
      const { ino } = await vfs.lookup(vfs.rootIno, nameFromText(ask.name), by);
      await mount.invalidate(ino, 0, Infinity);
      return { told: 'done' };
    }
    case 'remove':
      await vfs.unlink(vfs.rootIno, nameFromText(ask.name), by);
      await mount.invalidateEntry(vfs.rootIno, nameFromText(ask.name));
      return { told: 'done' };
    case 'make': {
      const { handle } = await vfs.create(vfs.rootIno, nameFromText(ask.name), 0o644, 1, by);
      await vfs.write(handle, 0, Buffer.from(ask.text), by);
      await vfs.release(handle);
      if (ask.announced) await mount.invalidateEntry(vfs.rootIno, nameFromText(ask.name));
      return { told: 'done' };
    }
    case 'chmod': {
      const { ino } = await vfs.lookup(vfs.rootIno, nameFromText(ask.name), by);
      await vfs.setattr(ino, { mode: ask.mode }, by);
      await mount.invalidateAttributes(ino);
      return { told: 'done' };
    }
    case 'count': {
      const counted = { told: 'count', lookups, getattrs } as const;
      [lookups, getattrs] = [0, 0];
      return counted;
    }
    case 'lookups':
      letGo?.();
      letGo = undefined;
      held = ask.held
        ? new Promise((resolve) => {
            letGo = resolve;
          })
        : undefined;
      return { told: 'done' };
    case 'stall':
      stalled = ask.on;
      if (stalled) {
        unstalled = new Promise((resolve) => {
          unstall = resolve;
        });
      } else unstall();
      return { told: 'done' };
  }
}

process.on('message', (ask: Ask) => {
  void answer(ask).then(tell);
});
// The test is gone: leave no mount behind.
process.on('disconnect', () => void mount.unmount());
tell({ told: 'ready' });
