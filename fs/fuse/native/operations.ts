import type Fuse from 'fuse-native';
import { FsError } from '../../errors.ts';
import { type Name, nameToText } from '../../name.ts';
import type { Attr, Caller, DirEntry, Vfs } from '../../vfs.ts';
import type { OpenFiles } from './handles.ts';
import type { Names } from './names.ts';
import { serve } from './requests.ts';

/** What the operations of one mount work on. */
export interface Mount {
  readonly vfs: Vfs;
  /** fuse-native has no fuse_get_context: everything is done as the owner of the daemon. */
  readonly caller: Caller;
  readonly names: Names;
  readonly files: OpenFiles;
}

/** O_CREAT, O_EXCL and O_NOCTTY are dealt with before a file is open (include/uapi/asm-generic/fcntl.h). */
const openFlagsDone = 0o100 | 0o200 | 0o400;
/** `create` does not say how the file is opened; the kernel itself keeps to the caller's mode (O_RDWR serves all). */
const O_RDWR = 2;
/** chown(2): this id stays as it is. */
const unchangedId = 0xffff_ffff;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
/** Entries asked for at a time; the listing is collected whole, as libfuse's high-level readdir keeps it. */
const readdirPage = 1024;
/** struct statvfs goes through fuse-native as 32 bits a field. */
const countMax = 2 ** 32 - 1;

/** The operations of libfuse 2 by path, on a `Vfs`. Those that fuse-native gets wrong are in remedies.ts. */
export function operations(mount: Mount): Fuse.Operations {
  return { ...fileOperations(mount), ...nameOperations(mount), ...attributeOperations(mount), ...replaced };
}

/** Never called: remedies.ts takes their place. */
const replaced = {
  getattr: () => {},
  fgetattr: () => {},
  utimens: () => {},
  getxattr: () => {},
  listxattr: () => {},
};

type FileOperation =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'truncate'
  | 'ftruncate'
  | 'release'
  | 'fsync'
  | 'fsyncdir'
  | 'statfs';

function fileOperations({ vfs, caller, names, files }: Mount): Pick<Fuse.Operations, FileOperation> {
  return {
    open: (path, flags, done) =>
      serve(
        async () => {
          const ino = await names.ino(path);
          const handle = await vfs.open(ino, flags & ~openFlagsDone, caller);
          return files.add({ ino, handle, path });
        },
        (fd) => done(0, fd),
        done,
      ),
    create: (path, mode, done) =>
      serve(
        async () => {
          const { parent, name } = await names.place(path);
          const { attr, handle } = await vfs.create(parent, name, mode & 0o7777, O_RDWR, caller);
          return files.add({ ino: attr.ino, handle, path });
        },
        (fd) => done(0, fd),
        done,
      ),
    read: (_path, fd, target, length, offset, done) =>
      serve(
        async () =>
          vfs.read(files.get(fd).handle, offset, length, caller, (pieces) => {
            let at = 0;
            for (const piece of pieces) {
              target.set(piece, at);
              at += piece.length;
            }
            return at;
          }),
        done,
        done,
      ),
    // The data is libfuse's own memory and is gone once `done` was called; Vfs.write is through with it by then.
    write: (_path, fd, data, length, offset, done) =>
      serve(async () => vfs.write(files.get(fd).handle, offset, data.subarray(0, length), caller), done, done),
    truncate: (path, size, done) =>
      serve(
        async () => vfs.setattr(await names.ino(path), { size }, caller),
        () => done(0),
        done,
      ),
    ftruncate: (_path, fd, size, done) =>
      serve(
        async () => {
          const file = files.get(fd);
          return vfs.setattr(file.ino, { size }, caller, file.handle);
        },
        () => done(0),
        done,
      ),
    release: (_path, fd, done) =>
      serve(
        async () => vfs.release(files.remove(fd).handle),
        () => done(0),
        done,
      ),
    fsync: (_path, dataOnly, fd, done) =>
      serve(
        async () => vfs.fsync(files.get(fd).ino, dataOnly !== 0),
        () => done(0),
        done,
      ),
    fsyncdir: (path, dataOnly, _fd, done) =>
      serve(
        async () => vfs.fsync(await names.ino(path), dataOnly !== 0),
        () => done(0),
        done,
      ),
    statfs: (path, done) =>
      serve(
        async () => vfs.statfs(await names.ino(path)),
        (s) =>
          done(0, {
            bsize: s.blockSize,
            frsize: s.blockSize,
            blocks: count(s.blocks),
            bfree: count(s.blocksFree),
            bavail: count(s.blocksAvailable),
            files: count(s.files),
            ffree: count(s.filesFree),
            favail: count(s.filesFree),
            namemax: s.nameMax,
          }),
        done,
      ),
  };
}

type NameOperation = 'mkdir' | 'mknod' | 'symlink' | 'readlink' | 'link' | 'unlink' | 'rmdir' | 'rename' | 'readdir';

function nameOperations({ vfs, caller, names, files }: Mount): Pick<Fuse.Operations, NameOperation> {
  return {
    mkdir: (path, mode, done) =>
      serve(
        async () => {
          const { parent, name } = await names.place(path);
          return vfs.mkdir(parent, name, mode & 0o7777, caller);
        },
        () => done(0),
        done,
      ),
    mknod: (path, mode, rdev, done) =>
      serve(
        async () => {
          const { parent, name } = await names.place(path);
          return vfs.mknod(parent, name, mode, rdev, caller);
        },
        () => done(0),
        done,
      ),
    symlink: (target, path, done) =>
      serve(
        async () => {
          const { parent, name } = await names.place(path);
          return vfs.symlink(parent, name, Buffer.from(target, 'utf8'), caller);
        },
        () => done(0),
        done,
      ),
    readlink: (path, done) =>
      serve(
        async () => Buffer.from(await vfs.readlink(await names.ino(path), caller)).toString('utf8'),
        (target) => done(0, target),
        done,
      ),
    link: (from, to, done) =>
      serve(
        async () => {
          const ino = await names.ino(from);
          const { parent, name } = await names.place(to);
          return vfs.link(ino, parent, name, caller);
        },
        () => done(0),
        done,
      ),
    unlink: (path, done) =>
      serve(
        async () => {
          if (names.forgetHidden(path)) return;
          const { parent, name } = await names.place(path);
          await vfs.unlink(parent, name, caller);
        },
        () => done(0),
        done,
      ),
    rmdir: (path, done) =>
      serve(
        async () => {
          const { parent, name } = await names.place(path);
          await vfs.rmdir(parent, name, caller);
        },
        () => done(0),
        done,
      ),
    rename: (from, to, done) =>
      serve(
        async () => rename({ vfs, caller, names, files }, from, to),
        () => done(0),
        done,
      ),
    readdir: (path, done) =>
      serve(
        async () => list(vfs, await names.ino(path), caller),
        (entries) =>
          done(
            0,
            entries.map((entry) => textOf(entry.name)),
            entries.map((entry) => ({ mode: entry.type, ino: entry.ino })),
          ),
        done,
      ),
  };
}

type AttributeOperation = 'chmod' | 'chown' | 'setxattr' | 'removexattr';

function attributeOperations({ vfs, caller, names }: Mount): Pick<Fuse.Operations, AttributeOperation> {
  return {
    chmod: (path, mode, done) =>
      serve(
        async () => vfs.setattr(await names.ino(path), { mode: mode & 0o7777 }, caller),
        () => done(0),
        done,
      ),
    chown: (path, uid, gid, done) =>
      serve(
        async (): Promise<Attr> => {
          const changes = { ...(uid !== unchangedId && { uid }), ...(gid !== unchangedId && { gid }) };
          return vfs.setattr(await names.ino(path), changes, caller);
        },
        () => done(0),
        done,
      ),
    setxattr: (path, name, value, _position, flags, done) =>
      serve(
        async () => {
          requireXattr(name);
          const mode = flags === XATTR_CREATE ? 'create' : flags === XATTR_REPLACE ? 'replace' : 'either';
          // A copy: the Vfs may keep the value, but the memory under it goes back to libfuse.
          await vfs.setxattr(await names.ino(path), bytesOf(name), Uint8Array.from(value), mode, caller);
        },
        () => done(0),
        done,
      ),
    removexattr: (path, name, done) =>
      serve(
        async () => vfs.removexattr(await names.ino(path), bytesOf(name), caller),
        () => done(0),
        done,
      ),
  };
}

/**
 * libfuse moves the target of a rename out of the way first when it is open, as it does for unlink, so over an open
 * file a rename is two steps here: the old file loses its name, then the new one gets it.
 */
async function rename({ vfs, caller, names, files }: Mount, from: string, to: string): Promise<void> {
  const source = await names.place(from);
  if (names.isHiding(from, to)) {
    const { ino } = await vfs.lookup(source.parent, source.name, caller);
    if (files.isOpen(ino)) {
      names.hide(to, ino);
      try {
        await vfs.unlink(source.parent, source.name, caller);
      } catch (error) {
        names.forgetHidden(to);
        throw error;
      }
      files.renamed(from, to);
      return;
    }
  }
  const target = await names.place(to);
  await vfs.rename(source.parent, source.name, target.parent, target.name, 'replace', caller);
  files.renamed(from, to);
}

async function list(vfs: Vfs, ino: number, caller: Caller): Promise<readonly DirEntry[]> {
  const handle = await vfs.opendir(ino, caller);
  try {
    const entries: DirEntry[] = [];
    let cookie = 0;
    for (;;) {
      const page = await vfs.readdir(handle, cookie, readdirPage, caller);
      const last = page.at(-1);
      if (last === undefined) return entries;
      for (const entry of page) entries.push(entry);
      cookie = last.cookie;
    }
  } finally {
    await vfs.release(handle);
  }
}

function textOf(name: Name | '.' | '..'): string {
  return name === '.' || name === '..' ? name : nameToText(name);
}

/**
 * libfuse 2 cannot agree with the kernel on ACLs (FUSE_POSIX_ACL), and the kernel would not follow one that is only
 * stored: cp -a would leave files with the narrow mode that it gives them before their ACL. acl(5) tools take this
 * answer for a filesystem without ACLs. @throws FsError EOPNOTSUPP
 */
export function requireXattr(name: string): void {
  if (name.startsWith('system.posix_acl_')) throw new FsError('EOPNOTSUPP', { name });
}

/** A name as UTF-8 bytes, one character each, as `Vfs` has the names of extended attributes. */
export function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

function count(n: number): number {
  return Math.min(n, countMax);
}
