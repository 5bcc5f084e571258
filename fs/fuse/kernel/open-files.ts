import type { Handle, Reply } from '../../vfs.ts';
import { openFlag } from './abi.ts';

/** A file that the kernel has open. */
interface OpenFile {
  readonly ino: number;
  readonly reads: boolean;
  readonly pastPages: boolean;
  readonly use: Use;
}

/** How one inode is open. Bytes [start, end) that readers asked for since somebody can write past them. */
interface Use {
  descriptors: number;
  readers: number;
  pastPages: number;
  filled: { start: number; end: number } | undefined;
  /** Settles when the writes past the pages are through that are under way now. */
  writes: Promise<unknown> | undefined;
}

/**
 * The regular files that the kernel has open, and which of them it writes past its page cache (FOPEN_DIRECT_IO).
 *
 * A descriptor that is only written to gains nothing from pages: without a writeback cache each write(2) is a request
 * anyway, and what it leaves in them is dropped at the next look at mtime (AUTO_INVAL_DATA). Past them it costs a copy
 * less, and no question for security.capability. But the kernel drops the pages of such a write before the request only
 * (fuse_direct_io), not after it as other filesystems do. So:
 *
 * - O1 A file is opened for writing past its pages only while nobody can read it by them. A mapping counts: its descriptor
 *   is released after it.
 * - O2 Readers may come later, fill pages before the request is served, and store to them (mmap): what they asked for is
 *   noted, and a write to it is to drop pages itself.
 * - O3 So that it is noted in time, a reader gets the file when no write past its pages is under way.
 */
export class OpenFiles {
  readonly #files = new Map<Handle, OpenFile>();
  readonly #uses = new Map<number, Use>();

  /** Whether whoever opens the inode so can write past its pages (O1). */
  canGoPastPages(ino: number, flags: number): boolean {
    if (reads(flags)) return false;
    const use = this.#uses.get(ino);
    return use === undefined || use.readers === 0;
  }

  /** When the inode can be given to whoever opens it so (O3). */
  admit(ino: number, flags: number): Reply<void> {
    const writes = reads(flags) ? this.#uses.get(ino)?.writes : undefined;
    // Others may have begun meanwhile.
    return writes?.then(() => this.admit(ino, flags));
  }

  opened(handle: Handle, ino: number, flags: number, pastPages: boolean): void {
    let use = this.#uses.get(ino);
    if (use === undefined) {
      use = { descriptors: 0, readers: 0, pastPages: 0, filled: undefined, writes: undefined };
      this.#uses.set(ino, use);
    }
    const file: OpenFile = { ino, reads: reads(flags), pastPages, use };
    use.descriptors++;
    if (file.reads) use.readers++;
    if (pastPages) use.pastPages++;
    this.#files.set(handle, file);
  }

  closed(handle: Handle): void {
    const file = this.#files.get(handle);
    if (file === undefined) return;
    this.#files.delete(handle);
    const { use } = file;
    use.descriptors--;
    if (file.reads) use.readers--;
    if (file.pastPages) use.pastPages--;
    if (use.readers === 0 || use.pastPages === 0) use.filled = undefined;
    if (use.descriptors === 0) this.#uses.delete(file.ino);
  }

  /** The kernel is about to fill pages, or may be (O2). */
  reading(handle: Handle, offset: number, length: number): void {
    const use = this.#files.get(handle)?.use;
    if (use === undefined || use.pastPages === 0) return;
    const { filled } = use;
    use.filled = {
      start: Math.min(offset, filled?.start ?? Infinity),
      end: Math.max(offset + length, filled?.end ?? 0),
    };
  }

  isPastPages(handle: Handle): boolean {
    return this.#files.get(handle)?.pastPages === true;
  }

  /** Whether a write past the pages from `start` to `end` may have to drop some (O2). */
  meetsPages(handle: Handle, start: number, end: number): boolean {
    const file = this.#files.get(handle);
    if (file === undefined || !file.pastPages) return false;
    const { filled } = file.use;
    return filled !== undefined && start < filled.end && filled.start < end;
  }

  /** A write past the pages has not come to its end at once (O3). */
  writing(handle: Handle, written: Promise<unknown>): void {
    const use = this.#files.get(handle)?.use;
    if (use === undefined) return;
    const writes = Promise.allSettled([use.writes, written]).then(() => {
      if (use.writes === writes) use.writes = undefined;
    });
    use.writes = writes;
  }
}

function reads(flags: number): boolean {
  return (flags & openFlag.accessMode) !== openFlag.writeOnly;
}
