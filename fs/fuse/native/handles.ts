import { FsError } from '../../errors.ts';
import type { Handle } from '../../vfs.ts';

export interface OpenFile {
  readonly ino: number;
  readonly handle: Handle;
  /** Where it was opened, kept up to date over renames through this mount. */
  path: string;
}

/** libfuse carries a handle as 32 bits through fuse-native, and 0 means none. */
const fdMax = 2 ** 31 - 1;

/** The open files of one mount by the small numbers that the kernel hands back. */
export class OpenFiles {
  readonly #files = new Map<number, OpenFile>();
  #last = 0;

  /** @throws FsError ENFILE */
  add(file: OpenFile): number {
    if (this.#files.size >= fdMax) throw new FsError('ENFILE', { ino: file.ino });
    do this.#last = this.#last === fdMax ? 1 : this.#last + 1;
    while (this.#files.has(this.#last));
    this.#files.set(this.#last, file);
    return this.#last;
  }

  /** @throws FsError EBADF */
  get(fd: number): OpenFile {
    const file = this.#files.get(fd);
    if (file === undefined) throw new FsError('EBADF', { detail: `handle ${fd}` });
    return file;
  }

  /** @throws FsError EBADF */
  remove(fd: number): OpenFile {
    const file = this.get(fd);
    this.#files.delete(fd);
    return file;
  }

  /** Takes every file out, for the end of the mount. */
  drain(): readonly OpenFile[] {
    const files = [...this.#files.values()];
    this.#files.clear();
    return files;
  }

  isOpen(ino: number): boolean {
    for (const file of this.#files.values()) if (file.ino === ino) return true;
    return false;
  }

  /** The paths under which `ino` is open, each once. */
  pathsOf(ino: number): ReadonlySet<string> {
    const paths = new Set<string>();
    for (const file of this.#files.values()) if (file.ino === ino) paths.add(file.path);
    return paths;
  }

  /** A file or a directory above open files has a new path. */
  renamed(from: string, to: string): void {
    for (const file of this.#files.values()) {
      if (file.path === from) file.path = to;
      else if (file.path.startsWith(`${from}/`)) file.path = to + file.path.slice(from.length);
    }
  }
}
