import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { OpenFiles } from './handles.ts';

/**
 * Drops the kernel's pages of files that are open in this mount. fuse-native cannot send FUSE_NOTIFY_INVAL_INODE, but
 * the kernel drops all pages of a file when somebody opens it without FOPEN_KEEP_CACHE (fuse_finish_open), so that is
 * what happens here. A file that is not open needs nothing: its next open drops its pages.
 *
 * One at a time: each open holds a thread of libuv's pool, and the filesystem's own commits need those threads too.
 */
export class PageInvalidator {
  readonly #mountPoint: string;
  readonly #files: OpenFiles;
  #last: Promise<void> = Promise.resolve();

  constructor(mountPoint: string, files: OpenFiles) {
    this.#mountPoint = mountPoint;
    this.#files = files;
  }

  /** Settles when the pages are gone. Never rejects. */
  async invalidate(ino: number): Promise<void> {
    for (const path of this.#files.pathsOf(ino)) {
      this.#last = this.#last.then(() => reopen(join(this.#mountPoint, path)));
    }
    await this.#last;
  }
}

async function reopen(path: string): Promise<void> {
  try {
    await (await open(path, 'r')).close();
  } catch {
    // Renamed, removed or not readable meanwhile: whoever opens it next gets fresh pages anyway.
  }
}
