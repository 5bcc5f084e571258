import { FsError } from '../../errors.ts';
import { type Name, nameFromText } from '../../name.ts';
import type { Attr, Caller, Vfs } from '../../vfs.ts';

/** A name within a directory, as libfuse means it by a path. */
export interface Place {
  readonly parent: number;
  readonly name: Name;
}

/** What libfuse renames an open file to instead of removing it (hidden_name in libfuse 2.9, lib/fuse.c). */
const hiddenName = /^\.fuse_hidden[0-9a-f]{16}$/;

/**
 * Finds inodes by the paths that libfuse's high-level interface gives.
 *
 * libfuse has no name for an unlinked file that is still open, so it renames it to .fuse_hidden* and removes that at
 * the last close. Here such a file loses its name at once, as POSIX wants it, and its made-up path leads to the inode
 * until libfuse removes it: nobody ever sees a .fuse_hidden name. (libfuse's own way out, hard_remove, makes every
 * later read and write of the open file ENOENT.) The made-up name is unique, so it is enough as the key: its directory
 * may be renamed meanwhile.
 */
export class Names {
  readonly #vfs: Vfs;
  readonly #caller: Caller;
  readonly #hidden = new Map<string, number>();

  constructor(vfs: Vfs, caller: Caller) {
    this.#vfs = vfs;
    this.#caller = caller;
  }

  /** @throws FsError ENOENT, ENOTDIR, ENAMETOOLONG, EILSEQ (not UTF-8) */
  async attr(path: string): Promise<Attr> {
    const hidden = this.#hidden.get(baseName(path));
    if (hidden !== undefined) return this.#vfs.getattr(hidden, this.#caller);
    const names = components(path);
    const last = names.pop();
    if (last === undefined) return this.#vfs.getattr(this.#vfs.rootIno, this.#caller);
    return this.#vfs.lookup(await this.#walk(names), last, this.#caller);
  }

  /** @throws as `attr` */
  async ino(path: string): Promise<number> {
    return (await this.attr(path)).ino;
  }

  /** The directory and the name that `path` ends with; the name need not exist. @throws as `attr`, EBUSY (the root) */
  async place(path: string): Promise<Place> {
    const names = components(path);
    const name = names.pop();
    if (name === undefined) throw new FsError('EBUSY', { path, detail: 'the root of the mount' });
    return { parent: await this.#walk(names), name };
  }

  /** Whether a rename from one of these paths to the other is libfuse's way of unlinking an open file. */
  isHiding(from: string, to: string): boolean {
    return hiddenName.test(baseName(to)) && directory(from) === directory(to);
  }

  /** From now on `path` leads to the inode, which stays alive although it has no name. */
  hide(path: string, ino: number): void {
    this.#vfs.remember(ino, 1);
    this.#hidden.set(baseName(path), ino);
  }

  /** libfuse removes the made-up name of a file nobody has open any more. False: `path` is not one of them. */
  forgetHidden(path: string): boolean {
    const name = baseName(path);
    const ino = this.#hidden.get(name);
    if (ino === undefined) return false;
    this.#hidden.delete(name);
    this.#vfs.forget(ino, 1);
    return true;
  }

  async #walk(names: readonly Name[]): Promise<number> {
    let ino = this.#vfs.rootIno;
    for (const name of names) ino = (await this.#vfs.lookup(ino, name, this.#caller)).ino;
    return ino;
  }
}

/**
 * fuse-native decodes paths as UTF-8 and puts U+FFFD for what is not. Such a path no longer says which file is meant,
 * so it is refused rather than served wrongly.
 */
function components(path: string): Name[] {
  if (path.includes('\ufffd')) throw new FsError('EILSEQ', { path, detail: 'fuse-native serves UTF-8 names only' });
  return path
    .split('/')
    .filter((part) => part !== '')
    .map(nameFromText);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function directory(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
