/**
 * The kernel of a mount on the server's machine as far as it keeps pages (docs/coherence.md): filled by reads, kept, updated by
 * writes that pass through them, dropped when the mount says so. A page under way is locked, and whoever drops it waits.
 */
import type { Mounted } from '../../fs/fuse/driver.ts';
import { limits } from '../../fs/limits.ts';
import type { FallocateMode, Handle, Vfs } from '../../fs/vfs.ts';
import { root } from '../support/filesystem.ts';
import { loop } from './loop.ts';

const pageSize = limits.blockSize;

interface Page {
  /** undefined: not up to date. */
  bytes: Buffer | undefined;
  /** Settles when it is unlocked. */
  locked: Promise<void> | undefined;
}

/** How local programs reach bytes of files. */
export interface FileAccess {
  read(ino: number, handle: Handle, offset: number, length: number): Promise<Buffer>;
  write(ino: number, handle: Handle, offset: number, data: Buffer): Promise<number>;
  truncate(ino: number, size: number): Promise<void>;
  fallocate(ino: number, handle: Handle, mode: FallocateMode, offset: number, length: number): Promise<void>;
}

/** Without any pages. */
export function directAccess(vfs: Vfs): FileAccess {
  return {
    read: async (_ino, handle, offset, length) =>
      vfs.read(handle, offset, length, root, (pieces) => Buffer.concat(pieces)),
    write: async (_ino, handle, offset, data) => vfs.write(handle, offset, data, root),
    truncate: async (ino, size) => {
      await vfs.setattr(ino, { size }, root);
    },
    fallocate: async (_ino, handle, mode, offset, length) => vfs.fallocate(handle, mode, offset, length, root),
  };
}

export class Kernel implements FileAccess, Mounted {
  readonly mountPoint = '/simulated';
  readonly #pages = new Map<string, Page>();
  #vfs: Vfs | undefined;

  mount(vfs: Vfs): void {
    this.#vfs = vfs;
  }

  async read(ino: number, handle: Handle, offset: number, length: number): Promise<Buffer> {
    const { size } = await this.#mounted.getattr(ino, root);
    const end = Math.min(offset + length, size);
    const read: Buffer[] = [];
    for (let at = offset; at < end; ) {
      const start = Math.floor(at / pageSize) * pageSize;
      const bytes = await this.#filled(ino, handle, start);
      read.push(bytes.subarray(at - start, Math.min(end - start, pageSize)));
      at = start + pageSize;
    }
    return Buffer.concat(read);
  }

  async write(ino: number, handle: Handle, offset: number, data: Buffer): Promise<number> {
    const end = offset + data.length;
    const starts: number[] = [];
    for (let start = Math.floor(offset / pageSize) * pageSize; start < end; start += pageSize) starts.push(start);
    const unlock: (() => void)[] = [];
    for (const start of starts) unlock.push(await this.#lock(ino, start));
    try {
      const written = await this.#mounted.write(handle, offset, data, root);
      for (const start of starts) {
        const page = this.#page(ino, start);
        const [from, to] = [Math.max(offset, start), Math.min(offset + written, start + pageSize)];
        if (to - from === pageSize) page.bytes ??= Buffer.alloc(pageSize);
        if (from < to) page.bytes?.set(data.subarray(from - offset, to - offset), from - start);
      }
      return written;
    } finally {
      for (const free of unlock) free();
    }
  }

  async truncate(ino: number, size: number): Promise<void> {
    await this.#mounted.setattr(ino, { size }, root);
    await this.#drop(ino, size, Infinity);
  }

  async fallocate(ino: number, handle: Handle, mode: FallocateMode, offset: number, length: number): Promise<void> {
    await this.#mounted.fallocate(handle, mode, offset, length, root);
    await this.#drop(ino, offset, mode === 'collapse' || mode === 'insert' ? Infinity : length);
  }

  // What the mount tells it.

  async unmount(): Promise<void> {}

  async invalidate(ino: number, offset: number, length: number): Promise<void> {
    await loop().sleep(loop().random.below(1000) / 1000);
    await this.#drop(ino, offset, length);
  }

  async invalidateAttributes(): Promise<void> {}

  async invalidateEntry(): Promise<void> {}

  async removeEntry(): Promise<void> {}

  get #mounted(): Vfs {
    if (this.#vfs === undefined) throw new Error('nothing is mounted');
    return this.#vfs;
  }

  /** What is read for a page goes into it in the turn in which it is served. */
  async #filled(ino: number, handle: Handle, start: number): Promise<Buffer> {
    const known = this.#page(ino, start);
    if (known.bytes !== undefined && known.locked === undefined) return known.bytes;
    const unlock = await this.#lock(ino, start);
    try {
      const page = this.#page(ino, start);
      if (page.bytes === undefined) {
        await this.#mounted.read(handle, start, pageSize, root, (pieces) => {
          page.bytes = Buffer.concat([...pieces, Buffer.alloc(pageSize)]).subarray(0, pageSize);
        });
      }
      // As it is now: what is read of it is copied before it is unlocked.
      return Buffer.from(page.bytes ?? Buffer.alloc(pageSize));
    } finally {
      unlock();
    }
  }

  #page(ino: number, start: number): Page {
    const key = `${ino}/${start}`;
    let page = this.#pages.get(key);
    if (page === undefined) {
      page = { bytes: undefined, locked: undefined };
      this.#pages.set(key, page);
    }
    return page;
  }

  async #lock(ino: number, start: number): Promise<() => void> {
    let page = this.#page(ino, start);
    while (page.locked !== undefined) {
      await page.locked;
      page = this.#page(ino, start);
    }
    let free = nothing;
    page.locked = new Promise((resolve) => {
      free = resolve;
    });
    const locked = page;
    return () => {
      locked.locked = undefined;
      free();
    };
  }

  async #drop(ino: number, offset: number, length: number): Promise<void> {
    for (const key of this.#pages.keys()) {
      const [of, start = 0] = key.split('/').map(Number);
      if (of !== ino || start + pageSize <= offset || start >= offset + length) continue;
      const unlock = await this.#lock(ino, start);
      this.#page(ino, start).bytes = undefined;
      unlock();
    }
  }
}

function nothing(): void {}
