import { FsError } from '../../fs/errors.ts';
import type { Caller, Handle } from '../../fs/vfs.ts';
import type { FileHandle } from '../file-handle.ts';
import type { OpenInode } from '../inode.ts';
import type { OpenState } from '../open-state.ts';

/** A regular file that the kernel has open. */
export interface RemoteFile {
  readonly kind: 'file';
  readonly ino: number;
  readonly file: FileHandle;
  readonly inode: OpenInode;
  readonly open: OpenState;
  /** O_APPEND: the server writes at the end whatever the offset. */
  readonly appends: boolean;
  /** Reads and writes of a small file that went through the server. */
  served: number;
  /** Nobody has changed the file since it was open here before. */
  readonly unchanged: boolean;
}

export interface RemoteDirectory {
  readonly kind: 'directory';
  readonly ino: number;
  /** Who opened it: later it may be read by whoever has the descriptor (openat(2)). */
  readonly by: Caller;
}

/** What the kernel has open. */
export class Handles {
  readonly #open = new Map<number, RemoteFile | RemoteDirectory>();
  #next = 1;

  add(open: RemoteFile | RemoteDirectory): Handle {
    const handle = this.#next++;
    this.#open.set(handle, open);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the only place here that makes this brand
    return handle as Handle;
  }

  peek(handle: Handle): RemoteFile | RemoteDirectory | undefined {
    return this.#open.get(handle);
  }

  /** @throws FsError EBADF, EISDIR */
  file(handle: Handle): RemoteFile {
    const open = this.#open.get(handle);
    if (open?.kind === 'file') return open;
    throw new FsError(open === undefined ? 'EBADF' : 'EISDIR', { detail: `handle ${handle}` });
  }

  /** @throws FsError EBADF, ENOTDIR */
  directory(handle: Handle): RemoteDirectory {
    const open = this.#open.get(handle);
    if (open?.kind === 'directory') return open;
    throw new FsError(open === undefined ? 'EBADF' : 'ENOTDIR', { detail: `handle ${handle}` });
  }

  remove(handle: Handle): RemoteFile | RemoteDirectory | undefined {
    const open = this.#open.get(handle);
    this.#open.delete(handle);
    return open;
  }
}
