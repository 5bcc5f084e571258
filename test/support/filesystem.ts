/** A real filesystem for a test: an image on tmpfs, a LevelDB store, removed afterwards whatever happened. */

import { cpSync, existsSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BarDevice } from '../../fs/bar/device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { formatFilesystem, openFilesystem } from '../../fs/engine/engine.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import type { Leases } from '../../fs/engine/leases.ts';
import { newUuid } from '../../fs/format/uuid.ts';
import { checkFilesystem } from '../../fs/fsck/check.ts';
import { problemText } from '../../fs/fsck/problem.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { MetaStore } from '../../fs/meta/store.ts';
import type { Name } from '../../fs/name.ts';
import { nameFromText } from '../../fs/name.ts';
import type { Caller, Handle, Vfs } from '../../fs/vfs.ts';

export const root: Caller = { uid: 0, gid: 0, groups: [0], pid: 1, access: 'engine' };
export const alice: Caller = { uid: 1000, gid: 1000, groups: [1000, 50], pid: 2, access: 'engine' };
export const bob: Caller = { uid: 1001, gid: 1001, groups: [1001], pid: 3, access: 'engine' };

export function n(text: string): Name {
  return nameFromText(text);
}

export interface MountOptions {
  readonly readOnly?: boolean;
  readonly warmUp?: boolean;
  /** Something between the filesystem and its parts. */
  readonly device?: (device: BarDevice) => BarDevice;
  readonly store?: (store: MetaStore) => MetaStore;
}

export class Lab {
  readonly dir: string;
  readonly image: string;
  readonly meta: string;
  #fs: Filesystem | undefined;
  #copies = 0;

  private constructor(dir: string, image: string, meta: string) {
    this.dir = dir;
    this.image = image;
    this.meta = meta;
  }

  /** Formatted and mounted; `size` in bytes. */
  static async create(size = 16 << 20, leases?: Leases): Promise<Lab> {
    const dir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'iopmemfs-lab-'));
    const lab = new Lab(dir, join(dir, 'image'), join(dir, 'meta'));
    const file = await open(lab.image, 'w');
    await file.truncate(size);
    await file.close();
    const device = await openDevice(lab.image, { writable: true });
    const store = await openLevelStore(lab.meta, { create: true });
    await formatFilesystem({ device, store, uuid: newUuid(), label: 'lab', volatile: false, uid: 0, gid: 0 });
    await store.close();
    await device.close();
    await lab.mount(leases);
    return lab;
  }

  get fs(): Filesystem {
    if (this.#fs === undefined) throw new Error('not mounted');
    return this.#fs;
  }

  get vfs(): Vfs {
    return this.fs.vfs;
  }

  /** Mounts; if that fails, device and store are closed again. */
  async mount(leases?: Leases, options: MountOptions = {}): Promise<Filesystem> {
    const device = await openDevice(this.image, { writable: true, lock: true });
    try {
      const store = await openLevelStore(this.meta, { create: false });
      try {
        this.#fs = await openFilesystem({
          device: options.device?.(device) ?? device,
          store: options.store?.(store) ?? store,
          readOnly: options.readOnly ?? false,
          warmUp: options.warmUp ?? false,
          ...(leases === undefined ? {} : { leases }),
        });
      } catch (error) {
        await store.close();
        throw error;
      }
    } catch (error) {
      await device.close();
      throw error;
    }
    return this.#fs;
  }

  async unmount(): Promise<void> {
    const fs = this.#fs;
    this.#fs = undefined;
    await fs?.close();
  }

  async remount(): Promise<Filesystem> {
    await this.unmount();
    return this.mount();
  }

  /** The filesystem as it would be found after a kill at this moment, as a lab of its own. */
  async afterCrash(options: MountOptions = {}): Promise<Lab> {
    const lab = await this.crashed();
    await lab.mount(undefined, options);
    return lab;
  }

  /** The same, not mounted yet. */
  async crashed(): Promise<Lab> {
    const dir = join(this.dir, `crash-${++this.#copies}`);
    const lab = new Lab(dir, join(dir, 'image'), join(dir, 'meta'));
    // In one turn: of what goes on beside this, nothing may come between the two.
    cpSync(this.meta, lab.meta, { recursive: true });
    cpSync(this.image, lab.image);
    return lab;
  }

  /** Unmounts, and answers what fsck finds. */
  async problems(): Promise<readonly string[]> {
    await this.unmount();
    const device = await openDevice(this.image, { writable: false });
    const store = await openLevelStore(this.meta, { create: false });
    try {
      const { problems } = await checkFilesystem({ device, store, onPass: () => {}, onProblem: () => {} });
      return problems.map(problemText);
    } finally {
      await store.close();
      await device.close();
    }
  }

  async remove(): Promise<void> {
    try {
      await this.unmount();
    } finally {
      await rm(this.dir, { recursive: true, force: true });
    }
  }
}

/** A file of `content` in the root directory; answers its inode number. */
export async function writeFile(vfs: Vfs, name: string, content: Uint8Array, by: Caller = root): Promise<number> {
  const { attr, handle } = await vfs.create(vfs.rootIno, n(name), 0o644, 2, by);
  if (content.length > 0) await vfs.write(handle, 0, content, by);
  await vfs.release(handle);
  return attr.ino;
}

export async function readAll(vfs: Vfs, ino: number, by: Caller = root): Promise<Buffer> {
  const handle = await vfs.open(ino, 0, by);
  try {
    const { size } = await vfs.getattr(ino, by);
    return await readRange(vfs, handle, 0, size, by);
  } finally {
    await vfs.release(handle);
  }
}

export async function readRange(
  vfs: Vfs,
  handle: Handle,
  offset: number,
  length: number,
  by: Caller = root,
): Promise<Buffer> {
  return vfs.read(handle, offset, length, by, (pieces) => Buffer.concat(pieces));
}

export async function withHandle<T>(
  vfs: Vfs,
  ino: number,
  flags: number,
  use: (handle: Handle) => T | Promise<T>,
): Promise<T> {
  const handle = await vfs.open(ino, flags, root);
  try {
    return await use(handle);
  } finally {
    await vfs.release(handle);
  }
}

/** The errno an operation fails with, or undefined. */
export async function errnoOfCall(call: () => unknown): Promise<string | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
    throw error;
  }
}
